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
    return q->grows || ordered_counts(q).items < q->capacity;
}

#endif
