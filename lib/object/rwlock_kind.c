/* The rwlock as a kind of objects: what opens and closes it, wakes it and describes it. */
#include "object/rwlock.h"

#include "object/remote.h"
#include "segment/image.h"
#include "sync/park.h"

#include <shmkit/inspect.h>

/* ---- Opening ---- */

static int build(struct shki_object *o, const struct shki_plan *plan)
{
    const struct shk_rwlock_options *options = plan->options;
    struct shki_rwlock_shared *shared = (void *)o->shared;

    shared->no_deadlock_check = options && options->no_deadlock_check;
    store_relaxed(&shared->readers_ready, shki_rw_lines_in(plan->memory));
    store_relaxed(&shared->state, SHKI_RW_BIASED);
    return shki_lock_build(&shared->lock, false, shared->no_deadlock_check);
}

static int check(struct shki_object *o, const struct shki_plan *plan)
{
    const struct shk_rwlock_options *options = plan->options;
    struct shk_rwlock *l = (struct shk_rwlock *)o;

    l->shared = (void *)o->shared;
    l->readers_max = shki_rw_lines_in(o->size);
    if (l->readers_max < o->segment->max_members)
        return shki_fail(-EPROTO, "%s/%s is damaged: its extent", o->segment->name, o->name);
    if (options && options->no_deadlock_check != l->shared->no_deadlock_check)
        return shki_fail(-EPROTOTYPE, "%s/%s is%s checked for deadlocks", o->segment->name, o->name,
                         l->shared->no_deadlock_check ? " not" : "");
    l->lock.object = *o;
    return shki_lock_adopt(&l->lock, &l->shared->lock);
}

int shk_rwlock_open(struct shk_segment *segment, const char *name, unsigned flags,
                    const struct shk_rwlock_options *options, struct shk_rwlock **out)
{
    struct shki_plan plan = {.kind = &shki_rwlock_kind, .options = options};
    int r;

    if (out == NULL)
        return SHKI_NO_HANDLE;
    *out = NULL;
    if (options && (options->no_deadlock_check > 1 || options->reserved_32))
        return shki_say(-EINVAL, "an option of the rwlock is neither 0 nor 1");
    r = options ? shki_check_reserved(options->reserved, 8) : 0;
    if (r < 0)
        return r;
    if (segment) {
        plan.size = sizeof(struct shki_rwlock_shared) +
                    segment->max_members * (uint64_t)sizeof(struct shki_rwlock_reader);
        plan.memory = plan.size < SHKI_PAGE ? plan.size : SHKI_PAGE;
    }
    *out = shki_handle_open(segment, name, flags, &plan, sizeof(**out), &r);
    return r == SHKI_REMOTE ? segment->remote->rwlock->open(segment, name, flags, options, out) : r;
}

int shk_rwlock_close(struct shk_rwlock *l)
{
    struct shki_member *m;

    if (l == NULL)
        return 0;
    if (l->object.segment->remote)
        return l->object.segment->remote->rwlock->close(l);
    m = l->object.segment->base ? shki_member_find(l->object.segment) : NULL;
    if (m && (shki_lock_is_mine(&l->lock, m) || shki_rw_reads(l, m)))
        return shki_fail(-EBUSY, "%s/%s: the calling thread holds the rwlock",
                         l->object.segment->name, l->object.name);
    shki_handle_close(&l->object);
    return 0;
}

/* ---- Waking ---- */

static void wake_at_unlink(struct shki_object *o)
{
    struct shki_rwlock_shared *shared = (void *)o->shared;
    uint64_t none = 0, state = fetch_or_release(&shared->state, SHKI_RW_UNLINKED);

    /* Killed before any: waiters find it stale at the end of their recheck interval. */
    compare_exchange_relaxed(&shared->unlinked_in, &none, state | SHKI_RW_UNLINKED);
    shki_lock_unlinked(&shared->lock);
    shki_wake_all_at(&shared->state);
    shki_rw_tell_writer(shared);
}

static void wake_at_close(struct shki_object *o, uint32_t waits_for)
{
    struct shki_rwlock_shared *shared = (void *)o->shared;

    if (waits_for == SHK_WAITS_TO_READ)
        shki_wake_all_at(&shared->state);
    else
        shki_rw_tell_writer(shared);
}

/* ---- Inspection ---- */

#define BATCH 16u /* lines that are read at a time */

/* A copy of the lines from `first` on: how many; 0: no more. */
static uint32_t read_lines(const struct shki_image *image, const struct shki_entry *e,
                           const struct shki_rwlock_shared *shared, uint32_t first,
                           struct shki_rwlock_reader lines[BATCH])
{
    uint32_t n = load_relaxed(&shared->readers_ready), most = shki_rw_lines_in(e->size);

    n = n < most ? n : most;
    n = n < image->members_ready ? n : image->members_ready;
    if (first >= n)
        return 0;
    n = n - first < BATCH ? n - first : BATCH;
    return shki_image_has(image, e, sizeof(*shared) + (first + n) * sizeof(lines[0])) &&
                   shki_image_read(image, e->offset + sizeof(*shared) + first * sizeof(lines[0]),
                                   lines, n * sizeof(lines[0]))
               ? n
               : 0;
}

static bool is_living(const struct shki_image *image, uint64_t id)
{
    struct shki_member_shared m;

    return id != 0 && shki_image_member(image, shki_member_index(id), &m) &&
           load_relaxed(&m.id) == id && shki_robust_is_held(&m.life);
}

static uint64_t writer_of(const struct shki_rwlock_shared *shared)
{
    const struct shki_mutex *mutex = &shared->lock.mutex;

    return shki_robust_is_held(&mutex->robust) ? load_relaxed(&mutex->holder) : 0;
}

/* The n-th living reader that a writer waits for, or would; or 0. `all`: if not NULL, how many. */
static uint64_t nth_reader(const struct shki_image *image, const struct shki_entry *e,
                           const struct shki_rwlock_shared *shared, unsigned n, uint32_t *all)
{
    struct shki_rwlock_reader lines[BATCH];
    uint64_t turn = shki_rw_turn_of(load_relaxed(&shared->state)), found = 0;
    bool is_turn = turn & SHKI_RW_WRITER;
    uint32_t read, count = 0;

    for (uint32_t first = 0;
         (all || found == 0) && (read = read_lines(image, e, shared, first, lines)) != 0;
         first += read) {
        for (uint32_t i = 0; i < read; i++) {
            uint64_t id = load_relaxed(&lines[i].member);

            uint64_t waits = load_relaxed(&lines[i].waits);

            if ((is_turn ? waits == turn : waits != 0) || !is_living(image, id))
                continue;
            if (count++ == n)
                found = id;
        }
    }
    if (all)
        *all = count;
    return found;
}

/* Whether the turn is over that the member waits for, as a reader: it is about to go on. */
static bool has_been_let_in(const struct shki_image *image, const struct shki_entry *e,
                            const struct shki_rwlock_shared *shared, uint64_t id)
{
    struct shki_rwlock_reader lines[BATCH];
    uint32_t index = shki_member_index(id), first = index - index % BATCH;

    return read_lines(image, e, shared, first, lines) > index - first &&
           load_relaxed(&lines[index - first].member) == id &&
           load_relaxed(&lines[index - first].waits) !=
               shki_rw_turn_of(load_relaxed(&shared->state));
}

/* A writer with its turn waits for readers, all others wait for that writer. */
static uint64_t owner(const struct shki_image *image, const struct shki_entry *e, uint64_t waiter,
                      unsigned n)
{
    struct shki_rwlock_shared shared;
    uint64_t writer;

    if (!shki_image_has(image, e, sizeof(shared)) ||
        !shki_image_read(image, e->offset, &shared, sizeof(shared)))
        return 0;
    writer = writer_of(&shared);
    if (writer == waiter)
        return load_relaxed(&shared.state) & SHKI_RW_WRITER ? nth_reader(image, e, &shared, n, NULL)
                                                            : 0;
    return n == 0 && !has_been_let_in(image, e, &shared, waiter) ? writer : 0;
}

static void describe(const struct shki_image *image, const struct shki_entry *e, const void *shared,
                     struct shk_object_info *info)
{
    const struct shki_rwlock_shared *rwlock = shared;
    uint64_t state = load_relaxed(&rwlock->state);
    bool died = shki_robust_owner_died(&rwlock->lock.mutex.robust);

    for (unsigned i = 0; i < sizeof(info->as.rwlock.reader) / sizeof(info->as.rwlock.reader[0]);
         i++)
        info->as.rwlock.reader[i] =
            nth_reader(image, e, rwlock, i, i == 0 ? &info->as.rwlock.readers : NULL);
    info->holder = state & SHKI_RW_WRITER ? writer_of(rwlock) : 0;
    info->as.rwlock.writing = info->holder != 0 && state & SHKI_RW_WRITING;
    info->as.rwlock.orphaned = state & SHKI_RW_ORPHANED || (died && state & SHKI_RW_WRITING);
    info->as.rwlock.no_deadlock_check = rwlock->no_deadlock_check != 0;
}

const struct shki_kind shki_rwlock_kind = {
    .number = SHK_KIND_RWLOCK,
    .name = "a rwlock",
    .size = sizeof(struct shki_rwlock_shared),
    .mutex_offset = {offsetof(struct shki_rwlock_shared, lock.mutex)},
    .remote = offsetof(struct shki_remote, rwlock),
    .build = build,
    .check = check,
    .wake_at_unlink = wake_at_unlink,
    .wake_at_close = wake_at_close,
    .owner = owner,
    .describe = describe,
};
