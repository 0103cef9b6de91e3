/*
 * FIFO without a limit: a log of records, each as long as its item, in chunks that are numbered
 * without end.
 *
 *      get side's place                                     put side's place
 *         v                                                    v
 *   chunk 7 | word item | word item | word item | skip |  chunk 8 | word item | word item | free …
 *
 * A record is a word with the item's length + 1, and the item. It begins at a multiple of 8 bytes
 * and lies in one chunk. Where the rest of a chunk is too short for the next record, a word SKIP
 * says that the record begins the next chunk.
 *
 * Source: the two-lock queue of Michael and Scott (PODC 1996), with a log in place of a list.
 *
 * What always holds: one store commits an operation. The tail, a count, commits a put (CH1), the
 * head a get (CH2). Which byte goes with a count is in the side's two places: see struct
 * shki_place. So there is nothing to repair in the records.
 *
 *     producer, with the put lock                 consumer, with the get lock
 *     write records behind the place              CH1: cached_tail = tail, if no more is known
 *     the other place = where they end            copy records out
 *     CH1: tail += n                              the other place = where they end
 *                                                 CH2: head += n
 *
 * CH1 and CH2 are releases, and their loads acquires: what a count covers has been written, or
 * read. The place after the count would leave, after a kill between them, a count without a place.
 *
 *     chunks    … | spare  spare | consumed … producers' | not mapped yet
 *                 recycled       released                mapped
 *
 * A producer maps the next chunk: it gives the oldest spare chunk's blocks the new chunk's number,
 * or takes blocks from the pool. One store commits that (CH3: `mapped`, and how many there are from
 * `recycled` on, in one word). A consumer gives a chunk that has been consumed back to the pool,
 * or, if there are few spare ones, leaves it to the producers: then it is spare. CH4, `released`,
 * says that no consumer touches it any more: a release, which pairs with the acquire of the
 * producer that recycles it. So in a steady flow no memory is given back and taken all the time.
 *
 * Chunks of several blocks are for items of more than one. They get memory as far as they are
 * written, and lose it as far as they have been read.
 */
#include "queue/chunk_list.h"
#include "queue/side.h"
#include "queue/state.h"

#define SKIP (UINT64_C(1) << 32) /* no item's word has that half */
/* bytes of a large chunk that get, or lose, memory at a time */
#define PIECE (UINT64_C(64) << 10)

static SHKI_INLINE struct shki_list *log_of(const struct shk_queue *q)
{
    return &q->lists[0];
}

static uint64_t offset_of(const struct shk_queue *q, uint64_t at)
{
    return at & q->chunk_mask;
}

static uint64_t record_size(size_t length)
{
    return shki_round_up(sizeof(struct shki_slot) + length, 8);
}

/* ---- Places ---- */

/* With the side's lock: the place that goes with the side's count; NULL: damaged. */
static struct shki_place *find_place(struct shki_side *side, uint64_t number)
{
    return side->place[0].number == number   ? &side->place[0]
           : side->place[1].number == number ? &side->place[1]
                                             : NULL;
}

/* Before the count becomes `number`. */
static void set_place(struct shki_side *side, uint64_t before, uint64_t number, uint64_t at)
{
    struct shki_place *place = &side->place[side->place[0].number == before];

    place->at = at;
    place->number = number;
    /* killed here: the other one still counts. The order of the program is enough */
    atomic_signal_fence(memory_order_seq_cst);
}

/* The byte at a place, by way of the side's own note of the chunk where it was last. */
static inline int reach(struct shk_queue *q, struct shki_chunk *known, uint64_t at,
                        struct shki_slot **slot)
{
    uint64_t chunk = at >> q->shift;

    if (unlikely(known->number != chunk + 1)) {
        known->at = shki_list_has(q, log_of(q), chunk) ? shki_list_find(q, log_of(q), chunk) : NULL;
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

static uint64_t mapped_of(uint64_t memory)
{
    return memory >> SHKI_FRESH_BITS;
}

static uint64_t recycled_of(uint64_t memory)
{
    return mapped_of(memory) - (memory & SHKI_CHUNKS_MAX);
}

/* With the put lock: blocks for one more chunk, and memory if it is one block. */
static __attribute__((noinline)) int map_chunk(struct shk_queue *q)
{
    struct shki_queue_shared *shared = q->shared;
    /* ours: the lock orders it */
    uint64_t memory = load_relaxed(&shared->put_lock.chunks);
    uint64_t mapped = mapped_of(memory), recycled = recycled_of(memory);
    /*
     * CH4: acquire; pairs with the release in give_back(): no consumer touches the spare chunks any
     * more.
     */
    uint64_t released = load_acquire(&shared->get_lock.chunks);
    int r;

    if (released > mapped)
        return shki_damaged_place(q);
    r = shki_list_prepare(q, log_of(q), mapped);
    if (r < 0)
        return r;
    /* Those that are the pool's again; and one that a dead producer has renamed already. */
    while (recycled < released && !shki_list_has(q, log_of(q), recycled))
        recycled++;
    /*
     * killed up to CH3: the next member with the lock finds the blocks under the new number, or
     * where they were
     */
    if (recycled < released && !shki_list_has(q, log_of(q), mapped)) {
        r = shki_list_rename(q, log_of(q), recycled, mapped);
        recycled++;
    } else {
        r = shki_list_take(q, log_of(q), mapped);
    }
    if (r == 0 && log_of(q)->blocks == 1)
        r = shki_list_allocate(q, log_of(q), mapped << q->shift, (mapped + 1) << q->shift);
    if (r < 0)
        return r;
    /* CH3: release: commits. Killed after: the chunk is the next producer's. */
    store_release(&shared->put_lock.chunks,
                  (mapped + 1) << SHKI_FRESH_BITS | (mapped + 1 - recycled));
    return 0;
}

/* With the put lock, in a chunk of several blocks: memory up to there. */
static int need_memory(struct shk_queue *q, uint64_t at, uint64_t size)
{
    struct shki_side *side = &q->shared->put_side;
    uint64_t from = side->memory, begin = at - offset_of(q, at),
             to = shki_round_up(at + size, PIECE);
    int r;

    if (at + size <= from && from - begin <= q->chunk_mask + 1)
        return 0;
    if (from < begin || from - begin > q->chunk_mask + 1)
        from = begin;
    r = shki_list_allocate(q, log_of(q), from, to);
    if (r == 0)
        side->memory = to; /* killed before: given once more */
    return r;
}

/*
 * With the get lock: what lies before a place has been consumed. Killed anywhere in here: done once
 * more by the next member with the lock.
 */
static __attribute__((noinline)) void give_back(struct shk_queue *q, uint64_t at)
{
    struct shki_queue_shared *shared = q->shared;
    struct shki_side *side = &shared->get_side;
    /* ours: the lock orders it */
    uint64_t released = load_relaxed(&shared->get_lock.chunks);
    uint64_t upto = at >> q->shift, from, to;

    for (; released < upto && upto - released <= q->chunks; released++) {
        /* CH3, relaxed: it tells only about how many spare ones there are. */
        uint64_t recycled = recycled_of(load_relaxed(&shared->put_lock.chunks));

        if (log_of(q)->blocks > 1 || released - recycled >= q->spare)
            shki_list_give(q, log_of(q), released);
        /* CH4: release; pairs with the acquire in map_chunk() */
        store_release(&shared->get_lock.chunks, released + 1);
    }
    if (log_of(q)->blocks == 1)
        return;
    from = side->memory >> q->shift == upto ? side->memory : upto << q->shift;
    to = at / PIECE * PIECE;
    if (from < to) {
        shki_list_punch(q, log_of(q), from, to);
        side->memory = to; /* killed before: once more; no producer comes back there */
    }
}

static inline void clean_up(struct shk_queue *q, uint64_t at)
{
    if (unlikely(at >> q->shift > load_relaxed(&q->shared->get_lock.chunks)) ||
        (log_of(q)->blocks > 1 && at / PIECE * PIECE > q->shared->get_side.memory))
        give_back(q, at);
}

/* ---- Putting ---- */

/*
 * Room for a record at or behind *at, where it then is: 1 or an error. Killed in here: nothing has
 * happened.
 */
static inline int make_room(struct shk_queue *q, uint64_t *at, size_t length,
                            struct shki_slot **slot)
{
    uint64_t size = record_size(length), offset = offset_of(q, *at), mapped;
    int r;

    if (unlikely(q->chunk_mask + 1 - offset < size)) {
        r = log_of(q)->blocks > 1 ? need_memory(q, *at, sizeof(SKIP)) : 0;
        if (r == 0)
            r = reach(q, &q->put_chunk, *at, slot);
        if (r < 0)
            return r;
        store_relaxed(&(*slot)->word, SKIP); /* CH1 publishes it */
        *at += q->chunk_mask + 1 - offset;
    }
    mapped = mapped_of(load_relaxed(&q->shared->put_lock.chunks));
    if (unlikely(*at >> q->shift >= mapped)) {
        r = *at >> q->shift == mapped ? map_chunk(q) : shki_damaged_place(q);
        if (r < 0)
            return r;
    }
    if (log_of(q)->blocks > 1) {
        r = need_memory(q, *at, size);
        if (r < 0)
            return r;
    }
    return reach(q, &q->put_chunk, *at, slot);
}

static inline uint64_t tail_of(const struct shk_queue *q)
{
    /* ours: the lock orders it */
    return load_relaxed(&q->shared->tail);
}

/* n records have been written, the last of which ends at `at`. */
static inline void commit_puts(struct shk_queue *q, unsigned n, uint64_t at)
{
    uint64_t tail = tail_of(q);

    set_place(&q->shared->put_side, tail, tail + n, at);
    /*
     * CH1: release: commits; pairs with the acquire in known_items(). Killed before: nothing was
     * put. Killed after: the items are in.
     */
    store_release(&q->shared->tail, tail + n);
}

static int put(struct shk_queue *q, struct shki_member *m, struct shki_work *w)
{
    const struct shki_place *place;
    struct shki_slot *slot = NULL;
    unsigned n = 0;
    uint64_t at;
    int r = shki_may_put(q);

    (void)m;
    if (r < 0)
        return r;
    place = find_place(&q->shared->put_side, tail_of(q));
    if (place == NULL)
        return shki_damaged_place(q);
    for (at = place->at; n < w->n; n++) {
        uint64_t to = at;

        r = make_room(q, &to, w->items[n].iov_len, &slot);
        if (r < 0)
            break;
        shki_fill_slot(slot, w->items[n].iov_base, w->items[n].iov_len);
        at = to + record_size(w->items[n].iov_len);
    }
    if (n == 0)
        return r;
    commit_puts(q, n, at);
    return (int)n;
}

static int room(struct shk_queue *q, size_t length, struct shki_slot **slot)
{
    const struct shki_place *place = find_place(&q->shared->put_side, tail_of(q));

    if (place == NULL || length > q->item_size)
        return shki_damaged_place(q);
    q->reserved_at = place->at;
    return make_room(q, &q->reserved_at, length, slot);
}

static void commit(struct shk_queue *q, struct shki_slot *slot, size_t length)
{
    store_relaxed(&slot->word, shki_slot_word(0, length)); /* CH1 publishes it */
    commit_puts(q, 1, q->reserved_at + record_size(length));
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

/* The record at or behind *at, where it then is: 1 or an error. */
static inline int find_record(struct shk_queue *q, uint64_t *at, struct shki_slot **slot,
                              uint64_t *word)
{
    int r = reach(q, &q->get_chunk, *at, slot);

    if (unlikely(r < 0))
        return r;
    *word = load_relaxed(&(*slot)->word);
    if (unlikely(*word == SKIP)) {
        *at += q->chunk_mask + 1 - offset_of(q, *at);
        r = reach(q, &q->get_chunk, *at, slot);
        if (r < 0)
            return r;
        *word = load_relaxed(&(*slot)->word);
    }
    if (unlikely(shki_slot_length(*word) > q->item_size ||
                 q->chunk_mask + 1 - offset_of(q, *at) < record_size(shki_slot_length(*word))))
        return shki_damaged_item(q, shki_slot_length(*word));
    return 1;
}

static inline void commit_gets(struct shk_queue *q, unsigned n, uint64_t at)
{
    uint64_t head = head_of(q);

    set_place(&q->shared->get_side, head, head + n, at);
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
    uint64_t head = head_of(q), at, known, word;
    const struct shki_place *place;
    struct shki_slot *slot = NULL;
    unsigned n = 0;
    int r = check(q, head, w->n);

    if (r <= 0)
        return r;
    place = find_place(&q->shared->get_side, head);
    if (place == NULL)
        return shki_damaged_place(q);
    clean_up(q, place->at); /* what a killed consumer has left */
    known = q->shared->get_lock.cached_tail - head;
    for (at = place->at; n < w->n && n < known; n++) {
        uint64_t from = at;

        r = find_record(q, &from, &slot, &word);
        if (r > 0)
            r = shki_read_slot(q, slot, word, w->buffers[n].iov_base, &w->buffers[n].iov_len);
        if (r < 0)
            break;
        at = from + record_size(shki_slot_length(word));
    }
    if (n == 0)
        return r;
    shki_count_tasks(q, m, n);
    commit_gets(q, n, at);
    return (int)n;
}

static int item(struct shk_queue *q, struct shki_slot **slot)
{
    uint64_t head = head_of(q), at, word;
    const struct shki_place *place;

    if (known_items(q, head, 1) == 0)
        return 0;
    place = find_place(&q->shared->get_side, head);
    if (place == NULL)
        return shki_damaged_place(q);
    clean_up(q, place->at);
    at = place->at;
    return find_record(q, &at, slot, &word);
}

static void consume(struct shk_queue *q)
{
    const struct shki_place *place = find_place(&q->shared->get_side, head_of(q));
    struct shki_slot *slot;
    uint64_t at, word;

    if (place == NULL)
        return;
    at = place->at;
    if (find_record(q, &at, &slot, &word) > 0)
        commit_gets(q, 1, at + record_size(shki_slot_length(word)));
}

/* ---- One item, without waiting ---- */

static int try_put(struct shk_queue *q, struct shki_member *m, const void *item_, size_t length,
                   int64_t priority)
{
    struct iovec one = {(void *)(uintptr_t)item_, length};
    struct shki_work w = {.items = &one, .n = 1};

    (void)priority;
    return shki_side_try(q, m, true, put, &w);
}

static int try_get(struct shk_queue *q, struct shki_member *m, void *buffer, size_t *length)
{
    struct iovec one = {buffer, *length};
    struct shki_work w = {.buffers = &one, .n = 1};
    int r = shki_side_try(q, m, false, get, &w);

    *length = one.iov_len;
    return r;
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

static bool has_room(const struct shk_queue *q)
{
    (void)q;
    return true;
}

/* Nothing: see struct shki_place. */
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
