/* Teams of threads: barriers and parts; each call asks pace.c whether a team or one thread does it, and at most two
   calling threads have teams. */
#include "parallel.h"

#include <stdatomic.h>

#include "fastnn.h"
#include "memory.h"
#include "pace.h"
#include "runtimes.h"
#ifdef _OPENMP
#include <omp.h>
#endif
#if defined(_WIN32)
#define WIN32_LEAN_AND_MEAN
#include <windows.h>
#define YIELD() ((void)SwitchToThread())
#else
#include <pthread.h>
#include <sched.h>
#include <time.h>
#define YIELD() sched_yield()
#endif
#if defined(__x86_64__)
#define PAUSE() __builtin_ia32_pause()
#elif defined(__aarch64__)
#define PAUSE() __asm__ volatile("yield")
#else
#define PAUSE() ((void)0)
#endif

#define HOT_SPINS 64 /* first reads without a PAUSE, which takes up to 0.05 us: as long as a barrier itself */
#define SPINS 2000   /* reads until it yields its core, 20 to 100 us: teams that pay have shorter waits */

#define FEW_THREADS 8  /* a team of so many uses no memory but the stack */
#define NEIGHBOURS 128 /* bytes of a place: CPUs fetch cache lines in pairs */

/* Where a thread tells the others that it has come to a barrier, of the team or of its part. Only this thread writes to
   it, so that a barrier takes the time in which one cache line goes from core to core. Barriers use two words in turn:
   so the word of a barrier is not changed before all threads have read it. */
typedef struct {
  _Alignas(FNN_LINE) atomic_uint arrived[2][2]; /* [in a part][turn]: 2 * number of the barrier, + 1 to end the task */
  char apart[NEIGHBOURS - 4 * sizeof(atomic_uint)];
} place;

struct fnn_team {
  place *places;
  int size;
  fnn_pace *pace;      /* NULL: the task's units are not measured */
  int64_t unit_starts; /* when this unit started; only thread 0 uses this member and the next one */
  int asks_to_end;     /* the task should end */
};

static int64_t now(void) {
#if defined(_WIN32)
  LARGE_INTEGER ticks, per_second;
  QueryPerformanceCounter(&ticks);
  QueryPerformanceFrequency(&per_second);
  return (int64_t)((double)ticks.QuadPart / (double)per_second.QuadPart * 1e9);
#else
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
#endif
}

void fnn_barrier(fnn_member *me) {
  if (me->size == 1) return;
  place *places = me->team->places + me->offset;
  const int kind = me->in_part;
  const unsigned number = 2 * ++me->barriers, turn = me->barriers & 1;
  const unsigned asks = me->thread == 0 && !kind && me->team->asks_to_end;
  atomic_store_explicit(&places[me->thread].arrived[kind][turn], number + asks, memory_order_release);
  for (int t = 0, spins = 0; t < me->size; t++) {
    unsigned word;
    while (((word = atomic_load_explicit(&places[t].arrived[kind][turn], memory_order_acquire)) & ~1u) != number)
      if (++spins >= SPINS)
        YIELD(); /* if there are more threads than cores, the late thread may need this core */
      else if (spins >= HOT_SPINS)
        PAUSE();
    me->ends |= word & 1;
  }
}

int fnn_split(fnn_member *me, int parts, fnn_member *in_part) {
  ptrdiff_t from = 0, to = 0;
  int part = 0;
  parts = parts < 1 ? 1 : parts < me->size ? parts : me->size;
  for (fnn_share(me->size, 1, parts, 0, &from, &to); me->thread >= to; fnn_share(me->size, 1, parts, part, &from, &to))
    part++;
  *in_part = (fnn_member){
      .team = me->team, .thread = me->thread - (int)from, .size = (int)(to - from), .offset = (int)from, .in_part = 1};
  fnn_barrier(me); /* all have left the parts that they were in */
  if (me->size > 1)
    for (int turn = 0; turn < 2; turn++) atomic_store(&me->team->places[me->thread].arrived[1][turn], 0);
  fnn_barrier(me);
  return part;
}

void fnn_unit_starts(fnn_member *me) {
  fnn_barrier(me);
  if (me->thread == 0 && me->team->pace) me->team->unit_starts = now();
}

/* Notes the time of a unit. Returns whether the next one should run on a team instead of one thread, or the reverse. */
static int note(fnn_pace *pace, double work, int64_t start, int threads, int64_t end) {
  switch (fnn_pace_note(pace, work, (double)(end - start), threads, end)) {
  case FNN_GO_ON: return 0;
  case FNN_CHANGE: return 1;
  case FNN_BEHIND:
    /* The threads of another library may have disturbed the team. If its OpenMP runs our teams, they are the same. */
    if (threads > 1 && fnn_next_runtime()) fnn_pace_forgive(pace);
    return 1;
  }
  return 0;
}

int fnn_unit_done(fnn_member *me, double work) {
  fnn_team *team = me->team;
  if (me->thread == 0 && team->pace) {
    const int64_t start = team->unit_starts;
    team->unit_starts = now();
    if (!team->asks_to_end) team->asks_to_end = note(team->pace, work, start, me->size, team->unit_starts);
  }
  return me->size > 1 ? me->ends : team->asks_to_end;
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

static void run_alone(fnn_team *team, fnn_task *task, void *arg) {
  fnn_member me = {.team = team, .size = 1};
  team->size = 1;
  task(arg, &me);
}

#if defined(_OPENMP)
int fnn_has_openmp(void) { return 1; }

typedef struct {
  fnn_team *team;
  fnn_task *task;
  void *arg;
} assignment;

static void take_part(void *arg, int thread, int size) {
  assignment *a = arg;
  fnn_member me = {.team = a->team, .thread = thread, .size = size}; /* may be fewer than asked for */
  if (thread == 0) a->team->size = size;
  a->task(a->arg, &me);
}

static void run_team(fnn_team *team, int threads, fnn_task *task, void *arg) {
  if (threads <= 1) { /* a region of one thread would still cost 0.3 us */
    run_alone(team, task, arg);
    return;
  }
  place few[FEW_THREADS], *many = NULL;
  if (threads > FNN_MOST_THREADS) threads = FNN_MOST_THREADS;
  if (threads > FEW_THREADS) many = fnn_alloc(threads * (ptrdiff_t)sizeof *many);
  if (!many) threads = threads < FEW_THREADS ? threads : FEW_THREADS;
  team->places = many ? many : few;
  for (int t = 0; t < threads; t++) {
    for (int turn = 0; turn < 4; turn++) atomic_init(&team->places[t].arrived[turn / 2][turn % 2], 0);
  }
  assignment all = {team, task, arg};
  fnn_run_region(take_part, &all, threads);
  fnn_free(many);
}

void fnn_parallel_forced(int threads, fnn_task *task, void *arg) {
  fnn_team team = {.size = 1};
  run_team(&team, threads, task, arg);
}

/* What the calling thread knows of its kinds of work. A new kind replaces the one whose last use is longest ago. */
#define KINDS 32
static _Thread_local struct {
  uint64_t kinds[KINDS], asked[KINDS], questions;
  fnn_pace paces[KINDS];
} thread_paces;

static fnn_pace *pace_of(uint64_t kind) {
  int place = 0;
  for (int i = 0; i < KINDS; i++) {
    if (thread_paces.kinds[i] == kind && thread_paces.asked[i]) {
      place = i;
      break;
    }
    if (thread_paces.asked[i] < thread_paces.asked[place]) place = i;
  }
  if (thread_paces.kinds[place] != kind || !thread_paces.asked[place]) thread_paces.paces[place] = (fnn_pace){0};
  thread_paces.kinds[place] = kind;
  thread_paces.asked[place] = ++thread_paces.questions;
  return &thread_paces.paces[place];
}

static atomic_int calls; /* how many calls that asked for more than one thread are running, from any threads */

/* OpenMP keeps a pool of threads for each thread that has opened a region. If the caller has many threads, each would
   get a pool sooner or later. So only two calling threads may have teams; a place is free after an unused second. */
#define TEAMS 2
#define RECENT 1000000000 /* ns */
static struct {
  atomic_uintptr_t owner; /* which thread: the address of its `thread_paces` */
  atomic_llong last;
} teams[TEAMS];

static int may_have_team(int64_t time) {
  for (int i = 0; i < TEAMS; i++)
    if (atomic_load(&teams[i].owner) == (uintptr_t)&thread_paces) {
      atomic_store(&teams[i].last, time);
      return 1;
    }
  for (int i = 0; i < TEAMS; i++) {
    long long last = atomic_load(&teams[i].last);
    if ((!last || time - last > RECENT) && atomic_compare_exchange_strong(&teams[i].last, &last, time)) {
      atomic_store(&teams[i].owner, (uintptr_t)&thread_paces);
      return 1;
    }
  }
  return 0;
}

#if !defined(_WIN32)
/* In a forked child the other threads of its parent do not exist: forget their calls and teams. */
static void in_child(void) {
  atomic_store(&calls, 0);
  for (int i = 0; i < TEAMS; i++) atomic_store(&teams[i].last, 0), atomic_store(&teams[i].owner, 0);
}
static __attribute__((constructor)) void watch_forks(void) { pthread_atfork(NULL, NULL, in_child); }
#endif

void fnn_parallel(uint64_t kind, double work, int threads, fnn_task *task, void *arg) {
  fnn_team team = {.size = 1};
  if (threads <= 1) {
    run_alone(&team, task, arg);
    return;
  }
  const int64_t start = now();
  const int others = atomic_fetch_add(&calls, 1), share = threads / (others + 1); /* calls share the cores */
  fnn_pace *pace = share > 1 && may_have_team(start) ? pace_of(fnn_hash(kind, (uint64_t)share)) : NULL;
  if (!(work > 0)) team.pace = pace;
  team.unit_starts = start;
  run_team(&team, pace && !fnn_pace_alone(pace) ? share : 1, task, arg);
  atomic_fetch_sub(&calls, 1);
  if (pace && work > 0) note(pace, work, start, team.size, now());
}
#else
int fnn_has_openmp(void) { return 0; }
int fnn_openmp_limit(void) { return 1; }
int fnn_openmp_procs(void) { return 0; }

void fnn_parallel_forced(int threads, fnn_task *task, void *arg) {
  fnn_team team = {.size = 1};
  (void)threads;
  run_alone(&team, task, arg);
}

void fnn_parallel(uint64_t kind, double work, int threads, fnn_task *task, void *arg) {
  (void)kind, (void)work;
  fnn_parallel_forced(threads, task, arg);
}
#endif
