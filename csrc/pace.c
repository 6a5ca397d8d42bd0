/* The rule. A team may fall behind what one thread would have taken by LIMIT, summed up from when it was last level: an
   ordinary hiccup of the machine, of a few ms, is made good by the units around it, a busy core is not. Then one thread
   works for a while, and the team is looked at again; each time that it is still behind, the next while is twice as
   long, until looking costs one part in LOOK_SHARE. So what is lost is bounded whatever the pattern of the times.
   How long one thread takes is looked at, too: a few units, of which the least counts, as soon as that costs no more
   than SPARE of the time that the team has had, the first time FIRST_SPARE of it; or at once where a unit is much
   longer than the least one so far. */
#include "pace.h"

#define LIMIT 12e6           /* ns */
#define SPARE 0.02           /* of the time, for looks at one thread; */
#define FIRST_SPARE 0.1      /* and for the first */
#define LOOK_UNITS 3         /* of one thread: the first may find its data with the other core; */
#define LONG_UNIT 2e6        /* of such a one does, ns */
#define MUCH_LONGER 2        /* times the least: worth a look */
#define FIRST_INTERVAL 5e7   /* ns between two looks at one thread; then twice as long each time, */
#define LONGEST_INTERVAL 4e9 /* to this */
#define TEAM_LOOK 4e6        /* ns of a look at the team, at least; */
#define TEAM_LOOK_LIMIT 1e6  /* and what it may fall behind meanwhile */
#define SUSPECT_LIMIT 2e6    /* the same where the team has won nothing of late */
#define MEMORY 4e9           /* ns that "of late" is */
#define LOOK_SHARE 50        /* the longest pause, over what the look before it lost */
#define LONGEST_PAUSE 1e9    /* ns */

static double larger(double a, double b) { return a > b ? a : b; }
static double smaller(double a, double b) { return a < b ? a : b; }

static void look_alone(fnn_pace *p) {
  p->mode = FNN_LOOK_ALONE;
  p->units = 0;
  p->look = 0;
  p->spare = 0;
}

static void rest(fnn_pace *p, double pause, int64_t now) {
  p->mode = FNN_ALONE;
  p->pause = smaller(larger(pause, TEAM_LOOK), LONGEST_PAUSE);
  p->until = now + (int64_t)p->pause;
}

/* What the team has won against one thread counts less and less. */
static void add_gain(fnn_pace *p, double ns, int64_t now) {
  p->gain = p->gain * larger(0, 1 - (double)(now - p->gain_time) / MEMORY) + ns;
  p->gain_time = now;
}

static void go_on_as_a_team(fnn_pace *p) {
  p->mode = FNN_AS_A_TEAM;
  p->behind = 0;
}

void fnn_pace_forgive(fnn_pace *p) {
  go_on_as_a_team(p);
  p->least = 0;
}

/* Twice the last one, until what a look at the team loses is little of it. */
static double longer_pause(const fnn_pace *p) {
  return larger(p->pause, smaller(2 * p->pause, LOOK_SHARE * p->behind));
}

static enum fnn_pace_answer note_team(fnn_pace *p, double work, double ns, int threads, int64_t now) {
  const double rate = ns / work;
  const int is_long = p->least > 0 && rate > MUCH_LONGER * p->least;
  if (!(p->least > 0) || rate < p->least) p->least = rate;
  p->spare += (p->alone > 0 ? SPARE : FIRST_SPARE) * ns;
  if (p->alone > 0) {
    const double lost = ns - p->alone * work;
    p->behind = larger(0, p->behind + lost);
    add_gain(p, -lost, now);
    if (p->behind > (p->gain > 0 ? LIMIT : SUSPECT_LIMIT)) {
      rest(p, p->gain > 0 ? p->behind : larger(p->behind, longer_pause(p)), now);
      return FNN_BEHIND;
    }
  } else if (is_long) {
    look_alone(p);
    return FNN_CHANGE;
  }
  /* Where its speed is not known, one thread may take as many times as long as the team has threads. */
  const double more = p->alone > 0 ? p->alone * work - ns : (threads - 1) * ns;
  if (now >= p->next_look && p->spare > larger(more, 0) * (ns < LONG_UNIT ? LOOK_UNITS : 1)) {
    look_alone(p);
    return FNN_CHANGE;
  }
  return FNN_GO_ON;
}

static enum fnn_pace_answer note_look_alone(fnn_pace *p, double work, double ns, int64_t now) {
  const double rate = ns / work;
  if (!p->units || rate < p->look) p->look = rate;
  if (++p->units < (ns < LONG_UNIT ? LOOK_UNITS : 1)) return FNN_GO_ON;
  /* Upwards by halves, of twice as much at most: the look may have met a hiccup. */
  p->alone = p->alone > 0 && p->look > p->alone ? (p->alone + smaller(p->look, 2 * p->alone)) / 2 : p->look;
  p->interval = p->interval > 0 ? smaller(2 * p->interval, LONGEST_INTERVAL) : FIRST_INTERVAL;
  p->next_look = now + (int64_t)p->interval;
  p->mode = FNN_AS_A_TEAM;
  return FNN_CHANGE;
}

static enum fnn_pace_answer note_alone(fnn_pace *p, double work, double ns, int64_t now) {
  const double rate = ns / work;
  p->alone = rate < p->alone ? rate : p->alone + (smaller(rate, 2 * p->alone) - p->alone) / 64;
  if (now < p->until) return FNN_GO_ON;
  p->mode = FNN_LOOK_TEAM;
  p->behind = p->look = 0;
  return FNN_CHANGE;
}

static enum fnn_pace_answer note_look_team(fnn_pace *p, double work, double ns, int64_t now) {
  p->behind += ns - p->alone * work;
  add_gain(p, p->alone * work - ns, now);
  p->look += ns;
  const int lost = p->behind > larger(TEAM_LOOK_LIMIT, p->alone * work / 8);
  if (!lost && p->look < TEAM_LOOK) return FNN_GO_ON;
  if (!lost && p->behind <= 0) {
    go_on_as_a_team(p);
    return FNN_GO_ON;
  }
  rest(p, longer_pause(p), now);
  return FNN_BEHIND;
}

enum fnn_pace_answer fnn_pace_note(fnn_pace *p, double work, double ns, int threads, int64_t now) {
  if (!(work > 0)) return FNN_GO_ON;
  switch (p->mode) {
  case FNN_AS_A_TEAM: return note_team(p, work, ns, threads, now);
  case FNN_LOOK_ALONE: return note_look_alone(p, work, ns, now);
  case FNN_ALONE: return note_alone(p, work, ns, now);
  case FNN_LOOK_TEAM: return note_look_team(p, work, ns, now);
  }
  return FNN_GO_ON;
}
