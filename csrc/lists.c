/* The rows of the four lists in fastnn.h (activations, losses, optimizers, schedules) as text. */
#include "fastnn.h"

static const char *row(const char *const *rows, int count, int index) {
  return index >= 0 && index < count ? rows[index] : NULL;
}

#define TEXT(NAME, name, PLACE, SLOPE, PARAMETERS) #name "(" PARAMETERS ") " #SLOPE,
const char *fnn_activation_row(int index) {
  static const char *const rows[] = {FNN_EACH_ACTIVATION(TEXT)};
  return row(rows, FNN_ACTIVATIONS, index);
}
#undef TEXT

#define TEXT(NAME, name, OUTPUT, TARGETS, FORM, PARAMETERS) #name "(" PARAMETERS ") " #OUTPUT " " #TARGETS,
const char *fnn_loss_row(int index) {
  static const char *const rows[] = {FNN_EACH_LOSS(TEXT)};
  return row(rows, FNN_LOSSES, index);
}
#undef TEXT

#define TEXT(NAME, name, SLOTS, STEP) #name " " #SLOTS,
const char *fnn_optimizer_row(int index) {
  static const char *const rows[] = {FNN_EACH_OPTIMIZER(TEXT)};
  return row(rows, FNN_OPTIMIZERS, index);
}
#undef TEXT

#define TEXT(NAME, name, PARAMETERS) #name "(" PARAMETERS ")",
const char *fnn_schedule_row(int index) {
  static const char *const rows[] = {FNN_EACH_SCHEDULE(TEXT)};
  return row(rows, FNN_SCHEDULES, index);
}
#undef TEXT
