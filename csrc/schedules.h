/* The learning rate as a function of time t >= 0 (epochs or steps), in double. fastnn/schedules.py defines the same
   functions in Python; the sources of the formulas are there. p: the parameters of the row in fastnn.h; p[0] is lr. */
#ifndef FNN_SCHEDULES_H
#define FNN_SCHEDULES_H
#include <float.h>
#include <math.h>

#include "fastnn.h"

#define FNN_PI 3.14159265358979323846

/* From `from` at x = 0 to `to` at x = 1, along half a period of the cosine. */
static inline double fnn_along_cosine(double from, double to, double x) {
  return to + (from - to) * ((1 + cos(FNN_PI * x)) / 2);
}

static inline double fnn_rate_step(const double *p, double t) { return p[0] * pow(p[2], floor(t / p[1])); }

static inline double fnn_rate_exponential(const double *p, double t) { return p[0] * pow(p[1], t); }

static inline double fnn_rate_inverse_scaling(const double *p, double t) { return p[0] / pow(1 + t, p[1]); }

static inline double fnn_rate_cosine(const double *p, double t) {
  const double length = p[1], warmup = p[2], final = p[3];
  if (t < warmup) return p[0] * (t / warmup);
  return t < length ? fnn_along_cosine(p[0], final, (t - warmup) / (length - warmup)) : final;
}

static inline double fnn_rate_one_cycle(const double *p, double t) {
  const double length = p[1], first = p[0] / 25, last = first / 1e4, top = 0.3 * length;
  if (t < top) return fnn_along_cosine(first, p[0], t / top);
  return t < length ? fnn_along_cosine(p[0], last, (t - top) / (length - top)) : last;
}

static inline double fnn_rate(const fnn_schedule *s, double t) {
#define CASE(NAME, name, PARAMETERS)                                                                                   \
  case FNN_##NAME: return fnn_rate_##name(s->parameters, t);
  switch ((enum fnn_schedule_kind)s->kind) { FNN_EACH_SCHEDULE(CASE) }
#undef CASE
  return 0; /* not reached: fnn_is_schedule was asked before */
}

/* Whether the kind exists, and the learning rate is a finite number, and not negative, at any time. */
static inline int fnn_is_schedule(const fnn_schedule *s) {
  const double *p = s->parameters, least = 1e-300; /* of times: subnormals would be flushed to 0 */
  for (int i = 0; i < FNN_SCHEDULE_PARAMETERS; i++)
    if (!(p[i] >= 0 && p[i] <= DBL_MAX)) return 0;
  if (s->kind < 0 || s->kind >= FNN_SCHEDULES) return 0;
  switch ((enum fnn_schedule_kind)s->kind) {
  case FNN_STEP: return p[1] >= least && p[2] <= 1;
  case FNN_EXPONENTIAL: return p[1] <= 1;
  case FNN_INVERSE_SCALING: return 1;
  case FNN_COSINE: return p[1] >= least && p[2] < p[1] && (p[2] == 0 || p[2] >= least);
  case FNN_ONE_CYCLE: return p[1] >= least;
  }
  return 0;
}
#endif
