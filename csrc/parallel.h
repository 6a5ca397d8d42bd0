/* Threads: a task run by a team, and the barrier between its phases. Where they come from is in runtimes.c, whether a
   team is quicker than one thread in pace.c. */
#ifndef FNN_PARALLEL_H
#define FNN_PARALLEL_H
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct fnn_team fnn_team;
typedef void fnn_task(void *arg, fnn_team *team, int thread);

/* Run task(arg, team, 0..n-1) on n threads, n at most `threads`; on the caller's alone where a team was slower lately.
   That is remembered for each calling thread and each `kind` of work: a hash of what makes a call's time. `work` is how
   much of it this call is, in any unit; 0: the task tells of its parts itself, by fnn_unit_done. Calls that run at once
   share `threads` among them; of the caller's own threads of the last second two have teams. */
void fnn_parallel(uint64_t kind, double work, int threads, fnn_task *task, void *arg);
/* The same by n threads whatever is quicker, fewer only where no more can be made. */
void fnn_parallel_forced(int threads, fnn_task *task, void *arg);
int fnn_team_size(const fnn_team *team);
/* Nobody goes on before all are here; what was written before is seen after. */
void fnn_barrier(fnn_team *team, int thread);
/* The same, of a thread that waits for one that works alone meanwhile: the time does not count. */
void fnn_unit_starts(fnn_team *team, int thread);
/* A unit of a long task is done, `work` of it, or 0 if it is not to count. Whether the task should end here, and be run
   again for the rest of its work: by one thread, or by a team. Between two of these is a barrier; all of the team get
   one answer. */
int fnn_unit_done(fnn_team *team, int thread, double work);

/* Part `thread` of 0..total, in steps of `step`: *from..*to. */
void fnn_share(ptrdiff_t total, ptrdiff_t step, int threads, int thread, ptrdiff_t *from, ptrdiff_t *to);

/* A kind of work, one number more: FNV-1a's step, 64 bits at a time. */
static inline uint64_t fnn_kind(uint64_t kind, uint64_t number) {
  return ((kind ^ number) * UINT64_C(1099511628211)) ^ (kind >> 29);
}
/* The power of two below a size: calls of about one size are of one kind. */
static inline uint64_t fnn_about(double size) {
  uint64_t bits;
  memcpy(&bits, &size, sizeof bits);
  return bits >> 52;
}
#endif
