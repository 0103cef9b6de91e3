/*
 * An event on etcd.
 *
 *     set     is there while the event is set
 *     sets    the last set's nonce; stays
 *
 *     set                                          clear
 *     compare sets is as it was seen               compare set is as it was seen
 *     put sets, put set                            delete set
 *
 * Each changes what the other compares, so a request that is carried out late, after its reply was
 * given up, changes nothing. A set whose reply was lost finds its own nonce in `sets`. If another
 * set has come between, it finds that one's and sets once more: it has not returned yet, so a clear
 * that has come between, too, is one that came before it.
 *
 * A waiter watches: each put of `sets` releases all that wait at that moment, though `set` may be
 * deleted right after it. Where history is missing, another `sets` than the last one that was told
 * is a set.
 */
#include "etcd/sight.h"

#include <shmkit/event.h>
#include <stdlib.h>
#include <string.h>

struct event {
    struct shke_object object;
    struct shke_watch *watch;

    /* ---- With the object's lock ---- */
    int64_t sets;  /* revision of the last set that is known; 0: there was none */
    int64_t set;   /* mod_revision of `set`; 0: it is clear */
    int64_t known; /* the revision up to which `set` is known */
};

struct shk_event {
    struct shki_object object;
    struct event *event;
};

/* ---- What the servers tell ---- */

/* With the object's lock. */
static void learn_sets(struct event *e, int64_t sets)
{
    if (sets <= e->sets)
        return;
    e->sets = sets;
    pthread_cond_broadcast(&e->object.changed);
}

static void learn_set(struct event *e, int64_t set, int64_t revision)
{
    if (revision < e->known)
        return;
    e->known = revision;
    e->set = set;
}

static void see_event(void *arg, const struct shke_kv *kv, bool deleted)
{
    struct event *e = arg;
    const char *part = kv->key + strlen(e->object.prefix);

    pthread_mutex_lock(&e->object.lock);
    if (shke_is_record(&e->object, kv) && deleted)
        shke_object_is_gone(&e->object);
    else if (strcmp(part, "sets") == 0 && !deleted)
        learn_sets(e, kv->mod);
    else if (strcmp(part, "set") == 0)
        learn_set(e, deleted ? 0 : kv->mod, kv->mod);
    pthread_mutex_unlock(&e->object.lock);
}

static void told(void *arg)
{
    (void)arg; /* each event has woken what waits for it */
}

/* Read both keys, as of one revision, which is returned. */
static int64_t look(struct event *e, const struct shke_trial *trial)
{
    char set[SHKE_KEY_MAX], sets[SHKE_KEY_MAX];
    struct shke_kv kv = {0}, all = {0};
    struct shke_reply reply;
    struct shke_txn t = {0};
    int64_t revision;
    int r;

    shke_key(set, &e->object, "set");
    shke_key(sets, &e->object, "sets");
    shke_if_there(&t, &e->object);
    shke_then_get(&t, set);
    shke_then_get(&t, sets);
    r = shke_txn_run(shke_object_client(&e->object), &t, trial, &reply);
    if (r < 0)
        return r;
    revision = reply.revision;
    r = reply.succeeded ? shke_reply_kv(&reply, 0, &kv) : shke_stale(&e->object);
    if (r == 0)
        r = shke_reply_kv(&reply, 1, &all);
    pthread_mutex_lock(&e->object.lock);
    if (r == 0) {
        learn_set(e, kv.mod, revision);
        learn_sets(e, all.mod);
    } else if (r == -ESTALE) {
        shke_object_is_gone(&e->object);
    }
    pthread_mutex_unlock(&e->object.lock);
    shke_kv_free(&kv);
    shke_kv_free(&all);
    shke_reply_free(&reply);
    return r < 0 ? r : revision;
}

static int64_t reload(void *arg)
{
    const struct shke_trial trial = {.limit = SHK_SEC(1)};
    struct event *e = arg;
    int64_t revision = look(e, &trial);

    return revision == -ESTALE ? INT64_MAX - 1 : revision; /* nothing comes any more */
}

/* ---- In a set ---- */

static bool is_ready(const struct shki_watch *w)
{
    struct event *e = w->handle;
    bool is;

    pthread_mutex_lock(&e->object.lock);
    is = e->set != 0 || (uint64_t)e->sets != w->since;
    pthread_mutex_unlock(&e->object.lock);
    return is;
}

static void note_sets(struct shki_watch *w)
{
    struct event *e = w->handle;

    pthread_mutex_lock(&e->object.lock);
    w->since = (uint64_t)e->sets;
    pthread_mutex_unlock(&e->object.lock);
}

/* What there was before its watch began is read once. */
static int begin_watch(struct shke_object *o, void *handle, uint32_t want, struct shki_watch *w)
{
    const struct shke_trial trial = {.limit = SHKE_LIMIT};
    struct event *e = (struct event *)o;
    int64_t revision = 0;
    bool is_known;

    (void)handle;
    (void)want;
    pthread_mutex_lock(&o->lock);
    is_known = e->known > 0;
    pthread_mutex_unlock(&o->lock);
    if (!is_known)
        revision = look(e, &trial);
    w->is_ready = is_ready;
    w->note = note_sets;
    return revision < 0 ? (int)revision : 0;
}

/* ---- The kind ---- */

static const struct shke_watcher watcher = {.event = see_event, .told = told, .reload = reload};

static int start(struct shke_object *o)
{
    struct event *e = (struct event *)o;

    e->watch = shke_watch_start(shke_session_watches(o->segment->session), o->prefix, o->revision,
                                false, &watcher, e);
    return e->watch ? 0 : -ENOMEM;
}

static void stop(struct shke_object *o)
{
    shke_watch_stop(((struct event *)o)->watch);
}

static void look_from_outside(struct shke_txn *t, const char *prefix)
{
    char key[SHKE_KEY_MAX];

    shke_then_get(t, shke_part(key, prefix, "set"));
}

static int tell(struct shke_sight *s, struct shk_object_info *info)
{
    struct shke_kv set;
    int r = shke_sight_kv(s, 0, 0, &set);

    info->as.event.is_set = set.create != 0;
    shke_kv_free(&set);
    return r;
}

const struct shke_kind shke_event_kind = {.number = SHK_KIND_EVENT,
                                          .name = "event",
                                          .size = sizeof(struct event),
                                          .start = start,
                                          .watch = begin_watch,
                                          .stop = stop,
                                          .looks = 1,
                                          .look = look_from_outside,
                                          .tell = tell};

static int event_open(struct shk_segment *s, const char *name, unsigned flags,
                      const struct shk_event_options *options, struct shk_event **out)
{
    struct shk_event *handle = calloc(1, sizeof(*handle));
    struct shke_object *o;
    int r = handle ? shke_object_open(s, name, flags, &shke_event_kind, options, &o)
                   : shke_fail(-ENOMEM, "out of memory");

    if (r < 0) {
        free(handle);
        return r;
    }
    shke_object_bind(&handle->object, o);
    handle->event = (struct event *)o;
    *out = handle;
    return 0;
}

static int event_close(struct shk_event *handle)
{
    shke_object_unref(&handle->event->object);
    free(handle);
    return 0;
}

/* ---- Calls ---- */

static const struct shke_trial untimed = {.limit = SHKE_LIMIT};

/* 1: another set came between; it is to be tried again. */
static int try_set(struct event *e, const char *nonce)
{
    char set[SHKE_KEY_MAX], sets[SHKE_KEY_MAX];
    struct shke_kv all = {0};
    struct shke_reply reply;
    struct shke_txn t = {0};
    int64_t seen;
    int r;

    pthread_mutex_lock(&e->object.lock);
    seen = e->sets;
    pthread_mutex_unlock(&e->object.lock);
    shke_key(set, &e->object, "set");
    shke_key(sets, &e->object, "sets");
    shke_if_there(&t, &e->object);
    shke_if_written(&t, sets, seen);
    shke_then_put(&t, sets, nonce, strlen(nonce), 0);
    shke_then_put(&t, set, NULL, 0, 0);
    shke_else_get(&t, sets);
    r = shke_txn_run(shke_object_client(&e->object), &t, &untimed, &reply);
    if (r < 0)
        return r;
    if (!reply.succeeded)
        r = shke_check_there(&e->object, &reply);
    if (r == 0 && !reply.succeeded)
        r = shke_reply_kv(&reply, 1, &all);
    if (r == 0 && !reply.succeeded)
        r = !(all.value && strcmp((char *)all.value, nonce) == 0);
    pthread_mutex_lock(&e->object.lock);
    if (r >= 0)
        learn_sets(e, reply.succeeded ? reply.revision : all.mod);
    if (r == 0 && reply.succeeded)
        learn_set(e, reply.revision, reply.revision);
    pthread_mutex_unlock(&e->object.lock);
    shke_kv_free(&all);
    shke_reply_free(&reply);
    return r;
}

static int event_set(struct shk_event *handle)
{
    char nonce[SHKE_NONCE_SIZE];
    struct shki_saved_error saved;
    int r = shke_enter(&handle->object, &handle->event->object);

    if (r < 0)
        return r;
    shke_nonce(nonce);
    shke_host->error_save(&saved);
    do
        r = try_set(handle->event, nonce);
    while (r == 1);
    return shke_host->error_settle(r, &saved);
}

/* 1: it was set again between; it is to be tried again. */
static int try_clear(struct event *e)
{
    struct shke_reply reply;
    struct shke_txn t = {0};
    char key[SHKE_KEY_MAX];
    struct shke_kv kv;
    int64_t seen;
    int r;

    pthread_mutex_lock(&e->object.lock);
    seen = e->set;
    pthread_mutex_unlock(&e->object.lock);
    shke_key(key, &e->object, "set");
    shke_if_there(&t, &e->object);
    shke_if_written(&t, key, seen);
    shke_then_delete(&t, key);
    shke_else_get(&t, key);
    r = shke_txn_run(shke_object_client(&e->object), &t, &untimed, &reply);
    if (r < 0)
        return r;
    if (!reply.succeeded)
        r = shke_check_there(&e->object, &reply);
    kv = (struct shke_kv){0};
    if (r == 0 && !reply.succeeded)
        r = shke_reply_kv(&reply, 1, &kv);
    pthread_mutex_lock(&e->object.lock);
    if (r == 0)
        learn_set(e, kv.mod, reply.revision);
    pthread_mutex_unlock(&e->object.lock);
    if (r == 0)
        r = kv.mod != 0;
    shke_kv_free(&kv);
    shke_reply_free(&reply);
    return r;
}

static int event_clear(struct shk_event *handle)
{
    struct shki_saved_error saved;
    int r = shke_enter(&handle->object, &handle->event->object);

    if (r < 0)
        return r;
    shke_host->error_save(&saved);
    do
        r = try_clear(handle->event);
    while (r == 1);
    return shke_host->error_settle(r, &saved);
}

static int event_is_set(struct shk_event *handle)
{
    struct event *e = handle->event;
    struct shki_saved_error saved;
    int r = shke_enter(&handle->object, &e->object);
    int64_t revision;

    if (r < 0)
        return r;
    shke_host->error_save(&saved);
    revision = look(e, &untimed);
    if (revision < 0) {
        r = (int)revision;
    } else {
        pthread_mutex_lock(&e->object.lock);
        r = e->set != 0;
        pthread_mutex_unlock(&e->object.lock);
    }
    return shke_host->error_settle(r, &saved);
}

/* `sets` at the beginning of the wait is as of a look at the servers. */
static int wait(struct event *e, const struct shki_deadline *deadline)
{
    const struct shke_trial trial = {.deadline = deadline};
    int64_t revision = look(e, &trial), sets;
    int r = 0;

    if (revision < 0)
        return (int)revision;
    pthread_mutex_lock(&e->object.lock);
    sets = e->sets;
    while (r == 0 && e->set == 0 && e->sets == sets)
        r = load_relaxed(&e->object.is_gone) ? shke_stale(&e->object)
                                             : shke_object_wait(&e->object, deadline);
    pthread_mutex_unlock(&e->object.lock);
    return r;
}

static int event_wait(struct shk_event *handle, int64_t timeout)
{
    struct shki_deadline deadline;
    struct shke_waiting waiting;
    struct shki_saved_error saved;
    int r = shke_enter(&handle->object, &handle->event->object);

    if (r < 0)
        return r;
    shke_host->error_save(&saved);
    deadline = shke_host->deadline(&handle->object, timeout, "the event is not set");
    shke_waiting_begin(&waiting, &handle->event->object, SHK_WAITS_FOR_SET, &deadline);
    r = wait(handle->event, &deadline);
    shke_waiting_end(&waiting);
    return shke_host->error_settle(r, &saved);
}

const struct shki_event_calls shke_event_calls = {.open = event_open,
                                                  .close = event_close,
                                                  .set = event_set,
                                                  .clear = event_clear,
                                                  .is_set = event_is_set,
                                                  .wait = event_wait};
