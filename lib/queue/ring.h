/*
 * FIFO with a capacity: a ring between two locks.
 *
 *        get lock                                      put lock
 *     head (items taken)                            tail (items put)
 *        |                                             |
 *     ...|  item   item   item   item   item   item    |  free  free ...
 *        v                                             v
 *                                        the slot of position p is number p & mask
 *
 * Source: the two-lock queue of Michael and Scott (PODC 1996), in a ring; the word in each slot as
 * in FastForward (PPoPP 2008) and Vyukov's bounded queue. New here: any thread may be killed at
 * every instruction.
 *
 * What always holds: producers take turns at the put lock, consumers at the get lock. One release
 * store commits an operation. No operation sleeps in a lock; a claim or a reservation may keep one
 * for long.
 *
 *     producer, with the put lock                 consumer, with the get lock
 *     tail - cached_head == capacity?             RQ1: slot's word has the number head? else empty
 *        RQ2: cached_head = head                  copy the item out
 *        still? then full                         count it as the member's task
 *     copy the item into the slot                 RQ2: head++
 *     RQ1: slot's word = number, length
 *     tail++
 *
 * RQ1: the store of the word is a release, and its load an acquire: a consumer that finds the
 * number finds the item. So an item costs the consumer one cache line, and not a second one for the
 * tail. The tail follows, for threads that count.
 *
 * RQ2: the store of head is a release, and the producer's load an acquire: what was read from a
 * slot was read before a producer writes there.
 *
 * Several items at once are committed by the first one's word, which is written last: no consumer
 * gets past it.
 *
 * RQ3: the store of tail is a release, after RQ1, and its load an acquire: a consumer finds what a
 * count says.
 *
 * A producer that is stopped in the middle of a copy is in the put lock until it goes on, by the
 * mutex or by its bias. No other producer writes meanwhile, to that slot or to any: why that holds
 * for a bias owner that is late, or killed, is told in sync/biased.h.
 *
 * Producer killed before RQ1: the slot is free, whatever is in it. Between RQ1 and the tail: the
 * item is in, and the tail is late by as many items as were put at once. The next producer enters
 * by the mutex, since the dead one still is the bias owner or the holder. Before its operation it
 * moves the tail, and takes back the words of what was not committed (repair). It does so at once
 * if the kernel has marked the death, within REVOKE_NAP_MAX while the dead one is still ending, and
 * else after a recheck interval. Consumers do not wait for that. A thread that counts without the
 * lock goes on from the tail along the words (shki_ring_tail()).
 *
 * Consumer killed before RQ2: the item is still in. After it: the item is out.
 *
 * What another order would cause: the tail stored before the word: a count of an item that a
 * consumer does not find. The word stored before the item: a consumer copies what is not there yet.
 *
 * Two tiers. The fast tier (_fast) is for the bias owner, when it knows of room, or of an item. It
 * makes no call but the last, so that no register has to be saved: most of what a small item costs
 * is instructions. Its stores are those of the slow tier, in the same order. Where anything is not
 * as it expects, it has stored nothing but biased_in, and calls the slow tier. Both tiers are
 * ring_put_one() and ring_get_one() with other constants.
 */
#ifndef SHKI_RING_H
#define SHKI_RING_H

#include "queue/side.h"
#include "queue/state.h"

static SHKI_INLINE struct shki_slot *ring_slot(const struct shk_queue *q, uint64_t position)
{
    return (struct shki_slot *)(void *)(q->slots + (position & q->mask) * q->stride);
}

/*
 * Enter as the bias owner of a ring with asymmetric fences. If not, the caller must call
 * shki_biased_leave() nevertheless: biased_in may have been stored.
 */
static SHKI_INLINE bool ring_enter_fast(const struct shk_queue *q, const struct shki_member *m,
                                        struct shki_side_lock *lock)
{
    if (unlikely(shki_segment_is_closed(m->segment)))
        return false;
    return shki_biased_enter_fast(m, &lock->bias, shki_side_offset(q, lock)) &&
           !shki_is_stale(m->segment, q->object.entry, q->object.serial);
}

/* ---- Putting, with the put lock ---- */

/*
 * Fetch the line of a later slot for writing, but not one that a consumer may still be reading.
 * `used`: so many slots are, at most.
 */
static SHKI_INLINE void ring_fetch_slot(const struct shk_queue *q, uint64_t tail, uint64_t used)
{
    if ((tail & q->share_mask) == 0 && used + q->ahead < q->capacity &&
        shki_policy(SHKI_POLICY_FETCH_PUT))
        shki_prefetch_write(ring_slot(q, tail + q->ahead));
}

/* The slot at `position` is filled: put the item. */
static SHKI_INLINE void ring_commit_slot(struct shki_slot *slot, uint64_t position, size_t length)
{
    /*
     * RQ1: release: commits; pairs with the acquires in ring_word(), ring_get_one() and get().
     * Killed before: the slot is free, whatever is in it. Killed after: the item is in, and the
     * tail late.
     */
    store_release(&slot->word, shki_slot_word(position, length));
}

static SHKI_INLINE void ring_move_tail(struct shki_queue_shared *shared, uint64_t tail)
{
    /*
     * RQ3: release, after RQ1; pairs with the acquire in shki_ring_tail(): an item that is counted
     * is found.
     */
    store_release(&shared->tail, tail);
}

/* Put one item at `tail`, where there is room. `small`, a constant: shki_is_small(length). */
static SHKI_INLINE void ring_put_one(struct shk_queue *q, uint64_t tail, const void *item,
                                     size_t length, bool small)
{
    struct shki_slot *slot = ring_slot(q, tail);

    if (small)
        shki_copy_small(slot->bytes, item, length);
    else
        shki_copy(slot->bytes, item, length);
    ring_commit_slot(slot, tail, length);
    ring_move_tail(q->shared, tail + 1);
}

/* ---- Getting, with the get lock ---- */

/* What is in the ring at a position. */
static SHKI_INLINE uint64_t ring_word(const struct shk_queue *q, uint64_t position)
{
    /* RQ1: acquire; pairs with the release in ring_commit_slot(): the item is visible. */
    return load_acquire(&ring_slot(q, position)->word);
}

/*
 * A small item: fetch the lines of a later one that is known to be there. `known`: so many items
 * are there.
 */
static SHKI_INLINE void ring_fetch_item(const struct shk_queue *q, uint64_t head, int64_t known)
{
    const char *later;

    if ((head & q->share_mask) != 0 || known <= (int64_t)q->ahead ||
        !shki_policy(SHKI_POLICY_FETCH_GET))
        return;
    later = (const char *)ring_slot(q, head + q->ahead);
    __builtin_prefetch(later);
    __builtin_prefetch(later + SHKI_CACHE_LINE);
}

static SHKI_INLINE void ring_move_head(struct shki_queue_shared *shared, uint64_t head)
{
    /*
     * RQ2: release: commits; pairs with the acquire of head in load_head(). Killed before: the
     * items are still in. Killed after: they are out.
     */
    store_release(&shared->head, head);
}

#define RING_NOT_FAST (-1)

/*
 * Take the item at `head`: 1; 0: there is none; or an error. `fast`, a constant: RING_NOT_FAST, and
 * nothing done, if that takes a call.
 */
static SHKI_INLINE int ring_get_one(struct shk_queue *q, struct shki_member *m, uint64_t head,
                                    void *buffer, size_t *length, bool fast)
{
    const struct shki_slot *slot = ring_slot(q, head);
    uint64_t word = load_acquire(&slot->word); /* RQ1 */
    size_t size = shki_slot_length(word);
    struct shki_task *task;
    int r;

    if (unlikely(!shki_slot_has(word, head)))
        return 0;
    if (fast) {
        task = &q->tasks[m->index];
        if (unlikely(!shki_is_small(size) || size >= q->fast_below || size > *length ||
                     !shki_task_is_of(task, m)))
            return RING_NOT_FAST;
        shki_copy_small(buffer, slot->bytes, size);
        *length = size;
        shki_task_count(task, 1);
    } else {
        r = shki_read_slot(q, slot, word, buffer, length);
        if (unlikely(r < 0))
            return r;
        shki_count_tasks(q, m, 1);
    }
    ring_move_head(q->shared, head + 1);
    return 1;
}

/* ---- Slow tier, without a lock ---- */

/* How many items have been put. Loads only. */
uint64_t shki_ring_tail(const struct shk_queue *);

/* Poll for the next item, without going to sleep: 1; 0: it did not come soon; or an error. */
int shki_ring_poll(struct shk_queue *, struct shki_member *, void *buffer, size_t *length);

#endif
