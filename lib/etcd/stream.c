/* The stream on etcd: the kind, and the calls of writers. See stream.h. */
#include "etcd/stream.h"

#include "etcd/sight.h"

#include <endian.h>
#include <shmkit/inspect.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SAMPLE_MAX      65536
#define HISTORY_MAX     (INT64_C(1) << 30)
#define HISTORY_DEFAULT 4096

static const struct shke_trial untimed = {.limit = SHKE_LIMIT};

/* ---- The kind ---- */

static void describe(struct shke_buffer *b, const void *options)
{
    const struct shk_stream_options *o = options;

    shke_addf(b,
              ",\"sample_size\":%zu,\"history\":%zu,\"channels\":%u,\"stamped\":%u,\"rate\":%.17g",
              o->sample_size, o->history ? o->history : HISTORY_DEFAULT,
              o->channels ? o->channels : 1, o->stamped, o->rate);
}

static const char *refuse(const void *options)
{
    return ((const struct shk_stream_options *)options)->sample_size == 0
               ? "a new stream needs a sample size"
               : NULL;
}

static double read_rate(json_object *record)
{
    json_object *rate;
    double r = json_object_object_get_ex(record, "rate", &rate) ? json_object_get_double(rate) : 0;

    return r > 0 && r <= 1e300 ? r : 0;
}

static int check_wanted(const struct shke_stream *st, const struct shk_stream_options *wanted)
{
    const char *segment = st->object.segment->segment.name, *name = st->object.name;

    if (wanted->channels && wanted->channels != st->channels)
        return shke_fail(-EPROTOTYPE, "%s/%s is a stream of %u channel%s", segment, name,
                         st->channels, st->channels == 1 ? "" : "s");
    if ((wanted->sample_size && wanted->sample_size != st->sample_size) ||
        (wanted->history && wanted->history != st->history))
        return shke_fail(-EPROTOTYPE,
                         "%s/%s is a stream of samples of %zu bytes with a history of %zu", segment,
                         name, st->sample_size, st->history);
    if (wanted->stamped > st->stamped)
        return shke_fail(-EPROTOTYPE, "%s/%s is a stream without time stamps", segment, name);
    return 0;
}

static int check(struct shke_object *o, json_object *record, const void *options)
{
    struct shke_stream *st = (struct shke_stream *)o;
    int64_t size = shke_number(record, "sample_size"), history = shke_number(record, "history"),
            channels = shke_number(record, "channels"), stamped = shke_number(record, "stamped");
    size_t stride;

    if (size < 1 || size > SAMPLE_MAX || history < 1 || history > HISTORY_MAX || channels < 1 ||
        channels > size || size % channels || stamped < 0 || stamped > 1)
        return shke_fail(-EPROTO, "%s/%s is damaged: its geometry", o->segment->segment.name,
                         o->name);
    st->sample_size = (size_t)size;
    st->history = (size_t)history;
    st->channels = (uint32_t)channels;
    st->stamped = stamped == 1;
    st->rate = read_rate(record);
    stride = st->sample_size + (st->stamped ? sizeof(int64_t) : 0);
    st->block_max = SHKE_BLOCK_MAX / stride;
    if (st->block_max > st->history / 4)
        st->block_max = st->history / 4 ? st->history / 4 : 1;
    return check_wanted(st, options);
}

static int start(struct shke_object *o)
{
    struct shke_stream *st = (struct shke_stream *)o;

    pthread_mutex_init(&st->begin, NULL);
    st->tail = &st->head;
    return 0; /* what there is is asked for by the first append, or the first reader */
}

static void stop(struct shke_object *o)
{
    shke_stream_view_stop((struct shke_stream *)o);
    pthread_mutex_destroy(&((struct shke_stream *)o)->begin);
}

static void look_from_outside(struct shke_txn *t, const char *prefix)
{
    char key[SHKE_KEY_MAX];

    shke_then_get(t, shke_part(key, prefix, "position"));
    shke_then_get(t, shke_part(key, prefix, "rate"));
    shke_roles_look(t, prefix);
}

static void leave(struct shke_object *o)
{
    shke_roles_leave(o, &((struct shke_stream *)o)->roles);
}

static int tell(struct shke_sight *s, struct shk_object_info *info)
{
    json_object *record = shke_sight_record(s);
    struct shke_kv kv, rate = {0};
    char nonce[SHKE_NONCE_SIZE];
    int64_t position = 0, stamp;
    int r = shke_sight_kv(s, 0, 0, &kv);

    if (r == 0)
        r = shke_sight_kv(s, 1, 0, &rate);
    if (r == 0)
        r = shke_roles_tell(s, 2, info);
    shke_stream_read_position(&kv, &position, &stamp, nonce);
    info->as.stream.sample_size = (uint64_t)shke_number(record, "sample_size");
    info->as.stream.history = (uint64_t)shke_number(record, "history");
    info->as.stream.channels = (uint32_t)shke_number(record, "channels");
    info->as.stream.stamped = shke_number(record, "stamped") == 1;
    info->as.stream.position = (uint64_t)position;
    info->as.stream.rate = rate.value ? strtod((const char *)rate.value, NULL) : read_rate(record);
    shke_kv_free(&kv);
    shke_kv_free(&rate);
    return r;
}

const struct shke_kind shke_stream_kind = {.number = SHK_KIND_STREAM,
                                           .name = "stream",
                                           .size = sizeof(struct shke_stream),
                                           .describe = describe,
                                           .refuse = refuse,
                                           .check = check,
                                           .leave = leave,
                                           .start = start,
                                           .stop = stop,
                                           .watch = shke_reader_begin_watch,
                                           .looks = 2 + SHKE_ROLES_LOOKS,
                                           .look = look_from_outside,
                                           .tell = tell};

static int stream_open(struct shk_segment *s, const char *name, unsigned flags,
                       const struct shk_stream_options *options, struct shk_stream **out)
{
    struct shk_stream *h = calloc(1, sizeof(*h)); /* zero, but for what follows */
    struct shke_stream *st;
    struct shke_object *o;
    int64_t revision;
    int r = h ? shke_object_open(s, name, flags & (SHK_CREATE | SHK_EXCL), &shke_stream_kind,
                                 options, &o)
              : shke_fail(-ENOMEM, "out of memory");

    if (r < 0) {
        free(h);
        return r;
    }
    st = (struct shke_stream *)o;
    shke_object_bind(&h->object, o);
    h->stamped = st->stamped;
    r = shke_roles_open(o, &st->roles, &h->roles, flags, NULL, &revision);
    if (r == 0 && h->roles.minds)
        r = shke_stream_lines_start(st, revision);
    if (r < 0) {
        shke_stream_unref(h);
        return r;
    }
    *out = h;
    return 0;
}

static int stream_close(struct shk_stream *handle)
{
    return shke_stream_unref(handle);
}

/* ---- Looking ---- */

static int64_t stream_position(struct shk_stream *handle)
{
    struct shke_stream *st = shke_stream_of(handle);
    struct shki_saved_error saved;
    int64_t revision, position;
    int r = shke_enter(&handle->object, &st->object);

    if (r < 0)
        return r;
    shke_host->error_save(&saved);
    r = shke_host->error_settle(shke_stream_look(st, &untimed, &revision), &saved);
    pthread_mutex_lock(&st->object.lock);
    position = st->position;
    pthread_mutex_unlock(&st->object.lock);
    return r < 0 ? r : position;
}

static int64_t stream_geometry(struct shk_stream *handle, enum shki_stream_geometry what)
{
    struct shke_stream *st = shke_stream_of(handle);
    int r = shke_enter(&handle->object, &st->object);

    if (r < 0)
        return r;
    switch (what) {
    case SHKI_STREAM_SAMPLE_SIZE:
        return (int64_t)st->sample_size;
    case SHKI_STREAM_HISTORY:
        return (int64_t)st->history;
    case SHKI_STREAM_CHANNELS:
        return st->channels;
    case SHKI_STREAM_STAMPED:
        break;
    }
    return st->stamped;
}

static int stream_rate(struct shk_stream *handle, double *out)
{
    struct shke_stream *st = shke_stream_of(handle);
    struct shki_saved_error saved;
    struct shke_kv kv;
    int64_t revision;
    int r = shke_enter(&handle->object, &st->object);

    if (r < 0)
        return r;
    shke_host->error_save(&saved);
    r = shke_stream_ask(st, "rate", &kv, &untimed, &revision);
    if (r == 0)
        *out = kv.value ? strtod((const char *)kv.value, NULL) : st->rate;
    shke_kv_free(&kv);
    return shke_host->error_settle(r, &saved);
}

/*
 * Killed before or after: it is the old one or the new one. Twice, or late: the key has been
 * written since it was seen.
 */
static int stream_set_rate(struct shk_stream *handle, double rate)
{
    struct shke_stream *st = shke_stream_of(handle);
    struct shki_saved_error saved;
    struct shke_reply reply;
    struct shke_kv kv = {0};
    struct shke_txn t = {0};
    char key[SHKE_KEY_MAX], text[40];
    bool is_noted = false;
    int64_t revision;
    int r = shke_enter(&handle->object, &st->object);

    if (r < 0)
        return r;
    shke_host->error_save(&saved);
    snprintf(text, sizeof(text), "%.17g", rate);
    shke_key(key, &st->object, "rate");
    while (r == 0 && !is_noted) {
        r = shke_stream_ask(st, "rate", &kv, &untimed, &revision);
        is_noted = r == 0 && kv.value && strcmp((char *)kv.value, text) == 0;
        if (r == 0 && !is_noted) {
            shke_if_there(&t, &st->object);
            shke_if_written(&t, key, kv.mod);
            shke_then_put(&t, key, text, strlen(text), 0);
            r = shke_txn_run(shke_object_client(&st->object), &t, &untimed, &reply);
            is_noted = r == 0 && reply.succeeded;
            if (r == 0)
                shke_reply_free(&reply);
        }
        shke_kv_free(&kv);
    }
    return shke_host->error_settle(r, &saved);
}

/* ---- Appending ---- */

struct append {
    struct shk_stream *handle;
    const unsigned char *samples;
    const int64_t *stamps; /* NULL: the same for all */
    int64_t same;
    size_t n, skip; /* skip: of these, so many would be older than the history at once */
    char nonce[SHKE_NONCE_SIZE];
};

static int add_block(struct shke_txn *t, const struct shke_stream *st, const struct append *a,
                     size_t first, size_t n)
{
    struct shke_block_header header = {.version = 1, .stamped = st->stamped};
    uint32_t n_be = htobe32((uint32_t)n);
    struct shke_buffer value = {0};
    char key[SHKE_KEY_MAX];
    uint64_t stamp;
    bool failed;

    memcpy(header.n, &n_be, sizeof(n_be));
    memcpy(header.nonce, a->nonce, sizeof(header.nonce));
    shke_add(&value, &header, sizeof(header));
    for (size_t i = first; st->stamped && i < first + n; i++) {
        stamp = htobe64((uint64_t)(a->stamps ? a->stamps[i] : a->same));
        shke_add(&value, &stamp, sizeof(stamp));
    }
    shke_add(&value, a->samples + first * st->sample_size, n * st->sample_size);
    shke_key(key, &st->object, "block/%016llx",
             (unsigned long long)(st->position + (int64_t)first));
    failed = value.failed;
    if (!failed)
        shke_then_put(t, key, value.bytes, value.length, 0);
    shke_buffer_free(&value);
    return failed ? shke_fail(-ENOMEM, "out of memory") : 0;
}

/* With the object's lock. A block that begins so far back has ended before the history begins. */
static int write_append(struct shke_txn *t, const struct shke_stream *st, const struct append *a)
{
    const struct shki_roles *roles = &a->handle->roles;
    int64_t end = st->position + (int64_t)a->n,
            old = end - (int64_t)st->history - (int64_t)st->block_max,
            stamp = !st->stamped ? 0
                    : a->stamps  ? a->stamps[a->n - 1]
                                 : a->same;
    char key[SHKE_KEY_MAX], below[SHKE_KEY_MAX], value[140];
    size_t some;
    int r = 0;

    snprintf(value, sizeof(value), "{\"position\":%lld,\"stamp\":%lld,\"nonce\":\"%s\"}",
             (long long)end, (long long)stamp, a->nonce);
    shke_key(key, &st->object, "position");
    shke_if_there(t, &st->object);
    shke_if_written(t, key, st->position_mod);
    shke_roles_compare(t, &st->object, &st->roles, roles);
    shke_then_put(t, key, value, strlen(value), 0);
    shke_else_get(t, key);
    if (old > 0) {
        shke_key(key, &st->object, "block/");
        shke_key(below, &st->object, "block/%016llx", (unsigned long long)old + 1);
        shke_then_delete_below(t, key, below);
    }
    for (size_t i = a->skip; r == 0 && i < a->n; i += some) {
        some = a->n - i < st->block_max ? a->n - i : st->block_max;
        r = add_block(t, st, a, i, some);
    }
    shke_key(key, &st->object, "block/%016llx",
             (unsigned long long)(st->position + (int64_t)a->skip));
    shke_else_get(t, key);
    shke_roles_ask_why(t, &st->object, &st->roles, roles, true);
    return r;
}

/* With the object's lock: whether the block has been put by this append. */
static bool is_mine(const struct shke_kv *block, const struct append *a)
{
    return block->length >= sizeof(struct shke_block_header) &&
           memcmp(block->value + offsetof(struct shke_block_header, nonce), a->nonce, 16) == 0;
}

/*
 * With the object's lock, and is_appending: 0; 1: another append came between. One that has been
 * carried out, and whose blocks are older than the history when its second try finds that, is
 * appended again: no reader that keeps up is told them late, but twice.
 */
static int try_to_append(struct shke_stream *st, struct append *a)
{
    struct shke_kv position = {0}, block = {0};
    struct shke_reply reply;
    struct shke_txn t = {0};
    struct timespec now;
    int r;

    if (st->stamped && a->stamps == NULL) { /* of all machines; and never less than the last one */
        clock_gettime(CLOCK_REALTIME, &now);
        a->same = SHK_SEC((int64_t)now.tv_sec) + now.tv_nsec;
        a->same = a->same < st->stamp ? st->stamp : a->same;
    }
    r = write_append(&t, st, a);
    if (r < 0) {
        shke_txn_free(&t);
        return r;
    }
    pthread_mutex_unlock(&st->object.lock);
    r = shke_txn_run(shke_object_client(&st->object), &t, &untimed, &reply);
    pthread_mutex_lock(&st->object.lock);
    if (r < 0)
        return r;
    if (reply.succeeded) {
        if (reply.revision > st->position_known) {
            st->position += (int64_t)a->n;
            st->position_known = st->position_mod = reply.revision;
            st->stamp = a->stamps ? a->stamps[a->n - 1] : a->same;
        }
    } else {
        r = shke_check_there(&st->object, &reply);
        if (r == 0)
            r = shke_reply_kv(&reply, 1, &position);
        if (r == 0)
            r = shke_reply_kv(&reply, 2, &block);
        if (r == 0) {
            shke_stream_learn(st, &position, reply.revision);
            r = !is_mine(&block, a);
            if (shke_roles_learn_why(&st->object, &st->roles, &a->handle->roles, &reply, 3) < 0)
                r = -ENOMEM;
        }
    }
    shke_kv_free(&position);
    shke_kv_free(&block);
    shke_reply_free(&reply);
    return r;
}

/* With the object's lock and is_appending: 0: the role is there, and the servers know readers. */
static int find_role(struct shke_stream *st, const struct append *a)
{
    const struct shki_roles *roles = &a->handle->roles;
    int64_t revision;
    int r;

    if (roles->roles == 0)
        return 0;
    pthread_mutex_unlock(&st->object.lock);
    r = shke_roles_keep(&st->object, &st->roles, &untimed);
    pthread_mutex_lock(&st->object.lock);
    if (r == 0 && shke_roles_is_alone(&st->roles, roles)) {
        pthread_mutex_unlock(&st->object.lock);
        r = shke_stream_look(st, &untimed, &revision);
        pthread_mutex_lock(&st->object.lock);
    }
    return r < 0                                    ? r
           : load_relaxed(&st->object.is_gone)      ? shke_stale(&st->object)
           : shke_roles_is_alone(&st->roles, roles) ? shke_roles_say_alone(&a->handle->object)
                                                    : 0;
}

static int check_append(const struct shk_stream *handle, const struct shke_stream *st,
                        const struct append *a)
{
    size_t stride = st->sample_size + (st->stamped ? sizeof(int64_t) : 0);

    if (a->samples == NULL)
        return shke_fail(-EINVAL, "the samples are NULL");
    if (a->n - a->skip > SHKE_APPEND_MAX / stride || a->n > INT32_MAX)
        return shke_fail(-EMSGSIZE, "%s/%s: on etcd %zu samples are appended at once, at most",
                         handle->object.segment->name, handle->object.name,
                         (size_t)SHKE_APPEND_MAX / stride);
    return 0;
}

static int stream_append(struct shk_stream *handle, const void *samples, const int64_t *stamps,
                         size_t n)
{
    struct shke_stream *st = shke_stream_of(handle);
    struct append a = {.handle = handle, .samples = samples, .stamps = stamps, .n = n};
    struct shki_saved_error saved;
    int64_t revision;
    int r = shke_enter(&handle->object, &st->object);

    if (r < 0 || n == 0)
        return r;
    a.skip = n > st->history ? n - st->history : 0;
    r = check_append(handle, st, &a);
    if (r < 0)
        return r;
    shke_nonce(a.nonce);
    shke_host->error_save(&saved);
    pthread_mutex_lock(&st->object.lock);
    while (st->is_appending)
        pthread_cond_wait(&st->object.changed, &st->object.lock); /* bounded by its trial */
    st->is_appending = true;
    if (st->position_known == 0) {
        pthread_mutex_unlock(&st->object.lock);
        r = shke_stream_look(st, &untimed, &revision);
        pthread_mutex_lock(&st->object.lock);
    }
    while (r >= 0 && (r = find_role(st, &a)) == 0 && (r = try_to_append(st, &a)) == 1)
        ;
    st->is_appending = false;
    pthread_cond_broadcast(&st->object.changed);
    pthread_mutex_unlock(&st->object.lock);
    return shke_host->error_settle(r, &saved);
}

const struct shki_stream_calls shke_stream_calls = {.open = stream_open,
                                                    .close = stream_close,
                                                    .append = stream_append,
                                                    .position = stream_position,
                                                    .geometry = stream_geometry,
                                                    .rate = stream_rate,
                                                    .set_rate = stream_set_rate,
                                                    .reader_open = shke_reader_open,
                                                    .reader_close = shke_reader_close,
                                                    .read = shke_reader_read,
                                                    .latest = shke_reader_latest};
