/*
 * A once: a lock that is held by the member that does it, and a word that says that it is done.
 *
 *     begin                                        done
 *     ON1: done? then 0                            ON1: done = 1; orphaned = 0
 *     acquire the lock; was its holder dead?       release the lock
 *       then orphaned = 1
 *     done? then release the lock, 0               abandon
 *     MINE, and whether orphaned                   orphaned = 0; release the lock
 *
 * ON1: release and acquire: what was done is visible to each member that reads that it is done,
 * without the lock, too.
 *
 * Killed in the middle: the lock is a dead holder's, and its next holder is told. `orphaned` is
 * stored before that one is told, and stays until one has done or abandoned it: with the lock's own
 * mark alone the death would be forgotten by a reset, or by a member that gives up after it.
 */
#include "object/once.h"

#include <shmkit/inspect.h>

struct shk_once {
    struct shki_object object;
    struct shki_once_shared *shared;
    struct shk_lock lock; /* a view of the lock */
};

static int build(struct shki_object *o, const struct shki_plan *plan)
{
    struct shki_once_shared *shared = (void *)o->shared;

    (void)plan; /* zero: not done */
    return shki_lock_build(&shared->lock, false, false);
}

static int check(struct shki_object *o, const struct shki_plan *plan)
{
    struct shk_once *once = (struct shk_once *)o;
    int r;

    (void)plan;
    once->shared = (void *)o->shared;
    once->lock.object = *o;
    r = shki_lock_adopt(&once->lock, &once->shared->lock);
    once->lock.waits_for = SHK_WAITS_FOR_ONCE;
    once->lock.held = "another member is in the middle of it";
    return r;
}

int shk_once_open(struct shk_segment *segment, const char *name, unsigned flags,
                  const struct shk_once_options *options, struct shk_once **out)
{
    const struct shki_plan plan = {.kind = &shki_once_kind};
    int r;

    if (out == NULL)
        return SHKI_NO_HANDLE;
    *out = NULL;
    r = options ? shki_check_reserved(options->reserved, 8) : 0;
    if (r < 0)
        return r;
    *out = shki_handle_open(segment, name, flags, &plan, sizeof(**out), &r);
    return r;
}

static bool is_mine(const struct shk_once *once)
{
    return shki_lock_is_mine(&once->lock, shki_member_find(once->object.segment));
}

int shk_once_close(struct shk_once *once)
{
    if (once == NULL)
        return 0;
    if (once->object.segment->base && is_mine(once))
        return shki_fail(-EBUSY, "%s/%s: the calling thread is in the middle of it",
                         once->object.segment->name, once->object.name);
    shki_handle_close(&once->object);
    return 0;
}

static bool is_done(const struct shk_once *once)
{
    /* ON1: acquire; pairs with the release in shk_once_done() */
    return load_acquire(&once->shared->done) != 0;
}

/* 0 with the lock, or -errno. */
static int lock(struct shk_once *once, int64_t timeout)
{
    int r;

    if (is_mine(once))
        return shki_object_say(&once->object, -EDEADLK,
                               "the calling thread is in the middle of it");
    r = shk_lock_acquire(&once->lock, timeout);
    /*
     * Relaxed: written and read with the lock. Killed before: it is a dead holder's once more. A
     * member that died after it was done has left nothing.
     */
    if (r == SHK_ORPHANED && !is_done(once))
        store_relaxed(&once->shared->orphaned, 1);
    return r < 0 ? r : 0;
}

int shk_once_begin(struct shk_once *once, int64_t timeout)
{
    struct shki_member *m;
    int r = once ? shki_enter(&once->object, &m) : SHKI_NO_HANDLE;

    if (r < 0 || is_done(once))
        return r;
    r = lock(once, timeout);
    if (r < 0)
        return r;
    if (is_done(once))
        return shk_lock_release(&once->lock);
    return SHK_ONCE_MINE | (load_relaxed(&once->shared->orphaned) ? SHK_ORPHANED : 0);
}

/* In the middle of it: 0, or -EPERM and others. */
static int check_mine(const struct shk_once *once)
{
    if (once == NULL)
        return SHKI_NO_HANDLE;
    if (is_mine(once))
        return 0;
    if (shki_segment_is_closed(once->object.segment))
        return shki_lock_refuse(&once->lock);
    return shki_object_say(&once->object, -EPERM, "the calling thread has not begun it");
}

int shk_once_done(struct shk_once *once)
{
    int r = check_mine(once);

    if (r < 0)
        return r;
    /* ON1: release; commits. Killed after: the next holder of the lock finds it done. */
    store_release(&once->shared->done, 1);
    store_relaxed(&once->shared->orphaned, 0);
    return shk_lock_release(&once->lock);
}

int shk_once_abandon(struct shk_once *once)
{
    int r = check_mine(once);

    if (r < 0)
        return r;
    /* Killed after: the next holder of the lock is told of this death. */
    store_relaxed(&once->shared->orphaned, 0);
    return shk_lock_release(&once->lock);
}

int shk_once_reset(struct shk_once *once)
{
    struct shki_member *m;
    int r = once ? shki_enter(&once->object, &m) : SHKI_NO_HANDLE;

    if (r == 0)
        r = lock(once, SHK_NOWAIT);
    if (r < 0)
        return r;
    /* Relaxed: it takes nothing back from those that have been told. Commits. */
    store_relaxed(&once->shared->done, 0);
    return shk_lock_release(&once->lock);
}

int shk_once_is_done(struct shk_once *once)
{
    struct shki_member *m;
    int r = once ? shki_enter(&once->object, &m) : SHKI_NO_HANDLE;

    return r < 0 ? r : is_done(once);
}

static void wake_at_unlink(struct shki_object *o)
{
    shki_lock_unlinked(&((struct shki_once_shared *)(void *)o->shared)->lock);
}

static uint64_t owner(const struct shki_image *image, const struct shki_entry *e, uint64_t waiter,
                      unsigned n)
{
    (void)waiter;
    return n == 0 ? shki_lock_owner(image, e, offsetof(struct shki_once_shared, lock)) : 0;
}

static void describe(const struct shki_image *image, const struct shki_entry *e, const void *shared,
                     struct shk_object_info *info)
{
    const struct shki_once_shared *once = shared;
    struct shk_object_info lock = {0};

    (void)image;
    (void)e;
    shki_lock_describe(&once->lock, &lock);
    info->holder = lock.holder;
    info->holders_lost = load_relaxed(&once->lock.repairs.holders_lost);
    info->as.once.done = load_relaxed(&once->done) != 0;
    info->as.once.orphaned =
        !info->as.once.done && (load_relaxed(&once->orphaned) != 0 || lock.as.lock.orphaned);
}

const struct shki_kind shki_once_kind = {
    .number = SHK_KIND_ONCE,
    .name = "a once",
    .size = sizeof(struct shki_once_shared),
    .mutex_offset = {offsetof(struct shki_once_shared, lock.mutex)},
    .build = build,
    .check = check,
    .wake_at_unlink = wake_at_unlink,
    .owner = owner,
    .describe = describe,
};
