#include "queue/lease_image.h"

#include "base/deadline.h"
#include "queue/lease_records.h"

/* The leases of a queue in an image. */
struct source {
    const struct shki_image *image;
    const struct shki_entry *entry;
    uint64_t slot, per_chunk; /* of the records */
    const struct shki_queue_shared *q;
    uint32_t words, next; /* of bits */
    uint64_t bits;
};

static bool begin(struct source *s, const struct shki_image *image, const struct shki_entry *e,
                  const struct shki_queue_shared *q)
{
    uint64_t item_most;

    *s = (struct source){.image = image, .entry = e, .q = q};
    s->words = load_relaxed(&q->lease_words);
    if (s->words == 0 || q->item_size > UINT64_C(1) << 31 || q->leases_at > e->size ||
        e->size - q->leases_at < sizeof(struct shki_lease_area))
        return false;
    if (s->words > SHKI_LEASE_WORDS)
        s->words = SHKI_LEASE_WORDS;
    item_most =
        q->stride ? q->item_size : shki_list_item_most(q->item_size, q->capacity_bytes, q->chunks);
    if (item_most > UINT64_C(1) << 31)
        return false;
    s->slot = shki_lease_slot(item_most);
    s->per_chunk = shki_lease_chunk(s->slot) / s->slot;
    return true;
}

/* Record `index`, without its item. */
static bool read_record(const struct source *s, uint32_t index, struct shki_lease_shared *r)
{
    uint64_t at = s->q->leases_at + offsetof(struct shki_lease_area, map) +
                  index / s->per_chunk * sizeof(uint32_t);
    uint32_t block;

    return at < s->entry->size &&
           shki_image_read(s->image, s->entry->offset + at, &block, sizeof(block)) &&
           shki_image_read(s->image, (uint64_t)block * SHKI_BLOCK + index % s->per_chunk * s->slot,
                           r, sizeof(*r));
}

/* The next record that has an item, and its state; false: no more. */
static bool next(struct source *s, uint32_t *index, struct shki_lease_shared *r,
                 enum shki_lease_state *state)
{
    for (;;) {
        while (s->bits == 0) {
            if (s->next == s->words ||
                !shki_image_read(s->image,
                                 s->entry->offset + s->q->leases_at + s->next * sizeof(s->bits),
                                 &s->bits, sizeof(s->bits)))
                return false;
            s->next++;
        }
        *index = (s->next - 1) * 64 + (uint32_t)__builtin_ctzll(s->bits);
        s->bits &= s->bits - 1;
        if (!read_record(s, *index, r))
            return false;
        *state = shki_lease_state_of(load_relaxed(&r->state));
        if (*state != SHKI_LEASE_FREE)
            return true;
    }
}

/*
 * Whether, in the copy of the queue, its item is in the store: it was leased after the copy was
 * made, or the get had not committed then, as in shki_lease_repair().
 */
static bool is_in_store(const struct source *s, uint32_t index, const struct shki_lease_shared *r)
{
    const struct shki_queue_shared *q = s->q;
    uint64_t word = q->order == SHK_FIFO ? load_relaxed(&q->head)
                                         : load_relaxed(&q->ordered.state) & ~SHKI_INTENT_MASK;

    return load_relaxed(&r->order) >= q->leases.order ||
           (load_relaxed(&q->leases.changing) == index + 1 && q->leases.before == word);
}

void shki_lease_describe(const struct shki_image *image, const struct shki_entry *e,
                         const struct shki_queue_shared *q, struct shk_object_info *info)
{
    int64_t now = shki_now(), since;
    enum shki_lease_state state;
    struct shki_lease_shared r;
    struct source s;
    uint64_t bytes = 0, out;
    uint32_t index;

    if (!begin(&s, image, e, q))
        return;
    while (next(&s, &index, &r, &state)) {
        if (is_in_store(&s, index, &r))
            continue;
        if (state == SHKI_LEASE_BACK) {
            info->as.queue.came_back++;
            info->as.queue.delayed += load_relaxed(&r.due) > now;
            bytes += shki_slot_length(load_relaxed(&r.item.word));
            continue;
        }
        since = (int64_t)((uint64_t)now - (uint64_t)load_relaxed(&r.since));
        if (info->as.queue.leased++ == 0 || since > info->as.queue.lease) {
            info->as.queue.lessee = load_relaxed(&r.member);
            info->as.queue.lessee_pid = load_relaxed(&r.pid);
            info->as.queue.attempts = load_relaxed(&r.attempts);
            info->as.queue.lease = since > 0 ? since : 0;
        }
    }
    out = (uint64_t)info->as.queue.leased + info->as.queue.came_back;
    info->as.queue.gets = info->as.queue.gets > out ? info->as.queue.gets - out : 0;
    info->as.queue.size += info->as.queue.came_back;
    if (q->capacity != 0 && info->as.queue.size > q->capacity)
        info->as.queue.size = q->capacity;
    if (q->stride == 0)
        info->as.queue.bytes += bytes;
}

/* The member that leased it; else another of its process; n: none. */
static size_t find(const struct shk_member_info *members, size_t n,
                   const struct shki_lease_shared *r)
{
    size_t found = n;

    for (size_t i = 0; i < n; i++) {
        if (members[i].id == load_relaxed(&r->member))
            return i;
        if (found == n && members[i].alive && members[i].pid == load_relaxed(&r->pid))
            found = i;
    }
    return found;
}

void shki_lease_add(const struct shki_image *image, const struct shki_entry *e,
                    const struct shki_queue_shared *q, struct shk_member_info *members, size_t n)
{
    enum shki_lease_state state;
    struct shki_lease_shared r;
    struct source s;
    uint32_t index;
    size_t i;

    if (!begin(&s, image, e, q))
        return;
    while (next(&s, &index, &r, &state)) {
        i = state == SHKI_LEASE_BACK ? n : find(members, n, &r);
        if (i < n)
            members[i].leases++;
    }
}
