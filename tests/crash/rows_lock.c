/* The lock, killed. */
#include "harness.h"

#include "object/lock.h"

#include <errno.h>
#include <sched.h>

/* A row's variant. */
enum {
    RECURSIVE = 1,
    HELD_BY_HOST = 2,   /* until on_sleep or the check has it released */
    HELD_BY_VICTIM = 4, /* when the operation begins, */
    KEPT = 8,           /* … and when it ends */
    TWICE = 16,         /* … recursively */
    ORPHANED = 32,      /* another actor has died holding it */
};

/* In the scratch: the actor in the critical section, plus 1; 0: none. */
static _Atomic uint32_t *inside(struct world *w)
{
    return (_Atomic uint32_t *)w->board->scratch;
}

static int64_t create(struct world *w, int64_t variant)
{
    struct shk_lock_options options = {.recursive = (variant & RECURSIVE) != 0};
    int64_t r = create_segment(w, 0);

    if (r == 0)
        r = shk_lock_open(w->segment, LOCK, SHK_CREATE, &options, &w->lock);
    if (r == 0)
        r = shk_lock_open(w->segment, LOCK_2, SHK_CREATE, NULL, &w->lock_2);
    return r;
}

static int64_t acquire(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_lock_acquire(w->lock, SHK_FOREVER);
}

static int64_t acquire_nowait(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_lock_acquire(w->lock, SHK_NOWAIT);
}

static int64_t acquire_in_time(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_lock_acquire(w->lock, IN_TIME);
}

static int64_t acquire_2(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_lock_acquire(w->lock_2, SHK_FOREVER);
}

static int64_t release(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_lock_release(w->lock);
}

static int64_t stamp(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_lock_stamp(w->lock);
}

static int64_t token(struct world *w, int64_t unused)
{
    uint64_t token;

    (void)unused;
    return shk_lock_token(w->lock, &token);
}

static int64_t hold(struct world *w, int64_t unused)
{
    int64_t r = acquire(w, unused);

    return r == 0 && w->row->variant & TWICE ? acquire(w, unused) : r;
}

/* A critical section. What acquire said; -EILSEQ if another actor was in it. */
static int64_t lock_once(struct world *w, int64_t unused)
{
    int64_t r = acquire(w, unused), released;

    if (r < 0)
        return r;
    /* The owner that it was taken from may have died in it. */
    if (atomic_exchange(inside(w), w->me + 1) != 0 && r != SHK_ORPHANED)
        return -EILSEQ;
    sched_yield();
    if (atomic_exchange(inside(w), 0) != w->me + 1)
        return -EILSEQ;
    released = release(w, unused);
    return released < 0 ? released : r;
}

/*
 * Each holds one of two locks and wants the other's: the sleeper here, the victim in its operation.
 */
static int64_t cross(struct world *w, int64_t unused)
{
    int64_t r = acquire_2(w, unused);

    if (r < 0)
        return r;
    r = acquire(w, unused);
    if (r >= 0)
        release(w, unused);
    shk_lock_release(w->lock_2);
    return r;
}

static void set(struct world *w)
{
    start_host(w, create, w->row->variant);
    if (w->row->variant & HELD_BY_HOST)
        EXPECT(w, call(w, HOST, acquire, 0) == 0, "the host does not get the lock");
    if (w->row->variant & ORPHANED) {
        start_attached(w, NEWCOMER);
        call(w, NEWCOMER, acquire, 0);
        kill_actor(w, NEWCOMER);
    }
}

static void one_waits(struct world *w)
{
    start_sleeper(w, lock_once, 0);
}

static void two_wait(struct world *w)
{
    one_waits(w);
    one_waits(w);
}

static void one_crosses(struct world *w)
{
    start_sleeper(w, cross, 0);
}

static void set_with_waiter(struct world *w)
{
    set(w);
    one_waits(w);
}

static void host_releases(struct world *w)
{
    EXPECT(w, call(w, HOST, release, 0) == 0, "the host cannot release");
}

/*
 * As if the host had released the lock time and again, and others had barged past the sleeper: a
 * waiter counts the releases to see that it starves.
 */
static int64_t barge_past(struct world *w, int64_t unused)
{
    (void)unused;
    for (int i = 0; i < 5000; i++)
        shki_mutex_count_release(&w->lock->shared->mutex);
    return 0;
}

static int64_t has_handoff_target(struct world *w, int64_t unused)
{
    (void)unused;
    return atomic_load(&w->lock->shared->mutex.handoff_target) != 0;
}

/* The victim requests a handoff before it sleeps again. */
static void host_barges_past_then_releases(struct world *w)
{
    if (w->on_sleep_runs == 0) {
        call(w, HOST, barge_past, 0);
    } else {
        EXPECT(w, w->stopped || call(w, HOST, has_handoff_target, 0) == 1,
               "the victim has not requested a handoff");
        host_releases(w);
    }
}

/* How often SHK_ORPHANED must have been said by the end, and may have been. */
static void orphans(const struct world *w, int *least, int *most)
{
    int64_t variant = w->row->variant;

    *least = *most = (variant & ORPHANED) != 0;
    if (variant & KEPT) {
        *least = *most = 1;
    } else if (variant & HELD_BY_VICTIM) {
        *least = w->untouched;
        *most = !w->acknowledged;
    } else if (w->acknowledged && w->result >= 0) {
        *least = *most = 1;
    } else if (!w->acknowledged && !w->untouched && !w->asleep) {
        *most = 1;
    }
}

static int told(struct world *w, unsigned actor, int64_t r)
{
    EXPECT(w, r == 0 || r == SHK_ORPHANED, "actor %u got %lld from the lock", actor, (long long)r);
    return r == SHK_ORPHANED;
}

static void check(struct world *w)
{
    int least, most, count = 0;

    if (w->row->variant & HELD_BY_HOST &&
        w->on_sleep_runs < (w->row->on_sleep_times ? w->row->on_sleep_times : 1))
        host_releases(w);
    for (unsigned actor = SLEEPER_1; actor <= w->last_sleeper; actor++)
        count += told(w, actor, finish(w, actor));
    count += told(w, HOST, call(w, HOST, lock_once, 0));
    EXPECT(w, call(w, HOST, has_handoff_target, 0) == 0,
           "a dead handoff target has not been removed");
    orphans(w, &least, &most);
    EXPECT(w, count >= least && count <= most, "%d were told SHK_ORPHANED, not %d to %d", count,
           least, most);
}

/*
 * The victim held the first lock to the end. If there was a cycle for long enough, one of the two
 * gave way.
 */
static void check_cross(struct world *w)
{
    int64_t r = finish(w, SLEEPER_1);

    EXPECT(w, r == SHK_ORPHANED || (r == -EDEADLK && !w->untouched),
           "the other of the cycle got %lld", (long long)r);
    EXPECT(w, !w->acknowledged || w->result == (r == -EDEADLK ? 0 : -EDEADLK),
           "the victim got %lld, the other %lld", (long long)w->result, (long long)r);
    if (r == -EDEADLK)
        EXPECT(w, told(w, HOST, call(w, HOST, lock_once, 0)), "no actor was told SHK_ORPHANED");
}

static void carry_on(struct world *w)
{
    start_attached(w, NEWCOMER);
    for (int i = 0; i < 2; i++) {
        int orphaned = told(w, NEWCOMER, call(w, NEWCOMER, lock_once, 0)) +
                       told(w, HOST, call(w, HOST, lock_once, 0));

        EXPECT(w, !orphaned || w->stopped, "SHK_ORPHANED was said once more");
    }
}

#define CHECKS .check = check, .carry_on = carry_on

/* clang-format off */
static const struct row rows[] = {
    {"shk_lock_acquire", "free", .setup = set, .operation = acquire, CHECKS},
    {"shk_lock_acquire", "free, recursive", .setup = set, .operation = acquire, CHECKS,
     .variant = RECURSIVE},
    {"shk_lock_acquire", "the caller's, recursive", .setup = set, .prepare = hold,
     .operation = acquire, CHECKS, .variant = RECURSIVE | HELD_BY_VICTIM | KEPT},
    {"shk_lock_acquire", "the caller's, not recursive", .setup = set, .prepare = hold,
     .operation = acquire, CHECKS, .variant = HELD_BY_VICTIM | KEPT},
    {"shk_lock_acquire", "its holder has died", .setup = set, .operation = acquire, CHECKS,
     .variant = ORPHANED},
    {"shk_lock_acquire", "held, released then", .setup = set, .operation = acquire,
     .on_sleep = host_releases, CHECKS, .variant = HELD_BY_HOST},
    {"shk_lock_acquire", "held, released after a recheck", .setup = set, .operation = acquire,
     .on_sleep = host_releases, .on_sleep_from = 2, .recheck = SHORT_RECHECK, CHECKS,
     .variant = HELD_BY_HOST},
    {"shk_lock_acquire", "held, barged past, released then", .setup = set, .operation = acquire,
     .on_sleep = host_barges_past_then_releases, .on_sleep_times = 2, CHECKS,
     .variant = HELD_BY_HOST},
    {"shk_lock_acquire", "held, another waits", .setup = set_with_waiter, .operation = acquire,
     .on_sleep = host_releases, CHECKS, .variant = HELD_BY_HOST},
    {"shk_lock_acquire", "held, with a timeout", .setup = set, .operation = acquire_in_time,
     .on_sleep = host_releases, .on_sleep_from = NEVER, CHECKS, .variant = HELD_BY_HOST},
    {"shk_lock_acquire", "held, SHK_NOWAIT", .setup = set, .operation = acquire_nowait, CHECKS,
     .variant = HELD_BY_HOST},
    {"shk_lock_acquire", "a cycle of two", .setup = set, .prepare = hold, .waiters = one_crosses,
     .operation = acquire_2, .recheck = SHORT_RECHECK, .check = check_cross, .carry_on = carry_on,
     .never_stopped = true},
    {"shk_lock_release", "no waiter", .setup = set, .prepare = hold, .operation = release,
     CHECKS, .variant = HELD_BY_VICTIM},
    {"shk_lock_release", "one waits", .setup = set, .prepare = hold, .waiters = one_waits,
     .operation = release, CHECKS, .variant = HELD_BY_VICTIM},
    {"shk_lock_release", "two wait", .setup = set, .prepare = hold, .waiters = two_wait,
     .operation = release, CHECKS, .variant = HELD_BY_VICTIM},
    {"shk_lock_release", "recursive, the last level", .setup = set, .prepare = hold,
     .operation = release, CHECKS, .variant = RECURSIVE | HELD_BY_VICTIM},
    {"shk_lock_release", "recursive, a level is left, one waits", .setup = set, .prepare = hold,
     .waiters = one_waits, .operation = release, CHECKS,
     .variant = RECURSIVE | HELD_BY_VICTIM | KEPT | TWICE},
    {"shk_lock_stamp", "one waits", .setup = set, .prepare = hold, .waiters = one_waits,
     .operation = stamp, CHECKS, .variant = HELD_BY_VICTIM | KEPT},
    {"shk_lock_token", "one waits", .setup = set, .prepare = hold, .waiters = one_waits,
     .operation = token, CHECKS, .variant = HELD_BY_VICTIM | KEPT},
};
/* clang-format on */
const struct rows lock_rows = ROWS(rows);
