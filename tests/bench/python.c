/*
 * W13: shmkit for Python beside multiprocessing, each as a Python program would use it: w13.py.
 * The objects have no names; multiprocessing has its fastest ones, SimpleQueue instead of Queue.
 */
#include "channel.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#ifdef HAVE_PYTHON_MODULE

static bool measure_python(const struct contest *contest, const struct subject *subject,
                           double figures[FIGURES])
{
    char cpus[40] = "", number[24] = "";
    static const char *const ways[] = {"acquire", "with", "put-get", "bytes",
                                       "tuple",   "trip", "wake"};

    if (contest->pinned)
        snprintf(cpus, sizeof(cpus), "%d %d", bench.cpu[0], bench.cpu[1]);
    setenv("PEER_CPUS", cpus, 1);
    if (contest->item)
        snprintf(number, sizeof(number), "%zu ", contest->item);
    return python_measures(figures, "w13.py", "%s %s %s%g", (const char *)subject->what,
                           ways[contest->capacity], number, contest_seconds(contest));
}

void run_w13(void)
{
    static const struct unit cost = {.name = "ns", .scale = 1},
                             pairs = {.name = "k/s", .more_is_better = true, .scale = 1e3},
                             wake = {.name = "us", .scale = 1e3, .also = {"first ns"}},
                             trip = {.name = "us", .scale = 1e3, .also = {"p99 ns"}};
    enum { ACQUIRE, WITH, PUT_GET, BYTES, TUPLE, TRIP, WAKE };
    static const struct {
        const char *name;
        const struct unit *unit;
        unsigned way;
        size_t number; /* bytes, or processes */
        const char *peer;
    } rows[] = {
        {"acquire and release", &cost, ACQUIRE, 0, "mp.Lock"},
        {"with lock", &cost, WITH, 0, "mp.Lock"},
        {"put and get, 64 B", &pairs, PUT_GET, 0, "mp.SimpleQueue"},
        {"64 B", &pairs, BYTES, 64, "mp.SimpleQueue"},
        {"64 KiB", &pairs, BYTES, 65536, "mp.SimpleQueue"},
        {"a tuple", &pairs, TUPLE, 0, "mp.SimpleQueue"},
        {"round trip", &trip, TRIP, 0, "mp.SimpleQueue"},
        {"100 processes", &wake, WAKE, 100, "mp.Event"},
    };

    for (size_t i = 0; i < COUNT(rows); i++) {
        const struct subject subjects[] = {{"shmkit for Python", OURS, "shmkit"},
                                           {rows[i].peer, PEER, "mp"},
                                           {"bare futex", LIMIT, "futex"}};
        struct contest contest = {.workload = "W13",
                                  .row = rows[i].name,
                                  .place = rows[i].way == WAKE ? "unpinned" : "pinned",
                                  .unit = rows[i].unit,
                                  .measure = measure_python,
                                  .item = rows[i].number,
                                  .capacity = rows[i].way,
                                  .pinned = rows[i].way != WAKE};
        if (bench.smoke && rows[i].way == WAKE)
            contest.item = 4;
        contest_run(&contest, subjects, COUNT(subjects) - (rows[i].way != WAKE));
    }
}

#endif
