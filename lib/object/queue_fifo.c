/*
 * FIFO: a ring between two gates.
 *
 *        get gate                                      put gate
 *     head (items taken)                            tail (items put)
 *        |                                             |
 *     ...|  item   item   item   item   item   item    |  free  free ...     slot of position p: p & mask
 *        v                                             v
 *
 * Producers take turns at the put gate, consumers at the get gate; the two sides meet only in head and tail. One release store commits an
 * operation, so there is nothing to repair when a gate's holder dies: its item is in, or it is out. Nobody sleeps with a gate.
 */
#include "object/queue.h"

#include <shmkit/inspect.h>
#include <string.h>

#define BUSY_LIMIT SHK_MS(2) /* so long SHK_NOWAIT stays with a gate that somebody is busy in */

static struct shki_slot *slot_at(const struct shk_queue *q, uint64_t position)
{
    return (struct shki_slot *)(void *)(q->slots + (position & q->mask) * q->stride);
}

static bool is_over(const struct shk_queue *q)
{
    /* Q3: acquire; pairs with the release in shutdown. */
    return atomic_load_explicit(&q->shared->shut_down, memory_order_acquire) != 0 || shki_object_is_stale(&q->object);
}

static bool has_item(const void *queue)
{
    const struct shk_queue *q = queue;
    uint64_t head = atomic_load_explicit(&q->shared->head, memory_order_acquire);

    return atomic_load_explicit(&q->shared->tail, memory_order_acquire) != head || is_over(q);
}

static bool has_room(const void *queue)
{
    const struct shk_queue *q = queue;
    uint64_t head = atomic_load_explicit(&q->shared->head, memory_order_acquire);

    return atomic_load_explicit(&q->shared->tail, memory_order_acquire) - head < q->capacity || is_over(q);
}

struct busy {
    struct shk_queue *queue;
    struct shki_mutex *gate;
    bool (*can_go_on)(const void *queue);
    int *entered;
};

static bool has_entered_or_need_not(const void *arg)
{
    const struct busy *b = arg;

    if (!shki_robust_is_held(&b->gate->robust))
        *b->entered = shki_mutex_trylock(b->gate, 0); /* 0: nobody is let go first */
    return *b->entered >= 0 || !b->can_go_on(b->queue);
}

/* With SHK_NOWAIT what counts is the truth, not whether somebody is busy for a moment, or one after the other. */
static int enter_without_waiting(struct shki_bed_wait *w, struct shki_mutex *gate)
{
    int entered = -EBUSY;
    struct busy busy = { w->queue, gate, w->can_go_on, &entered };

    if (!shki_spin_for(BUSY_LIMIT, has_entered_or_need_not, &busy))
        return shki_say(-EAGAIN, "somebody has stayed in the middle of an operation; is a process stopped?");
    return entered >= 0 ? entered : shki_patience_over(&w->patience);
}

/* Enter a gate: 0 or the end of patience. */
static int enter_gate(struct shki_bed_wait *w, struct shki_mutex *gate, struct shki_spinner *spinner)
{
    int r = shki_mutex_trylock(gate, w->member->id);

    if (r >= 0)
        goto in;
    if (!w->begun) {
        w->begun = true;
        w->patience = shki_object_patience(&w->queue->object, w->timeout);
    }
    if (w->timeout == SHK_NOWAIT) {
        r = enter_without_waiting(w, gate);
    } else {
        shki_object_sleeps(&w->queue->object, w->member, w->waits_for, SHKI_WAITS_A_WHILE);
        r = shki_mutex_lock(gate, &w->patience, w->member->id, spinner, NULL, NULL);
        shki_member_is_awake();
    }
    if (r < 0)
        return r;
in:
    if (r == 1)
        atomic_fetch_add_explicit(&w->queue->shared->repairs.holders_lost, 1, memory_order_relaxed);
    return 0;
}

/* With the put gate: 1 it is in, 0 full, or an error. */
static int put_now(struct shk_queue *q, const void *item, size_t len)
{
    struct shki_queue_shared *shared = q->shared;
    uint64_t tail = atomic_load_explicit(&shared->tail, memory_order_relaxed); /* ours: the gate orders it */
    struct shki_slot *slot;

    if (atomic_load_explicit(&shared->shut_down, memory_order_acquire))
        return shki_say(-EPIPE, "the queue has been shut down");
    if (shki_object_is_stale(&q->object))
        return shki_stale(&q->object);
    if (tail - shared->head_seen >= q->capacity)
        shared->head_seen = atomic_load_explicit(&shared->head, memory_order_acquire); /* Q2: the slots up to it have been read */
    if (tail - shared->head_seen >= q->capacity)
        return 0;
    slot = slot_at(q, tail);
    /* killed up to Q1: the slot is still free, whatever is in it */
    slot->length = (uint32_t)len;
    if (len)
        memcpy(slot->bytes, item, len);
    /* Q1: commits; pairs with the acquire of tail in get. Killed after: the item is in; a consumer asleep finds it at the end of its slice. */
    atomic_store_explicit(&shared->tail, tail + 1, memory_order_release);
    return 1;
}

int shki_fifo_put(struct shk_queue *q, struct shki_membership *m, const void *item, size_t len, int64_t timeout)
{
    struct shki_bed_wait w = { .queue = q, .member = m, .bed = &q->shared->full, .spinner = &q->full_spinner, .can_go_on = has_room,
                               .waits_for = SHK_WAITS_TO_PUT, .timeout = timeout };
    int r;

    for (;;) {
        r = enter_gate(&w, &q->shared->put_gate, &q->put_gate_spinner);
        if (r < 0)
            break;
        r = put_now(q, item, len);
        shki_mutex_unlock(&q->shared->put_gate);
        if (r == 1)
            shki_bed_wake(&q->shared->empty);
        if (r != 0)
            break;
        r = shki_bed_wait(&w);
        if (r < 0)
            break;
    }
    shki_bed_leave(&w);
    return r < 0 ? r : 0;
}

/* With the get gate: 1 it is out, 0 empty, or an error. */
static int get_now(struct shk_queue *q, void *buf, size_t size, size_t *length)
{
    struct shki_queue_shared *shared = q->shared;
    uint64_t head = atomic_load_explicit(&shared->head, memory_order_relaxed); /* ours: the gate orders it */
    const struct shki_slot *slot;

    if (shki_object_is_stale(&q->object))
        return shki_stale(&q->object);
    if (head == shared->tail_seen) {
        bool over = atomic_load_explicit(&shared->shut_down, memory_order_acquire) != 0; /* before tail: nothing is put after it for long */

        shared->tail_seen = atomic_load_explicit(&shared->tail, memory_order_acquire); /* Q1: the slots up to it have been written */
        if (head == shared->tail_seen)
            return over ? shki_say(-EPIPE, "the queue has been shut down and is drained") : 0;
    }
    slot = slot_at(q, head);
    *length = slot->length;
    if (*length > q->item_size)
        return shki_fail(-EPROTO, "%s/%s is damaged: an item of %zu bytes", q->object.segment->name, q->object.name, *length);
    if (*length > size)
        return shki_fail(-EMSGSIZE, "the next item of %s/%s has %zu bytes, the buffer %zu", q->object.segment->name, q->object.name, *length, size);
    if (*length)
        memcpy(buf, slot->bytes, *length);
    /* Q2: commits; pairs with the acquire of head in put. Killed before: the item is still in. Killed after: it is out. */
    atomic_store_explicit(&shared->head, head + 1, memory_order_release);
    return 1;
}

ssize_t shki_fifo_get(struct shk_queue *q, struct shki_membership *m, void *buf, size_t size, int64_t timeout)
{
    struct shki_bed_wait w = { .queue = q, .member = m, .bed = &q->shared->empty, .spinner = &q->empty_spinner, .can_go_on = has_item,
                               .waits_for = SHK_WAITS_TO_GET, .timeout = timeout };
    size_t length = 0;
    int r;

    for (;;) {
        r = enter_gate(&w, &q->shared->get_gate, &q->get_gate_spinner);
        if (r < 0)
            break;
        r = get_now(q, buf, size, &length);
        shki_mutex_unlock(&q->shared->get_gate);
        if (r == 1)
            shki_bed_wake(&q->shared->full);
        if (r != 0)
            break;
        r = shki_bed_wait(&w);
        if (r < 0)
            break;
    }
    shki_bed_leave(&w);
    return r < 0 ? r : (ssize_t)length;
}
