/* The once, killed. */
#include "harness.h"

#include <errno.h>

/* A row's variant. */
enum {
    DONE = 1,      /* at first */
    BY_HOST = 2,   /* in the middle of it, until on_sleep or the check */
    BY_VICTIM = 4, /* likewise, when the operation begins */
    ORPHANED = 8,  /* another actor has died in the middle */
};

/* In the scratch: how often it has been done, and not been reset since. */
static _Atomic uint32_t *times(struct world *w)
{
    return (_Atomic uint32_t *)w->board->scratch;
}

static int64_t begin(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_once_begin(w->once, SHK_FOREVER);
}

static int64_t begin_nowait(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_once_begin(w->once, SHK_NOWAIT);
}

static int64_t done(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_once_done(w->once);
}

static int64_t abandon(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_once_abandon(w->once);
}

static int64_t reset(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_once_reset(w->once);
}

static int64_t is_done(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_once_is_done(w->once);
}

/* Do it, if it is not done: what begin said; -EILSEQ if it has been done already. */
static int64_t do_once(struct world *w, int64_t unused)
{
    int64_t r = begin(w, unused), ended;

    if (r <= 0)
        return r;
    if ((*times(w))++ != 0)
        return -EILSEQ;
    ended = done(w, unused);
    return ended < 0 ? ended : r;
}

/* As the victim, or as the host, in the middle of it: done, but for the call. */
static int64_t begin_mine(struct world *w, int64_t unused)
{
    int64_t r = begin(w, unused);

    return r == SHK_ONCE_MINE ? 0 : r < 0 ? r : -EILSEQ;
}

static int64_t create(struct world *w, int64_t variant)
{
    int64_t r = create_segment(w, 0);

    if (r == 0)
        r = shk_once_open(w->segment, ONCE, SHK_CREATE, NULL, &w->once);
    if (r == 0 && variant & DONE)
        r = do_once(w, 0) == SHK_ONCE_MINE ? 0 : -EILSEQ;
    return r;
}

static void set(struct world *w)
{
    start_host(w, create, w->row->variant);
    if (w->row->variant & BY_HOST)
        EXPECT(w, call(w, HOST, begin_mine, 0) == 0, "the host cannot begin");
    if (w->row->variant & ORPHANED) {
        start_attached(w, NEWCOMER);
        EXPECT(w, call(w, NEWCOMER, begin_mine, 0) == 0, "the newcomer cannot begin");
        kill_actor(w, NEWCOMER);
    }
}

static void one_waits(struct world *w)
{
    start_sleeper(w, do_once, 0);
}

static void two_wait(struct world *w)
{
    one_waits(w);
    one_waits(w);
}

static void host_abandons(struct world *w)
{
    EXPECT(w, call(w, HOST, abandon, 0) == 0, "the host cannot abandon");
}

/*
 * It has been done by one actor at the end, be it that the victim's done() has come through; and a
 * death in the middle was told.
 */
static void check(struct world *w)
{
    int64_t variant = w->row->variant, r;
    bool was_done = false, orphaned = false;
    int did = 0;

    if (variant & BY_HOST && w->on_sleep_runs == 0)
        host_abandons(w);
    for (unsigned actor = SLEEPER_1; actor <= w->last_sleeper; actor++) {
        r = finish(w, actor);
        EXPECT(w, r == 0 || r & SHK_ONCE_MINE, "a waiter got %lld", (long long)r);
        did += r > 0;
        orphaned |= r > 0 && r & SHK_ORPHANED;
    }
    r = call(w, HOST, do_once, 0);
    EXPECT(w, r == 0 || r & SHK_ONCE_MINE, "the host got %lld", (long long)r);
    did += r > 0;
    orphaned |= r > 0 && r & SHK_ORPHANED;
    EXPECT(w, call(w, HOST, is_done, 0) == 1, "it is not done");
    EXPECT(w, did <= 1, "it was done %d times", did);
    was_done = did == 0;
    if (w->row->operation == done) {
        EXPECT(w, !w->acknowledged || was_done, "what was done has been done again");
        EXPECT(w, !w->untouched || !was_done, "it is done, and the victim did not say so");
        EXPECT(w, was_done || orphaned, "the death was not told");
    } else if (w->row->operation == abandon) {
        EXPECT(w, !was_done, "what was abandoned is done");
        EXPECT(w, !w->acknowledged || !orphaned, "what was abandoned is told as a death");
        EXPECT(w, !w->untouched || orphaned, "the death was not told");
    } else if (w->row->operation != reset) {
        EXPECT(w, was_done == ((variant & DONE) != 0), "it is done, and no actor did it");
        EXPECT(w, !(variant & ORPHANED) || orphaned, "the first death was not told");
        EXPECT(w, !w->acknowledged || w->result <= 0 || orphaned, "the death was not told");
    }
}

/* The victim's reset; the others do it again, if it has come through. */
static int64_t forget_times(struct world *w, int64_t unused)
{
    (void)unused;
    if (shk_once_is_done(w->once) == 0)
        *times(w) = 0;
    return 0;
}

static void check_reset(struct world *w)
{
    int64_t was = call(w, HOST, is_done, 0);

    EXPECT(w, was == 0 || !w->acknowledged, "it is still done");
    EXPECT(w, was == 1 || !w->untouched || !(w->row->variant & DONE), "it was reset by itself");
    call(w, HOST, forget_times, 0);
    check(w);
}

static void carry_on(struct world *w)
{
    start_attached(w, NEWCOMER);
    for (int i = 0; i < 2; i++) {
        unsigned first = i ? HOST : NEWCOMER, second = i ? NEWCOMER : HOST;

        EXPECT(w, call(w, second, reset, 0) == 0, "it cannot be reset");
        call(w, second, forget_times, 0);
        EXPECT(w, call(w, first, do_once, 0) == SHK_ONCE_MINE, "it cannot be done");
        EXPECT(w, call(w, second, do_once, 0) == 0, "it is done twice");
    }
}

#define CHECKS .check = check, .carry_on = carry_on

/* clang-format off */
static const struct row rows[] = {
    {"shk_once_begin", "not done", .setup = set, .operation = begin, CHECKS},
    {"shk_once_begin", "done", .setup = set, .operation = begin, CHECKS, .variant = DONE},
    {"shk_once_begin", "a member has died in the middle", .setup = set, .operation = begin, CHECKS,
     .variant = ORPHANED},
    {"shk_once_begin", "another does it, and abandons", .setup = set, .operation = begin,
     .on_sleep = host_abandons, CHECKS, .variant = BY_HOST},
    {"shk_once_begin", "another does it, SHK_NOWAIT", .setup = set, .operation = begin_nowait,
     CHECKS, .variant = BY_HOST},
    {"shk_once_done", "no waiter", .setup = set, .prepare = begin_mine, .operation = done, CHECKS,
     .variant = BY_VICTIM},
    {"shk_once_done", "two wait", .setup = set, .prepare = begin_mine, .waiters = two_wait,
     .operation = done, CHECKS, .variant = BY_VICTIM},
    {"shk_once_abandon", "no waiter", .setup = set, .prepare = begin_mine, .operation = abandon,
     CHECKS, .variant = BY_VICTIM},
    {"shk_once_abandon", "one waits", .setup = set, .prepare = begin_mine, .waiters = one_waits,
     .operation = abandon, CHECKS, .variant = BY_VICTIM},
    {"shk_once_reset", "done", .setup = set, .operation = reset, .check = check_reset,
     .carry_on = carry_on, .variant = DONE},
    {"shk_once_reset", "a member has died in the middle", .setup = set, .operation = reset,
     .check = check_reset, .carry_on = carry_on, .variant = ORPHANED},
};
/* clang-format on */
const struct rows once_rows = ROWS(rows);
