/* The only file with threads in it. */
#include "parallel.h"

#include <stdatomic.h>

#include "fastnn.h"
#ifdef _OPENMP
#include <omp.h>
#endif
#if !defined(_WIN32)
#include <pthread.h>
#include <sched.h>
#define YIELD() sched_yield()
#else
#define YIELD() ((void)0)
#endif
#if defined(__x86_64__)
#define PAUSE() __builtin_ia32_pause()
#elif defined(__aarch64__)
#define PAUSE() __asm__ volatile("yield")
#else
#define PAUSE() ((void)0)
#endif

#define SPINS 2000 /* about 20 us: longer than a phase of any net that is worth two threads is late by */

struct fnn_team {
  int size;
  atomic_int waiting, phase;
};

int fnn_team_size(const fnn_team *team) { return team->size; }

void fnn_barrier(fnn_team *team) {
  if (team->size == 1) return;
  const int phase = atomic_load_explicit(&team->phase, memory_order_relaxed);
  if (atomic_fetch_add_explicit(&team->waiting, 1, memory_order_acq_rel) == team->size - 1) {
    atomic_store_explicit(&team->waiting, 0, memory_order_relaxed);
    atomic_store_explicit(&team->phase, phase + 1, memory_order_release);
    return;
  }
  /* With more threads than cores the one that is waited for may need this core. */
  for (int spins = 0; atomic_load_explicit(&team->phase, memory_order_acquire) == phase; spins++)
    if (spins < SPINS)
      PAUSE();
    else
      YIELD();
}

void fnn_share(ptrdiff_t total, ptrdiff_t step, int threads, int thread, ptrdiff_t *from, ptrdiff_t *to) {
  const ptrdiff_t steps = (total + step - 1) / step;
  *from = steps * thread / threads * step;
  *to = steps * (thread + 1) / threads * step;
  if (*from > total) *from = total;
  if (*to > total) *to = total;
}

#if defined(_OPENMP)
/* libgomp's threads do not live on in a forked child, and a parallel region there waits for them for ever. */
static atomic_int forked;
#if !defined(_WIN32)
static void in_child(void) { atomic_store(&forked, 1); }
static void watch_forks(void) { pthread_atfork(NULL, NULL, in_child); }
static pthread_once_t watching = PTHREAD_ONCE_INIT;
#endif

int fnn_has_openmp(void) { return 1; }
int fnn_openmp_limit(void) { return omp_get_max_threads(); }

void fnn_parallel(int threads, fnn_task *task, void *arg) {
  fnn_team team = {1, 0, 0};
  if (threads <= 1 || atomic_load(&forked)) { /* a region of one thread would still cost 0.3 us */
    task(arg, &team, 0);
    return;
  }
#if !defined(_WIN32)
  pthread_once(&watching, watch_forks);
#endif
#pragma omp parallel num_threads(threads)
  {
#pragma omp single
    team.size = omp_get_num_threads(); /* may be fewer than asked for */
    task(arg, &team, omp_get_thread_num());
  }
}
#else
int fnn_has_openmp(void) { return 0; }
int fnn_openmp_limit(void) { return 1; }

void fnn_parallel(int threads, fnn_task *task, void *arg) {
  fnn_team team = {1, 0, 0};
  (void)threads;
  task(arg, &team, 0);
}
#endif
