/*
 * LIFO with a capacity, and PRIORITY: slots, with one lock for both sides. (LIFO without a limit:
 * stack.c.)
 *
 * LIFO: the slots from 0 to count - 1 are the stack. The store of the state commits (O1); there is
 * nothing to repair.
 *
 * PRIORITY: the entries from 0 to count - 1 are a binary heap; each has the priority and the
 * sequence number of an item and says in which slot it is. An operation writes down what goes where
 * in the heap and commits with the store of the state (O1), which has both: how many items there
 * are now, and what is left to do. That can be done twice, from any of its steps on: the next
 * owner of the lock finishes it before it does anything of its own.
 *
 *     PUT: rise()   the new entry moves up from the end to its place
 *     GET: sink()   the entry at the end moves down from the top to its place; the freed slot
 *                   becomes the first of those to be used next
 *
 * With a capacity all of it is one chunk, | heap entries | slots |. The entries beyond the end say
 * which slots are free: those of 0 to count - 1 and these are at any time all slots. An entry that
 * has never been used says nothing (0), and means the slot of its own number.
 *
 * Without a limit the entries are a list of chunks (list.c), and the items are in further
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
 * The steps are single stores in the order of the program. A barrier for the compiler is enough: a
 * dead thread's stores are those up to some instruction, and the kernel has made them visible when
 * it marks the lock, or the life of the member that was inside.
 */
#include "queue/queue.h"

#define step() atomic_signal_fence(memory_order_seq_cst)

/* Under the lock, which orders them. */

/* What does the work is there twice, with and without chunks: `grows` is a constant in it. */
#define INLINE inline __attribute__((always_inline))

/* Whatever number was read in shared memory, it leads to a place within the extent. */
static INLINE uint64_t bounded(const struct shk_queue *q, uint64_t i)
{
    return i < q->limit ? i : 0;
}

#define ENTRIES_SHIFT 13  /* without a limit: log of the entries of a chunk … */
#define ENTRY_SIZE    32u /* … of so many bytes each */

_Static_assert(sizeof(struct shki_heap_entry) <= ENTRY_SIZE &&
                   ENTRY_SIZE << ENTRIES_SHIFT == SHKI_BLOCK,
               "entries fill a block");

/* i is below the limit. */
static INLINE struct shki_heap_entry *entry_at(const struct shk_queue *q, bool grows, uint64_t i)
{
    if (!grows)
        return (struct shki_heap_entry *)(void *)q->slots + i;
    return (struct shki_heap_entry *)(void *)(shki_list_at(q, &q->lists[0], i >> ENTRIES_SHIFT) +
                                              (i & ((1u << ENTRIES_SHIFT) - 1)) * ENTRY_SIZE);
}

/* With a capacity. */
static INLINE struct shki_slot *slot_at(const struct shk_queue *q, uint64_t i)
{
    return (struct shki_slot *)(void *)(q->slots + q->entries_size + i * q->stride);
}

/* ---- Without a limit: slots in size classes ---- */

/* A class, whatever number was read in shared memory. */
static struct shki_list *class_at(const struct shk_queue *q, uint32_t number)
{
    return &q->lists[number > 0 && number < q->n_lists ? number : 1];
}

/* Where a slot's item is in the heap; its slot follows. */
static uint64_t *where_at(const struct shk_queue *q, const struct shki_list *class, uint64_t i)
{
    uint64_t chunk = i / class->per_chunk;

    return (uint64_t *)(void *)(shki_list_at(q, class, chunk < q->chunks ? chunk : 0) +
                                i % class->per_chunk * class->slot);
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
static INLINE uint64_t count_of(const struct shk_queue *q, uint64_t state)
{
    uint64_t count = shki_state_count(state);

    return count <= q->limit ? count : q->limit;
}

static INLINE uint64_t items(const struct shk_queue *q)
{
    return count_of(q, load_relaxed(&q->shared->ordered.state));
}

/* `puts`: how many more have been put. */
static INLINE void set_state(struct shk_queue *q, unsigned puts, uint64_t count,
                             enum shki_intent intent)
{
    uint64_t before = shki_state_puts(load_relaxed(&q->shared->ordered.state));

    /* O1: commits; pairs with the lock, and with the acquire in shki_ordered_size() and in join. */
    store_release(&q->shared->ordered.state, shki_state(before + puts, count, intent));
    step();
}

/* ---- LIFO ---- */

static INLINE int lifo_room(struct shk_queue *q, unsigned i, size_t length, struct shki_slot **slot)
{
    uint64_t number = items(q) + i;

    (void)length;
    if (number >= q->capacity)
        return 0;
    *slot = slot_at(q, number);
    return 1;
}

static INLINE void lifo_put(struct shk_queue *q, unsigned n, int64_t priority)
{
    uint64_t count = items(q) + n;

    (void)priority;
    shki_count_puts(q, n);
    set_state(q, n, count, SHKI_INTENT_NONE);
    shki_note_fill(q->shared, count);
}

static INLINE int lifo_item(struct shk_queue *q, unsigned i, struct shki_slot **slot)
{
    uint64_t count = items(q);

    if (i >= count)
        return 0;
    *slot = slot_at(q, count - 1 - i);
    return 1;
}

static INLINE void lifo_take(struct shk_queue *q, unsigned n)
{
    set_state(q, 0, items(q) - n, SHKI_INTENT_NONE);
}

const struct shki_order shki_lifo = {
    .batch = UINT32_MAX, .room = lifo_room, .item = lifo_item, .put = lifo_put, .take = lifo_take};

/* ---- PRIORITY ---- */

static INLINE bool goes_before(const struct shki_heap_entry *a, const struct shki_heap_entry *b)
{
    return a->priority != b->priority ? a->priority < b->priority : a->sequence < b->sequence;
}

/* Doing it twice is the same as once. */
static INLINE void set_entry(struct shk_queue *q, bool grows, uint64_t place,
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
    step();
}

static INLINE uint64_t move_hole(struct shk_queue *q, uint64_t to)
{
    /*
     * killed before this: the entry is in both places, and is copied again. After: the hole is
     * where it was.
     */
    q->shared->ordered.hole = (uint32_t)to;
    step();
    return to;
}

/* From the hole towards the top, until it may stand under its parent. */
static INLINE void rise(struct shk_queue *q, bool grows, uint64_t hole,
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
static INLINE void sink(struct shk_queue *q, bool grows, uint64_t hole, uint64_t n,
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
        step();
    }
    class->shared->count = last;
    step();
}

/*
 * What is left to do once it has been committed: by whoever committed it, or by the next one with
 * the lock. `count` is how many there are now.
 */
static INLINE void finish_put(struct shk_queue *q, bool grows, uint64_t count, uint64_t hole,
                              const struct shki_heap_entry *moving)
{
    rise(q, grows, hole, moving);
    if (grows)
        class_at(q, moving->class)->shared->count = (uint64_t)moving->slot + 1;
    step();
    /* killed before: all of it is done once more, with the same result */
    set_state(q, 0, count, SHKI_INTENT_NONE);
}

static INLINE void finish_take(struct shk_queue *q, bool grows, uint64_t count, uint64_t hole,
                               uint64_t freed, const struct shki_heap_entry *moving)
{
    const struct shki_ordered *o = &q->shared->ordered;

    sink(q, grows, hole, count, moving);
    if (grows)
        fill_gap(q, class_at(q, o->freed_class), freed, o->last);
    else
        entry_at(q, false, count)->slot = (uint32_t)freed + 1;
    set_state(q, 0, count, SHKI_INTENT_NONE); /* killed before: likewise */
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
    fetch_add_relaxed(&q->shared->repairs.rebuilds, 1);
}

/* How many items there are; the heap is one. */
static INLINE uint64_t settled_items(struct shk_queue *q)
{
    uint64_t state = load_relaxed(&q->shared->ordered.state);

    if (unlikely(state & SHKI_INTENT_MASK))
        finish(q, state);
    return count_of(q, state);
}

/* The slot for one more, with a capacity. */
static INLINE uint64_t free_slot(const struct shk_queue *q, uint64_t count)
{
    uint32_t said = entry_at(q, false, count)->slot;

    return said ? bounded(q, said - 1) : count;
}

/*
 * Without a limit: room for one more entry, and for an item of that length: 1 or an error. Killed
 * in here: nothing has happened.
 */
static int grow(struct shk_queue *q, uint64_t count, size_t length, struct shki_slot **slot)
{
    struct shki_list *class;
    uint64_t bytes;
    int r;

    if (count >= q->limit)
        return shki_fail(-ENOSPC, "%s/%s has as many items as it can have", q->object.segment->name,
                         q->object.name);
    if (length > q->item_size)
        return shki_damaged_item(q, length);
    q->reserved_class = shki_size_class(length) + 1;
    class = class_at(q, q->reserved_class);
    r = shki_list_reaches(&q->lists[0], (count + 1) * ENTRY_SIZE)
            ? 1
            : shki_list_grow(q, &q->lists[0], (count + 1) * ENTRY_SIZE);
    bytes = bytes_of(class, class->shared->count + 1);
    if (r > 0 && !shki_list_reaches(class, bytes))
        r = shki_list_grow(q, class, bytes);
    if (r > 0)
        *slot = record_at(q, class, class->shared->count);
    return r;
}

static INLINE int priority_room(struct shk_queue *q, unsigned i, size_t length,
                                struct shki_slot **slot)
{
    uint64_t count = settled_items(q);

    (void)i; /* one at a time */
    if (q->grows)
        return grow(q, count, length, slot);
    if (count >= q->capacity)
        return 0;
    *slot = slot_at(q, free_slot(q, count));
    return 1;
}

static INLINE void put_as(struct shk_queue *q, bool grows, int64_t priority)
{
    struct shki_ordered *o = &q->shared->ordered;
    uint64_t count = bounded(q, items(q));
    struct shki_heap_entry e = {.priority = priority, .sequence = load_relaxed(&q->shared->tail)};

    if (grows) {
        e.class = q->reserved_class;
        e.slot = (uint32_t)class_at(q, e.class)->shared->count;
    } else {
        e.slot = (uint32_t)free_slot(q, count);
    }
    o->hole = (uint32_t)count;
    o->moving = e;
    shki_count_puts(q, 1);
    /* Killed before: nothing has happened. Killed after: the next one with the lock finishes it. */
    set_state(q, 1, count + 1, SHKI_INTENT_PUT);
    finish_put(q, grows, count + 1, count, &e);
    shki_note_fill(q->shared, count + 1);
}

static INLINE void priority_put(struct shk_queue *q, unsigned n, int64_t priority)
{
    (void)n;
    if (q->grows)
        put_as(q, true, priority);
    else
        put_as(q, false, priority);
}

static INLINE int priority_item(struct shk_queue *q, unsigned i, struct shki_slot **slot)
{
    const struct shki_heap_entry *first;

    (void)i;
    if (settled_items(q) == 0)
        return 0;
    first = entry_at(q, q->grows, 0);
    *slot = q->grows ? record_at(q, class_at(q, first->class), first->slot)
                     : slot_at(q, bounded(q, first->slot));
    return 1;
}

/* Without a limit: of the first item, what goes where when it is taken; its class. */
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

static INLINE void take_as(struct shk_queue *q, bool grows)
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
    /* Killed before: nothing has happened. Killed after: the next one with the lock finishes it. */
    set_state(q, 0, count, SHKI_INTENT_GET);
    finish_take(q, grows, count, 0, freed, &e);
    if (grows) {
        bytes = bytes_of(class, class->shared->count);
        if (shki_list_is_long(&q->lists[0], count * ENTRY_SIZE))
            shki_list_shrink(q, &q->lists[0], count * ENTRY_SIZE);
        if (shki_list_is_long(class, bytes))
            shki_list_shrink(q, class, bytes);
    }
}

static INLINE void priority_take(struct shk_queue *q, unsigned n)
{
    (void)n;
    if (q->grows)
        take_as(q, true);
    else
        take_as(q, false);
}

const struct shki_order shki_priority = {.batch = 1,
                                         .room = priority_room,
                                         .item = priority_item,
                                         .put = priority_put,
                                         .take = priority_take};

/* ---- Both ---- */

uint64_t shki_ordered_size(const struct shk_queue *q)
{
    /* O1 */
    return count_of(q, load_acquire(&q->shared->ordered.state));
}

void shki_ordered_repair(struct shk_queue *q)
{
    if (q->order == SHK_PRIORITY)
        settled_items(q);
    for (unsigned i = 0; i < q->n_lists; i++)
        shki_list_repair(q, &q->lists[i]);
}

static int put_now(struct shk_queue *q, struct shki_member *m, struct shki_work *w)
{
    (void)m;
    if (q->order == SHK_LIFO)
        return q->grows ? shki_stack_put_now(q, w) : shki_put_items(q, w, &shki_lifo);
    return shki_put_items(q, w, &shki_priority);
}

static int get_now(struct shk_queue *q, struct shki_member *m, struct shki_work *w)
{
    if (q->order == SHK_LIFO)
        return q->grows ? shki_stack_get_now(q, m, w) : shki_get_items(q, m, w, &shki_lifo);
    return shki_get_items(q, m, w, &shki_priority);
}

/* One item, with the lock. */
static INLINE int put_by(struct shk_queue *q, const struct shki_order *order, const void *item,
                         size_t length, int64_t priority)
{
    struct shki_slot *slot = NULL;
    int r = shki_may_put(q);

    if (unlikely(r < 0))
        return r;
    r = order->room(q, 0, length, &slot);
    if (unlikely(r <= 0))
        return r;
    shki_fill_slot(slot, item, length);
    order->put(q, 1, priority);
    return 1;
}

static INLINE int get_by(struct shk_queue *q, struct shki_member *m, const struct shki_order *order,
                         void *buffer, size_t *length, int64_t *priority)
{
    struct shki_slot *slot = NULL;
    int r = shki_next_item(q, order, &slot);

    if (unlikely(r <= 0))
        return r;
    r = shki_read_slot(q, slot, load_relaxed(&slot->word), buffer, length); /* the lock orders it */
    if (unlikely(r < 0))
        return r;
    if (priority)
        *priority = entry_at(q, q->grows, 0)->priority;
    shki_count_tasks(q, m, 1);
    order->take(q, 1);
    return 1;
}

int shki_ordered_put_one(struct shk_queue *q, struct shki_member *m, const void *item,
                         size_t length, int64_t priority)
{
    struct shki_side_lock *lock = &q->shared->put_lock;
    struct iovec one = {(void *)(uintptr_t)item, length};
    struct shki_work w = {.items = &one, .n = 1};
    bool bias_owner;
    int r = shki_side_trylock(q, m, lock, &bias_owner);

    if (unlikely(r != 0))
        return r < 0 ? r : 0;
    if (q->order == SHK_LIFO && q->grows)
        r = shki_stack_put_now(q, &w);
    else
        r = q->order == SHK_LIFO ? put_by(q, &shki_lifo, item, length, 0)
                                 : put_by(q, &shki_priority, item, length, priority);
    shki_side_unlock(q, m, lock, bias_owner);
    if (likely(r > 0))
        shki_notify_other(q, true);
    return r;
}

int shki_ordered_get_one(struct shk_queue *q, struct shki_member *m, void *buffer, size_t *length)
{
    struct shki_side_lock *lock = &q->shared->put_lock;
    struct iovec one = {buffer, *length};
    struct shki_work w = {.buffers = &one, .n = 1};
    bool bias_owner;
    int r = shki_side_trylock(q, m, lock, &bias_owner);

    if (unlikely(r != 0))
        return r < 0 ? r : 0;
    if (q->order == SHK_LIFO && q->grows) {
        r = shki_stack_get_now(q, m, &w);
        *length = one.iov_len;
    } else {
        r = q->order == SHK_LIFO ? get_by(q, m, &shki_lifo, buffer, length, NULL)
                                 : get_by(q, m, &shki_priority, buffer, length, NULL);
    }
    shki_side_unlock(q, m, lock, bias_owner);
    if (likely(r > 0))
        shki_notify_other(q, false);
    return r;
}

int shki_ordered_put(struct shk_queue *q, struct shki_member *m, struct shki_work *w,
                     int64_t timeout)
{
    struct shki_call c;
    int r = shki_try_at_once(q, m, &q->shared->put_lock, true, put_now, w);

    if (likely(r != 0))
        return r;
    c = shki_put_call(q, m, timeout);
    return shki_carry_out(&c, put_now, w);
}

int shki_ordered_get(struct shk_queue *q, struct shki_member *m, struct shki_work *w,
                     int64_t timeout)
{
    struct shki_call c;
    int r = shki_try_at_once(q, m, &q->shared->put_lock, false, get_now, w);

    if (likely(r != 0))
        return r;
    c = shki_get_call(q, m, timeout);
    return shki_carry_out(&c, get_now, w);
}

static int get_with_priority(struct shk_queue *q, struct shki_member *m, struct shki_work *w)
{
    return get_by(q, m, &shki_priority, w->buffers->iov_base, &w->buffers->iov_len, &w->priority);
}

int shki_priority_get(struct shk_queue *q, struct shki_member *m, struct shki_work *w,
                      int64_t timeout)
{
    struct shki_call c;
    int r = shki_try_at_once(q, m, &q->shared->put_lock, false, get_with_priority, w);

    if (r != 0)
        return r;
    c = shki_get_call(q, m, timeout);
    return shki_carry_out(&c, get_with_priority, w);
}
