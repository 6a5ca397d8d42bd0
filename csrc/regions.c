/* A region on as many threads as there can be, whatever the process is: OpenMP ends it where it cannot start a thread,
   and waits for ever for threads that a fork has left behind. */
#include "runtimes.h"

#if defined(_OPENMP)
#if !defined(_WIN32)
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- as many threads as there can be: OpenMP ends the process where one cannot be started --- */

#define MOST_STARTED 256

static void *come_and_go(void *gate) {
  pthread_mutex_lock(gate);
  pthread_mutex_unlock(gate);
  return NULL;
}

/* Of OpenMP's threads, by its variable: bytes, or kilobytes without a letter; 0: as usual. It was read when OpenMP was
   loaded, and so is it here. */
static size_t stack_bytes;

static void read_stack_bytes(void) {
  const char *text = getenv("OMP_STACKSIZE");
  char unit = 'k';
  unsigned long long size;
  if (!text || sscanf(text, " %llu %c", &size, &unit) < 1) return;
  const int shift = unit == 'b' || unit == 'B'   ? 0
                    : unit == 'm' || unit == 'M' ? 20
                    : unit == 'g' || unit == 'G' ? 30
                                                 : 10;
  stack_bytes = size <= SIZE_MAX >> shift ? (size_t)size << shift : SIZE_MAX;
}

/* How many threads can be there at once besides those that are, `wanted` at most: so many are started, and end. */
static int startable(int wanted) {
  pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
  pthread_t threads[MOST_STARTED];
  int started = 0;
  pthread_attr_t attributes;
  if (pthread_attr_init(&attributes)) return 0;
  if (stack_bytes) pthread_attr_setstacksize(&attributes, stack_bytes); /* what is too small stays as it is, as there */
  pthread_mutex_lock(&gate);
  while (started < wanted && started < MOST_STARTED &&
         !pthread_create(&threads[started], &attributes, come_and_go, &gate))
    started++;
  pthread_mutex_unlock(&gate);
  for (int i = 0; i < started; i++) pthread_join(threads[i], NULL);
  pthread_attr_destroy(&attributes);
  return started;
}

/* What OpenMP has for this thread already: the team of its last region, of one runtime; while none of the threads that
   were in our regions has ended since, as they do when somebody else opens a smaller region. That they do a moment
   after it: in that moment, and where no thread can be made, OpenMP would still end the process. */
static _Thread_local struct {
  int size, owner;
  unsigned ended;
} pool;

static atomic_uint ended;
static pthread_key_t end; /* tells of it */
static void count_end(void *unused) {
  (void)unused;
  atomic_fetch_add(&ended, 1);
}

typedef struct {
  fnn_region *region;
  void *arg;
} task;

static void watch_end(void *arg, int thread, int size) {
  static _Thread_local int watched;
  const task *t = arg;
  if (thread && !watched) watched = !pthread_setspecific(end, &end);
  t->region(t->arg, thread, size);
}

static void start_region(fnn_region *region, void *arg, int threads) {
  const int runtime = fnn_current_runtime(), unknown = pool.owner != runtime || pool.ended != atomic_load(&ended);
  const int there = pool.size && !unknown ? pool.size : 1;
  if (threads > there) threads = there + startable(threads - there);
  if (threads == 1) {
    region(arg, 0, 1);
    return;
  }
  task t = {region, arg};
  fnn_open_region(runtime, watch_end, &t, threads);
  pool.size = threads, pool.owner = runtime, pool.ended = atomic_load(&ended);
}

/* --- a forked child: OpenMP's threads do not live on in it, and a region of the thread that forked would wait for them
   for ever. So another one opens it, which OpenMP has never seen. --- */

static atomic_int forked;
static void in_child(void) { atomic_store(&forked, 1); }

/* Whether this process was forked before we were there to see it, and has run no other program since. */
static int is_forked(void) {
  unsigned flags = 0;
#if defined(__linux__)
  enum {
    FORKED_WITHOUT_EXEC = 0x40 /* PF_FORKNOEXEC */
  };
  char text[512] = "";
  FILE *file = fopen("/proc/self/stat", "r");
  if (file) {
    text[fread(text, 1, sizeof text - 1, file)] = 0;
    fclose(file);
  }
  const char *rest = strrchr(text, ')'); /* of the name, which may be anything */
  if (!rest || sscanf(rest, ") %*c %*d %*d %*d %*d %*d %u", &flags) != 1) flags = 0;
  flags &= FORKED_WITHOUT_EXEC;
#endif
  return flags != 0;
}

/* As soon as we are loaded: another library may use the same OpenMP, and fork, before we have a team. */
static __attribute__((constructor)) void watch_forks(void) {
  read_stack_bytes();
  pthread_key_create(&end, count_end);
  pthread_atfork(NULL, NULL, in_child);
  if (is_forked()) atomic_store(&forked, 1);
}

typedef struct {
  fnn_region *region;
  void *arg;
  int threads;
} wanted;

static void *lead(void *arg) {
  const wanted *w = arg;
  start_region(w->region, w->arg, w->threads);
  return NULL;
}

void fnn_run_region(fnn_region *region, void *arg, int threads) {
  wanted w = {region, arg, threads};
  pthread_t leader;
  if (!atomic_load(&forked))
    start_region(region, arg, threads);
  else if (pthread_create(&leader, NULL, lead, &w))
    region(arg, 0, 1);
  else
    pthread_join(leader, NULL);
}
#else
void fnn_run_region(fnn_region *region, void *arg, int threads) {
  fnn_open_region(fnn_current_runtime(), region, arg, threads);
}
#endif
#endif
