/*
 * PRIORITY: what is put into a binary heap, and taken from it. Where entries and slots lie: heap.h.
 *
 * What always holds: the entries from 0 to count - 1 are a heap, or it is written down what is left
 * to do until they are. Each has the priority and the sequence number of an item and says in which
 * slot it is. An operation writes down what goes where in the heap, and commits with the store of
 * the state (OR1), which has both: how many items there are now, and what is left to do. That can
 * be done twice, from any of its steps on: the next holder of the lock finishes it before it does
 * anything of its own.
 *
 *     PUT: heap_rise()   the new entry moves up from the end to its place
 *     GET: heap_sink()   the entry at the end moves down from the top to its place; the freed slot
 *                        becomes the first of those to be used next
 */
#include "base/probe.h"
#include "queue/heap.h"

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

/*
 * The item of the class's last slot into the one that has become free. The source stays as it is,
 * so it can be done again.
 */
static void fill_gap(struct shk_queue *q, struct shki_list *class, uint64_t freed, uint64_t last)
{
    const struct shki_slot *from = heap_record(q, class, last);
    struct shki_slot *to = heap_record(q, class, freed);
    size_t most = class->slot - sizeof(uint64_t) - sizeof(*from), length;
    uint64_t where, word;

    if (freed != last) {
        where = *heap_where(q, class, last);
        word = load_relaxed(&from->word);
        length = shki_slot_length(word);
        store_relaxed(&to->word, word);
        shki_copy(to->bytes, from->bytes, length <= most ? length : most);
        *heap_where(q, class, freed) = where;
        heap_entry(q, true, heap_bounded(q, where))->slot = (uint32_t)freed;
        ordered_step();
    }
    class->shared->count = last;
    ordered_step();
}

/* What is left to do of what has been committed. `count` is how many there are now. */
static SHKI_INLINE void finish_put(struct shk_queue *q, bool grows, uint64_t count, uint64_t hole,
                                   const struct shki_heap_entry *moving)
{
    heap_rise(q, grows, hole, moving);
    if (grows)
        heap_class(q, moving->class)->shared->count = (uint64_t)moving->slot + 1;
    ordered_step();
    /* killed before: all of it is done once more, with the same result */
    ordered_commit(q, 0, count, SHKI_INTENT_NONE);
}

static SHKI_INLINE void finish_take(struct shk_queue *q, bool grows, uint64_t count, uint64_t hole,
                                    uint64_t freed, const struct shki_heap_entry *moving)
{
    const struct shki_ordered *o = &q->shared->ordered;

    heap_sink(q, grows, hole, count, moving);
    if (grows)
        fill_gap(q, heap_class(q, o->freed_class), freed, o->last);
    else
        heap_entry(q, false, count)->slot = (uint32_t)freed + 1;
    ordered_commit(q, 0, count, SHKI_INTENT_NONE); /* killed before: likewise */
}

static __attribute__((noinline)) void finish(struct shk_queue *q, uint64_t state)
{
    const struct shki_ordered *o = &q->shared->ordered;
    struct shki_heap_entry moving = o->moving;
    uint64_t count = count_of(q, state), hole = heap_bounded(q, o->hole);

    if (!shki_repair_enabled(SHKI_REPAIR_FINISH_QUEUE))
        return;
    if ((state & SHKI_INTENT_MASK) == SHKI_INTENT_PUT)
        finish_put(q, q->grows, count, hole, &moving);
    else
        finish_take(q, q->grows, heap_bounded(q, count), hole,
                    q->grows ? o->freed : heap_bounded(q, o->freed), &moving);
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
    uint32_t said = heap_entry(q, false, count)->slot;

    return said ? heap_bounded(q, said - 1) : count;
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
    class = heap_class(q, q->reserved_class);
    r = shki_list_reaches(&q->lists[0], (count + 1) * SHKI_ENTRY_SIZE)
            ? 1
            : shki_list_grow(q, &q->lists[0], (count + 1) * SHKI_ENTRY_SIZE);
    bytes = heap_class_bytes(class, class->shared->count + 1);
    if (r > 0 && !shki_list_reaches(class, bytes))
        r = shki_list_grow(q, class, bytes);
    if (r > 0)
        *slot = heap_record(q, class, class->shared->count);
    return r;
}

static SHKI_INLINE int room(struct shk_queue *q, size_t length, struct shki_slot **slot)
{
    uint64_t count = settled_items(q);

    if (q->grows)
        return grow(q, count, length, slot);
    if (count >= q->capacity)
        return 0;
    *slot = heap_slot(q, free_slot(q, count));
    return 1;
}

static SHKI_INLINE void put_as(struct shk_queue *q, bool grows, int64_t priority, size_t length)
{
    struct shki_ordered *o = &q->shared->ordered;
    uint64_t count = heap_bounded(q, items(q));
    struct shki_heap_entry e = {.sequence = load_relaxed(&q->shared->tail), .priority = priority};

    if (grows) {
        e.class = q->reserved_class;
        e.slot = (uint32_t)heap_class(q, e.class)->shared->count;
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
    first = heap_entry(q, q->grows, 0);
    *slot = q->grows ? heap_record(q, heap_class(q, first->class), first->slot)
                     : heap_slot(q, heap_bounded(q, first->slot));
    return 1;
}

/* It grows: of the first item, what goes where when it is taken; its class. */
static struct shki_list *plan_gap(struct shk_queue *q)
{
    const struct shki_heap_entry *first = heap_entry(q, true, 0);
    struct shki_ordered *o = &q->shared->ordered;
    struct shki_list *class = heap_class(q, first->class);
    uint64_t n = class->shared->count;

    o->freed_class = class->number;
    o->last = n > first->slot ? (uint32_t)(n - 1) : first->slot; /* the latter: damaged bytes */
    return class;
}

static SHKI_INLINE void take_as(struct shk_queue *q, bool grows)
{
    struct shki_ordered *o = &q->shared->ordered;
    struct shki_list *class = grows ? plan_gap(q) : NULL;
    uint64_t count = heap_bounded(q, items(q) - 1), freed = heap_entry(q, grows, 0)->slot, bytes;
    struct shki_heap_entry e = *heap_entry(q, grows, count);

    if (!grows)
        freed = heap_bounded(q, freed);
    o->hole = 0;
    o->freed = (uint32_t)freed;
    o->moving = e;
    if (grows) {
        bytes = shki_slot_length(load_relaxed(&heap_record(q, class, freed)->word));
        ordered_set_place(q, 0, count, 0, ordered_own_bytes(q) - bytes);
    }
    /* Killed before: nothing has happened. Killed after: the next one with the lock finishes it. */
    ordered_commit(q, 0, count, SHKI_INTENT_GET);
    finish_take(q, grows, count, 0, freed, &e);
    if (grows) {
        bytes = heap_class_bytes(class, class->shared->count);
        if (shki_list_is_long(&q->lists[0], count * SHKI_ENTRY_SIZE))
            shki_list_shrink(q, &q->lists[0], count * SHKI_ENTRY_SIZE);
        if (shki_list_is_long(class, bytes))
            shki_list_shrink(q, class, bytes);
    }
}

static int64_t priority(const struct shk_queue *q)
{
    return heap_entry(q, q->grows, 0)->priority;
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
        int64_t priority = heap_entry(q, q->grows, 0)->priority;

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
