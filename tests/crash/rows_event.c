/* The event, killed. */
#include "harness.h"

/* A row's variant. */
enum {
    SET = 1,        /* at the beginning */
    DEAD_AHEAD = 2, /* the first waiter has died */
};

static int64_t set(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_event_set(w->event);
}

static int64_t clear(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_event_clear(w->event);
}

static int64_t is_set(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_event_is_set(w->event);
}

static int64_t wait(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_event_wait(w->event, SHK_FOREVER);
}

static int64_t wait_for_a_while(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_event_wait(w->event, IN_TIME);
}

static int64_t create(struct world *w, int64_t variant)
{
    int64_t r = create_segment(w, 0);

    if (r == 0)
        r = shk_event_open(w->segment, EVENT, SHK_CREATE, NULL, &w->event);
    return r == 0 && variant & SET ? set(w, 0) : r;
}

static void set_0(struct world *w)
{
    start_host(w, create, w->row->variant);
    if (w->row->variant & DEAD_AHEAD) {
        start_sleeper(w, wait, 0);
        kill_actor(w, SLEEPER_1);
    }
}

static void set_1(struct world *w)
{
    set_0(w);
    start_sleeper(w, wait, 0);
}

static void set_3(struct world *w)
{
    set_1(w);
    start_sleeper(w, wait, 0);
    start_sleeper(w, wait, 0);
}

static void host_sets(struct world *w)
{
    EXPECT(w, call(w, HOST, set, 0) == 0, "the host cannot set");
}

static void host_flashes(struct world *w)
{
    host_sets(w);
    EXPECT(w, call(w, HOST, clear, 0) == 0, "the host cannot clear");
}

static void all_come_back(struct world *w)
{
    for (unsigned actor = SLEEPER_1; actor <= w->last_sleeper; actor++)
        if (is_busy(w, actor))
            EXPECT(w, finish(w, actor) == 0, "a wait was not ended by the set");
}

/*
 * Either it is set, and all come back; or nothing has happened, and they are still there for the
 * next.
 */
static void check_set(struct world *w)
{
    bool there = call(w, HOST, is_set, 0);

    EXPECT(w, there || !w->acknowledged, "it is not set");
    EXPECT(w, !there || !w->untouched || w->row->variant & SET, "it is set, but not by the victim");
    for (unsigned actor = SLEEPER_1; !there && actor <= w->last_sleeper; actor++)
        EXPECT(w, !is_busy(w, actor) || !finished(w, actor), "a wait has ended, and it is not set");
    if (!there)
        host_sets(w);
    all_come_back(w);
}

static void check_clear(struct world *w)
{
    bool there = call(w, HOST, is_set, 0);

    EXPECT(w, !there || !w->acknowledged, "it is still set");
    EXPECT(w, there || !w->untouched || !(w->row->variant & SET),
           "it was cleared, but not by the victim");
}

/* The waiters beside the victim come back when the host has set, and not before. */
static void check_wait(struct world *w)
{
    if (!w->on_sleep_runs)
        for (unsigned actor = SLEEPER_1; actor <= w->last_sleeper; actor++)
            EXPECT(w, !finished(w, actor), "a wait has ended, and it was not set");
    if (!w->on_sleep_runs)
        host_sets(w);
    all_come_back(w);
}

static void carry_on(struct world *w)
{
    start_attached(w, NEWCOMER);
    for (int i = 0; i < 2; i++) {
        unsigned waiter = i ? HOST : NEWCOMER, setter = i ? NEWCOMER : HOST;

        EXPECT(w, call(w, waiter, clear, 0) == 0 && !call(w, setter, is_set, 0),
               "it cannot be cleared");
        start(w, waiter, wait, 0);
        EXPECT(w, falls_asleep(w, waiter), "there is no waiting");
        EXPECT(w, call(w, setter, set, 0) == 0 && finish(w, waiter) == 0, "a set does not release");
        EXPECT(w, call(w, waiter, wait, 0) == 0, "it is not set");
    }
}

#define SETS   .operation = set, .check = check_set, .carry_on = carry_on
#define CLEARS .operation = clear, .check = check_clear, .carry_on = carry_on
#define WAITS  .check = check_wait, .carry_on = carry_on

/* clang-format off */
static const struct row rows[] = {
    {"shk_event_set", "clear, no waiter", .setup = set_0, SETS},
    {"shk_event_set", "clear, one waits", .setup = set_1, SETS},
    {"shk_event_set", "clear, three wait", .setup = set_3, SETS},
    {"shk_event_set", "clear, a dead one waits", .setup = set_0, SETS, .variant = DEAD_AHEAD},
    {"shk_event_set", "clear, a dead one ahead of another", .setup = set_1, SETS,
     .variant = DEAD_AHEAD},
    {"shk_event_set", "set", .setup = set_0, SETS, .variant = SET},
    {"shk_event_clear", "set", .setup = set_0, CLEARS, .variant = SET},
    {"shk_event_clear", "clear", .setup = set_0, CLEARS},
    {"shk_event_wait", "set", .setup = set_0, .operation = wait, WAITS, .variant = SET},
    {"shk_event_wait", "clear, alone", .setup = set_0, .operation = wait, .on_sleep = host_sets,
     WAITS},
    {"shk_event_wait", "clear, alone, set after a recheck", .setup = set_0, .operation = wait,
     .on_sleep = host_sets, .on_sleep_from = 2, .recheck = SHORT_RECHECK, WAITS},
    {"shk_event_wait", "clear, one waits, set and cleared at once", .setup = set_1,
     .operation = wait, .on_sleep = host_flashes, WAITS},
    {"shk_event_wait", "clear, a dead one ahead", .setup = set_0, .operation = wait,
     .on_sleep = host_sets, WAITS, .variant = DEAD_AHEAD},
    {"shk_event_wait", "clear, timeout", .setup = set_0, .operation = wait_for_a_while,
     .on_sleep = host_sets, .on_sleep_from = NEVER, WAITS},
};
/* clang-format on */
const struct rows event_rows = ROWS(rows);
