/* A region is a function that all threads of a team run. runtimes.c chooses the OpenMP that runs our regions: the one
   that we are linked with, or another one in this process. regions.c runs a region on as many threads as can start. */
#ifndef FNN_RUNTIMES_H
#define FNN_RUNTIMES_H

typedef void fnn_region(void *arg, int thread, int size);

/* regions.c: runs region(arg, 0..size-1, size) on `threads` threads (at most 256), or on as many as can be started. */
void fnn_run_region(fnn_region *region, void *arg, int threads);

/* The number of the OpenMP that runs regions now. */
int fnn_current_runtime(void);
/* Runs region(arg, 0..size-1, size) on `threads` threads by OpenMP number `of`. */
void fnn_open_region(int of, fnn_region *region, void *arg, int threads);
/* From now on another OpenMP runs the regions. Returns 0 if there is no other, or each was given up lately. */
int fnn_next_runtime(void);
#endif
