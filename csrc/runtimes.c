/* Chooses the OpenMP library (a runtime) that runs our regions. Our wheel contains one, as those of PyTorch and
   scikit-learn do, and after a region each runtime keeps its threads spinning for a while. If two runtimes are used in
   turn, their threads compete for the cores. So when our team is late, our regions may be run by the other runtime, and
   both libraries use the same threads. The call is GOMP_parallel, which the runtimes of GNU, LLVM and Intel all have.
   Except on Linux with gcc, only the runtime that we are linked with is used.

   If OpenMP is asked to bind its threads to cores (OMP_PROC_BIND and the like), the runtime that is loaded first pins
   the thread that loads it to one core. A runtime that this thread loads later sees only that core, and all of its
   threads run there. If this later runtime is ours, the first one runs our regions from the beginning. */
#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE /* dl_iterate_phdr */
#endif
#include "runtimes.h"

#if defined(_OPENMP)
#include <omp.h>

#include "fastnn.h"
#include "memory.h"

/* The functions by which an OpenMP tells to which cores it binds its threads. */
typedef struct {
  int (*processors)(void), (*places)(void), (*width)(int place);
  void (*read)(int place, int *processors);
  omp_proc_bind_t (*binding)(void);
} binding;

/* To how many different cores an OpenMP binds its threads; 0: it binds no thread. */
static int bound_cores(const binding *b) {
  const int most = b->processors();
  int places = b->places(), widest = 1, cores = 0;
  if (places < 1 || most < 1) return 0;
  if (b->binding() == omp_proc_bind_master) places = 1; /* all threads of a team are where its first thread is */
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

/* How many threads our own OpenMP grants: 1 if it may have no more (OMP_THREAD_LIMIT), or if we are in a region, and it
   allows no region within a region. */
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
#define STAY_AWAY 10 /* seconds before a runtime that was given up may be used again */
#define NEVER (-STAY_AWAY - 1)

void GOMP_parallel(void (*task)(void *), void *arg, unsigned threads, unsigned flags);

typedef struct {
  void (*parallel)(void (*)(void *), void *, unsigned, unsigned);
  int (*thread)(void), (*size)(void), (*limit)(void);
  int64_t left; /* when it was given up; s */
  int bound;    /* to how many cores it binds its threads; 0: it binds no thread */
} runtime;

static runtime runtimes[MOST_RUNTIMES] = {
    {GOMP_parallel, omp_get_thread_num, omp_get_num_threads, omp_get_max_threads, NEVER, 0}};
/* Entries of `runtimes`. It and `left` change under the lock; nothing else of an entry changes. */
static int runtime_count = 1;
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

/* Adds all runtimes that are loaded now, and keeps them loaded. */
static void look_around(void) {
  libraries found = {.count = 0};
  dl_iterate_phdr(note, &found);
  for (int i = 0; i < found.count && runtime_count < MOST_RUNTIMES; i++) {
    void *library = dlopen(found.names[i], RTLD_NOLOAD | RTLD_LAZY);
    if (!library) continue;
    runtime r = {.left = NEVER};
    /* It stores through void **, because ISO C has no cast from void * to a pointer to a function. */
    *(void **)&r.parallel = dlsym(library, "GOMP_parallel");
    *(void **)&r.thread = dlsym(library, "omp_get_thread_num");
    *(void **)&r.size = dlsym(library, "omp_get_num_threads");
    *(void **)&r.limit = dlsym(library, "omp_get_max_threads");
    int is_new = r.parallel && r.thread && r.size && r.limit;
    for (int j = 0; j < runtime_count; j++) is_new &= runtimes[j].parallel != r.parallel;
    if (is_new) {
      binding b;
      *(void **)&b.processors = dlsym(library, "omp_get_num_procs");
      *(void **)&b.places = dlsym(library, "omp_get_num_places");
      *(void **)&b.width = dlsym(library, "omp_get_place_num_procs");
      *(void **)&b.read = dlsym(library, "omp_get_place_proc_ids");
      *(void **)&b.binding = dlsym(library, "omp_get_proc_bind");
      if (b.processors && b.places && b.width && b.read && b.binding) r.bound = bound_cores(&b);
      runtimes[runtime_count++] = r;
    } else {
      dlclose(library);
    }
  }
}

/* How many cores a team of the calling thread gets. If a runtime binds no thread, its threads run where the calling
   thread may run: on one core if our own runtime has pinned it. */
static int cores_of(const runtime *r) { return r->bound ? r->bound : runtimes[0].bound ? 1 : omp_get_num_procs(); }

/* From now on the runtime that has the most cores runs our regions. */
static void widen(void) {
  if (pthread_mutex_trylock(&lock)) return; /* another thread is doing it */
  look_around();
  int best = atomic_load(&current);
  for (int i = 0; i < runtime_count; i++)
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
  if (!runtimes[0].bound) widen(); /* another runtime may have pinned this thread meanwhile */
  return runtimes[atomic_load(&current)].bound;
}

int fnn_openmp_limit(void) {
  const int ours = granted_by_ours();
  const runtime *r = &runtimes[atomic_load(&current)];
  if (r == runtimes || !r->bound) return ours;
  /* If a pinned thread has loaded our own runtime, its limit is the few cores that it saw. Unless someone has changed
     this limit, the limit of the runtime that runs our regions counts. */
  const int seen = cores_of(runtimes);
  return r->bound > seen && ours == seen ? r->limit() : ours;
}

int fnn_next_runtime(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  pthread_once(&begun, begin);
  if (pthread_mutex_trylock(&lock)) return 0; /* another thread is doing it */
  look_around();
  const int from = atomic_load(&current);
  int to = from;
  for (int i = 1; i < runtime_count && to == from; i++) {
    const int next = (from + i) % runtime_count;
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
int fnn_next_runtime(void) { return 0; } /* called only if a team was slow; without OpenMP there are no teams */
#endif
