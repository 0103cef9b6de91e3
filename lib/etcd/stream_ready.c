/* A reader of a stream in a set. The set keeps the reader, whose view is watched anyway. */
#include "etcd/stream.h"

/*
 * A block has come: the last one is kept, however short the history is. Or the last writer by role
 * has gone.
 */
static bool is_ready(const struct shki_watch *w)
{
    const struct shk_reader *reader = w->handle;
    struct shke_stream *st = shke_stream_of(reader->stream);
    bool is;

    pthread_mutex_lock(&st->object.lock);
    is = st->end > (int64_t)load_relaxed(&reader->position) ||
         shke_roles_has_ended(&st->roles, &reader->stream->roles, SHKI_PRODUCERS);
    pthread_mutex_unlock(&st->object.lock);
    return is;
}

static void keep_roles(void *handle)
{
    const struct shk_reader *reader = handle;
    struct shke_stream *st = shke_stream_of(reader->stream);

    shke_roles_keep_set(&st->object, &st->roles);
}

/*
 * The set has the last reference, and the role of the stream's handle ends with it: there is no
 * caller that could close it once more. Tried until that is done, or until the lease has ended, and
 * the role with it: that needs no answer.
 */
static void unref(void *reader)
{
    while (shke_reader_close(reader) == -EHOSTUNREACH)
        continue;
}

int shke_reader_begin_watch(struct shke_object *o, void *handle, uint32_t want,
                            struct shki_watch *w)
{
    struct shk_reader *reader = handle;

    (void)o;
    (void)want;
    w->handle = reader;
    w->refs = &reader->refs;
    w->is_ready = is_ready;
    w->repair = keep_roles;
    w->unref = unref;
    return 0;
}
