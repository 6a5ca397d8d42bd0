/* A wheel brings an OpenMP of its own, as PyTorch's and scikit-learn's do, and each keeps its threads spinning for a
   while after a region. Called in turn, two of them fight for the cores: so whoever finds his team late may move in
   with another, whose threads are then the same. By GOMP_parallel, which GNU's, LLVM's and Intel's all have; elsewhere
   than on Linux with gcc there is only the one that we are linked with. */
#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE /* dl_iterate_phdr */
#endif
#include "runtimes.h"

#if defined(_OPENMP)
#include <omp.h>
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
  int (*thread)(void), (*size)(void);
  int64_t left; /* when, in s */
} runtime;

static runtime runtimes[MOST_RUNTIMES] = {{GOMP_parallel, omp_get_thread_num, omp_get_num_threads, NEVER}};
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

void fnn_run_region(fnn_region *region, void *arg, int threads) {
  entry e = {&runtimes[atomic_load(&current)], region, arg};
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
    int is_new = r.parallel && r.thread && r.size;
    for (int j = 0; j < known; j++) is_new &= runtimes[j].parallel != r.parallel;
    if (is_new)
      runtimes[known++] = r;
    else
      dlclose(library);
  }
}

int fnn_next_runtime(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  if (pthread_mutex_trylock(&lock)) return 0; /* somebody is at it */
  look_around();
  const int from = atomic_load(&current);
  int to = from;
  for (int i = 1; i < known && to == from; i++) {
    const int next = (from + i) % known;
    if (t.tv_sec - runtimes[next].left > STAY_AWAY) to = next;
  }
  if (to != from) {
    runtimes[from].left = t.tv_sec;
    atomic_store(&current, to);
  }
  pthread_mutex_unlock(&lock);
  return to != from;
}
#elif defined(_OPENMP)
void fnn_run_region(fnn_region *region, void *arg, int threads) {
#pragma omp parallel num_threads(threads)
  region(arg, omp_get_thread_num(), omp_get_num_threads());
}

int fnn_next_runtime(void) { return 0; }
#endif
