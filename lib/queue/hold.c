/* Holding a lock of a queue for longer than an operation: reserve and peek, claim. */
#include "queue/queue.h"

#include <shmkit/inspect.h>
#include <stdlib.h>

static struct shki_side_lock *get_lock_of(struct shk_queue *q)
{
    return q->order == SHK_FIFO ? &q->shared->get_lock : &q->shared->put_lock;
}

static uint32_t look(const _Atomic uint32_t *mark)
{
    /* only the holder of the lock looks at its marks and changes them */
    return load_relaxed(mark);
}

/* ---- Reservations and peeks ---- */

static int find_room(struct shk_queue *q, struct shki_member *m, struct shki_work *w)
{
    int r = shki_may_put(q);

    (void)m;
    return r < 0 ? r : shki_order_of(q)->room(q, 0, w->length, &w->slot);
}

static int find_item(struct shk_queue *q, struct shki_member *m, struct shki_work *w)
{
    (void)m;
    return shki_next_item(q, shki_order_of(q), &w->slot);
}

/* Carry it out and stay in the lock, with something open. */
static int hold(struct shki_call *c, shki_act *act, struct shki_work *w, uint32_t open)
{
    bool claimed = shki_side_is_held_by(c->lock, c->member);
    int r = claimed ? 0 : shki_held_more(c->member);

    if (r < 0)
        return r;
    c->keep = true;
    r = shki_carry_out(c, act, w);
    if (r < 0) {
        if (!claimed)
            shki_held_less(c->member);
        return r;
    }
    shki_side_hold(c, claimed, open);
    if (claimed)
        shki_biased_leave(c->member);
    shki_cascade_wakeup(c);
    return r;
}

/* Leave the lock, unless it is claimed. */
static void unref(struct shki_member *m, struct shki_side_lock *lock)
{
    /*
     * Killed around any of these: a dead holder. Release: what was put before, for those who see it
     * shut down.
     */
    store_release(&lock->open, SHKI_OPEN_NOTHING);
    if (look(&lock->claimed)) {
        store_relaxed(&lock->bias.owner, m->id);
        return;
    }
    shki_side_unhold(lock);
    shki_held_less(m);
}

/*
 * A large slot is written faster if its lines have been fetched before, even those that the
 * consumer has read last; to read, which is all that it takes. Measured: a third more items of 16
 * KiB and of 64 KiB a second; below that it makes no difference or costs.
 */
#define FETCH_LEAST 16384u       /* bytes */
#define FETCH_MOST  (256u << 10) /* … which stay near */

static void fetch_large(const unsigned char *slot, size_t length)
{
    for (size_t i = 0; length >= FETCH_LEAST && i < length && i < FETCH_MOST; i += SHKI_LINE)
        __builtin_prefetch(slot + i);
}

int shk_queue_reserve(struct shk_queue *q, size_t len, void **slot, int64_t timeout)
{
    struct shki_member *m;
    struct shki_work w = {.n = 1, .length = len};
    struct shki_call c;
    int r = q ? shki_enter(&q->object, &m) : SHKI_NO_HANDLE;

    if (r < 0)
        return r;
    if (slot == NULL)
        return shki_say(-EINVAL, "the pointer to the slot's address is NULL");
    if (len > q->item_size)
        return shki_too_large(q, len);
    c = shki_put_call(q, m, timeout);
    r = hold(&c, find_room, &w, SHKI_OPEN_RESERVATION);
    if (r < 0)
        return r;
    q->shared->put_lock.reserved_bytes = len;
    *slot = w.slot->bytes;
    fetch_large(w.slot->bytes, len);
    return 0;
}

static struct shki_member *me(const struct shk_queue *q)
{
    return q->object.segment->base ? shki_member_find(q->object.segment) : NULL;
}

/* Has the calling thread a reservation open? 0 or an error. */
static int check_reservation(struct shk_queue *q, struct shki_member **m)
{
    if (q == NULL)
        return SHKI_NO_HANDLE;
    *m = me(q);
    if (*m == NULL && shki_segment_is_closed(q->object.segment))
        return shki_say_closed(q->object.segment);
    if (*m == NULL || !shki_side_is_held_by(&q->shared->put_lock, *m) ||
        look(&q->shared->put_lock.open) != SHKI_OPEN_RESERVATION)
        return shki_object_say(&q->object, -EPERM, "the calling thread has no reservation open");
    return 0;
}

static void end_reservation(struct shk_queue *q, struct shki_member *m)
{
    q->shared->put_lock.reserved_bytes = 0;
    unref(m, &q->shared->put_lock);
    /* for the item, or because nothing more comes */
    shki_queue_notify(q, &q->shared->not_empty, &q->put_adaptive);
    if (q->order != SHK_FIFO)
        shki_queue_notify(q, &q->shared->not_full, &q->get_adaptive);
}

int shk_queue_commit(struct shk_queue *q, size_t len)
{
    const struct shki_order *order;
    struct shki_member *m;
    struct shki_slot *slot;
    int r = check_reservation(q, &m);

    if (r < 0)
        return r;
    if (len > q->shared->put_lock.reserved_bytes)
        return shki_fail(-EMSGSIZE, "%s/%s: %zu bytes are more than the %llu that were reserved",
                         q->object.segment->name, q->object.name, len,
                         (unsigned long long)q->shared->put_lock.reserved_bytes);
    order = shki_order_of(q);
    r = shki_object_is_stale(&q->object)
            ? shki_stale(&q->object)
            : order->room(q, 0, (size_t)q->shared->put_lock.reserved_bytes, &slot);
    if (r > 0) {
        /*
         * Q1, where the slot commits: killed before: nothing was put; killed after: the item is in.
         * Elsewhere put() commits.
         */
        store_release(&slot->word,
                      shki_slot_word(order == &shki_fifo ? shki_fifo_number(q) : 0, len));
        order->put(q, 1, 0);
    }
    end_reservation(q, m);
    return r < 0 ? r : 0;
}

int shk_queue_cancel(struct shk_queue *q)
{
    struct shki_member *m;
    int r = check_reservation(q, &m);

    if (r == 0)
        end_reservation(q, m);
    return r;
}

ssize_t shk_queue_peek(struct shk_queue *q, const void **item, int64_t timeout)
{
    struct shki_member *m;
    struct shki_work w = {.n = 1};
    struct shki_call c;
    size_t length;
    int r = q ? shki_enter(&q->object, &m) : SHKI_NO_HANDLE;

    if (r < 0)
        return r;
    if (item == NULL)
        return shki_say(-EINVAL, "the pointer to the item's address is NULL");
    c = shki_get_call(q, m, timeout);
    r = hold(&c, find_item, &w, SHKI_OPEN_PEEK);
    if (r < 0)
        return r;
    length = shki_slot_length(load_relaxed(&w.slot->word));
    if (length > q->item_size) {
        unref(m, c.lock);
        return shki_damaged_item(q, length);
    }
    *item = w.slot->bytes;
    return (ssize_t)length;
}

static int check_peek(struct shk_queue *q, struct shki_member **m)
{
    if (q == NULL)
        return SHKI_NO_HANDLE;
    *m = me(q);
    if (*m == NULL && shki_segment_is_closed(q->object.segment))
        return shki_say_closed(q->object.segment);
    if (*m == NULL || !shki_side_is_held_by(get_lock_of(q), *m) ||
        look(&get_lock_of(q)->open) != SHKI_OPEN_PEEK)
        return shki_object_say(&q->object, -EPERM, "the calling thread has no peek open");
    return 0;
}

int shk_queue_consume(struct shk_queue *q)
{
    struct shki_member *m;
    int r = check_peek(q, &m);

    if (r < 0)
        return r;
    shki_count_tasks(q, m, 1);
    shki_order_of(q)->take(q, 1);
    unref(m, get_lock_of(q));
    shki_queue_notify(q, &q->shared->not_full, &q->get_adaptive);
    return 0;
}

int shk_queue_unpeek(struct shk_queue *q)
{
    struct shki_member *m;
    int r = check_peek(q, &m);

    if (r == 0)
        unref(m, get_lock_of(q));
    return r;
}

/* ---- Claims ---- */

static bool is_free_or_kept(const void *arg)
{
    const struct shki_call *c = arg;

    return !shki_robust_is_held(&c->lock->mutex.robust) || shki_side_is_held(c);
}

static int still_there(void *arg)
{
    const struct shki_call *c = arg;

    return shki_object_is_stale(&c->queue->object) ? shki_stale(&c->queue->object) : 0;
}

/*
 * For SHK_NOWAIT, and a time that is over already: what counts is whether a member keeps the side,
 * not whether one is busy there for a moment.
 */
static int lock_at_once(struct shki_call *c)
{
    const struct shki_deadline nowait = c->deadline;
    int64_t end = shki_now() + SHKI_BUSY_LIMIT;
    int r;

    shki_spin_for(SHKI_BUSY_SPIN, is_free_or_kept, c);
    do {
        if (shki_side_is_held(c))
            return shki_deadline_check(&nowait);
        c->deadline = shki_deadline(SHKI_BUSY_SLICE, NULL);
        r = shki_call_lock(c, still_there, c);
        c->deadline = nowait;
    } while (r == -ETIMEDOUT && shki_now() < end);
    return r == -ETIMEDOUT ? shki_deadline_check(&nowait) : r;
}

static int claim(struct shki_call *c)
{
    int r = shki_held_more(c->member);

    if (r < 0)
        return r;
    r = c->timeout <= 0 ? lock_at_once(c) : shki_call_lock(c, still_there, c);
    if (r < 0) {
        shki_held_less(c->member);
        return r;
    }
    shki_side_hold(c, 1, SHKI_OPEN_NOTHING);
    return 0;
}

static void unclaim(struct shk_queue *q, struct shki_member *m, unsigned side)
{
    shki_side_unhold(side == SHK_PRODUCER ? &q->shared->put_lock : &q->shared->get_lock);
    shki_held_less(m);
    if (side == SHK_PRODUCER)
        shki_queue_notify(q, &q->shared->not_empty, &q->put_adaptive); /* it may be over now */
}

static int check_sides(const struct shk_queue *q, unsigned sides)
{
    if (sides == 0 || sides & ~(SHK_PRODUCER | SHK_CONSUMER))
        return shki_say(-EINVAL, "the sides of a queue are SHK_PRODUCER, SHK_CONSUMER or both");
    if (q->order != SHK_FIFO)
        return shki_say(
            -ENOTSUP,
            "both sides of a LIFO or PRIORITY queue change the same things: neither can do without the lock");
    return 0;
}

int shk_queue_claim(struct shk_queue *q, unsigned sides, int64_t timeout)
{
    struct shki_member *m;
    struct shki_call put, get;
    int r = q ? shki_enter(&q->object, &m) : SHKI_NO_HANDLE;

    if (r < 0)
        return r;
    r = check_sides(q, sides);
    if (r < 0)
        return r;
    put = shki_put_call(q, m, timeout);
    get = shki_get_call(q, m, timeout);
    if ((sides & SHK_PRODUCER && shki_side_is_held_by(put.lock, m)) ||
        (sides & SHK_CONSUMER && shki_side_is_held_by(get.lock, m)))
        return shki_object_say(
            &q->object, -EDEADLK,
            "the calling thread has claimed the side already, or has a reservation or a peek open");
    put.deadline = get.deadline =
        shki_object_deadline(&q->object, timeout, "another member keeps a side that is claimed");
    put.begun = get.begun = true;
    if (sides & SHK_PRODUCER)
        r = claim(&put);
    if (r == 0 && sides & SHK_CONSUMER) {
        r = claim(&get);
        if (r < 0 && sides & SHK_PRODUCER)
            unclaim(q, m, SHK_PRODUCER);
    }
    return r;
}

static bool has_claimed(const struct shki_side_lock *lock, const struct shki_member *m)
{
    return shki_side_is_held_by(lock, m) && look(&lock->claimed);
}

int shk_queue_unclaim(struct shk_queue *q, unsigned sides)
{
    struct shki_member *m;
    int r = q ? check_sides(q, sides) : SHKI_NO_HANDLE;

    if (r < 0)
        return r;
    m = me(q);
    if (m == NULL && shki_segment_is_closed(q->object.segment))
        return shki_say_closed(q->object.segment);
    if (m == NULL || (sides & SHK_PRODUCER && !has_claimed(&q->shared->put_lock, m)) ||
        (sides & SHK_CONSUMER && !has_claimed(&q->shared->get_lock, m)))
        return shki_object_say(&q->object, -EPERM, "the calling thread has not claimed the side");
    if ((sides & SHK_PRODUCER && look(&q->shared->put_lock.open)) ||
        (sides & SHK_CONSUMER && look(&q->shared->get_lock.open)))
        return shki_object_say(&q->object, -EBUSY,
                               "the calling thread has a reservation or a peek open");
    if (sides & SHK_PRODUCER)
        unclaim(q, m, SHK_PRODUCER);
    if (sides & SHK_CONSUMER)
        unclaim(q, m, SHK_CONSUMER);
    return 0;
}
