/* Where threads come from: the OpenMP that runs our regions, the one we are linked with or another that is in the
   process; a forked child, where its threads are gone; a machine that gives no more of them. */
#ifndef FNN_RUNTIMES_H
#define FNN_RUNTIMES_H

typedef void fnn_region(void *arg, int thread, int size);

/* region(arg, 0..size-1, size) on `threads` threads, at most 256, or on as many as there can be. */
void fnn_run_region(fnn_region *region, void *arg, int threads);
/* Run the next ones by another OpenMP. 0: there is none, or each was left only lately. */
int fnn_next_runtime(void);
#endif
