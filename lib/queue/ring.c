#include "queue/ring.h"

#include "queue/lease_records.h"

/* ---- Loads only ---- */

uint64_t shki_ring_tail(const struct shk_queue *q)
{
    uint64_t tail =
        load_acquire(&q->shared->tail); /* RQ3; late, perhaps: from here along the words */

    /* Once around at most: what comes later is not what the caller asks for. */
    for (uint64_t i = 0; i < q->capacity && shki_slot_has(ring_word(q, tail), tail); i++)
        tail++;
    return tail;
}

static struct shki_counts counts(const struct shk_queue *q)
{
    /*
     * RQ2: acquire; the head is read before the tail. A head beyond the tail means that the tail is
     * late: the items between them have been taken. What was counted as tasks before the head was
     * stored is visible.
     */
    uint64_t head = load_acquire(&q->shared->head), tail = shki_ring_tail(q);

    return (struct shki_counts){tail, tail - head};
}

static bool has_item(const struct shk_queue *q)
{
    uint64_t head = load_acquire(&q->shared->head), before; /* RQ2 */

    do {
        if (shki_slot_has(ring_word(q, head), head))
            return true;
        before = head;
        head = load_acquire(&q->shared->head); /* RQ2 */
    } while (head != before);                  /* a consumer has taken it, and there may be more */
    return false;
}

static bool has_room(const struct shk_queue *q)
{
    /*
     * RQ2: acquire. The tail may be late: then a producer is in the lock, or has died there, and
     * the caller finds that out in the lock.
     */
    uint64_t head = load_acquire(&q->shared->head) - shki_leases_out(q); /* LS2: the head first */

    return (int64_t)(load_relaxed(&q->shared->tail) - head) < (int64_t)q->capacity;
}

/*
 * With a reservation open at the death `batch_items` is reserved_bytes, which shares its place.
 * Then the loop finds no word to take back.
 */
static void repair(struct shk_queue *q, const struct shki_side_lock *lock)
{
    uint64_t *batch_items = &q->shared->put_lock.batch_items, most = *batch_items, tail;

    if (lock != &q->shared->put_lock || !shki_repair_enabled(SHKI_REPAIR_FINISH_QUEUE))
        return;
    if (most > SHKI_BATCH_MAX)
        most = SHKI_BATCH_MAX;
    if (most > q->capacity)
        most = q->capacity;
    tail = shki_ring_tail(q);
    /* killed anywhere in here: done once more by the next holder of the lock */
    ring_move_tail(q->shared, tail);
    for (uint64_t at = tail + 1; at < tail + most; at++) /* of several that were not committed */
        if (shki_slot_has(ring_word(q, at), at))
            store_relaxed(&ring_slot(q, at)->word, 0);
    atomic_signal_fence(memory_order_seq_cst);
    *batch_items = 0;
}

/* ---- Putting, with the put lock ---- */

static uint64_t own_tail(const struct shk_queue *q)
{
    return load_relaxed(&q->shared->tail); /* the lock orders it */
}

/* How far the consumers are, for a producer that is at `tail` and has found no room. */
static __attribute__((noinline)) void load_head(struct shk_queue *q, uint64_t tail)
{
    struct shki_side_lock *lock = &q->shared->put_lock;
    bool back_off = shki_slip_is_too_close(&q->put_slip, q->capacity);
    uint64_t head;

    if (back_off)
        shki_slip_back_off(q->stride);
    /*
     * RQ2: acquire; pairs with the release in ring_move_head(): the slots up to it have been read.
     */
    head = load_acquire(&q->shared->head);
    /*
     * What is leased counts as not taken. LS2: the bits after the head: an item that is leased in
     * between counts twice, and never not at all. Then an earlier copy may be more: it was true.
     */
    head -= shki_leases_out(q);
    if ((int64_t)(head - lock->cached_head) > 0)
        lock->cached_head = head;
    shki_slip_learn(&q->put_slip, q->capacity, back_off, q->capacity - (tail - lock->cached_head));
    shki_note_fill(q->shared, tail - lock->cached_head);
}

/* Whether there is room at `tail`. */
static SHKI_INLINE bool find_room(struct shk_queue *q, uint64_t tail)
{
    const struct shki_side_lock *lock = &q->shared->put_lock;

    if (unlikely(tail - lock->cached_head >= q->capacity)) {
        load_head(q, tail);
        if (tail - lock->cached_head >= q->capacity)
            return false;
    }
    ring_fetch_slot(q, tail, tail - lock->cached_head);
    return true;
}

static int try_put(struct shk_queue *q, struct shki_member *m, const void *item, size_t length,
                   int64_t priority)
{
    struct shki_side_lock *lock = &q->shared->put_lock;
    uint64_t tail;
    bool bias_owner;
    int r;

    (void)priority;
    r = shki_side_trylock(q, m, lock, &bias_owner);
    if (unlikely(r != 0))
        return r;
    r = shki_may_put(q);
    if (likely(r == 0)) {
        tail = own_tail(q);
        if (likely(find_room(q, tail))) {
            ring_put_one(q, tail, item, length, false);
            r = 1;
        }
    }
    shki_side_done(q, m, lock, bias_owner, true, r);
    return r;
}

static int put(struct shk_queue *q, struct shki_member *m, struct shki_work *w)
{
    struct shki_side_lock *lock = &q->shared->put_lock;
    uint64_t tail = own_tail(q), free;
    unsigned n = w->n;
    int r = shki_may_put(q);

    (void)m;
    if (r < 0)
        return r;
    if (!find_room(q, tail))
        return 0;
    free = q->capacity - (tail - lock->cached_head);
    if (n > free) { /* as far as it knows */
        load_head(q, tail);
        free = q->capacity - (tail - lock->cached_head);
    }
    if (n > free)
        n = (unsigned)free;
    /*
     * The first one last: no consumer gets past it. Killed before: the others have words already.
     * The next holder of the lock takes these back, and knows by batch_items how many there may be.
     * A barrier for the compiler is enough: the kernel makes a dead thread's stores visible, up to
     * some instruction.
     */
    if (n > 1)
        lock->batch_items = n;
    atomic_signal_fence(memory_order_seq_cst);
    for (unsigned i = n; i-- > 0;) {
        struct shki_slot *slot = ring_slot(q, tail + i);

        shki_copy(slot->bytes, w->items[i].iov_base, w->items[i].iov_len);
        ring_commit_slot(slot, tail + i, w->items[i].iov_len);
    }
    ring_move_tail(q->shared, tail + n);
    atomic_signal_fence(memory_order_seq_cst);
    if (n > 1)
        lock->batch_items = 0;
    return (int)n;
}

static int room(struct shk_queue *q, size_t length, struct shki_slot **slot)
{
    uint64_t tail = own_tail(q);

    (void)length;
    if (!find_room(q, tail))
        return 0;
    *slot = ring_slot(q, tail);
    return 1;
}

static void commit(struct shk_queue *q, struct shki_slot *slot, size_t length)
{
    uint64_t tail = own_tail(q);

    ring_commit_slot(slot, tail, length);
    ring_move_tail(q->shared, tail + 1);
}

/* ---- Getting, with the get lock ---- */

static uint64_t own_head(const struct shk_queue *q)
{
    return load_relaxed(&q->shared->head); /* the lock orders it */
}

/* How far the producers are, for a consumer that is at `head` and knows of no more items. */
static __attribute__((noinline)) void load_tail(struct shk_queue *q, uint64_t head)
{
    struct shki_side_lock *lock = &q->shared->get_lock;
    bool back_off = shki_slip_is_too_close(&q->get_slip, q->capacity);
    uint64_t tail;

    if (back_off)
        shki_slip_back_off(q->stride);
    tail = load_acquire(&q->shared->tail);                        /* a guess: the words tell */
    lock->cached_tail = (int64_t)(tail - head) > 0 ? tail : head; /* it may be late */
    shki_slip_learn(&q->get_slip, q->capacity, back_off, lock->cached_tail - head);
    shki_note_fill(q->shared, lock->cached_tail - head);
}

/* The slot's word says whether there is an item; the tail, only how many more there are. */
static __attribute__((noinline)) void measure(struct shk_queue *q, uint64_t head)
{
    if (shki_slip_should_measure(&q->get_slip, q->capacity))
        load_tail(q, head);
}

/* Before the item at `head` is read. */
static SHKI_INLINE void approach(struct shk_queue *q, uint64_t head)
{
    if (unlikely((int64_t)(q->shared->get_lock.cached_tail - head) <= 0))
        measure(q, head);
}

static int item(struct shk_queue *q, struct shki_slot **slot)
{
    uint64_t head = own_head(q);

    approach(q, head);
    *slot = ring_slot(q, head);
    return shki_slot_has(ring_word(q, head), head);
}

static void consume(struct shk_queue *q)
{
    ring_move_head(q->shared, own_head(q) + 1);
}

/* There was none. As shki_next_item(): once more, if nothing more comes. */
static __attribute__((noinline)) int get_last(struct shk_queue *q, struct shki_member *m,
                                              uint64_t head, void *buffer, size_t *length)
{
    int r = 0;

    if (shki_queue_is_over(q)) {
        r = ring_get_one(q, m, head, buffer, length, false);
        if (r == 0)
            r = shki_say_drained(q);
    }
    if (r == 0 && shki_object_is_stale(&q->object))
        r = shki_stale(&q->object);
    return r;
}

static int try_get(struct shk_queue *q, struct shki_member *m, void *buffer, size_t *length)
{
    struct shki_side_lock *lock = &q->shared->get_lock;
    uint64_t head;
    bool bias_owner;
    int r = shki_side_trylock(q, m, lock, &bias_owner);

    if (unlikely(r != 0))
        return r;
    head = own_head(q);
    approach(q, head);
    r = ring_get_one(q, m, head, buffer, length, false);
    if (unlikely(r == 0))
        r = get_last(q, m, head, buffer, length);
    shki_side_done(q, m, lock, bias_owner, false, r);
    return r;
}

static int get(struct shk_queue *q, struct shki_member *m, struct shki_work *w)
{
    struct shki_slot *slot;
    uint64_t head, word;
    unsigned n = 0;
    int r = shki_next_item(q, item, &slot);

    if (r <= 0)
        return r;
    head = own_head(q);
    for (; n < w->n && r > 0; n += r > 0) {
        slot = ring_slot(q, head + n);
        word = load_acquire(&slot->word); /* RQ1 */
        r = shki_slot_has(word, head + n)
                ? shki_read_slot(q, slot, word, w->buffers[n].iov_base, &w->buffers[n].iov_len)
                : 0;
    }
    if (n == 0)
        return r;
    shki_count_tasks(q, m, n);
    ring_move_head(q->shared, head + n);
    return (int)n;
}

/* ---- Hybrid poll ---- */

/* Whether the next item comes soon. */
static __attribute__((noinline)) bool poll_for_item(struct shk_queue *q)
{
    /* relaxed: another consumer may be faster; the lock tells */
    uint64_t head = load_relaxed(&q->shared->head);
    unsigned misses = 0;

    for (unsigned i = shki_poll_pauses(&q->poll); i > 0; i--)
        shki_pause();
    while (misses < SHKI_POLLS && !shki_slot_has(ring_word(q, head), head)) {
        shki_pause();
        misses++;
    }
    shki_poll_learn(&q->poll, misses);
    return misses < SHKI_POLLS;
}

/* An item that a poll has found. */
static SHKI_INLINE int get_found(struct shk_queue *q, struct shki_member *m, void *buffer,
                                 size_t *length)
{
    if (q->fast_below == 0)
        return try_get(q, m, buffer, length);
    if (unlikely(!ring_enter_fast(q, m, &q->shared->get_lock) ||
                 ring_get_one(q, m, own_head(q), buffer, length, true) <= 0)) {
        shki_biased_leave(m);
        return try_get(q, m, buffer, length);
    }
    shki_biased_leave(m);
    shki_notify_other(q, false);
    return 1;
}

int shki_ring_poll(struct shk_queue *q, struct shki_member *m, void *buffer, size_t *length)
{
    int r = 0;

    if (shki_adaptive_may_poll(&q->get_adaptive) && poll_for_item(q))
        r = get_found(q, m, buffer, length);
    return r == SHKI_LOCK_BUSY ? 0 : r;
}

const struct shki_order shki_ring = {.put = put,
                                     .get = get,
                                     .try_put = try_put,
                                     .try_get = try_get,
                                     .room = room,
                                     .commit = commit,
                                     .item = item,
                                     .consume = consume,
                                     .has_item = has_item,
                                     .has_room = has_room,
                                     .counts = counts,
                                     .repair = repair};
