/* How a call on a queue takes its turn at a gate, and how it sleeps and wakes. */
#include "object/queue.h"

#include "wait/park.h"

#include <shmkit/inspect.h>

const struct shki_order *shki_order_of(const struct shk_queue *q)
{
    return q->order == SHK_FIFO ? &shki_fifo : q->order == SHK_LIFO ? &shki_lifo : &shki_priority;
}

/* ---- What is true of a queue: loads only ---- */

bool shki_queue_is_over(const struct shk_queue *q)
{
    const struct shki_queue_shared *shared = q->shared;
    const struct shki_mutex *gate = &shared->put_gate;
    /* Q3: acquire; pairs with the release in shutdown. */
    uint32_t state = atomic_load_explicit(&shared->shut_down, memory_order_acquire);

    if (state != SHKI_SHUT_FOR_PUTS || q->order != SHK_FIFO)
        return state != SHKI_OPEN; /* other orders: the caller has the only gate, or asks for a hint */
    atomic_thread_fence(memory_order_seq_cst); /* F4: shut_down before under_way; pairs with F3 */
    if (!shki_robust_is_held(&gate->robust))
        return true;
    return shki_member_is_alive(q->object.segment, atomic_load_explicit(&gate->holder, memory_order_acquire)) &&
           atomic_load_explicit(&shared->under_way, memory_order_acquire) == 0;
}

uint64_t shki_queue_items(const struct shk_queue *q)
{
    uint64_t head;

    if (q->order != SHK_FIFO)
        return shki_ordered_size(q);
    /* Q1, Q2: acquire, head first: it never is beyond the tail that is read after it. */
    head = atomic_load_explicit(&q->shared->head, memory_order_acquire);
    return atomic_load_explicit(&q->shared->tail, memory_order_acquire) - head;
}

bool shki_queue_has_item(const void *arg)
{
    const struct shk_queue *q = arg;

    return shki_queue_items(q) > 0 || shki_queue_is_over(q) || shki_object_is_stale(&q->object);
}

bool shki_queue_has_room(const void *arg)
{
    const struct shk_queue *q = arg;

    return q->grows || shki_queue_items(q) < q->capacity || atomic_load_explicit(&q->shared->shut_down, memory_order_acquire) != SHKI_OPEN ||
           shki_object_is_stale(&q->object);
}

/* ---- The gate ---- */

struct shki_call shki_put_call(struct shk_queue *q, struct shki_membership *m, int64_t timeout)
{
    struct shki_queue_shared *shared = q->shared;

    return (struct shki_call){ .queue = q, .member = m, .gate = &shared->put_gate, .gate_spinner = &q->put_gate_spinner, .bed = &shared->full,
                               .other = &shared->empty, .spinner = &q->full_spinner, .puts = true, .can_go_on = shki_queue_has_room,
                               .waits_for = SHK_WAITS_TO_PUT, .timeout = timeout };
}

struct shki_call shki_get_call(struct shk_queue *q, struct shki_membership *m, int64_t timeout)
{
    struct shki_queue_shared *shared = q->shared;
    bool fifo = q->order == SHK_FIFO;

    return (struct shki_call){ .queue = q, .member = m, .gate = fifo ? &shared->get_gate : &shared->put_gate,
                               .gate_spinner = fifo ? &q->get_gate_spinner : &q->put_gate_spinner, .bed = &shared->empty,
                               .other = &shared->full, .spinner = &q->empty_spinner, .can_go_on = shki_queue_has_item,
                               .waits_for = SHK_WAITS_TO_GET, .timeout = timeout };
}

static bool is_free_or_pointless(const void *arg)
{
    const struct shki_call *c = arg;

    return !shki_robust_is_held(&c->gate->robust) || !c->can_go_on(c->queue);
}

/* After each slice of waiting for a gate, which may have been claimed: is there still something to wait for? */
static int each_slice(void *arg)
{
    const struct shki_call *c = arg;
    struct shk_queue *q = c->queue;

    if (c->puts)
        return shki_may_put(q);
    if (shki_object_is_stale(&q->object))
        return shki_stale(&q->object);
    if (shki_queue_is_over(q) && shki_queue_items(q) == 0)
        return shki_say(-EPIPE, "the queue has been shut down and is drained");
    return 0;
}

void shki_gate_inherit(struct shk_queue *q, struct shki_mutex *gate)
{
    atomic_fetch_add_explicit(&q->shared->repairs.holders_lost, 1, memory_order_relaxed);
    if (q->order != SHK_FIFO)
        shki_ordered_repair(q);
    /* killed before: a dead holder's again */
    if (gate == &q->shared->put_gate)
        atomic_store_explicit(&q->shared->under_way, 0, memory_order_relaxed);
    atomic_store_explicit(&gate->holder, 0, memory_order_relaxed);
}

int shki_call_lock(struct shki_call *c, int (*slice)(void *), void *arg)
{
    int r;

    if (!c->begun) {
        c->begun = true;
        c->patience = shki_object_patience(&c->queue->object, c->timeout);
    }
    if (!c->patience.nowait)
        shki_object_sleeps(&c->queue->object, c->member, c->waits_for, shki_waits_how(&c->patience));
    r = shki_mutex_lock(c->gate, &c->patience, c->member->id, c->gate_spinner, slice, arg);
    if (!c->patience.nowait)
        shki_member_is_awake();
    if (r == 1)
        shki_gate_inherit(c->queue, c->gate);
    return r < 0 ? r : 0;
}

/* Somebody is there, which may be over in a moment; and then somebody else. */
static int enter_at_once(struct shki_call *c)
{
    int64_t end = shki_now() + SHKI_BUSY_LIMIT;
    int r;

    do {
        shki_spin_for(SHKI_BUSY_LIMIT, is_free_or_pointless, c);
        if (!c->can_go_on(c->queue))
            return shki_patience_over(&c->patience);
        r = shki_call_lock(c, NULL, NULL);
    } while (r == -EAGAIN && shki_now() < end);
    return r == -EAGAIN ? shki_say(r, "somebody keeps the queue's gate, or has stayed in the middle of an operation") : r;
}

/* Enter the gate: 0 or the end of patience. With SHK_NOWAIT what counts is the truth, not whether somebody is busy for a moment. */
static int enter(struct shki_call *c)
{
    struct shk_queue *q = c->queue;
    int r = shki_gate_enter(q, c->member, c->gate, c->puts, &c->mine);

    if (r <= 0)
        return r;
    if (!c->begun) {
        c->begun = true;
        c->patience = shki_object_patience(&q->object, c->timeout);
    }
    return c->timeout == SHK_NOWAIT ? enter_at_once(c) : shki_call_lock(c, each_slice, c);
}

int shki_carry_out(struct shki_call *c, shki_act *act, struct shki_work *work, bool keep)
{
    int r;

    for (;;) {
        r = enter(c);
        if (r < 0)
            break;
        r = act(c->queue, c->member, work);
        if (r > 0 && keep)
            return r;
        shki_gate_leave(c->queue, c->gate, c->puts, c->mine);
        if (r > 0 || (r == -EPIPE && c->mine))
            shki_bed_wake(c->queue, c->other);
        if (r != 0)
            break;
        r = shki_call_wait(c);
        if (r < 0)
            break;
    }
    shki_call_end(c);
    return r;
}

void shki_gate_keep(struct shki_call *c)
{
    struct shki_queue_shared *shared = c->queue->shared;

    if (c->mine)
        return;
    /* killed anywhere in here: a dead holder, whose claims mean nothing */
    if (c->gate == &shared->put_gate) {
        atomic_store_explicit(&shared->put_claimed, 0, memory_order_relaxed);
        atomic_store_explicit(&shared->reservation, 0, memory_order_relaxed);
        atomic_store_explicit(&shared->under_way, 0, memory_order_relaxed);
    }
    if (c->gate == &shared->get_gate || c->queue->order != SHK_FIFO) {
        atomic_store_explicit(&shared->get_claimed, 0, memory_order_relaxed);
        atomic_store_explicit(&shared->peeked, 0, memory_order_relaxed);
    }
    atomic_store_explicit(&c->gate->holder, c->member->id, memory_order_release);
}

void shki_gate_give(struct shk_queue *q, struct shki_mutex *gate)
{
    atomic_store_explicit(&gate->holder, 0, memory_order_relaxed);
    if (gate == &q->shared->put_gate)
        atomic_store_explicit(&q->shared->under_way, 0, memory_order_release);
    shki_mutex_unlock(gate);
}

/* ---- The bed ---- */

void shki_queue_wake(struct shk_segment *s, struct shki_queue_shared *shared)
{
    struct shki_bed *beds[] = { &shared->empty, &shared->full, &shared->tasks };

    atomic_thread_fence(memory_order_seq_cst); /* F2 */
    for (size_t i = 0; i < sizeof(beds) / sizeof(beds[0]); i++)
        shki_bed_wake_slow(s, beds[i]);
}

void shki_bed_wake_slow(struct shk_segment *s, struct shki_bed *bed)
{
    /* Ordered by F2; and S1: acquire, so that whoever this wakes sees what the one who set the flag had counted. */
    uint32_t was = atomic_exchange_explicit(&bed->flags, 0, memory_order_acquire);

    if (was & SHKI_SLEEPER)
        sem_post(&bed->semaphore);
    if (was & SHKI_WATCHERS)
        shki_watchers_wake(s);
}

/* S1, and the look that follows it. */
static bool announce(struct shki_call *c)
{
    atomic_fetch_or_explicit(&c->bed->flags, SHKI_SLEEPER, memory_order_release); /* S1: `sleepers` before the flag */
    atomic_thread_fence(memory_order_seq_cst); /* F1: the flag before the look; pairs with F2 */
    return c->can_go_on(c->queue);
}

int shki_call_wait(struct shki_call *c)
{
    struct timespec until;
    int r;

    if (!c->begun) {
        c->begun = true;
        c->patience = shki_object_patience(&c->queue->object, c->timeout);
    }
    r = shki_patience_over(&c->patience);
    if (r < 0)
        return r;
    if (shki_spin(c->spinner, c->can_go_on, c->queue))
        return 0;
    shki_object_sleeps(&c->queue->object, c->member, c->waits_for, shki_waits_how(&c->patience));
    atomic_fetch_add_explicit(&c->bed->sleepers, 1, memory_order_relaxed); /* before the flag, by S1 */
    c->slept = true;
    while (!announce(c) && r == 0) {
        until = shki_patience_slice(&c->patience, shki_repairs(SHKI_REPAIR_BACKSTOP) ? SHKI_SLICE : SHK_SEC(3600));
        shki_sleep_on(&c->bed->semaphore, &until);
        if (c->can_go_on(c->queue))
            break;
        r = shki_patience_over(&c->patience);
    }
    atomic_fetch_sub_explicit(&c->bed->sleepers, 1, memory_order_relaxed);
    shki_member_is_awake();
    return r;
}

void shki_call_end(struct shki_call *c)
{
    if (!c->slept)
        return;
    /* Relaxed: whoever is not counted yet has still to look for itself. */
    if (atomic_load_explicit(&c->bed->sleepers, memory_order_relaxed) > 0 && announce(c))
        shki_bed_wake_slow(c->queue->object.segment, c->bed);
}
