/*
 * PRIORITY: a binary heap of entries, and slots.
 *
 * What always holds: the entries from 0 to count - 1 are a heap, or it is written down what is left
 * to do until they are. Each has the priority and the sequence number of an item and says in which
 * slot it is. An operation writes down what goes where in the heap, and commits with the store of
 * the state (OR1), which has both: how many items there are now, and what is left to do. That can
 * be done twice, from any of its steps on: the next holder of the lock finishes it before it does
 * anything of its own.
 *
 *     PUT: rise()   the new entry moves up from the end to its place
 *     GET: sink()   the entry at the end moves down from the top to its place; the freed slot
 *                   becomes the first of those to be used next
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
 */
#include "base/probe.h"
#include "queue/chunk_list.h"
#include "queue/ordered.h"

/* What does the work is there twice, with and without chunks: `grows` is a constant in it. */

/* Whatever number was read in shared memory, it leads to a place within the extent. */
static SHKI_INLINE uint64_t bounded(const struct shk_queue *q, uint64_t i)
{
    return i < q->limit ? i : 0;
}

#define ENTRIES_SHIFT 13 /* it grows: log of the entries of a chunk */

_Static_assert(SHKI_ENTRY_SIZE << ENTRIES_SHIFT == SHKI_BLOCK, "entries fill a block");

/* i is below the limit. */
static SHKI_INLINE struct shki_heap_entry *entry_at(const struct shk_queue *q, bool grows,
                                                    uint64_t i)
{
    if (!grows)
        return (struct shki_heap_entry *)(void *)q->slots + i;
    return (struct shki_heap_entry *)(void *)(shki_list_at(q, &q->lists[0], i >> ENTRIES_SHIFT) +
                                              (i & ((1u << ENTRIES_SHIFT) - 1)) * SHKI_ENTRY_SIZE);
}

/* It does not grow. */
static SHKI_INLINE struct shki_slot *slot_at(const struct shk_queue *q, uint64_t i)
{
    return (struct shki_slot *)(void *)(q->slots + q->entries_size + i * q->stride);
}

/* ---- It grows: slots in size classes ---- */

/* A class, whatever number was read in shared memory. */
static struct shki_list *class_at(const struct shk_queue *q, uint32_t number)
{
    return &q->lists[number > 0 && number < q->n_lists ? number : 1];
}

/* Where a slot's item is in the heap; its slot follows. Both numbers are below 2^32. */
static SHKI_INLINE uint64_t *where_at(const struct shk_queue *q, const struct shki_list *class,
                                      uint64_t i)
{
    uint32_t per_chunk = (uint32_t) class->per_chunk, chunk = (uint32_t)i / per_chunk;

    return (uint64_t *)(void *)(shki_list_at(q, class, chunk < q->chunks ? chunk : 0) +
                                (uint32_t)i % per_chunk * class->slot);
}

static struct shki_slot *record_at(const struct shk_queue *q, const struct shki_list *class,
                                   uint64_t i)
{
    return (struct shki_slot *)(void *)(where_at(q, class, i) + 1);
}

/* How far n slots reach. */
static uint64_t bytes_of(const struct shki_list *class, uint64_t n)
{
    return n == 0 ? 0
                  : ((n - 1) / class->per_chunk << class->shift) +
                        ((n - 1) % class->per_chunk + 1) * class->slot;
}

/* How many items a state says there are: never more than there are places. */
static SHKI_INLINE uint64_t count_of(const struct shk_queue *q, uint64_t state)
{
    uint64_t count = shki_state_count(state);

    return count <= q->limit ? count : q->limit;
}

static SHKI_INLINE uint64_t items(const struct shk_queue *q)
{
    return count_of(q, ordered_state(q));
}

/* ---- The heap ---- */

static SHKI_INLINE bool goes_before(const struct shki_heap_entry *a,
                                    const struct shki_heap_entry *b)
{
    return a->priority != b->priority ? a->priority < b->priority : a->sequence < b->sequence;
}

/* Doing it twice is the same as once. */
static SHKI_INLINE void set_entry(struct shk_queue *q, bool grows, uint64_t place,
                                  const struct shki_heap_entry *e)
{
    struct shki_heap_entry *to = entry_at(q, grows, place);

    to->priority = e->priority;
    to->sequence = e->sequence;
    to->slot = e->slot;
    if (grows) {
        to->class = e->class;
        *where_at(q, class_at(q, e->class), e->slot) = place;
    }
    ordered_step();
}

static SHKI_INLINE uint64_t move_hole(struct shk_queue *q, uint64_t to)
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
static SHKI_INLINE void rise(struct shk_queue *q, bool grows, uint64_t hole,
                             const struct shki_heap_entry *moving)
{
    while (hole > 0) {
        const struct shki_heap_entry *parent = entry_at(q, grows, (hole - 1) / 2);

        if (!goes_before(moving, parent))
            break;
        set_entry(q, grows, hole, parent);
        hole = move_hole(q, (hole - 1) / 2);
    }
    set_entry(q, grows, hole, moving);
}

/*
 * From the hole away from the top, until it may stand above its children, of which there are those
 * below n.
 */
static SHKI_INLINE void sink(struct shk_queue *q, bool grows, uint64_t hole, uint64_t n,
                             const struct shki_heap_entry *moving)
{
    uint64_t child;

    while ((child = 2 * hole + 1) < n) {
        if (child + 1 < n && goes_before(entry_at(q, grows, child + 1), entry_at(q, grows, child)))
            child++;
        if (!goes_before(entry_at(q, grows, child), moving))
            break;
        set_entry(q, grows, hole, entry_at(q, grows, child));
        hole = move_hole(q, child);
    }
    if (n > 0)
        set_entry(q, grows, hole, moving);
}

/*
 * The item of the class's last slot into the one that has become free. The source stays as it is,
 * so it can be done again.
 */
static void fill_gap(struct shk_queue *q, struct shki_list *class, uint64_t freed, uint64_t last)
{
    const struct shki_slot *from = record_at(q, class, last);
    struct shki_slot *to = record_at(q, class, freed);
    size_t most = class->slot - sizeof(uint64_t) - sizeof(*from), length;
    uint64_t where, word;

    if (freed != last) {
        where = *where_at(q, class, last);
        word = load_relaxed(&from->word);
        length = shki_slot_length(word);
        store_relaxed(&to->word, word);
        shki_copy(to->bytes, from->bytes, length <= most ? length : most);
        *where_at(q, class, freed) = where;
        entry_at(q, true, bounded(q, where))->slot = (uint32_t)freed;
        ordered_step();
    }
    class->shared->count = last;
    ordered_step();
}

/* What is left to do of what has been committed. `count` is how many there are now. */
static SHKI_INLINE void finish_put(struct shk_queue *q, bool grows, uint64_t count, uint64_t hole,
                                   const struct shki_heap_entry *moving)
{
    rise(q, grows, hole, moving);
    if (grows)
        class_at(q, moving->class)->shared->count = (uint64_t)moving->slot + 1;
    ordered_step();
    /* killed before: all of it is done once more, with the same result */
    ordered_commit(q, 0, count, SHKI_INTENT_NONE);
}

static SHKI_INLINE void finish_take(struct shk_queue *q, bool grows, uint64_t count, uint64_t hole,
                                    uint64_t freed, const struct shki_heap_entry *moving)
{
    const struct shki_ordered *o = &q->shared->ordered;

    sink(q, grows, hole, count, moving);
    if (grows)
        fill_gap(q, class_at(q, o->freed_class), freed, o->last);
    else
        entry_at(q, false, count)->slot = (uint32_t)freed + 1;
    ordered_commit(q, 0, count, SHKI_INTENT_NONE); /* killed before: likewise */
}

static __attribute__((noinline)) void finish(struct shk_queue *q, uint64_t state)
{
    const struct shki_ordered *o = &q->shared->ordered;
    struct shki_heap_entry moving = o->moving;
    uint64_t count = count_of(q, state), hole = bounded(q, o->hole);

    if (!shki_repair_enabled(SHKI_REPAIR_FINISH_QUEUE))
        return;
    if ((state & SHKI_INTENT_MASK) == SHKI_INTENT_PUT)
        finish_put(q, q->grows, count, hole, &moving);
    else
        finish_take(q, q->grows, bounded(q, count), hole,
                    q->grows ? o->freed : bounded(q, o->freed), &moving);
    SHKI_PROBE2(repair, "queue finished", &q->shared->repairs);
    fetch_add_relaxed(&q->shared->repairs.rebuilds, 1);
}

/* How many items there are; the heap is one. */
static SHKI_INLINE uint64_t settled_items(struct shk_queue *q)
{
    uint64_t state = ordered_state(q);

    if (unlikely(state & SHKI_INTENT_MASK))
        finish(q, state);
    return count_of(q, state);
}

/* The slot for one more; it does not grow. */
static SHKI_INLINE uint64_t free_slot(const struct shk_queue *q, uint64_t count)
{
    uint32_t said = entry_at(q, false, count)->slot;

    return said ? bounded(q, said - 1) : count;
}

/*
 * It grows: room for one more entry, and for an item of that length: 1; 0: full; or an error.
 * Killed in here: nothing has happened.
 */
static int grow(struct shk_queue *q, uint64_t count, size_t length, struct shki_slot **slot)
{
    struct shki_list *class;
    uint64_t bytes;
    int r;

    if (shki_is_full(q, count, ordered_own_bytes(q)))
        return 0;
    if (count >= q->limit)
        return shki_too_many(q);
    if (length > q->item_most)
        return shki_damaged_item(q, length);
    q->reserved_class = shki_size_class(length) + 1;
    class = class_at(q, q->reserved_class);
    r = shki_list_reaches(&q->lists[0], (count + 1) * SHKI_ENTRY_SIZE)
            ? 1
            : shki_list_grow(q, &q->lists[0], (count + 1) * SHKI_ENTRY_SIZE);
    bytes = bytes_of(class, class->shared->count + 1);
    if (r > 0 && !shki_list_reaches(class, bytes))
        r = shki_list_grow(q, class, bytes);
    if (r > 0)
        *slot = record_at(q, class, class->shared->count);
    return r;
}

static SHKI_INLINE int room(struct shk_queue *q, size_t length, struct shki_slot **slot)
{
    uint64_t count = settled_items(q);

    if (q->grows)
        return grow(q, count, length, slot);
    if (count >= q->capacity)
        return 0;
    *slot = slot_at(q, free_slot(q, count));
    return 1;
}

static SHKI_INLINE void put_as(struct shk_queue *q, bool grows, int64_t priority, size_t length)
{
    struct shki_ordered *o = &q->shared->ordered;
    uint64_t count = bounded(q, items(q));
    struct shki_heap_entry e = {.sequence = load_relaxed(&q->shared->tail), .priority = priority};

    if (grows) {
        e.class = q->reserved_class;
        e.slot = (uint32_t)class_at(q, e.class)->shared->count;
    } else {
        e.slot = (uint32_t)free_slot(q, count);
    }
    o->hole = (uint32_t)count;
    o->moving = e;
    shki_count_puts(q, 1);
    if (grows)
        ordered_set_place(q, 1, count + 1, 0, ordered_own_bytes(q) + length);
    /* Killed before: nothing has happened. Killed after: the next one with the lock finishes it. */
    ordered_commit(q, 1, count + 1, SHKI_INTENT_PUT);
    finish_put(q, grows, count + 1, count, &e);
    shki_note_fill(q->shared, count + 1);
}

static SHKI_INLINE void commit_put(struct shk_queue *q, int64_t priority, size_t length)
{
    if (q->grows)
        put_as(q, true, priority, length);
    else
        put_as(q, false, priority, length);
}

static void commit(struct shk_queue *q, struct shki_slot *slot, size_t length)
{
    store_relaxed(&slot->word, shki_slot_word(0, length)); /* OR1 publishes it */
    commit_put(q, 0, length);
}

static SHKI_INLINE int item(struct shk_queue *q, struct shki_slot **slot)
{
    const struct shki_heap_entry *first;

    if (settled_items(q) == 0)
        return 0;
    first = entry_at(q, q->grows, 0);
    *slot = q->grows ? record_at(q, class_at(q, first->class), first->slot)
                     : slot_at(q, bounded(q, first->slot));
    return 1;
}

/* It grows: of the first item, what goes where when it is taken; its class. */
static struct shki_list *plan_gap(struct shk_queue *q)
{
    const struct shki_heap_entry *first = entry_at(q, true, 0);
    struct shki_ordered *o = &q->shared->ordered;
    struct shki_list *class = class_at(q, first->class);
    uint64_t n = class->shared->count;

    o->freed_class = class->number;
    o->last = n > first->slot ? (uint32_t)(n - 1) : first->slot; /* the latter: damaged bytes */
    return class;
}

static SHKI_INLINE void take_as(struct shk_queue *q, bool grows)
{
    struct shki_ordered *o = &q->shared->ordered;
    struct shki_list *class = grows ? plan_gap(q) : NULL;
    uint64_t count = bounded(q, items(q) - 1), freed = entry_at(q, grows, 0)->slot, bytes;
    struct shki_heap_entry e = *entry_at(q, grows, count);

    if (!grows)
        freed = bounded(q, freed);
    o->hole = 0;
    o->freed = (uint32_t)freed;
    o->moving = e;
    if (grows) {
        bytes = shki_slot_length(load_relaxed(&record_at(q, class, freed)->word));
        ordered_set_place(q, 0, count, 0, ordered_own_bytes(q) - bytes);
    }
    /* Killed before: nothing has happened. Killed after: the next one with the lock finishes it. */
    ordered_commit(q, 0, count, SHKI_INTENT_GET);
    finish_take(q, grows, count, 0, freed, &e);
    if (grows) {
        bytes = bytes_of(class, class->shared->count);
        if (shki_list_is_long(&q->lists[0], count * SHKI_ENTRY_SIZE))
            shki_list_shrink(q, &q->lists[0], count * SHKI_ENTRY_SIZE);
        if (shki_list_is_long(class, bytes))
            shki_list_shrink(q, class, bytes);
    }
}

static int64_t priority(const struct shk_queue *q)
{
    return entry_at(q, q->grows, 0)->priority;
}

static SHKI_INLINE void consume(struct shk_queue *q)
{
    if (q->grows)
        take_as(q, true);
    else
        take_as(q, false);
}

/* ---- Putting and getting, with the lock ---- */

static SHKI_INLINE int put_one(struct shk_queue *q, const void *item_, size_t length,
                               int64_t priority)
{
    struct shki_slot *slot = NULL;
    int r = room(q, length, &slot);

    if (unlikely(r <= 0))
        return r;
    shki_fill_slot(slot, item_, length);
    commit_put(q, priority, length);
    return 1;
}

static int put(struct shk_queue *q, struct shki_member *m, struct shki_work *w)
{
    unsigned n = 0;
    int r = shki_may_put(q);

    (void)m;
    if (r < 0)
        return r;
    while (n < w->n && (r = put_one(q, w->items[n].iov_base, w->items[n].iov_len, w->priority)) > 0)
        n++;
    return n > 0 ? (int)n : r;
}

/* The item that was found in a slot. */
static SHKI_INLINE int get_one(struct shk_queue *q, struct shki_member *m,
                               const struct shki_slot *slot, void *buffer, size_t *length)
{
    /* relaxed: the lock orders it */
    int r = shki_read_slot(q, slot, load_relaxed(&slot->word), buffer, length);

    if (unlikely(r < 0))
        return r;
    shki_count_tasks(q, m, 1);
    consume(q);
    return 1;
}

static int get(struct shk_queue *q, struct shki_member *m, struct shki_work *w)
{
    struct shki_slot *slot = NULL;
    unsigned n = 0;
    int r = shki_next_item(q, item, &slot);

    while (r > 0 && n < w->n) {
        int64_t priority = entry_at(q, q->grows, 0)->priority;

        r = get_one(q, m, slot, w->buffers[n].iov_base, &w->buffers[n].iov_len);
        if (r < 0)
            break;
        w->priority = priority;
        if (++n < w->n)
            r = item(q, &slot);
    }
    return n > 0 ? (int)n : r;
}

static int try_put(struct shk_queue *q, struct shki_member *m, const void *item_, size_t length,
                   int64_t priority)
{
    struct shki_side_lock *lock = &q->shared->put_lock;
    bool bias_owner;
    int r = shki_side_trylock(q, m, lock, &bias_owner);

    if (unlikely(r != 0))
        return r;
    r = shki_may_put(q);
    if (likely(r == 0))
        r = put_one(q, item_, length, priority);
    shki_side_done(q, m, lock, bias_owner, true, r);
    return r;
}

static int try_get(struct shk_queue *q, struct shki_member *m, void *buffer, size_t *length)
{
    struct shki_side_lock *lock = &q->shared->put_lock;
    struct shki_slot *slot = NULL;
    bool bias_owner;
    int r = shki_side_trylock(q, m, lock, &bias_owner);

    if (unlikely(r != 0))
        return r;
    r = shki_next_item(q, item, &slot);
    if (likely(r > 0))
        r = get_one(q, m, slot, buffer, length);
    shki_side_done(q, m, lock, bias_owner, false, r);
    return r;
}

static void repair(struct shk_queue *q, const struct shki_side_lock *lock)
{
    (void)lock;
    settled_items(q);
    for (unsigned i = 0; i < q->n_lists; i++)
        shki_list_repair(q, &q->lists[i]);
}

const struct shki_order shki_priority = {.put = put,
                                         .get = get,
                                         .try_put = try_put,
                                         .try_get = try_get,
                                         .room = room,
                                         .commit = commit,
                                         .item = item,
                                         .consume = consume,
                                         .priority = priority,
                                         .has_item = ordered_has_item,
                                         .has_room = ordered_has_room,
                                         .counts = ordered_counts,
                                         .repair = repair};
