/* Teams of threads that run a task, and their barriers. runtimes.c and regions.c get the threads from OpenMP; pace.c
   decides whether a team is quicker than one thread. */
#ifndef FNN_PARALLEL_H
#define FNN_PARALLEL_H
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct fnn_team fnn_team;

/* One thread of a team, or of a part of a team. A task is given this. */
typedef struct {
  fnn_team *team;
  int thread, size;  /* the number of this thread, from 0, and how many there are */
  int offset;        /* the number of this part's thread 0 in the whole team */
  int in_part;       /* 1: a part of a team; 0: a whole team */
  unsigned barriers; /* how many so far; it may wrap, because numbers are only compared for equality */
  int ends;          /* thread 0 has asked to end the task; after a barrier all threads know it */
} fnn_member;

typedef void fnn_task(void *arg, fnn_member *me);

/* Runs task(arg, me) on at most `threads` threads; on the calling thread alone if a team was slower lately. What was
   measured is remembered for each calling thread and each `kind`, a hash of all that the time of a call depends on.
   `work` is the amount of work of this call, in any unit; 0: the task measures its parts by fnn_unit_done. Calls that
   run at the same time share `threads`. Within a second at most two calling threads get teams; the others run alone.
   */
void fnn_parallel(uint64_t kind, double work, int threads, fnn_task *task, void *arg);
/* The same, always on `threads` threads, even if that is slower; on fewer only if no more can be started. */
void fnn_parallel_forced(int threads, fnn_task *task, void *arg);
/* No thread goes on before all threads have come here; what they wrote before can be read after it. */
void fnn_barrier(fnn_member *me);
/* Splits the team into `parts` parts (at most its size) of one or more threads. Returns the part of this thread and
   sets its place there. All threads of the team must call it, and may use the team's barriers again afterwards. A part
   has its own barriers; it is not split again, and it does not call fnn_unit_done. */
int fnn_split(fnn_member *me, int parts, fnn_member *in_part);
/* A barrier after which the time of a unit starts anew: the work of one thread before it does not count. */
void fnn_unit_starts(fnn_member *me);
/* Tells that a unit of a long task is done: `work` of it, or 0 if its time should not count. Returns whether the task
   should end here, to be run again for the rest by one thread instead of a team, or the reverse. There must be a
   barrier between two calls; all threads of the team get the same answer. */
int fnn_unit_done(fnn_member *me, double work);

/* Splits 0..total, in steps of `step`, among the threads: the part of `thread` is *from..*to. */
void fnn_share(ptrdiff_t total, ptrdiff_t step, int threads, int thread, ptrdiff_t *from, ptrdiff_t *to);

/* Adds a number to the hash of a kind of work: like a step of FNV-1a, with 64 bits at a time. */
static inline uint64_t fnn_hash(uint64_t kind, uint64_t number) {
  return ((kind ^ number) * UINT64_C(1099511628211)) ^ (kind >> 29);
}
/* The exponent of a size as a power of two: calls of about the same size get the same kind. */
static inline uint64_t fnn_exponent(double size) {
  uint64_t bits;
  memcpy(&bits, &size, sizeof bits);
  return bits >> 52;
}
#endif
