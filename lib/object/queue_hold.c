/* Holding a gate of a queue for longer than an operation: reserve and peek, claim. */
#include "object/queue.h"

#include <shmkit/inspect.h>
#include <stdlib.h>

static struct shki_gate *get_gate_of(struct shk_queue *q)
{
    return q->order == SHK_FIFO ? &q->shared->get_gate : &q->shared->put_gate;
}

static uint32_t look(const _Atomic uint32_t *mark)
{
    /* only the holder of the gate looks at its marks and changes them */
    return atomic_load_explicit(mark, memory_order_relaxed);
}

/* ---- Reservations and peeks ---- */

static int find_room(struct shk_queue *q, struct shki_membership *m, struct shki_work *w)
{
    int r = shki_may_put(q);

    (void)m;
    return r < 0 ? r : shki_order_of(q)->room(q, 0, w->length, &w->slot);
}

static int find_item(struct shk_queue *q, struct shki_membership *m, struct shki_work *w)
{
    (void)m;
    return shki_next_item(q, shki_order_of(q), &w->slot);
}

/* Carry it out and stay in the gate, with something open. */
static int hold(struct shki_call *c, shki_act *act, struct shki_work *w, uint32_t open)
{
    bool claimed = shki_gate_is_kept_by(c->gate, c->member);
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
    shki_gate_keep(c, claimed, open);
    if (claimed)
        shki_gate_step_out(c->member);
    shki_call_end(c);
    return r;
}

/* Leave the gate, unless it is claimed. */
static void let_go(struct shki_membership *m, struct shki_gate *gate)
{
    /*
     * Killed around any of these: a dead holder. Release: what was put before, for those who see it
     * shut down.
     */
    atomic_store_explicit(&gate->open, SHKI_OPEN_NOTHING, memory_order_release);
    if (look(&gate->claimed)) {
        atomic_store_explicit(&gate->tenant, m->id, memory_order_relaxed);
        return;
    }
    shki_gate_give(gate);
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
    struct shki_membership *m;
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
    q->shared->put_gate.at_stake = len;
    *slot = w.slot->bytes;
    fetch_large(w.slot->bytes, len);
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
        return shki_say_closed(q->object.segment);
    if (*m == NULL || !shki_gate_is_kept_by(&q->shared->put_gate, *m) ||
        look(&q->shared->put_gate.open) != SHKI_OPEN_RESERVATION)
        return shki_object_say(&q->object, -EPERM, "the calling thread has no reservation open");
    return 0;
}

static void end_reservation(struct shk_queue *q, struct shki_membership *m)
{
    q->shared->put_gate.at_stake = 0;
    let_go(m, &q->shared->put_gate);
    /* for the item, or because nothing more comes */
    shki_bed_wake(q, &q->shared->empty, &q->put_habits);
    if (q->order != SHK_FIFO)
        shki_bed_wake(q, &q->shared->full, &q->get_habits);
}

int shk_queue_commit(struct shk_queue *q, size_t len)
{
    const struct shki_order *order;
    struct shki_membership *m;
    struct shki_slot *slot;
    int r = check_reservation(q, &m);

    if (r < 0)
        return r;
    if (len > q->shared->put_gate.at_stake)
        return shki_fail(-EMSGSIZE, "%s/%s: %zu bytes are more than the %llu that were reserved",
                         q->object.segment->name, q->object.name, len,
                         (unsigned long long)q->shared->put_gate.at_stake);
    order = shki_order_of(q);
    r = shki_object_is_stale(&q->object)
            ? shki_stale(&q->object)
            : order->room(q, 0, (size_t)q->shared->put_gate.at_stake, &slot);
    if (r > 0) {
        /*
         * Q1, where the slot commits: killed before: nothing was put; killed after: the item is in.
         * Elsewhere put() commits.
         */
        atomic_store_explicit(&slot->word,
                              shki_slot_word(order == &shki_fifo ? shki_fifo_number(q) : 0, len),
                              memory_order_release);
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
    length = shki_slot_length(atomic_load_explicit(&w.slot->word, memory_order_relaxed));
    if (length > q->item_size) {
        let_go(m, c.gate);
        return shki_damaged_item(q, length);
    }
    *item = w.slot->bytes;
    return (ssize_t)length;
}

static int check_peek(struct shk_queue *q, struct shki_membership **m)
{
    if (q == NULL)
        return SHKI_NO_HANDLE;
    *m = me(q);
    if (*m == NULL && shki_segment_is_closed(q->object.segment))
        return shki_say_closed(q->object.segment);
    if (*m == NULL || !shki_gate_is_kept_by(get_gate_of(q), *m) ||
        look(&get_gate_of(q)->open) != SHKI_OPEN_PEEK)
        return shki_object_say(&q->object, -EPERM, "the calling thread has no peek open");
    return 0;
}

int shk_queue_consume(struct shk_queue *q)
{
    struct shki_membership *m;
    int r = check_peek(q, &m);

    if (r < 0)
        return r;
    shki_count_tasks(q, m, 1);
    shki_order_of(q)->take(q, 1);
    let_go(m, get_gate_of(q));
    shki_bed_wake(q, &q->shared->full, &q->get_habits);
    return 0;
}

int shk_queue_unpeek(struct shk_queue *q)
{
    struct shki_membership *m;
    int r = check_peek(q, &m);

    if (r == 0)
        let_go(m, get_gate_of(q));
    return r;
}

/* ---- Claims ---- */

static bool is_free_or_kept(const void *arg)
{
    const struct shki_call *c = arg;

    return !shki_robust_is_held(&c->gate->mutex.robust) || shki_side_is_kept(c);
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
    const struct shki_patience nowait = c->patience;
    int64_t end = shki_now() + SHKI_BUSY_LIMIT;
    int r;

    shki_spin_for(SHKI_BUSY_SPIN, is_free_or_kept, c);
    do {
        if (shki_side_is_kept(c))
            return shki_patience_over(&nowait);
        c->patience = shki_patience(SHKI_BUSY_SLICE, NULL);
        r = shki_call_lock(c, still_there, c);
        c->patience = nowait;
    } while (r == -ETIMEDOUT && shki_now() < end);
    return r == -ETIMEDOUT ? shki_patience_over(&nowait) : r;
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
    shki_gate_keep(c, 1, SHKI_OPEN_NOTHING);
    return 0;
}

static void unclaim(struct shk_queue *q, struct shki_membership *m, unsigned side)
{
    shki_gate_give(side == SHK_PRODUCER ? &q->shared->put_gate : &q->shared->get_gate);
    shki_held_less(m);
    if (side == SHK_PRODUCER)
        shki_bed_wake(q, &q->shared->empty, &q->put_habits); /* it may be over now */
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
    struct shki_membership *m;
    struct shki_call put, get;
    int r = q ? shki_enter(&q->object, &m) : SHKI_NO_HANDLE;

    if (r < 0)
        return r;
    r = check_sides(q, sides);
    if (r < 0)
        return r;
    put = shki_put_call(q, m, timeout);
    get = shki_get_call(q, m, timeout);
    if ((sides & SHK_PRODUCER && shki_gate_is_kept_by(put.gate, m)) ||
        (sides & SHK_CONSUMER && shki_gate_is_kept_by(get.gate, m)))
        return shki_object_say(
            &q->object, -EDEADLK,
            "the calling thread has claimed the side already, or has a reservation or a peek open");
    put.patience = get.patience =
        shki_object_patience(&q->object, timeout, "another member keeps a side that is claimed");
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

static bool has_claimed(const struct shki_gate *gate, const struct shki_membership *m)
{
    return shki_gate_is_kept_by(gate, m) && look(&gate->claimed);
}

int shk_queue_unclaim(struct shk_queue *q, unsigned sides)
{
    struct shki_membership *m;
    int r = q ? check_sides(q, sides) : SHKI_NO_HANDLE;

    if (r < 0)
        return r;
    m = me(q);
    if (m == NULL && shki_segment_is_closed(q->object.segment))
        return shki_say_closed(q->object.segment);
    if (m == NULL || (sides & SHK_PRODUCER && !has_claimed(&q->shared->put_gate, m)) ||
        (sides & SHK_CONSUMER && !has_claimed(&q->shared->get_gate, m)))
        return shki_object_say(&q->object, -EPERM, "the calling thread has not claimed the side");
    if ((sides & SHK_PRODUCER && look(&q->shared->put_gate.open)) ||
        (sides & SHK_CONSUMER && look(&q->shared->get_gate.open)))
        return shki_object_say(&q->object, -EBUSY,
                               "the calling thread has a reservation or a peek open");
    if (sides & SHK_PRODUCER)
        unclaim(q, m, SHK_PRODUCER);
    if (sides & SHK_CONSUMER)
        unclaim(q, m, SHK_CONSUMER);
    return 0;
}
