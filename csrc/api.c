/* The table of all public functions. */
#include <string.h>

#include "fastnn.h"

#define POINTER(name) fnn_##name,
static const fnn_api table = {FASTNN_ABI, sizeof(fnn_api), FNN_EACH_FUNCTION(POINTER)};

const fnn_api *fnn_get_api(void) { return &table; }

#define LOOK(member)                                                                                                   \
  if (!strcmp(name, #member)) return (void *)table.member;

void *fnn_function(const char *name) {
  FNN_EACH_FUNCTION(LOOK)
  return NULL;
}
