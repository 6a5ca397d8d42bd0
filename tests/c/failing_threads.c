/* A pthread_create that gives so many threads more and then none, as under RLIMIT_NPROC or a container's limit on pids.
   Loaded before all else: tests/test_no_more_threads.py. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

static atomic_int left = 1 << 30;
void allow_threads(int count) { atomic_store(&left, count); }

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *arg) {
  static int (*create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
  if (!create) *(void **)&create = dlsym(RTLD_NEXT, "pthread_create");
  if (atomic_load(&left) <= 0) return EAGAIN;
  return create(thread, attributes, start, arg);
}
