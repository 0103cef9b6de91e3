/* The objects of a segment: what all have, and what each kind says of its own. */
#include "base/error.h"
#include "base/name.h"
#include "inspect/snapshot.h"
#include "kinds.h"
#include "segment/pool.h"
#include "segment/presence.h"

#include <errno.h>
#include <stdlib.h>

/*
 * What is in the extent. What cannot be read stays zero. `shared` has room for the struct of any
 * kind.
 */
static void contents_info(const struct shki_image *r, const struct shki_entry *e, void *shared,
                          struct shk_object_info *info, const struct shk_snapshot *s)
{
    const struct shki_kind *kind = shki_kind(e->kind);
    const struct shki_repairs *repairs = shared;

    if (!shki_image_has(r, e, shki_kind_size(kind)) ||
        !shki_image_read(r, e->offset, shared, shki_kind_size(kind)))
        return;
    info->holders_lost = load_relaxed(&repairs->holders_lost);
    info->waiters_buried = load_relaxed(&repairs->waiters_buried);
    info->wakeups_passed_on = load_relaxed(&repairs->wakeups_passed_on);
    info->rebuilds = load_relaxed(&repairs->rebuilds);
    if (kind && kind->describe)
        kind->describe(r, e, shared, info);
    if (kind && kind->add_tasks)
        kind->add_tasks(r, e, shared, s->members, s->n_members);
}

static uint32_t line_state(const struct shki_entry *e, unsigned side)
{
    uint64_t line = shki_presence(e, side);

    if (!(line & SHKI_PRESENCE_HAD))
        return SHK_LINE_NONE;
    if (!(line & SHKI_PRESENCE_ENDED))
        return SHK_LINE_OPEN;
    return line & SHKI_PRESENCE_DIED ? SHK_LINE_BROKEN : SHK_LINE_CLOSED;
}

static void object_info(const struct shki_image *r, const struct shki_entry *e, void *shared,
                        struct shk_object_info *info, const struct shk_snapshot *s)
{
    shki_copy_label(info->name, sizeof(info->name), e->name, sizeof(e->name));
    info->kind = e->kind;
    info->serial = e->serial;
    info->size = e->size;
    info->creator = e->creator;
    info->created = e->created;
    info->producer_line = line_state(e, SHKI_PRODUCERS);
    info->consumer_line = line_state(e, SHKI_CONSUMERS);
    contents_info(r, e, shared, info, s);
}

static bool uses_pool(uint32_t kind)
{
    const struct shki_kind *k = shki_kind(kind);

    return k && k->uses_pool;
}

/* Add the blocks of the pool that objects have. Blocks that cannot be read do not count. */
static void count_blocks(const struct shki_image *r, struct shk_object_info *objects)
{
    uint64_t words[512], limit = r->header.size / SHKI_BLOCK, n;

    for (uint64_t b = load_relaxed(&r->header.pool_floor); b < limit; b += n) {
        n = limit - b < 512 ? limit - b : 512;
        if (!shki_image_read(r, r->geometry.blocks_offset + b * sizeof(*words), words,
                             n * sizeof(*words)))
            return;
        for (uint64_t i = 0; i < n; i++) {
            uint64_t entry = shki_block_entry(words[i]);

            if (entry < r->header.max_objects && objects[entry].serial != 0 &&
                uses_pool(objects[entry].kind))
                objects[entry].size += SHKI_BLOCK;
        }
    }
}

/* All objects: how many. */
static size_t read_objects(const struct shki_image *r, void *shared, const struct shk_snapshot *s)
{
    struct shki_entry entries[SHKI_IMAGE_BATCH];
    size_t found = 0;

    for (uint32_t i = 0, n; (n = shki_image_entries(r, i, entries)) > 0; i += n)
        for (uint32_t k = 0; k < n; k++)
            if (shki_snapshot_is_live(&entries[k])) {
                object_info(r, &entries[k], shared, &s->objects[i + k], s);
                found++;
            }
    count_blocks(r, s->objects);
    return found;
}

int shki_snapshot_objects(const struct shki_image *r, struct shk_snapshot *s)
{
    void *shared = aligned_alloc(64, shki_round_up(shki_kinds_size(), 64));

    if (shared == NULL)
        return shki_say(-ENOMEM, "out of memory");
    s->n_objects = read_objects(r, shared, s);
    s->segment.objects = (uint32_t)s->n_objects;
    free(shared);
    return 0;
}
