/* Holding a gate of a queue for longer than an operation: reserve and peek, claim. */
#include "object/queue.h"

#include <shmkit/inspect.h>
#include <stdlib.h>

static struct shki_mutex *get_gate_of(struct shk_queue *q)
{
    return q->order == SHK_FIFO ? &q->shared->get_gate : &q->shared->put_gate;
}

static uint32_t look(const _Atomic uint32_t *mark)
{
    return atomic_load_explicit(mark, memory_order_relaxed); /* only the holder of the gate looks at its marks and changes them */
}

static void set(_Atomic uint32_t *mark, uint32_t value)
{
    atomic_store_explicit(mark, value, memory_order_relaxed);
}

/* ---- Reservations and peeks ---- */

static int find_room(struct shk_queue *q, struct shki_membership *m, struct shki_work *w)
{
    int r = shki_may_put(q);

    (void)m;
    return r < 0 ? r : shki_order_of(q)->room(q, 0, &w->slot);
}

static int find_item(struct shk_queue *q, struct shki_membership *m, struct shki_work *w)
{
    (void)m;
    return shki_next_item(q, shki_order_of(q), &w->slot);
}

/* Carry it out and stay in the gate. */
static int hold(struct shki_call *c, shki_act *act, struct shki_work *w)
{
    bool counted = !shki_gate_is_mine(c->gate, c->member);
    int r = counted ? shki_held_more(c->member) : 0;

    if (r < 0)
        return r;
    r = shki_carry_out(c, act, w, true);
    if (r > 0)
        shki_gate_keep(c);
    else if (counted)
        shki_held_less(c->member);
    if (r > 0)
        shki_call_end(c);
    return r;
}

/* Leave the gate, unless it is claimed. */
static void let_go(struct shk_queue *q, struct shki_membership *m, struct shki_mutex *gate, bool claimed)
{
    if (claimed) {
        if (gate == &q->shared->put_gate)
            atomic_store_explicit(&q->shared->under_way, 0, memory_order_release);
        return;
    }
    shki_gate_give(q, gate);
    shki_held_less(m);
}

int shk_queue_reserve(struct shk_queue *q, size_t len, void **slot, int64_t timeout)
{
    struct shki_membership *m;
    struct shki_work w = { .n = 1 };
    struct shki_call c;
    int r = q ? shki_enter(&q->object, &m) : SHKI_NO_HANDLE;

    if (r < 0)
        return r;
    if (slot == NULL)
        return shki_say(-EINVAL, "no place for the slot's address was given");
    if (!shki_timeout_is_legal(timeout))
        return SHKI_BAD_TIMEOUT;
    if (len > q->item_size)
        return shki_too_large(q, len);
    c = shki_put_call(q, m, timeout);
    r = hold(&c, find_room, &w);
    if (r < 0)
        return r;
    q->shared->reserved_length = len;
    set(&q->shared->under_way, 1);
    set(&q->shared->reservation, 1);
    *slot = w.slot->bytes;
    return 0;
}

static struct shki_membership *me(const struct shk_queue *q)
{
    return q->object.segment->base ? shki_membership_find(q->object.segment) : NULL;
}

/* Has the calling thread a reservation open? 0 or an error. */
static int check_reservation(struct shk_queue *q, struct shki_membership **m)
{
    if (q == NULL)
        return SHKI_NO_HANDLE;
    *m = me(q);
    if (*m == NULL && shki_segment_is_closed(q->object.segment))
        return shki_say(-EBADF, "the segment has been closed");
    if (*m == NULL || !shki_gate_is_mine(&q->shared->put_gate, *m) || !look(&q->shared->reservation))
        return shki_say(-EPERM, "the calling thread has no reservation open");
    return 0;
}

static void end_reservation(struct shk_queue *q, struct shki_membership *m)
{
    set(&q->shared->reservation, 0);
    let_go(q, m, &q->shared->put_gate, look(&q->shared->put_claimed));
    shki_bed_wake(q, &q->shared->empty); /* for the item, or because nothing more comes */
    if (q->order != SHK_FIFO)
        shki_bed_wake(q, &q->shared->full);
}

int shk_queue_commit(struct shk_queue *q, size_t len)
{
    const struct shki_order *order;
    struct shki_membership *m;
    struct shki_slot *slot;
    int r = check_reservation(q, &m);

    if (r < 0)
        return r;
    if (len > q->shared->reserved_length)
        return shki_fail(-EMSGSIZE, "%zu bytes are more than the %llu that were reserved", len, (unsigned long long)q->shared->reserved_length);
    order = shki_order_of(q);
    r = shki_object_is_stale(&q->object) ? shki_stale(&q->object) : order->room(q, 0, &slot);
    if (r > 0) {
        slot->length = (uint32_t)len;
        order->put(q, 1, 0);
    }
    end_reservation(q, m);
    return r < 0 ? r : 0;
}

int shk_queue_cancel(struct shk_queue *q)
{
    struct shki_membership *m;
    int r = check_reservation(q, &m);

    if (r == 0)
        end_reservation(q, m);
    return r;
}

ssize_t shk_queue_peek(struct shk_queue *q, const void **item, int64_t timeout)
{
    struct shki_membership *m;
    struct shki_work w = { .n = 1 };
    struct shki_call c;
    size_t length;
    int r = q ? shki_enter(&q->object, &m) : SHKI_NO_HANDLE;

    if (r < 0)
        return r;
    if (item == NULL)
        return shki_say(-EINVAL, "no place for the item's address was given");
    if (!shki_timeout_is_legal(timeout))
        return SHKI_BAD_TIMEOUT;
    c = shki_get_call(q, m, timeout);
    r = hold(&c, find_item, &w);
    if (r < 0)
        return r;
    length = w.slot->length;
    if (length > q->item_size) {
        let_go(q, m, c.gate, c.mine);
        return shki_damaged_item(q, length);
    }
    set(&q->shared->peeked, 1);
    *item = w.slot->bytes;
    return (ssize_t)length;
}

static int check_peek(struct shk_queue *q, struct shki_membership **m)
{
    if (q == NULL)
        return SHKI_NO_HANDLE;
    *m = me(q);
    if (*m == NULL && shki_segment_is_closed(q->object.segment))
        return shki_say(-EBADF, "the segment has been closed");
    if (*m == NULL || !shki_gate_is_mine(get_gate_of(q), *m) || !look(&q->shared->peeked))
        return shki_say(-EPERM, "the calling thread has no peek open");
    return 0;
}

static void end_peek(struct shk_queue *q, struct shki_membership *m)
{
    set(&q->shared->peeked, 0);
    let_go(q, m, get_gate_of(q), q->order == SHK_FIFO && look(&q->shared->get_claimed));
}

int shk_queue_consume(struct shk_queue *q)
{
    struct shki_membership *m;
    int r = check_peek(q, &m);

    if (r < 0)
        return r;
    shki_count_tasks(q, m, 1);
    shki_order_of(q)->take(q, 1);
    end_peek(q, m);
    shki_bed_wake(q, &q->shared->full);
    return 0;
}

int shk_queue_unpeek(struct shk_queue *q)
{
    struct shki_membership *m;
    int r = check_peek(q, &m);

    if (r == 0)
        end_peek(q, m);
    return r;
}

/* ---- Claims ---- */

static bool is_free_or_kept(const void *arg)
{
    const struct shki_call *c = arg;

    return !shki_robust_is_held(&c->gate->robust) ||
           shki_member_is_alive(c->queue->object.segment, atomic_load_explicit(&c->gate->holder, memory_order_relaxed));
}

static int still_there(void *arg)
{
    const struct shki_call *c = arg;

    return shki_object_is_stale(&c->queue->object) ? shki_stale(&c->queue->object) : 0;
}

static int claim(struct shki_call *c)
{
    struct shk_queue *q = c->queue;
    int r = shki_held_more(c->member);

    if (r < 0)
        return r;
    if (c->timeout == SHK_NOWAIT)
        shki_spin_for(SHKI_BUSY_LIMIT, is_free_or_kept, c);
    r = shki_call_lock(c, still_there, c);
    if (r < 0) {
        shki_held_less(c->member);
        return r;
    }
    shki_gate_keep(c);
    set(c->waits_for == SHK_WAITS_TO_PUT ? &q->shared->put_claimed : &q->shared->get_claimed, 1);
    return 0;
}

static void unclaim(struct shk_queue *q, struct shki_membership *m, unsigned side)
{
    shki_gate_give(q, side == SHK_PRODUCER ? &q->shared->put_gate : &q->shared->get_gate);
    shki_held_less(m);
    if (side == SHK_PRODUCER)
        shki_bed_wake(q, &q->shared->empty); /* it may be over now */
}

static int check_sides(const struct shk_queue *q, unsigned sides)
{
    if (sides == 0 || sides & ~(SHK_PRODUCER | SHK_CONSUMER))
        return shki_say(-EINVAL, "the sides of a queue are SHK_PRODUCER, SHK_CONSUMER or both");
    if (q->order != SHK_FIFO)
        return shki_say(-ENOTSUP, "both sides of a LIFO or PRIORITY queue change the same things: neither can do without the lock");
    return 0;
}

int shk_queue_claim(struct shk_queue *q, unsigned sides, int64_t timeout)
{
    struct shki_membership *m;
    struct shki_call put, get;
    int r = q ? shki_enter(&q->object, &m) : SHKI_NO_HANDLE;

    if (r < 0)
        return r;
    if (!shki_timeout_is_legal(timeout))
        return SHKI_BAD_TIMEOUT;
    r = check_sides(q, sides);
    if (r < 0)
        return r;
    put = shki_put_call(q, m, timeout);
    get = shki_get_call(q, m, timeout);
    if ((sides & SHK_PRODUCER && shki_gate_is_mine(put.gate, m)) || (sides & SHK_CONSUMER && shki_gate_is_mine(get.gate, m)))
        return shki_say(-EDEADLK, "the calling thread has claimed it already, or has a reservation or a peek open");
    put.patience = get.patience = shki_object_patience(&q->object, timeout);
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

int shk_queue_unclaim(struct shk_queue *q, unsigned sides)
{
    struct shki_membership *m;
    int r = q ? check_sides(q, sides) : SHKI_NO_HANDLE;

    if (r < 0)
        return r;
    m = me(q);
    if (m == NULL && shki_segment_is_closed(q->object.segment))
        return shki_say(-EBADF, "the segment has been closed");
    if (m == NULL || (sides & SHK_PRODUCER && !(shki_gate_is_mine(&q->shared->put_gate, m) && look(&q->shared->put_claimed))) ||
        (sides & SHK_CONSUMER && !(shki_gate_is_mine(&q->shared->get_gate, m) && look(&q->shared->get_claimed))))
        return shki_say(-EPERM, "the calling thread has not claimed it");
    if ((sides & SHK_PRODUCER && look(&q->shared->reservation)) || (sides & SHK_CONSUMER && look(&q->shared->peeked)))
        return shki_say(-EBUSY, "the calling thread has a reservation or a peek open");
    if (sides & SHK_PRODUCER)
        unclaim(q, m, SHK_PRODUCER);
    if (sides & SHK_CONSUMER)
        unclaim(q, m, SHK_CONSUMER);
    return 0;
}
