/* How a call on a queue takes its turn at a lock, and how it sleeps and wakes. */
#include "queue/queue.h"

#include "base/thread.h"
#include "segment/recover.h"
#include "sync/leader.h"
#include "sync/park.h"

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

static const struct shki_member_shared *record_of(const struct shk_queue *q, uint64_t id)
{
    uint32_t index = shki_member_index(id);

    return index < shki_members_ready(q->object.segment) ? shki_record_at(q->object.segment, index)
                                                         : NULL; /* NULL: damaged bytes */
}

static bool is_biased_in(const struct shk_queue *q, const struct shki_side_lock *lock, uint64_t id)
{
    const struct shki_member_shared *m = record_of(q, id);

    /* G3: acquire; pairs with the release in step_out: what it has done is visible. */
    return m && load_acquire(&m->biased_in) == shki_biased_offset(q, lock) &&
           load_acquire(&m->id) == id;
}

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
    /* F4: shut_down before whether a member is inside or has the lock; pairs with G1, G4 */
    shki_fence_heavy(q->asymmetric);
    if (!shki_robust_is_held(&lock->mutex.robust)) {
        /*
         * Somebody may go in and out without the mutex. Acquire: pairs with the releases in
         * revoke_bias(): it has left, or is the one or the other.
         */
        who = load_acquire(&lock->bias_owner);
        if (who == 0)
            who = load_acquire(&lock->revoking);
        return who == 0 || !is_biased_in(q, lock, who) ||
               !shki_member_is_alive(q->object.segment, who);
    }
    who = load_acquire(&lock->mutex.holder);
    return shki_member_is_alive(q->object.segment, who) && !is_biased_in(q, lock, who) &&
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

#define BIAS_THRESHOLD_FIRST 64u        /* visits in a row make a bias_owner */
#define BIAS_THRESHOLD_MAX   (1u << 20) /* … when it has been put out often */
#define REVOKE_SOON          20000 /* ns: so long an operation may last if nothing comes between */
#define REVOKE_NAP           50000 /* ns, doubled … */
#define REVOKE_NAP_MAX       SHK_MS(5)

/* One who has been struck out, and has perhaps not noticed. */
struct revoked {
    const struct shk_queue *queue;
    const struct shki_side_lock *lock;
    uint64_t id;
};

static bool has_left(const void *arg)
{
    const struct revoked *l = arg;

    return !is_biased_in(l->queue, l->lock, l->id);
}

/*
 * What whoever had the lock, by the mutex or not, has left half done when it died. Killed anywhere
 * in here: all of it is done once more.
 */
static void repair(struct shk_queue *q, const struct shki_side_lock *lock)
{
    if (q->order != SHK_FIFO)
        shki_ordered_repair(q);
    else if (lock == &q->shared->put_lock)
        shki_fifo_repair(q);
}

static void count_loss(struct shk_queue *q)
{
    fetch_add_relaxed(&q->shared->repairs.holders_lost, 1);
}

/*
 * With the mutex: see to it that nobody else is in the lock. 0, or -EBUSY: it does not come out
 * soon. Killed in here, or busy: `leaving` stays, and whoever has the mutex next comes here.
 */
static int revoke_bias(struct shk_queue *q, struct shki_side_lock *lock, bool owner_died)
{
    uint64_t bias_owner = load_relaxed(&lock->bias_owner);
    struct revoked l = {q, lock, bias_owner ? bias_owner : load_relaxed(&lock->revoking)};
    uint32_t bias_threshold = load_relaxed(&lock->bias_threshold);

    /*
     * Killed between the two: it still is the bias_owner. Release: so that nobody sees neither;
     * pairs with the looks of shki_queue_is_over().
     */
    store_relaxed(&lock->revoking, l.id);
    store_release(&lock->bias_owner, 0);
    /* G2: the bias_owner before this look at its record; pairs with G1 */
    shki_fence_heavy(q->asymmetric);
    if (bias_owner && bias_threshold < BIAS_THRESHOLD_MAX &&
        shki_member_is_alive(q->object.segment, bias_owner))
        store_relaxed(&lock->bias_threshold, 2 * bias_threshold);
    if (!has_left(&l) && !shki_spin_for(REVOKE_SOON, has_left, &l) &&
        shki_member_is_alive(q->object.segment, l.id))
        return -EBUSY;
    /* The dead may have been inside, though their record is somebody else's by now. */
    if (!shki_member_is_alive(q->object.segment, l.id)) {
        if (!owner_died && !has_left(&l))
            count_loss(q);
        repair(q, lock);
    }
    store_release(&lock->revoking, 0);
    return 0;
}

/*
 * The mutex is the caller's, owner_died (1) or not (0). 0, or -EBUSY: the mutex has been given
 * back, since somebody is inside.
 */
static int take_over(struct shk_queue *q, struct shki_member *m, struct shki_side_lock *lock,
                     int owner_died)
{
    uint64_t bias_owner = load_relaxed(&lock->bias_owner);
    int r = 0;

    if (unlikely((bias_owner != 0 && bias_owner != m->id) || load_relaxed(&lock->revoking) != 0))
        r = revoke_bias(q, lock, owner_died);
    if (r < 0) {
        /* if owner_died, then from one who has not been in the lock: somebody else still is */
        shki_mutex_unlock(&lock->mutex);
        return r;
    }
    if (unlikely(owner_died)) {
        count_loss(q);
        repair(q, lock);
        /* killed before: a dead holder's again */
        store_relaxed(&lock->mutex.holder, 0);
    }
    /*
     * G4: the lock is held before shut_down is read; pairs with F4. Otherwise, on ARM, a producer
     * could read that the queue is open before its lock is visible; a consumer that sees it shut
     * down and the lock free would take what it finds for the last.
     */
    shki_fence_light_locked(q->asymmetric);
    return 0;
}

int shki_biased_trylock(struct shk_queue *q, struct shki_member *m, struct shki_side_lock *lock)
{
    int r;

    if (unlikely(shki_side_is_held_by(lock, m))) /* and not as the bias_owner */
        return shki_object_say(&q->object, -EDEADLK,
                               "the calling thread has a reservation or a peek open");
    r = shki_mutex_trylock(&lock->mutex, m->id);
    return r < 0 || take_over(q, m, lock, r) < 0;
}

void shki_biased_unlock(struct shk_queue *q, struct shki_member *m, struct shki_side_lock *lock)
{
    uint32_t streak, bias_threshold;

    /*
     * Relaxed, all of them: the mutex orders them. Killed around any: who comes next may have to
     * come more often.
     */
    if (q->asymmetric && load_relaxed(&lock->last) == m->id) {
        streak = load_relaxed(&lock->streak) + 1;
        bias_threshold = load_relaxed(&lock->bias_threshold);
        store_relaxed(&lock->streak, streak);
        if (bias_threshold < BIAS_THRESHOLD_FIRST)
            store_relaxed(&lock->bias_threshold, BIAS_THRESHOLD_FIRST);
        else if (streak >= bias_threshold) /* killed after: a dead bias_owner */
            store_relaxed(&lock->bias_owner, m->id);
    } else if (q->asymmetric) {
        store_relaxed(&lock->last, m->id);
        store_relaxed(&lock->streak, 0);
    }
    shki_mutex_unlock(&lock->mutex);
}

int shki_call_lock(struct shki_call *c, int (*slice)(void *), void *arg)
{
    struct timespec nap = {.tv_nsec = REVOKE_NAP};
    int64_t looked = 0, now;
    int r;

    begin(c);
    if (!c->deadline.nowait)
        shki_object_sleeps(&c->queue->object, c->member, c->waits_for,
                           shki_waits_how(&c->deadline));
    for (;;) {
        r = shki_mutex_lock(&c->lock->mutex, &c->deadline, c->member->id, c->lock_spinner,
                            &c->queue->object.segment->recovery, slice, arg);
        if (r >= 0)
            r = take_over(c->queue, c->member, c->lock, r);
        if (r != -EBUSY)
            break;
        /*
         * Somebody is inside, without the mutex, and does not come out: interrupted, or stopped.
         * Nothing is held meanwhile.
         */
        shki_recover(c->queue->object.segment); /* it may be dead */
        r = shki_deadline_check(&c->deadline);
        now = shki_now();
        if (r == 0 && slice && looked != 0 && now - looked >= SHKI_RECHECK)
            r = slice(arg);
        if (r == 0 && now - looked >= SHKI_RECHECK && looked != 0)
            shki_deadline_slept(&c->deadline);
        if (looked == 0 || now - looked >= SHKI_RECHECK)
            looked = now;
        if (r < 0)
            break;
        nanosleep(&nap, NULL);
        nap.tv_nsec = 2 * nap.tv_nsec < REVOKE_NAP_MAX ? 2 * nap.tv_nsec : REVOKE_NAP_MAX;
    }
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
    uint64_t id = load_relaxed(&c->lock->revoking); /* a hint */
    const struct shki_member_shared *m = record_of(c->queue, id);

    return thread == 0 && id != 0 && m && is_biased_in(c->queue, c->lock, id) ? m->tid : thread;
}

static int say_in_the_way(const struct shki_call *c, int32_t thread, const char *what)
{
    return shki_fail(-EBUSY, "%s/%s: thread %d, in the middle of an operation on the %s side, %s",
                     c->queue->object.segment->name, c->queue->object.name, (int)thread,
                     c->puts ? "producer" : "consumer", what);
}

static int say_kept(const struct shki_call *c)
{
    const struct shki_member_shared *m = record_of(c->queue, load_relaxed(&c->lock->mutex.holder));
    uint32_t open = load_relaxed(&c->lock->open); /* a hint, both */

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
                    shki_biased_enter(q, c->member, c->lock);
    r = c->bias_owner ? 0 : shki_biased_trylock(q, c->member, c->lock);
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
            shki_eventcount_notify(c->queue, c->other, c->adaptive);
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
    store_relaxed(&lock->bias_owner, open ? 0 : c->member->id);
}

void shki_side_unhold(struct shki_side_lock *lock)
{
    /* killed anywhere in here: a dead holder */
    store_relaxed(&lock->bias_owner, 0);
    store_relaxed(&lock->mutex.holder, 0);
    shki_mutex_unlock(&lock->mutex);
}

/* ---- The eventcount ---- */

/* commits without a sleeper; a heavy fence costs as much as hundreds of real ones */
#define QUIET_COMMITS 1000u
/*
 * ns: so long a side that does not sleep goes before those who do; doubled while nobody makes use
 * of it, up to TURN << MISSES_MAX
 */
#define TURN       200000
#define MISSES_MAX 11u
#define GIVE_WAY   50000 /* ns: so long it lets them */

/*
 * S2: whoever clears the flags wakes. Ordered by F2; and S1: acquire, so that whoever this wakes
 * sees what the one who set the flag had counted.
 */
static void wake(struct shk_segment *s, struct shki_eventcount *eventcount)
{
    uint32_t was = fetch_and_acquire(&eventcount->flags, SHKI_NEED_FENCE);

    if (was & SHKI_NEED_WAKEUP)
        sem_post(&eventcount->semaphore);
    if (was & SHKI_WATCHERS)
        shki_watchers_wake(s);
}

void shki_queue_wake(struct shk_segment *s, struct shki_queue_shared *shared)
{
    struct shki_eventcount *eventcounts[] = {&shared->not_empty, &shared->not_full, &shared->tasks};
    uint32_t sleepers;

    atomic_thread_fence(memory_order_seq_cst); /* F2 */
    for (size_t i = 0; i < sizeof(eventcounts) / sizeof(eventcounts[0]); i++) {
        wake(s, eventcounts[i]);
        /*
         * All sleepers, now: after a reopen a sleeper that is told would not find that the others
         * could go on, and would not wake them.
         */
        sleepers = load_relaxed(&eventcounts[i]->sleepers);
        for (uint32_t n = 1; n < sleepers && n < s->max_members; n++)
            sem_post(&eventcounts[i]->semaphore);
    }
}

static bool has_no_item(const void *q)
{
    return !shki_queue_has_item(q);
}

static bool has_no_room(const void *q)
{
    return !shki_queue_has_room(q);
}

/*
 * wake-ups; then one who sleeps gets its chance against those who are awake, though it is a small
 * one
 */
#define SPARED_MAX 32u

/*
 * Has somebody who is awake made use of what has been committed, so that those in the eventcount
 * could not go on? Then nobody need be woken who would only find that out. Their flag stays up:
 * whoever commits next wakes them. Killed meanwhile: as before the wake-up.
 */
static bool is_used_up(const struct shk_queue *q, const struct shki_eventcount *eventcount,
                       struct shki_adaptive *adaptive)
{
    uint32_t spared;

    if (eventcount == &q->shared->tasks ||
        !shki_spin_short(&adaptive->others,
                         eventcount == &q->shared->not_empty ? has_no_item : has_no_room, q))
        return false;
    spared = load_relaxed(&adaptive->spared) + 1;
    store_relaxed(&adaptive->spared, spared);
    return spared % SPARED_MAX != 0;
}

void shki_eventcount_notify_slow(struct shk_queue *q, struct shki_eventcount *eventcount,
                                 struct shki_adaptive *adaptive)
{
    uint32_t quiet_commits = 0, need_fence = SHKI_NEED_FENCE, flags;

    if (q->asymmetric)
        atomic_thread_fence(memory_order_seq_cst); /* F2: a flag is up */
    flags = load_relaxed(&eventcount->flags);
    if ((flags & ~(uint32_t)SHKI_NEED_FENCE) == SHKI_NEED_WAKEUP &&
        is_used_up(q, eventcount, adaptive))
        return;
    if (flags != SHKI_NEED_FENCE)
        wake(q->object.segment, eventcount);
    else
        quiet_commits = load_relaxed(&adaptive->quiet_commits) + 1;
    /*
     * Fails if somebody has gone to sleep meanwhile. Whoever does so later finds it down, and
     * fences heavily.
     */
    if (quiet_commits >= QUIET_COMMITS)
        compare_exchange_relaxed(&eventcount->flags, &need_fence, 0);
    store_relaxed(&adaptive->quiet_commits, quiet_commits);
}

/* S1, and the look that follows it. */
static bool prepare_wait(struct shki_call *c)
{
    bool asymmetric = c->queue->asymmetric;
    /* S1: `sleepers` before the flag: release. */
    uint32_t was = fetch_or_release(
        &c->eventcount->flags, asymmetric ? SHKI_NEED_WAKEUP | SHKI_NEED_FENCE : SHKI_NEED_WAKEUP);

    /* F1: the flags before the look; pairs with F2 */
    shki_fence_heavy(asymmetric && !(was & SHKI_NEED_FENCE));
    return c->can_go_on(c->queue);
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
 * Eventual fairness: a side that stays awake goes before those who sleep, who when woken find that
 * it was faster. That is what makes it fast, but not for longer than a turn: then it wakes the one
 * that has slept longest, and does nothing for a moment. If nobody sleeps, somebody may wait for
 * this CPU, to go on where it was interrupted. True if it is worth another try after that.
 */
static bool give_way(struct shki_call *c)
{
    static const struct timespec moment = {.tv_nsec = GIVE_WAY};
    struct shki_adaptive *adaptive = c->adaptive;
    uint32_t waits = load_relaxed(&adaptive->waits) + 1, misses = load_relaxed(&adaptive->misses);
    int64_t since = load_relaxed(&adaptive->since), now;
    uint64_t before;

    store_relaxed(&adaptive->waits, waits);
    if (waits % SHKI_LOOK_AT_CLOCK != 0)
        return false;
    now = shki_now();
    if (since != 0 && now - since < (int64_t)TURN << misses)
        return false;
    store_relaxed(&adaptive->since, now);
    if (since == 0)
        return false;
    if (load_relaxed(&c->eventcount->sleepers) == 0) {
        sched_yield();
        return c->can_go_on(c->queue);
    }
    before = moved(c);
    wake(c->queue->object.segment, c->eventcount);
    nanosleep(&moment, NULL);
    if (moved(c) != before)
        misses = 0;
    else if (misses < MISSES_MAX) /* stopped, or killed, and counted for ever */
        misses++;
    store_relaxed(&adaptive->misses, misses);
    return true;
}

int shki_call_wait(struct shki_call *c)
{
    struct shki_role role = {c->queue->object.segment,
                             c->member,
                             c->eventcount->leaders,
                             &c->eventcount->followers,
                             0,
                             false,
                             false};
    struct timespec until;
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
    /* before the flag, by S1 */
    fetch_add_relaxed(&c->eventcount->sleepers, 1);
    c->slept = true;
    /*
     * The permits first, as in park.h. In the eventcount they are not the thread's alone: one that
     * was meant for another sleeper is paid back by what follows, as by any thread that a permit
     * has woken: the flag is up, and a waiter that leaves wakes the next if there is something to
     * do.
     */
    while (shki_take_permits(&c->eventcount->semaphore),
           !prepare_wait(c) && !was_shut(c) && r == 0) {
        until = shki_deadline_recheck_at(&c->deadline, shki_repair_enabled(SHKI_REPAIR_BACKSTOP)
                                                           ? shki_role_interval(&role, &c->deadline)
                                                           : SHK_SEC(3600));
        if (!shki_sleep_on(&c->eventcount->semaphore, &until)) {
            role.slices++;
            shki_deadline_slept(&c->deadline);
            shki_recover(c->queue->object.segment);
        }
        if (can_go_on(c))
            break;
        r = shki_deadline_check(&c->deadline);
    }
    fetch_sub_relaxed(&c->eventcount->sleepers, 1);
    if (shki_role_end(&role))
        /* one that sleeps takes over; killed before: the other leader looks */
        sem_post(&c->eventcount->semaphore);
    shki_member_is_awake();
    if (c->adaptive)
        store_relaxed(&c->adaptive->since, 0);
    return r;
}

void shki_cascade_wakeup(struct shki_call *c)
{
    if (!c->slept)
        return;
    /* Relaxed: whoever is not counted yet has still to look for itself. */
    if (load_relaxed(&c->eventcount->sleepers) > 0 && prepare_wait(c))
        wake(c->queue->object.segment, c->eventcount);
}
