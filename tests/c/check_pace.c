/* The choice between a team and one thread, on patterns of time that are made up: what it takes for the same work, over
   the better of always a team and always one thread. tests/test_pace.py builds and runs it. */
#include <stdio.h>
#include <stdlib.h>

#include "../../csrc/pace.h"

#define MS 1e6
#define SECONDS 1e9

/* Lost cores: for `lost` ns at the end of every `period`, from `from` to `to`; random: at places of each period, by up
   to twice as much. One thread alone meets every `alone_meets`-th loss; 0: none, it is moved to the free core. */
typedef struct {
  const char *name;
  double team, alone; /* ns of a unit, undisturbed */
  double lost, period, from, to;
  int random, alone_meets;
  double most; /* that the ratio may be */
} pattern;

static unsigned hash(unsigned i) {
  i ^= i >> 16, i *= 0x7feb352du, i ^= i >> 15, i *= 0x846ca68bu;
  return i ^ i >> 16;
}

/* Whether the team's second core is away at time t; *until: to when that holds. */
static int is_lost(const pattern *p, double t, int alone, double *until) {
  *until = 1e30;
  if (!(p->lost > 0) || t >= p->to) return 0;
  if (t < p->from) {
    *until = p->from;
    return 0;
  }
  const unsigned number = (unsigned)((t - p->from) / p->period);
  const double start = p->from + number * p->period, end = start + p->period;
  double lost = p->lost, begin = end - lost;
  if (p->random) {
    lost = 2 * p->lost * (hash(number) % 1000) / 1000.0;
    begin = start + (p->period - lost) * (hash(number + 77777) % 1000) / 1000.0;
  }
  *until = t < begin ? begin : t < begin + lost ? begin + lost : end;
  if (!(t >= begin && t < begin + lost)) return 0;
  return alone ? p->alone_meets && number % (unsigned)p->alone_meets == 0 : 1;
}

/* When a unit that starts at t ends: it does not move while a core is away. */
static double unit(const pattern *p, double t, int alone) {
  double left = alone ? p->alone : p->team, until;
  while (left > 0) {
    const int lost = is_lost(p, t, alone, &until);
    if (!lost && t + left <= until) return t + left;
    if (!lost) left -= until - t;
    t = until;
  }
  return t;
}

enum choice {
  TEAM,
  ONE,
  MEASURED
};

static double time_of(const pattern *p, enum choice choice, int units) {
  fnn_pace pace = {0};
  double t = 0;
  for (int i = 0; i < units; i++) {
    const int alone = choice == ONE || (choice == MEASURED && fnn_pace_alone(&pace));
    const double end = unit(p, t, alone);
    if (choice == MEASURED) fnn_pace_note(&pace, 1, end - t, alone ? 1 : 2, (int64_t)end);
    t = end;
  }
  return t;
}

#define EVER 1e30
static const pattern patterns[] = {
    {"nothing lost", .5 * MS, MS, 0, 1, 0, 0, 0, 0, 1.005},
    {"the team a little quicker", .95 * MS, MS, 0, 1, 0, 0, 0, 0, 1.005},
    {"the team slower", 1.2 * MS, MS, 0, 1, 0, 0, 0, 0, 1.025},
    {"the team a little slower", 1.03 * MS, MS, 0, 1, 0, 0, 0, 0, 1.025},
    {"tiny units", .02 * MS, .03 * MS, 0, 1, 0, 0, 0, 0, 1.005},
    {"tiny units, the team slower", .03 * MS, .02 * MS, 0, 1, 0, 0, 0, 0, 1.025},
    {"long units", 12 * MS, 18 * MS, 0, 1, 0, 0, 0, 0, 1.025},
    {"long units, the team slower", 24 * MS, 18 * MS, 0, 1, 0, 0, 0, 0, 1.04},
    {"2 ms every 150", .5 * MS, MS, 2 * MS, 150 * MS, 0, EVER, 0, 2, 1.02},
    {"3.5 ms every 100", .5 * MS, MS, 3.5 * MS, 100 * MS, 0, EVER, 0, 2, 1.02},
    {"3.5 ms every 100, tiny units", .02 * MS, .03 * MS, 3.5 * MS, 100 * MS, 0, EVER, 0, 2, 1.03},
    {"3.5 ms every 100, little gain", .9 * MS, MS, 3.5 * MS, 100 * MS, 0, EVER, 0, 2, 1.04},
    {"1 to 7 ms, anywhere", .5 * MS, MS, 3.5 * MS, 200 * MS, 0, EVER, 1, 2, 1.03},
    {"a core that is busy half of the time", .5 * MS, MS, 4 * MS, 8 * MS, 0, EVER, 0, 0, 1.1},
    {"a core that is busy nearly always", .5 * MS, MS, 90 * MS, 100 * MS, 0, EVER, 0, 0, 1.15},
    {"the same, tiny units", .02 * MS, .03 * MS, 4 * MS, 8 * MS, 0, EVER, 0, 0, 1.12},
    {"bursts of up to 60 ms", .5 * MS, MS, 30 * MS, 300 * MS, 0, EVER, 1, 0, 1.1},
    {"bursts of up to 20 ms", .5 * MS, MS, 10 * MS, 50 * MS, 0, EVER, 1, 0, 1.12},
    {"bursts of up to 8 ms", .5 * MS, MS, 4 * MS, 12 * MS, 0, EVER, 1, 0, 1.05},
    {"busy half of the time, at random", .5 * MS, MS, 3.9 * MS, 8 * MS, 0, EVER, 1, 0, 1.05},
    {"busy for a while", .5 * MS, MS, 4 * MS, 8 * MS, 2 * SECONDS, 4 * SECONDS, 0, 0, 1.1},
    {"one burst of 30 ms", .5 * MS, MS, 30 * MS, SECONDS, 2 * SECONDS, 3 * SECONDS, 0, 0, 1.02},
};

/* Any patterns, a core lost for up to `share` of the time: the mean and the largest of their ratios. */
static int any_patterns(const char *name, unsigned count, int share, double most_mean, double most) {
  double sum = 0, largest = 0;
  for (unsigned i = 0; i < count; i++) {
    const unsigned a = hash(6 * i), b = hash(6 * i + 1), c = hash(6 * i + 2), d = hash(6 * i + 3), e = hash(6 * i + 4);
    pattern p = {.alone = .02 * MS * (1 << a % 10), .to = EVER, .random = (int)(e % 2)};
    p.team = p.alone * (50 + b % 60) / 100;
    p.period = (2 + c % 1000) * MS / (c % 3 ? 4 : 1);
    p.lost = p.period * (d % (unsigned)share) / (p.random ? 200 : 100);
    const int units = (int)(10 * SECONDS / p.alone);
    const double team = time_of(&p, TEAM, units), one = time_of(&p, ONE, units);
    const double ratio = time_of(&p, MEASURED, units) / (team < one ? team : one);
    sum += ratio;
    if (ratio > largest) largest = ratio;
  }
  const int failed = !(sum / count <= most_mean) || largest > most;
  printf("%-40s %.3f in the mean, %.3f at most%s\n", name, sum / count, largest, failed ? ": too much" : "");
  return failed;
}

/* The argument: of how many patterns each of the last three lines is. */
int main(int argc, char **argv) {
  const unsigned count = argc > 1 ? (unsigned)atoi(argv[1]) : 300;
  int failed = 0;
  for (unsigned i = 0; i < sizeof patterns / sizeof *patterns; i++) {
    const pattern *p = &patterns[i];
    const int units = (int)(20 * SECONDS / p->alone);
    const double team = time_of(p, TEAM, units), one = time_of(p, ONE, units);
    const double ratio = time_of(p, MEASURED, units) / (team < one ? team : one);
    printf("%-40s %.3f%s\n", p->name, ratio, ratio > p->most ? " too much" : "");
    failed |= !(ratio <= p->most);
  }
  failed |= any_patterns("any, up to a twentieth of the time lost", count, 5, 1.01, 1.05);
  failed |= any_patterns("any, up to a third of the time lost", count, 33, 1.06, 1.35);
  failed |= any_patterns("any, up to nine tenths of the time lost", count, 90, 1.12, 1.9);
  return failed;
}
