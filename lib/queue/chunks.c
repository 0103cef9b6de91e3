/*
 * FIFO that grows: a log of records, each as long as its item, in chunks that are numbered without
 * end.
 *
 *      get_places                                           put_places
 *         v                                                    v
 *   chunk 7 | word item | word item | word item | skip |  chunk 8 | word item | word item | free …
 *
 * A record is a word with the item's length + 1, and the item. It begins at a multiple of 8 bytes
 * and lies in one chunk, or is longer than a chunk and begins a run (chunk_list.h). Where the rest
 * of a chunk is too short for the next record, a word SKIP says which chunk that record begins.
 *
 * Source: the two-lock queue of Michael and Scott (PODC 1996), with a log in place of a list.
 *
 * What always holds: one store commits an operation. The tail, a count, commits a put (CH1), the
 * head a get (CH2). Which byte goes with a count, and how many bytes have been moved, is in the
 * side's two places: see place.h. So there is nothing to repair in the records.
 *
 *     producer, with the put lock                 consumer, with the get lock
 *     full? CH2: cached_head = head; BY1: bytes
 *     write records behind the place              CH1: cached_tail = tail, if no more is known
 *     the other place = where they end            copy records out
 *     CH1: tail += n                              the other place = where they end
 *                                                 CH2: head += n
 *
 * CH1 and CH2 are releases, and their loads acquires: what a count covers has been written, or
 * read. The place after the count would leave, after a kill between them, a count without a place.
 *
 * Which chunks there are, and their memory: log.h.
 */
#include "queue/chunk_list.h"
#include "queue/log.h"
#include "queue/place.h"
#include "queue/lease_records.h"
#include "queue/side.h"
#include "queue/state.h"

static uint64_t offset_of(const struct shk_queue *q, uint64_t at)
{
    return at & q->chunk_mask;
}

static uint64_t record_size(size_t length)
{
    return shki_round_up(sizeof(struct shki_slot) + length, 8);
}

/* ---- Places ---- */

/* The byte at a place, by way of the side's own note of the chunk where it was last. */
static inline int reach(struct shk_queue *q, struct shki_chunk *known, uint64_t at,
                        struct shki_slot **slot)
{
    uint64_t chunk = at >> q->shift;

    if (unlikely(known->number != chunk + 1)) {
        known->at = shki_list_has(q, shki_log_of(q), chunk)
                        ? shki_list_find(q, shki_log_of(q), chunk)
                        : NULL;
        if (known->at == NULL) {
            known->number = 0;
            return shki_damaged_place(q);
        }
        known->number = chunk + 1;
    }
    *slot = (struct shki_slot *)(void *)(known->at + offset_of(q, at));
    return 1;
}

/* ---- Chunks ---- */

/* With the put lock: memory for what begins at `at`. */
static inline int have_memory(struct shk_queue *q, uint64_t at, uint64_t size)
{
    const struct shki_places *places = &q->shared->put_places;

    return likely(at + size <= places->memory_to && at >= places->memory_from)
               ? 0
               : shki_log_need_memory(q, at, at + size);
}

static inline void clean_up(struct shk_queue *q, uint64_t at)
{
    if (unlikely(at >> q->shift > load_relaxed(&q->shared->get_lock.chunks)))
        shki_log_give_back(q, at);
}

/* ---- Putting ---- */

/*
 * Where a run of n chunks begins: among those from `from` on, which are mapped and unused, since a
 * reservation was given up or used in part; or it is the next to be mapped. The same until a
 * commit: the last run counts, which is the one that has been mapped for the reservation. The first
 * one could begin earlier than that, where the new blocks follow those of unused chunks.
 */
static uint64_t find_run(const struct shk_queue *q, uint64_t from, uint64_t mapped, uint64_t n)
{
    uint64_t end = mapped;

    while (end - from >= n) {
        uint64_t run = shki_list_run(q, shki_log_of(q), end - n, n);

        if (run == n)
            return end - n;
        end -= n - run; /* no run goes over that break */
    }
    return mapped;
}

/* The record does not fit into the rest of the chunk: where it begins. */
static __attribute__((noinline)) int skip(struct shk_queue *q, uint64_t *at, uint64_t size)
{
    uint64_t chunk = *at >> q->shift, to = chunk + (offset_of(q, *at) > 0);
    uint64_t mapped = shki_log_mapped(load_relaxed(&q->shared->put_lock.chunks));
    uint64_t n = (size + q->chunk_mask) >> q->shift;
    struct shki_slot *slot;
    int r;

    if (mapped < to || mapped - to > q->chunks)
        return shki_damaged_place(q);
    if (n > 1)
        to = find_run(q, to, mapped, n);
    if (to > chunk) {
        r = have_memory(q, *at, sizeof(slot->word));
        if (r == 0)
            r = reach(q, &q->put_chunk, *at, &slot);
        if (r < 0)
            return r;
        store_relaxed(&slot->word, SHKI_SKIP + (to - chunk)); /* CH1 publishes it */
    }
    *at = to << q->shift;
    return 0;
}

/*
 * Room for a record at or behind *at, where it then is: 1 or an error. Killed in here: nothing has
 * happened.
 */
static inline int make_room(struct shk_queue *q, uint64_t *at, size_t length,
                            struct shki_slot **slot)
{
    uint64_t size = record_size(length), mapped;
    int r = 0;

    if (unlikely(q->chunk_mask + 1 - offset_of(q, *at) < size)) {
        r = skip(q, at, size);
        if (r < 0)
            return r;
    }
    mapped = shki_log_mapped(load_relaxed(&q->shared->put_lock.chunks));
    if (unlikely(*at >> q->shift >= mapped))
        r = *at >> q->shift == mapped
                ? shki_log_map(q, (uint32_t)((size + q->chunk_mask) >> q->shift))
                : shki_damaged_place(q);
    if (r > 0) /* it may have been used in part */
        r = shki_log_give_memory(q, *at, *at + q->chunk_mask + 1);
    if (r == 0)
        r = have_memory(q, *at, size);
    return r < 0 ? r : reach(q, &q->put_chunk, *at, slot);
}

static inline uint64_t tail_of(const struct shk_queue *q)
{
    /* ours: the lock orders it */
    return load_relaxed(&q->shared->tail);
}

/*
 * With the put lock: whether the queue is full that has had `tail` items and so many bytes. The
 * consumers' counts are read only if the late copies say so: then their lines are fetched.
 */
static __attribute__((noinline)) bool is_full_slow(struct shk_queue *q, uint64_t tail,
                                                   uint64_t bytes)
{
    struct shki_side_lock *lock = &q->shared->put_lock;
    struct shki_places *places = &q->shared->put_places;
    uint64_t taken;

    if (!shki_is_full(q, tail - lock->cached_head, bytes - places->cached_bytes))
        return false;
    /* CH2: acquire; pairs with the release in commit_gets(): the bytes of that count, or later. */
    lock->cached_head = load_acquire(&q->shared->head);
    /* Busy: consumers are at it, and the copy is late: the put is tried again. */
    if (shki_place_bytes(&q->shared->get_places, &q->shared->head, 0, &taken))
        places->cached_bytes = taken - shki_leases_bytes(q);
    /* What is leased counts as not taken. LS2: the bits after the head. */
    lock->cached_head -= shki_leases_out(q);
    return shki_is_full(q, tail - lock->cached_head, bytes - places->cached_bytes);
}

static inline bool is_full(struct shk_queue *q, uint64_t tail, uint64_t bytes)
{
    return unlikely(q->limited) && is_full_slow(q, tail, bytes);
}

/* n records have been written, the last of which ends at `at`; `bytes`: of all that were put. */
static inline void commit_puts(struct shk_queue *q, unsigned n, uint64_t at, uint64_t bytes)
{
    uint64_t tail = tail_of(q);

    shki_place_set(&q->shared->put_places, tail, tail + n, at, bytes);
    /*
     * CH1: release: commits; pairs with the acquire in known_items(). Killed before: nothing was
     * put. Killed after: the items are in.
     */
    store_release(&q->shared->tail, tail + n);
}

static int put(struct shk_queue *q, struct shki_member *m, struct shki_work *w)
{
    uint64_t at, bytes, tail = tail_of(q);
    const struct shki_place *place;
    struct shki_slot *slot = NULL;
    unsigned n = 0;
    int r = shki_may_put(q);

    (void)m;
    if (r < 0)
        return r;
    place = shki_place_find(&q->shared->put_places, tail);
    if (place == NULL)
        return shki_damaged_place(q);
    bytes = load_relaxed(&place->bytes);
    for (at = place->at; n < w->n && !is_full(q, tail + n, bytes); n++) {
        uint64_t to = at;

        r = make_room(q, &to, w->items[n].iov_len, &slot);
        if (r < 0)
            break;
        shki_fill_slot(slot, w->items[n].iov_base, w->items[n].iov_len);
        at = to + record_size(w->items[n].iov_len);
        bytes += w->items[n].iov_len;
    }
    if (n == 0)
        return r;
    commit_puts(q, n, at, bytes);
    return (int)n;
}

static int room(struct shk_queue *q, size_t length, struct shki_slot **slot)
{
    const struct shki_place *place = shki_place_find(&q->shared->put_places, tail_of(q));

    if (place == NULL || length > q->item_size)
        return shki_damaged_place(q);
    if (is_full(q, tail_of(q), load_relaxed(&place->bytes)))
        return 0;
    q->reserved_at = place->at;
    return make_room(q, &q->reserved_at, length, slot);
}

static void commit(struct shk_queue *q, struct shki_slot *slot, size_t length)
{
    store_relaxed(&slot->word, shki_slot_word(0, length)); /* CH1 publishes it */
    commit_puts(q, 1, q->reserved_at + record_size(length),
                shki_place_own_bytes(&q->shared->put_places, tail_of(q)) + length);
}

/* ---- Getting ---- */

static inline uint64_t head_of(const struct shk_queue *q)
{
    /* ours: the lock orders it */
    return load_relaxed(&q->shared->head);
}

/* How many items there are, as far as is known; if fewer than are wanted, read the tail. */
static uint64_t known_items(struct shk_queue *q, uint64_t head, uint64_t wanted)
{
    struct shki_side_lock *lock = &q->shared->get_lock;
    uint64_t tail;

    if ((int64_t)(lock->cached_tail - head) < (int64_t)wanted) {
        /* CH1: acquire; pairs with the release in commit_puts(): the records have been written. */
        tail = load_acquire(&q->shared->tail);
        lock->cached_tail = (int64_t)(tail - head) > 0 ? tail : head;
        shki_note_fill(q->shared, lock->cached_tail - head);
    }
    return lock->cached_tail - head;
}

/* Whether the bytes of a record that begins there are the segment's. */
static inline bool is_within(const struct shk_queue *q, uint64_t at, uint64_t size)
{
    if (likely(size <= q->chunk_mask + 1 - offset_of(q, at)))
        return true;
    /* a run, if nothing is damaged */
    return offset_of(q, at) == 0 &&
           size <= q->object.segment->size - (uint64_t)(q->get_chunk.at - q->object.segment->base);
}

/* The record at or behind *at, where it then is: 1 or an error. */
static inline int find_record(struct shk_queue *q, uint64_t *at, struct shki_slot **slot,
                              uint64_t *word)
{
    int r = reach(q, &q->get_chunk, *at, slot);

    if (unlikely(r < 0))
        return r;
    *word = load_relaxed(&(*slot)->word);
    if (unlikely(*word >> 32 == SHKI_SKIP >> 32)) {
        *at = ((*at >> q->shift) + (uint32_t)*word) << q->shift;
        r = reach(q, &q->get_chunk, *at, slot);
        if (r < 0)
            return r;
        *word = load_relaxed(&(*slot)->word);
    }
    if (unlikely(*word >> 32 != 0 || shki_slot_length(*word) > q->item_size ||
                 !is_within(q, *at, record_size(shki_slot_length(*word)))))
        return shki_damaged_item(q, shki_slot_length(*word));
    return 1;
}

/* n records have been read, the last of which ends at `at`; `bytes`: of all that were taken. */
static inline void commit_gets(struct shk_queue *q, unsigned n, uint64_t at, uint64_t bytes)
{
    uint64_t head = head_of(q);

    shki_place_set(&q->shared->get_places, head, head + n, at, bytes);
    /*
     * CH2: release: commits; pairs with the acquire in counts(). Killed before: the items are still
     * in. Killed after: they are out.
     */
    store_release(&q->shared->head, head + n);
    clean_up(q, at);
}

/* Whether there is an item, and how many of those wanted: 1; 0; or an error. */
static int check(struct shk_queue *q, uint64_t head, uint64_t wanted)
{
    if (shki_object_is_stale(&q->object))
        return shki_stale(&q->object);
    if (known_items(q, head, wanted) > 0)
        return 1;
    if (!shki_queue_is_over(q))
        return 0;
    /* Once it is over nothing more comes, so a second check is the last word. */
    return known_items(q, head, 1) > 0 ? 1 : shki_say_drained(q);
}

static int get(struct shk_queue *q, struct shki_member *m, struct shki_work *w)
{
    uint64_t head = head_of(q), at, known, word, bytes;
    const struct shki_place *place;
    struct shki_slot *slot = NULL;
    unsigned n = 0;
    int r = check(q, head, w->n);

    if (r <= 0)
        return r;
    place = shki_place_find(&q->shared->get_places, head);
    if (place == NULL)
        return shki_damaged_place(q);
    clean_up(q, place->at); /* what a killed consumer has left */
    known = q->shared->get_lock.cached_tail - head;
    bytes = load_relaxed(&place->bytes);
    for (at = place->at; n < w->n && n < known; n++) {
        uint64_t from = at;

        r = find_record(q, &from, &slot, &word);
        if (r > 0)
            r = shki_read_slot(q, slot, word, w->buffers[n].iov_base, &w->buffers[n].iov_len);
        if (r < 0)
            break;
        at = from + record_size(shki_slot_length(word));
        bytes += shki_slot_length(word);
    }
    if (n == 0)
        return r;
    shki_count_tasks(q, m, n);
    commit_gets(q, n, at, bytes);
    return (int)n;
}

static int item(struct shk_queue *q, struct shki_slot **slot)
{
    uint64_t head = head_of(q), at, word;
    const struct shki_place *place;

    if (known_items(q, head, 1) == 0)
        return 0;
    place = shki_place_find(&q->shared->get_places, head);
    if (place == NULL)
        return shki_damaged_place(q);
    clean_up(q, place->at);
    at = place->at;
    return find_record(q, &at, slot, &word);
}

static void consume(struct shk_queue *q)
{
    const struct shki_place *place = shki_place_find(&q->shared->get_places, head_of(q));
    struct shki_slot *slot;
    uint64_t at, word;

    if (place == NULL)
        return;
    at = place->at;
    if (find_record(q, &at, &slot, &word) > 0)
        commit_gets(q, 1, at + record_size(shki_slot_length(word)),
                    load_relaxed(&place->bytes) + shki_slot_length(word));
}

/* ---- Loads only ---- */

static struct shki_counts counts(const struct shk_queue *q)
{
    /* CH2: acquire, head first; and the counts of tasks that were raised before it */
    uint64_t head = load_acquire(&q->shared->head);
    uint64_t tail = load_acquire(&q->shared->tail); /* CH1 */

    return (struct shki_counts){tail, tail - head};
}

static bool has_item(const struct shk_queue *q)
{
    return (int64_t)counts(q).items > 0;
}

/* How many bytes are in the queue: taken first, as in counts(). Busy: 0, worth another try. */
static uint64_t bytes_in(const struct shk_queue *q)
{
    const struct shki_queue_shared *shared = q->shared;
    uint64_t taken, put;

    return shki_place_bytes(&shared->get_places, &shared->head, 0, &taken) &&
                   shki_place_bytes(&shared->put_places, &shared->tail, 0, &put)
               ? put - taken
               : 0;
}

static bool has_room(const struct shk_queue *q)
{
    uint64_t items, bytes;

    if (!q->limited)
        return true;
    items = counts(q).items; /* LS2: before the leases */
    bytes = q->capacity_bytes ? bytes_in(q) + shki_leases_bytes(q) : 0;
    return !shki_is_full(q, items + shki_leases_out(q), bytes);
}

static int try_put(struct shk_queue *q, struct shki_member *m, const void *item_, size_t length,
                   int64_t priority)
{
    (void)priority;
    return shki_side_try_put(q, m, put, item_, length);
}

static int try_get(struct shk_queue *q, struct shki_member *m, void *buffer, size_t *length)
{
    return shki_side_try_get(q, m, get, buffer, length);
}

/* Nothing: see place.h. */
static void repair(struct shk_queue *q, const struct shki_side_lock *lock)
{
    (void)q;
    (void)lock;
}

const struct shki_order shki_chunks = {.put = put,
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
