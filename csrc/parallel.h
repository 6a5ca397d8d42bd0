/* Threads: a task run by a team, and the barrier between its phases. Where they come from is in runtimes.c. */
#ifndef FNN_PARALLEL_H
#define FNN_PARALLEL_H
#include <stddef.h>

typedef struct fnn_team fnn_team;
typedef void fnn_task(void *arg, fnn_team *team, int thread);

/* Run task(arg, team, 0..n-1) on n threads, n at most `threads`; on the caller's alone where that is 1, and for a while
   after a team has stalled. Calls that run at once share `threads` among them; of
   the caller's own threads of the last second two have teams. */
void fnn_parallel(int threads, fnn_task *task, void *arg);
/* The same with no regard to stalls. */
void fnn_parallel_forced(int threads, fnn_task *task, void *arg);
int fnn_team_size(const fnn_team *team);
/* Whether a long task should part and be run again for the rest of its work: because by the last barrier a thread had
   waited for one that has lost its core, or because the while is over. All of the team get one answer. */
int fnn_regroup(const fnn_team *team);
/* Nobody goes on before all are here; what was written before is seen after. */
void fnn_barrier(fnn_team *team);

/* Part `thread` of 0..total, in steps of `step`: *from..*to. */
void fnn_share(ptrdiff_t total, ptrdiff_t step, int threads, int thread, ptrdiff_t *from, ptrdiff_t *to);
#endif
