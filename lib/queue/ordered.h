/*
 * What LIFO and PRIORITY have in common: one lock for both sides, the put lock, and one word that
 * commits.
 *
 * What always holds: the state, shki_state(), says how many items there are, how many have been
 * put, and what is left to do of the operation that was committed last (PRIORITY alone). OR1: its
 * store is a release and commits an operation. It pairs with the lock, and with the acquire of a
 * thread that reads the state without the lock.
 *
 *     with the lock
 *     finish what a dead member has committed
 *     write the item into a free slot, or copy one out
 *     OR1: state = the new one
 *     finish the rest
 *
 * The steps are single stores in the order of the program. A barrier for the compiler,
 * ordered_step(), is enough: a dead thread's stores are those up to some instruction, and the
 * kernel has made them visible when it marks the lock, or the life of the member that was in it by
 * its bias.
 */
#ifndef SHKI_ORDERED_H
#define SHKI_ORDERED_H

#include "queue/place.h"
#include "queue/side.h"
#include "queue/state.h"

static SHKI_INLINE void ordered_step(void)
{
    atomic_signal_fence(memory_order_seq_cst);
}

/* With the lock, which orders it. */
static SHKI_INLINE uint64_t ordered_state(const struct shk_queue *q)
{
    return load_relaxed(&q->shared->ordered.state);
}

/* `puts`: so many more have been put. */
static SHKI_INLINE void ordered_commit(struct shk_queue *q, unsigned puts, uint64_t count,
                                       enum shki_intent intent)
{
    uint64_t before = shki_state_puts(ordered_state(q));

    /*
     * OR1: release: commits; pairs with the acquire in ordered_counts(). Killed before: nothing has
     * happened. Killed after: it has, and what the intent says is left to do.
     */
    store_release(&q->shared->ordered.state, shki_state(before + puts, count, intent));
    ordered_step();
}

/* ---- How many bytes there are, if items lie at their length ---- */

/* The number of the place that goes with a state, whatever is left to do. */
static inline uint64_t ordered_number(uint64_t state)
{
    return state >> SHKI_INTENT_BITS;
}

/* With the lock. */
static inline uint64_t ordered_own_bytes(const struct shk_queue *q)
{
    return shki_place_own_bytes(&q->shared->put_places, ordered_number(ordered_state(q)));
}

/* Before the commit with the same puts and count. `at`: of a stack. */
static inline void ordered_set_place(struct shk_queue *q, unsigned puts, uint64_t count,
                                     uint64_t at, uint64_t bytes)
{
    uint64_t before = ordered_state(q);
    uint64_t after = shki_state(shki_state_puts(before) + puts, count, SHKI_INTENT_NONE);

    shki_place_set(&q->shared->put_places, ordered_number(before), ordered_number(after), at,
                   bytes);
}

/* ---- Loads only ---- */

static inline struct shki_counts ordered_counts(const struct shk_queue *q)
{
    /* OR1: acquire: both at one moment, and the counts of tasks that were raised before it. */
    uint64_t state = load_acquire(&q->shared->ordered.state);

    return (struct shki_counts){shki_state_puts(state), shki_state_count(state)};
}

static inline bool ordered_has_item(const struct shk_queue *q)
{
    return ordered_counts(q).items > 0;
}

static inline bool ordered_has_room(const struct shk_queue *q)
{
    uint64_t bytes = 0;

    if (!q->limited)
        return true;
    if (q->capacity_bytes && !shki_place_bytes(&q->shared->put_places, &q->shared->ordered.state,
                                               SHKI_INTENT_BITS, &bytes))
        bytes = 0; /* busy: worth another try */
    return !shki_is_full(q, ordered_counts(q).items, bytes);
}

#endif
