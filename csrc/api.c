/* The table of the functions that other packages may find at run time (fnn_api), and fnn_function, which finds one by
   its name. */
#include <string.h>

#include "fastnn.h"

/* Checked by the compiler: each pointer in fnn_api has the type of its function, and fnn_api has no other pointers. */
#define SAME_TYPE(name)                                                                                                \
  _Static_assert(_Generic(((fnn_api *)0)->name, __typeof__(&fnn_##name): 1, default: 0),                               \
                 "fnn_api." #name " is not as fnn_" #name " is declared");
FNN_EACH_FUNCTION(SAME_TYPE)
#define ONE(name) +1
_Static_assert(sizeof(fnn_api) == offsetof(fnn_api, isa_total) + (0 FNN_EACH_FUNCTION(ONE)) * sizeof(void *),
               "fnn_api has members that FNN_EACH_FUNCTION has not");

#define POINTER(name) .name = fnn_##name,
static const fnn_api table = {.abi = FASTNN_ABI, .size = sizeof(fnn_api), FNN_EACH_FUNCTION(POINTER)};

int fnn_abi_number(void) { return FASTNN_ABI; }

const fnn_api *fnn_get_api(void) { return &table; }

#define LOOK(member)                                                                                                   \
  if (!strcmp(name, #member)) return (void *)table.member;

void *fnn_function(const char *name) {
  FNN_EACH_FUNCTION(LOOK)
  return NULL;
}
