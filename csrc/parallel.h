/* Threads: a task run by a team, and the barrier between its phases. Where they come from is in runtimes.c, whether a
   team is quicker than one thread in pace.c. */
#ifndef FNN_PARALLEL_H
#define FNN_PARALLEL_H
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct fnn_team fnn_team;

/* One thread of a team, or of a part of one: what a task is given. */
typedef struct {
  fnn_team *team;
  int thread, size;  /* which one, of how many */
  int offset;        /* in the whole team, of this part's thread 0 */
  int in_part;       /* 0: the team is whole */
  unsigned barriers; /* so far: only whether two numbers are equal counts, so it may wrap */
  int ends;          /* somebody has asked to end the task: all know it alike */
} fnn_member;

typedef void fnn_task(void *arg, fnn_member *me);

/* Run task(arg, me) on n threads, n at most `threads`; on the caller's alone where a team was slower lately.
   That is remembered for each calling thread and each `kind` of work: a hash of what makes a call's time. `work` is how
   much of it this call is, in any unit; 0: the task tells of its parts itself, by fnn_unit_done. Calls that run at once
   share `threads` among them; of the caller's own threads of the last second two have teams. */
void fnn_parallel(uint64_t kind, double work, int threads, fnn_task *task, void *arg);
/* The same by n threads whatever is quicker, fewer only where no more can be made. */
void fnn_parallel_forced(int threads, fnn_task *task, void *arg);
/* Nobody goes on before all are here; what was written before is seen after. */
void fnn_barrier(fnn_member *me);
/* Cut the whole team into so many parts, at most its size, of one or more threads each: which part this thread is in,
   and its place there. All threads of the team call it. A part's barriers are its own, but a part is not cut again and
   tells of no units; after their parts' work all go on with `me`. */
int fnn_split(fnn_member *me, int parts, fnn_member *in_part);
/* As fnn_barrier, of threads that wait for one that works alone meanwhile: the time does not count. */
void fnn_unit_starts(fnn_member *me);
/* A unit of a long task is done, `work` of it, or 0 if it is not to count. Whether the task should end here, and be run
   again for the rest of its work: by one thread, or by a team. Between two of these is a barrier; all of the team get
   one answer. */
int fnn_unit_done(fnn_member *me, double work);

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
