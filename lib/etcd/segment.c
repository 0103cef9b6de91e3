#include "etcd/object.h"

#include "segment/retire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

static pthread_mutex_t segments = PTHREAD_MUTEX_INITIALIZER;
static struct shke_segment *first;

static const struct shki_kinds no_kinds = {.rename = shke_segment_rename};

static const struct shke_trial opening = {.limit = SHKE_LIMIT};

void shke_segments_lock(void)
{
    pthread_mutex_lock(&segments);
}

void shke_segments_unlock(void)
{
    pthread_mutex_unlock(&segments);
}

static void forget_parent(void)
{
    first = NULL; /* it stays allocated, for the handles that the child has */
    pthread_mutex_unlock(&segments);
}

static void at_first(void)
{
    pthread_atfork(shke_segments_lock, shke_segments_unlock, forget_parent);
}

void shke_nonce(char nonce[SHKE_NONCE_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    unsigned char bytes[16];

    if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes)) {
        static _Atomic uint64_t count;
        uint64_t unique[2] = {fetch_add_relaxed(&count, 1), (uint64_t)getpid()};

        memcpy(bytes, unique, sizeof(bytes));
    }
    for (unsigned i = 0; i < sizeof(bytes); i++) {
        nonce[(size_t)i * 2] = digits[bytes[i] >> 4];
        nonce[(size_t)i * 2 + 1] = digits[bytes[i] & 15];
    }
    nonce[sizeof(bytes) * 2] = '\0';
}

bool shke_begins_with(const struct shke_kv *kv, const char *text)
{
    size_t length = strlen(text);

    return kv->length > length && memcmp(kv->value, text, length) == 0 && kv->value[length] == ':';
}

/* ---- Names ---- */

/* "bank" of "etcd:bank". */
int shke_segment_name(const char *name, const char **bare)
{
    *bare = name + strlen(SHKI_REMOTE_SCHEME);
    return shke_host->check_name("the segment's name", *bare,
                                 SHK_SEGMENT_NAME_MAX - strlen(SHKI_REMOTE_SCHEME));
}

/* "/shmkit/bank", the key of its record. */
#define SHKE_NAME_MAX (sizeof(SHKE_ROOT) + SHK_SEGMENT_NAME_MAX)

static void record_key(char key[SHKE_NAME_MAX], const char *bare)
{
    snprintf(key, SHKE_NAME_MAX, SHKE_ROOT "%s", bare);
}

/* ---- Opening ---- */

static bool is_record(const struct shke_kv *kv)
{
    json_object *record = json_tokener_parse((const char *)kv->value);
    bool is = json_object_is_type(record, json_type_object) && shke_number(record, "shmkit") == 1;

    json_object_put(record);
    return is;
}

/* Find the segment's record, or create it: its create_revision. */
static int find(struct shke_client *c, const char *name, const char *bare, unsigned flags,
                int64_t *created)
{
    char key[SHKE_NAME_MAX], nonce[SHKE_NONCE_SIZE], value[160];
    struct shke_reply reply;
    struct shke_txn t = {0};
    struct shke_kv kv;
    bool is_new, is_mine;
    int r;

    record_key(key, bare);
    shke_nonce(nonce);
    snprintf(value, sizeof(value), "{\"shmkit\":1,\"at\":%lld,\"pid\":%d,\"nonce\":\"%s\"}",
             (long long)time(NULL), (int)getpid(), nonce);
    if (flags & SHK_CREATE) {
        shke_if_created(&t, key, 0);
        shke_then_put(&t, key, value, strlen(value), 0);
    } else {
        shke_if_created(&t, key, -1); /* never holds */
    }
    shke_else_get(&t, key);
    r = shke_txn_run(c, &t, &opening, &reply);
    if (r < 0)
        return r;
    is_new = reply.succeeded;
    *created = reply.revision;
    r = is_new ? 0 : shke_reply_kv(&reply, 0, &kv);
    shke_reply_free(&reply);
    if (r < 0 || is_new)
        return r;
    /* the reply to an earlier try may have been lost */
    is_mine = kv.value && kv.length == strlen(value) && memcmp(kv.value, value, kv.length) == 0;
    *created = kv.create;
    if (kv.create == 0)
        r = shke_fail(-ENOENT, "there is no segment %s", name);
    else if (!is_record(&kv))
        r = shke_fail(-EPROTO, "%s is no segment of shmkit: its key in etcd is %s", name, key);
    else if (flags & SHK_CREATE && flags & SHK_EXCL && !is_mine)
        r = shke_fail(-EEXIST, "segment %s exists already", name);
    shke_kv_free(&kv);
    return r;
}

static struct shke_segment *find_open(const char *name)
{
    for (struct shke_segment *s = first; s; s = s->next)
        if (strcmp(s->segment.name, name) == 0 && load_relaxed(&s->segment.openness.opens) > 0)
            return s;
    return NULL;
}

static int make(const char *name, const char *bare, unsigned flags, const struct shki_remote *calls,
                struct shke_segment **out)
{
    struct shke_segment *s = calloc(1, sizeof(*s));
    int64_t lease;
    int r = s ? shke_session_ref(&s->session) : shke_fail(-ENOMEM, "out of memory");

    if (r < 0) {
        free(s);
        return r;
    }
    pthread_mutex_init(&s->lock, NULL);
    snprintf(s->segment.name, sizeof(s->segment.name), "%s", name);
    snprintf(s->prefix, sizeof(s->prefix), SHKE_ROOT "%s/", bare);
    s->segment.remote = calls;
    s->segment.kinds = &no_kinds;
    s->refs = 1;
    s->joined = time(NULL);
    shke_machine_here(&s->machine);
    shke_member_take_name(s);
    r = find(shke_session_client(s->session), name, bare, flags, &s->created);
    if (r == 0)
        r = shke_segment_lease(s, &opening, &lease);
    if (r < 0) {
        shke_session_unref(s->session);
        pthread_mutex_destroy(&s->lock);
        free(s);
    } else {
        *out = s;
    }
    return r;
}

/* With `segments`: the same segment is opened once, and other openers wait, SHKE_LIMIT at most. */
static int open_locked(const char *name, const char *bare, unsigned flags,
                       const struct shki_remote *calls, struct shke_segment **out)
{
    struct shke_segment *s = find_open(name);
    int64_t created;
    int r;

    if (s == NULL) {
        r = make(name, bare, flags, calls, &s);
        if (r < 0)
            return r;
        s->next = first;
        first = s;
    } else {
        r = find(shke_session_client(s->session), name, bare, flags, &created);
        if (r < 0)
            return r;
        if (created != s->created)
            return shke_fail(-ESTALE, "segment %s has been unlinked, and this process has it open",
                             name);
    }
    fetch_add_relaxed(&s->segment.openness.opens, 1);
    *out = s;
    return 0;
}

int shke_segment_open(const char *name, unsigned flags, const struct shk_segment_options *options,
                      const struct shki_remote *calls, struct shk_segment **out)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct shki_saved_error saved;
    struct shke_segment *s = NULL;
    const char *bare;
    int r = shke_segment_name(name, &bare);

    if (r < 0)
        return r;
    if (flags & ~(unsigned)(SHK_CREATE | SHK_EXCL | SHK_ANY_OWNER))
        return shke_fail(-EINVAL, "segment %s: a flag is unknown", name);
    for (size_t i = 0; options && i < sizeof(options->reserved) / sizeof(options->reserved[0]); i++)
        if (options->reserved[i])
            return shke_fail(-EINVAL, "segment %s: a reserved option is not zero", name);
    pthread_once(&once, at_first);
    shke_host->error_save(&saved);
    pthread_mutex_lock(&segments);
    r = open_locked(name, bare, flags, calls, &s);
    pthread_mutex_unlock(&segments);
    if (r == 0)
        *out = &s->segment;
    return shke_host->error_settle(r, &saved);
}

/* ---- Closing ---- */

void shke_segment_ref(struct shke_segment *s)
{
    s->refs++;
}

static void unlist(const struct shke_segment *s)
{
    struct shke_segment **link = &first;

    while (*link && *link != s)
        link = &(*link)->next;
    if (*link)
        *link = s->next;
}

void shke_segment_unref(struct shke_segment *s)
{
    bool last;

    pthread_mutex_lock(&segments);
    last = --s->refs == 0;
    if (last)
        unlist(s);
    pthread_mutex_unlock(&segments);
    if (!last)
        return;
    shke_session_unref(s->session);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

/* Which one has left comes first: a watch of members tells by it how one has gone. */
static void delete_member(struct shke_segment *s)
{
    const struct shke_trial trial = {.limit = SHK_SEC(1)};
    struct shki_saved_error saved;
    struct shke_txn t = {0};
    struct shke_reply reply;
    char key[SHKE_KEY_MAX], lease[20];

    if (s->member_lease == 0)
        return;
    shke_host->error_save(&saved);
    snprintf(lease, sizeof(lease), "%016llx", (unsigned long long)s->member_lease);
    snprintf(key, sizeof(key), "%.*s", (int)strlen(s->prefix) - 1, s->prefix);
    shke_if_created(&t, key, s->created); /* else its keys are gone with it */
    snprintf(key, sizeof(key), "%s.members.left", s->prefix);
    shke_then_put(&t, key, lease, strlen(lease), 0);
    snprintf(key, sizeof(key), "%s.members/%s", s->prefix, lease);
    shke_then_delete(&t, key);
    snprintf(key, sizeof(key), "%s.waits/%016llx", s->prefix, (unsigned long long)s->member_lease);
    shke_then_delete(&t, key);
    if (shke_txn_run(shke_session_client(s->session), &t, &trial, &reply) == 0)
        shke_reply_free(&reply);
    shke_host->error_settle(0, &saved);
}

int shke_segment_close(struct shk_segment *segment, void (*leave)(struct shke_segment *))
{
    struct shke_segment *s = shke_segment_of(segment);
    bool is_own = shke_session_is_own(s->session);
    unsigned opens;

    pthread_mutex_lock(&segments);
    opens = load_relaxed(&segment->openness.opens);
    if (opens == 0) {
        pthread_mutex_unlock(&segments);
        return shke_fail(-EBADF, "segment %s has been closed in this process", segment->name);
    }
    store_relaxed(&segment->openness.opens, opens - 1);
    if (opens == 1 && is_own) {
        fetch_add_relaxed(&segment->openness.closes, 1);
        for (struct shke_object *o = s->objects; o; o = o->next) {
            pthread_mutex_lock(&o->lock);
            pthread_cond_broadcast(&o->changed); /* the waits of other threads end */
            pthread_mutex_unlock(&o->lock);
        }
    }
    pthread_mutex_unlock(&segments);
    if (opens > 1 || !is_own) /* a parent's stays allocated, see shke_object_unref() */
        return 0;
    if (shke_session_is_own(s->session))
        leave(s);
    delete_member(s);
    shke_segment_unref(s);
    return 0;
}

/* ---- Unlinking ---- */

static int remove_all(struct shke_client *c, const char *name, const char *bare, unsigned flags)
{
    char record[SHKE_NAME_MAX], prefix[SHKE_NAME_MAX + 1], members[SHKE_KEY_MAX],
        objects[SHKE_KEY_MAX];
    struct shke_reply reply;
    struct shke_txn t = {0};
    struct shke_kv kv;
    int64_t n;
    int r;

    record_key(record, bare);
    snprintf(prefix, sizeof(prefix), "%s/", record);
    snprintf(members, sizeof(members), "%s.members/", prefix);
    snprintf(objects, sizeof(objects), "%s.objects/", prefix);
    if (!(flags & SHKI_RETIRE_FORCED))
        shke_if_none(&t, members);
    if (flags & SHK_EMPTY)
        shke_if_none(&t, objects);
    shke_then_get(&t, record);
    shke_then_delete(&t, record);
    shke_then_delete_all(&t, prefix);
    shke_else_count(&t, members);
    r = shke_txn_run(c, &t, &opening, &reply);
    if (r < 0)
        return r;
    if (reply.succeeded) {
        r = shke_reply_kv(&reply, 0, &kv);
        if (r == 0 && kv.create == 0)
            r = shke_fail(-ENOENT, "there is no segment %s", name);
        shke_kv_free(&kv);
    } else {
        n = shke_reply_count(&reply, 0);
        r = n > 0 && !(flags & SHKI_RETIRE_FORCED)
                ? shke_fail(-EBUSY, "segment %s is in use by %lld processes", name, (long long)n)
                : shke_fail(-ENOTEMPTY, "segment %s has objects", name);
    }
    shke_reply_free(&reply);
    return r;
}

int shke_segment_unlink(const char *name, unsigned flags)
{
    struct shki_saved_error saved;
    struct shke_session *session;
    const char *bare;
    int r = shke_segment_name(name, &bare);

    if (r < 0)
        return r;
    shke_host->error_save(&saved);
    r = shke_session_ref(&session);
    if (r == 0) {
        r = remove_all(shke_session_client(session), name, bare, flags);
        shke_session_unref(session);
    }
    return shke_host->error_settle(r, &saved);
}
