/* Whether a kind of work goes quicker by a team of threads or by one: what was measured decides. Without threads or a
   clock of its own, so that any pattern of times can be tried on it: tests/c/check_pace.c. */
#ifndef FNN_PACE_H
#define FNN_PACE_H
#include <stdint.h>

enum fnn_pace_mode {
  FNN_AS_A_TEAM,  /* the usual; how far it is behind one thread is counted */
  FNN_LOOK_ALONE, /* a few units by one thread, to know its speed */
  FNN_ALONE,      /* because the team was behind, for a while */
  FNN_LOOK_TEAM   /* after that while: whether it is still behind */
};

/* What is known of one kind of work. All 0: nothing. */
typedef struct {
  enum fnn_pace_mode mode;
  double alone;      /* ns that one thread takes for 1 of work, the least of its last look; 0: not known */
  double least;      /* the same of the team, the least ever; 0: not known */
  double behind;     /* ns that the team has lost against one thread since it was level with it */
  double gain;       /* ns that it has won against one thread, of late */
  int64_t gain_time; /* when that was */
  double spare;      /* ns that looking may cost */
  double look;       /* of the look that is under way: the least of one thread, or the team's time in all; ns */
  double pause;      /* ns alone, the last one */
  double interval;   /* ns between looks at one thread, the last one */
  int units;         /* of the look that is under way */
  int64_t until;     /* when the pause ends; ns */
  int64_t next_look;
} fnn_pace;

enum fnn_pace_answer {
  FNN_GO_ON,
  FNN_CHANGE, /* from the team to one thread or back: see fnn_pace_alone */
  FNN_BEHIND  /* the same, because the team lost too much */
};

/* Whether the next unit is for one thread. */
static inline int fnn_pace_alone(const fnn_pace *p) { return p->mode == FNN_LOOK_ALONE || p->mode == FNN_ALONE; }
/* A unit of so much work has taken `ns` up to `now`, by one thread or by a team of `threads`, as fnn_pace_alone said.
 */
enum fnn_pace_answer fnn_pace_note(fnn_pace *p, double work, double ns, int threads, int64_t now);
/* Something else was at fault and is changed: the team goes on, with nothing held against it. */
void fnn_pace_forgive(fnn_pace *p);
#endif
