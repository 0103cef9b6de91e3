/*
 * The heap of a PRIORITY queue: entries, each with the priority and the sequence number of an item,
 * and slots, which have the items. What is moved are entries.
 *
 * With slots all of it is one chunk, | heap entries | slots |. The entries beyond the end say
 * which slots are free: those of 0 to count - 1 and these are at any time all slots. An entry that
 * has never been used says nothing (0), and means the slot of its own number.
 *
 * If it grows, the entries are a list of chunks (chunk_list.h), and the items are in further
 * lists, one for each size class: 64, 96, 128, 192, 256 … bytes, the last one as large as the
 * largest item. In each class the slots in use are those from 0 to its count - 1: the item of the
 * last slot moves into the one that was freed. So memory is used without gaps, at most half as much
 * again as the items have, and given back from the end of each list. A slot begins with the place
 * in the heap of its item's entry.
 *
 *     entries    | e e e e …
 *     class 64   | where word item | where word item |
 *     class 96   | where word item | …
 *
 * Each step of a move may be done twice. The hole is the place that is being filled: an entry is
 * copied into it, and then the place that it came from is the hole. Killed between the two: the
 * entry is in both places, and is copied once more. With the hole moved first, the entry that is
 * to fill the old one would be lost.
 *
 * What does the work is there twice, with and without chunks: `grows` is a constant in it.
 */
#ifndef SHKI_HEAP_H
#define SHKI_HEAP_H

#include "queue/chunk_list.h"
#include "queue/ordered.h"

/* ---- Where entries and slots lie ---- */

/* Whatever number was read in shared memory, it leads to a place within the extent. */
static SHKI_INLINE uint64_t heap_bounded(const struct shk_queue *q, uint64_t i)
{
    return i < q->limit ? i : 0;
}

#define HEAP_ENTRIES_SHIFT 13 /* it grows: log of the entries of a chunk */

_Static_assert(SHKI_ENTRY_SIZE << HEAP_ENTRIES_SHIFT == SHKI_BLOCK, "entries fill a block");

/* i is below the limit. */
static SHKI_INLINE struct shki_heap_entry *heap_entry(const struct shk_queue *q, bool grows,
                                                      uint64_t i)
{
    if (!grows)
        return (struct shki_heap_entry *)(void *)q->slots + i;
    return (
        struct shki_heap_entry *)(void *)(shki_list_at(q, &q->lists[0], i >> HEAP_ENTRIES_SHIFT) +
                                          (i & ((1u << HEAP_ENTRIES_SHIFT) - 1)) * SHKI_ENTRY_SIZE);
}

/* It does not grow. */
static SHKI_INLINE struct shki_slot *heap_slot(const struct shk_queue *q, uint64_t i)
{
    return (struct shki_slot *)(void *)(q->slots + q->entries_size + i * q->stride);
}

/* ---- It grows: slots in size classes ---- */

/* A class, whatever number was read in shared memory. */
static inline struct shki_list *heap_class(const struct shk_queue *q, uint32_t number)
{
    return &q->lists[number > 0 && number < q->n_lists ? number : 1];
}

/* Where a slot's item is in the heap; its slot follows. Both numbers are below 2^32. */
static SHKI_INLINE uint64_t *heap_where(const struct shk_queue *q, const struct shki_list *class,
                                        uint64_t i)
{
    uint32_t per_chunk = (uint32_t) class->per_chunk, chunk = (uint32_t)i / per_chunk;

    return (uint64_t *)(void *)(shki_list_at(q, class, chunk < q->chunks ? chunk : 0) +
                                (uint32_t)i % per_chunk * class->slot);
}

static inline struct shki_slot *heap_record(const struct shk_queue *q,
                                            const struct shki_list *class, uint64_t i)
{
    return (struct shki_slot *)(void *)(heap_where(q, class, i) + 1);
}

/* How far n slots reach. */
static inline uint64_t heap_class_bytes(const struct shki_list *class, uint64_t n)
{
    return n == 0 ? 0
                  : ((n - 1) / class->per_chunk << class->shift) +
                        ((n - 1) % class->per_chunk + 1) * class->slot;
}

/* ---- Moving entries ---- */

static SHKI_INLINE bool heap_goes_before(const struct shki_heap_entry *a,
                                         const struct shki_heap_entry *b)
{
    return a->priority != b->priority ? a->priority < b->priority : a->sequence < b->sequence;
}

/* Doing it twice is the same as once. */
static SHKI_INLINE void heap_set(struct shk_queue *q, bool grows, uint64_t place,
                                 const struct shki_heap_entry *e)
{
    struct shki_heap_entry *to = heap_entry(q, grows, place);

    to->priority = e->priority;
    to->sequence = e->sequence;
    to->slot = e->slot;
    if (grows) {
        to->class = e->class;
        *heap_where(q, heap_class(q, e->class), e->slot) = place;
    }
    ordered_step();
}

static SHKI_INLINE uint64_t heap_move_hole(struct shk_queue *q, uint64_t to)
{
    /*
     * killed before this: the entry is in both places, and is copied again. After: the hole is
     * where it was.
     */
    q->shared->ordered.hole = (uint32_t)to;
    ordered_step();
    return to;
}

/* From the hole towards the top, until it may stand under its parent. */
static SHKI_INLINE void heap_rise(struct shk_queue *q, bool grows, uint64_t hole,
                                  const struct shki_heap_entry *moving)
{
    while (hole > 0) {
        const struct shki_heap_entry *parent = heap_entry(q, grows, (hole - 1) / 2);

        if (!heap_goes_before(moving, parent))
            break;
        heap_set(q, grows, hole, parent);
        hole = heap_move_hole(q, (hole - 1) / 2);
    }
    heap_set(q, grows, hole, moving);
}

/*
 * From the hole away from the top, until it may stand above its children, of which there are those
 * below n.
 */
static SHKI_INLINE void heap_sink(struct shk_queue *q, bool grows, uint64_t hole, uint64_t n,
                                  const struct shki_heap_entry *moving)
{
    uint64_t child;

    while ((child = 2 * hole + 1) < n) {
        if (child + 1 < n &&
            heap_goes_before(heap_entry(q, grows, child + 1), heap_entry(q, grows, child)))
            child++;
        if (!heap_goes_before(heap_entry(q, grows, child), moving))
            break;
        heap_set(q, grows, hole, heap_entry(q, grows, child));
        hole = heap_move_hole(q, child);
    }
    if (n > 0)
        heap_set(q, grows, hole, moving);
}

#endif
