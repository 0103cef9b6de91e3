/* The newest value: the protocol is told in value.h. */
#include "object/value.h"

#include "base/words.h"
#include "object/watch.h"
#include "segment/image.h"

#include <shmkit/inspect.h>
#include <shmkit/value.h>

#define SIZE_LARGEST (UINT64_C(16) << 20)
#define SIZE_DEFAULT 1024u
#define TRIES_MAX    10 /* copies that writers have spoiled, until the reader excludes them */

struct shk_value {
    struct shki_object object;
    struct shki_value_shared *shared;
    uint64_t size, stride; /* validated copies */
    unsigned char *buffers;
    struct shki_spinner lock_spinner, spinner;
    /* The version that was got last, for shk_wait_any(). Relaxed: a hint between threads. */
    _Atomic uint64_t got;
};

static int build(struct shki_object *o, const struct shki_plan *plan)
{
    const struct shk_value_options *options = plan->options;
    struct shki_value_shared *shared = (void *)o->shared;

    shared->size = options->size ? options->size : SIZE_DEFAULT;
    return shki_robust_init(&shared->writer_lock.robust);
}

static int check(struct shki_object *o, const struct shki_plan *plan)
{
    const struct shk_value_options *options = plan->options;
    struct shk_value *v = (struct shk_value *)o;
    uint64_t size;

    v->shared = (void *)o->shared;
    size = v->shared->size;
    if (size < 1 || size > SIZE_LARGEST ||
        o->size < SHKI_VALUE_OFFSET + SHKI_VALUE_BUFFERS * shki_value_stride(size))
        return shki_fail(-EPROTO, "%s/%s is damaged: its size", o->segment->name, o->name);
    if (options->size && options->size != size)
        return shki_fail(-EPROTOTYPE, "%s/%s is a value of at most %llu bytes", o->segment->name,
                         o->name, (unsigned long long)size);
    v->size = size;
    v->stride = shki_value_stride(size);
    v->buffers = o->shared + SHKI_VALUE_OFFSET;
    return 0;
}

int shk_value_open(struct shk_segment *segment, const char *name, unsigned flags,
                   const struct shk_value_options *options, struct shk_value **out)
{
    static const struct shk_value_options defaults;
    struct shki_plan plan = {.kind = &shki_value_kind};
    int r;

    if (out == NULL)
        return SHKI_NO_HANDLE;
    *out = NULL;
    plan.options = options = options ? options : &defaults;
    if (options->size > SIZE_LARGEST)
        return shki_say(-EINVAL, "the size of the value is more than 16 MiB");
    r = shki_check_reserved(options->reserved, 8);
    if (r < 0)
        return r;
    plan.size =
        SHKI_VALUE_OFFSET +
        SHKI_VALUE_BUFFERS * shki_value_stride(options->size ? options->size : SIZE_DEFAULT);
    *out = shki_handle_open(segment, name, flags, &plan, sizeof(**out), &r);
    return r;
}

int shk_value_close(struct shk_value *v)
{
    if (v == NULL || !shki_object_unref(&v->object))
        return 0;
    shki_handle_close(&v->object);
    return 0;
}

static struct shki_value_buffer *buffer_of(const struct shk_value *v, uint64_t version)
{
    return (void *)(v->buffers + version % SHKI_VALUE_BUFFERS * v->stride);
}

/*
 * VA2: acquire, in shki_broadcast_state(); pairs with the release in write_next(): the buffer of
 * this version has been written.
 */
static uint64_t newest(const struct shk_value *v)
{
    return shki_broadcast_sent(shki_broadcast_state(&v->shared->newest));
}

/* ---- Writers ---- */

static int lock(struct shk_value *v, const struct shki_member *m)
{
    return shki_object_lock_writer(&v->object, &v->shared->writer_lock, m, &v->lock_spinner,
                                   "writing");
}

/*
 * With writer_lock: write the next version. Returns it; *before is what the waiters are to be woken
 * with.
 */
static int64_t write_next(struct shk_value *v, const void *data, size_t length, uint64_t *before)
{
    uint64_t next = newest(v) + 1;
    struct shki_value_buffer *b = buffer_of(v, next);

    /* VA1: the version before the bytes. Killed after: the next writer does it all once more. */
    store_relaxed(&b->version, next);
    atomic_thread_fence(memory_order_release); /* VA1: pairs with the fence of VA3 */
    store_relaxed(&b->length, length);
    shki_store_words(b->words, data, length);
    /*
     * VA2: release; commits. Killed before: it has the old version. Killed after: waiters find the
     * new one at the end of their recheck interval.
     */
    *before = shki_broadcast_count(&v->shared->newest, 0);
    return (int64_t)next;
}

/* What a writer does with the lock: decides whether to write, and what. */
struct change {
    const void *data;
    size_t length;
    const uint64_t *only_if; /* it still has that version; NULL: always */
    int64_t *number;         /* to be added to, with the sum in it then; NULL: none */
};

/* With writer_lock: the number that is to be written: 0 or -errno. */
static int add(const struct shk_value *v, struct change *c)
{
    uint64_t version = newest(v);
    const struct shki_value_buffer *b = buffer_of(v, version);
    uint64_t length = load_relaxed(&b->length);
    int64_t number = 0;

    if (version && length != sizeof(number))
        return shki_fail(-EPROTOTYPE, "%s/%s is no number: it has %llu bytes, not 8",
                         v->object.segment->name, v->object.name, (unsigned long long)length);
    if (version)
        number = (int64_t)load_relaxed(&b->words[0]);
    if (__builtin_add_overflow(number, *c->number, c->number))
        return shki_fail(-EOVERFLOW, "%s/%s: the sum does not fit into 64 bits",
                         v->object.segment->name, v->object.name);
    c->data = c->number;
    c->length = sizeof(*c->number);
    return 0;
}

static int64_t change(struct shk_value *v, struct change *c)
{
    struct shki_member *m;
    uint64_t before = 0;
    int64_t r = v ? shki_enter(&v->object, &m) : SHKI_NO_HANDLE;

    if (r < 0)
        return r;
    if (c->data == NULL && c->length > 0)
        return shki_say(-EINVAL, "the data are NULL");
    if (c->length > v->size)
        return shki_fail(-EMSGSIZE, "%s/%s has at most %llu bytes, not %zu",
                         v->object.segment->name, v->object.name, (unsigned long long)v->size,
                         c->length);
    r = lock(v, m);
    if (r < 0)
        return r;
    if (c->only_if && newest(v) != *c->only_if)
        r = shki_object_say(&v->object, -ECANCELED, "the value has another version");
    else
        r = c->number ? add(v, c) : 0;
    if (r == 0)
        r = write_next(v, c->data, c->length, &before);
    shki_mutex_unlock(&v->shared->writer_lock);
    if (r > 0)
        shki_broadcast_wake(v->object.segment, &v->shared->newest, before);
    return r;
}

int64_t shk_value_set(struct shk_value *v, const void *data, size_t length)
{
    return change(v, &(struct change){.data = data, .length = length});
}

int64_t shk_value_compare_and_set(struct shk_value *v, uint64_t version, const void *data,
                                  size_t length)
{
    return change(v, &(struct change){.data = data, .length = length, .only_if = &version});
}

int64_t shk_value_add(struct shk_value *v, int64_t delta, int64_t *result)
{
    int64_t r;

    if (v && v->size < sizeof(delta))
        return shki_fail(-EPROTOTYPE, "%s/%s is no number: it has at most %llu bytes, not 8",
                         v->object.segment->name, v->object.name, (unsigned long long)v->size);
    r = change(v, &(struct change){.number = &delta});
    if (r > 0 && result)
        *result = delta;
    return r;
}

/* ---- Readers ---- */

/*
 * Copy the newest version: true if it is whole; *length is more than `size` if it was not copied.
 */
static inline __attribute__((always_inline)) bool
copy_newest(const struct shk_value *v, void *buf, size_t size, uint64_t *version, uint64_t *length)
{
    const struct shki_value_buffer *b;

    *version = newest(v);
    *length = 0;
    if (*version == 0)
        return true;
    b = buffer_of(v, *version);
    *length = load_relaxed(&b->length);
    if (*length <= size && *length <= v->size)
        shki_load_words(buf, b->words, *length);
    /* VA3: the bytes before the version; pairs with the fence of VA1 */
    atomic_thread_fence(memory_order_acquire);
    return load_relaxed(&b->version) == *version;
}

/* The same with writer_lock, after copies that were spoiled. 0 or -errno. */
static int copy_locked(struct shk_value *v, void *buf, size_t size, uint64_t *version,
                       uint64_t *length)
{
    struct shki_member *m;
    int r = shki_enter(&v->object, &m);

    if (r == 0)
        r = lock(v, m);
    if (r < 0)
        return r;
    if (!copy_newest(v, buf, size, version, length))
        r = shki_fail(-EPROTO, "%s/%s is damaged: its newest version", v->object.segment->name,
                      v->object.name);
    shki_mutex_unlock(&v->shared->writer_lock);
    return r;
}

static __attribute__((noinline)) int enter_slow(struct shk_value *v)
{
    struct shki_member *m;

    return v ? shki_enter(&v->object, &m) : SHKI_NO_HANDLE;
}

/* What was copied, once more with the writers excluded if they have spoiled the copies. */
static __attribute__((noinline)) int copy_again(struct shk_value *v, void *buf, size_t size,
                                                uint64_t *version, uint64_t *length)
{
    for (int tries = 1; tries < TRIES_MAX; tries++) {
        if (copy_newest(v, buf, size, version, length))
            return 0;
    }
    return copy_locked(v, buf, size, version, length);
}

/* -errno: it has more bytes than the buffer, or is damaged. */
static __attribute__((noinline)) ssize_t too_long(const struct shk_value *v, uint64_t length,
                                                  size_t size)
{
    if (length > v->size)
        return shki_fail(-EPROTO, "%s/%s is damaged: its length", v->object.segment->name,
                         v->object.name);
    return shki_fail(-EMSGSIZE, "%s/%s has %llu bytes, the buffer %zu", v->object.segment->name,
                     v->object.name, (unsigned long long)length, size);
}

ssize_t shk_value_get(struct shk_value *v, void *buf, size_t size, uint64_t *version)
{
    uint64_t length = 0, copied = 0;
    int r = v && shki_is_entered(&v->object) ? 0 : enter_slow(v);

    if (r < 0)
        return r;
    if (buf == NULL && size > 0)
        return shki_say(-EINVAL, "the buffer is NULL");
    if (!copy_newest(v, buf, size, &copied, &length)) {
        r = copy_again(v, buf, size, &copied, &length);
        if (r < 0)
            return r;
    }
    if (length > size || length > v->size)
        return too_long(v, length, size);
    if (load_relaxed(&v->got) != copied) /* the line is shared by the threads of the process */
        store_relaxed(&v->got, copied);
    if (version)
        *version = copied;
    return (ssize_t)length;
}

int64_t shk_value_wait(struct shk_value *v, uint64_t version, int64_t timeout)
{
    struct shki_deadline deadline;
    struct shki_member *m;
    uint64_t state;
    int r = v ? shki_enter(&v->object, &m) : SHKI_NO_HANDLE;

    for (unsigned waits = 0; r == 0; waits++) {
        state = shki_broadcast_state(&v->shared->newest);
        if (shki_broadcast_sent(state) > version)
            return (int64_t)shki_broadcast_sent(state);
        if (waits == 0)
            deadline = shki_object_deadline(&v->object, timeout, "there is no newer version");
        r = shki_broadcast_wait(&v->object, &v->shared->newest, &v->spinner, m,
                                SHK_WAITS_FOR_VERSION, state, &deadline);
    }
    return r;
}

int64_t shk_value_version(struct shk_value *v)
{
    int r = enter_slow(v);

    return r < 0 ? r : (int64_t)newest(v);
}

ssize_t shk_value_size(struct shk_value *v)
{
    int r = enter_slow(v);

    return r < 0 ? r : (ssize_t)v->size;
}

/* ---- The kind ---- */

static bool is_ready(const struct shki_watch *w)
{
    const struct shk_value *v = w->handle;

    return newest(v) != load_relaxed(&v->got);
}

static void unref(void *value)
{
    shk_value_close(value);
}

static void watch(void *handle, uint32_t want, struct shki_watch *w)
{
    struct shk_value *v = handle;

    (void)want;
    *w = (struct shki_watch){.object = &v->object,
                             .refs = &v->object.refs,
                             .watched = &v->shared->newest.watched,
                             .handle = v,
                             .is_ready = is_ready,
                             .unref = unref};
}

static void wake_at_unlink(struct shki_object *o)
{
    shki_broadcast_unlink(&((struct shki_value_shared *)(void *)o->shared)->newest);
}

static void wake_at_close(struct shki_object *o, uint32_t waits_for)
{
    if (waits_for == SHK_WAITS_FOR_VERSION)
        shki_broadcast_wake_all(&((struct shki_value_shared *)(void *)o->shared)->newest);
}

static void describe(const struct shki_image *image, const struct shki_entry *e, const void *shared,
                     struct shk_object_info *info)
{
    const struct shki_value_shared *value = shared;
    struct shki_value_buffer b;
    uint64_t version = shki_broadcast_sent(load_relaxed(&value->newest.state)), at;

    info->as.value.size = value->size;
    info->as.value.version = version;
    if (version == 0 || value->size > SIZE_LARGEST)
        return;
    at = SHKI_VALUE_OFFSET + version % SHKI_VALUE_BUFFERS * shki_value_stride(value->size);
    if (shki_image_has(image, e, at + sizeof(b)) &&
        shki_image_read(image, e->offset + at, &b, sizeof(b)))
        info->as.value.length = load_relaxed(&b.length);
}

const struct shki_kind shki_value_kind = {
    .number = SHK_KIND_VALUE,
    .name = "a value",
    .size = sizeof(struct shki_value_shared),
    .mutex_offset = {offsetof(struct shki_value_shared, writer_lock)},
    .build = build,
    .check = check,
    .wake_at_unlink = wake_at_unlink,
    .wake_at_close = wake_at_close,
    .watchable = SHK_READABLE,
    .watch = watch,
    .describe = describe,
};
