/*
 * LIFO with a capacity: the slots from 0 to count - 1 are the stack. The store of the state commits
 * (OR1), and there is nothing to repair. Without a limit: stack.c.
 */
#include "queue/ordered.h"

static SHKI_INLINE struct shki_slot *slot_at(const struct shk_queue *q, uint64_t i)
{
    return (struct shki_slot *)(void *)(q->slots + i * q->stride);
}

/* Never more than there are slots, whatever the bytes are. */
static SHKI_INLINE uint64_t items(const struct shk_queue *q)
{
    uint64_t count = shki_state_count(ordered_state(q));

    return count <= q->capacity ? count : q->capacity;
}

static SHKI_INLINE void commit_puts(struct shk_queue *q, unsigned n, uint64_t count)
{
    shki_count_puts(q, n);
    ordered_commit(q, n, count + n, SHKI_INTENT_NONE);
    shki_note_fill(q->shared, count + n);
}

static SHKI_INLINE int put_one(struct shk_queue *q, const void *item, size_t length)
{
    uint64_t count = items(q);
    int r = shki_may_put(q);

    if (unlikely(r < 0))
        return r;
    if (unlikely(count >= q->capacity))
        return 0;
    shki_fill_slot(slot_at(q, count), item, length);
    commit_puts(q, 1, count);
    return 1;
}

static int put(struct shk_queue *q, struct shki_member *m, struct shki_work *w)
{
    uint64_t count = items(q);
    unsigned n = 0;
    int r = shki_may_put(q);

    (void)m;
    if (r < 0)
        return r;
    for (; n < w->n && count + n < q->capacity; n++)
        shki_fill_slot(slot_at(q, count + n), w->items[n].iov_base, w->items[n].iov_len);
    if (n > 0)
        commit_puts(q, n, count);
    return (int)n;
}

static int room(struct shk_queue *q, size_t length, struct shki_slot **slot)
{
    uint64_t count = items(q);

    (void)length;
    if (count >= q->capacity)
        return 0;
    *slot = slot_at(q, count);
    return 1;
}

static void commit(struct shk_queue *q, struct shki_slot *slot, size_t length)
{
    store_relaxed(&slot->word, shki_slot_word(0, length)); /* OR1 publishes it */
    commit_puts(q, 1, items(q));
}

static SHKI_INLINE int item(struct shk_queue *q, struct shki_slot **slot)
{
    uint64_t count = items(q);

    if (count == 0)
        return 0;
    *slot = slot_at(q, count - 1);
    return 1;
}

static SHKI_INLINE void take(struct shk_queue *q, unsigned n)
{
    ordered_commit(q, 0, items(q) - n, SHKI_INTENT_NONE);
}

static void consume(struct shk_queue *q)
{
    take(q, 1);
}

static SHKI_INLINE int get_one(struct shk_queue *q, struct shki_member *m, void *buffer,
                               size_t *length)
{
    struct shki_slot *slot = NULL;
    int r = shki_next_item(q, item, &slot);

    if (unlikely(r <= 0))
        return r;
    r = shki_read_slot(q, slot, load_relaxed(&slot->word), buffer, length); /* the lock orders it */
    if (unlikely(r < 0))
        return r;
    shki_count_tasks(q, m, 1);
    take(q, 1);
    return 1;
}

static int get(struct shk_queue *q, struct shki_member *m, struct shki_work *w)
{
    struct shki_slot *slot = NULL;
    uint64_t count;
    unsigned n = 0;
    int r = shki_next_item(q, item, &slot);

    if (r <= 0)
        return r;
    for (count = items(q); n < w->n && n < count; n++) {
        slot = slot_at(q, count - 1 - n);
        r = shki_read_slot(q, slot, load_relaxed(&slot->word), w->buffers[n].iov_base,
                           &w->buffers[n].iov_len);
        if (r < 0)
            break;
    }
    if (n == 0)
        return r;
    shki_count_tasks(q, m, n);
    take(q, n);
    return (int)n;
}

static int try_put(struct shk_queue *q, struct shki_member *m, const void *item_, size_t length,
                   int64_t priority)
{
    struct shki_side_lock *lock = &q->shared->put_lock;
    bool bias_owner;
    int r = shki_side_trylock(q, m, lock, &bias_owner);

    (void)priority;
    if (unlikely(r != 0))
        return r;
    r = put_one(q, item_, length);
    shki_side_done(q, m, lock, bias_owner, true, r);
    return r;
}

static int try_get(struct shk_queue *q, struct shki_member *m, void *buffer, size_t *length)
{
    struct shki_side_lock *lock = &q->shared->put_lock;
    bool bias_owner;
    int r = shki_side_trylock(q, m, lock, &bias_owner);

    if (unlikely(r != 0))
        return r;
    r = get_one(q, m, buffer, length);
    shki_side_done(q, m, lock, bias_owner, false, r);
    return r;
}

/* Nothing: the state alone tells what there is. */
static void repair(struct shk_queue *q, const struct shki_side_lock *lock)
{
    (void)q;
    (void)lock;
}

const struct shki_order shki_lifo = {.put = put,
                                     .get = get,
                                     .try_put = try_put,
                                     .try_get = try_get,
                                     .room = room,
                                     .commit = commit,
                                     .item = item,
                                     .consume = consume,
                                     .has_item = ordered_has_item,
                                     .has_room = ordered_has_room,
                                     .counts = ordered_counts,
                                     .repair = repair};
