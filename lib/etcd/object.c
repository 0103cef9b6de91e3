#include "etcd/object.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define RECHECK SHK_MS(100) /* a waiter finds a flag, or a close, that late */

static const struct shke_trial opening = {.limit = SHKE_LIMIT};

/* ---- Keys ---- */

void shke_key(char key[SHKE_KEY_MAX], const struct shke_object *o, const char *format, ...)
{
    size_t length = strlen(o->prefix);
    va_list arguments;

    memcpy(key, o->prefix, length);
    va_start(arguments, format);
    vsnprintf(key + length, SHKE_KEY_MAX - length, format, arguments);
    va_end(arguments);
}

static void record_key(char key[SHKE_KEY_MAX], const struct shke_object *o)
{
    shke_key(key, o, ".object");
}

bool shke_is_record(const struct shke_object *o, const struct shke_kv *kv)
{
    size_t length = strlen(o->prefix);

    return strncmp(kv->key, o->prefix, length) == 0 && strcmp(kv->key + length, ".object") == 0;
}

void shke_own_name(const struct shke_object *o, char name[SHKE_OWN_SIZE])
{
    static _Atomic uint64_t count;

    snprintf(name, SHKE_OWN_SIZE, "%s.%llx", shke_session_process(o->segment->session),
             (unsigned long long)fetch_add_relaxed(&count, 1));
}

bool shke_is_own_name(const struct shke_object *o, const char *name)
{
    const char *process = shke_session_process(o->segment->session);

    return strncmp(name, process, strlen(process)) == 0 && name[strlen(process)] == '.';
}

/* Asked of the kernel once in a thread of a process. */
pid_t shke_tid(void)
{
    static _Thread_local pid_t tid, pid;

    if (pid != getpid()) {
        pid = getpid();
        tid = gettid();
    }
    return tid;
}

/* ---- Whether it is there ---- */

int shke_stale(struct shke_object *o)
{
    store_relaxed(&o->is_gone, true);
    return shke_fail(-ESTALE, "%s/%s has been unlinked", o->segment->segment.name, o->name);
}

int shke_enter(const struct shki_object *handle, const struct shke_object *o)
{
    if (load_relaxed(&handle->segment->openness.opens) == 0)
        return shke_fail(-EBADF, "segment %s has been closed in this process",
                         handle->segment->name);
    if (!shke_session_is_own(o->segment->session))
        return shke_fail(-EBADF, "segment %s was opened before the fork: open it again",
                         handle->segment->name);
    if (load_relaxed(&o->is_gone))
        return shke_fail(-ESTALE, "%s/%s has been unlinked", handle->segment->name, o->name);
    return 0;
}

void shke_if_there(struct shke_txn *t, const struct shke_object *o)
{
    char key[SHKE_KEY_MAX];

    record_key(key, o);
    shke_if_created(t, key, o->created);
    shke_else_get(t, key);
}

int shke_check_there(struct shke_object *o, const struct shke_reply *reply)
{
    struct shke_kv kv;
    int r = shke_reply_kv(reply, 0, &kv);

    if (r == 0 && kv.create != o->created)
        r = shke_stale(o);
    shke_kv_free(&kv);
    return r;
}

void shke_object_is_gone(struct shke_object *o)
{
    store_relaxed(&o->is_gone, true);
    pthread_cond_broadcast(&o->changed);
}

void shke_object_told(void *object)
{
    struct shke_object *o = object;

    pthread_mutex_lock(&o->lock);
    pthread_cond_broadcast(&o->changed);
    pthread_mutex_unlock(&o->lock);
}

int shke_object_wait(struct shke_object *o, const struct shki_deadline *deadline)
{
    int r = shke_host->deadline_check(deadline);

    return r < 0 ? r : shke_object_sleep(o, deadline);
}

int shke_object_sleep(struct shke_object *o, const struct shki_deadline *deadline)
{
    struct timespec t;
    int64_t at;

    clock_gettime(CLOCK_MONOTONIC, &t);
    at = SHK_SEC((int64_t)t.tv_sec) + t.tv_nsec + RECHECK;
    if (at > deadline->at)
        at = deadline->at;
    shke_waiting_sleeps();
    t.tv_sec = (time_t)(at / SHK_SEC(1));
    t.tv_nsec = (long)(at % SHK_SEC(1));
    pthread_cond_timedwait(&o->changed, &o->lock, &t);
    if (deadline->call) { /* which may use the object */
        pthread_mutex_unlock(&o->lock);
        shke_host->deadline_slept(deadline);
        pthread_mutex_lock(&o->lock);
    }
    return 0;
}

/* ---- Opening ---- */

static const char *kind_of(json_object *record)
{
    json_object *kind;

    return json_object_is_type(record, json_type_object) && shke_number(record, "shmkit") == 1 &&
                   json_object_object_get_ex(record, "kind", &kind)
               ? json_object_get_string(kind)
               : NULL;
}

/* The record of what there is: its kind, and what the kind itself checks. */
static int check(struct shke_object *o, const struct shke_kv *kv, const void *options)
{
    json_object *record = json_tokener_parse((const char *)kv->value);
    const char *kind = kind_of(record);
    int r = 0;

    if (kind == NULL)
        r = shke_fail(-EPROTO, "%s/%s is no object of shmkit: its key in etcd is %s.object",
                      o->segment->segment.name, o->name, o->prefix);
    else if (strcmp(kind, o->kind->name) != 0)
        r = shke_fail(-EPROTOTYPE, "%s/%s is a %s, not a %s", o->segment->segment.name, o->name,
                      kind, o->kind->name);
    else if (o->kind->check)
        r = o->kind->check(o, record, options);
    json_object_put(record);
    return r;
}

static void write_record(const struct shke_object *o, const void *options, struct shke_buffer *b)
{
    char nonce[SHKE_NONCE_SIZE];

    shke_nonce(nonce);
    shke_addf(b, "{\"shmkit\":1,\"kind\":\"%s\",\"at\":%lld,\"pid\":%d", o->kind->name,
              (long long)time(NULL), (int)getpid());
    if (o->kind->describe)
        o->kind->describe(b, options);
    shke_addf(b, ",\"nonce\":\"%s\"}", nonce);
}

/*
 * Find the object, or create it. The reply to an earlier try may have been lost: then it is there
 * with this call's own record.
 */
static int find(struct shke_object *o, unsigned flags, const void *options)
{
    char key[SHKE_KEY_MAX], entry[SHKE_KEY_MAX], segment[SHKE_KEY_MAX];
    struct shke_buffer record = {0};
    struct shke_reply reply;
    struct shke_txn t = {0};
    struct shke_kv kv = {0}, place = {0};
    const char *why = flags & SHK_CREATE && o->kind->refuse ? o->kind->refuse(options) : NULL;
    bool is_mine;
    int r;

    record_key(key, o);
    snprintf(segment, sizeof(segment), "%.*s", (int)strlen(o->segment->prefix) - 1,
             o->segment->prefix);
    snprintf(entry, sizeof(entry), "%s.objects/%s", o->segment->prefix, o->name);
    write_record(o, options, &record);
    shke_if_created(&t, segment, o->segment->created);
    shke_if_created(&t, key, flags & SHK_CREATE && !why ? 0 : -1);
    shke_then_put(&t, key, record.bytes, record.length, 0);
    shke_then_put(&t, entry, record.bytes, record.length, 0);
    if (o->kind->create)
        o->kind->create(o, &t);
    shke_else_get(&t, key);
    shke_else_get(&t, segment);
    r = record.failed ? shke_fail(-ENOMEM, "out of memory")
                      : shke_txn_run(shke_object_client(o), &t, &opening, &reply);
    if (r < 0)
        goto done;
    o->revision = o->created = reply.revision;
    if (reply.succeeded) {
        kv = (struct shke_kv){.value = (unsigned char *)strdup(record.bytes), .create = o->created};
    } else {
        r = shke_reply_kv(&reply, 0, &kv);
        if (r == 0)
            r = shke_reply_kv(&reply, 1, &place);
    }
    is_mine = reply.succeeded ||
              (kv.length == record.length && memcmp(kv.value, record.bytes, kv.length) == 0);
    if (r < 0)
        ;
    else if (!reply.succeeded && place.create != o->segment->created)
        r = shke_fail(-ESTALE, "segment %s has been unlinked", o->segment->segment.name);
    else if (kv.create == 0 && why)
        r = shke_fail(-EINVAL, "%s/%s: %s", o->segment->segment.name, o->name, why);
    else if (kv.create == 0)
        r = shke_fail(-ENOENT, "there is no %s/%s", o->segment->segment.name, o->name);
    else if (flags & SHK_CREATE && flags & SHK_EXCL && !is_mine)
        r = shke_fail(-EEXIST, "%s/%s exists already", o->segment->segment.name, o->name);
    else if (kv.value == NULL)
        r = shke_fail(-ENOMEM, "out of memory");
    else
        r = check(o, &kv, options);
    o->created = kv.create;
    shke_kv_free(&kv);
    shke_kv_free(&place);
    shke_reply_free(&reply);
done:
    shke_txn_free(&t);
    shke_buffer_free(&record);
    return r;
}

void shke_object_init(struct shke_object *o, struct shke_segment *s, const char *name,
                      const struct shke_kind *kind)
{
    pthread_condattr_t monotonic;

    o->segment = s;
    o->kind = kind;
    snprintf(o->name, sizeof(o->name), "%s", name);
    snprintf(o->prefix, sizeof(o->prefix), "%s%s/", s->prefix, name);
    pthread_mutex_init(&o->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&o->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    shke_object_bind(&o->self, o);
    o->refs = 1;
}

void shke_object_destroy(struct shke_object *o)
{
    pthread_cond_destroy(&o->changed);
    pthread_mutex_destroy(&o->lock);
}

static struct shke_object *make(struct shke_segment *s, const char *name,
                                const struct shke_kind *kind)
{
    struct shke_object *o = calloc(1, kind->size);

    if (o)
        shke_object_init(o, s, name, kind);
    else
        shke_fail(-ENOMEM, "out of memory");
    return o;
}

static void discard(struct shke_object *o)
{
    shke_object_destroy(o);
    free(o);
}

/* With `segments`: the same object, if this process has it open. */
static struct shke_object *share(const struct shke_object *like)
{
    struct shke_object *o = like->segment->objects;

    while (o && (o->created != like->created || strcmp(o->name, like->name) != 0 ||
                 o->kind != like->kind))
        o = o->next;
    if (o)
        o->refs++;
    return o;
}

static void add(struct shke_object *o)
{
    o->next = o->segment->objects;
    o->segment->objects = o;
    shke_segment_ref(o->segment);
}

/*
 * What has been found is compared with what this process has open: two threads that open the same
 * come to one.
 */
static int settle(struct shke_object *found, struct shke_object **out)
{
    struct shke_object *other;
    int r = 0;

    shke_segments_lock();
    other = share(found);
    if (other == NULL && found->kind->start)
        r = found->kind->start(found);
    if (other == NULL && r == 0)
        add(found);
    shke_segments_unlock();
    if (other || r < 0)
        discard(found);
    *out = other ? other : r < 0 ? NULL : found;
    return r;
}

int shke_object_open(struct shk_segment *segment, const char *name, unsigned flags,
                     const struct shke_kind *kind, const void *options, struct shke_object **out)
{
    struct shke_segment *s = shke_segment_of(segment);
    struct shki_object handle = {.segment = segment};
    struct shki_saved_error saved;
    struct shke_object *o = make(s, name, kind);
    int r = o ? shke_enter(&handle, o) : -ENOMEM;

    shke_host->error_save(&saved);
    if (r == 0)
        r = find(o, flags, options);
    if (r == 0) {
        r = settle(o, out);
        if (r == 0 && *out == o) /* it was not open here */
            r = shke_segment_use(o);
        if (r < 0 && *out == o)
            shke_object_unref(o);
    } else if (o) {
        discard(o);
    }
    return shke_host->error_settle(r, &saved);
}

void shke_object_bind(struct shki_object *handle, struct shke_object *o)
{
    handle->segment = &o->segment->segment;
    handle->shared = (unsigned char *)o; /* for sets: see ready.c */
    snprintf(handle->name, sizeof(handle->name), "%s", o->name);
}

void shke_object_ref(struct shke_object *o)
{
    shke_segments_lock();
    o->refs++;
    shke_segments_unlock();
}

void shke_object_unref(struct shke_object *o)
{
    struct shke_segment *s = o->segment;
    struct shke_object **link = &s->objects;
    bool last;

    /* a parent's stays allocated: a lock of it may have been held when the process was forked */
    if (!shke_session_is_own(s->session))
        return;
    shke_segments_lock();
    last = --o->refs == 0;
    if (last) {
        while (*link && *link != o)
            link = &(*link)->next;
        if (*link)
            *link = o->next;
    }
    shke_segments_unlock();
    if (!last)
        return;
    if (o->kind->stop)
        o->kind->stop(o);
    shke_segment_unuse(o);
    discard(o);
    shke_segment_unref(s);
}

void shke_objects_leave(struct shke_segment *s)
{
    struct shke_object *o, *before = NULL;

    shke_segments_lock();
    for (o = s->objects; o; o = o->next) {
        if (o->kind->leave == NULL)
            continue;
        o->refs++;
        shke_segments_unlock();
        if (before)
            shke_object_unref(before);
        o->kind->leave(o);
        before = o;
        shke_segments_lock();
    }
    shke_segments_unlock();
    if (before)
        shke_object_unref(before);
}

/* ---- Unlinking ---- */

static int unlink_now(struct shke_segment *s, const char *name, bool only_unused)
{
    char prefix[SHKE_KEY_MAX], entry[SHKE_KEY_MAX], record[SHKE_KEY_MAX], uses[SHKE_KEY_MAX + 8];
    struct shke_reply reply;
    struct shke_txn t = {0};
    struct shke_kv kv = {0};
    int r;

    snprintf(prefix, sizeof(prefix), "%s%s/", s->prefix, name);
    snprintf(entry, sizeof(entry), "%s.objects/%s", s->prefix, name);
    snprintf(record, sizeof(record), "%s%s/.object", s->prefix, name);
    snprintf(uses, sizeof(uses), "%s.uses/", prefix);
    if (only_unused)
        shke_if_none(&t, uses);
    shke_then_get(&t, record);
    shke_then_delete(&t, entry);
    shke_then_delete_all(&t, prefix);
    shke_else_count(&t, uses);
    r = shke_txn_run(shke_session_client(s->session), &t, &opening, &reply);
    if (r < 0)
        return r;
    if (reply.succeeded) {
        r = shke_reply_kv(&reply, 0, &kv);
        if (r == 0 && kv.create == 0)
            r = shke_fail(-ENOENT, "there is no %s/%s", s->segment.name, name);
    } else {
        r = shke_fail(-EBUSY, "%s/%s is in use by %lld processes", s->segment.name, name,
                      (long long)shke_reply_count(&reply, 0));
    }
    shke_kv_free(&kv);
    shke_reply_free(&reply);
    return r;
}

int shke_object_unlink(struct shk_segment *segment, const char *name, bool only_unused)
{
    struct shki_saved_error saved;
    int r;

    if (load_relaxed(&segment->openness.opens) == 0)
        return shke_fail(-EBADF, "segment %s has been closed in this process", segment->name);
    shke_host->error_save(&saved);
    r = unlink_now(shke_segment_of(segment), name, only_unused);
    return shke_host->error_settle(r, &saved);
}
