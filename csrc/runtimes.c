/* A wheel brings an OpenMP of its own, as PyTorch's and scikit-learn's do, and each keeps its threads spinning for a
   while after a region. Called in turn, two of them fight for the cores: so whoever finds his team late may move in
   with another, whose threads are then the same. By GOMP_parallel, which GNU's, LLVM's and Intel's all have; elsewhere
   than on Linux with gcc there is only the one that we are linked with.

   Where OpenMP is asked to bind its threads to cores (OMP_PROC_BIND and the like), the one that is loaded first pins
   the thread that loads it to one core. One that this thread loads later sees only that core, and has all of its
   threads there: if that is ours, its regions are run by the first one from the beginning. */
#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE /* dl_iterate_phdr */
#endif
#include "runtimes.h"

#if defined(_OPENMP)
#include <omp.h>

#include "fastnn.h"
#include "memory.h"

/* What an OpenMP says about the cores that it binds its threads to. */
typedef struct {
  int (*processors)(void), (*places)(void), (*width)(int place);
  void (*read)(int place, int *processors);
  omp_proc_bind_t (*binding)(void);
} binding;

/* Cores in the places of an OpenMP's threads, each counted once; 0: it binds none. */
static int bound_cores(const binding *b) {
  const int most = b->processors();
  int places = b->places(), widest = 1, cores = 0;
  if (places < 1 || most < 1) return 0;
  if (b->binding() == omp_proc_bind_master) places = 1; /* all of a team where its first thread is */
  for (int p = 0; p < places; p++)
    if (b->width(p) > widest) widest = b->width(p);
  int *seen = fnn_alloc(((ptrdiff_t)most + widest) * (ptrdiff_t)sizeof *seen);
  if (!seen) return 1;
  int *place = seen + most;
  for (int p = 0; p < places; p++) {
    b->read(p, place);
    for (int i = 0; i < b->width(p) && cores < most; i++) {
      int known = 0;
      while (known < cores && seen[known] != place[i]) known++;
      if (known == cores) seen[cores++] = place[i];
    }
  }
  fnn_free(seen);
  return cores;
}

static const binding of_ours = {omp_get_num_procs, omp_get_num_places, omp_get_place_num_procs, omp_get_place_proc_ids,
                                omp_get_proc_bind};

/* What ours grants: also 1 where it has no more threads at all (OMP_THREAD_LIMIT), or no region within this one. */
static int granted_by_ours(void) {
  if (omp_get_active_level() >= omp_get_max_active_levels()) return 1;
  const int most = omp_get_max_threads(), all = omp_get_thread_limit();
  return most < all ? most : all;
}
#endif

#if defined(_OPENMP) && defined(__linux__) && !defined(__clang__)
#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#define MOST_RUNTIMES 8
#define STAY_AWAY 10 /* s, from one that was left */
#define NEVER (-STAY_AWAY - 1)

void GOMP_parallel(void (*task)(void *), void *arg, unsigned threads, unsigned flags);

typedef struct {
  void (*parallel)(void (*)(void *), void *, unsigned, unsigned);
  int (*thread)(void), (*size)(void), (*limit)(void);
  int64_t left; /* when, in s */
  int bound;    /* cores that it binds its threads to; 0: it binds none */
} runtime;

static runtime runtimes[MOST_RUNTIMES] = {
    {GOMP_parallel, omp_get_thread_num, omp_get_num_threads, omp_get_max_threads, NEVER, 0}};
static int known = 1; /* with all else that changes, under the lock; an entry that is there stays as it is */
static atomic_int current;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

typedef struct {
  const runtime *openmp;
  fnn_region *region;
  void *arg;
} entry;

static void enter(void *arg) {
  const entry *e = arg;
  e->region(e->arg, e->openmp->thread(), e->openmp->size());
}

static void begin(void);
static pthread_once_t begun = PTHREAD_ONCE_INIT;

int fnn_current_runtime(void) {
  pthread_once(&begun, begin);
  return atomic_load(&current);
}

void fnn_open_region(int of, fnn_region *region, void *arg, int threads) {
  entry e = {&runtimes[of], region, arg};
  e.openmp->parallel(enter, &e, (unsigned)threads, 0);
}

typedef struct {
  const char *names[MOST_RUNTIMES];
  int count;
} libraries;

static int note(struct dl_phdr_info *library, size_t size, void *arg) {
  libraries *found = arg;
  (void)size;
  const char *slash = strrchr(library->dlpi_name, '/'), *name = slash ? slash + 1 : library->dlpi_name;
  const int is_one = !strncmp(name, "libgomp", 7) || !strncmp(name, "libomp", 6) || !strncmp(name, "libiomp", 7);
  if (is_one && found->count < MOST_RUNTIMES) found->names[found->count++] = library->dlpi_name;
  return 0;
}

/* All that are loaded by now; they are kept so. */
static void look_around(void) {
  libraries found = {.count = 0};
  dl_iterate_phdr(note, &found);
  for (int i = 0; i < found.count && known < MOST_RUNTIMES; i++) {
    void *library = dlopen(found.names[i], RTLD_NOLOAD | RTLD_LAZY);
    if (!library) continue;
    runtime r = {.left = NEVER};
    /* By way of void *, which ISO C has no cast from to a function. */
    *(void **)&r.parallel = dlsym(library, "GOMP_parallel");
    *(void **)&r.thread = dlsym(library, "omp_get_thread_num");
    *(void **)&r.size = dlsym(library, "omp_get_num_threads");
    *(void **)&r.limit = dlsym(library, "omp_get_max_threads");
    int is_new = r.parallel && r.thread && r.size && r.limit;
    for (int j = 0; j < known; j++) is_new &= runtimes[j].parallel != r.parallel;
    if (is_new) {
      binding b;
      *(void **)&b.processors = dlsym(library, "omp_get_num_procs");
      *(void **)&b.places = dlsym(library, "omp_get_num_places");
      *(void **)&b.width = dlsym(library, "omp_get_place_num_procs");
      *(void **)&b.read = dlsym(library, "omp_get_place_proc_ids");
      *(void **)&b.binding = dlsym(library, "omp_get_proc_bind");
      if (b.processors && b.places && b.width && b.read && b.binding) r.bound = bound_cores(&b);
      runtimes[known++] = r;
    } else {
      dlclose(library);
    }
  }
}

/* Cores for a team of the calling thread. The threads of an OpenMP that binds none are where that thread is: at one
   place where ours has pinned it. */
static int cores_of(const runtime *r) { return r->bound ? r->bound : runtimes[0].bound ? 1 : omp_get_num_procs(); }

/* Run by the one that has most cores. */
static void widen(void) {
  if (pthread_mutex_trylock(&lock)) return; /* somebody is at it */
  look_around();
  int best = atomic_load(&current);
  for (int i = 0; i < known; i++)
    if (cores_of(&runtimes[i]) > cores_of(&runtimes[best])) best = i;
  atomic_store(&current, best);
  pthread_mutex_unlock(&lock);
}

static void begin(void) {
  runtimes[0].bound = bound_cores(&of_ours);
  if (runtimes[0].bound) widen();
}

int fnn_openmp_procs(void) {
  pthread_once(&begun, begin);
  if (!runtimes[0].bound) widen(); /* this thread may have been pinned by another one since */
  return runtimes[atomic_load(&current)].bound;
}

int fnn_openmp_limit(void) {
  const int ours = granted_by_ours();
  const runtime *r = &runtimes[atomic_load(&current)];
  if (r == runtimes || !r->bound) return ours;
  /* Where ours is loaded by a thread that is pinned, it starts with a limit of as few cores: unless somebody has set
     another one, what counts is the limit of the one that runs our regions. */
  const int seen = cores_of(runtimes);
  return r->bound > seen && ours == seen ? r->limit() : ours;
}

int fnn_next_runtime(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  pthread_once(&begun, begin);
  if (pthread_mutex_trylock(&lock)) return 0; /* somebody is at it */
  look_around();
  const int from = atomic_load(&current);
  int to = from;
  for (int i = 1; i < known && to == from; i++) {
    const int next = (from + i) % known;
    if (t.tv_sec - runtimes[next].left > STAY_AWAY && cores_of(&runtimes[next]) >= cores_of(&runtimes[from])) to = next;
  }
  if (to != from) {
    runtimes[from].left = t.tv_sec;
    atomic_store(&current, to);
  }
  pthread_mutex_unlock(&lock);
  return to != from;
}
#elif defined(_OPENMP)
int fnn_current_runtime(void) { return 0; }

void fnn_open_region(int of, fnn_region *region, void *arg, int threads) {
  (void)of;
#pragma omp parallel num_threads(threads)
  region(arg, omp_get_thread_num(), omp_get_num_threads());
}

int fnn_next_runtime(void) { return 0; }

int fnn_openmp_procs(void) { return bound_cores(&of_ours); }
int fnn_openmp_limit(void) { return granted_by_ours(); }
#else
int fnn_next_runtime(void) { return 0; } /* asked for where a team was slow, which there is none of */
#endif
