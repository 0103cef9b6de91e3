/*
 * The kinds of objects, and what goes through all objects of a segment: it wakes and reaps whatever
 * their kinds are. Here ends the dependence of the layers below: they are given `the_kinds` with
 * each segment that is opened.
 */
#include "kinds.h"

#include "base/name.h"
#include "object/object.h"
#include "object/remote.h"
#include "object/watch.h"
#include "segment/process.h"
#include "segment/retire.h"
#include "segment/segment.h"
#include "sync/park.h"

#include <stdlib.h>

extern const struct shki_kind shki_lock_kind, shki_cond_kind, shki_event_kind, shki_semaphore_kind,
    shki_barrier_kind, shki_queue_kind, shki_stream_kind, shki_region_kind, shki_rwlock_kind,
    shki_once_kind, shki_value_kind;

static const struct shki_kind *const kinds[] = {
    [SHK_KIND_LOCK] = &shki_lock_kind,       [SHK_KIND_COND] = &shki_cond_kind,
    [SHK_KIND_EVENT] = &shki_event_kind,     [SHK_KIND_SEMAPHORE] = &shki_semaphore_kind,
    [SHK_KIND_BARRIER] = &shki_barrier_kind, [SHK_KIND_QUEUE] = &shki_queue_kind,
    [SHK_KIND_STREAM] = &shki_stream_kind,   [SHK_KIND_REGION] = &shki_region_kind,
    [SHK_KIND_RWLOCK] = &shki_rwlock_kind,   [SHK_KIND_ONCE] = &shki_once_kind,
    [SHK_KIND_VALUE] = &shki_value_kind,
};

#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

const struct shki_kind *shki_kind(uint32_t number)
{
    return number < KINDS ? kinds[number] : NULL;
}

size_t shki_kinds_size(void)
{
    size_t size = sizeof(struct shki_repairs);

    for (uint32_t i = 0; i < KINDS; i++)
        if (kinds[i] && kinds[i]->size > size)
            size = kinds[i]->size;
    return size;
}

static bool uses_pool(uint32_t number)
{
    const struct shki_kind *kind = shki_kind(number);

    return kind && kind->uses_pool;
}

/* ---- All objects ---- */

/* Do something with the waitlist of an object, with its mutex. */
static void with_waitlist(struct shki_object *o, const struct shki_kind *kind,
                          void (*act)(struct shki_waitlist *))
{
    struct shki_waitlist l = {0};

    if (shki_object_waitlist(o, kind, &l) < 0)
        return;
    if (shki_robust_is_intact(&l.shared->mutex.robust) && shki_waitlist_lock(&l) == 0) {
        act(&l);
        shki_waitlist_unlock(&l);
    }
    shki_waitlist_close(&l);
}

/* A waiter that has been released before keeps the verdict that it was released with. */
static void release_all(struct shki_waitlist *l)
{
    shki_waitlist_notify_all(l, SHKI_UNLINKED);
}

/*
 * The object has been unlinked: its waiters check, and find it stale. Killed in here: they find it
 * stale at the end of their recheck interval.
 */
static void wake(struct shki_object *o, const struct shki_kind *kind)
{
    if (kind == NULL)
        return;
    if (kind->wake_at_unlink)
        kind->wake_at_unlink(o);
    with_waitlist(o, kind, release_all);
}

static void wake_all(struct shk_segment *s)
{
    for (uint32_t i = 0; i < s->max_objects; i++) {
        struct shki_entry *e = shki_entry_at(s, i);
        const struct shki_kind *kind = e ? shki_kind(e->kind) : NULL;
        struct shki_object o = {0};

        if (shki_object_is_live(e) && shki_object_find(&o, s, e, kind) == 0)
            wake(&o, kind);
    }
    shki_watchers_wake(s);
}

/*
 * Records of dead members may be stuck in waitlists that no member visits. Each waitlist in turn is
 * reaped; its mutex is taken without the segment's lock.
 */
static void reap_all(struct shk_segment *s)
{
    if (shki_segment_pin(s) < 0)
        return;
    for (uint32_t i = 0; i < s->max_objects; i++) {
        struct shki_entry *e = shki_entry_at(s, i);
        const struct shki_kind *kind;
        struct shki_object o = {0};
        bool found;

        if (!shki_object_is_live(e) || shki_segment_lock(s) != 0)
            continue;
        kind = shki_kind(e->kind);
        found = shki_object_is_live(e) && shki_object_find_and_ref(&o, s, e, kind) == 0;
        shki_segment_unlock(s);
        if (found) {
            if (kind)
                with_waitlist(&o, kind, shki_waitlist_reap);
            shki_object_close(&o);
        }
    }
    shki_watchers_reap(s);
    shki_segment_unpin(s);
}

/* Wake a thread of this process that waits for the object of an entry. */
static void wake_at(struct shk_segment *s, struct shki_entry *e, uint32_t waits_for)
{
    const struct shki_kind *kind = shki_kind(e->kind);
    struct shki_object o = {0};

    if (kind && kind->wake_at_close && shki_object_find(&o, s, e, kind) == 0)
        kind->wake_at_close(&o, waits_for);
}

/*
 * The segment has been closed in this process. Its threads that wait in it find that out now, and
 * not at the end of their recheck interval. Threads of other processes that are woken with them
 * check and sleep again.
 */
static void wake_own(struct shk_segment *s)
{
    for (struct shki_member *m = s->members; m; m = m->next_in_segment) {
        struct shki_member_shared *r = m->record;
        uint64_t serial = load_relaxed(&r->waits_serial);
        uint32_t waits_for = load_relaxed(&r->waits_for);
        struct shki_entry *e = shki_entry_at(s, load_relaxed(&r->waits_entry));

        if (load_relaxed(&r->id) != m->id || waits_for == 0 ||
            load_relaxed(&r->waits_segment) != s->id)
            continue;
        shki_unpark(s, m->index);
        if (e && !shki_is_stale(s, e, serial))
            wake_at(s, e, waits_for);
    }
}

/* ---- Calls that go through all objects, or take one of any kind ---- */

static const struct shki_kinds the_kinds = {
    .of = shki_kind, .uses_pool = uses_pool, .reap = reap_all};

int shk_segment_open(const char *name, unsigned flags, const struct shk_segment_options *options,
                     struct shk_segment **out)
{
    const struct shki_remote_library *library;
    int r;

    if (shki_remote_is_name(name)) {
        if (out == NULL)
            return SHKI_NO_HANDLE;
        *out = NULL;
        r = shki_remote_load(&library);
        return r < 0 ? r : library->open(name, flags, options, out);
    }
    r = shki_segment_open(name, flags, options, &the_kinds, out);
    if (r == 0)
        shki_watchers(*out); /* without memory now: when it is needed */
    return r;
}

int shk_segment_create_unnamed(const struct shk_segment_options *options, struct shk_segment **out)
{
    int fd = shki_segment_create_unnamed(options, &the_kinds, out);

    if (fd >= 0)
        shki_watchers(*out);
    return fd;
}

int shk_segment_open_fd(int fd, unsigned flags, struct shk_segment **out)
{
    int r = shki_segment_open_fd(fd, flags, &the_kinds, out);

    if (r == 0)
        shki_watchers(*out);
    return r;
}

int shk_segment_close(struct shk_segment *s)
{
    if (s && s->remote)
        return s->remote->close(s);
    return shki_segment_close(s, wake_own);
}

static int unlink_elsewhere(const char *name, unsigned flags)
{
    const struct shki_remote_library *library;
    int r = shki_remote_load(&library);

    return r < 0 ? r : library->unlink(name, flags);
}

int shk_segment_unlink(const char *name)
{
    if (shki_remote_is_name(name))
        return unlink_elsewhere(name, SHKI_RETIRE_FORCED);
    return shki_segment_retire(name, SHKI_RETIRE_FORCED, wake_all);
}

int shk_segment_unlink_unused(const char *name, unsigned flags)
{
    if (flags & ~(SHK_ANY_OWNER | SHK_EMPTY))
        return shki_say(-EINVAL, "a flag is unknown");
    if (shki_remote_is_name(name))
        return unlink_elsewhere(name, flags);
    return shki_segment_retire(name, flags, wake_all);
}

int shk_segment_unlink_any(const char *name)
{
    if (shki_remote_is_name(name))
        return unlink_elsewhere(name, SHKI_RETIRE_FORCED);
    return shki_segment_remove(name, wake_all);
}

/* only_unused: it stays if a process has it open. */
static int unlink_object(struct shk_segment *s, const char *name, bool only_unused)
{
    struct shki_object o = {.segment = s};
    const struct shki_kind *kind = NULL;
    struct shki_saved_error saved;
    struct shki_member *m;
    struct shki_entry *e;
    bool found = false;
    int r;

    if (s == NULL)
        return shki_say(-EINVAL, "the segment is NULL");
    r = shki_check_name("the object's name", name, SHK_NAME_MAX);
    if (r < 0)
        return r;
    if (s->remote)
        return s->remote->unlink_object(s, name, only_unused);
    shki_error_save(&saved);
    m = shki_member_find(s);
    r = m ? 0 : shki_object_join(&o, &m);
    if (r < 0)
        return r;
    r = shki_segment_lock(s);
    if (r < 0)
        return r;
    e = shki_directory_find(s, name);
    if (!shki_object_is_live(e)) {
        r = shki_fail(-ENOENT, "there is no %s/%s", s->name, name);
    } else if (only_unused && shki_process_any_uses(s, shki_entry_index(s, e))) {
        r = shki_fail(-EBUSY, "%s/%s is in use", s->name, name);
    } else {
        kind = shki_kind(e->kind);
        shki_directory_unlink(s, e);
        found = shki_object_find_and_ref(&o, s, e, kind) == 0;
    }
    shki_segment_unlock(s);
    if (r < 0)
        return r;
    /*
     * Without the segment's lock, since a stopped process may have the waitlist's mutex. Killed
     * from here on: waiters find the object stale at the end of their recheck interval.
     */
    if (found) {
        wake(&o, kind);
        shki_object_close(&o);
    }
    shki_watchers_wake(s);
    shki_object_reclaim(s);
    return shki_error_settle(r, &saved);
}

int shk_object_unlink(struct shk_segment *s, const char *name)
{
    return unlink_object(s, name, false);
}

int shk_object_unlink_unused(struct shk_segment *s, const char *name)
{
    return unlink_object(s, name, true);
}
