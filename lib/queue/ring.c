/*
 * FIFO: a ring between two locks.
 *
 *        get lock                                      put lock
 *     head (items taken)                            tail (items put)
 *        |                                             |
 *     ...|  item   item   item   item   item   item    |  free  free ...     slot of position p: p & mask
 *        v                                             v
 *
 * Producers take turns at the put lock, consumers at the get lock. One release store commits an
 * operation: its item is in, or it is out. A get commits with the head. A put commits in the slot,
 * with the word that says whose number it has: so an item costs the consumer one cache line, not a
 * second one for the tail. The tail follows, for those who count. Nobody sleeps with a lock.
 *
 * Several items at once are committed by the first one's word, which is written last: nobody gets
 * past it.
 *
 * Killed between the word and the tail: the tail is late, by as many items as were put at once. The
 * next one with the lock catches up, and takes back the words of what was not committed
 * (shki_fifo_repair()); whoever counts without it looks at the slots beyond the tail itself
 * (shki_fifo_tail()).
 *
 * Without a limit it is another thing altogether: chunks.c.
 */
#include "queue/queue.h"

static inline struct shki_slot *slot_at(const struct shk_queue *q, unsigned char *at,
                                        uint64_t position)
{
    return (struct shki_slot *)(void *)(at + (position & q->mask) * q->stride);
}

/*
 * What is in the ring at a position. Q1: acquire; pairs with the release in put: who sees the word
 * sees the item.
 */
static inline uint64_t word_at(const struct shk_queue *q, uint64_t position)
{
    return load_acquire(&slot_at(q, q->slots, position)->word);
}

uint64_t shki_fifo_number(const struct shk_queue *q)
{
    /* the caller's: the lock orders it */
    return q->grows ? 0 : load_relaxed(&q->shared->tail);
}

uint64_t shki_fifo_tail(const struct shk_queue *q)
{
    /* Q1, of a queue that grows */
    uint64_t tail = load_acquire(&q->shared->tail);

    /* Once around at most: what comes later is not what the caller asks for. */
    for (uint64_t i = 0; !q->grows && i < q->capacity && shki_slot_has(word_at(q, tail), tail); i++)
        tail++;
    return tail;
}

void shki_fifo_repair(struct shk_queue *q)
{
    uint64_t *batch_items = &q->shared->put_lock.batch_items,
             most = *batch_items < SHKI_BATCH_MAX ? *batch_items : SHKI_BATCH_MAX, tail;

    if (q->grows || !shki_repair_enabled(SHKI_REPAIR_FINISH_QUEUE))
        return;
    tail = shki_fifo_tail(q);
    if (most > q->capacity)
        most = q->capacity;
    /* killed anywhere in here: done once more by the next new owner */
    store_release(&q->shared->tail, tail);
    for (uint64_t at = tail + 1; at < tail + most; at++) /* of several that were not committed */
        if (shki_slot_has(word_at(q, at), at))
            store_relaxed(&slot_at(q, q->slots, at)->word, 0);
    atomic_signal_fence(memory_order_seq_cst);
    *batch_items = 0;
}

bool shki_fifo_has_item(const struct shk_queue *q)
{
    uint64_t head = load_acquire(&q->shared->head), seen;

    do {
        if (shki_slot_has(word_at(q, head), head))
            return true;
        seen = head;
        head = load_acquire(&q->shared->head);
    } while (head != seen); /* somebody has taken it, and there may be more */
    return false;
}

/* Measured, all of them. */
#define HARDLY_ANY          8u /* items, or free slots; … */
#define HARDLY_ANY_FEW      2u /* … in a ring that has fewer slots than */
#define FEW                 256u
#define WORTH_IT            8 /* so many make up for a pause */
#define CLOSE_ENOUGH        4u
#define FAILED_BACKOFFS_MAX 8u
#define PAUSES              64
#define PAUSES_MAX          1024u /* shorter than whoever wants the lock waits for one inside */

static inline __attribute__((always_inline)) bool is_too_close(const struct shk_queue *q,
                                                               const struct shki_slip *slip)
{
    return slip->close >= CLOSE_ENOUGH << slip->failed_backoffs && q->capacity >= PAUSES;
}

/* The longer, the longer an item takes, so that as many come meanwhile. */
static __attribute__((noinline)) void back_off(const struct shk_queue *q)
{
    uint64_t pauses = PAUSES + q->stride / 2;

    for (uint64_t i = 0; i < pauses && i < PAUSES_MAX; i++)
        shki_pause();
}

/* So many there were when it looked. */
static void learn(const struct shk_queue *q, struct shki_slip *slip, bool paused, uint64_t n)
{
    if (paused) {
        bool paid = n >= WORTH_IT;

        /* The other side half a lap ahead: then it is this one that keeps the other waiting. */
        slip->close = paid && n < q->capacity / 2 ? CLOSE_ENOUGH : 0;
        slip->failed_backoffs =
            paid ? 0 : slip->failed_backoffs + (slip->failed_backoffs < FAILED_BACKOFFS_MAX);
    } else if (n > (q->capacity < FEW ? HARDLY_ANY_FEW : HARDLY_ANY)) {
        slip->close = 0;
    } else if (n > 0) {
        slip->close++;
    }
}

/* How far the consumers are, for a producer that is at `tail` and has found no room. */
static __attribute__((noinline)) void look_at_head(struct shk_queue *q, uint64_t tail)
{
    struct shki_side_lock *lock = &q->shared->put_lock;
    bool pause = is_too_close(q, &q->put_slip);

    if (pause)
        back_off(q);
    /* Q2: the slots up to it have been read */
    lock->cached_head = load_acquire(&q->shared->head);
    learn(q, &q->put_slip, pause, q->capacity - (tail - lock->cached_head));
    shki_note_fill(q->shared, tail - lock->cached_head);
}

/*
 * Have the line of a later slot to itself before its item is there; but not one that a consumer may
 * still be reading. `used`: so many slots are, at most.
 */
static inline __attribute__((always_inline)) void fetch_slot(const struct shk_queue *q,
                                                             uint64_t tail, uint64_t used)
{
    if ((tail & q->share_mask) == 0 && used + q->put_ahead < q->capacity)
        shki_prefetch_write(slot_at(q, q->slots, tail + q->put_ahead));
}

static inline __attribute__((always_inline)) int ring_room(struct shk_queue *q,
                                                           const struct shki_side_lock *lock,
                                                           uint64_t tail, struct shki_slot **slot)
{
    if (unlikely(tail - lock->cached_head >= q->capacity)) {
        look_at_head(q, tail);
        if (tail - lock->cached_head >= q->capacity)
            return 0;
    }
    fetch_slot(q, tail, tail - lock->cached_head);
    *slot = slot_at(q, q->slots, tail);
    return 1;
}

static int room(struct shk_queue *q, unsigned i, size_t length, struct shki_slot **slot)
{
    /* ours: the lock orders it */
    uint64_t tail = load_relaxed(&q->shared->tail) + i;

    (void)length;
    return ring_room(q, &q->shared->put_lock, tail, slot);
}

/*
 * Q1: the slot is filled, and its word commits. Killed before: it is free, whatever is in it.
 * After: the item is in, and the tail late.
 */
static inline __attribute__((always_inline)) void commit_slot(struct shki_slot *slot,
                                                              uint64_t position, size_t length)
{
    store_release(&slot->word, shki_slot_word(position, length));
}

static inline __attribute__((always_inline)) void fill(struct shki_slot *slot, uint64_t position,
                                                       const void *item, size_t length)
{
    shki_copy(slot->bytes, item, length);
    commit_slot(slot, position, length);
}

/* The same of one who has waited for an item, and may have another one waiting for this. */
static inline __attribute__((always_inline)) void demote_slot(struct shki_member *m,
                                                              const struct shki_slot *slot)
{
    if (unlikely(m->has_waited)) {
        shki_demote_line(slot);
        m->has_waited = false;
    }
}

static inline void move_tail(struct shki_queue_shared *shared, uint64_t tail)
{
    store_release(&shared->tail, tail);
}

static void put(struct shk_queue *q, unsigned n, int64_t priority)
{
    (void)priority;
    move_tail(q->shared, load_relaxed(&q->shared->tail) + n);
}

/* The same for a consumer that is at `head` and knows of nothing more. */
static __attribute__((noinline)) void look_at_tail(struct shk_queue *q, uint64_t head)
{
    struct shki_side_lock *lock = &q->shared->get_lock;
    bool pause = is_too_close(q, &q->get_slip);
    uint64_t tail;

    if (pause)
        back_off(q);
    /* Q1: of a queue that grows: the slots up to it have been written */
    tail = load_acquire(&q->shared->tail);
    lock->cached_tail = (int64_t)(tail - head) > 0 ? tail : head; /* it may be late */
    learn(q, &q->get_slip, pause, lock->cached_tail - head);
    shki_note_fill(q->shared, lock->cached_tail - head);
}

/*
 * In a ring the slot itself says whether there is an item. The tail is only looked at to know how
 * far the producers are ahead; not, however, for each item when it is known that they hardly are:
 * that would be the line that the word in the slot spares.
 */
static __attribute__((noinline)) void check_distance(struct shk_queue *q, uint64_t head)
{
    struct shki_slip *slip = &q->get_slip;

    if (slip->close < CLOSE_ENOUGH || is_too_close(q, slip))
        look_at_tail(q, head);
    else
        slip->close++;
}

/*
 * A later item that is known to be there and whose lines are to be fetched now, or NULL. `more`: so
 * many items are there.
 */
static inline __attribute__((always_inline)) const unsigned char *
item_to_fetch(const struct shk_queue *q, uint64_t head, int64_t more)
{
    if ((head & q->share_mask) != 0 || more <= (int64_t)q->get_ahead)
        return NULL;
    return (const unsigned char *)slot_at(q, q->slots, head + q->get_ahead);
}

static inline __attribute__((always_inline)) void fetch_item(const struct shk_queue *q,
                                                             uint64_t head, int64_t more)
{
    const unsigned char *at = item_to_fetch(q, head, more);

    for (uint64_t i = 0; at && i < q->fetch; i += SHKI_LINE)
        __builtin_prefetch(at + i);
}

static inline __attribute__((always_inline)) int ring_item(struct shk_queue *q,
                                                           const struct shki_side_lock *lock,
                                                           uint64_t head, struct shki_slot **slot,
                                                           uint64_t *word)
{
    int64_t more = (int64_t)(lock->cached_tail - head);

    if (unlikely(more <= 0))
        check_distance(q, head);
    else
        fetch_item(q, head, more);
    *slot = slot_at(q, q->slots, head);
    *word = load_acquire(&(*slot)->word); /* Q1 */
    return shki_slot_has(*word, head);
}

static int item(struct shk_queue *q, unsigned i, struct shki_slot **slot)
{
    /* ours: the lock orders it */
    uint64_t head = load_relaxed(&q->shared->head) + i, word;

    return ring_item(q, &q->shared->get_lock, head, slot, &word);
}

static inline void move_head(struct shki_queue_shared *shared, uint64_t head)
{
    /*
     * Q2: commits; pairs with the acquire of head in put. Killed before: the items are still in.
     * Killed after: they are out.
     */
    store_release(&shared->head, head);
}

static void take(struct shk_queue *q, unsigned n)
{
    move_head(q->shared, load_relaxed(&q->shared->head) + n);
}

const struct shki_order shki_fifo = {
    .batch = UINT32_MAX, .room = room, .item = item, .put = put, .take = take};

static int put_now(struct shk_queue *q, struct shki_member *m, struct shki_work *w)
{
    struct shki_slot *slot;
    uint64_t tail, free;
    unsigned n = w->n;
    int r;

    (void)m;
    if (q->grows)
        return shki_flow_put_now(q, w);
    tail = load_relaxed(&q->shared->tail); /* ours */
    r = shki_may_put(q);
    if (r == 0)
        r = ring_room(q, &q->shared->put_lock, tail, &slot);
    if (r <= 0)
        return r;
    free = q->capacity - (tail - q->shared->put_lock.cached_head);
    if (n > free) { /* as far as it knows */
        look_at_head(q, tail);
        free = q->capacity - (tail - q->shared->put_lock.cached_head);
    }
    if (n > free)
        n = (unsigned)free;
    /*
     * The first one last: nobody looks beyond it. Killed before: the others have words already,
     * which the next new owner takes back; it knows by batch_items how many there may be. For the
     * new owner of a dead thread the order of the program is enough.
     */
    if (n > 1)
        q->shared->put_lock.batch_items = n;
    atomic_signal_fence(memory_order_seq_cst);
    for (unsigned i = n; i-- > 0;)
        fill(slot_at(q, q->slots, tail + i), tail + i, w->items[i].iov_base, w->items[i].iov_len);
    put(q, n, 0);
    atomic_signal_fence(memory_order_seq_cst);
    if (n > 1)
        q->shared->put_lock.batch_items = 0;
    return (int)n;
}

static int get_now(struct shk_queue *q, struct shki_member *m, struct shki_work *w)
{
    struct shki_slot *slot;
    uint64_t head, word;
    unsigned n = 0;
    int r;

    if (q->grows)
        return shki_flow_get_now(q, m, w);
    r = shki_next_item(q, &shki_fifo, &slot);
    if (r <= 0)
        return r;
    head = load_relaxed(&q->shared->head); /* ours */
    for (; n < w->n && r > 0; n += r > 0) {
        slot = slot_at(q, q->slots, head + n);
        word = load_acquire(&slot->word); /* Q1 */
        r = shki_slot_has(word, head + n)
                ? shki_read_slot(q, slot, word, w->buffers[n].iov_base, &w->buffers[n].iov_len)
                : 0;
    }
    if (n == 0)
        return r;
    shki_count_tasks(q, m, n);
    take(q, n);
    return (int)n;
}

#define POLLS_MAX 64u /* looks */
#define SAMPLE    64u /* gets */
#define PARTS     16u /* of a pause: `expected` is counted in them */
/*
 * pauses: the first guess is one look's, which may have been disturbed, and it is sooner too short
 * than too long
 */
#define GUESS_MAX 16u
/* parts more after a look too early, one less after one that was not: two in three are not */
#define TOO_EARLY 2u

static uint32_t poll_estimate(const struct shk_queue *q)
{
    return load_relaxed(&q->poll.estimate);
}

/*
 * Outside the lock, loads only: how many looks until the next item was there; POLLS_MAX: it is not.
 */
static __attribute__((noinline)) unsigned poll(const struct shk_queue *q, unsigned pauses)
{
    /* whose else it may be is for the lock to find out */
    uint64_t head = load_relaxed(&q->shared->head);
    unsigned looks = 0;

    while (pauses-- > 0)
        shki_pause();
    while (looks < POLLS_MAX && !shki_slot_has(word_at(q, head), head)) {
        shki_pause();
        looks++;
    }
    return looks;
}

/*
 * One item, whoever has the lock and whatever is known, each in one function, with what it needs of
 * the queue in hand.
 */

int shki_ring_put(struct shk_queue *q, struct shki_member *m, const void *item, size_t length,
                  int64_t timeout)
{
    struct shki_queue_shared *shared = q->shared;
    struct shki_side_lock *lock = &shared->put_lock;
    struct shki_slot *slot;
    uint64_t tail;
    bool bias_owner;
    int r;

    if (unlikely(shki_segment_is_closed(q->object.segment)))
        return shki_stale(&q->object);
    r = shki_side_trylock(q, m, lock, &bias_owner);
    /* also what is wrong: it may be something else that comes first */
    if (unlikely(r != 0))
        return shki_queue_put_slowly(q, item, length, 0, timeout);
    r = shki_may_put(q);
    if (likely(r == 0)) {
        tail = load_relaxed(&shared->tail); /* ours */
        r = ring_room(q, lock, tail, &slot);
        if (likely(r > 0)) {
            fill(slot, tail, item, length);
            demote_slot(m, slot);
            move_tail(shared, tail + 1);
        }
    }
    shki_side_unlock(q, m, lock, bias_owner);
    if (likely(r > 0 || r == -EPIPE))
        shki_notify_other(q, true);
    if (unlikely(r == 0))
        return shki_queue_put_slowly(q, item, length, 0, timeout);
    return r < 0 ? r : 0;
}

static inline __attribute__((always_inline)) int
get_at_once(struct shk_queue *q, struct shki_member *m, void *buffer, size_t *length)
{
    struct shki_queue_shared *shared = q->shared;
    struct shki_side_lock *lock = &shared->get_lock;
    struct shki_slot *slot;
    uint64_t head, word;
    bool bias_owner;
    int r = shki_side_trylock(q, m, lock, &bias_owner);

    if (unlikely(r != 0))
        return r < 0 ? r : 0;
    head = load_relaxed(&shared->head); /* ours */
    r = ring_item(q, lock, head, &slot, &word);
    if (likely(r > 0))
        r = shki_read_slot(q, slot, word, buffer, length);
    if (likely(r > 0)) {
        shki_count_tasks(q, m, 1);
        move_head(shared, head + 1);
    }
    shki_side_unlock(q, m, lock, bias_owner);
    if (likely(r > 0))
        shki_notify_other(q, false);
    return r;
}

/* The same as a call, where most often it is not needed. */
static __attribute__((noinline)) int try_get(struct shk_queue *q, struct shki_member *m,
                                             void *buffer, size_t *length)
{
    return get_at_once(q, m, buffer, length);
}

/*
 * The usual way, which most calls go: the caller is the bias_owner of the lock, and there is room
 * or an item as far as is known. Its stores are those of the other ways, in the same order, and so
 * is what a kill between them leaves. It calls nothing but at its end, so that no register has to
 * be saved: most of what a small item costs is instructions. Whatever is not as usual is left to
 * the other ways, which begin from the beginning: nothing has been done.
 */

static inline __attribute__((always_inline)) bool biased_enter_fast(const struct shk_queue *q,
                                                                    const struct shki_member *m,
                                                                    struct shki_side_lock *lock)
{
    if (unlikely(shki_segment_is_closed(m->segment)))
        return false;
    return shki_biased_enter_fast(m, &lock->bias, shki_side_offset(q, lock)) &&
           !shki_is_stale(m->segment, q->object.entry, q->object.serial);
}

/*
 * With the lock: 1: the item at `head` has been taken; 0: there is none; -1: it takes a call. Then
 * it is the caller who leaves.
 */
static inline __attribute__((always_inline)) int take_usually(struct shk_queue *q,
                                                              struct shki_member *m, uint64_t head,
                                                              void *buffer, size_t *length)
{
    const struct shki_slot *slot = slot_at(q, q->slots, head);
    uint64_t word = load_acquire(&slot->word); /* Q1 */
    struct shki_task *task;
    size_t size = shki_slot_length(word);

    if (unlikely(!shki_slot_has(word, head)))
        return 0;
    task = &q->tasks[m->index];
    if (unlikely(!shki_is_small(size) || size >= q->usual_below || size > *length ||
                 !shki_task_is_of(task, m)))
        return -1;
    shki_copy_small(buffer, slot->bytes, size);
    *length = size;
    shki_task_count(task, 1);
    move_head(q->shared, head + 1);
    shki_biased_leave(m);
    return 1;
}

/* An item that has just been seen. */
static inline __attribute__((always_inline)) int
get_seen(struct shk_queue *q, struct shki_member *m, void *buffer, size_t *length)
{
    if (q->usual_below == 0)
        return try_get(q, m, buffer, length);
    if (unlikely(!biased_enter_fast(q, m, &q->shared->get_lock) ||
                 take_usually(q, m, load_relaxed(&q->shared->head), buffer, length) <= 0)) {
        shki_biased_leave(m);
        return try_get(q, m, buffer, length);
    }
    shki_notify_other(q, false);
    return 1;
}

/*
 * The whole of a get where an item comes soon, most often, as an answer does: it is awaited without
 * the long way to sleep and back, which is gone only if it does not come.
 *
 * Each look takes the line from the producer, just when it is going to write to it. So who has had
 * to wait each time does not look before the item should have come. How many pauses that is, is
 * found by trying: the fewest with which the first look is most often the last. One get in SAMPLE
 * looks at once, to find out whether there is anything to wait for.
 */
static __attribute__((noinline)) ssize_t hybrid_poll(struct shk_queue *q, struct shki_member *m,
                                                     void *buffer, size_t size, int64_t timeout,
                                                     bool has_looked)
{
    uint32_t waits = load_relaxed(&q->get_adaptive.waits) + 1, parts = poll_estimate(q);
    /* now and then the long way, if it has to wait, which sees to it that others get their turn */
    bool long_way = waits % SHKI_LOOK_AT_CLOCK == 0,
         at_once = has_looked || long_way || waits % SAMPLE == 1;
    size_t length = size;
    unsigned looks;
    int r = at_once && !has_looked ? try_get(q, m, buffer, &length) : 0;

    if (r > 0 || !long_way)
        store_relaxed(&q->get_adaptive.waits, waits);
    if (r > 0 && !long_way)
        store_relaxed(&q->poll.estimate, parts / 2);
    if (r == 0 && !long_way) {
        looks = poll(q, at_once ? 0 : parts / PARTS);
        r = looks < POLLS_MAX ? get_seen(q, m, buffer, &length) : 0;
        if (r <= 0)
            parts = 0;
        else if (parts == 0)
            parts = (looks < GUESS_MAX ? looks : GUESS_MAX) * PARTS;
        else if (!at_once)
            parts = looks == 0 ? parts - 1 : parts < POLLS_MAX * PARTS ? parts + TOO_EARLY : parts;
        store_relaxed(&q->poll.estimate, parts);
        m->has_waited = r > 0;
    }
    if (unlikely(r == 0))
        return shki_queue_get_slowly(q, buffer, size, timeout);
    return r < 0 ? r : (ssize_t)length;
}

ssize_t shki_ring_get(struct shk_queue *q, struct shki_member *m, void *buffer, size_t size,
                      int64_t timeout)
{
    size_t length = size;
    int r;

    if (unlikely(shki_object_is_stale(&q->object) || shki_segment_is_closed(q->object.segment)))
        return shki_stale(&q->object);
    if (unlikely(poll_estimate(q) > 0) && timeout > 0)
        return hybrid_poll(q, m, buffer, size, timeout, false);
    r = get_at_once(q, m, buffer, &length);
    if (unlikely(r == 0)) {
        if (timeout > 0 && load_relaxed(&q->not_empty_spinner.hit))
            return hybrid_poll(q, m, buffer, size, timeout, true);
        return shki_queue_get_slowly(q, buffer, size, timeout);
    }
    return r < 0 ? r : (ssize_t)length;
}

static __attribute__((noinline, cold)) int put_otherwise(struct shk_queue *q, struct shki_member *m,
                                                         const void *item, size_t length,
                                                         int64_t timeout)
{
    shki_biased_leave(m);
    return shki_queue_put_anyhow(q, item, length, 0, timeout);
}

static __attribute__((noinline, cold)) ssize_t get_otherwise(struct shk_queue *q,
                                                             struct shki_member *m, void *buffer,
                                                             size_t size, int64_t timeout)
{
    shki_biased_leave(m);
    return shki_queue_get_anyhow(q, buffer, size, timeout);
}

static __attribute__((noinline)) int wake_consumers(struct shk_queue *q)
{
    shki_notify_other(q, true);
    return 0;
}

static __attribute__((noinline)) ssize_t wake_producers(struct shk_queue *q, size_t length)
{
    shki_notify_other(q, false);
    return (ssize_t)length;
}

static __attribute__((noinline)) int put_inside(struct shk_queue *q, struct shki_member *m,
                                                const void *item, size_t length)
{
    uint64_t tail = load_relaxed(&q->shared->tail);
    struct shki_slot *slot = slot_at(q, q->slots, tail);

    fill(slot, tail, item, length);
    demote_slot(m, slot);
    move_tail(q->shared, tail + 1);
    shki_biased_leave(m);
    return wake_consumers(q);
}

static __attribute__((noinline)) ssize_t get_inside(struct shk_queue *q, struct shki_member *m,
                                                    void *buffer, size_t length)
{
    uint64_t head = load_relaxed(&q->shared->head);
    const struct shki_slot *slot = slot_at(q, q->slots, head);
    int r;

    fetch_item(q, head, (int64_t)(q->shared->get_lock.cached_tail - head));
    r = shki_read_slot(q, slot, word_at(q, head), buffer, &length);
    if (r > 0) {
        shki_count_tasks(q, m, 1);
        move_head(q->shared, head + 1);
    }
    shki_biased_leave(m);
    return r > 0 ? wake_producers(q, length) : r;
}

int shk_queue_put(struct shk_queue *q, const void *item, size_t len, int64_t timeout)
{
    struct shki_member *m = q ? shki_member_cached(q->object.segment) : NULL;
    struct shki_queue_shared *shared;
    struct shki_slot *slot;
    uint64_t tail, used;

    if (unlikely(!m || !item || len >= q->usual_below))
        return shki_queue_put_anyhow(q, item, len, 0, timeout);
    shared = q->shared;
    if (unlikely(!biased_enter_fast(q, m, &shared->put_lock)))
        return put_otherwise(q, m, item, len, timeout);
    tail = load_relaxed(&shared->tail); /* ours */
    used = tail - shared->put_lock.cached_head;
    if (unlikely(used >= q->capacity || shki_shut_down(q) != SHKI_OPEN))
        return put_otherwise(q, m, item, len, timeout);
    fetch_slot(q, tail, used);
    if (unlikely(!shki_is_small(len)))
        return put_inside(q, m, item, len);
    slot = slot_at(q, q->slots, tail);
    shki_copy_small(slot->bytes, item, len);
    commit_slot(slot, tail, len);
    demote_slot(m, slot);
    move_tail(shared, tail + 1);
    shki_biased_leave(m);
    if (shki_eventcount_has_waiter(&shared->not_empty, true))
        return wake_consumers(q);
    return 0;
}

ssize_t shk_queue_get(struct shk_queue *q, void *buf, size_t size, int64_t timeout)
{
    struct shki_member *m = q ? shki_member_cached(q->object.segment) : NULL;
    struct shki_queue_shared *shared;
    const unsigned char *later;
    size_t length = size;
    uint64_t head;
    int64_t more;
    int r;

    if (unlikely(!m || !buf || q->usual_below == 0))
        return shki_queue_get_anyhow(q, buf, size, timeout);
    if (unlikely(poll_estimate(q) != 0) && timeout > 0 && !shki_object_is_stale(&q->object) &&
        !shki_segment_is_closed(m->segment))
        return hybrid_poll(q, m, buf, size, timeout, false);
    shared = q->shared;
    if (unlikely(!biased_enter_fast(q, m, &shared->get_lock)))
        return get_otherwise(q, m, buf, size, timeout);
    head = load_relaxed(&shared->head); /* ours */
    more = (int64_t)(shared->get_lock.cached_tail - head);
    if (unlikely(more <= 0))
        return get_otherwise(q, m, buf, size, timeout);
    later = item_to_fetch(q, head, more);
    if (later) { /* of a small item this is all */
        __builtin_prefetch(later);
        __builtin_prefetch(later + SHKI_LINE);
    }
    r = take_usually(q, m, head, buf, &length);
    if (unlikely(r == 0))
        return get_otherwise(q, m, buf, size, timeout);
    if (unlikely(r < 0))
        return get_inside(q, m, buf, size);
    if (shki_eventcount_has_waiter(&shared->not_full, true))
        return wake_producers(q, length);
    return (ssize_t)length;
}

int shki_fifo_put(struct shk_queue *q, struct shki_member *m, struct shki_work *w, int64_t timeout)
{
    int r = shki_try_at_once(q, m, &q->shared->put_lock, true, put_now, w);
    struct shki_call c;

    if (likely(r != 0))
        return r;
    c = shki_put_call(q, m, timeout);
    return shki_carry_out(&c, put_now, w);
}

int shki_fifo_get(struct shk_queue *q, struct shki_member *m, struct shki_work *w, int64_t timeout)
{
    int r = shki_try_at_once(q, m, &q->shared->get_lock, false, get_now, w);
    struct shki_call c;

    if (likely(r != 0))
        return r;
    c = shki_get_call(q, m, timeout);
    return shki_carry_out(&c, get_now, w);
}
