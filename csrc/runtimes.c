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
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#if !defined(_WIN32)
#include <pthread.h>
#endif

typedef struct {
  fnn_region *region;
  void *arg;
  int threads;
} entry;

#if defined(__linux__) && !defined(__clang__)
#include <dlfcn.h>
#include <link.h>
#include <stdint.h>
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
  const entry *entry;
} way_in;

static void enter(void *arg) {
  const way_in *w = arg;
  w->entry->region(w->entry->arg, w->openmp->thread(), w->openmp->size());
}

/* Whose pool of threads a region would take. */
static int pool_owner(void) { return atomic_load(&current); }

static void open_region(const entry *e) {
  way_in w = {&runtimes[atomic_load(&current)], e};
  w.openmp->parallel(enter, &w, (unsigned)e->threads, 0);
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
#else
static int pool_owner(void) { return 0; }

static void open_region(const entry *e) {
#pragma omp parallel num_threads(e->threads)
  e->region(e->arg, omp_get_thread_num(), omp_get_num_threads());
}

int fnn_next_runtime(void) { return 0; }
#endif

#if !defined(_WIN32)
/* --- as many threads as there can be: OpenMP ends the process where one cannot be started --- */

#define MOST_STARTED 256

static void *come_and_go(void *gate) {
  pthread_mutex_lock(gate);
  pthread_mutex_unlock(gate);
  return NULL;
}

/* How many threads can be there at once besides those that are, `wanted` at most: so many are started, and end. */
static int startable(int wanted) {
  pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
  pthread_t threads[MOST_STARTED];
  int started = 0;
  pthread_mutex_lock(&gate);
  while (started < wanted && started < MOST_STARTED && !pthread_create(&threads[started], NULL, come_and_go, &gate))
    started++;
  pthread_mutex_unlock(&gate);
  for (int i = 0; i < started; i++) pthread_join(threads[i], NULL);
  return started;
}

/* What OpenMP has for this thread already: the team of its last region, of one runtime. */
static _Thread_local struct {
  int size, owner;
} pool;

static void run_region(entry *e) {
  const int there = pool.size && pool.owner == pool_owner() ? pool.size : 1;
  if (e->threads > there) e->threads = there + startable(e->threads - there);
  if (e->threads == 1) {
    e->region(e->arg, 0, 1);
    return;
  }
  pool.size = e->threads, pool.owner = pool_owner();
  open_region(e);
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
  pthread_atfork(NULL, NULL, in_child);
  if (is_forked()) atomic_store(&forked, 1);
}

static void *lead(void *e) {
  run_region(e);
  return NULL;
}

void fnn_run_region(fnn_region *region, void *arg, int threads) {
  entry e = {region, arg, threads};
  pthread_t leader;
  if (!atomic_load(&forked))
    run_region(&e);
  else if (pthread_create(&leader, NULL, lead, &e))
    region(arg, 0, 1);
  else
    pthread_join(leader, NULL);
}
#else
void fnn_run_region(fnn_region *region, void *arg, int threads) {
  const entry e = {region, arg, threads};
  open_region(&e);
}
#endif
#endif
