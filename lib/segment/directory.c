#include "segment/directory.h"

#include "base/error.h"
#include "segment/member.h"
#include "segment/pool.h"
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
    return (struct shki_entry *)(void *)(s->base + s->geometry.entries_offset) + index;
}

uint32_t shki_entry_index(const struct shk_segment *s, const struct shki_entry *e)
{
    return (uint32_t)(e - shki_entry_at(s, 0));
}

/*
 * DE1: acquire; a keeper ends what it does with a store without the lock, which orders all other
 * changes.
 */
static uint32_t state_of(const struct shki_entry *e)
{
    return load_acquire(&e->state);
}

static bool has_extent(const struct shki_entry *e)
{
    return state_of(e) >= SHKI_ENTRY_LIVE;
}

/* Its keeper alone touches its memory, and ends that without the lock. */
static bool is_kept(const struct shki_entry *e)
{
    return state_of(e) == SHKI_ENTRY_CREATING || state_of(e) == SHKI_ENTRY_RECLAIMING;
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

        if (state_of(e) == SHKI_ENTRY_FREE)
            return NULL;
        if ((state_of(e) == SHKI_ENTRY_LIVE || state_of(e) == SHKI_ENTRY_CREATING) &&
            e->hash == hash && strncmp(e->name, name, sizeof(e->name)) == 0)
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

    return e->offset >= s->geometry.heap_offset && e->offset <= end && e->size <= end - e->offset;
}

struct shki_mutex *shki_entry_mutex(const struct shk_segment *s, const struct shki_entry *e,
                                    unsigned k)
{
    uint64_t extent = e->offset, size = e->size;
    uint32_t at = e->mutex_offset[k];

    if (at == 0 || (extent + at) % alignof(struct shki_mutex) || extent < s->geometry.heap_offset ||
        extent > s->size || size > s->size - extent || at > size ||
        sizeof(struct shki_mutex) > size - at)
        return NULL;
    return (struct shki_mutex *)(void *)(s->base + extent + at);
}

static int by_offset(const void *a, const void *b)
{
    const struct extent *x = a, *y = b;

    return (x->at > y->at) - (x->at < y->at);
}

/*
 * All extents, in order, but for what damaged entries say, and for those that `me` is clearing.
 * NULL with *n 0 if memory is out.
 */
static struct extent *extents_without(struct shk_segment *s, uint64_t me, uint32_t *n)
{
    struct extent *list = calloc(s->max_objects, sizeof(*list));

    *n = 0;
    for (uint32_t i = 0; list && i < s->max_objects; i++) {
        const struct shki_entry *e = shki_entry_at(s, i);

        if (state_of(e) == SHKI_ENTRY_RECLAIMING && owner_of(e) == me)
            continue;
        if (has_extent(e) && is_possible(s, e))
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
 * Above all extents if there is room (the usual case, without a search), else the lowest gap. 0:
 * none.
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
        if (!found && list[i].at >= at && list[i].at - at >= size)
            found = at;
        if (list[i].at + list[i].size > at)
            at = list[i].at + list[i].size;
        if (!found)
            at = shki_round_up(at, unit);
    }
    s->header->heap_top = at; /* what is to be tried first from now on */
    if (!found) {
        at = shki_round_up(at, unit);
        if (at <= s->size && s->size - at >= size &&
            (at + size <= end || shki_pool_shrink(s, at + size)))
            found = at;
    }
    free(list);
    return found;
}

uint64_t shki_directory_top(struct shk_segment *s)
{
    uint64_t top = s->geometry.heap_offset;

    for (uint32_t i = 0; i < s->max_objects; i++) {
        const struct shki_entry *e = shki_entry_at(s, i);

        if (has_extent(e) && is_possible(s, e) && e->offset + e->size > top)
            top = e->offset + e->size;
    }
    return top;
}

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
    /* killed from here to DE1: the entry is still free, whatever it says */
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
    store_relaxed(&e->live_serial, 0);
    store_relaxed(&e->owner, me);
    if (at + size > s->header->heap_top)
        s->header->heap_top = at + size; /* killed after this: too high until repaired, harmless */
    /*
     * DE1: the extent is the caller's. Killed after this: its keeper is dead, and it is condemned.
     */
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

/* The keeper's last store. Openers may sleep until it has come. */
static void end_keeping(struct shki_entry *e, enum shki_entry_state state)
{
    store_release(&e->state, state);
    /* Killed here: they look again at the end of a slice. */
    syscall(SYS_futex, &e->state, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

void shki_directory_publish(struct shki_entry *e)
{
    /* DE2: of a name that nothing finds yet. Killed after it: as before it. */
    store_relaxed(&e->live_serial, e->serial);
    /*
     * DE1: publishes the entry and the object; pairs with the acquire in state_of(), and with the
     * inspector's order of reads.
     */
    end_keeping(e, SHKI_ENTRY_LIVE);
}

/*
 * By its keeper: the extent, and the object's blocks of the pool. Killed in here: its next keeper does
 * it once more.
 */
static void take_memory_back(struct shk_segment *s, struct shki_entry *e)
{
    if (s->kinds == NULL || s->kinds->uses_pool(e->kind))
        shki_pool_reclaim(s, shki_entry_index(s, e));
    if (is_possible(s, e))
        shki_punch(s, e->offset, e->size);
}

void shki_directory_abandon(struct shk_segment *s, struct shki_entry *e)
{
    take_memory_back(s, e);
    end_keeping(e, SHKI_ENTRY_TOMBSTONE);
}

int shki_directory_await(struct shk_segment *s, struct shki_entry *e, int64_t deadline)
{
    int64_t left = deadline - shki_now();
    struct timespec slice = {.tv_nsec = SHKI_RECHECK};

    if (left <= 0)
        return shki_fail(
            -EBUSY,
            "%s/%.*s has been in the making by another process for 10 seconds; is it stopped?",
            s->name, SHK_NAME_MAX, e->name);
    syscall(SYS_futex, &e->state, FUTEX_WAIT, SHKI_ENTRY_CREATING, &slice, NULL, 0);
    return 0;
}

void shki_directory_unlink(struct shk_segment *s, struct shki_entry *e)
{
    (void)s;
    /*
     * DE2: commits: every call gives -ESTALE. Pairs with the acquire in shki_is_stale(). Killed
     * after this: repair takes the name away.
     */
    store_release(&e->live_serial, 0);
    /* DE1: the name is free. */
    store_release(&e->state, SHKI_ENTRY_UNLINKED);
}

/*
 * Nodes of the dead may still say that they wait in it; the living left it before they gave up
 * their handle.
 */
static void forget_waits(struct shk_segment *s, uint64_t at, uint64_t size)
{
    for (uint32_t i = 0; i < shki_members_ready(s); i++) {
        struct shki_node *n = shki_node_at(s, i);
        uint64_t list = load_relaxed(&n->list);

        if (list >= at && list - at < size)
            store_release(&n->list, 0);
    }
}

/* What is free around an extent, in the pages that it shares. */
static struct extent with_edges(const struct shk_segment *s, const struct extent *list, uint32_t n,
                                struct extent x)
{
    uint32_t low = 0, high = n, middle;
    uint64_t from = x.at / SHKI_PAGE * SHKI_PAGE, to = shki_round_up(x.at + x.size, SHKI_PAGE),
             free_from, free_to;

    while (low < high) { /* the first that lies behind it */
        middle = low + (high - low) / 2;
        if (list[middle].at > x.at)
            high = middle;
        else
            low = middle + 1;
    }
    free_from = low > 0 ? list[low - 1].at + list[low - 1].size : s->geometry.heap_offset;
    free_to = low < n ? list[low].at : shki_heap_end(s);
    if (free_from > x.at || free_to < x.at + x.size)
        return x; /* damaged */
    from = from < free_from ? free_from : from;
    to = to > free_to ? free_to : to;
    return (struct extent){from, to - from};
}

/*
 * The last object in a page takes the page with it: what `me` clears is extended by what is free
 * around it in its pages, so that no object comes there before they have been taken back.
 */
static void widen(struct shk_segment *s, uint64_t me)
{
    uint32_t n;
    struct extent *list = extents_without(s, me, &n), wide;

    for (uint32_t i = 0; list && i < s->max_objects; i++) {
        struct shki_entry *e = shki_entry_at(s, i);

        if (state_of(e) != SHKI_ENTRY_RECLAIMING || owner_of(e) != me || !is_possible(s, e))
            continue;
        wide = with_edges(s, list, n, (struct extent){e->offset, e->size});
        /* killed between: its end is up to a page too low; nothing is there any more */
        e->offset = wide.at;
        e->size = wide.size;
    }
    free(list);
}

/*
 * Whether nothing keeps it from being cleared. `looked`: for deaths that the kernel has not marked.
 */
static bool is_over(struct shk_segment *s, uint32_t i, uint64_t me, bool *looked)
{
    const struct shki_entry *e = shki_entry_at(s, i);

    if (state_of(e) != SHKI_ENTRY_UNLINKED && !is_kept(e))
        return false;
    if (!*looked) /* the dead whose death has not been noticed use and keep nothing */
        *looked = shki_recover_locked(s, false) || true;
    if (state_of(e) == SHKI_ENTRY_UNLINKED)
        return !shki_process_any_uses(s, i);
    /* The caller's own: a call of its that has not come to its end. */
    return owner_of(e) == me || !shki_member_is_alive(s, owner_of(e));
}

bool shki_directory_collect(struct shk_segment *s, uint64_t me)
{
    bool looked = false, any = false;

    for (uint32_t i = 0; i < s->max_objects; i++) {
        struct shki_entry *e = shki_entry_at(s, i);

        if (!is_over(s, i, me, &looked))
            continue;
        forget_waits(s, e->offset, e->size);
        store_relaxed(&e->owner, me);
        /*
         * DE1: killed before this: as it was. After it: condemned once more, its keeper being dead.
         */
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

        if (state_of(e) != SHKI_ENTRY_RECLAIMING || owner_of(e) != me)
            continue;
        take_memory_back(s, e);
        end_keeping(e, SHKI_ENTRY_TOMBSTONE);
    }
}

void shki_directory_repair(struct shk_segment *s)
{
    uint64_t top = s->geometry.heap_offset;
    struct extent *list;
    uint32_t n;

    for (uint32_t i = 0; i < s->max_objects; i++) {
        struct shki_entry *e = shki_entry_at(s, i);

        /*
         * DE1, which a dead unlinker left out. A publisher has stored the serial before the state.
         */
        if (state_of(e) == SHKI_ENTRY_LIVE && load_relaxed(&e->live_serial) == 0)
            store_release(&e->state, SHKI_ENTRY_UNLINKED);
        if (has_extent(e) && e->serial >= s->header->next_serial)
            s->header->next_serial = e->serial + 1;
    }
    shki_pool_repair(s);
    list = extents(s, &n);
    for (uint32_t i = 0; list && i < n; i++)
        if (list[i].at + list[i].size > top)
            top = list[i].at + list[i].size;
    if (list)
        s->header->heap_top = top;
    free(list);
}
