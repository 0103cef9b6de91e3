#include "object/object.h"

#include "base/name.h"
#include "object/remote.h"
#include "segment/process.h"

#include <stdlib.h>
#include <string.h>

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
    struct shki_interrupt_call *call = m           ? &m->call
                                       : s->remote ? shki_remote_interrupt_call(s)
                                                   : NULL;

    p.openness = &s->openness;
    p.closes = load_relaxed(&s->openness.closes);
    p.segment = s->name;
    p.object = o->name;
    p.state = state;
    if (call && call->check) {
        p.call = call;
        p.nested = call->running;
        if (!p.nested)
            call->interrupted = false;
    }
    return p;
}

/* A change lasts microseconds; a writer that takes longer is stopped. */
#define WRITER_LIMIT SHK_SEC(10)

int shki_object_lock_writer(struct shki_object *o, struct shki_mutex *mutex,
                            const struct shki_member *m, struct shki_spinner *spinner,
                            const char *doing)
{
    struct shki_deadline deadline;
    int r = shki_mutex_trylock(mutex, m->id);

    if (r < 0) {
        deadline = shki_deadline(WRITER_LIMIT, NULL);
        r = shki_mutex_lock(mutex, &deadline, m->id, spinner, &o->segment->recovery, NULL, NULL);
    }
    if (r == -ETIMEDOUT)
        return shki_fail(-EBUSY, "%s/%s: thread %d has been %s for 10 s; it may be stopped",
                         o->segment->name, o->name, (int)shki_robust_holder(&mutex->robust), doing);
    if (r == 1)
        fetch_add_relaxed(&((struct shki_repairs *)(void *)o->shared)->holders_lost, 1);
    return r < 0 ? r : 0;
}

int shki_object_find(struct shki_object *o, struct shk_segment *s, struct shki_entry *e,
                     const struct shki_kind *kind)
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
        o->offset > s->size || o->size > s->size - o->offset || o->size < shki_kind_size(kind))
        return shki_fail(-EPROTO, "%s/%s is damaged: its extent", s->name, o->name);
    o->shared = s->base + o->offset;
    return 0;
}

/*
 * From now on the extent stays until this handle is closed or the process ends. Under the segment's
 * lock, or by the entry's owner.
 */
static void ref_extent(struct shki_object *o)
{
    struct shk_segment *s = o->segment;

    pthread_mutex_lock(&s->local);
    if (s->uses[o->index]++ == 0)
        shki_process_uses(s, o->index);
    s->handles++;
    pthread_mutex_unlock(&s->local);
}

int shki_object_find_and_ref(struct shki_object *o, struct shk_segment *s, struct shki_entry *e,
                             const struct shki_kind *kind)
{
    int r = shki_object_find(o, s, e, kind);

    if (r == 0)
        ref_extent(o);
    return r;
}

/* Under the segment's lock. */
static int begin(struct shk_segment *s, uint64_t me, const char *name, const struct shki_plan *plan,
                 struct shki_entry **e)
{
    if (plan->cannot_create)
        return shki_fail(plan->cannot_create, "%s/%s: %s", s->name, name, plan->why);
    return shki_directory_begin(s, me, name, plan->kind->number,
                                plan->size ? plan->size : plan->kind->size,
                                plan->kind->mutex_offset, e);
}

/*
 * Build what has been begun; without the lock, since it may take long. Killed before it is
 * published: the next creation of an object clears it.
 */
static int make(struct shk_segment *s, struct shki_entry *e, const struct shki_plan *plan,
                struct shki_object *o)
{
    int r = shki_object_find(o, s, e, plan->kind);

    if (r == 0)
        r = shki_directory_allocate(s, e, plan->memory);
    if (r == 0)
        r = plan->kind->build(o, plan);
    if (r == 0)
        r = plan->kind->check(o, plan);
    if (r < 0) {
        shki_directory_abandon(s, e);
        return r;
    }
    ref_extent(o);
    shki_directory_publish(e);
    return 0;
}

/*
 * Under the segment's lock: the mutexes are where the kind has them, and are such that libc works
 * with them.
 */
static bool mutexes_are_intact(const struct shki_object *o, const struct shki_kind *kind)
{
    for (unsigned k = 0; k < SHKI_MUTEXES_MAX; k++) {
        const struct shki_mutex *m = shki_entry_mutex(o->segment, o->entry, k);

        if (o->entry->mutex_offset[k] != kind->mutex_offset[k] ||
            (kind->mutex_offset[k] != 0 && (m == NULL || !shki_robust_is_intact(&m->robust))))
            return false;
    }
    return true;
}

static int check(struct shki_object *o, const struct shki_plan *plan)
{
    return mutexes_are_intact(o, plan->kind)
               ? plan->kind->check(o, plan)
               : shki_fail(-EPROTO, "%s/%s is damaged: a mutex of it", o->segment->name, o->name);
}

/* Open what an entry has, which is of the plan's kind. Under the segment's lock. */
static int open_entry(struct shk_segment *s, struct shki_entry *e, const struct shki_plan *plan,
                      struct shki_object *o)
{
    int r = shki_object_find(o, s, e, plan->kind);

    if (r == 0)
        r = check(o, plan);
    if (r == 0)
        ref_extent(o);
    return r;
}

/* Open what there is. Under the segment's lock. */
static int find(struct shk_segment *s, struct shki_entry *e, unsigned flags,
                const struct shki_plan *plan, struct shki_object *o)
{
    if (flags & SHK_CREATE && flags & SHK_EXCL)
        return shki_fail(-EEXIST, "%s/%.*s exists already", s->name, SHK_NAME_MAX, e->name);
    if (e->kind != plan->kind->number)
        return shki_fail(-EPROTOTYPE, "%s/%.*s is %s, not %s", s->name, SHK_NAME_MAX, e->name,
                         shki_kind_name(shki_kind_of(s, e->kind)), plan->kind->name);
    return open_entry(s, e, plan, o);
}

#define MAKING_LIMIT SHK_SEC(10) /* so long an opener waits for another one's creation */

/*
 * Find the entry of that name; if another opener is creating the object, wait for the end of that.
 * 0 with the segment's lock, and *e is NULL if there is none; or -errno without the lock.
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
        if (shki_object_is_live(*e))
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

static int find_elsewhere(const struct shk_segment *s, const char *name,
                          const struct shki_kind *kind)
{
    const void *const *calls = (const void *)((const char *)s->remote + kind->remote);

    return kind->remote && *calls
               ? SHKI_REMOTE
               : shki_fail(-ENOTSUP, "%s/%s: %s cannot be on etcd", s->name, name, kind->name);
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
    if (s->remote)
        return find_elsewhere(s, name, plan->kind);
    m = shki_member_find(s);
    r = m ? 0 : shki_object_join(o, &m);
    if (r == 0)
        r = settle(s, m->id, name, flags, &e);
    if (r != 0)
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
        if (e == NULL || shki_is_stale(s, e, serial) || e->kind != plan->kind->number)
            r = shki_fail(-ESTALE, "the condition's lock has been unlinked");
        else
            r = open_entry(s, e, plan, o);
        shki_segment_unlock(s);
    }
    return r;
}

void shki_object_reclaim(struct shk_segment *s)
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
        shki_object_reclaim(s);
        shki_error_settle(0, &saved);
        shki_segment_unpin(s);
    }
    shki_segment_unref(s);
}

void *shki_handle_open(struct shk_segment *segment, const char *name, unsigned flags,
                       const struct shki_plan *plan, size_t size, int *r)
{
    struct shki_object *o = calloc(1, size);

    *r = o ? shki_object_open(segment, name, flags, plan, o) : shki_say(-ENOMEM, "out of memory");
    if (*r == 0)
        return o;
    free(o);
    return NULL;
}

void shki_handle_close(struct shki_object *o)
{
    shki_object_close(o);
    free(o);
}

int shki_object_waitlist(struct shki_object *o, const struct shki_kind *kind,
                         struct shki_waitlist *l)
{
    const struct shki_kind_waitlist *w = &kind->waitlist;

    if (w->offset == 0)
        return -ENOTSUP;
    l->segment = o->segment;
    l->offset = o->offset + w->offset;
    l->shared = (struct shki_waitlist_shared *)(void *)(o->shared + w->offset);
    l->entry = o->entry;
    l->serial = o->serial;
    l->repairs = (struct shki_repairs *)(void *)o->shared;
    l->recover = w->recover;
    l->is_due = w->is_due;
    l->on_leave = w->on_leave;
    l->takes_requests = w->asks;
    l->takes_back = w->takes_back;
    return shki_waitlist_open(l);
}

int shki_object_join(struct shki_object *o, struct shki_member **m)
{
    struct shki_saved_error saved;
    int r;

    if (o->segment->remote)
        return shki_fail(-ENOTSUP, "segment %s: there is no such call on etcd", o->segment->name);
    shki_error_save(&saved);
    r = shki_member_join(o->segment, m);
    if (r == -EUSERS) {
        o->segment->kinds->reap(o->segment);
        r = shki_member_join(o->segment, m);
    }
    return shki_error_settle(r, &saved);
}

int shki_object_enter_first(struct shki_object *o, struct shki_member **m)
{
    return o->segment->remote ? SHKI_REMOTE : shki_object_join(o, m);
}
