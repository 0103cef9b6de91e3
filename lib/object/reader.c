/* Readers of a stream: the protocol is told in stream.h. */
#include "object/stream.h"

#include "base/words.h"
#include "object/remote.h"
#include "object/watch.h"

#include <shmkit/inspect.h>
#include <stdlib.h>
#include <string.h>

/* copies that a writer has overtaken, of a reader that does not wait, or not any longer */
#define TRIES_MAX 10

static uint64_t position_of(const struct shk_reader *reader)
{
    return load_relaxed(&reader->position);
}

static void set_position(struct shk_reader *reader, uint64_t position)
{
    store_relaxed(&reader->position, position);
}

int shk_reader_open(struct shk_stream *st, uint32_t from, struct shk_reader **out)
{
    struct shki_member *m;
    struct shk_reader *reader;
    uint64_t position;
    int r;

    if (out == NULL)
        return SHKI_NO_HANDLE;
    *out = NULL;
    r = st ? shki_enter(&st->object, &m) : SHKI_NO_HANDLE;
    if (r < 0)
        return SHKI_ELSEWHERE(r, st, stream, reader_open, (st, from, out));
    if (from != SHK_OLDEST && from != SHK_NEXT)
        return shki_say(-EINVAL, "a reader begins at SHK_OLDEST or SHK_NEXT");
    reader = calloc(1, sizeof(*reader));
    if (reader == NULL)
        return shki_say(-ENOMEM, "out of memory");
    reader->stream = st;
    shki_object_ref(&st->object);
    position = shki_stream_published(st);
    if (from == SHK_OLDEST)
        position -= position < st->history ? position : st->history;
    set_position(reader, position);
    *out = reader;
    return 0;
}

int shk_reader_close(struct shk_reader *reader)
{
    if (reader && reader->stream->object.segment->remote)
        return reader->stream->object.segment->remote->stream->reader_close(reader);
    if (reader == NULL || fetch_sub_acq_rel(&reader->refs, 1) > 0)
        return 0;
    shki_stream_unref(reader->stream);
    free(reader);
    return 0;
}

/*
 * Copy up to n published samples from `position` on, and their time stamps unless that is NULL.
 * Returns how many are whole, and moves them to the front; *position is then where the first of
 * them was.
 */
static size_t copy_samples(const struct shk_stream *st, uint64_t *position, void *buf,
                           int64_t *stamps, size_t n)
{
    uint64_t end = shki_stream_published(st), from = *position, lowest, claimed;

    if (end - from > st->slots) /* lapped: those samples are gone */
        from = end - st->history;
    if (n > end - from)
        n = end - from;
    for (size_t i = 0; i < n; i++)
        shki_load_words((unsigned char *)buf + i * st->sample_size, shki_stream_words(st, from + i),
                        st->sample_size);
    for (size_t i = 0; stamps && i < n; i++)
        stamps[i] = (int64_t)load_relaxed(shki_stream_stamp(st, from + i));
    /* ST3: the samples before this load; pairs with the fence of ST1 */
    atomic_thread_fence(memory_order_acquire);
    claimed = load_relaxed(&st->shared->claimed);
    lowest = claimed > st->slots ? claimed - st->slots : 0;
    if (lowest > from) {
        uint64_t torn = lowest - from < n ? lowest - from : n;

        n -= torn;
        memmove(buf, (unsigned char *)buf + torn * st->sample_size, n * st->sample_size);
        if (stamps)
            memmove(stamps, stamps + torn, n * sizeof(*stamps));
        from += torn;
    }
    *position = from;
    return n;
}

static bool has_unread(const struct shk_reader *reader)
{
    return shki_stream_published(reader->stream) != position_of(reader);
}

static bool has_samples(const void *arg)
{
    const struct shk_reader *reader = arg;

    return has_unread(reader) || shki_object_is_stale(&reader->stream->object) ||
           shki_roles_has_ended(&reader->stream->object, &reader->stream->roles, SHKI_PRODUCERS);
}

/* Whether the last writer by role has gone; its death is found. */
static bool has_ended(struct shk_reader *reader)
{
    struct shk_stream *st = reader->stream;

    return shki_roles_check(&st->object, &st->roles, SHKI_PRODUCERS);
}

/*
 * Sleep until samples have been appended, for a recheck interval at most: a writer may have died
 * before it woke the readers. `quiet`: intervals in a row without a wake-up.
 */
static int sleep_once(struct shk_reader *reader, struct shki_member *m,
                      const struct shki_deadline *deadline, unsigned *quiet)
{
    struct shk_stream *st = reader->stream;
    struct shki_deadline recheck = shki_deadline_within_recheck(deadline, *quiet);
    struct shki_saved_error saved;
    int r;

    r = shki_waitlist_lock(&st->line);
    if (r < 0)
        return r;
    shki_waitlist_enter(&st->line, m);
    /* ST5: in the waitlist before the load of ST2; pairs with ST4 */
    atomic_thread_fence(memory_order_seq_cst);
    if (has_samples(reader))
        recheck.at = 0; /* leave the waitlist at once */
    shki_waitlist_unlock(&st->line);
    shki_error_save(&saved);
    r = shki_waitlist_sleep(&st->line, m, &recheck);
    if (r == 0)
        shki_waitlist_resume(m);
    *quiet = r == 0 ? 0 : *quiet + 1;
    /* the caller checks its own deadline */
    return shki_error_settle(r == -ETIMEDOUT ? 0 : r, &saved);
}

static int wait_for_samples(struct shk_reader *reader, struct shki_member *m,
                            const struct shki_deadline *deadline)
{
    struct shk_stream *st = reader->stream;
    int r = shki_deadline_check(deadline);
    unsigned quiet = 0;

    if (r < 0 || shki_spin(&reader->spinner, has_samples, reader))
        return r;
    shki_object_sleeps(&st->object, m, SHK_WAITS_FOR_SAMPLES, shki_waits_how(deadline));
    while (r == 0 && !has_samples(reader)) {
        r = sleep_once(reader, m, deadline, &quiet);
        has_ended(reader);
        if (shki_presence(st->object.entry, SHKI_PRODUCERS))
            quiet = 0; /* only a recheck finds the death of a writer */
        if (r == 0 && !has_samples(reader))
            r = shki_deadline_check(deadline);
    }
    shki_member_is_awake();
    return r;
}

static ssize_t read_samples(struct shk_reader *reader, void *buf, int64_t *stamps, size_t n,
                            int64_t timeout)
{
    struct shki_deadline deadline;
    struct shki_saved_error saved;
    struct shki_member *m;
    uint64_t position;
    bool ended = false;
    size_t got;
    int r;

    if (reader == NULL)
        return SHKI_NO_HANDLE;
    if (buf == NULL || n == 0)
        return shki_say(-EINVAL, "the buffer is NULL, or has no room for a sample");
    r = shki_enter(&reader->stream->object, &m);
    if (r < 0)
        return SHKI_ELSEWHERE(r, reader->stream, stream, read, (reader, buf, stamps, n, timeout));
    for (int tries = 0;; tries++) {
        position = position_of(reader);
        got = copy_samples(reader->stream, &position, buf, stamps, n);
        reader->dropped += (int64_t)(position - position_of(reader));
        set_position(reader, position + got);
        /*
         * The append released the reader, and came before what ended the wait: an unlink, or the
         * end of the deadline.
         */
        if (got > 0 && r < 0)
            shki_error_settle(0, &saved);
        if (got > 0)
            return (ssize_t)got;
        if (r < 0)
            return r;
        if (ended)
            return shki_roles_say_ended(&reader->stream->object, &reader->told,
                                        "the last writer has gone, and all samples are read",
                                        "all samples are read, and a writer has died");
        if (tries == 0) /* one deadline, however often the reader is lapped */
            deadline =
                shki_object_deadline(&reader->stream->object, timeout, "there are no new samples");
        if (tries < TRIES_MAX && has_unread(reader))
            continue;
        ended = has_ended(reader); /* and then once more: what was written before can be read */
        if (ended)
            continue;
        shki_error_save(&saved);
        r = shki_object_is_stale(&reader->stream->object) ? shki_stale(&reader->stream->object)
                                                          : wait_for_samples(reader, m, &deadline);
    }
}

/* What takes stamps needs room for them, and a stream that has some. Returns 0, or -EINVAL. */
static int check_stamps(const struct shk_reader *reader, const int64_t *stamps, size_t n)
{
    if (reader == NULL)
        return SHKI_NO_HANDLE;
    if (stamps == NULL && n > 0)
        return shki_say(-EINVAL, "the time stamps are NULL");
    if (!reader->stream->stamped)
        return shki_fail(-EINVAL, "%s/%s is a stream without time stamps",
                         reader->stream->object.segment->name, reader->stream->object.name);
    return 0;
}

ssize_t shk_reader_read(struct shk_reader *reader, void *buf, size_t n, int64_t timeout)
{
    return read_samples(reader, buf, NULL, n, timeout);
}

ssize_t shk_reader_read_stamped(struct shk_reader *reader, void *buf, int64_t *stamps, size_t n,
                                int64_t timeout)
{
    int r = check_stamps(reader, stamps, n);

    return r < 0 ? r : read_samples(reader, buf, stamps, n, timeout);
}

static ssize_t latest(struct shk_reader *reader, void *buf, int64_t *stamps, size_t n)
{
    struct shki_member *m;
    uint64_t position;
    size_t got = 0;
    int r = reader ? shki_enter(&reader->stream->object, &m) : SHKI_NO_HANDLE;

    if (r < 0)
        return SHKI_ELSEWHERE(r, reader->stream, stream, latest, (reader, buf, stamps, n));
    if (buf == NULL && n > 0)
        return shki_say(-EINVAL, "the buffer is NULL, or has no room for a sample");
    if (n > reader->stream->history)
        n = reader->stream->history;
    for (int tries = 0; got == 0 && tries < TRIES_MAX; tries++) {
        position = shki_stream_published(reader->stream);
        if (position == 0 || n == 0)
            break;
        position -= position < n ? position : n;
        got = copy_samples(reader->stream, &position, buf, stamps, n);
    }
    return (ssize_t)got;
}

ssize_t shk_reader_latest(struct shk_reader *reader, void *buf, size_t n)
{
    return latest(reader, buf, NULL, n);
}

ssize_t shk_reader_latest_stamped(struct shk_reader *reader, void *buf, int64_t *stamps, size_t n)
{
    int r = check_stamps(reader, stamps, n);

    return r < 0 ? r : latest(reader, buf, stamps, n);
}

int64_t shk_reader_dropped(struct shk_reader *reader)
{
    return reader ? reader->dropped : SHKI_NO_HANDLE;
}

static void unref(void *reader)
{
    shk_reader_close(reader);
}

static bool is_ready(const struct shki_watch *w)
{
    const struct shk_reader *reader = w->handle;

    return has_unread(reader) ||
           shki_roles_has_ended(w->object, &reader->stream->roles, SHKI_PRODUCERS);
}

static void find_last_writer_dead(void *reader)
{
    has_ended(reader);
}

const struct shki_object *shki_stream_of_reader(const void *reader)
{
    return &((const struct shk_reader *)reader)->stream->object;
}

void shki_stream_watch(void *handle, uint32_t want, struct shki_watch *w)
{
    struct shk_reader *reader = handle;
    struct shk_stream *st = reader->stream;

    (void)want;
    *w = (struct shki_watch){.object = &st->object,
                             .refs = &reader->refs,
                             .watched = &st->shared->watched,
                             .handle = reader,
                             .repair = find_last_writer_dead,
                             .prompt = &st->object.entry->line[SHKI_PRODUCERS],
                             .is_ready = is_ready,
                             .unref = unref};
}
