/* A stream and its writers: the protocol is told in stream.h. */
#include "object/stream.h"

#include "base/words.h"
#include "object/remote.h"
#include "object/watch.h"

#include <math.h>
#include <shmkit/inspect.h>
#include <shmkit/stream.h>
#include <string.h>
#include <time.h>

#define SAMPLE_MAX      65536u
#define HISTORY_MAX     (UINT64_C(1) << 30)
#define HISTORY_DEFAULT 4096u
#define PIECE_MAX       1024u /* samples that one step of an append writes at the most */

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

/* A time stamp, if there is one, then the sample. */
static uint64_t stride_for(uint64_t sample_size, uint32_t stamped)
{
    return (stamped ? sizeof(int64_t) : 0) + shki_round_up(sample_size, sizeof(uint64_t));
}

static bool is_rate(double rate)
{
    return isfinite(rate) && rate >= 0;
}

static void store_rate(struct shki_stream_shared *shared, double rate)
{
    uint64_t bits;

    memcpy(&bits, &rate, sizeof(bits));
    store_relaxed(&shared->rate, bits); /* killed here: it is the old one or the new one */
}

static int build(struct shki_object *o, const struct shki_plan *plan)
{
    const struct shk_stream_options *options = plan->options;
    struct shki_stream_shared *shared = (void *)o->shared;
    int r;

    shared->sample_size = options->sample_size;
    shared->history = options->history ? options->history : HISTORY_DEFAULT;
    shared->slots = slots_for(shared->history);
    shared->channels = options->channels ? options->channels : 1;
    shared->stamped = options->stamped;
    store_rate(shared, options->rate);
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
    uint32_t channels = shared->channels, stamped = shared->stamped;
    uint64_t stride = stride_for(sample_size, stamped);

    if (channels < 1 || sample_size % channels || stamped > 1 || sample_size < 1 ||
        sample_size > SAMPLE_MAX || history < 1 || history > HISTORY_MAX ||
        slots != slots_for(history) || at < sizeof(*shared) || at % sizeof(uint64_t) ||
        at > o->size || (o->size - at) / stride < slots)
        return shki_fail(-EPROTO, "%s/%s is damaged: its geometry", o->segment->name, o->name);
    if (options->channels && options->channels != channels)
        return shki_fail(-EPROTOTYPE, "%s/%s is a stream of %u channel%s", o->segment->name,
                         o->name, channels, channels == 1 ? "" : "s");
    if ((options->sample_size && options->sample_size != sample_size) ||
        (options->history && options->history != history))
        return shki_fail(-EPROTOTYPE,
                         "%s/%s is a stream of samples of %llu bytes with a history of %llu",
                         o->segment->name, o->name, (unsigned long long)sample_size,
                         (unsigned long long)history);
    if (options->stamped > stamped)
        return shki_fail(-EPROTOTYPE, "%s/%s is a stream without time stamps", o->segment->name,
                         o->name);
    st->shared = shared;
    st->history = history;
    st->slots = slots;
    st->piece = piece_for(history);
    st->sample_size = sample_size;
    st->stride = stride;
    st->stamped = stamped;
    st->channels = channels;
    st->samples = o->shared + at + (stamped ? sizeof(int64_t) : 0);
    return shki_object_waitlist(o, &shki_stream_kind, &st->line);
}

/*
 * Wake the readers that sleep, without waiting for the waitlist's mutex: its holder carries out the
 * request.
 */
static void wake_readers(struct shk_stream *st)
{
    /* ST4, PW4: ST2 before the loads of `watched` and the waitlist; pairs with ST5 and PW3 */
    atomic_thread_fence(memory_order_seq_cst);
    shki_watched_wake(st->object.segment, &st->shared->watched);
    if (unlikely(!shki_waitlist_is_empty(&st->line)))
        shki_waitlist_request(&st->line);
}

/* A line has ended: as after an append, with RO1 in the place of ST2. */
static void wake_all(void *stream)
{
    wake_readers(stream);
}

int shk_stream_open(struct shk_segment *segment, const char *name, unsigned flags,
                    const struct shk_stream_options *options, struct shk_stream **out)
{
    static const struct shk_stream_options defaults;
    struct shki_plan plan = {.kind = &shki_stream_kind};
    struct shki_roles roles = {0};
    unsigned given_flags = flags;
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
    if (options->channels && options->sample_size % options->channels)
        return shki_say(-EINVAL, "the sample size is no multiple of the channels");
    if (options->stamped > 1 || !is_rate(options->rate))
        return shki_say(-EINVAL, options->stamped > 1 ? "stamped is neither 0 nor 1"
                                                      : "the rate is negative, or no number");
    r = shki_check_reserved(options->reserved, 6);
    if (r == 0)
        r = shki_roles_parse(&roles, &flags);
    if (r < 0)
        return r;
    if (options->sample_size == 0) {
        plan.cannot_create = -EINVAL;
        plan.why = "a new stream needs a sample size";
    }
    plan.size = shki_round_up(sizeof(struct shki_stream_shared), 64) +
                slots_for(options->history ? options->history : HISTORY_DEFAULT) *
                    stride_for(options->sample_size, options->stamped);
    st = shki_handle_open(segment, name, flags, &plan, sizeof(*st), &r);
    if (st == NULL)
        return r == SHKI_REMOTE
                   ? segment->remote->stream->open(segment, name, given_flags, options, out)
                   : r;
    st->roles = roles;
    r = shki_roles_open(&st->object, &st->roles, true, wake_all);
    if (r < 0) {
        shki_waitlist_close(&st->line);
        shki_handle_close(&st->object);
        return r;
    }
    *out = st;
    return 0;
}

int shk_stream_close(struct shk_stream *st)
{
    if (st && st->object.segment->remote)
        return st->object.segment->remote->stream->close(st);
    if (st)
        shki_stream_unref(st);
    return 0;
}

/* n time stamps, or NULL: the same for all. Relaxed as the samples. */
static void write_stamps(const struct shk_stream *st, uint64_t from, const int64_t *stamps,
                         int64_t same, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++)
        store_relaxed(shki_stream_stamp(st, from + i), (uint64_t)(stamps ? stamps[i] : same));
}

static int64_t time_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return SHK_SEC(now.tv_sec) + now.tv_nsec;
}

/* With the writer_lock. `same` is the time stamp of all samples if stamps is NULL. */
static void append_piece(struct shk_stream *st, const unsigned char *samples, const int64_t *stamps,
                         int64_t same, uint64_t n)
{
    struct shki_stream_shared *shared = st->shared;
    /* Relaxed: writer_lock orders it. */
    uint64_t from = load_relaxed(&shared->published);

    /*
     * Never backwards: a writer that died may have claimed more. Killed after this: readers lose
     * the oldest n samples, though they have not been overwritten.
     */
    if (from + n > load_relaxed(&shared->claimed))
        store_relaxed(&shared->claimed, from + n); /* ST1 */
    /* ST1: the claim before the samples; pairs with the fence of ST3 */
    atomic_thread_fence(memory_order_release);
    for (uint64_t i = 0; i < n; i++)
        shki_store_words(shki_stream_words(st, from + i), samples + i * st->sample_size,
                         st->sample_size);
    if (st->stamped)
        write_stamps(st, from, stamps, same, n);
    /* ST2: release; commits. Killed before: the next writer writes the same slots anew. */
    store_release(&shared->published, from + n);
}

static int append(struct shk_stream *st, const void *samples, const int64_t *stamps, size_t n)
{
    struct shki_member *m;
    const unsigned char *from = samples;
    int64_t same = 0;
    int r = st ? shki_enter(&st->object, &m) : SHKI_NO_HANDLE;

    if (r < 0)
        return SHKI_ELSEWHERE(r, st, stream, append, (st, samples, stamps, n));
    if (samples == NULL && n > 0)
        return shki_say(-EINVAL, "the samples are NULL");
    if (unlikely(st->roles.minds) && shki_roles_check(&st->object, &st->roles, SHKI_CONSUMERS))
        return shki_roles_say_alone(&st->object);
    r = shki_object_lock_writer(&st->object, &st->shared->writer_lock, m, &st->lock_spinner,
                                "appending");
    if (r < 0)
        return r;
    if (st->stamped && stamps == NULL)
        same = time_now();
    while (n > 0) {
        uint64_t piece = n < st->piece ? n : st->piece;

        append_piece(st, from, stamps, same, piece);
        from += piece * st->sample_size;
        stamps = stamps ? stamps + piece : NULL;
        n -= piece;
    }
    shki_mutex_unlock(&st->shared->writer_lock);
    wake_readers(st);
    return 0;
}

int shk_stream_append(struct shk_stream *st, const void *samples, size_t n)
{
    return append(st, samples, NULL, n);
}

int shk_stream_append_stamped(struct shk_stream *st, const void *samples, const int64_t *stamps,
                              size_t n)
{
    if (st && !st->stamped)
        return shki_fail(-EINVAL, "%s/%s is a stream without time stamps", st->object.segment->name,
                         st->object.name);
    return append(st, samples, stamps, n);
}

int64_t shk_stream_position(struct shk_stream *st)
{
    struct shki_member *m;
    int r = st ? shki_enter(&st->object, &m) : SHKI_NO_HANDLE;

    return r < 0 ? SHKI_ELSEWHERE(r, st, stream, position, (st))
                 : (int64_t)shki_stream_published(st);
}

/* What the handle of a stream that lies elsewhere has not. */
static int64_t elsewhere(struct shk_stream *st, int r, enum shki_stream_geometry what)
{
    return SHKI_ELSEWHERE(r, st, stream, geometry, (st, what));
}

ssize_t shk_stream_sample_size(struct shk_stream *st)
{
    struct shki_member *m;
    int r = st ? shki_enter(&st->object, &m) : SHKI_NO_HANDLE;

    return r < 0 ? (ssize_t)elsewhere(st, r, SHKI_STREAM_SAMPLE_SIZE) : (ssize_t)st->sample_size;
}

ssize_t shk_stream_history(struct shk_stream *st)
{
    struct shki_member *m;
    int r = st ? shki_enter(&st->object, &m) : SHKI_NO_HANDLE;

    return r < 0 ? (ssize_t)elsewhere(st, r, SHKI_STREAM_HISTORY) : (ssize_t)st->history;
}

int shk_stream_channels(struct shk_stream *st)
{
    struct shki_member *m;
    int r = st ? shki_enter(&st->object, &m) : SHKI_NO_HANDLE;

    return r < 0 ? (int)elsewhere(st, r, SHKI_STREAM_CHANNELS) : (int)st->channels;
}

int shk_stream_is_stamped(struct shk_stream *st)
{
    struct shki_member *m;
    int r = st ? shki_enter(&st->object, &m) : SHKI_NO_HANDLE;

    return r < 0 ? (int)elsewhere(st, r, SHKI_STREAM_STAMPED) : st->stamped;
}

int shk_stream_rate(struct shk_stream *st, double *out)
{
    struct shki_member *m;
    int r = st && out ? shki_enter(&st->object, &m) : SHKI_NO_HANDLE;

    if (r < 0)
        return SHKI_ELSEWHERE(r, st, stream, rate, (st, out));
    *out = shki_stream_rate(load_relaxed(&st->shared->rate));
    return 0;
}

int shk_stream_set_rate(struct shk_stream *st, double rate)
{
    struct shki_member *m;
    int r = st ? shki_enter(&st->object, &m) : SHKI_NO_HANDLE;

    if (r < 0 && r != SHKI_REMOTE)
        return r;
    if (!is_rate(rate))
        return shki_say(-EINVAL, "the rate is negative, or no number");
    if (r < 0)
        return SHKI_ELSEWHERE(r, st, stream, set_rate, (st, rate));
    store_rate(st->shared, rate);
    return 0;
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
    info->as.stream.rate = shki_stream_rate(load_relaxed(&stream->rate));
    info->as.stream.channels = stream->channels;
    info->as.stream.stamped = stream->stamped;
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
    .remote = offsetof(struct shki_remote, stream),
    .watchable = SHK_READABLE,
    .object_of = shki_stream_of_reader,
    .watch = shki_stream_watch,
    .describe = describe,
};
