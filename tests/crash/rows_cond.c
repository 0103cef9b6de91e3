/* The condition, killed. */
#include "harness.h"

#include <errno.h>
#include <time.h>

/* A row's variant. */
enum {
    GIVEN_LOCK = 1,    /* two conditions on one lock that was given; else its own */
    PTHREAD = 2,       /* the kind that does not survive */
    DEAD_AHEAD = 4,    /* the first waiter in line has died */
    TWICE = 8,         /* the victim holds the lock on two levels */
    HELD_BY_HOST = 16, /* until on_sleep or the check has it released */
};

static int64_t create(struct world *w, int64_t variant)
{
    struct shk_cond_options options = {.kind =
                                           variant & PTHREAD ? SHK_COND_PTHREAD : SHK_COND_ROBUST};
    int64_t r = create_segment(w, 0);

    if (r == 0 && variant & GIVEN_LOCK)
        r = shk_lock_open(w->segment, LOCK, SHK_CREATE, NULL, &w->lock);
    if (r == 0 && variant & GIVEN_LOCK)
        options.lock = w->lock;
    if (r == 0)
        r = shk_cond_open(w->segment, COND, SHK_CREATE, &options, &w->cond);
    if (r == 0 && variant & GIVEN_LOCK)
        r = shk_cond_open(w->segment, COND_2, SHK_CREATE, &options, &w->cond_2);
    return r;
}

/* ---- Acts ---- */

static int64_t acquire(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_cond_acquire(w->cond, SHK_FOREVER);
}

static int64_t release(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_cond_release(w->cond);
}

static int64_t hold(struct world *w, int64_t unused)
{
    int64_t r = acquire(w, unused);

    return r == 0 && w->row->variant & TWICE ? acquire(w, unused) : r;
}

static int64_t pass_once(struct world *w, int64_t unused)
{
    int64_t r = acquire(w, unused);

    release(w, unused);
    return r;
}

static int64_t wait_on(struct shk_cond *cond)
{
    int64_t r = shk_cond_acquire(cond, SHK_FOREVER);
    bool told = r == SHK_ORPHANED;

    if (r < 0)
        return r;
    r = shk_cond_wait(cond, SHK_FOREVER);
    shk_cond_release(cond);
    return r == 0 ? told : r;
}

/* A whole wait. 0, or SHK_ORPHANED if any step of it said so. */
static int64_t wait_once(struct world *w, int64_t unused)
{
    (void)unused;
    return wait_on(w->cond);
}

static int64_t wait_once_2(struct world *w, int64_t unused)
{
    (void)unused;
    return wait_on(w->cond_2);
}

static int64_t wait(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_cond_wait(w->cond, SHK_FOREVER);
}

static int64_t wait_for_a_while(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_cond_wait(w->cond, IN_TIME);
}

static int64_t notify_1(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_cond_notify(w->cond, 1);
}

static int64_t notify_2(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_cond_notify(w->cond, 2);
}

/* One by one along the line, unlike a broadcast, which needs no line that is whole. */
static int64_t notify_each(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_cond_notify(w->cond, 1000);
}

static int64_t notify_all(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_cond_notify_all(w->cond);
}

static int64_t notify_each_2(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_cond_notify(w->cond_2, 1000);
}

/* One of the waiters will be woken when the lock is released. */
static int64_t hold_and_notify_1(struct world *w, int64_t unused)
{
    int64_t r = hold(w, unused);

    return r == 0 ? notify_1(w, unused) : r;
}

/* ---- Scripts ---- */

static int told(struct world *w, const char *where, int64_t r)
{
    EXPECT(w, r == 0 || r == SHK_ORPHANED, "%s gave %lld", where, (long long)r);
    return r == SHK_ORPHANED;
}

static void set(struct world *w)
{
    start_host(w, create, w->row->variant);
    if (w->row->variant & HELD_BY_HOST)
        call(w, HOST, acquire, 0);
    if (w->row->variant & DEAD_AHEAD) {
        start_sleeper(w, wait_once, 0);
        kill_actor(w, SLEEPER_1);
    }
}

static void one_waits(struct world *w)
{
    start_sleeper(w, wait_once, 0);
}

static void one_passes(struct world *w)
{
    start_sleeper(w, pass_once, 0);
}

static void set_1(struct world *w)
{
    set(w);
    one_waits(w);
}

static void set_2(struct world *w)
{
    set_1(w);
    one_waits(w);
}

static void set_3(struct world *w)
{
    set_2(w);
    one_waits(w);
}

/* For so long that there are leaders and followers among them: see sync/leader.h. */
static void set_3_idle(struct world *w)
{
    const struct timespec idle = {.tv_nsec = 8 * SHORT_RECHECK};

    set_3(w);
    nanosleep(&idle, NULL);
}

/* The last sleeper waits on the other condition of the lock. */
static void set_beside(struct world *w)
{
    set(w);
    start_sleeper(w, wait_once_2, 0);
}

static void set_1_and_beside(struct world *w)
{
    set_1(w);
    start_sleeper(w, wait_once_2, 0);
}

static void host_notifies(struct world *w, action *notify, const char *name)
{
    call(w, HOST, acquire, 0);
    start_action(w, HOST, notify, 0, name);
    EXPECT(w, finish(w, HOST) >= 0, "the host cannot notify");
    call(w, HOST, release, 0);
}

static void host_notifies_1(struct world *w)
{
    host_notifies(w, notify_1, "notify(1)");
}

static void host_notifies_2(struct world *w)
{
    host_notifies(w, notify_2, "notify(2)");
}

static void host_notifies_all(struct world *w)
{
    host_notifies(w, notify_all, "notify_all");
}

/* The victim is the first in line, and one comes behind it. */
static void host_lines_up_and_notifies_1(struct world *w)
{
    one_waits(w);
    host_notifies_1(w);
}

/*
 * First it notifies, and keeps the lock; when the victim has found out, after a recheck interval,
 * and waits for the lock, it releases it.
 */
static void host_notifies_then_releases(struct world *w)
{
    if (w->on_sleep_runs == 0) {
        call(w, HOST, acquire, 0);
        call(w, HOST, notify_1, 0);
    } else {
        call(w, HOST, release, 0);
    }
}

static void host_releases(struct world *w)
{
    call(w, HOST, release, 0);
}

/* The waiters still asleep come back. Returns how often SHK_ORPHANED was said. */
static int all_come_back(struct world *w)
{
    int orphaned = 0;

    for (unsigned actor = SLEEPER_1; actor <= w->last_sleeper; actor++)
        if (is_busy(w, actor))
            orphaned += told(w, "a wait", finish(w, actor));
    return orphaned;
}

/*
 * The actor acquires and releases, and in between wakes the waiters that are left, if it is to.
 * Returns whether SHK_ORPHANED was said.
 */
static int look(struct world *w, unsigned actor, bool wakes, int64_t *woken)
{
    int orphaned = told(w, "acquire", call(w, actor, acquire, 0));

    if (wakes)
        *woken = call(w, actor, notify_each, 0);
    if (wakes && w->row->variant & GIVEN_LOCK && !w->stopped)
        EXPECT(w, call(w, actor, notify_each_2, 0) == is_busy(w, w->last_sleeper),
               "the other condition has lost its waiter");
    call(w, actor, release, 0);
    return orphaned;
}

/*
 * Killed in a wait. It held the lock at first and at last: then the next owner is told. If it had
 * been given a wake-up and died without the lock, the waiter behind it gets the wake-up.
 */
static void check_wait(struct world *w)
{
    int64_t woken;
    int orphaned;

    if (w->on_sleep_runs == 1 && w->row->on_sleep_times == 2)
        host_releases(w);
    orphaned = look(w, HOST, false, NULL);
    if (w->on_sleep_runs && !w->acknowledged && !orphaned && !(w->row->variant & GIVEN_LOCK))
        orphaned += all_come_back(w);
    orphaned += look(w, HOST, true, &woken);
    orphaned += all_come_back(w);
    EXPECT(w, orphaned <= 1, "SHK_ORPHANED was said %d times", orphaned);
    EXPECT(w, orphaned || !(w->untouched || w->acknowledged), "no actor was told SHK_ORPHANED");
    EXPECT(w, !orphaned || !w->asleep, "SHK_ORPHANED, though the victim did not hold the lock");
}

/* Killed in a notify, with the lock. The waiters that it did not wake are still waiting. */
static void check_notify(struct world *w)
{
    int64_t waiting = 0, left, woken;
    int orphaned;

    for (unsigned actor = SLEEPER_1; actor <= w->last_sleeper; actor++)
        waiting += is_busy(w, actor);
    if (w->row->variant & GIVEN_LOCK)
        waiting--;
    orphaned = look(w, HOST, true, &left);
    orphaned += all_come_back(w);
    woken = waiting - left;
    EXPECT(w, orphaned == 1, "SHK_ORPHANED was said %d times", orphaned);
    if (w->acknowledged)
        EXPECT(w, woken == w->result, "%lld were woken, it said %lld", (long long)woken,
               (long long)w->result);
    else if (w->row->operation == notify_all)
        EXPECT(w, woken == 0 || woken == waiting, "%lld of %lld were woken", (long long)woken,
               (long long)waiting);
    else
        EXPECT(w, woken >= 0 && woken <= (w->row->operation == notify_2 ? 2 : 1), "%lld were woken",
               (long long)woken);
    EXPECT(w, !w->untouched || woken == 0, "%lld were woken without a notify", (long long)woken);
}

static void check_lock(struct world *w)
{
    bool acquires = w->row->operation == acquire;
    int64_t woken;
    int orphaned;

    if (w->row->variant & HELD_BY_HOST && !w->on_sleep_runs)
        host_releases(w);
    orphaned = all_come_back(w);
    orphaned += look(w, HOST, true, &woken);
    if (w->untouched || w->acknowledged)
        EXPECT(w, orphaned == (acquires ? w->acknowledged : w->untouched),
               "SHK_ORPHANED was said %d times", orphaned);
}

static int64_t stamp(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_cond_stamp(w->cond);
}

/* It holds the lock before and after. */
static void check_kept(struct world *w)
{
    int64_t woken;
    int orphaned = look(w, HOST, true, &woken);

    EXPECT(w, orphaned == 1, "SHK_ORPHANED was said %d times", orphaned);
}

/*
 * Killed while it gives the lock up, having notified one of two: that one comes back, and the other
 * still waits.
 */
static void check_notified(struct world *w)
{
    int64_t left;
    int orphaned = look(w, HOST, true, &left);

    orphaned += all_come_back(w);
    EXPECT(w, left == 1, "%lld still waited", (long long)left);
    if (w->untouched || w->acknowledged)
        EXPECT(w, orphaned == w->untouched, "SHK_ORPHANED was said %d times", orphaned);
}

/* One waits, the other notifies; and the other way round. */
static void carry_on(struct world *w)
{
    start_attached(w, NEWCOMER);
    for (int i = 0; i < 2; i++) {
        unsigned waiter = i ? HOST : NEWCOMER, notifier = i ? NEWCOMER : HOST;
        int64_t woken = 0;
        int orphaned;

        start(w, waiter, wait_once, 0);
        EXPECT(w, falls_asleep(w, waiter), "there is no waiting");
        orphaned = look(w, notifier, true, &woken);
        orphaned += told(w, "a wait", finish(w, waiter));
        EXPECT(w, woken >= 1, "the wait was not seen");
        EXPECT(w, !orphaned || w->stopped, "SHK_ORPHANED was said once more");
    }
}

#define WAITS    .check = check_wait, .carry_on = carry_on
#define NOTIFIES .prepare = hold, .check = check_notify, .carry_on = carry_on
#define LOCKS    .check = check_lock, .carry_on = carry_on

/* clang-format off */
static const struct row rows[] = {
    {"shk_cond_acquire", "free", .setup = set, .operation = acquire, LOCKS},
    {"shk_cond_acquire", "held, released then", .setup = set, .operation = acquire,
     .on_sleep = host_releases, LOCKS, .variant = HELD_BY_HOST},
    {"shk_cond_release", "no waiter", .setup = set, .prepare = hold, .operation = release,
     LOCKS},
    {"shk_cond_release", "one waits for the lock", .setup = set, .prepare = hold,
     .waiters = one_passes, .operation = release, LOCKS},
    {"shk_cond_stamp", "held", .setup = set, .prepare = hold, .operation = stamp,
     .check = check_kept, .carry_on = carry_on},
    {"shk_cond_release", "two wait, one has been notified", .setup = set_2,
     .prepare = hold_and_notify_1, .operation = release, .check = check_notified,
     .carry_on = carry_on},
    {"shk_cond_wait", "another has been notified, notify", .setup = set_1,
     .prepare = hold_and_notify_1, .operation = wait, .on_sleep = host_notifies_1, WAITS},
    {"shk_cond_wait", "alone, notify", .setup = set, .prepare = hold, .operation = wait,
     .on_sleep = host_notifies_1, WAITS},
    {"shk_cond_wait", "alone, notify after a recheck", .setup = set, .prepare = hold,
     .operation = wait, .on_sleep = host_notifies_1, .on_sleep_from = 2, .recheck = SHORT_RECHECK,
     WAITS},
    {"shk_cond_wait", "alone, notify_all", .setup = set, .prepare = hold, .operation = wait,
     .on_sleep = host_notifies_all, WAITS},
    {"shk_cond_wait", "alone, the notifier keeps the lock for a while", .setup = set,
     .prepare = hold, .operation = wait, .on_sleep = host_notifies_then_releases,
     .on_sleep_times = 2, .recheck = SHORT_RECHECK, WAITS},
    {"shk_cond_wait", "alone, timeout", .setup = set, .prepare = hold,
     .operation = wait_for_a_while, .on_sleep = host_notifies_1, .on_sleep_from = NEVER, WAITS},
    {"shk_cond_wait", "alone, lock held twice", .setup = set, .prepare = hold, .operation = wait,
     .on_sleep = host_notifies_1, WAITS, .variant = TWICE},
    {"shk_cond_wait", "one waits behind, notify", .setup = set, .prepare = hold, .operation = wait,
     .on_sleep = host_lines_up_and_notifies_1, WAITS},
    {"shk_cond_wait", "one waits ahead, notify both", .setup = set_1, .prepare = hold,
     .operation = wait, .on_sleep = host_notifies_2, WAITS},
    {"shk_cond_wait", "one waits ahead, notify_all", .setup = set_1, .prepare = hold,
     .operation = wait, .on_sleep = host_notifies_all, WAITS},
    {"shk_cond_wait", "a dead one ahead, notify", .setup = set, .prepare = hold, .operation = wait,
     .on_sleep = host_notifies_1, WAITS, .variant = DEAD_AHEAD},
    {"shk_cond_wait", "one waits on the lock's other condition", .setup = set_beside,
     .prepare = hold, .operation = wait, .on_sleep = host_notifies_1, WAITS, .variant = GIVEN_LOCK},
    {"shk_cond_notify", "no waiter", .setup = set, .operation = notify_1, NOTIFIES},
    {"shk_cond_notify", "one waits", .setup = set_1, .operation = notify_1, NOTIFIES},
    {"shk_cond_notify", "two wait", .setup = set_2, .operation = notify_1, NOTIFIES},
    {"shk_cond_notify", "three wait, n = 2", .setup = set_3, .operation = notify_2, NOTIFIES},
    {"shk_cond_notify", "three have waited for long, n = 2", .setup = set_3_idle,
     .operation = notify_2, .recheck = SHORT_RECHECK, NOTIFIES},
    {"shk_cond_notify", "a dead one, no other", .setup = set, .operation = notify_1, NOTIFIES,
     .variant = DEAD_AHEAD},
    {"shk_cond_notify", "a dead one ahead of another", .setup = set_1, .operation = notify_1,
     NOTIFIES, .variant = DEAD_AHEAD},
    {"shk_cond_notify", "one waits, one on the lock's other condition", .setup = set_1_and_beside,
     .operation = notify_1, NOTIFIES, .variant = GIVEN_LOCK},
    {"shk_cond_notify_all", "no waiter", .setup = set, .operation = notify_all, NOTIFIES},
    {"shk_cond_notify_all", "one waits", .setup = set_1, .operation = notify_all, NOTIFIES},
    {"shk_cond_notify_all", "three wait", .setup = set_3, .operation = notify_all, NOTIFIES},
    {"shk_cond_notify_all", "three have waited for long", .setup = set_3_idle,
     .operation = notify_all, .recheck = SHORT_RECHECK, NOTIFIES},
    {"shk_cond_notify_all", "a dead one ahead of another", .setup = set_1, .operation = notify_all,
     NOTIFIES, .variant = DEAD_AHEAD},
    {"shk_cond_notify_all", "one waits, one on the lock's other condition",
     .setup = set_1_and_beside, .operation = notify_all, NOTIFIES, .variant = GIVEN_LOCK},
};
/* clang-format on */
const struct rows cond_rows = ROWS(rows);

/* The control: the same rows with a pthread_cond_t. */
/* clang-format off */
static const struct row native_rows[] = {
    {"shk_cond_wait", "alone, notify", .setup = set, .prepare = hold, .operation = wait,
     .on_sleep = host_notifies_1, WAITS, .variant = PTHREAD},
    {"shk_cond_notify", "two wait", .setup = set_2, .operation = notify_1, NOTIFIES,
     .variant = PTHREAD},
    {"shk_cond_notify_all", "three wait", .setup = set_3, .operation = notify_all, NOTIFIES,
     .variant = PTHREAD},
};
/* clang-format on */
const struct rows cond_controls = ROWS(native_rows);
