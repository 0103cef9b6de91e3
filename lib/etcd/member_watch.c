/*
 * Members of a segment on etcd that come and go: what a watch tells of the keys of the processes.
 *
 *     .members/LEASE    a process that has the segment open; goes with its lease
 *     .members.left     the lease of the last process that closed the segment
 *
 * A process that closes the segment writes the second and deletes the first in one transaction. So
 * a key that goes otherwise is of a process that died, or was stopped for longer than its lease:
 * when it goes on, it joins again. What has gone while history was missing may have done either.
 * One that has left, and opened the segment again, may have the same lease: its key is a later one
 * than the second, then.
 *
 * An event is pending until it is read, so each watch has its own list of processes.
 */
#include "etcd/sight.h"

#include <shmkit/inspect.h>
#include <shmkit/member.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A process that has been seen, and is one of those that are watched. */
struct seen {
    struct shk_member_event event;
    int64_t lease, created;
    uint32_t joined, gone; /* that are pending: SHK_JOINED; SHK_LEFT, SHK_DIED or both */
    bool is_found;         /* of a list that is read anew */
    struct seen *next;     /* in the order in which they came */
};

struct shk_member_watch {
    struct shki_object handle; /* the first: see object/object.h */
    struct shke_object object; /* no key of etcd's is its own */
    _Atomic unsigned refs;     /* as of an object */
    struct shke_watch *watch;
    char name[SHK_NAME_MAX + 1]; /* "": any */
    uint64_t id;                 /* 0: any */
    uint32_t want;

    /* ---- With the object's lock ---- */
    struct seen *first;
    int64_t left, left_at; /* the last that left, and at which revision */
};

/* ---- What the servers tell ---- */

static struct seen **find(struct shk_member_watch *w, int64_t lease)
{
    struct seen **link = &w->first;

    while (*link && ((*link)->lease != lease || (*link)->gone))
        link = &(*link)->next;
    return link;
}

static int64_t lease_of(const char *text)
{
    return (int64_t)strtoull(text, NULL, 16);
}

/* With the lock: it is the last that left; as far as is known. */
static bool has_left(const struct shk_member_watch *w, const struct seen *s)
{
    return s->lease == w->left && s->created < w->left_at;
}

/* With the lock: it has gone. If no event of it is wanted, it is forgotten. */
static void lose(struct shk_member_watch *w, struct seen **link, uint32_t how)
{
    struct seen *gone = *link;

    gone->gone = how;
    if (gone->joined || how & w->want)
        return;
    *link = gone->next;
    free(gone);
}

/*
 * With the lock: a process is there; one that is not known yet, and is watched, is noted. It may
 * have been given the name only now.
 */
static void see(struct shk_member_watch *w, const struct shke_kv *kv, uint32_t joined)
{
    int64_t lease = lease_of(shke_last_part(kv->key));
    struct seen **link = find(w, lease), *new;
    json_object *record;

    if (*link && (*link)->created != kv->create) { /* it has left, and joined again */
        lose(w, link, SHK_LEFT);
        link = find(w, lease);
    }
    if (*link) {
        (*link)->is_found = true;
        return;
    }
    record = shke_parse(kv, json_type_object);
    new = record ? calloc(1, sizeof(*new)) : NULL;
    if (new) {
        *new = (struct seen){
            .lease = lease, .created = kv->create, .joined = joined & w->want, .is_found = true};
        new->event.pid = new->event.tid = (int32_t)shke_number(record, "pid");
        new->event.id = shke_member_id(kv->create, new->event.tid);
        shke_copy_text(new->event.command, sizeof(new->event.command), record, "comm");
        shke_copy_text(new->event.name, sizeof(new->event.name), record, "name");
    }
    json_object_put(record);
    if (new && (w->id == 0 || w->id == new->event.id) &&
        (*w->name == '\0' || strcmp(w->name, new->event.name) == 0))
        *link = new;
    else
        free(new);
}

static void see_event(void *arg, const struct shke_kv *kv, bool deleted)
{
    struct shk_member_watch *w = arg;
    const char *part = kv->key + strlen(w->object.prefix);
    struct seen **link;

    pthread_mutex_lock(&w->object.lock);
    if (strcmp(part, ".left") == 0) {
        w->left = deleted || kv->value == NULL ? 0 : lease_of((const char *)kv->value);
        w->left_at = kv->mod;
    } else if (*part == '/' && !deleted) {
        see(w, kv, SHK_JOINED);
    } else if (*part == '/') {
        link = find(w, lease_of(part + 1));
        if (*link)
            lose(w, link, has_left(w, *link) ? SHK_LEFT : SHK_DIED);
    }
    pthread_mutex_unlock(&w->object.lock);
}

/* All that are there: as of which revision; or an error. Those that come now have `joined`. */
static int64_t read_all(struct shk_member_watch *w, uint32_t joined, const struct shke_trial *trial)
{
    const struct shke_range range = {.prefix = w->object.prefix};
    struct shke_reply reply;
    struct shke_kv kv;
    int64_t revision;
    int r = shke_range(shke_object_client(&w->object), &range, trial, &reply);

    if (r < 0)
        return r;
    pthread_mutex_lock(&w->object.lock);
    w->left = w->left_at = 0;
    for (struct seen *s = w->first; s; s = s->next)
        s->is_found = s->gone != 0;
    for (size_t i = 0; r == 0 && i < shke_range_n(&reply); i++) {
        r = shke_range_kv(&reply, i, &kv);
        if (r == 0 && kv.key[strlen(w->object.prefix)] == '/') {
            see(w, &kv, joined);
        } else if (r == 0 && kv.value) {
            w->left = lease_of((const char *)kv.value);
            w->left_at = kv.mod;
        }
        shke_kv_free(&kv);
    }
    for (struct seen **link = &w->first, *s; r == 0 && (s = *link) != NULL;) {
        if (!s->is_found)
            lose(w, link, has_left(w, s) ? SHK_LEFT : SHK_LEFT | SHK_DIED);
        if (*link == s)
            link = &s->next;
    }
    pthread_mutex_unlock(&w->object.lock);
    revision = reply.revision;
    shke_reply_free(&reply);
    return r < 0 ? r : revision;
}

static int64_t reload(void *arg)
{
    const struct shke_trial trial = {.limit = SHK_SEC(1)};

    return read_all(arg, SHK_JOINED, &trial);
}

/* shk_member_watch_read() waits as a set does, which all news wake. */
static void told(void *arg)
{
    (void)arg;
}

static const struct shke_watcher watcher = {.event = see_event, .told = told, .reload = reload};

/* ---- Events ---- */

/* With the lock: one of those kinds, which is taken if `event` is not NULL; 0: there is none. */
static uint32_t next(struct shk_member_watch *w, uint32_t want, struct shk_member_event *event)
{
    struct seen **link = &w->first, *s;
    uint32_t what;

    while ((s = *link) != NULL && !((s->joined ? s->joined : s->gone) & want))
        link = &s->next;
    if (s == NULL)
        return 0;
    what = s->joined ? s->joined : s->gone;
    if (event == NULL)
        return what;
    *event = s->event;
    event->what = what;
    s->joined = 0;
    if (what != SHK_JOINED || (s->gone && !(s->gone & w->want))) {
        *link = s->next;
        free(s);
    }
    return what;
}

static uint32_t member_take(struct shk_member_watch *w, struct shk_member_event *event)
{
    uint32_t what;

    if (shke_enter(&w->handle, &w->object) < 0)
        return 0; /* the wait that follows says why */
    pthread_mutex_lock(&w->object.lock);
    what = next(w, w->want, event);
    pthread_mutex_unlock(&w->object.lock);
    return what;
}

static int member_living(struct shk_member_watch *w)
{
    int r = shke_enter(&w->handle, &w->object), living = 0;

    if (r < 0)
        return r;
    pthread_mutex_lock(&w->object.lock);
    for (const struct seen *s = w->first; s; s = s->next)
        living += s->gone == 0;
    pthread_mutex_unlock(&w->object.lock);
    return living;
}

/* ---- Opening, closing, and in a set ---- */

/* In a child of fork(2) it stays allocated: the thread of the watches is the parent's. */
static int member_close(struct shk_member_watch *w)
{
    struct shke_segment *s = w->object.segment;
    struct seen *seen;

    if (fetch_sub_acq_rel(&w->refs, 1) != 0 || !shke_session_is_own(s->session))
        return 0;
    shke_watch_stop(w->watch);
    while ((seen = w->first) != NULL) {
        w->first = seen->next;
        free(seen);
    }
    shke_object_destroy(&w->object);
    free(w);
    shke_segment_unref(s);
    return 0;
}

static bool is_ready(const struct shki_watch *watch)
{
    struct shk_member_watch *w = watch->handle;
    bool is;

    pthread_mutex_lock(&w->object.lock);
    is = next(w, (uint32_t)watch->since & w->want, NULL) != 0;
    pthread_mutex_unlock(&w->object.lock);
    return is;
}

static void unref(void *handle)
{
    member_close(handle);
}

static int begin_watch(struct shke_object *o, void *handle, uint32_t want, struct shki_watch *watch)
{
    struct shk_member_watch *w = handle;

    (void)o;
    watch->handle = w;
    watch->refs = &w->refs;
    watch->since = want;
    watch->is_ready = is_ready;
    watch->unref = unref;
    return 0;
}

static const struct shke_kind kind = {
    .number = SHK_KIND_MEMBER, .name = "member watch", .watch = begin_watch};

/* Without the lock, which no other thread takes yet. */
static int begin(struct shk_member_watch *w)
{
    const struct shke_trial trial = {.limit = SHKE_LIMIT};
    struct shke_segment *s = w->object.segment;
    int64_t revision = read_all(w, 0, &trial);

    if (revision < 0)
        return (int)revision;
    if (w->id && w->first == NULL)
        return shke_fail(-ESRCH, "segment %s has no living member %llx", s->segment.name,
                         (unsigned long long)w->id);
    w->watch = shke_watch_start(shke_session_watches(s->session), w->object.prefix, revision, false,
                                &watcher, w);
    return w->watch ? 0 : -ENOMEM;
}

static int member_open(struct shk_segment *segment, const char *name, uint64_t id, uint32_t want,
                       struct shk_member_watch **out)
{
    struct shke_segment *s = shke_segment_of(segment);
    struct shk_member_watch *w = calloc(1, sizeof(*w));
    struct shki_saved_error saved;
    int r;

    if (w == NULL)
        return shke_fail(-ENOMEM, "out of memory");
    shke_object_init(&w->object, s, name ? name : "its members", &kind);
    snprintf(w->object.prefix, sizeof(w->object.prefix), "%s.members", s->prefix);
    shke_object_bind(&w->handle, &w->object);
    snprintf(w->name, sizeof(w->name), "%s", name ? name : "");
    w->id = id;
    w->want = want;
    shke_segments_lock();
    shke_segment_ref(s);
    shke_segments_unlock();
    shke_host->error_save(&saved);
    r = shke_enter(&w->handle, &w->object);
    if (r == 0)
        r = begin(w);
    if (r == 0)
        *out = w;
    else
        member_close(w);
    return shke_host->error_settle(r, &saved);
}

const struct shki_member_calls shke_member_calls = {
    .open = member_open, .close = member_close, .take = member_take, .living = member_living};
