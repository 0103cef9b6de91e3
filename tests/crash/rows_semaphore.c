/* The semaphore, killed. */
#include "harness.h"

#include "segment/member.h"

#include <errno.h>
#include <unistd.h>

/* A row's variant: how many permits there are at first; and */
enum {
    PERMITS = 15,
    DEAD_AHEAD = 16, /* the first waiter has died */
    TWO = 32,        /* the victim gives two */
    STOPPED = 64,    /* a waiter that is promised a permit is stopped; */
    ANOTHER = 128,   /* … the next in line, too, */
    BOTH = 256,      /* … and it is promised one as well; */
    TIMED = 512,     /* … and does not wait for ever */
};

static int64_t acquire(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_semaphore_acquire(w->semaphore, SHK_FOREVER);
}

static int64_t acquire_for_a_while(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_semaphore_acquire(w->semaphore, IN_TIME);
}

static int64_t acquire_within(struct world *w, int64_t timeout)
{
    return shk_semaphore_acquire(w->semaphore, timeout);
}

static int64_t acquire_nowait(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_semaphore_acquire(w->semaphore, SHK_NOWAIT);
}

static int64_t release(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_semaphore_release(w->semaphore, w->row->variant & TWO ? 2 : 1);
}

static int64_t release_one(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_semaphore_release(w->semaphore, 1);
}

static int64_t value(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_semaphore_value(w->semaphore);
}

static int64_t create(struct world *w, int64_t variant)
{
    const struct shk_semaphore_options options = {.value = variant & PERMITS};
    int64_t r = create_segment(w, 0);

    return r == 0 ? shk_semaphore_open(w->segment, SEMAPHORE, SHK_CREATE, &options, &w->semaphore)
                  : r;
}

static void wait_0(struct world *w)
{
    start_host(w, create, w->row->variant);
    if (w->row->variant & DEAD_AHEAD) {
        start_sleeper(w, acquire, 0);
        kill_actor(w, SLEEPER_1);
    }
}

static void wait_1(struct world *w)
{
    wait_0(w);
    start_sleeper(w, acquire, 0);
}

static void wait_2(struct world *w)
{
    wait_1(w);
    start_sleeper(w, acquire, 0);
}

static void host_releases(struct world *w)
{
    EXPECT(w, call(w, HOST, release_one, 0) == 0, "the host cannot release");
}

/* A promise to a waiter that is stopped then becomes older than a recheck interval. */
static void wait_stopped(struct world *w)
{
    start_host(w, create, 0);
    for (unsigned n = w->row->variant & ANOTHER ? 2 : 1; n > 0; n--) {
        /* Time enough to fall asleep and be stopped. */
        start_sleeper(w, acquire_within, w->row->variant & TIMED ? SHK_MS(250) : SHK_FOREVER);
        stop_actor(w, w->last_sleeper);
    }
    for (unsigned n = w->row->variant & BOTH ? 2 : 1; n > 0; n--)
        host_releases(w);
    usleep((useconds_t)((w->row->recheck + SHK_MS(1)) / 1000));
}

/*
 * The victim is woken by a permit, and held by the tracer until the host has taken that back. The
 * permit of the second time, when the victim sleeps again, is the victim's.
 */
static void host_takes_back(struct world *w)
{
    host_releases(w);
    if (w->on_sleep_runs == 0)
        EXPECT(w, call(w, HOST, acquire, 0) == 0, "the host does not get the victim's permit");
}

/* The same, when the victim has seen that it is released, and has not taken the permit yet. */
static void host_takes_back_late(struct world *w)
{
    int64_t since = now();

    if (w->on_sleep_runs == 1)
        EXPECT(w, call(w, HOST, acquire, 0) == 0, "the host does not get the victim's permit");
    else
        host_releases(w);
    /* It takes part again: the second permit is promised to it. A stopped one does not. */
    if (w->on_sleep_runs == 2 && !w->stopped && call(w, HOST, acquire_nowait, 0) == 0) {
        EXPECT(w, now() - since > SHK_MS(50), "the victim does not get it, and is awake");
        host_releases(w); /* the promise had become old */
    }
}

/* The victim is the first in line, and one comes behind it. */
static void host_lines_up_and_releases(struct world *w)
{
    start_sleeper(w, acquire, 0);
    host_releases(w);
}

/*
 * How many permits can be taken now, without waiting; a permit that is promised to the dead counts.
 */
static int64_t drain(struct world *w)
{
    int64_t n = 0;

    while (call(w, HOST, acquire_nowait, 0) == 0)
        n++;
    return n;
}

/*
 * The same, with permits that are promised to stopped waiters: found within three recheck
 * intervals.
 */
static int64_t drain_in_time(struct world *w)
{
    int64_t n = 0, r;

    while ((r = call(w, HOST, acquire_within, 4 * w->row->recheck)) == 0)
        n++;
    EXPECT(w, r == -ETIMEDOUT, "the host cannot wait: %lld", (long long)r);
    return n;
}

static unsigned sleepers_left(const struct world *w)
{
    unsigned n = 0;

    for (unsigned actor = SLEEPER_1; actor <= w->last_sleeper; actor++)
        n += is_busy(w, actor);
    return n;
}

/* Each sleeper gets a permit in the end, and just so many are there as there should be. */
static void account(struct world *w, int64_t least, int64_t most)
{
    int64_t taken = 0, missing = sleepers_left(w);

    for (; missing > 0 && taken < least;
         missing--, taken++) /* what is there for certain reaches them */
        EXPECT(w, finish_any_sleeper(w) == 0, "a sleeper did not get its permit");
    for (; missing > 0; missing--) {
        host_releases(w);
        most++;
        least++;
        EXPECT(w, finish_any_sleeper(w) == 0, "a sleeper did not get the host's permit");
        taken++;
    }
    taken += drain(w);
    EXPECT(w, taken >= least && taken <= most, "%lld permits, not %lld to %lld", (long long)taken,
           (long long)least, (long long)most);
    EXPECT(w, call(w, HOST, value, 0) == 0, "a permit is there that cannot be taken");
}

static void check_release(struct world *w)
{
    int64_t given = w->row->variant & TWO ? 2 : 1, before = w->row->variant & PERMITS;

    account(w, before + (w->acknowledged ? given : 0), before + (w->untouched ? 0 : given));
}

/* All or none of two. */
static void check_release_two(struct world *w)
{
    int64_t there = call(w, HOST, value, 0);

    EXPECT(w, there == 0 || there == 2, "one of two permits");
    EXPECT(w, !w->acknowledged || there == 2, "acknowledged permits are lost");
    check_release(w);
}

/* The victim has its permit, or has taken it along, or not. */
static void check_acquire(struct world *w)
{
    int64_t permits = (w->row->variant & PERMITS) + w->on_sleep_runs;
    bool took = w->acknowledged && w->result == 0;

    account(w, w->untouched ? permits : permits - (permits > 0), took ? permits - 1 : permits);
}

/* The permits that the victim has not taken reach the host while their waiters are stopped. */
static void check_take_back(struct world *w)
{
    int64_t permits = w->row->variant & BOTH ? 2 : 1, taken = drain_in_time(w);
    bool took = w->acknowledged && w->result == 0;
    bool may_have = !w->untouched && !(w->acknowledged && w->result < 0);

    EXPECT(w, taken <= permits - took && taken >= permits - may_have,
           "%lld of %lld permits reach the host", (long long)taken, (long long)permits);
    EXPECT(w, call(w, HOST, value, 0) == 0, "a permit is there that cannot be taken");
    /* The waiters have lost what they were promised, and not their places. */
    for (unsigned actor = SLEEPER_1; actor <= w->last_sleeper; actor++) {
        continue_actor(w, actor);
        if (w->row->variant & TIMED)
            EXPECT(w, finish(w, actor) == -ETIMEDOUT, "a waiter that was stopped does not give up");
        else
            EXPECT(w, falls_asleep(w, actor), "a waiter that was stopped does not wait again");
    }
    account(w, 0, 0);
}

/* The host has taken the first permit that it gave. */
static void check_taken_back(struct world *w)
{
    int64_t permits = w->row->held_in ? w->on_sleep_runs % 2 : w->on_sleep_runs > 1;
    bool took = w->acknowledged && w->result == 0;

    account(w, 0, took ? 0 : permits);
}

static void carry_on(struct world *w)
{
    start_attached(w, NEWCOMER);
    if (w->stopped) {
        for (unsigned n = sleepers_left(w); n > 0; n--)
            host_releases(w); /* they have come first, and some may have got theirs before */
        if (w->row->variant & STOPPED)
            drain_in_time(w);
        else
            drain(w);
    }
    start(w, NEWCOMER, acquire, 0);
    EXPECT(w, falls_asleep(w, NEWCOMER), "the newcomer does not wait");
    EXPECT(w, call(w, HOST, release_one, 0) == 0 && finish(w, NEWCOMER) == 0,
           "the newcomer does not get its permit");
    EXPECT(w, call(w, NEWCOMER, release_one, 0) == 0 && call(w, HOST, acquire, 0) == 0,
           "a permit is lost between the living");
}

#define RELEASES .operation = release, .check = check_release, .carry_on = carry_on
#define ACQUIRES .operation = acquire, .check = check_acquire, .carry_on = carry_on
#define TAKES_BACK \
    .operation = acquire, .setup = wait_stopped, .check = check_take_back, .carry_on = carry_on

/* clang-format off */
static const struct row rows[] = {
    {"shk_semaphore_release", "0, no waiter", .setup = wait_0, RELEASES},
    {"shk_semaphore_release", "3, no waiter", .setup = wait_0, RELEASES, .variant = 3},
    {"shk_semaphore_release", "0, one waits", .setup = wait_1, RELEASES},
    {"shk_semaphore_release", "0, a dead one ahead of another", .setup = wait_1, RELEASES,
     .variant = DEAD_AHEAD},
    {"shk_semaphore_release", "two, two wait", .setup = wait_2, RELEASES, .variant = TWO},
    {"shk_semaphore_release", "two, no waiter", .setup = wait_0, .operation = release,
     .check = check_release_two, .carry_on = carry_on, .variant = TWO},
    {"shk_semaphore_acquire", "2", .setup = wait_0, ACQUIRES, .variant = 2},
    {"shk_semaphore_acquire", "0, alone", .setup = wait_0, .on_sleep = host_releases, ACQUIRES},
    {"shk_semaphore_acquire", "0, one waits behind", .setup = wait_0,
     .on_sleep = host_lines_up_and_releases, ACQUIRES},
    {"shk_semaphore_acquire", "0, one waits, released twice", .setup = wait_1,
     .on_sleep = host_releases, .on_sleep_times = 2, .recheck = SHORT_RECHECK, ACQUIRES},
    {"shk_semaphore_acquire", "0, a dead one ahead", .setup = wait_0, .on_sleep = host_releases,
     ACQUIRES, .variant = DEAD_AHEAD},
    {"shk_semaphore_acquire", "0, timeout", .setup = wait_0, .operation = acquire_for_a_while,
     .on_sleep = host_releases, .on_sleep_from = NEVER, .check = check_acquire,
     .carry_on = carry_on},
    {"shk_semaphore_acquire", "1, promised to a stopped waiter", TAKES_BACK, .recheck = SHK_MS(15),
     .variant = STOPPED},
    {"shk_semaphore_acquire", "1, promised to a stopped waiter that gives up", TAKES_BACK,
     .recheck = SHK_MS(15), .variant = STOPPED | TIMED},
    {"shk_semaphore_acquire", "2, promised to two stopped waiters", TAKES_BACK,
     .recheck = SHK_MS(15), .variant = STOPPED | ANOTHER | BOTH},
    {"shk_semaphore_acquire", "1, promised to one of two stopped waiters", TAKES_BACK,
     .recheck = SHORT_RECHECK, .variant = STOPPED | ANOTHER},
    {"shk_semaphore_acquire", "0, promised while it is stopped, and taken back", .setup = wait_0,
     .on_sleep = host_takes_back, .on_sleep_times = 2, .recheck = SHORT_RECHECK,
     .operation = acquire, .check = check_taken_back, .carry_on = carry_on},
    {"shk_semaphore_acquire", "0, promised, taken back when it is awake", .setup = wait_0,
     .on_sleep = host_takes_back_late, .on_sleep_times = 3, .held_in = shki_member_is_awake,
     .operation = acquire, .check = check_taken_back, .carry_on = carry_on},
};
/* clang-format on */
const struct rows semaphore_rows = ROWS(rows);
