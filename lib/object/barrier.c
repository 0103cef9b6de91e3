/*
 * A barrier: the parties wait in a waitlist until its count is theirs.
 *
 *     wait
 *     lock the waitlist
 *     the last party?  release all with the verdict GO; unlock
 *     else             enter; unlock; sleep; the verdict says whether the parties have met
 *
 * The verdict is stored at each waiter before the release commits. So a waiter that runs late is
 * told what happened in its round, and not what happened to the barrier since.
 *
 * A party that gives up or dies breaks the barrier: the others would wait for it in vain. `broken`
 * is stored before the waiters are released, so that a breaker that dies in between is completed by
 * recover(). `broken` is written with the mutex, which orders it.
 *
 * Killed anywhere in a wait: it has not arrived, or the barrier is broken, or the parties have met.
 */
#include "object/barrier.h"

#include "object/remote.h"

#include <shmkit/barrier.h>
#include <shmkit/inspect.h>

#define PARTIES_MAX 65535u

struct shk_barrier {
    struct shki_object object;
    struct shki_barrier_shared *shared;
    uint32_t parties; /* a validated copy */
    struct shki_waitlist line;
};

static int build(struct shki_object *o, const struct shki_plan *plan)
{
    const struct shk_barrier_options *options = plan->options;
    struct shki_barrier_shared *shared = (void *)o->shared;

    shared->parties = options->parties;
    return shki_waitlist_init(&shared->waiters);
}

static int check(struct shki_object *o, const struct shki_plan *plan)
{
    const struct shk_barrier_options *options = plan->options;
    struct shk_barrier *b = (struct shk_barrier *)o;

    b->shared = (void *)o->shared;
    b->parties = b->shared->parties;
    if (b->parties == 0 || b->parties > PARTIES_MAX)
        return shki_fail(-EPROTO, "%s/%s is damaged: its number of parties", o->segment->name,
                         o->name);
    if (options->parties && options->parties != b->parties)
        return shki_fail(-EPROTOTYPE, "%s/%s is a barrier for %u", o->segment->name, o->name,
                         b->parties);
    return shki_object_waitlist(o, &shki_barrier_kind, &b->line);
}

int shk_barrier_open(struct shk_segment *segment, const char *name, unsigned flags,
                     const struct shk_barrier_options *options, struct shk_barrier **out)
{
    static const struct shk_barrier_options defaults;
    struct shki_plan plan = {.kind = &shki_barrier_kind};
    int r;

    if (out == NULL)
        return SHKI_NO_HANDLE;
    *out = NULL;
    plan.options = options = options ? options : &defaults;
    if (options->parties > PARTIES_MAX || options->reserved_32)
        return shki_say(-EINVAL, "more than 65535 parties, or a reserved option is not zero");
    r = shki_check_reserved(options->reserved, 8);
    if (r < 0)
        return r;
    if (options->parties == 0) {
        plan.cannot_create = -EINVAL;
        plan.why = "a new barrier needs a number of parties";
    }
    *out = shki_handle_open(segment, name, flags, &plan, sizeof(**out), &r);
    return r == SHKI_REMOTE ? segment->remote->barrier->open(segment, name, flags, options, out)
                            : r;
}

int shk_barrier_close(struct shk_barrier *b)
{
    if (b == NULL)
        return 0;
    if (b->object.segment->remote)
        return b->object.segment->remote->barrier->close(b);
    shki_waitlist_close(&b->line);
    shki_handle_close(&b->object);
    return 0;
}

static struct shki_barrier_shared *barrier_of(struct shki_waitlist *l)
{
    return (void *)((char *)l->shared - offsetof(struct shki_barrier_shared, waiters));
}

/* A member that died with the mutex may have broken the barrier, and not released the waiters. */
static void recover(struct shki_waitlist *l)
{
    if (load_relaxed(&barrier_of(l)->broken) && !shki_waitlist_is_empty(l))
        shki_waitlist_notify_all(l, SHKI_BROKEN);
}

static void break_barrier(struct shki_waitlist *l)
{
    /* Commits. Killed after: recover() releases the others. */
    store_relaxed(&barrier_of(l)->broken, 1);
    /*
     * A waiter that leaves because the barrier has been unlinked has not broken it: the others are
     * told of the unlink, too.
     */
    shki_waitlist_notify_all(l, shki_waitlist_is_stale(l) ? SHKI_UNLINKED : SHKI_BROKEN);
}

static int say_broken(const struct shk_barrier *b)
{
    return shki_fail(
        -EPIPE,
        "%s/%s: the barrier is broken: a member gave up or died, or it was aborted or reset",
        b->object.segment->name, b->object.name);
}

/*
 * The last party, with the mutex, which is unlocked. The release commits: killed before, the party
 * has not arrived; killed after, the others have met.
 */
static void complete(struct shk_barrier *b)
{
    shki_waitlist_notify_all(&b->line, SHKI_GO);
    shki_waitlist_unlock(&b->line);
}

static int wait_for_others(struct shk_barrier *b, struct shki_member *m,
                           const struct shki_deadline *deadline)
{
    bool met;
    int r;

    shki_waitlist_enter(&b->line, m);
    shki_waitlist_unlock(&b->line);
    shki_object_sleeps(&b->object, m, SHK_WAITS_FOR_PARTIES, shki_waits_how(deadline));
    r = shki_waitlist_sleep(&b->line, m, deadline);
    shki_member_is_awake();
    if (r < 0)
        return r;
    met = shki_waitlist_verdict(m) == SHKI_GO;
    shki_waitlist_resume(m);
    return met ? 0 : say_broken(b);
}

int shk_barrier_wait(struct shk_barrier *b, int64_t timeout)
{
    struct shki_deadline deadline;
    struct shki_member *m;
    uint32_t index;
    int r = b ? shki_enter(&b->object, &m) : SHKI_NO_HANDLE;

    if (r < 0)
        return SHKI_ELSEWHERE(r, b, barrier, wait, (b, timeout));
    deadline = shki_object_deadline(&b->object, timeout, "not all parties have arrived");
    r = shki_waitlist_lock(&b->line);
    if (r < 0)
        return r;
    shki_waitlist_reap(&b->line); /* dead parties do not count */
    index = load_relaxed(&b->shared->waiters.count);
    if (load_relaxed(&b->shared->broken)) {
        r = say_broken(b);
    } else if (index + 1 >= b->parties) {
        complete(b);
        return (int)index;
    } else {
        /*
         * A party whose deadline is over before it has waited gives up like any other: the others
         * must not wait for it. A party with SHK_NOWAIT has not arrived.
         */
        r = shki_deadline_check(&deadline);
        if (r < 0 && r != -EAGAIN)
            break_barrier(&b->line);
    }
    if (r < 0) {
        shki_waitlist_unlock(&b->line);
        return r;
    }
    r = wait_for_others(b, m, &deadline);
    return r < 0 ? r : (int)index;
}

/* Release the waiters, with the barrier broken or mended. */
static int release_all(struct shk_barrier *b, uint32_t broken)
{
    struct shki_member *m;
    int r = b ? shki_enter(&b->object, &m) : SHKI_NO_HANDLE;

    if (r == 0)
        r = shki_waitlist_lock(&b->line);
    if (r < 0)
        return r;
    /*
     * Killed between the two: recover() releases the waiters of a broken barrier. Those of a mended
     * one wait on.
     */
    store_relaxed(&b->shared->broken, broken);
    shki_waitlist_notify_all(&b->line, SHKI_BROKEN);
    shki_waitlist_unlock(&b->line);
    return 0;
}

int shk_barrier_reset(struct shk_barrier *b)
{
    int r = release_all(b, 0);

    return r < 0 ? SHKI_ELSEWHERE(r, b, barrier, reset, (b)) : 0;
}

int shk_barrier_abort(struct shk_barrier *b)
{
    int r = release_all(b, 1);

    return r < 0 ? SHKI_ELSEWHERE(r, b, barrier, abort, (b)) : 0;
}

int shk_barrier_waiting(struct shk_barrier *b)
{
    struct shki_member *m;
    int r = b ? shki_enter(&b->object, &m) : SHKI_NO_HANDLE;

    return r < 0 ? SHKI_ELSEWHERE(r, b, barrier, waiting, (b))
                 : (int)load_relaxed(&b->shared->waiters.count);
}

int shk_barrier_parties(struct shk_barrier *b)
{
    struct shki_member *m;
    int r = b ? shki_enter(&b->object, &m) : SHKI_NO_HANDLE;

    return r < 0 ? SHKI_ELSEWHERE(r, b, barrier, parties, (b)) : (int)b->parties;
}

int shk_barrier_broken(struct shk_barrier *b)
{
    struct shki_member *m;
    int r = b ? shki_enter(&b->object, &m) : SHKI_NO_HANDLE;

    return r < 0 ? SHKI_ELSEWHERE(r, b, barrier, broken, (b))
                 : load_relaxed(&b->shared->broken) != 0;
}

static void describe(const struct shki_image *image, const struct shki_entry *e, const void *shared,
                     struct shk_object_info *info)
{
    const struct shki_barrier_shared *barrier = shared;

    (void)image;
    (void)e;
    info->as.barrier.parties = barrier->parties;
    info->as.barrier.arrived = load_relaxed(&barrier->waiters.count);
    info->as.barrier.broken = load_relaxed(&barrier->broken) != 0;
}

const struct shki_kind shki_barrier_kind = {
    .number = SHK_KIND_BARRIER,
    .name = "a barrier",
    .size = sizeof(struct shki_barrier_shared),
    .mutex_offset = {offsetof(struct shki_barrier_shared, waiters)},
    .remote = offsetof(struct shki_remote, barrier),
    .build = build,
    .check = check,
    .waitlist = {.offset = offsetof(struct shki_barrier_shared, waiters),
                 .recover = recover,
                 .on_leave = break_barrier},
    .describe = describe,
};
