/* Teams of threads. */
#include "parallel.h"

#include <stdatomic.h>
#include <stdint.h>
#include <time.h>

#include "fastnn.h"
#include "memory.h"
#include "runtimes.h"
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

#define HOT_SPINS 64 /* without a pause, which takes up to 0.05 us: as long as a barrier itself */
#define SPINS 2000   /* 20 to 100 us: longer than a phase of any net that is worth two threads is late by */

/* A thread that waits longer than it has worked, and this besides, waits for one that has lost its core. */
#define PATIENCE 150000        /* ns */
#define START_PATIENCE 1000000 /* of a region's first barrier: a thread may have to be woken */
/* After that, one thread for some times as long as was lost: of a hiccup little more is lost than the hiccup itself.
   Where the next one follows soon, a core is busy, and the pause gets longer each time. */
#define PAUSE_PER_LOSS 4
#define LONGEST_PAUSE 1000000000

#define FEW_THREADS 8  /* of a team that needs no memory of its own */
#define NEIGHBOURS 128 /* bytes: lines come in pairs */

/* Where a thread tells the others that it has come to a barrier: written by itself alone, so that a barrier costs one
   line's way from core to core. Barriers take turns with the two words: what one of them was is still there until all
   have read it. */
typedef struct {
  _Alignas(FNN_LINE) atomic_int arrived[2]; /* twice the number of the barrier, and 1 if a core was lost before it */
  char apart[NEIGHBOURS - 2 * sizeof(atomic_int)];
} place;

struct fnn_team {
  place *places;
  atomic_int size; /* a constant once the threads run: each of them stores the same */
  int alone;       /* in a pause of the team that was asked for */
  int forced;
  atomic_llong lost; /* ns, to a core that is busy elsewhere */
};

/* The calling thread in its team. */
static _Thread_local struct {
  int thread, barriers;
  int stalled; /* by the last barrier, for all alike */
  int64_t last_arrival;
} me;
static atomic_llong alone_until;

static int64_t now(void) {
  struct timespec t;
#if defined(_WIN32)
  timespec_get(&t, TIME_UTC);
#else
  clock_gettime(CLOCK_MONOTONIC, &t);
#endif
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int fnn_team_size(const fnn_team *team) { return atomic_load_explicit(&team->size, memory_order_relaxed); }

int fnn_regroup(const fnn_team *team) {
  return team->alone ? now() >= atomic_load(&alone_until) : me.stalled && !team->forced;
}

void fnn_barrier(fnn_team *team) {
  const int size = fnn_team_size(team);
  if (size == 1) return;
  const int number = ++me.barriers, turn = number & 1;
  const int64_t arrival = now(), worked = arrival - me.last_arrival;
  const int64_t patience = worked + (number > 1 ? PATIENCE : START_PATIENCE);
  const int lost = atomic_load_explicit(&team->lost, memory_order_relaxed) > 0;
  me.last_arrival = arrival;
  me.stalled = lost;
  atomic_store_explicit(&team->places[me.thread].arrived[turn], 2 * number + lost, memory_order_release);
  for (int t = 0, spins = 0, word; t < size; t++) {
    while ((word = atomic_load_explicit(&team->places[t].arrived[turn], memory_order_acquire)) / 2 != number)
      if (++spins >= SPINS) {
        YIELD(); /* with more threads than cores the one that is waited for may need this core */
        const int64_t waited = now() - arrival;
        if (waited > patience && waited > atomic_load_explicit(&team->lost, memory_order_relaxed))
          atomic_store_explicit(&team->lost, waited, memory_order_relaxed);
      } else if (spins >= HOT_SPINS) {
        PAUSE();
      }
    me.stalled |= word & 1;
  }
}

void fnn_share(ptrdiff_t total, ptrdiff_t step, int threads, int thread, ptrdiff_t *from, ptrdiff_t *to) {
  *from = 0, *to = total;
  if (threads == 1) return;
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

static atomic_llong pause_length; /* the last one's */

static void remember_stall(int64_t lost) {
  if (fnn_next_runtime()) return; /* it may have been the threads of another library, now our own */
  const int64_t time = now(), since = time - atomic_load(&alone_until), last = atomic_load(&pause_length);
  int64_t pause = PAUSE_PER_LOSS * (since < 2 * last && last > lost ? last : lost);
  if (pause > LONGEST_PAUSE) pause = LONGEST_PAUSE;
  atomic_store(&pause_length, pause);
  atomic_store(&alone_until, time + pause);
}

typedef struct {
  fnn_team *team;
  fnn_task *task;
  void *arg;
  int64_t inside; /* ns, of thread 0 */
} assignment;

static void take_part(void *arg, int thread, int size) {
  assignment *a = arg;
  atomic_store_explicit(&a->team->size, size, memory_order_relaxed); /* may be fewer than asked for */
  const int64_t start = now();
  me.thread = thread, me.barriers = 0, me.stalled = 0, me.last_arrival = start;
  a->task(a->arg, a->team, thread);
  fnn_barrier(a->team);
  if (thread == 0) a->inside = now() - start;
}

/* The time that was lost because the team, or OpenMP before or after it, was kept waiting. */
static int64_t run_team(fnn_team *team, int threads, fnn_task *task, void *arg) {
  if (threads <= 1) { /* a region of one thread would still cost 0.3 us */
    task(arg, team, 0);
    return 0;
  }
#if !defined(_WIN32)
  pthread_once(&watching, watch_forks);
#endif
  place few[FEW_THREADS], *many = NULL;
  if (threads > FEW_THREADS) many = fnn_alloc(threads * (ptrdiff_t)sizeof *many);
  if (!many) threads = threads < FEW_THREADS ? threads : FEW_THREADS;
  team->places = many ? many : few;
  for (int t = 0; t < threads; t++)
    atomic_init(&team->places[t].arrived[0], 0), atomic_init(&team->places[t].arrived[1], 0);
  assignment all = {team, task, arg, 0};
  const int64_t start = now();
  fnn_run_region(take_part, &all, threads);
  const int64_t outside = now() - start - all.inside;
  fnn_free(many);
  return atomic_load(&team->lost) + (outside > START_PATIENCE ? outside : 0);
}

void fnn_parallel_forced(int threads, fnn_task *task, void *arg) {
  fnn_team team = {.size = 1, .forced = 1};
  run_team(&team, atomic_load(&forked) ? 1 : threads, task, arg);
}

static atomic_int calls; /* that ask for more than one thread, and run: from several threads of the caller's */

/* OpenMP keeps a pool for each thread that has opened a region. In a pool of the caller's own each would get one sooner
   or later, so of the threads of the last second two may have teams; the others' calls run alone. */
#define TEAMS 2
#define RECENT 1000000000 /* ns */
static struct {
  atomic_uintptr_t owner; /* the address of its `me` */
  atomic_llong last;
} teams[TEAMS];

static int may_have_team(void) {
  const int64_t time = now();
  for (int i = 0; i < TEAMS; i++)
    if (atomic_load(&teams[i].owner) == (uintptr_t)&me) {
      atomic_store(&teams[i].last, time);
      return 1;
    }
  for (int i = 0; i < TEAMS; i++) {
    long long last = atomic_load(&teams[i].last);
    if ((!last || time - last > RECENT) && atomic_compare_exchange_strong(&teams[i].last, &last, time)) {
      atomic_store(&teams[i].owner, (uintptr_t)&me);
      return 1;
    }
  }
  return 0;
}

void fnn_parallel(int threads, fnn_task *task, void *arg) {
  fnn_team team = {.size = 1};
  if (threads <= 1 || atomic_load(&forked)) {
    run_team(&team, 1, task, arg);
    return;
  }
  threads /= atomic_fetch_add(&calls, 1) + 1; /* each its share of the cores */
  if (!may_have_team()) threads = 1;
  team.alone = now() < atomic_load(&alone_until);
  const int64_t lost = run_team(&team, team.alone ? 1 : threads, task, arg);
  atomic_fetch_sub(&calls, 1);
  if (lost) remember_stall(lost);
}
#else
int fnn_has_openmp(void) { return 0; }
int fnn_openmp_limit(void) { return 1; }
int fnn_openmp_procs(void) { return 0; }

void fnn_parallel_forced(int threads, fnn_task *task, void *arg) {
  fnn_team team = {.size = 1};
  (void)threads;
  task(arg, &team, 0);
}

void fnn_parallel(int threads, fnn_task *task, void *arg) { fnn_parallel_forced(threads, task, arg); }
#endif
