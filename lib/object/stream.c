/*
 * A ring that is overwritten, with two marks:
 *
 *     claimed - slots          published        claimed
 *          |  can be read whole   |  being written |
 *          v                      v                v
 *     .....[======================][~~~~~~~~~~~~~~~]       position p is in slot p & mask
 *
 * The writer first moves `claimed` (T1), then writes, then moves `published` (T2). A reader copies
 * what is published and then looks at `claimed` (T3): what lies more than a ring below it may have
 * been overwritten while it was copied, and is thrown away. `claimed` never goes back, not even
 * when a writer dies between the two: what it has spoiled stays spoiled. Source: H. Boehm, "Can
 * seqlocks get along with programming language memory models?", MSPC 2012.
 */
#include "object/stream.h"

#include "object/watch.h"

#include <shmkit/inspect.h>
#include <shmkit/stream.h>
#include <stdlib.h>
#include <string.h>

#define SAMPLE_MAX      65536u
#define HISTORY_MAX     (UINT64_C(1) << 30)
#define HISTORY_DEFAULT 4096u
#define PIECE_MAX       1024u /* samples that one step of an append writes at the most */
/* an append lasts microseconds; who is in one longer is stopped */
#define WRITER_LIMIT SHK_SEC(10)
/* to copy what is overwritten meanwhile, of a reader that does not wait, or not any longer */
#define TRIES_MAX 10

struct shk_stream {
    struct shki_object object;
    struct shki_stream_shared *shared;

    /* Validated copies. */
    uint64_t history, slots, piece;
    size_t sample_size, stride;
    unsigned char *samples;

    struct shki_spinner lock_spinner;
    struct shki_waitlist line;
};

struct shk_reader {
    struct shk_stream *stream;
    /* relaxed: written by the one thread that reads, looked at by one that watches for it */
    _Atomic uint64_t position;
    int64_t dropped;
    _Atomic unsigned refs; /* as of an object */
    struct shki_spinner spinner;
};

static uint64_t piece_for(uint64_t history)
{
    return history / 4 == 0 ? 1 : history / 4 < PIECE_MAX ? history / 4 : PIECE_MAX;
}

/* More than the history, so that all of it can be read while the next piece is being written. */
static uint64_t slots_for(uint64_t history)
{
    uint64_t n = 1;

    while (n < history + piece_for(history))
        n *= 2;
    return n;
}

static int build(struct shki_object *o, const struct shki_plan *plan)
{
    const struct shk_stream_options *options = plan->options;
    struct shki_stream_shared *shared = (void *)o->shared;
    int r;

    shared->sample_size = options->sample_size;
    shared->history = options->history ? options->history : HISTORY_DEFAULT;
    shared->slots = slots_for(shared->history);
    shared->samples_offset = shki_round_up(sizeof(*shared), 64);
    r = shki_robust_init(&shared->writer_lock.robust);
    return r < 0 ? r : shki_waitlist_init(&shared->waiters);
}

static int check(struct shki_object *o, const struct shki_plan *plan)
{
    const struct shk_stream_options *options = plan->options;
    struct shk_stream *st = (struct shk_stream *)o;
    struct shki_stream_shared *shared = (void *)o->shared;
    uint64_t sample_size = shared->sample_size, history = shared->history, slots = shared->slots,
             at = shared->samples_offset;
    uint64_t stride = shki_round_up(sample_size, sizeof(uint64_t));

    if (sample_size < 1 || sample_size > SAMPLE_MAX || history < 1 || history > HISTORY_MAX ||
        slots != slots_for(history) || at < sizeof(*shared) || at % sizeof(uint64_t) ||
        at > o->size || (o->size - at) / stride < slots)
        return shki_fail(-EPROTO, "%s/%s is damaged: its geometry", o->segment->name, o->name);
    if ((options->sample_size && options->sample_size != sample_size) ||
        (options->history && options->history != history))
        return shki_fail(-EPROTOTYPE,
                         "%s/%s is a stream of samples of %llu bytes with a history of %llu",
                         o->segment->name, o->name, (unsigned long long)sample_size,
                         (unsigned long long)history);
    st->shared = shared;
    st->history = history;
    st->slots = slots;
    st->piece = piece_for(history);
    st->sample_size = sample_size;
    st->stride = stride;
    st->samples = o->shared + at;
    return 0;
}

int shk_stream_open(struct shk_segment *segment, const char *name, unsigned flags,
                    const struct shk_stream_options *options, struct shk_stream **out)
{
    static const struct shk_stream_options defaults;
    struct shki_plan plan = {.kind = &shki_stream_kind};
    struct shk_stream *st;
    int r;

    if (out == NULL)
        return SHKI_NO_HANDLE;
    *out = NULL;
    plan.options = options = options ? options : &defaults;
    if (options->sample_size > SAMPLE_MAX || options->history > HISTORY_MAX)
        return shki_say(
            -EINVAL,
            "the sample size is more than 65536 bytes, or the history more than 2^30 samples");
    r = shki_check_reserved(options->reserved, 8);
    if (r < 0)
        return r;
    if (options->sample_size == 0) {
        plan.cannot_create = -EINVAL;
        plan.why = "a new stream needs a sample size";
    }
    plan.size = shki_round_up(sizeof(struct shki_stream_shared), 64) +
                slots_for(options->history ? options->history : HISTORY_DEFAULT) *
                    shki_round_up(options->sample_size, sizeof(uint64_t));
    st = calloc(1, sizeof(*st));
    if (st == NULL)
        return shki_say(-ENOMEM, "out of memory");
    r = shki_object_open(segment, name, flags, &plan, &st->object);
    if (r < 0)
        goto fail;
    r = shki_object_waitlist(&st->object, &shki_stream_kind, &st->line);
    if (r < 0) {
        shki_object_close(&st->object);
        goto fail;
    }
    *out = st;
    return 0;
fail:
    free(st);
    return r;
}

int shk_stream_close(struct shk_stream *st)
{
    if (st == NULL || !shki_object_unref(&st->object))
        return 0;
    shki_waitlist_close(&st->line);
    shki_object_close(&st->object);
    free(st);
    return 0;
}

static _Atomic uint64_t *words_at(const struct shk_stream *st, uint64_t position)
{
    return (_Atomic uint64_t *)(void *)(st->samples + (position & (st->slots - 1)) * st->stride);
}

/*
 * Word by word and atomic, for a reader may be copying the same: relaxed, because the marks and
 * fences around it order it.
 */
static void write_sample(const struct shk_stream *st, uint64_t position, const unsigned char *from)
{
    _Atomic uint64_t *to = words_at(st, position);
    uint64_t word;
    size_t left = st->sample_size;

    for (; left >= sizeof(word); left -= sizeof(word), from += sizeof(word)) {
        memcpy(&word, from, sizeof(word));
        store_relaxed(to++, word);
    }
    if (left) {
        word = 0;
        memcpy(&word, from, left);
        store_relaxed(to, word);
    }
}

static void read_sample(const struct shk_stream *st, uint64_t position, unsigned char *to)
{
    const _Atomic uint64_t *from = words_at(st, position);
    uint64_t word;
    size_t left = st->sample_size;

    for (; left >= sizeof(word); left -= sizeof(word), to += sizeof(word)) {
        word = load_relaxed(from++);
        memcpy(to, &word, sizeof(word));
    }
    if (left) {
        word = load_relaxed(from);
        memcpy(to, &word, left);
    }
}

static uint64_t published(const struct shk_stream *st)
{
    /* T2: acquire; pairs with the release in append: the samples below it have been written. */
    return load_acquire(&st->shared->published);
}

/* With the writer_lock. */
static void append_piece(struct shk_stream *st, const unsigned char *samples, uint64_t n)
{
    struct shki_stream_shared *shared = st->shared;
    /* ours: the writer_lock orders it */
    uint64_t from = load_relaxed(&shared->published);

    /*
     * Not backwards: a writer that died may have claimed more. Killed after this: readers lose the
     * oldest n, which nobody has overwritten.
     */
    if (from + n > load_relaxed(&shared->claimed))
        store_relaxed(&shared->claimed, from + n); /* T1 */
    /* T1 before the samples; pairs with the fence in T3 */
    atomic_thread_fence(memory_order_release);
    for (uint64_t i = 0; i < n; i++)
        write_sample(st, from + i, samples + i * st->sample_size);
    /* T2: commits. Killed before: the next writer writes the same slots anew. */
    store_release(&shared->published, from + n);
}

/*
 * Wake the readers that sleep, without waiting for one that is in the middle of a change: it does
 * it then.
 */
static void wake_readers(struct shk_stream *st)
{
    /* T4, A4: T2 before these looks; pairs with T5 and A3 */
    atomic_thread_fence(memory_order_seq_cst);
    shki_watched_wake(st->object.segment, &st->shared->watched);
    if (unlikely(!shki_waitlist_is_empty(&st->line)))
        shki_waitlist_request(&st->line);
}

int shk_stream_append(struct shk_stream *st, const void *samples, size_t n)
{
    struct shki_deadline deadline = {.at = SHKI_NEVER};
    struct shki_member *m;
    const unsigned char *from = samples;
    int r = st ? shki_enter(&st->object, &m) : SHKI_NO_HANDLE;

    if (r < 0)
        return r;
    if (samples == NULL && n > 0)
        return shki_say(-EINVAL, "the samples are NULL");
    r = shki_mutex_trylock(&st->shared->writer_lock, m->id);
    if (r < 0) {
        deadline = shki_deadline(WRITER_LIMIT, NULL);
        r = shki_mutex_lock(&st->shared->writer_lock, &deadline, m->id, &st->lock_spinner,
                            &st->object.segment->recovery, NULL, NULL);
    }
    if (r == -ETIMEDOUT)
        return shki_fail(-EBUSY, "%s/%s: thread %d has been appending for 10 s; it may be stopped",
                         st->object.segment->name, st->object.name,
                         (int)shki_robust_holder(&st->shared->writer_lock.robust));
    if (r < 0)
        return r;
    if (r == 1)
        fetch_add_relaxed(&st->shared->repairs.holders_lost, 1);
    while (n > 0) {
        uint64_t piece = n < st->piece ? n : st->piece;

        append_piece(st, from, piece);
        from += piece * st->sample_size;
        n -= piece;
    }
    shki_mutex_unlock(&st->shared->writer_lock);
    wake_readers(st);
    return 0;
}

int64_t shk_stream_position(struct shk_stream *st)
{
    struct shki_member *m;
    int r = st ? shki_enter(&st->object, &m) : SHKI_NO_HANDLE;

    return r < 0 ? r : (int64_t)published(st);
}

ssize_t shk_stream_sample_size(struct shk_stream *st)
{
    struct shki_member *m;
    int r = st ? shki_enter(&st->object, &m) : SHKI_NO_HANDLE;

    return r < 0 ? r : (ssize_t)st->sample_size;
}

ssize_t shk_stream_history(struct shk_stream *st)
{
    struct shki_member *m;
    int r = st ? shki_enter(&st->object, &m) : SHKI_NO_HANDLE;

    return r < 0 ? r : (ssize_t)st->history;
}

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
        return r;
    if (from != SHK_OLDEST && from != SHK_NEXT)
        return shki_say(-EINVAL, "a reader begins at SHK_OLDEST or SHK_NEXT");
    reader = calloc(1, sizeof(*reader));
    if (reader == NULL)
        return shki_say(-ENOMEM, "out of memory");
    reader->stream = st;
    shki_object_ref(&st->object);
    position = published(st);
    if (from == SHK_OLDEST)
        position -= position < st->history ? position : st->history;
    set_position(reader, position);
    *out = reader;
    return 0;
}

int shk_reader_close(struct shk_reader *reader)
{
    if (reader == NULL || fetch_sub_acq_rel(&reader->refs, 1) > 0)
        return 0;
    shk_stream_close(reader->stream);
    free(reader);
    return 0;
}

/*
 * Copy up to n published samples from `position` on. Returns how many are whole, and moves them to
 * the front of buf; *position is then where the first of them was.
 */
static size_t copy_samples(const struct shk_stream *st, uint64_t *position, void *buf, size_t n)
{
    uint64_t end = published(st), from = *position, lowest, claimed;

    if (end - from > st->slots) /* lapped: no use in copying what is gone */
        from = end - st->history;
    if (n > end - from)
        n = end - from;
    for (size_t i = 0; i < n; i++)
        read_sample(st, from + i, (unsigned char *)buf + i * st->sample_size);
    /* T3: the samples before this look; pairs with the fence after T1 */
    atomic_thread_fence(memory_order_acquire);
    claimed = load_relaxed(&st->shared->claimed);
    lowest = claimed > st->slots ? claimed - st->slots : 0;
    if (lowest > from) {
        uint64_t torn = lowest - from < n ? lowest - from : n;

        n -= torn;
        memmove(buf, (unsigned char *)buf + torn * st->sample_size, n * st->sample_size);
        from += torn;
    }
    *position = from;
    return n;
}

static bool has_unread(const struct shk_reader *reader)
{
    return published(reader->stream) != position_of(reader);
}

static bool has_samples(const void *arg)
{
    const struct shk_reader *reader = arg;

    return has_unread(reader) || shki_object_is_stale(&reader->stream->object);
}

/*
 * Sleep until something has been appended, a slice at the most: a writer may have died before it
 * woke anybody.
 */
static int sleep_a_slice(struct shk_reader *reader, struct shki_member *m,
                         const struct shki_deadline *deadline)
{
    struct shk_stream *st = reader->stream;
    struct shki_deadline slice = *deadline;
    struct shki_saved_error saved;
    int64_t end = shki_now() + SHKI_RECHECK;
    int r;

    if (slice.at > end && shki_repair_enabled(SHKI_REPAIR_BACKSTOP))
        slice.at = end;
    r = shki_waitlist_lock(&st->line);
    if (r < 0)
        return r;
    shki_waitlist_enter(&st->line, m);
    /* T5: in the line before this look at T2; pairs with T4 */
    atomic_thread_fence(memory_order_seq_cst);
    if (has_samples(reader))
        slice.at = 0; /* leave the line at once */
    shki_waitlist_unlock(&st->line);
    shki_error_save(&saved);
    r = shki_waitlist_sleep(&st->line, m, &slice);
    if (r == 0)
        shki_waitlist_resume(m);
    /* whether the time is over is the caller's to say */
    return shki_error_settle(r == -ETIMEDOUT ? 0 : r, &saved);
}

static int wait_for_samples(struct shk_reader *reader, struct shki_member *m,
                            const struct shki_deadline *deadline)
{
    struct shk_stream *st = reader->stream;
    int r = shki_deadline_check(deadline);

    if (r < 0 || shki_spin(&reader->spinner, has_samples, reader))
        return r;
    shki_object_sleeps(&st->object, m, SHK_WAITS_FOR_SAMPLES, shki_waits_how(deadline));
    while (r == 0 && !has_samples(reader)) {
        r = sleep_a_slice(reader, m, deadline);
        if (r == 0 && !has_samples(reader))
            r = shki_deadline_check(deadline);
    }
    shki_member_is_awake();
    return r;
}

ssize_t shk_reader_read(struct shk_reader *reader, void *buf, size_t n, int64_t timeout)
{
    struct shki_deadline deadline;
    struct shki_saved_error saved;
    struct shki_member *m;
    uint64_t position;
    size_t got;
    int r;

    if (reader == NULL)
        return SHKI_NO_HANDLE;
    if (buf == NULL || n == 0)
        return shki_say(-EINVAL, "the buffer is NULL, or has no room for a sample");
    r = shki_enter(&reader->stream->object, &m);
    if (r < 0)
        return r;
    for (int tries = 0;; tries++) {
        position = position_of(reader);
        got = copy_samples(reader->stream, &position, buf, n);
        reader->dropped += (int64_t)(position - position_of(reader));
        set_position(reader, position + got);
        /*
         * the append released it, and came before what ended the wait: an unlink, or the end of its
         * time
         */
        if (got > 0 && r < 0)
            shki_error_settle(0, &saved);
        if (got > 0)
            return (ssize_t)got;
        if (r < 0)
            return r;
        if (tries == 0) /* one deadline, however often it is lapped */
            deadline =
                shki_object_deadline(&reader->stream->object, timeout, "there are no new samples");
        if (tries < TRIES_MAX && has_unread(reader))
            continue;
        shki_error_save(&saved);
        r = shki_object_is_stale(&reader->stream->object) ? shki_stale(&reader->stream->object)
                                                          : wait_for_samples(reader, m, &deadline);
    }
}

ssize_t shk_reader_latest(struct shk_reader *reader, void *buf, size_t n)
{
    struct shki_member *m;
    uint64_t position;
    size_t got = 0;
    int r = reader ? shki_enter(&reader->stream->object, &m) : SHKI_NO_HANDLE;

    if (r < 0)
        return r;
    if (buf == NULL && n > 0)
        return shki_say(-EINVAL, "the buffer is NULL, or has no room for a sample");
    if (n > reader->stream->history)
        n = reader->stream->history;
    for (int tries = 0; got == 0 && tries < TRIES_MAX; tries++) {
        position = published(reader->stream);
        if (position == 0 || n == 0)
            break;
        position -= position < n ? position : n;
        got = copy_samples(reader->stream, &position, buf, n);
    }
    return (ssize_t)got;
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
    return has_unread(w->handle);
}

static void watch(void *handle, uint32_t want, struct shki_watch *w)
{
    struct shk_reader *reader = handle;
    struct shk_stream *st = reader->stream;

    (void)want;
    *w = (struct shki_watch){.object = &st->object,
                             .refs = &reader->refs,
                             .watched = &st->shared->watched,
                             .handle = reader,
                             .is_ready = is_ready,
                             .unref = unref};
}

static void describe(const struct shki_image *image, const struct shki_entry *e, const void *shared,
                     struct shk_object_info *info)
{
    const struct shki_stream_shared *stream = shared;

    (void)image;
    (void)e;
    info->as.stream.sample_size = stream->sample_size;
    info->as.stream.history = stream->history;
    info->as.stream.position = load_relaxed(&stream->published);
}

const struct shki_kind shki_stream_kind = {
    .number = SHK_KIND_STREAM,
    .name = "a stream",
    .size = sizeof(struct shki_stream_shared),
    .mutex_offset = {offsetof(struct shki_stream_shared, writer_lock),
                     offsetof(struct shki_stream_shared, waiters)},
    .build = build,
    .check = check,
    .waitlist = {.offset = offsetof(struct shki_stream_shared, waiters), .asks = true},
    .watchable = SHK_READABLE,
    .watch = watch,
    .describe = describe,
};
