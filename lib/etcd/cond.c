/* The condition on etcd: the kind, what its watch tells, and the calls. See cond.h. */
#include "etcd/cond.h"

#include "object/cond.h"

#include <shmkit/inspect.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* In a handle `shared` is the condition, and in the lock of a handle the lock. */
static struct shke_cond *cond_of(const struct shk_cond *handle)
{
    return (struct shke_cond *)(void *)handle->object.shared;
}

static struct shke_lock *lock_of(const struct shk_cond *handle)
{
    return (struct shke_lock *)(void *)handle->lock.object.shared;
}

static struct shke_object *object_of(struct shke_cond *c)
{
    return &c->lock.object;
}

/* ---- What the servers tell ---- */

static void see_event(void *arg, const struct shke_kv *kv, bool deleted)
{
    struct shke_cond *c = arg;

    pthread_mutex_lock(&object_of(c)->lock);
    if (!shke_lock_event(&c->lock, kv, deleted))
        shke_cond_event(c, kv, deleted);
    pthread_mutex_unlock(&object_of(c)->lock);
}

static void told(void *arg)
{
    struct shke_cond *c = arg;

    pthread_mutex_lock(&object_of(c)->lock);
    pthread_cond_broadcast(&object_of(c)->changed);
    pthread_mutex_unlock(&object_of(c)->lock);
}

static int64_t reload(void *arg)
{
    const struct shke_trial trial = {.limit = SHK_SEC(1)};
    int64_t revision = shke_cond_look(arg, &trial);

    return revision == -ESTALE ? INT64_MAX - 1 : revision; /* nothing comes any more */
}

/* A mark of a waiter that is a stray goes to the next one, as after a death. */
static bool mend(void *arg)
{
    struct shke_cond *c = arg;
    bool lock = shke_lock_mend(&c->lock);

    return shke_line_mend(&c->line) && lock;
}

static const struct shke_watcher watcher = {see_event, told, reload, mend};

/* ---- The kind ---- */

static const struct shke_object *given_lock(const struct shk_cond_options *o)
{
    return o && o->lock ? (struct shke_object *)(void *)o->lock->object.shared : NULL;
}

static void describe(struct shke_buffer *b, const void *options)
{
    const struct shke_object *given = given_lock(options);

    if (given == NULL)
        return;
    shke_add_string(b, ",\"lock\":");
    shke_add_json_string(b, given->name);
    shke_addf(b, ",\"lock_created\":%lld", (long long)given->created);
}

static int check(struct shke_object *o, json_object *record, const void *options)
{
    const struct shke_object *wanted = given_lock(options);
    struct shke_cond *c = (struct shke_cond *)o;
    json_object *name;

    c->given_created = shke_number(record, "lock_created");
    if (c->given_created && json_object_object_get_ex(record, "lock", &name))
        snprintf(c->given, sizeof(c->given), "%s", json_object_get_string(name));
    if (options && (wanted ? wanted->created : 0) != c->given_created)
        return shke_fail(-EPROTOTYPE, "%s/%s goes with another lock", o->segment->segment.name,
                         o->name);
    c->lock.recursive = true;
    return 0;
}

static int start(struct shke_object *o)
{
    const struct shke_trial trial = {.limit = SHKE_LIMIT};
    struct shke_cond *c = (struct shke_cond *)o;
    int64_t revision;

    shke_line_init(&c->line, o, "wait/");
    shke_line_init(&c->marks, o, "mark/");
    revision = shke_cond_look(c, &trial);
    if (revision >= 0)
        c->lock.watch = shke_watch_start(shke_session_watches(o->segment->session), o->prefix,
                                         revision, false, &watcher, c);
    if (c->lock.watch)
        return 0;
    shke_line_free(&c->line);
    shke_line_free(&c->marks);
    return revision < 0 ? (int)revision : -ENOMEM;
}

static void stop(struct shke_object *o)
{
    struct shke_cond *c = (struct shke_cond *)o;

    shke_watch_stop(c->lock.watch);
    shke_line_free(&c->line);
    shke_line_free(&c->marks);
}

const struct shke_kind shke_cond_kind = {.number = SHK_KIND_COND,
                                         .name = "condition",
                                         .size = sizeof(struct shke_cond),
                                         .describe = describe,
                                         .check = check,
                                         .start = start,
                                         .stop = stop,
                                         .looks = 2,
                                         .look = shke_cond_sight_look,
                                         .tell = shke_cond_sight_tell};

/* The lock that goes with it: its own, or the one that was given, if that is still there. */
static int open_lock(struct shk_segment *s, struct shke_cond *c, struct shk_lock *lock)
{
    struct shke_object *o = object_of(c);
    int r = 0;

    if (c->given[0])
        r = shke_object_open(s, c->given, 0, &shke_lock_kind, NULL, &o);
    if (r == 0 && c->given[0] && o->created != c->given_created) {
        shke_object_unref(o);
        r = -ENOENT;
    }
    if (r == -ENOENT || r == -EPROTOTYPE)
        return shke_fail(-ESTALE, "the condition's lock has been unlinked");
    if (r == 0)
        shke_object_bind(&lock->object, o);
    return r;
}

static int cond_open(struct shk_segment *s, const char *name, unsigned flags,
                     const struct shk_cond_options *options, struct shk_cond **out)
{
    struct shk_cond *h = calloc(1, sizeof(*h)); /* zero, but for the objects */
    struct shke_object *o;
    int r;

    if (h && options && options->kind != SHK_COND_ROBUST)
        r = shke_fail(-ENOTSUP, "%s/%s: a condition on etcd is of the robust kind", s->name, name);
    else
        r = h ? shke_object_open(s, name, flags, &shke_cond_kind, options, &o)
              : shke_fail(-ENOMEM, "out of memory");
    if (r == 0) {
        shke_object_bind(&h->object, o);
        r = open_lock(s, (struct shke_cond *)o, &h->lock);
        if (r < 0)
            shke_object_unref(o);
    }
    if (r < 0)
        free(h);
    else
        *out = h;
    return r;
}

static int cond_close(struct shk_cond *handle)
{
    struct shke_cond *c = cond_of(handle);
    struct shke_lock *l = lock_of(handle);
    bool is_held = false;

    if (l == &c->lock && shke_enter(&handle->object, object_of(c)) == 0) {
        pthread_mutex_lock(&l->object.lock);
        is_held = shke_lock_is_mine(l);
        pthread_mutex_unlock(&l->object.lock);
    }
    if (is_held)
        return shke_fail(-EBUSY, "%s/%s: the calling thread holds the condition's lock",
                         handle->object.segment->name, handle->object.name);
    if (l != &c->lock)
        shke_object_unref(&l->object);
    shke_object_unref(object_of(c));
    free(handle);
    return 0;
}

/* ---- Waiting ---- */

/* The calling thread's last wait: of which condition, and whether it was notified. */
static _Thread_local struct {
    int64_t created;
    bool notified;
} last_wait;

/* With the lock of the lock's object, by its holder: enter the line, and give it up altogether. */
static int give_up(struct shke_cond *c, struct shke_lock *l, struct shke_ticket *ticket,
                   uint32_t *again)
{
    const struct shke_trial trial = {.limit = SHKE_GRACE};
    struct shke_session *session = l->object.segment->session;
    struct shke_kv none = {0};
    int64_t token = l->token, revision = 0;
    bool is_doubtful = false; /* a sending of it may still come through */
    int r;

    l->is_trying = true;
    *again = l->again;
    ticket->lease = l->lease;
    pthread_mutex_unlock(&l->object.lock);
    do {
        r = shke_cond_enter(c, l, token, ticket, &trial, &revision);
        r = is_doubtful && r < 0 && r != -EHOSTUNREACH && r != -ESTALE ? 1 : r;
        is_doubtful = true;
    } while (r == -EHOSTUNREACH && shke_session_has(session, ticket->lease));
    pthread_mutex_lock(&l->object.lock);
    l->is_trying = false;
    if (r == 0)
        shke_lock_learn(l, &none, revision);
    if (r == 0 || r == 1 || r == -EHOSTUNREACH)
        l->owner = 0;
    pthread_cond_broadcast(&l->object.changed);
    if (r != 0) /* what no thread has now is given back */
        shke_watch_mend(l->watch);
    return r == 1 || r == -EHOSTUNREACH ? shke_lock_say_lost(l) : r;
}

/*
 * With the condition's lock: 0: notified; 1: the lease has ended meanwhile, and the place in the
 * line with it; or why the wait ends.
 */
static int sleep_until_marked(struct shke_cond *c, struct shke_ticket *ticket,
                              const struct shki_deadline *deadline)
{
    const struct shke_trial trial = {.deadline = deadline};
    const struct shke_spot *next, *mark = NULL;
    int r = 0;

    while (r == 0) {
        if (shke_cond_is_marked(c, ticket->name, ticket->created))
            return 0;
        if (shke_line_has_lost(&c->line, ticket))
            return 1;
        if (load_relaxed(&object_of(c)->is_gone))
            return shke_stale(object_of(c));
        next = shke_cond_next(c, &mark);
        if (next && strcmp(next->name, ticket->name) == 0)
            r = shke_cond_take_over(c, mark, ticket, &trial);
        if (r == 0)
            r = shke_object_wait(object_of(c), deadline);
    }
    return r;
}

/*
 * With the condition's lock, holding the condition's own: whether it was notified, if it is so. The
 * watch may be late: then the servers are asked before its mark is deleted. Tried until the lease
 * ends: then a mark goes to the next waiter.
 */
static bool leave_line(struct shke_cond *c, struct shke_ticket *ticket)
{
    const struct shke_trial trial = {.limit = SHKE_GRACE};
    struct shke_session *session = object_of(c)->segment->session;
    bool marked = shke_cond_is_marked(c, ticket->name, ticket->created);
    struct shki_saved_error saved;
    int r;

    shke_host->error_save(&saved);
    if (!marked) {
        pthread_mutex_unlock(&object_of(c)->lock);
        shke_cond_look(c, &trial);
        pthread_mutex_lock(&object_of(c)->lock);
        marked = shke_cond_is_marked(c, ticket->name, ticket->created);
    }
    do
        r = shke_cond_leave(c, ticket, &marked, &trial);
    while (r == -EHOSTUNREACH && shke_session_has(session, ticket->lease));
    shke_host->error_settle(0, &saved);
    if (shke_ticket_give(&c->line, ticket) || r != 0)
        shke_watch_mend(c->lock.watch);
    return marked;
}

static int wait(struct shk_cond *handle, struct shke_cond *c, struct shke_lock *l,
                const struct shki_deadline *deadline)
{
    struct shki_saved_error saved;
    struct shke_waiting waiting;
    struct shke_ticket ticket;
    uint32_t again = 0;
    bool marked;
    int r, orphaned;

    pthread_mutex_lock(&object_of(c)->lock);
    shke_ticket_take(&c->line, &ticket, "");
    pthread_mutex_unlock(&object_of(c)->lock);
    pthread_mutex_lock(&l->object.lock);
    r = shke_lock_check_holder(&handle->lock.object, l);
    if (r == 0)
        r = give_up(c, l, &ticket, &again);
    pthread_mutex_unlock(&l->object.lock);
    if (r < 0) {
        pthread_mutex_lock(&object_of(c)->lock);
        shke_ticket_give(&c->line, &ticket);
        shke_watch_mend(c->lock.watch);
        pthread_mutex_unlock(&object_of(c)->lock);
        return r;
    }
    shke_waiting_begin(&waiting, object_of(c), SHK_WAITS_FOR_NOTIFY, deadline);
    pthread_mutex_lock(&object_of(c)->lock);
    r = sleep_until_marked(c, &ticket, deadline);
    pthread_mutex_unlock(&object_of(c)->lock);
    shke_waiting_end(&waiting);
    shke_host->error_save(&saved);
    pthread_mutex_lock(&l->object.lock);
    orphaned = shke_lock_acquire_again(l, &handle->lock.object, again);
    pthread_mutex_unlock(&l->object.lock);
    pthread_mutex_lock(&object_of(c)->lock);
    marked = leave_line(c, &ticket);
    pthread_mutex_unlock(&object_of(c)->lock);
    last_wait.notified = marked;
    if (orphaned < 0)
        return orphaned;
    shke_host->error_settle(0, &saved); /* the sentence of r */
    return orphaned ? orphaned : marked || r == 1 ? 0 : r;
}

/* -ESTALE comes after -EPERM, since a holder must know that it has to release the lock. */
static int check_holder(struct shk_cond *handle, int64_t *token)
{
    struct shke_lock *l = lock_of(handle);
    struct shke_cond *c = cond_of(handle);
    int r;

    if (!shke_session_is_own(l->object.segment->session))
        return shke_enter(&handle->object, object_of(c));
    pthread_mutex_lock(&l->object.lock);
    r = shke_lock_check_holder(&handle->lock.object, l);
    *token = l->token;
    pthread_mutex_unlock(&l->object.lock);
    return r == 0 && load_relaxed(&object_of(c)->is_gone) ? shke_stale(object_of(c)) : r;
}

static int cond_wait(struct shk_cond *handle, int64_t timeout)
{
    struct shke_cond *c = cond_of(handle);
    struct shki_deadline deadline;
    struct shki_saved_error saved;
    int64_t token;
    int r = check_holder(handle, &token);

    if (r < 0)
        return r;
    last_wait.created = object_of(c)->created;
    last_wait.notified = false;
    shke_host->error_save(&saved);
    deadline = shke_host->deadline(&handle->object, timeout, "the condition was not notified");
    r = shke_host->deadline_check(&deadline);
    if (r == 0)
        r = wait(handle, c, lock_of(handle), &deadline);
    return shke_host->error_settle(r, &saved);
}

static int cond_was_notified(struct shk_cond *handle)
{
    return last_wait.created == object_of(cond_of(handle))->created && last_wait.notified;
}

/* ---- Notifying ---- */

/* With the condition's lock. As long as the lease lasts: then the lock is lost, too. */
static int mark(struct shke_cond *c, struct shke_lock *l, int64_t token, unsigned n)
{
    const struct shke_trial trial = {.limit = SHKE_GRACE};
    struct shke_session *session = l->object.segment->session;
    unsigned all = 0, most;
    char nonce[SHKE_NONCE_SIZE];
    bool holds = true;
    int r;

    do {
        shke_nonce(nonce);
        do
            r = shke_cond_mark(c, l, token, n == UINT32_MAX ? n : n - all, nonce, &holds, &trial);
        while (holds &&
               (r == -EAGAIN || (r == -EHOSTUNREACH && shke_session_has(session, l->lease))));
        if (!holds || r == -EHOSTUNREACH)
            return shke_lock_say_lost(l);
        if (r < 0)
            return r;
        most = (unsigned)r;
        all += most;
    } while (n != UINT32_MAX && most > 0 && all < n);
    return (int)all;
}

static int cond_notify(struct shk_cond *handle, unsigned n)
{
    struct shke_cond *c = cond_of(handle);
    struct shki_saved_error saved;
    int64_t token;
    int r = check_holder(handle, &token);

    if (r < 0 || n == 0)
        return r;
    shke_host->error_save(&saved);
    pthread_mutex_lock(&object_of(c)->lock);
    r = mark(c, lock_of(handle), token, n);
    pthread_mutex_unlock(&object_of(c)->lock);
    return shke_host->error_settle(r, &saved);
}

const struct shki_cond_calls shke_cond_calls = {.open = cond_open,
                                                .close = cond_close,
                                                .wait = cond_wait,
                                                .was_notified = cond_was_notified,
                                                .notify = cond_notify};
