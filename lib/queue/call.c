#include "queue/call.h"

#include "base/thread.h"
#include "queue/lease_records.h"
#include "queue/state.h"
#include "segment/recover.h"

#include <sched.h>
#include <shmkit/inspect.h>

struct shki_call shki_put_call(struct shk_queue *q, struct shki_member *m, int64_t timeout)
{
    struct shki_queue_shared *shared = q->shared;

    return (struct shki_call){.queue = q,
                              .member = m,
                              .lock = &shared->put_lock,
                              .biased = &q->put_biased,
                              .lock_spinner = &q->put_lock_spinner,
                              .eventcount = &shared->not_full,
                              .other = &shared->not_empty,
                              .spinner = &q->not_full_spinner,
                              .adaptive = &q->put_adaptive,
                              .puts = true,
                              .can_go_on = shki_queue_has_room,
                              .waits_for = SHK_WAITS_TO_PUT,
                              .timeout = timeout,
                              .heeds_shutdown = true,
                              .heeds_lines = true};
}

struct shki_call shki_get_call(struct shk_queue *q, struct shki_member *m, int64_t timeout)
{
    struct shki_queue_shared *shared = q->shared;
    struct shki_side_lock *lock = shki_get_lock(q);

    return (struct shki_call){.queue = q,
                              .member = m,
                              .lock = lock,
                              .biased = shki_side_biased(q, lock),
                              .lock_spinner = lock == &shared->get_lock ? &q->get_lock_spinner
                                                                        : &q->put_lock_spinner,
                              .eventcount = &shared->not_empty,
                              .other = &shared->not_full,
                              .spinner = &q->not_empty_spinner,
                              .adaptive = &q->get_adaptive,
                              .gets = true,
                              .can_go_on = shki_queue_has_item,
                              .waits_for = SHK_WAITS_TO_GET,
                              .timeout = timeout,
                              .heeds_shutdown = true,
                              .heeds_lines = true};
}

/* What the sentence of a deadline says. */
static const char *state_of(const struct shki_call *c)
{
    if (c->waits_for == SHK_WAITS_TO_JOIN)
        return "there are unfinished tasks";
    return c->puts ? "the queue is full" : "the queue is empty";
}

/* The wait begins: a shutdown that comes from now on is told to the call. */
static void begin(struct shki_call *c)
{
    if (c->begun)
        return;
    c->begun = true;
    c->shutdowns = shki_shut_word(c->queue) & ~SHKI_SHUT_STATE;
    c->deadline = shki_object_deadline(&c->queue->object, c->timeout, state_of(c));
}

/*
 * Whether the queue has been shut down since the wait began, and opened again. If it still is shut
 * down, there may be a reservation to wait for: shki_queue_is_over().
 */
static bool was_shut(const struct shki_call *c)
{
    uint32_t word = shki_shut_word(c->queue);

    return c->begun && c->heeds_shutdown && (word & SHKI_SHUT_STATE) == SHKI_OPEN &&
           word != c->shutdowns;
}

/*
 * Of a queue that has leases: an item has come back that may be due earlier than the caller is to
 * be woken, or may come back, since its owner has died.
 */
static bool leases_have_changed(const struct shki_call *c)
{
    return c->gets && shki_lease_words(c->queue) > 0 &&
           (shki_lease_changes(c->queue) != c->lease_changes || shki_lease_check(c->queue));
}

static bool is_worth_a_try(const void *arg)
{
    const struct shki_call *c = arg;

    return c->can_go_on(c->queue) || was_shut(c) || leases_have_changed(c);
}

/* When to wake: at the deadline, or when an item that has come back is due. */
static struct shki_deadline until_due(struct shki_call *c)
{
    struct shki_deadline until = c->deadline;
    int64_t due;

    if (!c->gets || shki_lease_words(c->queue) == 0)
        return until;
    c->lease_changes = shki_lease_changes(c->queue); /* LS5: before the times are read */
    due = shki_lease_due(c->queue);
    if (due < until.at)
        until.at = due;
    return until;
}

static bool is_kept(const struct shki_call *c)
{
    return shki_side_is_kept(c->queue, c->lock);
}

/* Nothing is gained by waiting for the lock any longer. */
static bool is_settled(const void *arg)
{
    const struct shki_call *c = arg;

    return !shki_robust_is_held(&c->lock->mutex.robust) || !c->can_go_on(c->queue) || is_kept(c);
}

/*
 * At the end of each recheck interval of waiting for a lock, which may have been claimed: whether
 * there is still something to wait for.
 */
static int recheck(void *arg)
{
    const struct shki_call *c = arg;
    struct shk_queue *q = c->queue;

    if (c->puts)
        return was_shut(c) ? shki_say_shut(q) : shki_may_put(q);
    if (shki_object_is_stale(&q->object))
        return shki_stale(&q->object);
    /* Other orders: a producer may have a reservation open behind the same lock. */
    if (q->order != SHK_FIFO && shki_shut_down(q) != SHKI_SHUT_DOWN)
        return 0;
    /* The call says what has ended when it ends: this may be asked more than once. */
    return (was_shut(c) || shki_queue_is_over(q)) && shki_queue_items(q) == 0 ? -EPIPE : 0;
}

int shki_call_lock(struct shki_call *c, int (*check)(void *), void *arg)
{
    int r;

    begin(c);
    if (!c->deadline.nowait)
        shki_object_sleeps(&c->queue->object, c->member, c->waits_for,
                           shki_waits_how(&c->deadline));
    r = shki_biased_lock(c->biased, c->member, &c->deadline, c->lock_spinner, check, arg);
    if (!c->deadline.nowait)
        shki_member_is_awake();
    return r;
}

/*
 * The thread that the caller has to wait for: the holder of the lock, or a revoked bias owner in
 * the middle of an operation. 0: none.
 */
static int32_t thread_in_the_way(const struct shki_call *c)
{
    int32_t thread = shki_robust_holder(&c->lock->mutex.robust);

    return thread ? thread : shki_biased_revoked_thread(c->biased);
}

static int say_in_the_way(const struct shki_call *c, int32_t thread, const char *what)
{
    return shki_fail(-EBUSY, "%s/%s: thread %d, in the middle of an operation on the %s side, %s",
                     c->queue->object.segment->name, c->queue->object.name, (int)thread,
                     c->puts ? "producer" : "consumer", what);
}

static int say_kept(const struct shki_call *c)
{
    const struct shk_segment *s = c->queue->object.segment;
    uint32_t index = shki_member_index(load_relaxed(&c->lock->mutex.holder));
    const struct shki_member_shared *m =
        index < shki_members_ready(s) ? shki_record_at(s, index) : NULL; /* damaged bytes */
    uint32_t open = load_relaxed(&c->lock->open);                        /* a hint, both */

    return shki_fail(-EBUSY, "%s/%s: %.15s (%d) %s", c->queue->object.segment->name,
                     c->queue->object.name, m ? m->command : "a member", m ? (int)m->pid : 0,
                     open == SHKI_OPEN_PEEK          ? "has an item peeked"
                     : open == SHKI_OPEN_RESERVATION ? "has a reservation open"
                     : c->puts                       ? "has claimed the producer side"
                                                     : "has claimed the consumer side");
}

/*
 * For SHK_NOWAIT, and a time that is over already. The lock of a side is held for one copy: to wait
 * for that is not to wait for an item or for room, even if the holder has to wait for a CPU. The
 * wait ends when the queue is found empty (or full), when a member is found to keep the lock, when
 * the holder is found stopped, and after SHKI_BUSY_LIMIT.
 *
 * Returns 0: entered; -EAGAIN, -ETIMEDOUT: empty, full; -EBUSY: there may be something, but a
 * member is in the way.
 */
static int enter_nowait(struct shki_call *c)
{
    const struct shki_deadline nowait = c->deadline;
    int64_t end = shki_now() + SHKI_BUSY_LIMIT;
    int32_t thread;
    int r;

    shki_spin_for(SHKI_BUSY_SPIN, is_settled, c);
    for (;;) {
        if (!c->can_go_on(c->queue))
            return shki_deadline_check(&nowait);
        if (is_kept(c)) { /* by a member whose death is not known yet? */
            shki_recover_mutex(c->queue->object.segment, &c->lock->mutex);
            if (is_kept(c))
                return say_kept(c);
        }
        c->deadline = shki_deadline(SHKI_BUSY_NAP, NULL);
        r = shki_call_lock(c, NULL, NULL);
        c->deadline = nowait;
        if (r != -ETIMEDOUT)
            return r;
        thread = thread_in_the_way(c);
        if (thread != 0 && shki_thread_is_stopped(thread))
            return say_in_the_way(c, thread, "is stopped");
        if (shki_now() >= end)
            return say_in_the_way(c, thread, "does not come to its end");
    }
}

/* Enter the lock: 0; the end of the deadline; -EBUSY, -EPIPE, -ESTALE, -EDEADLK. */
static int enter(struct shki_call *c)
{
    struct shk_queue *q = c->queue;
    int r;

    /* A call that is to keep the lock needs its mutex, and has it if it keeps the lock already. */
    c->bias_owner = (!c->keep || shki_side_is_kept_by(c->lock, c->member)) &&
                    shki_side_enter(q, c->member, c->lock);
    r = c->bias_owner ? 0 : shki_side_trylock_slow(q, c->member, c->lock);
    if (r <= 0)
        return r;
    begin(c);
    return c->timeout <= 0 ? enter_nowait(c) : shki_call_lock(c, recheck, c);
}

/* With the lock. */
static int act_once(struct shki_call *c, shki_act *act, struct shki_work *work)
{
    int r;

    /*
     * A put that was waiting when the queue was shut down is told, room or not; a get, when there
     * is no item.
     */
    if (c->puts && was_shut(c))
        return shki_say_shut(c->queue);
    r = act(c->queue, c->member, work);
    return (r == 0 || r == -ESTALE) && was_shut(c) ? shki_say_drained(c->queue) : r;
}

int shki_call_run(struct shki_call *c, shki_act *act, struct shki_work *work)
{
    int r = 0;

    for (;;) {
        if (!c->has_tried) {
            r = enter(c);
            if (r == -EPIPE && !c->puts)
                r = shki_say_drained(c->queue);
            if (r < 0)
                break;
            r = act_once(c, act, work);
            if (r > 0 && c->keep)
                return r;
            shki_side_unlock(c->queue, c->member, c->lock, c->bias_owner);
            if (shki_side_notifies(r))
                shki_queue_notify(c->queue, c->other, c->adaptive);
            if (r != 0)
                break;
        }
        c->has_tried = false;
        r = shki_call_wait(c);
        if (r < 0)
            break;
    }
    shki_call_end(c);
    return r;
}

/* How many items this side has moved so far, about. */
static uint64_t moved(const struct shki_call *c)
{
    struct shki_counts counts = c->queue->ops->counts(c->queue);

    return c->puts ? counts.puts : counts.puts - counts.items;
}

/*
 * Eventual fairness: a thread that stays awake goes before the sleepers of its side, which find,
 * when they are woken, that it was faster. After a turn it wakes the sleeper that has slept
 * longest, and lets it run. If none sleeps, a thread may wait for this CPU, to go on where it was
 * interrupted. True: it is worth another try.
 */
static bool give_way(struct shki_call *c)
{
    struct shk_segment *s = c->queue->object.segment;
    uint64_t before;

    if (!shki_turn_is_over(c->adaptive))
        return false;
    if (load_relaxed(&c->eventcount->sleepers) == 0) {
        sched_yield();
        return c->can_go_on(c->queue);
    }
    before = moved(c);
    shki_queue_wake_watchers(s, shki_eventcount_wake_one(c->eventcount));
    shki_turn_pause();
    shki_turn_was_used(c->adaptive, moved(c) != before);
    return true;
}

/* The line that ends the wait: of the producers, for a consumer. */
static enum shki_side_of other_side(const struct shki_call *c)
{
    return c->puts ? SHKI_CONSUMERS : SHKI_PRODUCERS;
}

/* At the end of each recheck interval of a wait for an item or for room. */
static void find_deaths(const void *arg)
{
    const struct shki_call *c = arg;

    shki_roles_check(&c->queue->object, &c->queue->roles, other_side(c));
}

/* The other side's line had not ended at the last try, and has now: try once more. */
static bool has_just_ended(const struct shki_call *c)
{
    struct shk_queue *q = c->queue;

    if (!c->heeds_lines || shki_roles_has_ended(&q->object, &q->roles, other_side(c)))
        return false;
    return shki_roles_check(&q->object, &q->roles, other_side(c));
}

int shki_call_wait(struct shki_call *c)
{
    struct shk_segment *s = c->queue->object.segment;
    struct shki_saved_error saved;
    struct shki_deadline until;
    bool early;
    int r;

    begin(c);
    if (has_just_ended(c))
        return 0;
    r = shki_deadline_check(&c->deadline);
    if (r < 0)
        return r;
    until = until_due(c);
    if (c->adaptive && give_way(c))
        return 0;
    if (shki_spin(c->spinner, is_worth_a_try, c))
        return 0;
    shki_object_sleeps(&c->queue->object, c->member, c->waits_for, shki_waits_how(&c->deadline));
    c->has_waited = true;
    early = until.at < c->deadline.at;
    if (early)
        shki_error_save(&saved);
    r = shki_eventcount_wait(c->eventcount, s, c->member, &until, is_worth_a_try,
                             c->heeds_lines ? find_deaths : NULL, c);
    if (r == -ETIMEDOUT && early)
        /* the next check of the deadline comes before the next sleep */
        r = shki_error_settle(0, &saved);
    shki_member_is_awake();
    if (c->adaptive)
        shki_turn_ends(c->adaptive);
    return r;
}

/*
 * For the cascade. An item that is due later may have come back while the other consumers slept:
 * one of them has to learn when to wake.
 */
static bool another_may_go_on(const void *arg)
{
    const struct shki_call *c = arg;

    return c->can_go_on(c->queue) ||
           (c->gets && shki_lease_words(c->queue) > 0 && shki_lease_due(c->queue) != SHKI_NEVER);
}

void shki_call_end(struct shki_call *c)
{
    struct shk_queue *q = c->queue;

    if (c->has_waited)
        shki_queue_wake_watchers(
            q->object.segment,
            shki_eventcount_cascade(c->eventcount, q->asymmetric, another_may_go_on, c));
}
