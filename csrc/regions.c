/* Runs a region on as many threads as can be started. Plain OpenMP ends the process if it cannot start a thread, and in
   a forked child it waits for ever for the threads of the parent. This file avoids both. */
#include "runtimes.h"

#if defined(_OPENMP)
#if !defined(_WIN32)
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- ask OpenMP only for as many threads as can be started --- */

#define MOST_STARTED 256

static void *come_and_go(void *gate) {
  pthread_mutex_lock(gate);
  pthread_mutex_unlock(gate);
  return NULL;
}

/* The stack size of OpenMP's threads, from its environment variable (kilobytes if it has no letter); 0: the default.
   OpenMP reads the variable when it is loaded, so it is read then here, too. */
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

/* How many more threads can be started now, at most `wanted`. It finds out by starting them; they end at once. */
static int startable(int wanted) {
  pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
  pthread_t threads[MOST_STARTED];
  int started = 0;
  pthread_attr_t attributes;
  if (pthread_attr_init(&attributes)) return 0;
  if (stack_bytes) pthread_attr_setstacksize(&attributes, stack_bytes); /* a size that is too small is ignored */
  pthread_mutex_lock(&gate);
  while (started < wanted && started < MOST_STARTED &&
         !pthread_create(&threads[started], &attributes, come_and_go, &gate))
    started++;
  pthread_mutex_unlock(&gate);
  for (int i = 0; i < started; i++) pthread_join(threads[i], NULL);
  pthread_attr_destroy(&attributes);
  return started;
}

/* The threads that OpenMP keeps for this thread: the team of its last region, by one runtime. They are there only if no
   thread of our regions has ended since; threads end when other code in the process opens a smaller region. They end a
   moment after that region: in this moment, if no thread can be started, OpenMP would still end the process. */
static _Thread_local struct {
  int size, owner;
  unsigned ended;
} pool;

static atomic_uint ended; /* how many threads of our regions have ended */
static pthread_key_t end; /* its destructor runs when a thread ends, and counts it */
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

/* --- a forked child: OpenMP's threads do not exist in it, and a region of the thread that forked would wait for them
   for ever. So a new thread, which OpenMP does not know, opens the region. --- */

static atomic_int forked;
static void in_child(void) { atomic_store(&forked, 1); }

/* Whether this process is a forked child that has not started another program (exec), as the system knows it. */
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
  const char *rest = strrchr(text, ')'); /* the end of the program's name, which may contain any characters */
  if (!rest || sscanf(rest, ") %*c %*d %*d %*d %*d %*d %u", &flags) != 1) flags = 0;
  flags &= FORKED_WITHOUT_EXEC;
#endif
  return flags != 0;
}

/* Runs when this library is loaded: another library may use the same OpenMP, and fork, before we have a team. */
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
