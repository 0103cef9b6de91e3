/*
 * The items that wait in a queue, read from outside: no lock is taken, and no member notices.
 *
 * So the queue may change meanwhile, and what was read counts only if the word that commits tells
 * afterwards that it was so:
 *
 *     acquire the count             FIFO: items from the head on that are still in afterwards, for
 *     read items                    a slot is written again only when the head is past it;
 *     acquire the count again       LIFO, PRIORITY: all, if the state is the same
 *
 * Otherwise it is read once more. Each order's comment says where its items lie: ring.h, chunks.c,
 * lifo.c, stack.c, priority.c. Nothing is believed: every place is checked against the file, and
 * each walk ends after as many items as the count has.
 */
#include "queue/chunk_list.h"
#include "queue/order.h"

#include "base/error.h"
#include "object/items.h"

#include <errno.h>
#include <stdlib.h>

#define TRIES 100 /* until a LIFO or PRIORITY queue stays the same while it is copied */

/* A queue in an image. */
struct source {
    const struct shki_image *image;
    const struct shki_queue_shared *q; /* a copy: what never changes, checked */
    uint64_t at;                       /* of the queue in the file */
    unsigned shift;                    /* at their length: log of a chunk's bytes */
    bool fixed;                        /* items have slots of one size */
    struct shki_items *items;
};

enum outcome { DONE, CHANGED, DAMAGED };

/* Bytes of the file. */
static bool read_at(const struct source *s, uint64_t offset, void *to, size_t size)
{
    return shki_image_read(s->image, offset, to, size);
}

/* A word that others write. Read before, or after, all else that is read of the image. */
static bool read_count(const struct source *s, size_t member, uint64_t *value)
{
    bool read;

    atomic_thread_fence(memory_order_seq_cst);
    read = read_at(s, s->at + member, value, sizeof(*value));
    atomic_thread_fence(memory_order_seq_cst);
    return read;
}

#define READ_COUNT(source, member, value) \
    read_count(source, offsetof(struct shki_queue_shared, member), value)

/* The item of a slot whose word has been read. */
static bool add_slot(const struct source *s, uint64_t offset, uint64_t word, int64_t priority)
{
    size_t length = shki_slot_length(word);

    return length <= s->q->item_size &&
           shki_items_add(s->items, offset + offsetof(struct shki_slot, bytes), length, priority);
}

/* The item of the slot there. */
static bool add_item(const struct source *s, uint64_t offset, int64_t priority)
{
    uint64_t word;

    return read_at(s, offset, &word, sizeof(word)) && add_slot(s, offset, word, priority);
}

/* Where chunk `chunk` of a list is in the file: false: it cannot be read. */
static bool find_chunk(const struct source *s, uint64_t list, uint64_t chunk, uint64_t *offset)
{
    uint64_t map_size = shki_round_up(s->q->chunks * sizeof(uint32_t), SHKI_PAGE);
    uint32_t block;

    if (!read_at(s, s->at + s->q->map_at + list * map_size + chunk % s->q->chunks * sizeof(block),
                 &block, sizeof(block)))
        return false;
    *offset = (uint64_t)block * SHKI_BLOCK;
    return true;
}

/* Where byte `at` of list 0 is in the file. */
static bool find_byte(const struct source *s, uint64_t at, uint64_t *offset)
{
    uint64_t mask = (UINT64_C(1) << s->shift) - 1;

    if (!find_chunk(s, 0, at >> s->shift, offset))
        return false;
    *offset += at & mask;
    return true;
}

/* The place of a side that goes with its count. */
static bool find_place(const struct source *s, size_t offset, uint64_t number, uint64_t *at)
{
    struct shki_place places[2];

    if (!read_at(s, s->at + offset + offsetof(struct shki_places, place), places, sizeof(places)))
        return false;
    for (int i = 0; i < 2; i++) {
        *at = places[i].at;
        if (places[i].number == number)
            return true;
    }
    return false;
}

/* ---- FIFO ---- */

/* From the head on: until a slot has no item. */
static bool read_ring(const struct source *s, uint64_t head)
{
    uint64_t limit = s->q->capacity < s->items->max ? s->q->capacity : s->items->max, word;

    for (uint64_t i = 0; i < limit; i++) {
        uint64_t slot = s->at + s->q->slots_at + ((head + i) & (s->q->slots - 1)) * s->q->stride;

        if (!read_at(s, slot, &word, sizeof(word)))
            return false;
        if (!shki_slot_has(word, head + i)) /* RQ1: not put yet */
            return true;
        atomic_thread_fence(memory_order_acquire);
        if (!add_slot(s, slot, word, 0))
            return false;
    }
    return true;
}

static bool read_chunks(const struct source *s, uint64_t head)
{
    uint64_t tail, at, offset, word;

    if (!READ_COUNT(s, tail, &tail) ||
        !find_place(s, offsetof(struct shki_queue_shared, get_places), head, &at))
        return false;
    for (uint64_t i = 0; i < s->items->max && (int64_t)(tail - head - i) > 0; i++) {
        if (!find_byte(s, at, &offset) || !read_at(s, offset, &word, sizeof(word)))
            return false;
        if (word >> 32 == SHKI_SKIP >> 32) {
            at = ((at >> s->shift) + (uint32_t)word) << s->shift;
            if (!find_byte(s, at, &offset) || !read_at(s, offset, &word, sizeof(word)))
                return false;
        }
        if (!add_slot(s, offset, word, 0))
            return false;
        at += shki_round_up(sizeof(struct shki_slot) + shki_slot_length(word), 8);
    }
    return true;
}

/* What is still in afterwards has been read whole. */
static enum outcome read_fifo(const struct source *s)
{
    uint64_t head, after;
    bool whole;

    if (!READ_COUNT(s, head, &head))
        return DAMAGED;
    whole = s->fixed ? read_ring(s, head) : read_chunks(s, head);
    if (!READ_COUNT(s, head, &after))
        return DAMAGED;
    if (!whole)
        return after == head ? DAMAGED : CHANGED;
    shki_items_drop(s->items, after - head);
    return DONE;
}

/* ---- LIFO ---- */

static bool read_slots(const struct source *s, uint64_t count)
{
    for (uint64_t i = count; i-- > 0 && s->items->n < s->items->max;) {
        if (!add_item(s, s->at + s->q->slots_at + i * s->q->stride, 0))
            return false;
    }
    return true;
}

static bool read_stack(const struct source *s, uint64_t count, uint64_t state)
{
    uint64_t mask = (UINT64_C(1) << s->shift) - 1, top, begin, end, size;

    if (count == 0)
        return true;
    if (!find_place(s, offsetof(struct shki_queue_shared, put_places), state >> SHKI_INTENT_BITS,
                    &top))
        return false;
    for (; count > 0 && s->items->n < s->items->max; count--) {
        if (top < 2 * sizeof(size) || !find_byte(s, top - sizeof(size), &end) ||
            !read_at(s, end, &size, sizeof(size)))
            return false;
        end += sizeof(size);
        /* in one chunk, or in a run */
        if (size % 8 || size > top - sizeof(size) ||
            size < sizeof(struct shki_slot) + sizeof(size) || !find_byte(s, top - size, &begin) ||
            begin + size != end || !add_item(s, begin, 0))
            return false;
        top -= size;
        /* the first of its chunk: below it is where the one before ends */
        if ((top & mask) == sizeof(top) && !read_at(s, begin - sizeof(top), &top, sizeof(top)))
            return false;
    }
    return true;
}

/* ---- PRIORITY ---- */

/* Entries that may be the next: a heap in the memory of this process. */
struct candidates {
    struct candidate {
        struct shki_heap_entry entry;
        uint64_t place;
    } * list;
    size_t n, room;
};

static bool goes_before(const struct candidate *a, const struct candidate *b)
{
    return a->entry.priority != b->entry.priority ? a->entry.priority < b->entry.priority
                                                  : a->entry.sequence < b->entry.sequence;
}

static void swap(struct candidate *a, struct candidate *b)
{
    struct candidate c = *a;

    *a = *b;
    *b = c;
}

static bool add_candidate(struct candidates *c, const struct candidate *one)
{
    struct candidate *more;
    size_t i = c->n;

    if (c->n == c->room) {
        more = realloc(c->list, (c->room ? 2 * c->room : 64) * sizeof(*more));
        if (more == NULL)
            return false;
        c->list = more;
        c->room = c->room ? 2 * c->room : 64;
    }
    c->list[c->n++] = *one;
    for (; i > 0 && goes_before(&c->list[i], &c->list[(i - 1) / 2]); i = (i - 1) / 2)
        swap(&c->list[i], &c->list[(i - 1) / 2]);
    return true;
}

static struct candidate first_candidate(struct candidates *c)
{
    struct candidate first = c->list[0];
    size_t i = 0, child;

    c->list[0] = c->list[--c->n];
    while ((child = 2 * i + 1) < c->n) {
        if (child + 1 < c->n && goes_before(&c->list[child + 1], &c->list[child]))
            child++;
        if (!goes_before(&c->list[child], &c->list[i]))
            break;
        swap(&c->list[child], &c->list[i]);
        i = child;
    }
    return first;
}

/* The queue's heap, and what a killed member has left to do there. */
struct heap {
    const struct source *s;
    uint64_t count;
    bool settled;
    struct shki_ordered ordered; /* if it is not */
    struct candidates next;
    bool no_memory;
};

static bool read_entry(const struct heap *h, uint64_t place, struct shki_heap_entry *e)
{
    const struct source *s = h->s;
    uint64_t offset, per_chunk = SHKI_BLOCK / SHKI_ENTRY_SIZE;

    if (!h->settled && place == h->ordered.hole) {
        *e = h->ordered.moving;
        return true;
    }
    if (s->fixed)
        offset = s->at + s->q->slots_at + place * sizeof(*e);
    else if (find_chunk(s, 0, place / per_chunk, &offset))
        offset += place % per_chunk * SHKI_ENTRY_SIZE;
    else
        return false;
    return read_at(s, offset, e, sizeof(*e));
}

static bool push(struct heap *h, uint64_t place)
{
    struct candidate c = {.place = place};

    if (place >= h->count)
        return true;
    if (!read_entry(h, place, &c.entry))
        return false;
    h->no_memory = !add_candidate(&h->next, &c);
    return !h->no_memory;
}

static bool add_entry(const struct source *s, const struct shki_heap_entry *e)
{
    uint64_t entries = s->q->slots * sizeof(*e), size = SHKI_BLOCK, slot, offset;

    if (s->fixed)
        return e->slot < s->q->slots &&
               add_item(s, s->at + s->q->slots_at + entries + e->slot * s->q->stride, e->priority);
    if (e->class == 0 || e->class >= s->q->slots)
        return false;
    slot = shki_list_slot(s->q->slots, e->class,
                          shki_list_item_most(s->q->item_size, s->q->capacity_bytes, s->q->chunks));
    while (size < slot)
        size *= 2;
    return find_chunk(s, e->class, e->slot / (size / slot), &offset) &&
           add_item(s, offset + e->slot % (size / slot) * slot + sizeof(uint64_t), e->priority);
}

/*
 * The first of the heap, and after each its children. While something is left to do the heap's
 * order is not to be relied upon: then all entries are sorted.
 */
static bool read_heap(const struct source *s, uint64_t count, bool settled, bool *no_memory)
{
    struct heap h = {.s = s, .count = count, .settled = settled};
    bool whole = settled || read_at(s, s->at + offsetof(struct shki_queue_shared, ordered),
                                    &h.ordered, sizeof(h.ordered));

    for (uint64_t i = 0; whole && i < (settled ? 1 : count); i++)
        whole = push(&h, i);
    while (whole && h.next.n > 0 && s->items->n < s->items->max) {
        struct candidate c = first_candidate(&h.next);

        whole = add_entry(s, &c.entry) &&
                (!settled || (push(&h, 2 * c.place + 1) && push(&h, 2 * c.place + 2)));
    }
    free(h.next.list);
    *no_memory = h.no_memory;
    return whole;
}

/* ---- ---- */

/* What was read counts if the state has stayed as it was: OR1 commits all changes. */
static enum outcome read_ordered(const struct source *s)
{
    uint64_t state, after, count;
    bool whole, settled, no_memory = false;

    if (!READ_COUNT(s, ordered.state, &state))
        return DAMAGED;
    count = shki_state_count(state);
    settled = (state & SHKI_INTENT_MASK) == SHKI_INTENT_NONE;
    if ((s->fixed && count > s->q->capacity) || count > s->items->limit / SHKI_ITEM_LEAST)
        return DAMAGED;
    whole = s->q->order == SHK_PRIORITY ? read_heap(s, count, settled, &no_memory)
            : s->fixed                  ? read_slots(s, count)
                                        : read_stack(s, count, state);
    s->items->no_memory = s->items->no_memory || no_memory;
    if (!READ_COUNT(s, ordered.state, &after))
        return DAMAGED;
    return after != state ? CHANGED : whole ? DONE : DAMAGED;
}

static bool is_power_of_two(uint64_t n)
{
    return n != 0 && (n & (n - 1)) == 0;
}

/* Whether its places can be computed at all: see lay_out() in geometry.c. */
static bool check(struct source *s)
{
    const struct shki_queue_shared *q = s->q;

    s->fixed = q->stride != 0;
    if (q->item_size > UINT64_C(1) << 31 || q->slots > UINT32_MAX || q->stride > UINT64_C(1) << 32)
        return false;
    if (s->fixed)
        return q->order != SHK_FIFO || is_power_of_two(q->slots);
    if (!is_power_of_two(q->chunk_size) || q->chunk_size < SHKI_BLOCK || q->chunks == 0 ||
        q->chunks > UINT32_MAX)
        return false;
    s->shift = (unsigned)__builtin_ctzll(q->chunk_size);
    return true;
}

int shki_queue_list_items(const struct shki_image *image, const struct shki_entry *e,
                          const void *shared, struct shki_items *items)
{
    struct source s = {.image = image, .q = shared, .at = e->offset, .items = items};
    enum outcome outcome = check(&s) ? CHANGED : DAMAGED;

    for (int i = 0; i < TRIES && outcome == CHANGED && !items->no_memory; i++) {
        shki_items_begin(items);
        outcome = s.q->order == SHK_FIFO ? read_fifo(&s) : read_ordered(&s);
    }
    if (items->no_memory)
        return shki_say(-ENOMEM, "out of memory");
    if (outcome == CHANGED)
        return shki_say(-EAGAIN, "the queue changes faster than its items can be read; ask for "
                                 "fewer of them");
    return outcome == DONE ? 0 : shki_say(-EPROTO, "the queue is damaged: its items");
}
