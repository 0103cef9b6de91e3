#include "object/ready.h"

#include "base/name.h"
#include "object/lock.h"
#include "wait/park.h"

#include <shmkit/inspect.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const kinds[] = {
    [SHK_KIND_LOCK] = "a lock",       [SHK_KIND_COND] = "a condition", [SHK_KIND_EVENT] = "an event",   [SHK_KIND_SEMAPHORE] = "a semaphore",
    [SHK_KIND_BARRIER] = "a barrier", [SHK_KIND_QUEUE] = "a queue",    [SHK_KIND_STREAM] = "a stream",  [SHK_KIND_REGION] = "a region",
};

const char *shki_kind_name(uint32_t kind)
{
    return kind < sizeof(kinds) / sizeof(kinds[0]) && kinds[kind] ? kinds[kind] : "of an unknown kind";
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
    return shki_say_vain(code, &(struct shki_vain){ o->segment->name, o->name, state, 0 });
}

struct shki_patience shki_object_patience(const struct shki_object *o, int64_t timeout, const char *state)
{
    struct shk_segment *s = o->segment;
    struct shki_patience p = shki_patience(timeout, atomic_load_explicit(&s->interrupt, memory_order_relaxed));
    struct shki_membership *m = shki_membership_find(s);

    p.openness = &s->openness;
    p.closes = atomic_load_explicit(&s->openness.closes, memory_order_relaxed);
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
    o->serial = e->number;
    o->index = shki_entry_index(s, e);
    o->at = e->at;
    o->size = e->size;
    memcpy(o->name, e->name, sizeof(o->name));
    o->name[SHK_NAME_MAX] = '\0';
    if (o->at < s->at.heap_at || o->at % shki_extent_unit(o->size) || o->at > s->size || o->size > s->size - o->at ||
        o->size < shki_shared_size(e->kind))
        return shki_fail(-EPROTO, "%s/%s is damaged: its extent", s->name, o->name);
    o->shared = s->base + o->at;
    return 0;
}

/* From now on the extent stays until this handle is closed or the process dies. Under the segment's lock. */
static void use(struct shki_object *o)
{
    struct shk_segment *s = o->segment;

    pthread_mutex_lock(&s->local);
    if (s->uses[o->index]++ == 0)
        for (struct shki_membership *m = s->memberships; m; m = m->next_in_segment)
            atomic_fetch_or_explicit(&shki_uses_of(s, m->index)[o->index / 64], UINT64_C(1) << o->index % 64, memory_order_release);
    s->handles++;
    pthread_mutex_unlock(&s->local);
}

static int create(struct shk_segment *s, const char *name, const struct shki_plan *plan, struct shki_object *o)
{
    struct shki_entry *e;
    uint64_t at, size;
    int r;

    if (plan->cannot_create)
        return shki_fail(plan->cannot_create, "%s/%s: %s", s->name, name, plan->why);
    size = shki_extent_size(plan->size);
    r = shki_directory_allocate(s, size, plan->memory, &at);
    if (r < 0)
        return r;
    /* killed from here to the publication: the extent is in no entry, and so it is free */
    o->segment = s;
    o->at = at;
    o->size = size;
    o->shared = s->base + at;
    r = plan->build(o, plan);
    if (r == 0)
        r = shki_directory_publish(s, name, plan->kind, at, size, plan->mutex_at, &e);
    if (r < 0) {
        shki_directory_discard(s, at, size);
        return r;
    }
    return look_at(o, s, e);
}

static int find(struct shk_segment *s, const char *name, unsigned flags, const struct shki_plan *plan, struct shki_object *o)
{
    struct shki_entry *e = shki_directory_find(s, name);

    if (e == NULL && !(flags & SHK_CREATE))
        return shki_fail(-ENOENT, "there is no %s/%s", s->name, name);
    if (e == NULL)
        return create(s, name, plan, o);
    if (flags & SHK_CREATE && flags & SHK_EXCL)
        return shki_fail(-EEXIST, "%s/%s exists already", s->name, name);
    if (e->kind != plan->kind)
        return shki_fail(-EPROTOTYPE, "%s/%s is %s, not %s", s->name, name, shki_kind_name(e->kind), shki_kind_name(plan->kind));
    return look_at(o, s, e);
}

static int finish_opening(struct shki_object *o, const struct shki_plan *plan)
{
    int r = plan->check(o, plan);

    if (r == 0)
        use(o);
    return r;
}

int shki_object_open(struct shk_segment *s, const char *name, unsigned flags, const struct shki_plan *plan, struct shki_object *o)
{
    struct shki_membership *m;
    int r;

    if (s == NULL)
        return shki_say(-EINVAL, "the segment is NULL");
    r = shki_check_name("the object's name", name, SHK_NAME_MAX);
    if (r < 0)
        return r;
    if (flags & ~(unsigned)(SHK_CREATE | SHK_EXCL))
        return shki_fail(-EINVAL, "%s/%s: a flag is unknown", s->name, name);
    o->segment = s;
    m = shki_membership_find(s);
    r = m ? 0 : shki_object_join(o, &m);
    if (r < 0)
        return r;
    r = shki_segment_lock(s);
    if (r == 0) {
        r = find(s, name, flags, plan, o);
        if (r == 0)
            r = finish_opening(o, plan);
        shki_segment_unlock(s);
    }
    return r;
}

int shki_object_open_serial(struct shk_segment *s, uint32_t entry, uint64_t serial, const struct shki_plan *plan, struct shki_object *o)
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
            r = finish_opening(o, plan);
        shki_segment_unlock(s);
    }
    return r;
}

void shki_object_close(struct shki_object *o)
{
    struct shk_segment *s = o->segment;
    struct shki_saved_error saved;
    bool reclaim = false;

    pthread_mutex_lock(&s->local);
    if (--s->uses[o->index] == 0 && s->base) {
        /* killed after any of these: the member is dead, and its uses do not count */
        for (struct shki_membership *m = s->memberships; m; m = m->next_in_segment)
            atomic_fetch_and_explicit(&shki_uses_of(s, m->index)[o->index / 64], ~(UINT64_C(1) << o->index % 64), memory_order_release);
        reclaim = s->memberships && shki_object_is_stale(o);
        s->pins += reclaim;
    }
    pthread_mutex_unlock(&s->local);
    if (reclaim) {
        shki_error_save(&saved);
        if (shki_segment_lock(s) == 0) { /* if not, the next to look for room does it; nobody does in a segment that is unlinked */
            shki_directory_reclaim(s);
            shki_segment_unlock(s);
        }
        shki_error_settle(0, &saved);
        shki_segment_unpin(s);
    }
    shki_segment_let_go(s);
}

/* The kinds that have a waitlist: where, and what they do themselves. */
static const struct {
    size_t at;
    void (*finish)(struct shki_line *), (*left)(struct shki_line *);
    bool asks, takes_back;
} lines[] = {
    [SHK_KIND_COND] = { offsetof(struct shki_cond_shared, waiters), NULL, NULL, false },
    [SHK_KIND_SEMAPHORE] = { offsetof(struct shki_semaphore_shared, waiters), shki_semaphore_finish, NULL, .takes_back = true },
    [SHK_KIND_STREAM] = { offsetof(struct shki_stream_shared, waiters), NULL, NULL, true },
    [SHK_KIND_BARRIER] = { offsetof(struct shki_barrier_shared, waiters), shki_barrier_finish, shki_barrier_break, false },
};

int shki_object_line(struct shki_object *o, uint32_t kind, struct shki_line *l)
{
    if (kind >= sizeof(lines) / sizeof(lines[0]) || lines[kind].at == 0)
        return -ENOTSUP;
    l->segment = o->segment;
    l->at = o->at + lines[kind].at;
    l->shared = (struct shki_waitlist *)(void *)(o->shared + lines[kind].at);
    l->entry = o->entry;
    l->serial = o->serial;
    l->repairs = (struct shki_repairs *)(void *)o->shared;
    l->finish = lines[kind].finish;
    l->left = lines[kind].left;
    l->asks = lines[kind].asks;
    l->takes_back = lines[kind].takes_back;
    return shki_line_open(l);
}

/* A waiter that has been released before keeps the verdict that it was released with. */
static void release_all(struct shki_line *l)
{
    shki_line_notify_all(l, SHKI_UNLINKED);
}

/* Do something with the waitlist of an entry's object, with its mutex. */
static void with_line(struct shk_segment *s, struct shki_entry *e, void (*act)(struct shki_line *))
{
    struct shki_object o = { 0 };
    struct shki_line l = { 0 };

    if (look_at(&o, s, e) < 0 || shki_object_line(&o, e->kind, &l) < 0)
        return;
    if (shki_line_lock(&l) == 0) {
        act(&l);
        shki_line_unlock(&l);
    }
    shki_line_close(&l);
}

/* Those asleep on it look again, and find it stale. Killed in here: they find it at the end of their slice. */
static void wake(struct shk_segment *s, struct shki_entry *e)
{
    struct shki_object o = { 0 };

    if (e->kind == SHK_KIND_QUEUE && look_at(&o, s, e) == 0)
        shki_queue_wake(s, (struct shki_queue_shared *)(void *)o.shared);
    else if (e->kind == SHK_KIND_EVENT && look_at(&o, s, e) == 0)
        shki_event_wake((struct shki_event_shared *)(void *)o.shared);
    else if (e->kind == SHK_KIND_LOCK && look_at(&o, s, e) == 0)
        shki_lock_unlinked((struct shki_lock_shared *)(void *)o.shared);
    else if (e->kind == SHK_KIND_COND && look_at(&o, s, e) == 0)
        shki_lock_unlinked(&((struct shki_cond_shared *)(void *)o.shared)->lock);
    if (e->kind != SHK_KIND_QUEUE && e->kind != SHK_KIND_EVENT)
        with_line(s, e, release_all);
}

static void wake_everyone(struct shk_segment *s)
{
    for (uint32_t i = 0; i < s->max_objects; i++) {
        struct shki_entry *e = shki_entry_at(s, i);

        if (atomic_load_explicit(&e->state, memory_order_acquire) == SHKI_ENTRY_LIVE)
            wake(s, e);
    }
    shki_watchers_wake(s);
}

/* Records of the dead may be stuck in waitlists that nobody else visits. */
static void bury_everywhere(struct shk_segment *s)
{
    for (uint32_t i = 0; i < s->max_objects; i++) {
        struct shki_entry *e = shki_entry_at(s, i);

        /* With the lock, since nothing else keeps the extent from becoming somebody else's. */
        if (atomic_load_explicit(&e->state, memory_order_acquire) != SHKI_ENTRY_LIVE || shki_segment_lock(s) != 0)
            continue;
        if (atomic_load_explicit(&e->state, memory_order_relaxed) == SHKI_ENTRY_LIVE)
            with_line(s, e, shki_line_bury);
        shki_segment_unlock(s);
    }
    shki_watchers_bury(s);
}

int shki_object_join(struct shki_object *o, struct shki_membership **m)
{
    struct shki_saved_error saved;
    int r;

    shki_error_save(&saved);
    r = shki_member_join(o->segment, m);
    if (r == -EUSERS) {
        bury_everywhere(o->segment);
        r = shki_member_join(o->segment, m);
    }
    return shki_error_settle(r, &saved);
}

int shk_segment_open(const char *name, unsigned flags, const struct shk_segment_options *options, struct shk_segment **out)
{
    int r = shki_segment_open(name, flags, options, bury_everywhere, out);

    if (r == 0)
        shki_watchers(*out); /* or where it is needed, if there is no memory now */
    return r;
}

static void post_all(struct shk_segment *s, struct shki_bed *bed)
{
    uint32_t n = atomic_load_explicit(&bed->sleepers, memory_order_relaxed); /* perhaps too many: a permit too many is harmless */

    for (uint32_t i = 0; i < n && i < s->max_members; i++)
        sem_post(&bed->semaphore);
}

/* A thread of this process that waits for the object of an entry: those of other processes that wait there, too, look and sleep again. */
static void wake_at(struct shk_segment *s, struct shki_entry *e, uint32_t waits_for)
{
    struct shki_object o = { 0 };
    struct shki_queue_shared *queue;

    if (look_at(&o, s, e) < 0)
        return;
    queue = (void *)o.shared;
    if (e->kind == SHK_KIND_EVENT)
        shki_wake_all_at(&((struct shki_event_shared *)(void *)o.shared)->state);
    else if (e->kind == SHK_KIND_QUEUE)
        post_all(s, waits_for == SHK_WAITS_TO_GET ? &queue->empty : waits_for == SHK_WAITS_TO_PUT ? &queue->full : &queue->tasks);
}

/* The segment has been closed in this process: its threads that wait in it find that out at once, and not at the end of their slice. */
static void wake_own(struct shk_segment *s)
{
    for (struct shki_membership *m = s->memberships; m; m = m->next_in_segment) {
        struct shki_member *r = m->record;
        uint64_t serial = atomic_load_explicit(&r->waits_serial, memory_order_relaxed);
        uint32_t waits_for = atomic_load_explicit(&r->waits_for, memory_order_relaxed);
        struct shki_entry *e = shki_entry_at(s, atomic_load_explicit(&r->waits_entry, memory_order_relaxed));

        if (atomic_load_explicit(&r->id, memory_order_relaxed) != m->id || waits_for == 0 ||
            atomic_load_explicit(&r->waits_segment, memory_order_relaxed) != s->id)
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
    return shki_segment_retire(name, SHKI_RETIRE_IN_ANY_CASE, wake_everyone);
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
    struct shki_object o = { .segment = s };
    struct shki_saved_error saved;
    struct shki_membership *m;
    struct shki_entry *e;
    int r;

    if (s == NULL)
        return shki_say(-EINVAL, "the segment is NULL");
    r = shki_check_name("the object's name", name, SHK_NAME_MAX);
    if (r < 0)
        return r;
    shki_error_save(&saved);
    m = shki_membership_find(s);
    r = m ? 0 : shki_object_join(&o, &m);
    if (r < 0)
        return r;
    r = shki_segment_lock(s);
    if (r == 0) {
        e = shki_directory_find(s, name);
        if (e == NULL) {
            r = shki_fail(-ENOENT, "there is no %s/%s", s->name, name);
        } else {
            shki_directory_unlink(s, e);
            wake(s, e);
            shki_watchers_wake(s);
            shki_directory_reclaim(s);
        }
        shki_segment_unlock(s);
    }
    return shki_error_settle(r, &saved);
}
