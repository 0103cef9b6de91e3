/*
 * LIFO that grows: a stack of records, each as long as its item, in a list of chunks.
 *
 *     chunk 0 | - | word item size | word item size |    chunk 1 | below | word item size |  free …
 *                                                   ^                |                    ^
 *                                                   +----------------+                   top
 *
 * A record is a word with the item's length + 1, the item, and the size of it all, by which it is
 * found from behind. It begins at a multiple of 8 bytes and lies in one chunk, or is longer than a
 * chunk and the first of a run (chunk_list.h). Each chunk, or run, begins with the place of the top
 * as it was when its first record was put.
 *
 * The state commits (OR1), as in a LIFO queue with slots. Which byte the top is, and how many bytes
 * the items have, goes with the state: see place.h. So there is nothing to repair but memory that
 * was to be given back (shki_list_repair()).
 */
#include "queue/chunk_list.h"
#include "queue/ordered.h"

static struct shki_list *stack_of(const struct shk_queue *q)
{
    return &q->lists[0];
}

static uint64_t offset_of(const struct shk_queue *q, uint64_t at)
{
    return at & q->chunk_mask;
}

static uint64_t body_size(size_t length)
{
    return shki_round_up(sizeof(struct shki_slot) + length, 8);
}

static uint64_t record_size(size_t length)
{
    return body_size(length) + sizeof(uint64_t);
}

/* With the lock: where the top is, and the bytes of all items; NULL: damaged. */
static inline const struct shki_place *place_of(const struct shk_queue *q)
{
    return shki_place_find(&q->shared->put_places, ordered_number(ordered_state(q)));
}

/* Where the top is; UINT64_MAX: damaged. */
static uint64_t top_of(const struct shk_queue *q)
{
    const struct shki_place *place = place_of(q);

    return place ? place->at : UINT64_MAX;
}

static void set_top(struct shk_queue *q, unsigned puts, uint64_t count, uint64_t top,
                    uint64_t bytes)
{
    ordered_set_place(q, puts, count, top, bytes);
    ordered_commit(q, puts, count, SHKI_INTENT_NONE);
}

static uint64_t items(const struct shk_queue *q)
{
    return shki_state_count(ordered_state(q));
}

/* The byte at a place. */
static inline int reach(struct shk_queue *q, uint64_t at, unsigned char **byte)
{
    uint64_t chunk = at >> q->shift;

    /* Those that the list has are the queue's: the lock orders it. */
    if (unlikely(chunk >= q->chunks || chunk >= stack_of(q)->shared->chunks))
        return shki_damaged_place(q);
    *byte = shki_list_at(q, stack_of(q), chunk) + offset_of(q, at);
    return 1;
}

/* ---- Putting ---- */

/*
 * Room for a record above *at, where it then begins: 1 or an error. Killed in here: nothing has
 * happened.
 */
static int make_room(struct shk_queue *q, uint64_t *at, size_t length, struct shki_slot **slot)
{
    uint64_t size = record_size(length), top = *at, end;
    unsigned char *byte = NULL;
    int r = 1;

    if (q->chunk_mask + 1 - offset_of(q, *at) < size) /* a new chunk, or a run */
        *at = shki_round_up(*at, q->chunk_mask + 1);
    if (offset_of(q, *at) == 0)
        *at += sizeof(uint64_t);
    end = *at + size;
    if (unlikely((end - 1) >> q->shift > *at >> q->shift))
        r = shki_list_grow_run(q, stack_of(q), *at >> q->shift, end);
    else if (!shki_list_reaches(stack_of(q), end))
        r = shki_list_grow(q, stack_of(q), end);
    if (r > 0)
        r = reach(q, *at, &byte);
    if (r <= 0)
        return r;
    if (offset_of(q, *at) == sizeof(uint64_t))
        memcpy(byte - sizeof(uint64_t), &top, sizeof(top));
    *slot = (struct shki_slot *)(void *)byte;
    return 1;
}

/* The record that begins at a place ends with its size. Where it ends. */
static uint64_t end_record(uint64_t at, struct shki_slot *slot, size_t length)
{
    uint64_t size = record_size(length);

    memcpy((unsigned char *)slot + body_size(length), &size, sizeof(size));
    return at + size;
}

/* n more; `bytes`: of all items. */
static void commit_puts(struct shk_queue *q, unsigned n, uint64_t top, uint64_t bytes)
{
    uint64_t count = items(q) + n;

    shki_count_puts(q, n);
    set_top(q, n, count, top, bytes);
    shki_note_fill(q->shared, count);
}

static int put(struct shk_queue *q, struct shki_member *m, struct shki_work *w)
{
    const struct shki_place *place = place_of(q);
    uint64_t count = items(q), top, bytes;
    struct shki_slot *slot = NULL;
    unsigned n = 0;
    int r = shki_may_put(q);

    (void)m;
    if (r < 0)
        return r;
    if (place == NULL)
        return shki_damaged_place(q);
    top = place->at;
    bytes = load_relaxed(&place->bytes);
    if (w->n > UINT32_MAX - count)
        return shki_too_many(q);
    for (; n < w->n && !shki_is_full(q, count + n, bytes); n++) {
        uint64_t at = top;

        r = make_room(q, &at, w->items[n].iov_len, &slot);
        if (r <= 0)
            break;
        shki_fill_slot(slot, w->items[n].iov_base, w->items[n].iov_len);
        top = end_record(at, slot, w->items[n].iov_len);
        bytes += w->items[n].iov_len;
    }
    if (n == 0)
        return r;
    commit_puts(q, n, top, bytes);
    return (int)n;
}

static int room(struct shk_queue *q, size_t length, struct shki_slot **slot)
{
    q->reserved_at = top_of(q);
    if (q->reserved_at == UINT64_MAX || length > q->item_size || items(q) == UINT32_MAX)
        return shki_damaged_place(q);
    if (shki_is_full(q, items(q), ordered_own_bytes(q)))
        return 0;
    return make_room(q, &q->reserved_at, length, slot);
}

static void commit(struct shk_queue *q, struct shki_slot *slot, size_t length)
{
    store_relaxed(&slot->word, shki_slot_word(0, length)); /* OR1 publishes it */
    commit_puts(q, 1, end_record(q->reserved_at, slot, length), ordered_own_bytes(q) + length);
}

/* ---- Getting ---- */

/*
 * Where a record of that size begins that lies below `top`, and ends with the word at `end`. NULL:
 * damaged.
 */
static inline unsigned char *begin_of(struct shk_queue *q, uint64_t top, uint64_t size,
                                      unsigned char *end)
{
    unsigned char *begin = NULL;

    if (likely(size <= offset_of(q, top - sizeof(uint64_t)))) /* in this chunk, behind its word */
        return end + sizeof(uint64_t) - size;
    /* a run, if nothing is damaged */
    if (size > top - sizeof(uint64_t) || offset_of(q, top - size) < sizeof(uint64_t) ||
        reach(q, top - size, &begin) < 0 || begin + size != end + sizeof(uint64_t))
        return NULL;
    return begin;
}

/* The record below *top, which is then where the top is without it: 1 or an error. */
static inline int find_record(struct shk_queue *q, uint64_t *top, struct shki_slot **slot,
                              uint64_t *word)
{
    unsigned char *end = NULL, *begin;
    uint64_t size;
    int r = *top < 2 * sizeof(uint64_t) || *top % 8 ? shki_damaged_place(q)
                                                    : reach(q, *top - sizeof(uint64_t), &end);

    if (r < 0)
        return r;
    memcpy(&size, end, sizeof(size));
    begin = size % 8 || size < record_size(0) ? NULL : begin_of(q, *top, size, end);
    if (unlikely(begin == NULL))
        return shki_damaged_place(q);
    *slot = (struct shki_slot *)(void *)begin;
    *word = load_relaxed(&(*slot)->word);
    if (shki_slot_length(*word) > q->item_size || record_size(shki_slot_length(*word)) > size)
        return shki_damaged_item(q, shki_slot_length(*word));
    *top -= size;
    if (offset_of(q, *top) == sizeof(uint64_t)) /* the first of its chunk */
        memcpy(top, (unsigned char *)*slot - sizeof(uint64_t), sizeof(*top));
    return 1;
}

/* n fewer; `bytes`: of all items. */
static void commit_gets(struct shk_queue *q, unsigned n, uint64_t top, uint64_t bytes)
{
    set_top(q, 0, items(q) - n, top, bytes);
    if (shki_list_is_long(stack_of(q), top))
        shki_list_shrink(q, stack_of(q), top);
}

static int item(struct shk_queue *q, struct shki_slot **slot)
{
    uint64_t top = top_of(q), word;

    if (items(q) == 0)
        return 0;
    return top == UINT64_MAX ? shki_damaged_place(q) : find_record(q, &top, slot, &word);
}

static int has_any(struct shk_queue *q, struct shki_slot **slot)
{
    (void)slot;
    return items(q) > 0;
}

static int get(struct shk_queue *q, struct shki_member *m, struct shki_work *w)
{
    const struct shki_place *place = place_of(q);
    uint64_t top, below, word, bytes;
    struct shki_slot *slot = NULL;
    unsigned n = 0, count;
    int r = shki_next_item(q, has_any, &slot);

    if (r <= 0)
        return r;
    if (place == NULL)
        return shki_damaged_place(q);
    top = below = place->at;
    bytes = load_relaxed(&place->bytes);
    for (count = (unsigned)items(q); n < w->n && n < count; n++, top = below) {
        r = find_record(q, &below, &slot, &word);
        if (r > 0)
            r = shki_read_slot(q, slot, word, w->buffers[n].iov_base, &w->buffers[n].iov_len);
        if (r <= 0)
            break;
        bytes -= shki_slot_length(word);
    }
    if (n == 0)
        return r;
    shki_count_tasks(q, m, n);
    commit_gets(q, n, top, bytes);
    return (int)n;
}

static void consume(struct shk_queue *q)
{
    uint64_t top = top_of(q), word;
    struct shki_slot *slot;

    if (find_record(q, &top, &slot, &word) > 0)
        commit_gets(q, 1, top, ordered_own_bytes(q) - shki_slot_length(word));
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

static void repair(struct shk_queue *q, const struct shki_side_lock *lock)
{
    (void)lock;
    shki_list_repair(q, stack_of(q));
}

const struct shki_order shki_stack = {.put = put,
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
