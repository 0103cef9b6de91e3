/*
 * An event: a word that waiters sleep on (futex), and that a set changes for all of them at once.
 *
 *     waiter                                       set
 *     EV1: read the state; SET? then done          EV1: state |= SET, &= ~NEED_WAKEUP, count += 1
 *     state |= NEED_WAKEUP                              (nothing if it is SET)
 *     sleep while the state is as it was,          was NEED_WAKEUP set? then wake all
 *       for a recheck interval at most             PW4, PW5: watchers
 *     EV1: count another, or SET? then done
 *
 * A waiter is released by a count that is another than when its wait began. So a set that is
 * cleared before the waiter runs has released it all the same, and so has one that comes before an
 * unlink.
 *
 * NEED_WAKEUP is in the word that the kernel compares before it puts a waiter to sleep, and that a
 * set changes. In a word of its own it could be cleared between the waiter's check and its sleep,
 * and the waiter would sleep through the set. A waiter that is killed or gives up leaves the flag,
 * which costs the next set one needless system call.
 *
 * The model: tests/model/event.pml.
 */
#include "object/event.h"

#include "object/watch.h"
#include "sync/leader.h"
#include "sync/park.h"

#include <shmkit/event.h>
#include <shmkit/inspect.h>
#include <stdlib.h>

struct shk_event {
    struct shki_object object;
    struct shki_event_shared *shared;
    struct shki_spinner spinner;
};

static int build(struct shki_object *o, const struct shki_plan *plan)
{
    (void)o; /* zero: clear */
    (void)plan;
    return 0;
}

static int check(struct shki_object *o, const struct shki_plan *plan)
{
    (void)plan;
    ((struct shk_event *)o)->shared = (void *)o->shared;
    return 0;
}

int shk_event_open(struct shk_segment *segment, const char *name, unsigned flags,
                   const struct shk_event_options *options, struct shk_event **out)
{
    const struct shki_plan plan = {.kind = &shki_event_kind};
    struct shk_event *event;
    int r;

    if (out == NULL)
        return SHKI_NO_HANDLE;
    *out = NULL;
    r = options ? shki_check_reserved(options->reserved, 8) : 0;
    if (r < 0)
        return r;
    event = calloc(1, sizeof(*event));
    if (event == NULL)
        return shki_say(-ENOMEM, "out of memory");
    r = shki_object_open(segment, name, flags, &plan, &event->object);
    if (r < 0)
        free(event);
    else
        *out = event;
    return r;
}

int shk_event_close(struct shk_event *event)
{
    if (event == NULL || !shki_object_unref(&event->object))
        return 0;
    shki_object_close(&event->object);
    free(event);
    return 0;
}

/*
 * EV1: acquire; pairs with the release in shk_event_set(): a thread that sees that the event is
 * set, or has been, sees what the setter did before.
 */
static uint64_t state_of(const struct shk_event *event)
{
    return load_acquire(&event->shared->state);
}

static bool is_set(const struct shk_event *event)
{
    return state_of(event) & SHKI_EVENT_SET;
}

int shk_event_set(struct shk_event *event)
{
    struct shki_member *m;
    int r = event ? shki_enter(&event->object, &m) : SHKI_NO_HANDLE;
    uint64_t before, after;

    if (r < 0)
        return r;
    /* Relaxed: the exchange checks it. */
    before = load_relaxed(&event->shared->state);
    do
        after =
            before & SHKI_EVENT_SET
                ? before
                : ((before | SHKI_EVENT_SET) & ~(uint64_t)SHKI_EVENT_NEED_WAKEUP) + SHKI_EVENT_ONCE;
    while (!compare_exchange_weak_release(&event->shared->state, &before, after));
    /*
     * EV1: release; committed, and all waiters are released. Killed before: nothing has happened.
     * Killed after: waiters that sleep find out at the end of their recheck interval.
     */
    if (before & SHKI_EVENT_NEED_WAKEUP)
        shki_wake_all_at(&event->shared->state);
    atomic_thread_fence(memory_order_seq_cst); /* PW4 */
    shki_watched_wake(event->object.segment, &event->shared->watched);
    return 0;
}

int shk_event_clear(struct shk_event *event)
{
    struct shki_member *m;
    int r = event ? shki_enter(&event->object, &m) : SHKI_NO_HANDLE;

    if (r < 0)
        return r;
    /*
     * EV1: release; commits. The count stays, so the waiters of the time when it was set are
     * released all the same.
     */
    fetch_and_release(&event->shared->state, ~(uint64_t)SHKI_EVENT_SET);
    return 0;
}

static __attribute__((noinline)) int is_set_slow(struct shk_event *event)
{
    struct shki_member *m;
    int r = event ? shki_enter(&event->object, &m) : SHKI_NO_HANDLE;

    return r < 0 ? r : is_set(event);
}

int shk_event_is_set(struct shk_event *event)
{
    return event && shki_is_entered(&event->object) ? is_set(event) : is_set_slow(event);
}

static void wake_at_unlink(struct shki_object *o)
{
    struct shki_event_shared *shared = (void *)o->shared;

    /* Killed before or after: waiters find it stale at the end of their recheck interval. */
    fetch_or_release(&shared->state, SHKI_EVENT_UNLINKED);
    shki_wake_all_at(&shared->state);
}

struct waiting {
    const struct shk_event *event;
    uint64_t clear; /* the state when the wait began: clear, and without NEED_WAKEUP */
};

/* Whether it has been set since the state `clear`, be it cleared again or unlinked since. */
static bool has_been_set(uint64_t state, uint64_t clear)
{
    /* SET with the same count is seen only where the word is damaged */
    return (state ^ clear) >= SHKI_EVENT_ONCE || state & SHKI_EVENT_SET;
}

static bool was_released(const void *arg)
{
    const struct waiting *w = arg;

    return has_been_set(state_of(w->event), w->clear);
}

/*
 * Sleep for a recheck interval, unless it has been set. Returns whether the thread was woken, or
 * need not sleep; false: a signal or the end of the interval has ended the sleep.
 */
static bool sleep_once(const struct waiting *w, const struct shki_deadline *deadline,
                       struct shki_role *role)
{
    const uint64_t asleep = w->clear | SHKI_EVENT_NEED_WAKEUP;
    uint64_t state = w->clear;
    struct timespec until;

    /* Relaxed: was_released() checks with EV1. Killed after: the flag stays. */
    if (!compare_exchange_relaxed(&w->event->shared->state, &state, asleep) && state != asleep)
        return true;
    until = shki_deadline_recheck_at(deadline, shki_role_interval(role, deadline));
    if (shki_sleep_at(&w->event->shared->state, asleep, &until))
        return true;
    role->rechecks++;
    shki_deadline_slept(deadline);
    shki_segment_is_lost(w->event->object.segment); /* it is stale then */
    return false;
}

static int sleep_until_released(const struct waiting *w, const struct shki_deadline *deadline,
                                const struct shki_member *m)
{
    struct shki_event_shared *shared = w->event->shared;
    struct shki_role role = {m->segment, m, shared->leaders, &shared->followers, 0, false, false};
    bool woken = true, leader_missing;
    int r = 0;

    do {
        bool ends = shki_object_is_stale(&w->event->object) || shki_deadline_has_passed(deadline);

        /*
         * Checked last: a waiter of the moment when it was set is released, however late it runs
         * and whatever came after.
         */
        if (was_released(w))
            break;
        if (ends)
            r = shki_object_is_stale(&w->event->object) ? shki_stale(&w->event->object)
                                                        : shki_deadline_check(deadline);
        if (r == 0)
            woken = sleep_once(w, deadline, &role);
    } while (r == 0);
    leader_missing = shki_role_end(&role);
    /*
     * It was set, and this waiter was not woken: the setter may have died, so the other waiters are
     * woken. Without a set, one of them has to become the leader.
     */
    if (r == 0 ? !woken : leader_missing)
        shki_wake_all_at(&shared->state);
    return r;
}

static int wait_for_set(struct shk_event *event, struct shki_member *m, uint64_t state,
                        int64_t timeout)
{
    struct waiting w = {event, state & ~(uint64_t)(SHKI_EVENT_NEED_WAKEUP | SHKI_EVENT_UNLINKED)};
    struct shki_deadline deadline =
        shki_object_deadline(&event->object, timeout, "the event is not set");
    int r = shki_deadline_check(&deadline);

    if (r < 0)
        return r;
    /* Where other waiters sleep, spinning has been in vain for them: no spin then. */
    if (state & SHKI_EVENT_NEED_WAKEUP || !shki_spin(&event->spinner, was_released, &w)) {
        shki_object_sleeps(&event->object, m, SHK_WAITS_FOR_SET, shki_waits_how(&deadline));
        r = sleep_until_released(&w, &deadline, m);
        shki_member_is_awake();
    }
    return r;
}

static __attribute__((noinline)) int wait_slow(struct shk_event *event, int64_t timeout)
{
    struct shki_member *m;
    int r = event ? shki_enter(&event->object, &m) : SHKI_NO_HANDLE;
    uint64_t state;

    if (r < 0)
        return r;
    state = state_of(event);
    return state & SHKI_EVENT_SET ? 0 : wait_for_set(event, m, state, timeout);
}

int shk_event_wait(struct shk_event *event, int64_t timeout)
{
    return event && shki_is_entered(&event->object) && is_set(event) ? 0
                                                                     : wait_slow(event, timeout);
}

/* `since` is for shk_wait_any() what `clear` is for a wait. */
static void note(struct shki_watch *w)
{
    w->since = state_of(w->handle) / SHKI_EVENT_ONCE * SHKI_EVENT_ONCE;
}

static bool is_ready(const struct shki_watch *w)
{
    return has_been_set(state_of(w->handle), w->since);
}

static void unref(void *event)
{
    shk_event_close(event);
}

static void watch(void *handle, uint32_t want, struct shki_watch *w)
{
    struct shk_event *event = handle;

    (void)want;
    *w = (struct shki_watch){.object = &event->object,
                             .refs = &event->object.refs,
                             .watched = &event->shared->watched,
                             .handle = event,
                             .note = note,
                             .is_ready = is_ready,
                             .unref = unref};
}

static void wake_at_close(struct shki_object *o, uint32_t waits_for)
{
    (void)waits_for;
    shki_wake_all_at(&((struct shki_event_shared *)(void *)o->shared)->state);
}

static void describe(const struct shki_image *image, const struct shki_entry *e, const void *shared,
                     struct shk_object_info *info)
{
    const struct shki_event_shared *event = shared;

    (void)image;
    (void)e;
    info->as.event.is_set = (load_relaxed(&event->state) & SHKI_EVENT_SET) != 0;
}

const struct shki_kind shki_event_kind = {
    .number = SHK_KIND_EVENT,
    .name = "an event",
    .size = sizeof(struct shki_event_shared),
    .build = build,
    .check = check,
    .wake_at_unlink = wake_at_unlink,
    .wake_at_close = wake_at_close,
    .watchable = SHK_READABLE,
    .watch = watch,
    .describe = describe,
};
