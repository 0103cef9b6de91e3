/* The lock as a kind of objects: what opens and closes it, and describes it. */
#include "object/lock.h"

#include "object/remote.h"
#include "segment/image.h"

#include <shmkit/inspect.h>

/*
 * The backoff of a new lock's spinner: it does not spin at first, since with many locks the first
 * spins add up. At a lock that is waited for often a probe finds that spinning pays.
 */
#define SPIN_FIRST 3

_Static_assert(sizeof(struct shki_lock_shared) == sizeof(struct shki_mutex) + 64,
               "one line that is mostly read, one that changes");

/* ---- Opening ---- */

int shki_lock_build(struct shki_lock_shared *shared, bool recursive, bool no_deadlock_check)
{
    shared->recursive = recursive;
    shared->no_deadlock_check = no_deadlock_check;
    return shki_robust_init(&shared->mutex.robust);
}

int shki_lock_adopt(struct shk_lock *l, struct shki_lock_shared *shared)
{
    l->shared = shared;
    l->waits_for = SHK_WAITS_TO_ACQUIRE;
    l->held = "the lock is held";
    atomic_init(&l->spinner.backoff, shki_policy(SHKI_POLICY_LOCK_FIRST) ? SPIN_FIRST : 0);
    l->recursive = shared->recursive != 0;
    l->no_deadlock_check = shared->no_deadlock_check != 0;
    return shared->recursive > 1 || shared->no_deadlock_check > 1
               ? shki_fail(-EPROTO, "%s/%s is damaged", l->object.segment->name, l->object.name)
               : 0;
}

static int build(struct shki_object *o, const struct shki_plan *plan)
{
    const struct shk_lock_options *options = plan->options;

    return shki_lock_build((void *)o->shared, options && options->recursive,
                           options && options->no_deadlock_check);
}

static int check(struct shki_object *o, const struct shki_plan *plan)
{
    const struct shk_lock_options *options = plan->options;
    struct shk_lock *l = (struct shk_lock *)o;
    int r = shki_lock_adopt(l, (void *)o->shared);

    if (r == 0 && options &&
        (options->recursive != l->recursive || options->no_deadlock_check != l->no_deadlock_check))
        r = shki_fail(-EPROTOTYPE, "%s/%s is %srecursive and is%s checked for deadlocks",
                      o->segment->name, o->name, l->recursive ? "" : "not ",
                      l->no_deadlock_check ? " not" : "");
    return r;
}

int shk_lock_open(struct shk_segment *segment, const char *name, unsigned flags,
                  const struct shk_lock_options *options, struct shk_lock **out)
{
    struct shki_plan plan = {.kind = &shki_lock_kind};
    int r;

    if (out == NULL)
        return SHKI_NO_HANDLE;
    *out = NULL;
    plan.options = options;
    if (options && (options->recursive > 1 || options->no_deadlock_check > 1))
        return shki_say(-EINVAL, "an option of the lock is neither 0 nor 1");
    r = options ? shki_check_reserved(options->reserved, 8) : 0;
    if (r < 0)
        return r;
    *out = shki_handle_open(segment, name, flags, &plan, sizeof(**out), &r);
    return r == SHKI_REMOTE ? segment->remote->lock->open(segment, name, flags, options, out) : r;
}

int shk_lock_close(struct shk_lock *l)
{
    if (l == NULL)
        return 0;
    if (l->object.segment->remote)
        return l->object.segment->remote->lock->close(l);
    if (l->object.segment->base && shki_lock_is_mine(l, shki_member_find(l->object.segment)))
        return shki_fail(-EBUSY, "%s/%s: the calling thread holds the lock",
                         l->object.segment->name, l->object.name);
    shki_handle_close(&l->object);
    return 0;
}

/* ---- What is seen from outside ---- */

uint64_t shki_lock_owner(const struct shki_image *image, const struct shki_entry *e,
                         uint64_t offset)
{
    struct shki_lock_shared lock;

    if (!shki_image_has(image, e, offset + sizeof(lock)) ||
        !shki_image_read(image, e->offset + offset, &lock, sizeof(lock)))
        return 0;
    return shki_robust_is_held(&lock.mutex.robust) ? load_relaxed(&lock.mutex.holder) : 0;
}

static uint64_t owner(const struct shki_image *image, const struct shki_entry *e, uint64_t waiter,
                      unsigned n)
{
    (void)waiter;
    return n == 0 ? shki_lock_owner(image, e, 0) : 0;
}

void shki_lock_describe(const struct shki_lock_shared *lock, struct shk_object_info *info)
{
    uint32_t state = load_relaxed(&lock->mutex.state);

    info->holder = shki_robust_is_held(&lock->mutex.robust) ? load_relaxed(&lock->mutex.holder) : 0;
    info->as.lock.recursive = lock->recursive != 0;
    info->as.lock.depth = info->holder ? (state & SHKI_AGAIN) + 1 : 0;
    info->as.lock.orphaned = state & SHKI_OWNER_DIED || shki_robust_owner_died(&lock->mutex.robust);
    info->as.lock.no_deadlock_check = lock->no_deadlock_check != 0;
}

int64_t shki_lock_held_for(const struct shki_image *image, const struct shki_mutex *mutex,
                           uint64_t holder, uint64_t serial)
{
    struct shki_member_shared m;
    int64_t since, now = shki_now();

    if (holder == 0 || !shki_image_member(image, shki_member_index(holder), &m) ||
        load_relaxed(&m.id) != holder)
        return 0;
    since = load_relaxed(&m.held_since);
    /*
     * WT2: no second read: a note that changes meanwhile is about another turn of the holder, or of
     * another serial.
     */
    if (since <= 0 || since >= now || load_relaxed(&m.held_serial) != serial ||
        load_relaxed(&m.held_releases) != load_relaxed(&mutex->releases))
        return 0;
    return now - since;
}

static void describe(const struct shki_image *image, const struct shki_entry *e, const void *shared,
                     struct shk_object_info *info)
{
    const struct shki_lock_shared *lock = shared;

    shki_lock_describe(lock, info);
    info->held = shki_lock_held_for(image, &lock->mutex, info->holder, e->serial);
}

static void wake_at_unlink(struct shki_object *o)
{
    shki_lock_unlinked((void *)o->shared);
}

const struct shki_kind shki_lock_kind = {
    .number = SHK_KIND_LOCK,
    .name = "a lock",
    .size = sizeof(struct shki_lock_shared),
    .remote = offsetof(struct shki_remote, lock),
    .mutex_offset = {offsetof(struct shki_lock_shared, mutex)},
    .build = build,
    .check = check,
    .wake_at_unlink = wake_at_unlink,
    .owner = owner,
    .describe = describe,
};
