/* The OpenMP that runs our regions: the one we are linked with, or another that is in the process. And regions.c: a
   region on as many threads as there can be. */
#ifndef FNN_RUNTIMES_H
#define FNN_RUNTIMES_H

typedef void fnn_region(void *arg, int thread, int size);

/* regions.c: region(arg, 0..size-1, size) on `threads` threads, at most 256, or fewer where no more can be made. */
void fnn_run_region(fnn_region *region, void *arg, int threads);

/* Which OpenMP runs regions now: a number. */
int fnn_current_runtime(void);
/* region(arg, 0..size-1, size) on `threads` threads by OpenMP number `of`. */
void fnn_open_region(int of, fnn_region *region, void *arg, int threads);
/* Run the next ones by another OpenMP. 0: there is none, or each was left only lately. */
int fnn_next_runtime(void);
#endif
