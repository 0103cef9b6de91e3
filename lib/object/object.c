#include "poll/poll.h"

#include "base/name.h"
#include "object/lock.h"
#include "segment/process.h"
#include "sync/park.h"

#include <shmkit/inspect.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const kinds[] = {
    [SHK_KIND_LOCK] = "a lock",       [SHK_KIND_COND] = "a condition",
    [SHK_KIND_EVENT] = "an event",    [SHK_KIND_SEMAPHORE] = "a semaphore",
    [SHK_KIND_BARRIER] = "a barrier", [SHK_KIND_QUEUE] = "a queue",
    [SHK_KIND_STREAM] = "a stream",   [SHK_KIND_REGION] = "a region",
};

const char *shki_kind_name(uint32_t kind)
{
    return kind < sizeof(kinds) / sizeof(kinds[0]) && kinds[kind] ? kinds[kind]
                                                                  : "of an unknown kind";
}

int shki_check_reserved(const uint64_t *reserved, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (reserved[i])
            return shki_say(-EINVAL, "a reserved option is not zero");
    return 0;
}

int shki_stale(const struct shki_object *o)
{
    if (shki_segment_is_closed(o->segment))
        return shki_say_closed(o->segment);
    return shki_fail(-ESTALE, "%s/%s has been unlinked", o->segment->name, o->name);
}

int shki_object_say(const struct shki_object *o, int code, const char *state)
{
    return shki_say_unmet(code, &(struct shki_unmet){o->segment->name, o->name, state, 0});
}

struct shki_deadline shki_object_deadline(const struct shki_object *o, int64_t timeout,
                                          const char *state)
{
    struct shk_segment *s = o->segment;
    struct shki_deadline p = shki_deadline(timeout, load_relaxed(&s->interrupt));
    struct shki_member *m = shki_member_find(s);

    p.openness = &s->openness;
    p.closes = load_relaxed(&s->openness.closes);
    p.segment = s->name;
    p.object = o->name;
    p.state = state;
    if (m && m->call.check) {
        p.call = &m->call;
        p.nested = m->call.running;
        if (!p.nested)
            m->call.interrupted = false;
    }
    return p;
}

/* Fill in the handle from an entry. Under the segment's lock. */
static int look_at(struct shki_object *o, struct shk_segment *s, struct shki_entry *e)
{
    o->segment = s;
    o->entry = e;
    o->serial = e->serial;
    o->index = shki_entry_index(s, e);
    o->offset = e->offset;
    o->size = e->size;
    memcpy(o->name, e->name, sizeof(o->name));
    o->name[SHK_NAME_MAX] = '\0';
    if (o->offset < s->geometry.heap_offset || o->offset % shki_extent_unit(o->size) ||
        o->offset > s->size || o->size > s->size - o->offset || o->size < shki_shared_size(e->kind))
        return shki_fail(-EPROTO, "%s/%s is damaged: its extent", s->name, o->name);
    o->shared = s->base + o->offset;
    return 0;
}

/*
 * From now on the extent stays until this handle is closed or the process ends. Under the segment's
 * lock, or by the entry's keeper.
 */
static void use(struct shki_object *o)
{
    struct shk_segment *s = o->segment;

    pthread_mutex_lock(&s->local);
    if (s->uses[o->index]++ == 0)
        shki_process_uses(s, o->index);
    s->handles++;
    pthread_mutex_unlock(&s->local);
}

/* Under the segment's lock. */
static int begin(struct shk_segment *s, uint64_t me, const char *name, const struct shki_plan *plan,
                 struct shki_entry **e)
{
    if (plan->cannot_create)
        return shki_fail(plan->cannot_create, "%s/%s: %s", s->name, name, plan->why);
    return shki_directory_begin(s, me, name, plan->kind, plan->size, plan->mutex_at, e);
}

/*
 * Without the lock, for it may take long: what has been begun. Killed before it is published: the
 * next to create an object clears it.
 */
static int make(struct shk_segment *s, struct shki_entry *e, const struct shki_plan *plan,
                struct shki_object *o)
{
    int r = look_at(o, s, e);

    if (r == 0)
        r = shki_directory_allocate(s, e, plan->memory);
    if (r == 0)
        r = plan->build(o, plan);
    if (r == 0)
        r = plan->check(o, plan);
    if (r < 0) {
        shki_directory_abandon(s, e);
        return r;
    }
    use(o);
    shki_directory_publish(e);
    return 0;
}

/*
 * Under the segment's lock: its mutexes are where the kind has them, and are of the kind that libc
 * can do with.
 */
static bool mutexes_are_intact(const struct shki_object *o, const struct shki_plan *plan)
{
    for (unsigned k = 0; k < SHKI_MUTEXES_MAX; k++) {
        const struct shki_mutex *m = shki_entry_mutex(o->segment, o->entry, k);

        if (o->entry->mutex_offset[k] != plan->mutex_at[k] ||
            (plan->mutex_at[k] != 0 && (m == NULL || !shki_robust_is_intact(&m->robust))))
            return false;
    }
    return true;
}

static int check(struct shki_object *o, const struct shki_plan *plan)
{
    return mutexes_are_intact(o, plan)
               ? plan->check(o, plan)
               : shki_fail(-EPROTO, "%s/%s is damaged: a mutex of it", o->segment->name, o->name);
}

/* Open what there is. Under the segment's lock. */
static int find(struct shk_segment *s, struct shki_entry *e, unsigned flags,
                const struct shki_plan *plan, struct shki_object *o)
{
    int r;

    if (flags & SHK_CREATE && flags & SHK_EXCL)
        return shki_fail(-EEXIST, "%s/%.*s exists already", s->name, SHK_NAME_MAX, e->name);
    if (e->kind != plan->kind)
        return shki_fail(-EPROTOTYPE, "%s/%.*s is %s, not %s", s->name, SHK_NAME_MAX, e->name,
                         shki_kind_name(e->kind), shki_kind_name(plan->kind));
    r = look_at(o, s, e);
    if (r == 0)
        r = check(o, plan);
    if (r == 0)
        use(o);
    return r;
}

static bool is_live(const struct shki_entry *e)
{
    return e && load_acquire(&e->state) == SHKI_ENTRY_LIVE;
}

#define MAKING_LIMIT SHK_SEC(10) /* so long an opener waits for another that makes the object */

/*
 * What has that name, or what is to be made, after a wait if another makes it: 0 with the segment's
 * lock, and *e is NULL if there is nothing yet; or -errno without it.
 */
static int settle(struct shk_segment *s, uint64_t me, const char *name, unsigned flags,
                  struct shki_entry **e)
{
    int64_t deadline = 0;
    int r;

    for (;;) {
        r = shki_segment_lock(s);
        if (r < 0)
            return r;
        *e = shki_directory_find(s, name);
        if (is_live(*e))
            return 0;
        if (!(flags & SHK_CREATE))
            r = shki_fail(-ENOENT, "there is no %s/%s", s->name, name);
        else if (shki_directory_collect(s, me))
            r = 1;
        else if (*e == NULL)
            return 0;
        shki_segment_unlock(s);
        if (r < 0)
            return r;
        if (r == 1) {
            shki_directory_reclaim(s, me);
            continue;
        }
        if (deadline == 0)
            deadline = shki_now() + MAKING_LIMIT;
        r = shki_directory_await(s, *e, deadline);
        if (r < 0)
            return r;
    }
}

int shki_object_open(struct shk_segment *s, const char *name, unsigned flags,
                     const struct shki_plan *plan, struct shki_object *o)
{
    struct shki_member *m;
    struct shki_entry *e;
    bool is_new;
    int r;

    if (s == NULL)
        return shki_say(-EINVAL, "the segment is NULL");
    r = shki_check_name("the object's name", name, SHK_NAME_MAX);
    if (r < 0)
        return r;
    if (flags & ~(unsigned)(SHK_CREATE | SHK_EXCL))
        return shki_fail(-EINVAL, "%s/%s: a flag is unknown", s->name, name);
    o->segment = s;
    m = shki_member_find(s);
    r = m ? 0 : shki_object_join(o, &m);
    if (r == 0)
        r = settle(s, m->id, name, flags, &e);
    if (r < 0)
        return r;
    is_new = e == NULL;
    r = is_new ? begin(s, m->id, name, plan, &e) : find(s, e, flags, plan, o);
    shki_segment_unlock(s);
    return r == 0 && is_new ? make(s, e, plan, o) : r;
}

int shki_object_open_serial(struct shk_segment *s, uint32_t entry, uint64_t serial,
                            const struct shki_plan *plan, struct shki_object *o)
{
    struct shki_entry *e = shki_entry_at(s, entry);
    int r;

    r = shki_segment_lock(s);
    if (r == 0) {
        if (e == NULL || shki_is_stale(s, e, serial) || e->kind != plan->kind)
            r = shki_fail(-ESTALE, "the condition's lock has been unlinked");
        else
            r = look_at(o, s, e);
        if (r == 0)
            r = check(o, plan);
        if (r == 0)
            use(o);
        shki_segment_unlock(s);
    }
    return r;
}

/*
 * Take back the memory of what is not open any more, unless the segment's lock cannot be had: then
 * the next to create an object does it.
 */
static void reclaim(struct shk_segment *s)
{
    struct shki_member *m = shki_member_find(s);
    bool is_new = m == NULL, any = false;

    if (is_new && shki_member_join(s, &m) < 0)
        return;
    if (shki_segment_lock(s) == 0) { /* a segment that is unlinked needs it not */
        any = shki_directory_collect(s, m->id);
        shki_segment_unlock(s);
    }
    if (any)
        shki_directory_reclaim(s, m->id);
    if (is_new)
        shki_member_leave(s);
}

void shki_object_close(struct shki_object *o)
{
    struct shk_segment *s = o->segment;
    struct shki_saved_error saved;
    bool gone = false;

    pthread_mutex_lock(&s->local);
    if (--s->uses[o->index] == 0 && s->base) {
        shki_process_uses_no_more(s, o->index);
        gone = s->members && shki_object_is_stale(o);
        s->pins += gone;
    }
    pthread_mutex_unlock(&s->local);
    if (gone) {
        shki_error_save(&saved);
        reclaim(s);
        shki_error_settle(0, &saved);
        shki_segment_unpin(s);
    }
    shki_segment_unref(s);
}

/* The kinds that have a waitlist: where, and what they do themselves. */
static const struct {
    size_t at;
    void (*finish)(struct shki_waitlist *), (*left)(struct shki_waitlist *);
    bool asks, takes_back;
} lines[] = {
    [SHK_KIND_COND] = {.at = offsetof(struct shki_cond_shared, waiters)},
    [SHK_KIND_SEMAPHORE] = {.at = offsetof(struct shki_semaphore_shared, waiters),
                            .finish = shki_semaphore_finish,
                            .takes_back = true},
    [SHK_KIND_STREAM] = {.at = offsetof(struct shki_stream_shared, waiters), .asks = true},
    [SHK_KIND_BARRIER] = {.at = offsetof(struct shki_barrier_shared, waiters),
                          .finish = shki_barrier_finish,
                          .left = shki_barrier_break},
};

int shki_object_waitlist(struct shki_object *o, uint32_t kind, struct shki_waitlist *l)
{
    if (kind >= sizeof(lines) / sizeof(lines[0]) || lines[kind].at == 0)
        return -ENOTSUP;
    l->segment = o->segment;
    l->offset = o->offset + lines[kind].at;
    l->shared = (struct shki_waitlist_shared *)(void *)(o->shared + lines[kind].at);
    l->entry = o->entry;
    l->serial = o->serial;
    l->repairs = (struct shki_repairs *)(void *)o->shared;
    l->finish = lines[kind].finish;
    l->left = lines[kind].left;
    l->asks = lines[kind].asks;
    l->takes_back = lines[kind].takes_back;
    return shki_waitlist_open(l);
}

/* A waiter that has been released before keeps the verdict that it was released with. */
static void release_all(struct shki_waitlist *l)
{
    shki_waitlist_notify_all(l, SHKI_UNLINKED);
}

/* Do something with the waitlist of an object, with its mutex. */
static void with_waitlist(struct shki_object *o, uint32_t kind, void (*act)(struct shki_waitlist *))
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

/*
 * Those asleep on it look again, and find it stale. Killed in here: they find it at the end of
 * their slice.
 */
static void wake(struct shki_object *o, uint32_t kind)
{
    if (kind == SHK_KIND_QUEUE)
        shki_queue_wake(o->segment, (struct shki_queue_shared *)(void *)o->shared);
    else if (kind == SHK_KIND_EVENT)
        shki_event_wake((struct shki_event_shared *)(void *)o->shared);
    else if (kind == SHK_KIND_LOCK)
        shki_lock_unlinked((struct shki_lock_shared *)(void *)o->shared);
    else if (kind == SHK_KIND_COND)
        shki_lock_unlinked(&((struct shki_cond_shared *)(void *)o->shared)->lock);
    if (kind != SHK_KIND_QUEUE && kind != SHK_KIND_EVENT)
        with_waitlist(o, kind, release_all);
}

static void wake_everyone(struct shk_segment *s)
{
    for (uint32_t i = 0; i < s->max_objects; i++) {
        struct shki_entry *e = shki_entry_at(s, i);
        struct shki_object o = {0};

        if (is_live(e) && look_at(&o, s, e) == 0)
            wake(&o, e->kind);
    }
    shki_watchers_wake(s);
}

/* Open an entry's object whatever it is, so that its extent stays. Under the segment's lock. */
static bool keep(struct shk_segment *s, struct shki_entry *e, struct shki_object *o)
{
    bool good = look_at(o, s, e) == 0;

    if (good)
        use(o);
    return good;
}

/*
 * Records of the dead may be stuck in waitlists that no member visits. Each in turn, its mutex
 * without the segment's lock.
 */
static void reap_everywhere(struct shk_segment *s)
{
    if (shki_segment_pin(s) < 0)
        return;
    for (uint32_t i = 0; i < s->max_objects; i++) {
        struct shki_entry *e = shki_entry_at(s, i);
        struct shki_object o = {0};
        uint32_t kind;
        bool kept;

        if (!is_live(e) || shki_segment_lock(s) != 0)
            continue;
        kind = e->kind;
        kept = is_live(e) && keep(s, e, &o);
        shki_segment_unlock(s);
        if (kept) {
            with_waitlist(&o, kind, shki_waitlist_reap);
            shki_object_close(&o);
        }
    }
    shki_watchers_reap(s);
    shki_segment_unpin(s);
}

int shki_object_join(struct shki_object *o, struct shki_member **m)
{
    struct shki_saved_error saved;
    int r;

    shki_error_save(&saved);
    r = shki_member_join(o->segment, m);
    if (r == -EUSERS) {
        o->segment->kinds->reap(o->segment);
        r = shki_member_join(o->segment, m);
    }
    return shki_error_settle(r, &saved);
}

static bool uses_pool(uint32_t kind)
{
    return kind == SHK_KIND_QUEUE;
}

static const struct shki_kinds the_kinds = {.uses_pool = uses_pool, .reap = reap_everywhere};

int shk_segment_open(const char *name, unsigned flags, const struct shk_segment_options *options,
                     struct shk_segment **out)
{
    int r = shki_segment_open(name, flags, options, &the_kinds, out);

    if (r == 0)
        shki_watchers(*out); /* or where it is needed, if there is no memory now */
    return r;
}

static void post_all(struct shk_segment *s, struct shki_eventcount *eventcount)
{
    /* perhaps too many: a permit too many is harmless */
    uint32_t n = load_relaxed(&eventcount->sleepers);

    for (uint32_t i = 0; i < n && i < s->max_members; i++)
        sem_post(&eventcount->semaphore);
}

/*
 * A thread of this process that waits for the object of an entry: those of other processes that
 * wait there, too, look and sleep again.
 */
static void wake_at(struct shk_segment *s, struct shki_entry *e, uint32_t waits_for)
{
    struct shki_object o = {0};
    struct shki_queue_shared *queue;

    if (look_at(&o, s, e) < 0)
        return;
    queue = (void *)o.shared;
    if (e->kind == SHK_KIND_EVENT)
        shki_wake_all_at(&((struct shki_event_shared *)(void *)o.shared)->state);
    else if (e->kind == SHK_KIND_QUEUE)
        post_all(s, waits_for == SHK_WAITS_TO_GET   ? &queue->not_empty
                    : waits_for == SHK_WAITS_TO_PUT ? &queue->not_full
                                                    : &queue->tasks);
}

/*
 * The segment has been closed in this process: its threads that wait in it find that out at once,
 * and not at the end of their slice.
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

int shk_segment_close(struct shk_segment *s)
{
    return shki_segment_close(s, wake_own);
}

int shk_segment_unlink(const char *name)
{
    return shki_segment_retire(name, SHKI_RETIRE_FORCED, wake_everyone);
}

int shk_segment_unlink_unused(const char *name, unsigned flags)
{
    if (flags & ~(SHK_ANY_OWNER | SHK_EMPTY))
        return shki_say(-EINVAL, "a flag is unknown");
    return shki_segment_retire(name, flags, wake_everyone);
}

int shk_segment_unlink_any(const char *name)
{
    return shki_segment_remove(name, wake_everyone);
}

int shk_object_unlink(struct shk_segment *s, const char *name)
{
    struct shki_object o = {.segment = s};
    struct shki_saved_error saved;
    struct shki_member *m;
    struct shki_entry *e;
    uint32_t kind = 0;
    bool kept = false;
    int r;

    if (s == NULL)
        return shki_say(-EINVAL, "the segment is NULL");
    r = shki_check_name("the object's name", name, SHK_NAME_MAX);
    if (r < 0)
        return r;
    shki_error_save(&saved);
    m = shki_member_find(s);
    r = m ? 0 : shki_object_join(&o, &m);
    if (r < 0)
        return r;
    r = shki_segment_lock(s);
    if (r < 0)
        return r;
    e = shki_directory_find(s, name);
    if (!is_live(e)) {
        r = shki_fail(-ENOENT, "there is no %s/%s", s->name, name);
    } else {
        kind = e->kind;
        shki_directory_unlink(s, e);
        kept = keep(s, e, &o);
    }
    shki_segment_unlock(s);
    if (r < 0)
        return r;
    /*
     * Without the lock, for a waitlist's mutex may be a stopped process's. Killed from here on:
     * sleepers find it within a slice.
     */
    if (kept) {
        wake(&o, kind);
        shki_object_close(&o);
    }
    shki_watchers_wake(s);
    reclaim(s);
    return shki_error_settle(r, &saved);
}
