/* Moving from one OpenMP of the process to another: argument 1 is a copy of libgomp, which loads as a second one.
   tests/test_core_alone.py builds and runs it. */
#include <dlfcn.h>
#include <omp.h>
#include <stdio.h>

#include "../../csrc/parallel.h"
#include "../../csrc/runtimes.h"

enum {
  THREADS = 3
};

static int came[THREADS], known_to_ours;

static void come(void *arg, fnn_member *me) {
  (void)arg;
  came[me->thread]++;
  fnn_barrier(me);
  if (me->thread == 0) known_to_ours = omp_get_num_threads(); /* 1 outside of its own regions */
}

static int expect(const char *what, int found, int wanted) {
  if (found != wanted) printf("%s: %d, wanted %d\n", what, found, wanted);
  return found != wanted;
}

static int run(const char *when, int wanted) {
  for (int t = 0; t < THREADS; t++) came[t] = 0;
  fnn_parallel_forced(THREADS, come, NULL);
  int failed = expect(when, known_to_ours, wanted);
  for (int t = 0; t < THREADS; t++) failed |= expect("runs of a thread", came[t], 1);
  return failed;
}

int main(int argc, char **argv) {
  int failed = run("size known to our OpenMP, at home", THREADS);
  failed |= expect("with nowhere to go", fnn_next_runtime(), 0);
  failed |= run("and still", THREADS);
  if (argc < 2 || !dlopen(argv[1], RTLD_NOW | RTLD_LOCAL)) return 2;
  failed |= expect("to the other", fnn_next_runtime(), 1);
  failed |= run("size known to our OpenMP, abroad", 1);
  failed |= expect("back at once", fnn_next_runtime(), 0);
  failed |= run("and still abroad", 1);
  return failed;
}
