/* The rwlock on etcd: the kind, what its watch tells, and the calls. See rwlock.h. */
#include "etcd/rwlock.h"

#include "object/rwlock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A handle. */
struct handle {
    struct shk_rwlock base; /* zero, but for its object */
    struct shke_rwlock *lock;
};

static struct shke_rwlock *lock_of(const struct shk_rwlock *l)
{
    return ((const struct handle *)(const void *)l)->lock;
}

/* ---- What the servers tell ---- */

static void see_event(void *arg, const struct shke_kv *kv, bool deleted)
{
    struct shke_rwlock *l = arg;

    pthread_mutex_lock(&l->object.lock);
    if (shke_is_record(&l->object, kv) && deleted)
        shke_object_is_gone(&l->object);
    else
        shke_rwlock_event(l, kv, deleted);
    pthread_mutex_unlock(&l->object.lock);
}

static int64_t reload(void *arg)
{
    const struct shke_trial trial = {.limit = SHK_SEC(1)};
    int64_t revision = shke_rwlock_look(arg, &trial);

    return revision == -ESTALE ? INT64_MAX - 1 : revision; /* nothing comes any more */
}

static bool mend(void *arg)
{
    struct shke_rwlock *l = arg;
    bool writer = shke_rwlock_mend(l), readers = shke_line_mend(&l->readers);

    return shke_line_mend(&l->line) && writer && readers;
}

static const struct shke_watcher watcher = {see_event, shke_object_told, reload, mend};

/* ---- The kind ---- */

static int start(struct shke_object *o)
{
    const struct shke_trial trial = {.limit = SHKE_LIMIT};
    struct shke_rwlock *l = (struct shke_rwlock *)o;
    int64_t revision;

    shke_line_init(&l->line, o, "wait/");
    shke_line_init(&l->readers, o, "reader/");
    revision = shke_rwlock_look(l, &trial);
    if (revision >= 0)
        l->watch = shke_watch_start(shke_session_watches(o->segment->session), o->prefix, revision,
                                    false, &watcher, l);
    if (l->watch)
        return 0;
    shke_line_free(&l->line);
    shke_line_free(&l->readers);
    return revision < 0 ? (int)revision : -ENOMEM;
}

static void stop(struct shke_object *o)
{
    struct shke_rwlock *l = (struct shke_rwlock *)o;
    struct shke_rw_holder *h;

    shke_watch_stop(l->watch);
    while ((h = l->holders) != NULL) { /* of threads that have ended */
        l->holders = h->next;
        free(h);
    }
    shke_line_free(&l->line);
    shke_line_free(&l->readers);
}

const struct shke_kind shke_rwlock_kind = {.number = SHK_KIND_RWLOCK,
                                           .name = "rwlock",
                                           .size = sizeof(struct shke_rwlock),
                                           .start = start,
                                           .stop = stop,
                                           .looks = 3,
                                           .look = shke_rwlock_sight_look,
                                           .tell = shke_rwlock_sight_tell};

static int rwlock_open(struct shk_segment *s, const char *name, unsigned flags,
                       const struct shk_rwlock_options *options, struct shk_rwlock **out)
{
    struct handle *h = calloc(1, sizeof(*h));
    struct shke_object *o;
    int r = h ? shke_object_open(s, name, flags, &shke_rwlock_kind, options, &o)
              : shke_fail(-ENOMEM, "out of memory");

    if (r < 0) {
        free(h);
        return r;
    }
    shke_object_bind(&h->base.object, o);
    h->lock = (struct shke_rwlock *)o;
    *out = &h->base;
    return 0;
}

/* ---- The threads of this process ---- */

/* With the lock: how the calling thread holds it, or tries to; NULL: not. */
static struct shke_rw_holder *find_mine(const struct shke_rwlock *l)
{
    struct shke_rw_holder *h = l->holders;

    while (h && h->tid != shke_tid())
        h = h->next;
    return h;
}

static bool has_lease(const struct shke_rwlock *l, const struct shke_rw_holder *h)
{
    return shke_session_has(l->object.segment->session, h->ticket.lease);
}

static void forget(struct shke_rwlock *l, struct shke_rw_holder *h)
{
    struct shke_rw_holder **link = &l->holders;
    int64_t created = shke_rwlock_key(l, h);

    while (*link != h)
        link = &(*link)->next;
    *link = h->next;
    shke_ticket_give(&l->readers, &h->ticket);
    if (created && created != h->ticket.created) /* it has come again, as a stray */
        shke_watch_mend(l->watch);
    free(h);
}

/* With the lock: the thread tries to enter. */
static struct shke_rw_holder *add_mine(struct shke_rwlock *l, bool writes)
{
    struct shke_rw_holder *h = calloc(1, sizeof(*h));

    if (h == NULL)
        return NULL;
    shke_ticket_take(&l->readers, &h->ticket, "");
    h->tid = shke_tid();
    h->writes = writes;
    h->next = l->holders;
    l->holders = h;
    return h;
}

static int rwlock_close(struct shk_rwlock *base)
{
    struct shke_rwlock *l = lock_of(base);
    struct shke_rw_holder *h;
    bool is_held = false;

    if (shke_session_is_own(l->object.segment->session)) {
        pthread_mutex_lock(&l->object.lock);
        h = find_mine(l);
        is_held = h && has_lease(l, h) && load_relaxed(&base->object.segment->openness.opens) > 0;
        pthread_mutex_unlock(&l->object.lock);
    }
    if (is_held)
        return shke_fail(-EBUSY, "%s/%s: the calling thread holds the rwlock",
                         l->object.segment->segment.name, l->object.name);
    shke_object_unref(&l->object);
    free(base);
    return 0;
}

/* ---- Acquiring ---- */

enum { CHANGED = 1 }; /* it was not as had been known */
#define TRIES 2       /* as long as each finds that things have changed; then news are waited for */

/* With the lock. */
static int try_to_enter(struct shke_rwlock *l, struct shke_rw_holder *h,
                        const struct shke_ticket *place, const struct shke_trial *trial)
{
    int r;

    pthread_mutex_unlock(&l->object.lock);
    r = shke_segment_lease(l->object.segment, trial, &h->ticket.lease);
    pthread_mutex_lock(&l->object.lock);
    if (r == 0)
        r = shke_rwlock_enter(l, h, place, trial);
    if (r == -ESTALE && !load_relaxed(&l->object.is_gone)) {
        shke_session_lost(l->object.segment->session, h->ticket.lease);
        return CHANGED; /* the next try is given another lease */
    }
    return r;
}

static int enter_line(struct shke_rwlock *l, struct shke_ticket *ticket,
                      const struct shke_trial *trial)
{
    int r;

    pthread_mutex_unlock(&l->object.lock);
    r = shke_line_enter(&l->line, ticket, "}", trial);
    pthread_mutex_lock(&l->object.lock);
    return r == -ESTALE && !load_relaxed(&l->object.is_gone) ? 0 : r; /* once more, then */
}

static int look(struct shke_rwlock *l, const struct shke_trial *trial)
{
    int64_t revision;

    pthread_mutex_unlock(&l->object.lock);
    revision = shke_rwlock_look(l, trial);
    pthread_mutex_lock(&l->object.lock);
    return revision < 0 ? (int)revision : 0;
}

/*
 * With the lock. A try comes first if it may succeed; else the line is entered. A caller that does
 * not wait, or not any longer, asks the servers once: what is known may be old.
 */
static int enter(struct shke_rwlock *l, struct shke_rw_holder *h, struct shke_ticket *ticket,
                 const struct shki_deadline *deadline)
{
    const struct shke_trial trial = {.deadline = deadline};
    const struct shke_ticket *place;
    bool has_looked = false, is_over;
    unsigned tries = 0;
    int r = 0;

    while (r == 0) {
        if (load_relaxed(&l->object.is_gone))
            return shke_stale(&l->object);
        if (shke_line_has_lost(&l->line, ticket))
            ticket->created = 0;
        place = ticket->created ? ticket : NULL;
        is_over = shke_host->deadline_has_passed(deadline);
        if (tries < TRIES &&
            (shke_rwlock_key(l, h) || shke_rwlock_may_enter(l, h->writes, place))) {
            r = try_to_enter(l, h, place, &trial);
            if (r != CHANGED)
                return r;
            r = 0;
            tries++;
        } else if (is_over && !has_looked) {
            r = look(l, &trial);
            has_looked = true;
            tries = 0;
        } else if (!is_over && place == NULL) {
            r = enter_line(l, ticket, &trial);
            tries = 0;
        } else {
            r = shke_object_wait(&l->object, deadline);
            tries = 0;
        }
    }
    if ((r == -EAGAIN || r == -ETIMEDOUT) && l->writer_created)
        shke_host->note_holder(l->writer_name, l->writer_pid);
    return r;
}

/* With the lock: the thread's key is deleted, unless the thread has entered by it. */
static void leave_line(struct shke_rwlock *l, struct shke_ticket *ticket, bool by_it, int result)
{
    const struct shke_trial trial = {.limit = SHKE_GRACE};
    struct shki_saved_error saved;
    int r = 0;

    if (!by_it && ticket->created) {
        shke_host->error_save(&saved);
        pthread_mutex_unlock(&l->object.lock);
        r = shke_line_leave(&l->line, ticket->name, ticket->created, &trial);
        pthread_mutex_lock(&l->object.lock);
        shke_host->error_settle(0, &saved);
    }
    if (shke_ticket_give(&l->line, ticket) || r < 0 || result < 0)
        shke_watch_mend(l->watch);
}

static int acquire_again(const struct shk_rwlock *base, struct shke_rw_holder *h, bool writes)
{
    if (h->writes)
        return shke_host->object_say(&base->object, -EDEADLK,
                                     "the calling thread holds the rwlock exclusively");
    if (writes)
        return shke_host->object_say(&base->object, -EDEADLK,
                                     "the calling thread has a share, and would wait for itself");
    if (h->again == INT32_MAX)
        return shke_host->object_say(&base->object, -EOVERFLOW,
                                     "the calling thread has acquired the rwlock 2^31 times");
    h->again++;
    return h->is_orphaned ? SHK_ORPHANED : 0;
}

/* With the lock. */
static int acquire_first(struct shke_rwlock *l, bool writes, const struct shki_deadline *deadline)
{
    struct shke_rw_holder *h = add_mine(l, writes);
    struct shke_ticket ticket;
    int r;

    if (h == NULL)
        return shke_fail(-ENOMEM, "out of memory");
    shke_ticket_take(&l->line, &ticket, writes ? "w." : "r.");
    r = enter(l, h, &ticket, deadline);
    leave_line(l, &ticket, r >= 0 && !h->was_in, r);
    if (r < 0)
        forget(l, h);
    return r < 0 ? r : h->is_orphaned ? SHK_ORPHANED : 0;
}

static int acquire(struct shk_rwlock *base, bool writes, int64_t timeout)
{
    struct shke_rwlock *l = lock_of(base);
    struct shki_deadline deadline;
    struct shki_saved_error saved;
    struct shke_waiting waiting;
    struct shke_rw_holder *h;
    int r = shke_enter(&base->object, &l->object);

    if (r < 0)
        return r;
    shke_host->error_save(&saved);
    deadline = shke_host->deadline(&base->object, timeout,
                                   writes ? "members read" : "a member writes, or waits to");
    shke_waiting_begin(&waiting, &l->object, writes ? SHK_WAITS_TO_ACQUIRE : SHK_WAITS_TO_READ,
                       &deadline);
    pthread_mutex_lock(&l->object.lock);
    h = find_mine(l);
    if (h && !has_lease(l, h)) {
        forget(l, h);
        h = NULL;
    }
    r = h ? acquire_again(base, h, writes) : acquire_first(l, writes, &deadline);
    pthread_mutex_unlock(&l->object.lock);
    shke_waiting_end(&waiting);
    return shke_host->error_settle(r, &saved);
}

static int rwlock_acquire_shared(struct shk_rwlock *base, int64_t timeout)
{
    return acquire(base, false, timeout);
}

static int rwlock_acquire(struct shk_rwlock *base, int64_t timeout)
{
    return acquire(base, true, timeout);
}

/* ---- Releasing ---- */

static int say_lost(const struct shke_rwlock *l)
{
    return shke_fail(-ESTALE,
                     "%s/%s: the lease of this process has ended, and its share or the rwlock "
                     "with it: another member may have written since",
                     l->object.segment->segment.name, l->object.name);
}

/*
 * With the lock. Tried until the lease ends: then it is free, too, but the death of a writer is
 * told.
 */
static int finish(struct shke_rwlock *l, struct shke_rw_holder *h, bool to_reader)
{
    const struct shke_trial trial = {.limit = SHKE_GRACE};
    int r;

    do {
        if (h->writes) {
            r = shke_rwlock_finish(l, h, to_reader, &trial);
        } else {
            pthread_mutex_unlock(&l->object.lock);
            r = shke_line_leave(&l->readers, h->ticket.name, h->ticket.created, &trial);
            pthread_mutex_lock(&l->object.lock);
        }
    } while (r == -EHOSTUNREACH && has_lease(l, h));
    /* not there: an earlier try has deleted it, or the lease has ended */
    if (r == -EHOSTUNREACH || (r >= 0 && !has_lease(l, h)))
        return say_lost(l);
    return r == -ESTALE && load_relaxed(&l->object.is_gone) ? 0 : r < 0 ? r : 0;
}

/* Of a caller that does not hold it so. */
static int refuse(const struct shk_rwlock *base, struct shke_rwlock *l, struct shke_rw_holder *h)
{
    if (h && !has_lease(l, h)) {
        forget(l, h); /* told once */
        return say_lost(l);
    }
    return shke_host->object_say(&base->object, -EPERM,
                                 h ? "the calling thread does not hold the rwlock exclusively"
                                   : "the calling thread does not hold the rwlock");
}

static int rwlock_release(struct shk_rwlock *base)
{
    struct shke_rwlock *l = lock_of(base);
    struct shki_saved_error saved;
    struct shke_rw_holder *h;
    int r = 0;

    if (!shke_session_is_own(l->object.segment->session))
        return shke_enter(&base->object, &l->object);
    shke_host->error_save(&saved);
    pthread_mutex_lock(&l->object.lock);
    h = find_mine(l);
    if (h == NULL || !has_lease(l, h)) {
        r = refuse(base, l, h);
    } else if (h->again > 0) {
        h->again--;
    } else {
        r = finish(l, h, false);
        forget(l, h);
        if (r < 0)
            shke_watch_mend(l->watch);
        pthread_cond_broadcast(&l->object.changed);
    }
    pthread_mutex_unlock(&l->object.lock);
    return shke_host->error_settle(r, &saved);
}

static int rwlock_downgrade(struct shk_rwlock *base)
{
    struct shke_rwlock *l = lock_of(base);
    struct shki_saved_error saved;
    struct shke_rw_holder *h;
    int r;

    if (!shke_session_is_own(l->object.segment->session))
        return shke_enter(&base->object, &l->object);
    shke_host->error_save(&saved);
    pthread_mutex_lock(&l->object.lock);
    h = find_mine(l);
    if (h == NULL || !has_lease(l, h) || !h->writes) {
        r = refuse(base, l, h);
    } else {
        r = finish(l, h, true);
        h->writes = h->writes && r < 0;
        if (r < 0) {
            forget(l, h);
            shke_watch_mend(l->watch);
        }
        pthread_cond_broadcast(&l->object.changed);
    }
    pthread_mutex_unlock(&l->object.lock);
    return shke_host->error_settle(r, &saved);
}

/* It is said with the release, or the downgrade: until then the writer can die, which is told. */
static int rwlock_recover(struct shk_rwlock *base)
{
    struct shke_rwlock *l = lock_of(base);
    struct shke_rw_holder *h;
    int r = 0;

    if (!shke_session_is_own(l->object.segment->session))
        return shke_enter(&base->object, &l->object);
    pthread_mutex_lock(&l->object.lock);
    h = find_mine(l);
    if (h == NULL || !has_lease(l, h) || !h->writes)
        r = refuse(base, l, h);
    else
        h->is_orphaned = false;
    pthread_mutex_unlock(&l->object.lock);
    return r;
}

static int rwlock_is_held(struct shk_rwlock *base)
{
    struct shke_rwlock *l = lock_of(base);
    struct shke_rw_holder *h;
    int r = shke_enter(&base->object, &l->object);

    if (r < 0)
        return r;
    pthread_mutex_lock(&l->object.lock);
    h = find_mine(l);
    r = h == NULL || !has_lease(l, h) ? 0 : h->writes ? 2 : 1;
    pthread_mutex_unlock(&l->object.lock);
    return r;
}

const struct shki_rwlock_calls shke_rwlock_calls = {.open = rwlock_open,
                                                    .close = rwlock_close,
                                                    .acquire_shared = rwlock_acquire_shared,
                                                    .acquire = rwlock_acquire,
                                                    .release = rwlock_release,
                                                    .downgrade = rwlock_downgrade,
                                                    .recover = rwlock_recover,
                                                    .is_held = rwlock_is_held};
