/* How a call on a queue takes its turn at a lock, and how it sleeps and wakes. */
#include "queue/queue.h"

#include "base/thread.h"
#include "segment/recover.h"

#include <sched.h>
#include <shmkit/inspect.h>

const struct shki_order *shki_order_of(const struct shk_queue *q)
{
    if (q->order == SHK_PRIORITY)
        return &shki_priority;
    if (q->grows)
        return q->order == SHK_FIFO ? &shki_flow : &shki_stack;
    return q->order == SHK_FIFO ? &shki_fifo : &shki_lifo;
}

/* ---- What is true of a queue: loads only ---- */

bool shki_queue_is_over(const struct shk_queue *q)
{
    const struct shki_queue_shared *shared = q->shared;
    const struct shki_side_lock *lock = &shared->put_lock;
    uint32_t state = shki_shut_down(q);
    uint64_t who;
    bool held;

    if (likely(state == SHKI_OPEN))
        return false;
    if (state != SHKI_SHUT_FOR_PUTS || q->order != SHK_FIFO)
        return true; /* other orders: the caller has the only lock, or asks for a hint */
    held = shki_robust_is_held(&lock->mutex.robust);
    who = load_acquire(&lock->mutex.holder);
    if (held && !shki_member_is_alive(q->object.segment, who))
        return false; /* nobody keeps it, but somebody has it at the moment */
    if (held && load_acquire(&lock->open) == SHKI_OPEN_RESERVATION)
        return false;
    /* BL1, BL4: shut_down before whether a member is in the lock, by its bias or by the mutex */
    shki_fence_heavy(q->asymmetric);
    if (!shki_robust_is_held(&lock->mutex.robust))
        return !shki_biased_owner_is_in(&q->put_biased);
    who = load_acquire(&lock->mutex.holder);
    return shki_member_is_alive(q->object.segment, who) &&
           !shki_biased_is_in(&q->put_biased, who) &&
           load_acquire(&lock->open) != SHKI_OPEN_RESERVATION;
}

uint64_t shki_queue_items(const struct shk_queue *q)
{
    uint64_t head, tail;

    if (q->order != SHK_FIFO)
        return shki_ordered_size(q);
    /*
     * Q1, Q2: acquire, head first: it is beyond the tail that is read after it only if that is
     * late, and what it leaves out is gone.
     */
    head = load_acquire(&q->shared->head);
    tail = shki_fifo_tail(q);
    return (int64_t)(tail - head) > 0 ? tail - head : 0;
}

bool shki_queue_is_readable(const struct shk_queue *q)
{
    bool there =
        q->order == SHK_FIFO && !q->grows ? shki_fifo_has_item(q) : shki_queue_items(q) > 0;

    return there || shki_queue_is_over(q);
}

bool shki_queue_has_item(const void *arg)
{
    const struct shk_queue *q = arg;

    return shki_queue_is_readable(q) || shki_object_is_stale(&q->object);
}

bool shki_queue_is_writable(const struct shk_queue *q)
{
    uint64_t head, items;

    if (q->grows)
        return true;
    if (q->order == SHK_FIFO) {
        /*
         * Q2: acquire. The tail may be late: then somebody is, or has died, in the lock, and that
         * is the place to find out.
         */
        head = load_acquire(&q->shared->head);
        items = load_relaxed(&q->shared->tail) - head;
    } else {
        items = shki_ordered_size(q);
    }
    return (int64_t)items < (int64_t)q->capacity || shki_shut_down(q) != SHKI_OPEN;
}

bool shki_queue_has_room(const void *arg)
{
    const struct shk_queue *q = arg;

    return shki_queue_is_writable(q) || shki_object_is_stale(&q->object);
}

/* ---- The lock ---- */

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
                              .heeds_shutdown = true};
}

struct shki_call shki_get_call(struct shk_queue *q, struct shki_member *m, int64_t timeout)
{
    struct shki_queue_shared *shared = q->shared;
    bool fifo = q->order == SHK_FIFO;

    return (struct shki_call){.queue = q,
                              .member = m,
                              .lock = fifo ? &shared->get_lock : &shared->put_lock,
                              .biased = fifo ? &q->get_biased : &q->put_biased,
                              .lock_spinner = fifo ? &q->get_lock_spinner : &q->put_lock_spinner,
                              .eventcount = &shared->not_empty,
                              .other = &shared->not_full,
                              .spinner = &q->not_empty_spinner,
                              .adaptive = &q->get_adaptive,
                              .can_go_on = shki_queue_has_item,
                              .waits_for = SHK_WAITS_TO_GET,
                              .timeout = timeout,
                              .heeds_shutdown = true};
}

/* Why a call waits, for the sentence that tells that it did so in vain. */
static const char *state_of(const struct shki_call *c)
{
    if (c->waits_for == SHK_WAITS_TO_JOIN)
        return "there are unfinished tasks";
    return c->puts ? "the queue is full" : "the queue is empty";
}

/*
 * The wait begins: what comes from now on, it is told, though it may be over again when the sleeper
 * runs.
 */
static void begin(struct shki_call *c)
{
    if (c->begun)
        return;
    c->begun = true;
    c->shutdowns = shki_shut_word(c->queue) & ~SHKI_SHUT_STATE;
    c->deadline = shki_object_deadline(&c->queue->object, c->timeout, state_of(c));
}

/*
 * Whether the queue has been shut down since, and opened again. If it still is shut down, there may
 * be a reservation to wait for: shki_queue_is_over().
 */
static bool was_shut(const struct shki_call *c)
{
    uint32_t word = shki_shut_word(c->queue);

    return c->begun && c->heeds_shutdown && (word & SHKI_SHUT_STATE) == SHKI_OPEN &&
           word != c->shutdowns;
}

static bool can_go_on(const void *arg)
{
    const struct shki_call *c = arg;

    return c->can_go_on(c->queue) || was_shut(c);
}

bool shki_side_is_held(const struct shki_call *c)
{
    const struct shki_mutex *mutex = &c->lock->mutex;

    return shki_robust_is_held(&mutex->robust) &&
           shki_member_is_alive(c->queue->object.segment, load_relaxed(&mutex->holder));
}

/* Nothing is gained by waiting for the side's lock any longer. */
static bool is_settled(const void *arg)
{
    const struct shki_call *c = arg;

    return !shki_robust_is_held(&c->lock->mutex.robust) || !c->can_go_on(c->queue) ||
           shki_side_is_held(c);
}

static int say_drained(const struct shk_queue *q)
{
    return shki_object_say(&q->object, -EPIPE, "the queue has been shut down and is drained");
}

/*
 * After each slice of waiting for a lock, which may have been claimed: is there still something to
 * wait for?
 */
static int each_slice(void *arg)
{
    const struct shki_call *c = arg;
    struct shk_queue *q = c->queue;

    if (c->puts)
        return was_shut(c) ? shki_say_shut(q) : shki_may_put(q);
    if (shki_object_is_stale(&q->object))
        return shki_stale(&q->object);
    /* Other orders: somebody may have a reservation open behind the same lock. */
    if (q->order != SHK_FIFO && shki_shut_down(q) != SHKI_SHUT_DOWN)
        return 0;
    if ((was_shut(c) || shki_queue_is_over(q)) && shki_queue_items(q) == 0)
        return say_drained(q);
    return 0;
}

/*
 * What a member that died in the lock, by its mutex or its bias, has left half done. Killed anywhere
 * in here: all of it is done once more.
 */
static void repair(void *queue, const struct shki_biased *b)
{
    struct shk_queue *q = queue;

    if (q->order != SHK_FIFO)
        shki_ordered_repair(q);
    else if (b == &q->put_biased)
        shki_fifo_repair(q);
}

static struct shki_biased biased(struct shk_queue *q, struct shki_side_lock *lock)
{
    return (struct shki_biased){.segment = q->object.segment,
                                .mutex = &lock->mutex,
                                .shared = &lock->bias,
                                .offset = shki_side_offset(q, lock),
                                .holders_lost = &q->shared->repairs.holders_lost,
                                .repair = repair,
                                .object = q};
}

void shki_side_init(struct shk_queue *q)
{
    q->put_biased = biased(q, &q->shared->put_lock);
    q->get_biased = biased(q, &q->shared->get_lock);
}

int shki_side_trylock_slow(struct shk_queue *q, struct shki_member *m, struct shki_side_lock *lock)
{
    if (unlikely(shki_side_is_held_by(lock, m))) /* and not as the bias owner */
        return shki_object_say(&q->object, -EDEADLK,
                               "the calling thread has a reservation or a peek open");
    return shki_biased_trylock(shki_side_biased(q, lock), m);
}

void shki_side_unlock_slow(struct shk_queue *q, struct shki_member *m, struct shki_side_lock *lock)
{
    shki_biased_unlock(shki_side_biased(q, lock), m);
}

int shki_call_lock(struct shki_call *c, int (*recheck)(void *), void *arg)
{
    int r;

    begin(c);
    if (!c->deadline.nowait)
        shki_object_sleeps(&c->queue->object, c->member, c->waits_for,
                           shki_waits_how(&c->deadline));
    r = shki_biased_lock(c->biased, c->member, &c->deadline, c->lock_spinner, recheck, arg);
    if (!c->deadline.nowait)
        shki_member_is_awake();
    return r;
}

/*
 * The thread in whose way the caller is: the holder of the lock, or a bias owner in the middle of
 * an operation. 0: none.
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
    uint32_t open = load_relaxed(&c->lock->open);                            /* a hint, both */

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
 * wait ends when the queue is found empty (or full), when a member is found to keep the side, when
 * the holder is found stopped, and after SHKI_BUSY_LIMIT.
 *
 * Returns 0: entered; -EAGAIN, -ETIMEDOUT: empty, full; -EBUSY: there may be something, but a
 * member is in the way.
 */
static int enter_at_once(struct shki_call *c)
{
    const struct shki_deadline nowait = c->deadline;
    int64_t end = shki_now() + SHKI_BUSY_LIMIT;
    int32_t thread;
    int r;

    shki_spin_for(SHKI_BUSY_SPIN, is_settled, c);
    for (;;) {
        if (!c->can_go_on(c->queue))
            return shki_deadline_check(&nowait);
        if (shki_side_is_held(c)) { /* by a member whose death is not known yet? */
            shki_recover_mutex(c->queue->object.segment, &c->lock->mutex);
            if (shki_side_is_held(c))
                return say_kept(c);
        }
        c->deadline = shki_deadline(SHKI_BUSY_SLICE, NULL);
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

/*
 * Enter the lock: 0 or the end of deadline. With SHK_NOWAIT what counts is the truth, not whether a
 * member is busy for a moment.
 */
static int enter(struct shki_call *c)
{
    struct shk_queue *q = c->queue;
    int r;

    /* Who is to keep the lock needs its mutex, and has it if it keeps it already. */
    c->bias_owner = (!c->keep || shki_side_is_held_by(c->lock, c->member)) &&
                    shki_side_enter(q, c->member, c->lock);
    r = c->bias_owner ? 0 : shki_side_trylock_slow(q, c->member, c->lock);
    if (r <= 0)
        return r;
    begin(c);
    return c->timeout <= 0 ? enter_at_once(c) : shki_call_lock(c, each_slice, c);
}

int shki_carry_out(struct shki_call *c, shki_act *act, struct shki_work *work)
{
    int r;

    for (;;) {
        r = enter(c);
        if (r < 0)
            break;
        /*
         * A put that was asleep when the queue was shut down is told, room or not; a get, when
         * there is no item.
         */
        r = c->puts && was_shut(c) ? shki_say_shut(c->queue) : act(c->queue, c->member, work);
        if ((r == 0 || r == -ESTALE) && was_shut(c))
            r = say_drained(c->queue);
        if (r > 0 && c->keep)
            return r;
        shki_side_unlock(c->queue, c->member, c->lock, c->bias_owner);
        if (r > 0 || r == -EPIPE)
            shki_queue_notify(c->queue, c->other, c->adaptive);
        if (r != 0)
            break;
        r = shki_call_wait(c);
        if (r < 0)
            break;
    }
    shki_cascade_wakeup(c);
    return r;
}

void shki_side_hold(struct shki_call *c, uint32_t claimed, uint32_t open)
{
    struct shki_side_lock *lock = c->lock;

    /* killed anywhere in here: a dead holder, whose claims mean nothing */
    store_relaxed(&lock->claimed, claimed);
    store_relaxed(&lock->open, open);
    /* after what it keeps it for: see shki_queue_is_over() */
    store_release(&lock->mutex.holder, c->member->id);
    /*
     * Who has something open is not the bias_owner: its calls find their way to the mutex, and are
     * told. Who has claimed it is, and nobody gets the mutex.
     */
    store_relaxed(&lock->bias.owner, open ? 0 : c->member->id);
}

void shki_side_unhold(struct shki_side_lock *lock)
{
    /* killed anywhere in here: a dead holder */
    store_relaxed(&lock->bias.owner, 0);
    store_relaxed(&lock->mutex.holder, 0);
    shki_mutex_unlock(&lock->mutex);
}

/* ---- The eventcounts ---- */

static void wake_watchers(struct shk_segment *s, uint32_t flags)
{
    if (flags & SHKI_WATCHERS)
        shki_watchers_wake(s);
}

void shki_queue_wake(struct shk_segment *s, struct shki_queue_shared *shared)
{
    wake_watchers(s, shki_eventcount_wake_all(&shared->not_empty, s->max_members));
    wake_watchers(s, shki_eventcount_wake_all(&shared->not_full, s->max_members));
    wake_watchers(s, shki_eventcount_wake_all(&shared->tasks, s->max_members));
}

static bool has_no_item(const void *q)
{
    return !shki_queue_has_item(q);
}

static bool has_no_room(const void *q)
{
    return !shki_queue_has_room(q);
}

struct notification {
    const struct shk_queue *queue;
    const struct shki_eventcount_shared *eventcount;
    struct shki_adaptive *adaptive;
};

/*
 * Whether a thread that is awake has used what was committed, so that the sleepers could not go on,
 * and their wake-up is spared. Their flag stays set: the next commit wakes them. Killed meanwhile:
 * as before the wake-up.
 */
static bool is_used_up(void *arg)
{
    const struct notification *n = arg;
    const struct shk_queue *q = n->queue;

    return n->eventcount != &q->shared->tasks &&
           shki_spare_wakeup(n->adaptive,
                             n->eventcount == &q->shared->not_empty ? has_no_item : has_no_room, q);
}

void shki_queue_notify_slow(struct shk_queue *q, struct shki_eventcount_shared *eventcount,
                            struct shki_adaptive *adaptive)
{
    struct notification n = {q, eventcount, adaptive};

    wake_watchers(q->object.segment,
                  shki_eventcount_notify(eventcount, q->asymmetric, &adaptive->quiet_commits,
                                         is_used_up, &n));
}

/* How many items this side has moved so far, about. */
static uint64_t moved(const struct shki_call *c)
{
    const struct shki_queue_shared *shared = c->queue->shared;
    uint64_t puts = load_relaxed(&shared->tail);

    if (c->puts)
        return puts;
    return c->queue->order == SHK_FIFO ? load_relaxed(&shared->head)
                                       : puts - shki_ordered_size(c->queue);
}

/*
 * Eventual fairness: a side that stays awake goes before those who sleep, which when woken find that
 * it was faster. After a turn it wakes the one that has slept longest, and lets it run. If none
 * sleeps, a thread may wait for this CPU, to go on where it was interrupted. True: it is worth
 * another try.
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
    wake_watchers(s, shki_eventcount_wake_one(c->eventcount));
    shki_turn_pause();
    shki_turn_was_used(c->adaptive, moved(c) != before);
    return true;
}

int shki_call_wait(struct shki_call *c)
{
    struct shk_segment *s = c->queue->object.segment;
    int r;

    begin(c);
    r = shki_deadline_check(&c->deadline);
    if (r < 0)
        return r;
    if (c->adaptive && give_way(c))
        return 0;
    if (shki_spin(c->spinner, can_go_on, c))
        return 0;
    shki_object_sleeps(&c->queue->object, c->member, c->waits_for, shki_waits_how(&c->deadline));
    c->slept = true;
    r = shki_eventcount_wait(c->eventcount, s, c->member, &c->deadline, can_go_on, c);
    shki_member_is_awake();
    if (c->adaptive)
        shki_turn_ends(c->adaptive);
    return r;
}

void shki_cascade_wakeup(struct shki_call *c)
{
    struct shk_queue *q = c->queue;

    if (c->slept)
        wake_watchers(q->object.segment,
                      shki_eventcount_cascade(c->eventcount, q->asymmetric, c->can_go_on, q));
}
