/* The lock on etcd: what its watch tells, and the calls. See lock.h. */
#include "etcd/lock.h"

#include "object/lock.h"

#include <stdlib.h>
#include <string.h>

/* Of a handle, or of the lock in a condition's handle. */
static struct shke_lock *lock_of(const struct shk_lock *l)
{
    return (struct shke_lock *)(void *)l->object.shared;
}

/* ---- What the servers tell ---- */

static bool is_holder(const struct shke_lock *l, const struct shke_kv *kv)
{
    return strcmp(kv->key + strlen(l->object.prefix), "holder") == 0;
}

bool shke_lock_event(struct shke_lock *l, const struct shke_kv *kv, bool deleted)
{
    if (shke_is_record(&l->object, kv) && deleted)
        shke_object_is_gone(&l->object);
    else if (is_holder(l, kv))
        shke_lock_learn(l, kv, kv->mod); /* a key that is deleted has no create_revision */
    else
        return false;
    return true;
}

static void see_event(void *arg, const struct shke_kv *kv, bool deleted)
{
    struct shke_lock *l = arg;

    pthread_mutex_lock(&l->object.lock);
    shke_lock_event(l, kv, deleted);
    pthread_mutex_unlock(&l->object.lock);
}

/* With the object's lock: the holder is this process, and none of its threads. */
static bool is_stray(const struct shke_lock *l)
{
    return l->holder_created && !l->is_trying &&
           shke_session_has(l->object.segment->session, l->holder_lease) &&
           !(l->owner && l->token == l->holder_created);
}

static void told(void *arg)
{
    (void)arg; /* each event has woken what waits for it */
}

bool shke_lock_mend(void *arg)
{
    const struct shke_trial trial = {.limit = SHK_MS(500)};
    struct shke_lock *l = arg;
    struct shke_reply reply;
    int64_t created;

    pthread_mutex_lock(&l->object.lock);
    created = is_stray(l) ? l->holder_created : 0;
    pthread_mutex_unlock(&l->object.lock);
    if (created == 0)
        return true;
    if (shke_lock_give_back(l, created, true, &trial, &reply) < 0)
        return false;
    shke_reply_free(&reply);
    return true;
}

static int64_t reload(void *arg)
{
    const struct shke_trial trial = {.limit = SHK_SEC(1)};

    return shke_lock_look(arg, &trial);
}

static const struct shke_watcher watcher = {see_event, told, reload, shke_lock_mend};

/* ---- The kind ---- */

static void describe(struct shke_buffer *b, const void *options)
{
    const struct shk_lock_options *o = options;

    shke_addf(b, ",\"recursive\":%d", o && o->recursive ? 1 : 0);
}

static int check(struct shke_object *o, json_object *record, const void *options)
{
    const struct shk_lock_options *wanted = options;
    struct shke_lock *l = (struct shke_lock *)o;

    l->recursive = shke_number(record, "recursive") != 0;
    if (wanted && (wanted->recursive != 0) != l->recursive)
        return shke_fail(-EPROTOTYPE, "%s/%s is %srecursive", o->segment->segment.name, o->name,
                         l->recursive ? "" : "not ");
    return 0;
}

/* What there is at first is found by the first acquire. */
static int start(struct shke_object *o)
{
    struct shke_lock *l = (struct shke_lock *)o;

    l->known = o->revision;
    l->watch = shke_watch_start(shke_session_watches(o->segment->session), o->prefix, o->revision,
                                false, &watcher, l);
    return l->watch ? 0 : -ENOMEM;
}

static void stop(struct shke_object *o)
{
    shke_watch_stop(((struct shke_lock *)o)->watch);
}

const struct shke_kind shke_lock_kind = {.number = SHK_KIND_LOCK,
                                         .name = "lock",
                                         .size = sizeof(struct shke_lock),
                                         .describe = describe,
                                         .check = check,
                                         .start = start,
                                         .stop = stop,
                                         .looks = 2,
                                         .look = shke_lock_sight_look,
                                         .tell = shke_lock_sight_tell};

static int lock_open(struct shk_segment *s, const char *name, unsigned flags,
                     const struct shk_lock_options *options, struct shk_lock **out)
{
    struct shk_lock *h = calloc(1, sizeof(*h)); /* zero, but for its object */
    struct shke_object *o;
    int r = h ? shke_object_open(s, name, flags, &shke_lock_kind, options, &o)
              : shke_fail(-ENOMEM, "out of memory");

    if (r < 0) {
        free(h);
        return r;
    }
    shke_object_bind(&h->object, o);
    *out = h;
    return 0;
}

static int lock_close(struct shk_lock *base)
{
    struct shke_lock *l = lock_of(base);

    if (l->owner == shke_tid() && shke_enter(&base->object, &l->object) == 0 &&
        shke_session_has(l->object.segment->session, l->lease))
        return shke_fail(-EBUSY, "%s/%s: the calling thread holds the lock",
                         l->object.segment->segment.name, l->object.name);
    shke_object_unref(&l->object);
    free(base);
    return 0;
}

/* ---- Acquiring ---- */

enum { HELD_BY_ANOTHER = 2, GIVEN_BACK = 3 }; /* and not SHK_ORPHANED */

/* The object's lock is not held over the request. */
static int request(struct shke_lock *l, const struct shke_trial *trial, int64_t *lease,
                   struct shke_attempt *a)
{
    char nonce[SHKE_NONCE_SIZE];
    int r;

    shke_nonce(nonce);
    pthread_mutex_unlock(&l->object.lock);
    r = shke_segment_lease(l->object.segment, trial, lease);
    if (r == 0)
        r = shke_lock_try(l, nonce, trial, *lease, a);
    if (r == -ESTALE && !load_relaxed(&l->object.is_gone))
        shke_session_lost(l->object.segment->session, *lease);
    pthread_mutex_lock(&l->object.lock);
    return r;
}

/*
 * With the object's lock: this process has it by an earlier attempt, of which no thread knows:
 * GIVEN_BACK, HELD_BY_ANOTHER, or an error.
 */
static int give_back(struct shke_lock *l, const struct shke_trial *trial)
{
    int64_t created = l->holder_created;
    struct shke_kv none = {0};
    struct shke_reply reply;
    int r;

    l->is_trying = true;
    pthread_mutex_unlock(&l->object.lock);
    r = shke_lock_give_back(l, created, true, trial, &reply);
    pthread_mutex_lock(&l->object.lock);
    l->is_trying = false;
    if (r < 0)
        return r;
    r = reply.succeeded ? GIVEN_BACK : HELD_BY_ANOTHER;
    if (reply.succeeded)
        shke_lock_learn(l, &none, reply.revision);
    shke_reply_free(&reply);
    return r;
}

/* With the object's lock: 0, SHK_ORPHANED, HELD_BY_ANOTHER, GIVEN_BACK, or an error. */
static int attempt(struct shke_lock *l, const struct shke_trial *trial)
{
    struct shke_attempt a = {0};
    int64_t lease = 0;
    int r;

    l->is_trying = true;
    r = request(l, trial, &lease, &a);
    if (r == 0 && a.has_it) {
        l->owner = shke_tid();
        l->again = 0;
        l->token = a.created;
        l->lease = lease;
    }
    l->is_trying = false;
    if (r == 0) {
        a.holder.create = a.created;
        a.holder.lease = a.has_it ? lease : a.holder.lease;
        shke_lock_learn(l, &a.holder, a.revision);
    }
    if (r == 0)
        r = a.has_it ? a.is_orphaned * SHK_ORPHANED : HELD_BY_ANOTHER;
    if (r == HELD_BY_ANOTHER && is_stray(l))
        r = give_back(l, trial);
    shke_kv_free(&a.holder);
    pthread_cond_broadcast(&l->object.changed); /* another thread may try */
    if (r < 0) /* the watch may have told of a stray while a thread tried, when it is none */
        shke_watch_mend(l->watch);
    /* the lease has just ended: the next attempt asks for another one */
    return r == -ESTALE && !load_relaxed(&l->object.is_gone) ? HELD_BY_ANOTHER : r;
}

/* With the object's lock: whether a thread of this process has it, and still its lease. */
static bool is_owned(struct shke_lock *l)
{
    if (l->owner && !shke_session_has(l->object.segment->session, l->lease))
        l->owner = 0;
    return l->owner != 0;
}

bool shke_lock_is_mine(struct shke_lock *l)
{
    return is_owned(l) && l->owner == shke_tid();
}

static int acquire_again(struct shke_lock *l, const struct shki_object *handle)
{
    if (!l->recursive)
        return shke_host->object_say(
            handle, -EDEADLK, "the calling thread holds the lock already, and it is not recursive");
    if (l->again == INT32_MAX)
        return shke_host->object_say(handle, -EOVERFLOW,
                                     "the calling thread has acquired the lock 2^31 times");
    l->again++;
    return 0;
}

/*
 * With the object's lock. The first attempt asks the servers, whatever the watch has told: it may
 * be behind.
 */
static int acquire(struct shke_lock *l, const struct shki_deadline *deadline)
{
    const struct shke_trial trial = {.deadline = deadline};
    bool has_asked = false;
    int r;

    for (;;) {
        if (load_relaxed(&l->object.is_gone))
            return shke_stale(&l->object);
        if (!l->is_trying && !is_owned(l) && (!has_asked || l->holder_created == 0)) {
            r = attempt(l, &trial);
            has_asked = true;
            if (r == GIVEN_BACK)
                continue;
            if (r != HELD_BY_ANOTHER)
                return r;
            if (l->holder_created == 0 && !deadline->nowait)
                continue; /* it is free since */
        }
        r = shke_object_wait(&l->object, deadline);
        if (r == -EAGAIN || r == -ETIMEDOUT)
            shke_host->note_holder(l->holder_name, l->holder_pid);
        if (r < 0)
            return r;
    }
}

int shke_lock_say_lost(const struct shke_lock *l)
{
    return shke_fail(-ESTALE,
                     "%s/%s: the lease of this process has ended, and the lock with it: another "
                     "member may have had it since",
                     l->object.segment->segment.name, l->object.name);
}

static int refuse(const struct shki_object *handle, struct shke_lock *l)
{
    return l->owner == shke_tid()
               ? shke_lock_say_lost(l)
               : shke_host->object_say(handle, -EPERM, "the calling thread does not hold the lock");
}

int shke_lock_check_holder(const struct shki_object *handle, struct shke_lock *l)
{
    return l->owner == shke_tid() && shke_session_has(l->object.segment->session, l->lease)
               ? 0
               : refuse(handle, l);
}

int shke_lock_acquire_again(struct shke_lock *l, const struct shki_object *handle, uint32_t again)
{
    struct shki_deadline deadline = shke_host->deadline(handle, SHK_FOREVER, "the lock is held");
    int r;

    deadline.interrupt = NULL;
    deadline.call = NULL;
    do
        r = acquire(l, &deadline);
    while (r == -EHOSTUNREACH);
    if (r >= 0)
        l->again = again;
    return r;
}

static int lock_acquire(struct shk_lock *base, int64_t timeout)
{
    struct shke_lock *l = lock_of(base);
    struct shki_deadline deadline;
    struct shke_waiting waiting;
    struct shki_saved_error saved;
    int r = shke_enter(&base->object, &l->object);

    if (r < 0)
        return r;
    shke_host->error_save(&saved);
    deadline = shke_host->deadline(&base->object, timeout, "the lock is held");
    shke_waiting_begin(&waiting, &l->object, SHK_WAITS_TO_ACQUIRE, &deadline);
    pthread_mutex_lock(&l->object.lock);
    r = shke_lock_is_mine(l) ? acquire_again(l, &base->object) : acquire(l, &deadline);
    pthread_mutex_unlock(&l->object.lock);
    shke_waiting_end(&waiting);
    return shke_host->error_settle(r, &saved);
}

/* ---- Releasing ---- */

/*
 * With the object's lock, and is_trying. Tried until the lease ends: then the lock is free, too,
 * but the next holder is told.
 */
static int release(struct shke_lock *l)
{
    const struct shke_trial trial = {.limit = SHKE_GRACE};
    struct shke_session *session = l->object.segment->session;
    struct shke_kv none = {0};
    struct shke_reply reply;
    int r;

    pthread_mutex_unlock(&l->object.lock);
    do
        r = shke_lock_give_back(l, l->token, false, &trial, &reply);
    while (r == -EHOSTUNREACH && shke_session_has(session, l->lease));
    pthread_mutex_lock(&l->object.lock);
    if (r == -EHOSTUNREACH)
        return shke_lock_say_lost(l);
    if (r < 0)
        return r;
    /* not there: an earlier try has deleted it, the lock is unlinked, or the lease has ended */
    if (!reply.succeeded && shke_check_there(&l->object, &reply) == 0 &&
        !shke_session_has(session, l->lease))
        r = shke_lock_say_lost(l);
    shke_lock_learn(l, &none, reply.revision);
    shke_reply_free(&reply);
    return r;
}

static int lock_release(struct shk_lock *base)
{
    struct shke_lock *l = lock_of(base);
    struct shki_saved_error saved;
    int r = 0;

    if (!shke_session_is_own(l->object.segment->session))
        return shke_enter(&base->object, &l->object);
    shke_host->error_save(&saved);
    pthread_mutex_lock(&l->object.lock);
    if (l->owner != shke_tid() || !shke_session_has(l->object.segment->session, l->lease)) {
        r = refuse(&base->object, l);
        if (l->owner == shke_tid())
            l->owner = 0; /* told once */
    } else if (l->again > 0) {
        l->again--;
    } else {
        l->is_trying = true;
        r = release(l);
        l->is_trying = false;
        l->owner = 0;
        pthread_cond_broadcast(&l->object.changed);
        if (r < 0) /* a stray now: the watch goes on giving it back */
            shke_watch_mend(l->watch);
    }
    pthread_mutex_unlock(&l->object.lock);
    return shke_host->error_settle(r, &saved);
}

/* ---- Looking ---- */

static int lock_is_held(struct shk_lock *base)
{
    struct shke_lock *l = lock_of(base);
    struct shki_saved_error saved;
    int r = shke_enter(&base->object, &l->object);
    bool mine;

    if (r < 0)
        return r;
    pthread_mutex_lock(&l->object.lock);
    mine = shke_lock_is_mine(l);
    pthread_mutex_unlock(&l->object.lock);
    if (mine)
        return 2;
    shke_host->error_save(&saved);
    return shke_host->error_settle(shke_lock_ask(l), &saved);
}

static int lock_depth(struct shk_lock *base)
{
    struct shke_lock *l = lock_of(base);
    int r = shke_enter(&base->object, &l->object);

    if (r < 0)
        return r;
    pthread_mutex_lock(&l->object.lock);
    if (shke_lock_is_mine(l))
        r = l->again < INT32_MAX ? (int)l->again + 1 : INT32_MAX;
    pthread_mutex_unlock(&l->object.lock);
    return r;
}

static int lock_token(struct shk_lock *base, uint64_t *token)
{
    struct shke_lock *l = lock_of(base);
    int r;

    if (!shke_session_is_own(l->object.segment->session))
        return shke_enter(&base->object, &l->object);
    pthread_mutex_lock(&l->object.lock);
    r = shke_lock_check_holder(&base->object, l);
    if (r == 0)
        *token = (uint64_t)l->token;
    pthread_mutex_unlock(&l->object.lock);
    return r;
}

/* Since when it is held the acquire has written. */
static int lock_stamp(struct shk_lock *base)
{
    uint64_t token;

    return lock_token(base, &token);
}

const struct shki_lock_calls shke_lock_calls = {.open = lock_open,
                                                .close = lock_close,
                                                .acquire = lock_acquire,
                                                .release = lock_release,
                                                .is_held = lock_is_held,
                                                .depth = lock_depth,
                                                .stamp = lock_stamp,
                                                .token = lock_token};
