/* The lists of a caller's sparse X: copied and checked. */
#include <stdatomic.h>

#include "fastnn.h"
#include "memory.h"
#include "parallel.h"

typedef struct {
  int32_t *features;
  const int64_t *starts;
  const void *from;
  int bytes;
  ptrdiff_t n, m;
  atomic_int is_illegal, is_in_disorder;
} copy_job;

/* Copies the features at places begin..end; returns whether one of them is too large for int32_t. */
static int copy(const copy_job *job, ptrdiff_t begin, ptrdiff_t end) {
  int is_too_large = 0;
  if (job->bytes == 4) {
    memcpy(job->features + begin, (const int32_t *)job->from + begin, (size_t)(end - begin) * sizeof *job->features);
    return 0;
  }
  const int64_t *from = job->from;
  for (ptrdiff_t t = begin; t < end; t++) {
    is_too_large |= from[t] < 0 || from[t] > INT32_MAX;
    job->features[t] = (int32_t)from[t];
  }
  return is_too_large;
}

/* The copies are checked, and not the caller's lists, which another thread may change. The features of all samples
   ascend if no number but the first of a sample is at most the one before it; then the two ends of a sample say whether
   all are within 0..n-1. */
static void copy_task(void *arg, fnn_member *me) {
  copy_job *job = arg;
  const int64_t *starts = job->starts;
  const int32_t *to = job->features, n = (int32_t)job->n;
  ptrdiff_t first, last;
  fnn_share(job->m, 1, me->size, me->thread, &first, &last);
  const ptrdiff_t begin = (ptrdiff_t)starts[first], end = (ptrdiff_t)starts[last];
  if (begin == end) return;
  int is_illegal = copy(job, begin, end);
  unsigned falls = 0, falls_between = 0;
  for (ptrdiff_t t = begin + 1; t < end; t++) falls += to[t] <= to[t - 1];
  for (ptrdiff_t j = first; j < last; j++) {
    const ptrdiff_t from = (ptrdiff_t)starts[j], after = (ptrdiff_t)starts[j + 1];
    if (from == after) continue;
    is_illegal |= to[from] < 0 || to[after - 1] >= n;
    falls_between += from > begin && to[from] <= to[from - 1];
  }
  if (falls != falls_between) {
    atomic_store(&job->is_in_disorder, 1);
    for (ptrdiff_t t = begin; t < end; t++) is_illegal |= to[t] < 0 || to[t] >= n;
  }
  if (is_illegal) atomic_store(&job->is_illegal, 1);
}

int fnn_sparse_lists(int32_t *features, int64_t *starts, ptrdiff_t *longest, int *ascends, const void *from_features,
                     int feature_bytes, const void *from_starts, int start_bytes, ptrdiff_t n_in, ptrdiff_t m,
                     ptrdiff_t count, int threads) {
  if (!fnn_is_size(n_in) || !fnn_is_size(m) || !fnn_is_size(count) || n_in > INT32_MAX) return FNN_NO_MEMORY;
  if ((feature_bytes != 4 && feature_bytes != 8) || (start_bytes != 4 && start_bytes != 8)) return FNN_REFUSED;
  *longest = 0;
  for (ptrdiff_t j = 0; j <= m; j++) {
    starts[j] =
        start_bytes == 8 ? ((const volatile int64_t *)from_starts)[j] : ((const volatile int32_t *)from_starts)[j];
    const int64_t before = j ? starts[j - 1] : 0;
    if (starts[j] < before || starts[j] > count) return FNN_REFUSED;
    if (starts[j] - before > *longest) *longest = (ptrdiff_t)(starts[j] - before);
  }
  if (starts[0] != 0 || starts[m] != count) return FNN_REFUSED;
  copy_job job = {
      .features = features, .starts = starts, .from = from_features, .bytes = feature_bytes, .n = n_in, .m = m};
  fnn_parallel(fnn_hash((uint64_t)(uintptr_t)copy_task, fnn_exponent((double)count)), (double)count,
               fnn_threads(threads), copy_task, &job);
  *ascends = !job.is_in_disorder;
  return job.is_illegal ? FNN_REFUSED : FNN_OK;
}
