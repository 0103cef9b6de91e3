/* The readers of a stream on etcd. See stream.h. */
#include "etcd/stream.h"

#include <shmkit/inspect.h>
#include <stdlib.h>

enum { LATE = 1 };

static const struct shke_trial untimed = {.limit = SHKE_LIMIT};

int shke_reader_open(struct shk_stream *handle, uint32_t from, struct shk_reader **out)
{
    struct shke_stream *st = shke_stream_of(handle);
    struct shki_saved_error saved;
    struct shk_reader *reader;
    int64_t revision, position;
    int r = shke_enter(&handle->object, &st->object);

    if (r < 0)
        return r;
    if (from != SHK_OLDEST && from != SHK_NEXT)
        return shke_fail(-EINVAL, "a reader begins at SHK_OLDEST or SHK_NEXT");
    reader = calloc(1, sizeof(*reader)); /* zero, but for its stream and what it counts */
    if (reader == NULL)
        return shke_fail(-ENOMEM, "out of memory");
    shke_host->error_save(&saved);
    r = shke_stream_view_start(st, &untimed);
    if (r == 0)
        r = shke_stream_look(st, &untimed, &revision);
    if (r < 0) {
        free(reader);
        return shke_host->error_settle(r, &saved);
    }
    pthread_mutex_lock(&st->object.lock);
    position = st->position;
    pthread_mutex_unlock(&st->object.lock);
    if (from == SHK_OLDEST)
        position -= position < (int64_t)st->history ? position : (int64_t)st->history;
    store_relaxed(&reader->position, (uint64_t)position);
    reader->stream = handle;
    shki_object_ref(&handle->object);
    *out = reader;
    return shke_host->error_settle(0, &saved);
}

int shke_reader_close(struct shk_reader *reader)
{
    int r;

    if (fetch_sub_acq_rel(&reader->refs, 1) != 0)
        return 0; /* a set has it */
    r = shke_stream_unref(reader->stream);
    if (r == 0)
        free(reader);
    else
        fetch_add_relaxed(&reader->refs, 1);
    return r;
}

/* With the object's lock: what has come, and what has been missed. */
static size_t take(struct shke_stream *st, struct shk_reader *reader, void *buf, int64_t *stamps,
                   size_t n)
{
    int64_t before = (int64_t)load_relaxed(&reader->position), position = before;
    size_t got = shke_stream_copy(st, &position, buf, stamps, n);

    if (got == 0)
        return 0;
    reader->dropped += position - before;
    store_relaxed(&reader->position, (uint64_t)position + got);
    return got;
}

/*
 * With the object's lock, by a reader that does not wait, or that is told that the last writer has
 * gone: the view may be behind what has been appended. It is waited for, until it has that: 0;
 * LATE: it has not been told that in time; or an error.
 */
static int catch_up(struct shke_stream *st, const struct shki_deadline *deadline)
{
    const struct shke_trial trial = {.deadline = deadline};
    int64_t revision, end, until;
    int r;

    pthread_mutex_unlock(&st->object.lock);
    r = shke_stream_look(st, &trial, &revision);
    pthread_mutex_lock(&st->object.lock);
    end = st->position;
    until = shke_now() + SHKE_GRACE;
    while (r == 0 && st->end < end && shke_now() < until) {
        struct shki_deadline patient = *deadline;

        patient.at = SHKI_NEVER;
        r = load_relaxed(&st->object.is_gone) ? shke_stale(&st->object)
                                              : shke_object_sleep(&st->object, &patient);
    }
    return r == 0 && st->end < end ? LATE : r;
}

static int say_late(const struct shke_stream *st)
{
    return shke_fail(-EHOSTUNREACH, "%s/%s: etcd does not tell of the samples that there are",
                     st->object.segment->segment.name, st->object.name);
}

/* With the object's lock. */
static int say_ended(struct shk_reader *reader)
{
    const struct shke_stream *st = shke_stream_of(reader->stream);

    return shke_roles_say_ended(&reader->stream->object, &st->roles.sides[SHKI_PRODUCERS],
                                &reader->told, "the last writer has gone, and all samples are read",
                                "all samples are read, and a writer has died");
}

ssize_t shke_reader_read(struct shk_reader *reader, void *buf, int64_t *stamps, size_t n,
                         int64_t timeout)
{
    struct shke_stream *st = shke_stream_of(reader->stream);
    const struct shki_roles *roles = &reader->stream->roles;
    struct shki_deadline deadline;
    struct shki_saved_error saved;
    struct shke_waiting waiting;
    bool has_waited = false, has_ended = false;
    size_t got;
    int r = shke_enter(&reader->stream->object, &st->object);

    if (r < 0)
        return r;
    shke_host->error_save(&saved);
    deadline = shke_host->deadline(&reader->stream->object, timeout, "there are no new samples");
    shke_waiting_begin(&waiting, &st->object, SHK_WAITS_FOR_SAMPLES, &deadline);
    shke_roles_keep(&st->object, &st->roles, &(struct shke_trial){.deadline = &deadline});
    pthread_mutex_lock(&st->object.lock);
    while ((got = take(st, reader, buf, stamps, n)) == 0 && r == 0) {
        if (load_relaxed(&st->object.is_gone)) {
            r = shke_stale(&st->object);
        } else if (shke_roles_has_ended(&st->roles, roles, SHKI_PRODUCERS)) {
            /* all that they have appended is there before it is said */
            r = has_ended ? say_ended(reader) : catch_up(st, &deadline);
            r = r == LATE ? say_late(st) : r;
            has_ended = true;
        } else if (!has_waited && shke_host->deadline_has_passed(&deadline)) {
            r = catch_up(st, &deadline);
            r = r == LATE ? 0 : r;
        } else {
            has_ended = false; /* the next end is another line's */
            shke_roles_keep_waiting(&st->object, &st->roles);
            r = shke_object_wait(&st->object, &deadline);
        }
        has_waited = true;
    }
    pthread_mutex_unlock(&st->object.lock);
    shke_waiting_end(&waiting);
    r = shke_host->error_settle(got > 0 ? 0 : r, &saved);
    return got > 0 ? (ssize_t)got : r;
}

ssize_t shke_reader_latest(struct shk_reader *reader, void *buf, int64_t *stamps, size_t n)
{
    struct shke_stream *st = shke_stream_of(reader->stream);
    int64_t position;
    size_t got;
    int r = shke_enter(&reader->stream->object, &st->object);

    if (r < 0)
        return r;
    if (buf == NULL && n > 0)
        return shke_fail(-EINVAL, "the buffer is NULL, or has no room for a sample");
    pthread_mutex_lock(&st->object.lock);
    n = n < st->history ? n : st->history;
    position = st->end > (int64_t)n ? st->end - (int64_t)n : 0;
    got = n ? shke_stream_copy(st, &position, buf, stamps, n) : 0;
    pthread_mutex_unlock(&st->object.lock);
    return (ssize_t)got;
}
