/*
 * LIFO and PRIORITY: slots without gaps, from 0 to count - 1, with one gate for both sides.
 *
 *     chunk    | heap entries (PRIORITY) | slots |    a queue with a capacity is one chunk
 *
 * LIFO: the slots are the stack. The store of `count` commits (O1); there is nothing to repair.
 *
 * PRIORITY: the entries are a binary heap; each has the priority and the sequence number of an item and says in which slot it is. An operation
 * writes down what it is about and commits with the store of `intent` (O2). What follows can be done twice, from any of its steps on: whoever has the
 * gate next finishes it before it does anything of its own.
 *
 *     PUT: rise()   the new entry moves up from the end to its place
 *     GET: sink()   the entry at the end moves down from the top to its place; the item of the last slot moves into the one that was freed
 *
 * So memory is used without gaps, and given back from the end when the queue shrinks.
 *
 * The steps are single stores in the order of the program. A barrier for the compiler is enough: a dead thread's stores are those up to
 * some instruction, and the kernel has made them visible when it marks the gate.
 */
#include "object/queue.h"

#define step() atomic_signal_fence(memory_order_seq_cst)

/* Under the gate, which orders them. */
#define get(field) atomic_load_explicit(&(field), memory_order_relaxed)

static unsigned char *chunk_of(const struct shk_queue *q, uint64_t i)
{
    return shki_chunk_at(q, i >> q->shift);
}

/* Whatever number was read in shared memory, it leads to a place within the extent. */
static uint64_t bounded(const struct shk_queue *q, uint64_t i)
{
    return i < q->limit ? i : 0;
}

static struct shki_heap_entry *entry_at(const struct shk_queue *q, uint64_t i)
{
    i = bounded(q, i);
    return (struct shki_heap_entry *)(void *)chunk_of(q, i) + (i & q->mask);
}

static struct shki_slot *slot_at(const struct shk_queue *q, uint64_t i)
{
    i = bounded(q, i);
    return (struct shki_slot *)(void *)(chunk_of(q, i) + q->entries_size + (i & q->mask) * q->stride);
}

/* A free slot with number i: 1, 0: full, or an error. */
static int slot_for(struct shk_queue *q, uint64_t i, struct shki_slot **slot)
{
    struct shki_ordered *o = &q->shared->ordered;
    int r;

    if (!q->grows && i >= q->capacity)
        return 0;
    if (i >= q->limit)
        return shki_fail(-ENOSPC, "%s/%s has used up its share of the segment's address space", q->object.segment->name, q->object.name);
    while (q->grows && i >> q->shift >= o->ready) {
        r = shki_chunk_allocate(q, o->ready);
        if (r < 0)
            return r;
        o->ready++; /* killed before: allocated once more */
    }
    *slot = slot_at(q, i);
    return 1;
}

/* After a get: give back the chunks at the end but for a few. */
static void shrink(struct shk_queue *q)
{
    struct shki_ordered *o = &q->shared->ordered;
    uint64_t used = (get(o->count) + q->mask) >> q->shift;

    while (q->grows && o->ready <= q->chunks && o->ready > used + q->spare) {
        o->ready--;
        step(); /* killed here: it keeps its memory; given back by shki_ordered_repair() */
        shki_chunk_punch(q, o->ready, 1);
    }
}

/* ---- LIFO ---- */

static int lifo_room(struct shk_queue *q, unsigned i, struct shki_slot **slot)
{
    return slot_for(q, get(q->shared->ordered.count) + i, slot);
}

static void lifo_put(struct shk_queue *q, unsigned n, int64_t priority)
{
    uint64_t count = get(q->shared->ordered.count);

    (void)priority;
    /* First, for join, which must not overlook a put. Killed after: n puts too many have been counted. */
    atomic_store_explicit(&q->shared->tail, get(q->shared->tail) + n, memory_order_release);
    /* O1: commits; pairs with the gate, and with the acquire in shki_ordered_size(). */
    atomic_store_explicit(&q->shared->ordered.count, count + n, memory_order_release);
    shki_note_fill(q->shared, count + n);
}

static int lifo_item(struct shk_queue *q, unsigned i, struct shki_slot **slot)
{
    uint64_t count = get(q->shared->ordered.count);

    if (i >= count)
        return 0;
    *slot = slot_at(q, count - 1 - i);
    return 1;
}

static void lifo_take(struct shk_queue *q, unsigned n)
{
    atomic_store_explicit(&q->shared->ordered.count, get(q->shared->ordered.count) - n, memory_order_release); /* O1: commits */
    shrink(q);
}

const struct shki_order shki_lifo = { .batch = UINT32_MAX, .room = lifo_room, .item = lifo_item, .put = lifo_put, .take = lifo_take };

/* ---- PRIORITY ---- */

static bool goes_before(const struct shki_heap_entry *a, const struct shki_heap_entry *b)
{
    return a->priority != b->priority ? a->priority < b->priority : a->sequence < b->sequence;
}

/* Doing it twice is the same as once. */
static void set_entry(struct shk_queue *q, uint64_t place, const struct shki_heap_entry *e)
{
    struct shki_heap_entry *to = entry_at(q, place);

    to->priority = e->priority;
    to->sequence = e->sequence;
    to->slot = e->slot;
    entry_at(q, e->slot)->where = (uint32_t)place;
    step();
}

static uint64_t move_hole(struct shki_ordered *o, uint64_t to)
{
    /* killed before this: the entry is in both places, and is copied again. After: the hole is where it was. */
    o->hole = (uint32_t)to;
    step();
    return to;
}

/* From the hole towards the top, until it may stand under its parent. */
static void rise(struct shk_queue *q)
{
    struct shki_ordered *o = &q->shared->ordered;
    uint64_t hole = o->hole;

    while (hole > 0) {
        const struct shki_heap_entry *parent = entry_at(q, (hole - 1) / 2);

        if (!goes_before(&o->moving, parent))
            break;
        set_entry(q, hole, parent);
        hole = move_hole(o, (hole - 1) / 2);
    }
    set_entry(q, hole, &o->moving);
}

/* From the hole away from the top, until it may stand above its children, of which there are those below n. */
static void sink(struct shk_queue *q, uint64_t n)
{
    struct shki_ordered *o = &q->shared->ordered;
    uint64_t hole = o->hole, child;

    while ((child = 2 * hole + 1) < n) {
        if (child + 1 < n && goes_before(entry_at(q, child + 1), entry_at(q, child)))
            child++;
        if (!goes_before(entry_at(q, child), &o->moving))
            break;
        set_entry(q, hole, entry_at(q, child));
        hole = move_hole(o, child);
    }
    if (n > 0)
        set_entry(q, hole, &o->moving);
}

/* The item of the last slot into the one that has become free. The source stays as it is, so it can be done again. */
static void fill_gap(struct shk_queue *q, uint64_t freed, uint64_t last)
{
    const struct shki_slot *from = slot_at(q, last);
    struct shki_slot *to = slot_at(q, freed);
    uint32_t where;
    uint64_t word;

    if (freed == last)
        return;
    where = entry_at(q, last)->where;
    word = atomic_load_explicit(&from->word, memory_order_relaxed);
    atomic_store_explicit(&to->word, word, memory_order_relaxed);
    memcpy(to->bytes, from->bytes, shki_slot_length(word) <= q->item_size ? shki_slot_length(word) : q->item_size);
    entry_at(q, freed)->where = where;
    entry_at(q, where)->slot = (uint32_t)freed;
    step();
}

/* What is left to do of a committed operation: by whoever committed it, or by the next with the gate. */
static void finish(struct shk_queue *q)
{
    struct shki_queue_shared *shared = q->shared;
    struct shki_ordered *o = &shared->ordered;
    uint32_t intent = get(o->intent);
    uint64_t count = o->before;

    if (intent == SHKI_INTENT_PUT) {
        rise(q);
        count++;
        atomic_store_explicit(&shared->tail, o->moving.sequence + 1, memory_order_release);
    } else {
        count--;
        sink(q, count);
        fill_gap(q, o->freed, count);
    }
    atomic_store_explicit(&o->count, count, memory_order_release);
    /* killed before this: all of it is done once more, with the same result */
    atomic_store_explicit(&o->intent, SHKI_INTENT_NONE, memory_order_release);
}

static void settle(struct shk_queue *q)
{
    if (__builtin_expect(get(q->shared->ordered.intent) != SHKI_INTENT_NONE, 0) && shki_repairs(SHKI_REPAIR_FINISH_QUEUE)) {
        finish(q);
        atomic_fetch_add_explicit(&q->shared->repairs.rebuilds, 1, memory_order_relaxed);
    }
}

static int priority_room(struct shk_queue *q, unsigned i, struct shki_slot **slot)
{
    (void)i; /* one at a time */
    settle(q);
    return slot_for(q, get(q->shared->ordered.count), slot);
}

static void commit(struct shk_queue *q, uint32_t intent)
{
    step();
    /* O2: commits. Killed before: nothing has happened. Killed after: the next one with the gate finishes it. */
    atomic_store_explicit(&q->shared->ordered.intent, intent, memory_order_release);
    step();
    finish(q);
}

static void priority_put(struct shk_queue *q, unsigned n, int64_t priority)
{
    struct shki_ordered *o = &q->shared->ordered;
    uint64_t count = get(o->count);

    (void)n;
    o->before = count;
    o->hole = (uint32_t)count;
    o->moving = (struct shki_heap_entry){ .priority = priority, .sequence = get(q->shared->tail), .slot = (uint32_t)count };
    commit(q, SHKI_INTENT_PUT);
    shki_note_fill(q->shared, count + 1);
}

static int priority_item(struct shk_queue *q, unsigned i, struct shki_slot **slot)
{
    (void)i;
    settle(q);
    if (get(q->shared->ordered.count) == 0)
        return 0;
    *slot = slot_at(q, entry_at(q, 0)->slot);
    return 1;
}

static void priority_take(struct shk_queue *q, unsigned n)
{
    struct shki_ordered *o = &q->shared->ordered;
    uint64_t count = get(o->count);

    (void)n;
    o->before = count;
    o->hole = 0;
    o->freed = entry_at(q, 0)->slot;
    o->moving = *entry_at(q, count - 1);
    commit(q, SHKI_INTENT_GET);
    shrink(q);
}

const struct shki_order shki_priority = { .batch = 1, .room = priority_room, .item = priority_item, .put = priority_put, .take = priority_take };

/* ---- Both ---- */

uint64_t shki_ordered_size(const struct shk_queue *q)
{
    const struct shki_ordered *o = &q->shared->ordered;
    /* O2 before O1: acquire; pair with the releases. A put that is not finished counts, a get that is not does not. */
    uint32_t intent = atomic_load_explicit(&o->intent, memory_order_acquire);
    uint64_t count = atomic_load_explicit(&o->count, memory_order_acquire);

    if (intent == SHKI_INTENT_PUT && (q->grows || count < q->capacity))
        return count + 1;
    return intent == SHKI_INTENT_GET && count > 0 ? count - 1 : count;
}

void shki_ordered_repair(struct shk_queue *q)
{
    uint64_t ready = q->shared->ordered.ready;

    settle(q);
    if (q->grows && ready < q->chunks)
        shki_chunk_punch(q, ready, q->chunks - ready);
}

static int put_now(struct shk_queue *q, struct shki_membership *m, struct shki_work *w)
{
    (void)m;
    return shki_put_items(q, w, q->order == SHK_LIFO ? &shki_lifo : &shki_priority);
}

static int get_now(struct shk_queue *q, struct shki_membership *m, struct shki_work *w)
{
    return shki_get_items(q, m, w, q->order == SHK_LIFO ? &shki_lifo : &shki_priority);
}

int shki_ordered_put(struct shk_queue *q, struct shki_membership *m, struct shki_work *w, int64_t timeout)
{
    struct shki_call c;
    int r = shki_try_at_once(q, m, &q->shared->put_gate, true, put_now, w);

    if (__builtin_expect(r != 0, 1))
        return r;
    c = shki_put_call(q, m, timeout);
    return shki_carry_out(&c, put_now, w);
}

int shki_ordered_get(struct shk_queue *q, struct shki_membership *m, struct shki_work *w, int64_t timeout)
{
    struct shki_call c;
    int r = shki_try_at_once(q, m, &q->shared->put_gate, false, get_now, w);

    if (__builtin_expect(r != 0, 1))
        return r;
    c = shki_get_call(q, m, timeout);
    return shki_carry_out(&c, get_now, w);
}
