/* The barrier, killed. */
#include "harness.h"

#include <errno.h>

/* A row's variant: for how many the barrier is; and */
enum {
    PARTIES = 15,
    BROKEN = 16, /* at first */
};

static int64_t wait(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_barrier_wait(w->barrier, SHK_FOREVER);
}

static int64_t wait_for_a_while(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_barrier_wait(w->barrier, IN_TIME);
}

static int64_t reset(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_barrier_reset(w->barrier);
}

static int64_t break_it(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_barrier_abort(w->barrier);
}

static int64_t is_broken(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_barrier_broken(w->barrier);
}

static int64_t create(struct world *w, int64_t variant)
{
    const struct shk_barrier_options options = {.parties = variant & PARTIES};
    int64_t r = create_segment(w, 0);

    if (r == 0)
        r = shk_barrier_open(w->segment, BARRIER, SHK_CREATE, &options, &w->barrier);
    return r == 0 && variant & BROKEN ? break_it(w, 0) : r;
}

static void wait_0(struct world *w)
{
    start_host(w, create, w->row->variant);
}

static void wait_1(struct world *w)
{
    wait_0(w);
    start_sleeper(w, wait, 0);
}

static void wait_2(struct world *w)
{
    wait_1(w);
    start_sleeper(w, wait, 0);
}

static void host_comes(struct world *w)
{
    EXPECT(w, call(w, HOST, wait, 0) >= 0, "the host is not the last to come");
}

/*
 * All waiters come back with the same answer: they have met (1), or not (0). -1: no waiter.
 */
static int come_back(struct world *w)
{
    int met = -1;

    for (unsigned actor = SLEEPER_1; actor <= w->last_sleeper; actor++) {
        if (!is_busy(w, actor))
            continue;
        int64_t r = finish(w, actor);

        EXPECT(w, r >= 0 || r == -EPIPE, "a wait gave %lld", (long long)r);
        EXPECT(w, met < 0 || met == (r >= 0), "some have met, and some have not");
        met = r >= 0;
    }
    return met;
}

/*
 * The victim is the last to come: all have met, or it never came and no waiter has noticed, or its
 * death broke the barrier.
 */
static void check_last(struct world *w)
{
    int met = 0;

    if (w->untouched)
        EXPECT(w, call(w, HOST, break_it, 0) == 0, "the host cannot abort");
    else if (!w->acknowledged && !finished(w, SLEEPER_1))
        for (int i = 0; i < 15 && !finished(w, SLEEPER_1);
             i++) /* it may have come, and not told: they find out */
            EXPECT(w, call(w, HOST, is_broken, 0) >= 0, "the host cannot look");
    if (!w->untouched && !w->acknowledged)
        EXPECT(w, call(w, HOST, break_it, 0) == 0,
               "the host cannot abort"); /* a round that is complete stays so */
    met = come_back(w);
    EXPECT(w, met == 1 || !w->acknowledged, "acknowledged, and they have not met");
    EXPECT(w, met < 1 || !w->untouched, "they have met a victim that never came");
}

/* The victim waits with others: its death breaks the barrier, by itself. */
static void check_wait(struct world *w)
{
    int met;

    if (w->untouched)
        EXPECT(w, call(w, HOST, break_it, 0) == 0, "the host cannot abort");
    else if (!w->on_sleep_runs && !w->asleep)
        EXPECT(w, call(w, HOST, break_it, 0) == 0,
               "the host cannot abort"); /* it may not have come yet */
    met = come_back(w);
    EXPECT(w, met < 1 || w->on_sleep_runs, "they have met a victim that never came");
    EXPECT(w, !w->on_sleep_runs || met != 0, "they were together, and have not met");
}

static void check_release(struct world *w)
{
    int met;

    if (!w->acknowledged)
        EXPECT(w, call(w, HOST, break_it, 0) == 0, "the host cannot abort");
    met = come_back(w);
    EXPECT(w, met < 1, "they have met without the victim");
}

static void check_reset(struct world *w)
{
    bool broken = call(w, HOST, is_broken, 0);

    EXPECT(w, !w->acknowledged || !broken, "it is still broken");
    EXPECT(w, !w->untouched || broken == !!(w->row->variant & BROKEN), "it has changed by itself");
    check_release(w);
}

static void check_abort(struct world *w)
{
    EXPECT(w, !w->acknowledged || call(w, HOST, is_broken, 0), "it is not broken");
    check_release(w);
}

static void carry_on(struct world *w)
{
    int parties = w->row->variant & PARTIES;

    start_attached(w, NEWCOMER);
    EXPECT(w, call(w, NEWCOMER, reset, 0) == 0 && call(w, HOST, is_broken, 0) == 0,
           "it cannot be reset");
    if (parties != 2)
        return;
    start(w, NEWCOMER, wait, 0);
    EXPECT(w, falls_asleep(w, NEWCOMER), "the newcomer does not wait");
    EXPECT(w, call(w, HOST, wait, 0) == 1 && finish(w, NEWCOMER) == 0,
           "host and newcomer do not meet");
}

/* clang-format off */
static const struct row rows[] = {
    {"shk_barrier_wait", "last of two", .setup = wait_1, .operation = wait, .check = check_last,
     .carry_on = carry_on, .variant = 2},
    {"shk_barrier_wait", "last of three", .setup = wait_2, .operation = wait, .check = check_last,
     .carry_on = carry_on, .variant = 3},
    {"shk_barrier_wait", "first of two", .setup = wait_0, .operation = wait, .on_sleep = host_comes,
     .check = check_wait, .carry_on = carry_on, .variant = 2},
    {"shk_barrier_wait", "second of three", .setup = wait_1, .operation = wait,
     .on_sleep = host_comes, .check = check_wait, .carry_on = carry_on, .variant = 3},
    {"shk_barrier_wait", "first of two, timeout", .setup = wait_0, .operation = wait_for_a_while,
     .on_sleep = host_comes, .on_sleep_from = NEVER, .check = check_release, .carry_on = carry_on,
     .variant = 2},
    {"shk_barrier_wait", "broken", .setup = wait_0, .operation = wait, .check = check_release,
     .carry_on = carry_on, .variant = 2 | BROKEN},
    {"shk_barrier_reset", "one of two waits", .setup = wait_1, .operation = reset,
     .check = check_reset, .carry_on = carry_on, .variant = 2},
    {"shk_barrier_reset", "broken", .setup = wait_0, .operation = reset, .check = check_reset,
     .carry_on = carry_on, .variant = 2 | BROKEN},
    {"shk_barrier_abort", "two of three wait", .setup = wait_2, .operation = break_it,
     .check = check_abort, .carry_on = carry_on, .variant = 3},
};
/* clang-format on */
const struct rows barrier_rows = ROWS(rows);
