/*
 * What the orders have in common: FIFO in a ring (ring.c) or in chunks (chunks.c), LIFO (lifo.c,
 * stack.c), PRIORITY (priority.c).
 *
 * An order knows slots and what commits. It is called with the lock of the side, or with loads
 * only. It neither waits nor notifies. There are two exceptions: try_put and try_get enter the lock
 * and notify; shki_ring_poll() also polls.
 */
#ifndef SHKI_ORDER_H
#define SHKI_ORDER_H

#include "base/copy.h"
#include "queue/handle.h"

#include <limits.h>
#include <sys/uio.h>

#define SHKI_INLINE inline __attribute__((always_inline))

/* What is to be moved. */
struct shki_work {
    const struct iovec *items; /* put */
    struct iovec *buffers;     /* get: iov_len becomes the item's length */
    unsigned n;
    int64_t priority;       /* put; get: of the last item */
    struct shki_slot *slot; /* reserve, peek: the slot */
    size_t length;          /* reserve */
    uint64_t ticket;        /* lease: of the item */
};

#define SHKI_BATCH_MAX 65536u /* items moved with the lock; other threads wait for that */

/* With the lock: how many items have been moved; 0: full, or empty; or an error. */
typedef int shki_act(struct shk_queue *, struct shki_member *, struct shki_work *);

/*
 * A try found another member in the lock, or items that are leased, which are for the slow loop. No
 * act returns it.
 */
#define SHKI_LOCK_BUSY (INT_MIN + 1) /* SHKI_REMOTE is another value */

struct shki_counts {
    /* items put so far, in as many bits as the order has; those of them that are in the queue */
    uint64_t puts, items;
};

struct shki_order {
    /* With the lock. put: up to n items; get: up to n items, which are counted as tasks. */
    shki_act *put, *get;
    /*
     * The first attempt of a call that moves one item: enters the lock, moves, leaves, notifies. 1;
     * 0: full, or empty, and the lock was had; SHKI_LOCK_BUSY; or an error.
     */
    int (*try_put)(struct shk_queue *, struct shki_member *, const void *item, size_t length,
                   int64_t priority);
    int (*try_get)(struct shk_queue *, struct shki_member *, void *buffer, size_t *length);

    /* ---- Zero copy: with the lock, one item ---- */
    /* A free slot for an item of that length: 1; 0: full; or an error. The same until a commit. */
    int (*room)(struct shk_queue *, size_t length, struct shki_slot **);
    /* The item has been written into that slot: put it. */
    void (*commit)(struct shk_queue *, struct shki_slot *, size_t length);
    /* The slot of the next item: 1; 0: empty; or an error. */
    int (*item)(struct shk_queue *, struct shki_slot **);
    /* Take that item. */
    void (*consume)(struct shk_queue *);
    /* Its priority; NULL: it has none. */
    int64_t (*priority)(const struct shk_queue *);

    /* ---- Loads only ---- */
    bool (*has_item)(const struct shk_queue *);
    bool (*has_room)(const struct shk_queue *);
    struct shki_counts (*counts)(const struct shk_queue *);

    /*
     * With the lock: finish, or take back, what a member that died in it has left. Killed anywhere
     * in it: it is called once more.
     */
    void (*repair)(struct shk_queue *, const struct shki_side_lock *);
};

extern const struct shki_order shki_ring, shki_lifo, shki_priority; /* with a capacity, */
extern const struct shki_order shki_chunks, shki_stack;             /* and without */

/* ---- Tasks: items that have been taken and are not done; see tasks.c ---- */

void shki_task_begin(struct shk_queue *, struct shki_member *, struct shki_task *);

static inline bool shki_task_is_of(const struct shki_task *task, const struct shki_member *m)
{
    /* Relaxed: only the caller writes its own id there. */
    return load_relaxed(&task->member) == m->id;
}

/* n more, before the get commits. `task` is the member's. */
static inline __attribute__((always_inline)) void shki_task_count(struct shki_task *task,
                                                                  unsigned n)
{
    /*
     * Relaxed: written by this member alone; the commit publishes it. Killed after: a dead member's
     * task, though its item may still be in.
     */
    store_relaxed(&task->count, load_relaxed(&task->count) + n);
}

static inline void shki_count_tasks(struct shk_queue *q, struct shki_member *m, unsigned n)
{
    struct shki_task *task = &q->tasks[m->index];

    if (unlikely(!shki_task_is_of(task, m)))
        shki_task_begin(q, m, task);
    shki_task_count(task, n);
}

/* ---- Slots ---- */

/* Write an item into a slot of an order whose count commits. */
static inline void shki_fill_slot(struct shki_slot *slot, const void *item, size_t length)
{
    /*
     * killed up to the commit: the slot is still free, whatever is in it. Relaxed: the commit
     * publishes it.
     */
    store_relaxed(&slot->word, shki_slot_word(0, length));
    shki_copy(slot->bytes, item, length);
}

/*
 * Copy an item out, and store its length over the buffer's: 1 or an error. `word`: the slot's,
 * which is read once.
 */
static inline __attribute__((always_inline)) int shki_read_slot(const struct shk_queue *q,
                                                                const struct shki_slot *slot,
                                                                uint64_t word, void *buffer,
                                                                size_t *size)
{
    size_t length = shki_slot_length(word);

    if (unlikely(length > q->item_size))
        return shki_damaged_item(q, length);
    if (unlikely(length > *size))
        return shki_small_buffer(q, length, *size);
    shki_copy(buffer, slot->bytes, length);
    *size = length;
    return 1;
}

/* ---- Counts ---- */

/*
 * For the inspector, and for the order of equals; not of a ring. Killed after: n puts too many have
 * been counted.
 */
static inline void shki_count_puts(struct shk_queue *q, unsigned n)
{
    store_release(&q->shared->tail, load_relaxed(&q->shared->tail) + n);
}

/*
 * So many items were in the queue at that moment. The two sides of a FIFO queue know of each other
 * only when one finds no room or nothing left and reads the other's count: then this costs one load
 * more, and a store only when there have never been so many. A put that counted each time would
 * have to read what the consumers write.
 */
static inline void shki_note_fill(struct shki_queue_shared *shared, uint64_t n)
{
    uint64_t high = load_relaxed(&shared->high_water);

    while (n > high && !compare_exchange_weak_relaxed(&shared->high_water, &high, n))
        continue;
}

#endif
