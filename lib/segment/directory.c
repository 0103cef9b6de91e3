#include "segment/directory.h"

#include "base/error.h"
#include "segment/member.h"
#include "segment/pool.h"
#include "segment/recover.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static uint32_t hash_of(const char *name) /* FNV-1a */
{
    uint32_t h = 2166136261u;

    for (; *name; name++)
        h = (h ^ (unsigned char)*name) * 16777619u;
    return h;
}

struct shki_entry *shki_entry_at(const struct shk_segment *s, uint32_t index)
{
    if (index >= s->max_objects)
        return NULL;
    return (struct shki_entry *)(void *)(s->base + s->at.entries_at) + index;
}

uint32_t shki_entry_index(const struct shk_segment *s, const struct shki_entry *e)
{
    return (uint32_t)(e - shki_entry_at(s, 0));
}

/* Relaxed is enough under the lock, which orders all changes. */
static uint32_t state_of(const struct shki_entry *e)
{
    return atomic_load_explicit(&e->state, memory_order_relaxed);
}

static bool has_extent(const struct shki_entry *e)
{
    return state_of(e) == SHKI_ENTRY_LIVE || state_of(e) == SHKI_ENTRY_UNLINKED;
}

struct shki_entry *shki_directory_find(struct shk_segment *s, const char *name)
{
    uint32_t hash = hash_of(name);

    for (uint32_t i = 0; i < s->max_objects; i++) {
        struct shki_entry *e = shki_entry_at(s, (hash % s->max_objects + i) % s->max_objects);

        if (state_of(e) == SHKI_ENTRY_FREE)
            return NULL;
        if (state_of(e) == SHKI_ENTRY_LIVE && e->hash == hash && strncmp(e->name, name, sizeof(e->name)) == 0)
            return e;
    }
    return NULL;
}

static struct shki_entry *find_free(struct shk_segment *s, uint32_t hash)
{
    for (uint32_t i = 0; i < s->max_objects; i++) {
        struct shki_entry *e = shki_entry_at(s, (hash % s->max_objects + i) % s->max_objects);

        if (!has_extent(e))
            return e;
    }
    return NULL;
}

struct extent {
    uint64_t at, size;
};

/* Whatever the bytes of an entry are: within the heap. */
static bool is_possible(const struct shk_segment *s, const struct shki_entry *e)
{
    uint64_t end = shki_heap_end(s);

    return e->at >= s->at.heap_at && e->at <= end && e->size <= end - e->at;
}

struct shki_mutex *shki_entry_mutex(const struct shk_segment *s, const struct shki_entry *e, unsigned k)
{
    uint64_t extent = e->at, size = e->size;
    uint32_t at = e->mutex_at[k];

    if (at == 0 || (extent + at) % alignof(struct shki_mutex) || extent < s->at.heap_at || extent > s->size || size > s->size - extent ||
        at > size || sizeof(struct shki_mutex) > size - at)
        return NULL;
    return (struct shki_mutex *)(void *)(s->base + extent + at);
}

static int by_offset(const void *a, const void *b)
{
    const struct extent *x = a, *y = b;

    return (x->at > y->at) - (x->at < y->at);
}

/* All extents, in order, but for what damaged entries say. Returns NULL with *n 0 if there are none, NULL with *n 1 if memory is out. */
static struct extent *extents(struct shk_segment *s, uint32_t *n)
{
    struct extent *list = calloc(s->max_objects, sizeof(*list));

    *n = list == NULL;
    for (uint32_t i = 0; list && i < s->max_objects; i++) {
        const struct shki_entry *e = shki_entry_at(s, i);

        if (has_extent(e) && is_possible(s, e))
            list[(*n)++] = (struct extent){ e->at, e->size };
    }
    if (list)
        qsort(list, *n, sizeof(*list), by_offset);
    return list;
}

/* Above all extents if there is room (the usual case, without a search), else the lowest gap. 0: none. */
static uint64_t find_gap(struct shk_segment *s, uint64_t size)
{
    uint64_t unit = shki_extent_unit(size), at = s->header->heap_top, end = shki_heap_end(s), found = 0;
    struct extent *list;
    uint32_t n;

    if (at >= s->at.heap_at && at <= end) {
        at = shki_round_up(at, unit);
        if (at <= end && size <= end - at)
            return at;
    }
    list = extents(s, &n);
    if (list == NULL)
        return 0;
    at = s->at.heap_at;
    for (uint32_t i = 0; i < n && !found; i++) {
        if (list[i].at >= at && list[i].at - at >= size)
            found = at;
        else if (list[i].at + list[i].size > at)
            at = shki_round_up(list[i].at + list[i].size, unit);
    }
    if (!found && at <= s->size && s->size - at >= size && (at + size <= end || shki_pool_shrink(s, at + size)))
        found = at;
    free(list);
    return found;
}

uint64_t shki_directory_top(struct shk_segment *s)
{
    uint64_t top = s->at.heap_at;

    for (uint32_t i = 0; i < s->max_objects; i++) {
        const struct shki_entry *e = shki_entry_at(s, i);

        if (has_extent(e) && is_possible(s, e) && e->at + e->size > top)
            top = e->at + e->size;
    }
    return top;
}

int shki_directory_allocate(struct shk_segment *s, uint64_t size, uint64_t first, uint64_t *at)
{
    bool zero;
    int r;

    size = shki_extent_size(size);
    first = first ? shki_round_up(first, SHKI_PAGE) : size;
    shki_directory_reclaim(s);
    *at = find_gap(s, size);
    if (*at == 0)
        return shki_fail(-ENOSPC, "segment /%s has no room for an object of %llu bytes: its size is %llu; create it with a larger shk_segment_options.size",
                         s->name, (unsigned long long)size, (unsigned long long)s->size);
    zero = shki_punch(s, *at, size); /* what an object unlinked, or a process killed right here, may have left */
    r = shki_allocate(s, *at, first, true);
    if (r < 0)
        return shki_fail(r, "no memory for an object of %llu bytes in segment /%s: %s", (unsigned long long)first, s->name, strerror(-r));
    if (!zero)
        memset(s->base + *at, 0, first);
    return 0;
}

void shki_directory_discard(struct shk_segment *s, uint64_t at, uint64_t size)
{
    shki_punch(s, at, shki_extent_size(size));
}

int shki_directory_publish(struct shk_segment *s, const char *name, uint32_t kind, uint64_t at, uint64_t size, const uint32_t mutex_at[SHKI_MUTEXES_MAX],
                           struct shki_entry **out)
{
    uint32_t hash = hash_of(name);
    struct shki_entry *e = find_free(s, hash);

    size = shki_extent_size(size);
    if (e == NULL)
        return shki_fail(-ENOSPC, "segment /%s holds %u objects already; it was created for no more", s->name, s->max_objects);
    /* killed from here to E1: the entry is still free, whatever it says */
    e->kind = kind;
    e->hash = hash;
    e->creator = getpid();
    e->number = s->header->next_serial++;
    e->at = at;
    e->size = size;
    e->created = time(NULL);
    memset(e->name, 0, sizeof(e->name));
    memcpy(e->name, name, strlen(name));
    memcpy(e->mutex_at, mutex_at, sizeof(e->mutex_at));
    atomic_store_explicit(&e->serial, e->number, memory_order_relaxed);
    if (at + size > s->header->heap_top)
        s->header->heap_top = at + size; /* killed after this: too high until repaired, harmless */
    /* E1: publishes the entry and the object; pairs with the lock for the others, and with the inspector's order of reads. */
    atomic_store_explicit(&e->state, SHKI_ENTRY_LIVE, memory_order_release);
    *out = e;
    return 0;
}

void shki_directory_unlink(struct shk_segment *s, struct shki_entry *e)
{
    (void)s;
    /* E2: commits: every call gives -ESTALE. Pairs with the acquire in shki_is_stale(). Killed after this: repair takes the name away. */
    atomic_store_explicit(&e->serial, 0, memory_order_release);
    /* E1: the name is free. */
    atomic_store_explicit(&e->state, SHKI_ENTRY_UNLINKED, memory_order_release);
}

static bool is_used(struct shk_segment *s, uint32_t entry)
{
    for (uint32_t i = 0; i < shki_members_ready(s); i++) {
        uint64_t id = atomic_load_explicit(&shki_member_at(s, i)->id, memory_order_acquire);
        uint64_t bits = atomic_load_explicit(&shki_uses_of(s, i)[entry / 64], memory_order_acquire);

        if (id != 0 && (bits >> (entry % 64) & 1) && shki_member_is_alive(s, id))
            return true;
    }
    return false;
}

/* Nodes of the dead may still say that they wait in it; the living left it before they gave up their handle. */
static void forget_waits(struct shk_segment *s, uint64_t at, uint64_t size)
{
    for (uint32_t i = 0; i < shki_members_ready(s); i++) {
        struct shki_node *n = shki_node_at(s, i);
        uint64_t list = atomic_load_explicit(&n->list, memory_order_relaxed);

        if (list >= at && list - at < size)
            atomic_store_explicit(&n->list, 0, memory_order_release);
    }
}

/* What nobody has around what nobody has any more: that may have been the last in its pages. */
static struct extent gap_around(const struct shk_segment *s, const struct extent *list, uint32_t n, struct extent gone)
{
    uint32_t low = 0, high = n, middle;
    uint64_t from, to;

    while (low < high) { /* the first that lies behind it */
        middle = low + (high - low) / 2;
        if (list[middle].at > gone.at)
            high = middle;
        else
            low = middle + 1;
    }
    from = low > 0 ? list[low - 1].at + list[low - 1].size : s->at.heap_at;
    to = low < n ? list[low].at : shki_heap_end(s);
    return (struct extent){ from, to > from ? to - from : 0 };
}

void shki_directory_reclaim(struct shk_segment *s)
{
    struct extent *gone = NULL, *list, gap;
    uint32_t n_gone = 0, n;
    bool looked = false;

    for (uint32_t i = 0; i < s->max_objects; i++) {
        struct shki_entry *e = shki_entry_at(s, i);

        if (state_of(e) != SHKI_ENTRY_UNLINKED)
            continue;
        if (!looked) /* the dead whose death has not been noticed use nothing */
            looked = shki_recover_locked(s, false) || true;
        if (is_used(s, i))
            continue;
        forget_waits(s, e->at, e->size);
        if (e->kind == SHK_KIND_QUEUE)
            shki_pool_reclaim(s, i);
        if (gone == NULL)
            gone = calloc(s->max_objects, sizeof(*gone));
        if (gone && is_possible(s, e))
            gone[n_gone++] = (struct extent){ e->at, e->size };
        if (e->at + e->size == s->header->heap_top)
            s->header->heap_top = e->at;
        /* killed before this: done once more by the next one. After it: who inherits the lock punches all gaps */
        atomic_store_explicit(&e->state, SHKI_ENTRY_GONE, memory_order_release);
    }
    list = n_gone ? extents(s, &n) : NULL;
    for (uint32_t i = 0; i < n_gone; i++) {
        gap = list ? gap_around(s, list, n, gone[i]) : gone[i];
        shki_punch(s, gap.at, gap.size);
    }
    free(list);
    free(gone);
}

void shki_directory_repair(struct shk_segment *s)
{
    uint64_t top = s->at.heap_at;
    struct extent *list;
    uint32_t n;

    for (uint32_t i = 0; i < s->max_objects; i++) {
        struct shki_entry *e = shki_entry_at(s, i);

        if (state_of(e) == SHKI_ENTRY_LIVE && atomic_load_explicit(&e->serial, memory_order_relaxed) == 0)
            atomic_store_explicit(&e->state, SHKI_ENTRY_UNLINKED, memory_order_release); /* E1, which a dead unlinker left out */
        if (has_extent(e) && e->number >= s->header->next_serial)
            s->header->next_serial = e->number + 1;
    }
    shki_pool_repair(s);
    /* Between the extents there may be memory of an object that was never published. */
    list = extents(s, &n);
    for (uint32_t i = 0; list && i < n; i++) {
        if (list[i].at > top)
            shki_punch(s, top, list[i].at - top);
        if (list[i].at + list[i].size > top)
            top = list[i].at + list[i].size;
    }
    if (list && top < shki_heap_end(s))
        shki_punch(s, top, shki_heap_end(s) - top);
    if (list)
        s->header->heap_top = top;
    free(list);
}
