/* W1, W2, W3: what goes through a channel, how fast, and how long it takes. */
#include "channel.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define SUBJECTS_MAX 40

/* The channels that can do it, in the order of the list. */
static size_t pick(struct subject *subjects,
                   bool (*can)(const struct channel *, const struct contest *),
                   const struct contest *contest)
{
    size_t n = 0;

    for (const struct channel *const *c = channels; *c && n < SUBJECTS_MAX; c++) {
        if (can(*c, contest))
            subjects[n++] = (struct subject){.name = (*c)->name, .is = (*c)->is, .what = *c};
    }
    return n;
}

/* ---- Items one way ---- */

static const struct unit items = {.name = "M/s", .more_is_better = true, .scale = 1e6};
static const struct unit hand_offs = {
    .name = "k/s", .more_is_better = true, .scale = 1e3, .also = {"longest ms", "mean run"}};

/*
 * The producer of the last item stays until it has arrived: some channels lose what is on its way
 * when their sender closes.
 */
static void leave(struct line *line, unsigned sides)
{
    if (!line->channel->detach)
        return;
    if (sides & RECEIVER)
        atomic_store(&stage->received, 1);
    while (!atomic_load(&stage->received))
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    line->channel->detach(line, sides);
}

static void one_consumer(void *argument, unsigned role)
{
    struct line *line = argument;
    struct note *note = &stage->role[role];
    double seconds = 0;
    uint64_t runs = 0;

    line_attach(line, RECEIVER);
    stage_ready();
    note->count = line->producers == 1
                      ? line->channel->loops->consume(line, &seconds)
                      : line->channel->loops->consume_shared(line, &seconds, &runs);
    note->figure[0] = seconds;
    note->figure[1] = (double)runs;
    leave(line, RECEIVER);
}

static void one_producer(void *argument, unsigned role)
{
    struct line *line = argument;
    int64_t longest = 0;

    line_attach(line, SENDER);
    stage_ready();
    if (line->producers == 1)
        line->channel->loops->produce(line, 0);
    else
        line->channel->loops->produce_timed(line, role - 1, &longest);
    stage->role[role].figure[0] = (double)longest;
    leave(line, SENDER);
}

static bool python_one_way(const struct contest *contest, double figures[FIGURES])
{
    char cpus[40] = "";

    if (contest->pinned)
        snprintf(cpus, sizeof(cpus), "%d %d", bench.cpu[0], bench.cpu[1]);
    setenv("PEER_CPUS", cpus, 1);
    return python_measures(figures, "peer.py throughput", "%zu %u %u %g", contest->item,
                           contest->capacity, contest->n, contest_seconds(contest));
}

bool measure_one_way(const struct contest *contest, const struct subject *subject,
                     double figures[FIGURES])
{
    const struct channel *channel = subject->what;
    struct line line;
    bool well;

    if (!line_create(&line, channel, 0, contest->item, contest->capacity, contest->n))
        return false;
    if (channel->python) {
        well = python_one_way(contest, figures);
        line_destroy(&line);
        return well;
    }
    team_start();
    team_add(one_consumer, &line, contest_cpu(contest, 0));
    for (unsigned i = 0; i < contest->n; i++)
        team_add(one_producer, &line, contest_cpu(contest, i + 1));
    well = team_run(contest_seconds(contest));
    line_destroy(&line);
    if (!well)
        return false;

    double seconds = stage->role[0].figure[0], passed = (double)stage->role[0].count, longest = 0;
    if (passed < 1 || seconds <= 0)
        return team_fails("nothing has come through");
    for (unsigned i = 1; i <= contest->n; i++)
        longest = fmax(longest, stage->role[i].figure[0]);
    figures[0] = passed / seconds;
    figures[1] = longest / 1e6;
    figures[2] = passed / fmax(stage->role[0].figure[1], 1);
    return true;
}

static bool goes_one_way(const struct channel *channel, const struct contest *contest)
{
    if (channel->python)
        return strcmp(channel->python, "queue") == 0;
    return channel->capacity_max == 0 &&
           (channel->item_max == 0 || contest->item <= channel->item_max);
}

static void throughput(bool pinned)
{
    static const struct {
        const char *name;
        size_t item;
        unsigned capacity;
    } sizes[] = {
        {"8 B", 8, 1024}, {"64 B", 64, 1024}, {"1 KiB", 1024, 1024}, {"64 KiB", 65536, 64}};
    struct subject subjects[SUBJECTS_MAX];

    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        struct contest contest = {.workload = "W1",
                                  .row = sizes[i].name,
                                  .place = pinned ? "pinned" : "unpinned",
                                  .unit = &items,
                                  .measure = measure_one_way,
                                  .item = sizes[i].item,
                                  .capacity = sizes[i].capacity,
                                  .n = 1,
                                  .pinned = pinned};
        contest_run(&contest, subjects, pick(subjects, goes_one_way, &contest));
    }
}

void run_w1(void)
{
    throughput(true);
    throughput(false);
}

/* ---- To and fro ---- */

#define TIMES 2000000

static const struct unit trip = {.name = "ns", .scale = 1, .also = {"p99", "p99.9"}};

struct trip {
    struct line there, back;
    bool no_spin;
};

static int compare_times(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

static void attach_both(struct trip *trip, unsigned there, unsigned back)
{
    if (trip->no_spin)
        setenv("SHK_SPIN", "0", 1);
    line_attach(&trip->there, there);
    line_attach(&trip->back, back);
    stage_ready();
}

static void one_asks(void *argument, unsigned role)
{
    struct trip *trip = argument;
    struct note *note = &stage->role[role];
    uint32_t *times = malloc(TIMES * sizeof(*times));
    unsigned taken = 0;

    if (!times)
        give_up("out of memory");
    memset(times, 0, TIMES * sizeof(*times));
    attach_both(trip, SENDER, RECEIVER);
    trip->there.channel->loops->ping(&trip->there, &trip->back, times, TIMES, &taken);
    if (taken == 0)
        give_up("nothing has come back");
    qsort(times, taken, sizeof(*times), compare_times);
    note->figure[0] = times[taken / 2];
    note->figure[1] = times[(size_t)taken * 99 / 100];
    note->figure[2] = times[(size_t)taken * 999 / 1000];
    leave(&trip->there, SENDER);
}

static void one_answers(void *argument, unsigned role)
{
    struct trip *trip = argument;

    (void)role;
    attach_both(trip, RECEIVER, SENDER);
    trip->there.channel->loops->pong(&trip->there, &trip->back);
    leave(&trip->there, RECEIVER);
}

static bool measure_trip(const struct contest *contest, const struct subject *subject,
                         double figures[FIGURES])
{
    const struct channel *channel = subject->what;
    struct trip trip = {.no_spin = contest->n != 0};
    bool well;

    if (!line_create(&trip.there, channel, 0, contest->item, contest->capacity, 1))
        return false;
    if (channel->python) {
        char cpus[40] = "";
        if (contest->one_cpu || contest->pinned)
            snprintf(cpus, sizeof(cpus), "%d %d", bench.cpu[0],
                     bench.cpu[contest->one_cpu ? 0 : 1]);
        setenv("PEER_CPUS", cpus, 1);
        well =
            python_measures(figures, "peer.py", "%s %g", channel->python, contest_seconds(contest));
        line_destroy(&trip.there);
        return well;
    }
    if (!line_create(&trip.back, channel, 1, contest->item, contest->capacity, 1)) {
        line_destroy(&trip.there);
        return false;
    }
    team_start();
    team_add(one_asks, &trip, contest_cpu(contest, 0));
    team_add(one_answers, &trip, contest_cpu(contest, 1));
    well = team_run(contest_seconds(contest));
    line_destroy(&trip.there);
    line_destroy(&trip.back);
    for (int i = 0; well && i < 3; i++)
        figures[i] = stage->role[0].figure[i];
    return well;
}

static bool goes_to_and_fro(const struct channel *channel, const struct contest *contest)
{
    if (!channel->python && !channel->loops->ping)
        return false;
    /*
     * A channel that only spins has nothing to show where the other side cannot run meanwhile, or
     * where both are to sleep.
     */
    if ((contest->one_cpu || contest->n) && channel->is & SPINS)
        return false;
    return true;
}

static void round_trips(const char *row, const char *place, bool pinned, bool one_cpu, bool no_spin)
{
    struct subject subjects[SUBJECTS_MAX];
    struct contest contest = {.workload = "W3",
                              .row = row,
                              .place = place,
                              .unit = &trip,
                              .measure = measure_trip,
                              .item = 8,
                              .capacity = 64,
                              .pinned = pinned,
                              .one_cpu = one_cpu,
                              .by_little = pinned || one_cpu,
                              .n = no_spin};

    contest_run(&contest, subjects, pick(subjects, goes_to_and_fro, &contest));
}

void run_w3(void)
{
    if (bench.cpus > 1)
        round_trips("awake", "pinned", true, false, false);
    round_trips("awake", "unpinned", false, false, false);
    round_trips("asleep", "one CPU", false, true, false);
    if (bench.cpus > 1)
        round_trips("asleep", "two CPUs, SHK_SPIN=0", true, false, true);
}

/* ---- W2: the article's three producers and one consumer, with one place between them ---- */

static bool has_one_place(const struct channel *channel, const struct contest *contest)
{
    return goes_one_way(channel, contest) && channel->producers_max == 0 && !channel->no_capacity &&
           (channel->python || channel->loops->consume_shared);
}

static bool is_ours_with_one_place(const struct channel *channel, const struct contest *contest)
{
    return channel->is & OURS && strcmp(channel->name, "shmkit") == 0 &&
           has_one_place(channel, contest);
}

static void measure_wake(void)
{
    const struct subject futex = {
        .name = "raw futex", .is = LIMIT, .what = channel_named("raw futex")};
    struct contest contest = {.workload = "W2",
                              .row = "a wake-up across CPUs",
                              .place = "pinned",
                              .unit = &trip,
                              .measure = measure_trip,
                              .item = 8,
                              .capacity = 1,
                              .pinned = true};

    contest_run(&contest, &futex, 1);
}

/* s: long enough for what is rare, and short of a smoke test */
static double at_length(void)
{
    return bench.smoke ? bench.seconds : fmax(10, bench.seconds);
}

/*
 * How long a process that does not wait for anything is kept from its CPU, where four share two: a
 * producer that waits for its turn may wait so long for its CPU alone.
 */
static void busy(void *argument, unsigned role)
{
    int64_t before, after, longest = 0;

    (void)argument;
    stage_ready();
    for (before = now(); !stopped(); before = after) {
        after = now();
        if (after - before > longest)
            longest = after - before;
    }
    stage->role[role].figure[0] = (double)longest;
}

static bool measure_busy(const struct contest *contest, const struct subject *subject,
                         double figures[FIGURES])
{
    (void)subject;
    team_start();
    for (unsigned i = 0; i <= contest->n; i++)
        team_add(busy, NULL, contest_cpu(contest, i));
    if (!team_run(contest_seconds(contest)))
        return false;
    for (unsigned i = 0; i <= contest->n; i++)
        figures[0] = fmax(i == 0 ? 0 : figures[0], stage->role[i].figure[0]);
    return true;
}

static void four_busy(bool pinned)
{
    static const struct unit longest = {.name = "longest ms", .scale = 1e6};
    static const struct subject loops = {.name = "busy loops", .is = LIMIT};
    struct contest contest = {.workload = "W2",
                              .row = "4 busy processes, at length",
                              .place = pinned ? "pinned" : "unpinned",
                              .unit = &longest,
                              .measure = measure_busy,
                              .seconds = at_length(),
                              .rounds = 1,
                              .n = 3,
                              .pinned = pinned};

    contest_run(&contest, &loops, 1);
}

static void three_to_one(const char *row, bool pinned, bool is_long)
{
    struct subject subjects[SUBJECTS_MAX];
    struct contest contest = {.workload = "W2",
                              .row = row,
                              .place = pinned ? "pinned" : "unpinned",
                              .unit = &hand_offs,
                              .measure = measure_one_way,
                              .item = 8,
                              .capacity = 1,
                              .n = 3,
                              .pinned = pinned};

    if (is_long) {
        contest.seconds = at_length();
        contest.rounds = 1;
    }
    contest_run(&contest, subjects,
                pick(subjects, is_long ? is_ours_with_one_place : has_one_place, &contest));
}

void run_w2(void)
{
    if (bench.cpus > 1)
        measure_wake();
    three_to_one("3 to 1, capacity 1", true, false);
    three_to_one("3 to 1, capacity 1", false, false);
    three_to_one("3 to 1, at length", true, true);
    three_to_one("3 to 1, at length", false, true);
    four_busy(true);
    four_busy(false);
}
