/*
 * Whether a queue is shut down, over, readable, writable. The questions store nothing; one about a
 * queue in the state SHUT_WHILE_KEPT may execute a heavy fence (SD2).
 *
 * Shutting down.
 *
 * What always holds: a queue is over if it is shut down and no put can still commit. A consumer
 * that finds no item, then that the queue is over, and then still no item, has seen the last one.
 *
 *     shutdown                                   consumer
 *     put lock; SD1: shut_down = SHUT_DOWN       no item?
 *     or, if a member keeps the put lock:        SD1: shut_down?
 *        SD1: shut_down = SHUT_WHILE_KEPT        SHUT_WHILE_KEPT: is a put still half way?
 *     notify all                                 no item still? -EPIPE
 *
 * With the put lock no put is half way: SHUT_DOWN says that nothing more comes. A lock that is kept
 * (claimed, or with a reservation open) may be kept for long, and shutdown does not wait for it.
 * Then the consumers find out by themselves whether its holder is in the middle of a put: heavy
 * fence (SD2), and then whether the holder is in the lock by its bias, or has a reservation open.
 *
 *     producer                                   consumer that reads SHUT_WHILE_KEPT
 *     BL1, BL4: enters the lock                  (SD1: shut_down is set)
 *     fence                                      SD2: heavy fence
 *     SD1: shut_down? then leave, -EPIPE         BL1, BL4: is a member in the lock?
 *
 * Either the producer sees that the queue is shut down, or the consumer sees the producer in the
 * lock (SD2 pairs with BL1 and BL4). Without the fences a consumer would find the lock free and the
 * queue empty, return -EPIPE, and an item would come after it.
 *
 * A consumer that has seen the producer in the lock sleeps. So a producer that leaves the lock of a
 * queue that was shut down, or begins to keep it, notifies the consumers, though it has put
 * nothing.
 *
 * SD3: a reservation is marked in `open` before the holder is written, and the mark goes after the
 * item was put. So a consumer that reads a living holder and no reservation has all that was
 * reserved.
 *
 * Above the state is a count of the shutdowns: a waiter that was asleep when the queue was shut
 * down is told so, though it was opened again before the waiter ran.
 *
 * Killed after SD1, before the notify: sleepers find it at the end of their recheck interval.
 *
 * The model: tests/model/queue.pml.
 */
#ifndef SHKI_QUEUE_STATE_H
#define SHKI_QUEUE_STATE_H

#include "queue/order.h"

static inline uint32_t shki_shut_word(const struct shk_queue *q)
{
    /* SD1: acquire; pairs with the release in shut(): what was put before is visible. */
    return load_acquire(&q->shared->shut_down);
}

static inline uint32_t shki_shut_down(const struct shk_queue *q)
{
    return shki_shut_word(q) & SHKI_SHUT_STATE;
}

/*
 * Shut down, no put is half way and nothing is leased: what is not there now does not come. Or the
 * line of the producers has ended (segment/presence.h), and nothing is leased. Then what the others
 * put, that are no producers by role, may still come.
 */
bool shki_queue_is_over(const struct shk_queue *);

uint64_t shki_queue_items(const struct shk_queue *);

/*
 * LIFO, PRIORITY: how many items there is room for if those that are leased count; a FIFO queue
 * counts them as not taken yet. With the lock it is exact.
 */
uint64_t shki_queue_room_beside_leases(const struct shk_queue *);

/* A get, or a put, would not wait. */
bool shki_queue_is_readable(const struct shk_queue *);
bool shki_queue_is_writable(const struct shk_queue *);

/*
 * No item is in it, or has come back, and no living member has a task: a join would not wait. Loads
 * only; see tasks.c.
 */
bool shki_queue_is_done(const struct shk_queue *);

/* The same, or the queue has been unlinked; for waiting. `queue` is a struct shk_queue. */
bool shki_queue_has_item(const void *queue);
bool shki_queue_has_room(const void *queue);

/*
 * Whether a queue is full that has so many items and bytes. The limit in bytes is a high-water
 * mark: what a producer waits for does not depend on its item. So producers with short items cannot
 * keep one with a long item waiting for ever, and a consumer need wake only one of them: it may go
 * on, whichever it is. In turn there may be more bytes than the limit, by less than one item.
 */
static inline bool shki_is_full(const struct shk_queue *q, uint64_t items, uint64_t bytes)
{
    return (q->capacity && items >= q->capacity) ||
           (q->capacity_bytes && bytes >= q->capacity_bytes);
}

/* Whether a put may begin: 0 or an error. With the lock. */
static inline int shki_may_put(struct shk_queue *q)
{
    if (unlikely(shki_object_is_stale(&q->object)))
        return shki_stale(&q->object);
    if (unlikely(shki_shut_down(q) != SHKI_OPEN))
        return shki_say_shut(q);
    return shki_roles_is_alone(&q->object, &q->roles) ? shki_roles_say_alone(&q->object) : 0;
}

/*
 * Find the next item: 1; 0: empty; or an error. With the lock. `item` returns the same, and may be
 * called twice.
 */
static inline __attribute__((always_inline)) int
shki_next_item(struct shk_queue *q, int (*item)(struct shk_queue *, struct shki_slot **),
               struct shki_slot **slot)
{
    int r = item(q, slot);

    /* Once it is over nothing more comes, so a second check is the last word. */
    if (unlikely(r == 0) && shki_queue_is_over(q)) {
        r = item(q, slot);
        if (r == 0)
            r = shki_say_drained(q);
    }
    /*
     * The last question: a consumer gets what it has waited for, even if the queue has been
     * unlinked since. A call that begins after that does not come here.
     */
    if (unlikely(r == 0) && shki_object_is_stale(&q->object))
        r = shki_stale(&q->object);
    return r;
}

#endif
