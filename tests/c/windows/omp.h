/* For a clang without its OpenMP. */
#ifndef STUB_OMP_H
#define STUB_OMP_H
typedef enum omp_proc_bind_t {
  omp_proc_bind_master = 2
} omp_proc_bind_t;
int __cdecl omp_get_active_level(void);
int __cdecl omp_get_max_active_levels(void);
int __cdecl omp_get_max_threads(void);
int __cdecl omp_get_num_places(void);
int __cdecl omp_get_num_procs(void);
int __cdecl omp_get_num_threads(void);
int __cdecl omp_get_place_num_procs(int place);
void __cdecl omp_get_place_proc_ids(int place, int *ids);
omp_proc_bind_t __cdecl omp_get_proc_bind(void);
int __cdecl omp_get_thread_limit(void);
int __cdecl omp_get_thread_num(void);
#endif
