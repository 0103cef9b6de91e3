#include "segment/tables.h"

#include <time.h>

struct shki_entry *shki_entry_at(const struct shk_segment *s, uint32_t index)
{
    if (index >= s->max_objects)
        return NULL;
    return (struct shki_entry *)(void *)(s->base + s->geometry.entries_offset) + index;
}

uint32_t shki_entry_index(const struct shk_segment *s, const struct shki_entry *e)
{
    return (uint32_t)(e - shki_entry_at(s, 0));
}

struct shki_mutex *shki_entry_mutex(const struct shk_segment *s, const struct shki_entry *e,
                                    unsigned k)
{
    uint64_t extent = e->offset, size = e->size;
    uint32_t offset = e->mutex_offset[k];

    if (offset == 0 || (extent + offset) % alignof(struct shki_mutex) ||
        extent < s->geometry.heap_offset || extent > s->size || size > s->size - extent ||
        offset > size || sizeof(struct shki_mutex) > size - offset)
        return NULL;
    return (struct shki_mutex *)(void *)(s->base + extent + offset);
}

struct shki_member_shared *shki_record_at(const struct shk_segment *s, uint32_t index)
{
    if (index >= s->max_members)
        return NULL;
    return (struct shki_member_shared *)(void *)(s->base + s->geometry.members_offset) + index;
}

struct shki_node *shki_node_at(const struct shk_segment *s, uint32_t index)
{
    if (index >= s->max_members)
        return NULL;
    return (struct shki_node *)(void *)(s->base + s->geometry.nodes_offset) + index;
}

uint32_t shki_members_ready(const struct shk_segment *s)
{
    /*
     * ME1: acquire; pairs with the release in add_records(). The private copy bounds it, whatever
     * the bytes are.
     */
    uint32_t n = load_acquire(&s->header->members_ready);

    return n < s->max_members ? n : s->max_members;
}

bool shki_member_is_alive(const struct shk_segment *s, uint64_t id)
{
    uint32_t index = shki_member_index(id);
    const struct shki_member_shared *m;

    if (id == 0 || index >= shki_members_ready(s))
        return false;
    m = shki_record_at(s, index);
    /*
     * ME2: acquire; pairs with the releases in join_locked(), shki_member_leave() and
     * acquire_life(). The life is read between two reads of the id: the id of a record that is used
     * anew goes before its life is locked. So the answer never turns from dead to alive.
     */
    if (load_acquire(&m->id) != id)
        return false;
    return shki_robust_is_held(&m->life) && load_acquire(&m->id) == id;
}

void shki_member_note_death(struct shki_member_shared *m)
{
    int64_t not_noticed = 0;

    /* Relaxed: for people. Killed before: the next member that finds it dead notes its own time. */
    if (load_relaxed(&m->death_noticed) == 0)
        compare_exchange_relaxed(&m->death_noticed, &not_noticed, time(NULL));
}
