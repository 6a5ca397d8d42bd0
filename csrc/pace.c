/* How the choice between a team and one thread is made. The time that the team loses against one thread is added up,
   beginning when it was last as quick. It may lose LIMIT: a short delay of the machine, of a few ms, is soon won back;
   those of a busy core are not. After that the team pauses: one thread works for a while, and then the team is measured
   again (a look). Each time that the team is still too slow the next pause is twice as long, until looks cost no more
   than 1 / LOOK_SHARE of the time. So the loss is bounded for any pattern of times. One thread is measured, too: it
   does a few units, and the quickest one counts. This happens as soon as it costs no more than the part SPARE of the
   team's time (FIRST_SPARE the first time), or at once if a unit takes much longer than the quickest one so far. */
#include "pace.h"

#define LIMIT 12e6           /* ns that the team may lose */
#define SPARE 0.02           /* the part of the time that looks at one thread may cost */
#define FIRST_SPARE 0.1      /* the same for the first look */
#define LOOK_UNITS 3         /* units of a look at one thread: at first its data may be in the cache of another core */
#define LONG_UNIT 2e6        /* ns: a unit that takes so long is a look by itself */
#define MUCH_LONGER 2        /* a unit that takes so many times the least is a reason for a look */
#define FIRST_INTERVAL 5e7   /* ns between the first two looks at one thread; then twice as long each time */
#define LONGEST_INTERVAL 4e9 /* ns: the longest time between two of these looks */
#define TEAM_LOOK 4e6        /* ns that a look at the team takes at least */
#define TEAM_LOOK_LIMIT 1e6  /* ns that the team may lose in such a look */
#define SUSPECT_LIMIT 2e6    /* LIMIT for a team that has won nothing lately */
#define MEMORY 4e9           /* ns after which a gain of the team is forgotten: "lately" */
#define LOOK_SHARE 50        /* a pause is at most so many times the loss of the look before it */
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

/* Adds to what the team has won against one thread; an old gain counts less and less. */
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

/* The next pause: twice the last one, but not more than LOOK_SHARE times the loss of the last look; never shorter. */
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
  /* If the speed of one thread is not known, it may take `threads` times as long as the team. */
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
  /* A slower result counts half, and as twice the old one at most: a short delay may have disturbed the look. */
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
