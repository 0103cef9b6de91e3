#include "segment/directory.h"

#include "base/error.h"
#include "segment/blocks.h"
#include "segment/process.h"
#include "segment/recover.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* ---- Names ---- */

static uint32_t hash_of(const char *name) /* FNV-1a */
{
    uint32_t h = 2166136261u;

    for (; *name; name++)
        h = (h ^ (unsigned char)*name) * 16777619u;
    return h;
}

static bool has_owner(const struct shki_entry *e)
{
    return shki_entry_state(e) == SHKI_ENTRY_CREATING ||
           shki_entry_state(e) == SHKI_ENTRY_RECLAIMING;
}

static uint64_t owner_of(const struct shki_entry *e)
{
    return load_relaxed(&e->owner);
}

struct shki_entry *shki_directory_find(struct shk_segment *s, const char *name)
{
    uint32_t hash = hash_of(name);

    for (uint32_t i = 0; i < s->max_objects; i++) {
        struct shki_entry *e = shki_entry_at(s, (hash % s->max_objects + i) % s->max_objects);

        if (shki_entry_state(e) == SHKI_ENTRY_FREE)
            return NULL;
        if ((shki_entry_state(e) == SHKI_ENTRY_LIVE ||
             shki_entry_state(e) == SHKI_ENTRY_CREATING) &&
            e->hash == hash && strncmp(e->name, name, sizeof(e->name)) == 0)
            return e;
    }
    return NULL;
}

static struct shki_entry *find_free(struct shk_segment *s, uint32_t hash)
{
    for (uint32_t i = 0; i < s->max_objects; i++) {
        struct shki_entry *e = shki_entry_at(s, (hash % s->max_objects + i) % s->max_objects);

        if (!shki_entry_has_extent(e))
            return e;
    }
    return NULL;
}

/* ---- Extents ---- */

struct extent {
    uint64_t offset, size;
};

static int by_offset(const void *a, const void *b)
{
    const struct extent *x = a, *y = b;

    return (x->offset > y->offset) - (x->offset < y->offset);
}

/*
 * All extents in order, except those of damaged entries and those that `me` reclaims. NULL with *n
 * 0 if memory is out.
 */
static struct extent *extents_without(struct shk_segment *s, uint64_t me, uint32_t *n)
{
    struct extent *list = calloc(s->max_objects, sizeof(*list));

    *n = 0;
    for (uint32_t i = 0; list && i < s->max_objects; i++) {
        const struct shki_entry *e = shki_entry_at(s, i);

        if (shki_entry_state(e) == SHKI_ENTRY_RECLAIMING && owner_of(e) == me)
            continue;
        if (shki_entry_has_extent(e) && shki_heap_has(s, e))
            list[(*n)++] = (struct extent){e->offset, e->size};
    }
    if (list)
        qsort(list, *n, sizeof(*list), by_offset);
    return list;
}

static struct extent *extents(struct shk_segment *s, uint32_t *n)
{
    return extents_without(s, 0, n);
}

/*
 * An offset for an extent: above all others if there is room, which takes no search; else the
 * lowest gap. 0: none.
 */
static uint64_t find_gap(struct shk_segment *s, uint64_t size)
{
    uint64_t unit = shki_extent_unit(size), at = s->header->heap_top, end = shki_heap_end(s),
             found = 0;
    struct extent *list;
    uint32_t n;

    if (at >= s->geometry.heap_offset && at <= end) {
        at = shki_round_up(at, unit);
        if (at <= end && size <= end - at)
            return at;
    }
    list = extents(s, &n);
    if (list == NULL)
        return 0;
    at = s->geometry.heap_offset;
    for (uint32_t i = 0; i < n; i++) {
        if (!found && list[i].offset >= at && list[i].offset - at >= size)
            found = at;
        if (list[i].offset + list[i].size > at)
            at = list[i].offset + list[i].size;
        if (!found)
            at = shki_round_up(at, unit);
    }
    s->header->heap_top = at; /* where the next search begins */
    if (!found) {
        at = shki_round_up(at, unit);
        if (at <= s->size && s->size - at >= size &&
            (at + size <= end || shki_blocks_shrink(s, at + size)))
            found = at;
    }
    free(list);
    return found;
}

/* ---- Creation ---- */

int shki_directory_begin(struct shk_segment *s, uint64_t me, const char *name, uint32_t kind,
                         uint64_t size, const uint32_t mutex_offset[SHKI_MUTEXES_MAX],
                         struct shki_entry **out)
{
    uint32_t hash = hash_of(name);
    struct shki_entry *e = find_free(s, hash);
    uint64_t at;

    if (e == NULL)
        return shki_fail(-ENOSPC,
                         "segment /%s holds %u objects already; it was created for no more",
                         s->name, s->max_objects);
    size = shki_extent_size(size);
    at = find_gap(s, size);
    if (at == 0)
        return shki_fail(
            -ENOSPC,
            "segment /%s has no room for an object of %llu bytes: its size is %llu; create it with "
            "a larger shk_segment_options.size",
            s->name, (unsigned long long)size, (unsigned long long)s->size);
    /* Killed from here to DE1: the entry is still free, whatever its fields are. */
    e->kind = kind;
    e->hash = hash;
    e->creator = getpid();
    e->serial = s->header->next_serial++;
    e->offset = at;
    e->size = size;
    e->created = time(NULL);
    memset(e->name, 0, sizeof(e->name));
    memcpy(e->name, name, strlen(name));
    memcpy(e->mutex_offset, mutex_offset, sizeof(e->mutex_offset));
    shki_process_forget_role(s, shki_entry_index(s, e));
    store_relaxed(&e->line[0], 0);
    store_relaxed(&e->line[1], 0);
    store_relaxed(&e->live_serial, 0);
    store_relaxed(&e->owner, me);
    if (at + size > s->header->heap_top)
        s->header->heap_top = at + size; /* killed after this: too high until a repair, harmless */
    /* DE1: the extent is the caller's. Killed after this: the owner is dead, it is collected. */
    store_release(&e->state, SHKI_ENTRY_CREATING);
    *out = e;
    return 0;
}

int shki_directory_allocate(struct shk_segment *s, struct shki_entry *e, uint64_t first)
{
    uint64_t size = first ? shki_round_up(first, SHKI_PAGE) : e->size;
    int r = shki_memory_allocate_zeroed(&s->memory, e->offset, e->size,
                                        size < e->size ? size : e->size);

    return r < 0 ? shki_fail(r, "no memory for an object of %llu bytes in segment /%s: %s",
                             (unsigned long long)size, s->name, strerror(-r))
                 : 0;
}

/* The owner's last store. Openers may be asleep until it. */
static void end_ownership(struct shki_entry *e, enum shki_entry_state state)
{
    store_release(&e->state, state); /* DE1 */
    /* Killed here: they check again after a SHKI_RECHECK. */
    syscall(SYS_futex, &e->state, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

void shki_directory_publish(struct shki_entry *e)
{
    /* DE2: no call has the entry yet. Killed after it: as before it. */
    store_relaxed(&e->live_serial, e->serial);
    /* DE1: publishes the entry and the object. */
    end_ownership(e, SHKI_ENTRY_LIVE);
}

/*
 * By the entry's owner: free the extent, and the object's blocks of the pool. Killed in it: the
 * next owner does it once more.
 */
static void free_memory(struct shk_segment *s, struct shki_entry *e)
{
    if (s->kinds == NULL || s->kinds->uses_pool(e->kind))
        shki_blocks_reclaim(s, shki_entry_index(s, e));
    if (shki_heap_has(s, e))
        shki_punch(s, e->offset, e->size);
}

void shki_directory_abandon(struct shk_segment *s, struct shki_entry *e)
{
    free_memory(s, e);
    end_ownership(e, SHKI_ENTRY_TOMBSTONE);
}

int shki_directory_await(struct shk_segment *s, struct shki_entry *e, int64_t deadline)
{
    int64_t left = deadline - shki_now();
    struct timespec recheck = {.tv_nsec = SHKI_RECHECK};

    if (left <= 0)
        return shki_fail(
            -EBUSY,
            "%s/%.*s has been in the making by another process for 10 seconds; is it stopped?",
            s->name, SHK_NAME_MAX, e->name);
    syscall(SYS_futex, &e->state, FUTEX_WAIT, SHKI_ENTRY_CREATING, &recheck, NULL, 0);
    return 0;
}

/* ---- The end of objects ---- */

void shki_directory_unlink(struct shk_segment *s, struct shki_entry *e)
{
    (void)s;
    /*
     * DE2: commits: each call gives -ESTALE. Pairs with the acquire in shki_is_stale(). Killed
     * after this: the repair in lock.c stores the state.
     */
    store_release(&e->live_serial, 0);
    /* DE1: the name is free. */
    store_release(&e->state, SHKI_ENTRY_UNLINKED);
}

/*
 * Nodes of dead members may still say that they wait in the extent. The living left it before they
 * closed their handle.
 */
static void forget_waits(struct shk_segment *s, uint64_t offset, uint64_t size)
{
    for (uint32_t i = 0; i < shki_members_ready(s); i++) {
        struct shki_node *n = shki_node_at(s, i);
        uint64_t list = load_relaxed(&n->list);

        if (list >= offset && list - offset < size)
            store_release(&n->list, 0);
    }
}

/* An extent, and what is free around it in the pages that it shares. */
static struct extent with_edges(const struct shk_segment *s, const struct extent *list, uint32_t n,
                                struct extent x)
{
    uint32_t low = 0, high = n, middle;
    uint64_t from = x.offset / SHKI_PAGE * SHKI_PAGE,
             to = shki_round_up(x.offset + x.size, SHKI_PAGE), free_from, free_to;

    while (low < high) { /* the first extent behind it */
        middle = low + (high - low) / 2;
        if (list[middle].offset > x.offset)
            high = middle;
        else
            low = middle + 1;
    }
    free_from = low > 0 ? list[low - 1].offset + list[low - 1].size : s->geometry.heap_offset;
    free_to = low < n ? list[low].offset : shki_heap_end(s);
    if (free_from > x.offset || free_to < x.offset + x.size)
        return x; /* damaged bytes */
    from = from < free_from ? free_from : from;
    to = to > free_to ? free_to : to;
    return (struct extent){from, to - from};
}

/*
 * The last object in a page frees the page: what `me` reclaims is extended by what is free around
 * it in its pages. So no object is created there before they have been punched.
 */
static void widen(struct shk_segment *s, uint64_t me)
{
    uint32_t n;
    struct extent *list = extents_without(s, me, &n), wide;

    for (uint32_t i = 0; list && i < s->max_objects; i++) {
        struct shki_entry *e = shki_entry_at(s, i);

        if (shki_entry_state(e) != SHKI_ENTRY_RECLAIMING || owner_of(e) != me ||
            !shki_heap_has(s, e))
            continue;
        wide = with_edges(s, list, n, (struct extent){e->offset, e->size});
        /* Killed between the two: its end is up to a page too low; nothing is there any more. */
        e->offset = wide.offset;
        e->size = wide.size;
    }
    free(list);
}

/*
 * Whether `me` may reclaim the entry. `checked`: deaths that the kernel has not marked have been
 * searched for.
 */
static bool is_over(struct shk_segment *s, uint32_t i, uint64_t me, bool *checked)
{
    const struct shki_entry *e = shki_entry_at(s, i);

    if (shki_entry_state(e) != SHKI_ENTRY_UNLINKED && !has_owner(e))
        return false;
    if (!*checked) { /* a member that died unnoticed uses and owns nothing */
        shki_recover_locked(s, false);
        *checked = true;
    }
    if (shki_entry_state(e) == SHKI_ENTRY_UNLINKED)
        return !shki_process_any_uses(s, i);
    /* One of the caller's own: of a call that has not ended properly. */
    return owner_of(e) == me || !shki_member_is_alive(s, owner_of(e));
}

bool shki_directory_collect(struct shk_segment *s, uint64_t me)
{
    bool checked = false, any = false;

    for (uint32_t i = 0; i < s->max_objects; i++) {
        struct shki_entry *e = shki_entry_at(s, i);

        if (!is_over(s, i, me, &checked))
            continue;
        forget_waits(s, e->offset, e->size);
        store_relaxed(&e->owner, me);
        /* DE1: killed before this: as it was. After it: the owner is dead, it is collected. */
        store_release(&e->state, SHKI_ENTRY_RECLAIMING);
        any = true;
    }
    if (any)
        widen(s, me);
    return any;
}

void shki_directory_reclaim(struct shk_segment *s, uint64_t me)
{
    for (uint32_t i = 0; i < s->max_objects; i++) {
        struct shki_entry *e = shki_entry_at(s, i);

        if (shki_entry_state(e) != SHKI_ENTRY_RECLAIMING || owner_of(e) != me)
            continue;
        free_memory(s, e);
        end_ownership(e, SHKI_ENTRY_TOMBSTONE);
    }
}
