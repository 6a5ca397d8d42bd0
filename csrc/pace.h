/* Decides from measured times whether a kind of work is quicker on a team of threads or on one thread. The work comes
   in units (for example batches). This code starts no threads and reads no clock, so that a test can give it any times:
   tests/c/check_pace.c. */
#ifndef FNN_PACE_H
#define FNN_PACE_H
#include <stdint.h>

enum fnn_pace_mode {
  FNN_AS_A_TEAM,  /* the normal mode: the team works, and the time that it loses against one thread is added up */
  FNN_LOOK_ALONE, /* one thread does a few units, to measure its speed */
  FNN_ALONE,      /* a pause of the team, which was too slow: one thread works */
  FNN_LOOK_TEAM   /* after the pause the team does a few units, to measure whether it is still too slow */
};

/* What is known of one kind of work. All 0: nothing is known. */
typedef struct {
  enum fnn_pace_mode mode;
  double alone;      /* ns that one thread takes for 1 of work: about the least of its last look; 0: not known */
  double least;      /* ns that the team takes for 1 of work: the least so far; 0: not known */
  double behind;     /* ns that the team has lost against one thread, since it was last as quick */
  double gain;       /* ns that the team has won against one thread lately */
  int64_t gain_time; /* when `gain` was last changed; ns */
  double spare;      /* ns that a look at one thread may cost */
  double look;       /* FNN_LOOK_ALONE: the least ns for 1 of work so far; FNN_LOOK_TEAM: the ns of all its units */
  double pause;      /* ns that the last pause of the team took */
  double interval;   /* ns between the last look at one thread and the next one */
  int units;         /* how many units the current look has done */
  int64_t until;     /* when the pause ends; ns */
  int64_t next_look;
} fnn_pace;

enum fnn_pace_answer {
  FNN_GO_ON,
  FNN_CHANGE, /* change from the team to one thread, or back: fnn_pace_alone says which */
  FNN_BEHIND  /* change to one thread, because the team has lost too much */
};

/* Whether one thread should do the next unit; else the team. */
static inline int fnn_pace_alone(const fnn_pace *p) { return p->mode == FNN_LOOK_ALONE || p->mode == FNN_ALONE; }
/* Tells that a unit of so much work took `ns` and ended at `now`. One thread or a team of `threads` did it, as
   fnn_pace_alone had said. Returns what to do for the next unit. */
enum fnn_pace_answer fnn_pace_note(fnn_pace *p, double work, double ns, int threads, int64_t now);
/* The delay had another cause, which is removed: the team works again, and what it has lost is forgotten. */
void fnn_pace_forgive(fnn_pace *p);
#endif
