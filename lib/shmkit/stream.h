/*
 * A stream: samples of a fixed size, appended by one writer at a time and read by any number of
 * readers, each at its own pace. The oldest samples are overwritten: no reader can hold the writer
 * up, and a reader that is too slow is told how much it has lost.
 *
 * Positions count samples since the stream was created and only grow. At least the last `history`
 * samples can be read.
 *
 *     struct shk_stream_options size = { .sample_size = sizeof(double), .history = 10000 };
 *     struct shk_stream *eeg;
 *     struct shk_reader *reader;
 *     double sample[100];
 *     shk_stream_open(s, "eeg", SHK_CREATE, &size, &eeg);
 *     shk_reader_open(eeg, SHK_NEXT, &reader);
 *     while ((n = shk_reader_read(reader, sample, 100, SHK_FOREVER)) > 0)
 *         plot(sample, n);
 *
 * Roles. A process may open a stream as a producer, that is as a writer, as a consumer or both,
 * with SHK_AS() (common.h). When the last writer has gone, readers read what is left and are told.
 *
 * A sample is delivered whole or not at all, never torn. Each reader gets samples in order, and
 * none twice.
 *
 * A sample may be of several channels: one value of each, one after the other, which were measured
 * at the same moment. They come whole, too. A stream may note how many samples come in a second,
 * which readers need for an axis in seconds. Where samples do not come evenly, a stream may keep a
 * time stamp with each sample: shk_stream_append_stamped(), shk_reader_read_stamped().
 *
 * Cost: a reader costs the writer nothing while it keeps up. An append pays one fence and one load
 * to find that no reader sleeps.
 *
 * Illegal: to use one reader from two threads at the same time.
 */
#ifndef SHMKIT_STREAM_H
#define SHMKIT_STREAM_H

#include <shmkit/segment.h>

#ifdef __cplusplus
extern "C" {
#endif

struct shk_stream;
struct shk_reader;

struct shk_stream_options {
    /*
     * bytes of a sample, of all its channels, 1 to 65536; to create, it must be given; 0 when
     * opening: any size
     */
    size_t sample_size;
    size_t history;    /* samples, up to 2^30; 0: 4096 when creating, any when opening */
    uint32_t channels; /* they divide the sample size; 0: 1 when creating, any when opening */
    uint32_t stamped; /* 1: each sample has a time stamp; 0: none when creating, any when opening */
    double rate;      /* samples a second, to be noted when creating; 0: not known */
    uint64_t reserved[6]; /* zero */
};

/* Where a reader begins. */
enum { SHK_OLDEST = 0, SHK_NEXT = 1 };

/*
 * Open a stream, or with SHK_CREATE create it, empty, if it is absent. options: NULL to open it as
 * it is. flags: SHK_CREATE, SHK_EXCL; SHK_AS(roles), SHK_EPIPE.
 * Returns 0, or
 *   -EINVAL      a size is out of range; the sample size is no multiple of the channels; the rate
 *                is negative or no number; or, to create, there is no sample size; no such role, or
 *                SHK_EPIPE and no producer
 *   -EUSERS      a role, and more processes use the segment than it was created for
 *   -EPROTOTYPE  present, but no stream, or of other sizes or channels, or without time stamps
 *   -ENOENT, -EEXIST, -ENOSPC, -EPROTO, -ENAMETOOLONG, -EILSEQ as shk_lock_open()
 * The handle is the caller's, which closes it.
 * Killed: the stream has been created whole or not at all; a role as with shk_queue_open().
 */
SHK_PUBLIC int shk_stream_open(struct shk_segment *, const char *name, unsigned flags,
                               const struct shk_stream_options *options, struct shk_stream **out);

/*
 * Give the handle back; the stream stays, and so do its readers. NULL is allowed. A role of the
 * handle ends when its readers are closed, too. Returns 0, or, of a handle with a role on etcd,
 * -EHOSTUNREACH: it stays open, as the reader does whose close is the last.
 */
SHK_PUBLIC int shk_stream_close(struct shk_stream *);

/*
 * Append n samples. Several writers take turns; what one call appends stays together. Where samples
 * have time stamps, all n get the time of the call, as if stamps were NULL below.
 * Returns 0, or
 *   -EBUSY  another writer has been in the middle of its append for 10 seconds (it is stopped)
 *   -EPIPE  the handle has SHK_EPIPE, and the last consumer has gone
 * Killed: the first few of the n samples have been appended, each whole. The next writer goes on
 * behind them.
 */
SHK_PUBLIC int shk_stream_append(struct shk_stream *, const void *samples, size_t n);

/*
 * As shk_stream_append(), with the time stamp of each sample. stamps: n of them, nanoseconds of
 * CLOCK_MONOTONIC, or of what the writer and its readers agree on; NULL: the time of the call,
 * taken when no other writer is appending, so that such stamps never go back.
 * Returns as shk_stream_append(), and -EINVAL: the stream has no time stamps.
 * Killed: as shk_stream_append(); each sample has been appended with its stamp, or neither has.
 */
SHK_PUBLIC int shk_stream_append_stamped(struct shk_stream *, const void *samples,
                                         const int64_t *stamps, size_t n);

/* Returns how many samples have been appended so far; a hint, it may have grown since. */
SHK_PUBLIC int64_t shk_stream_position(struct shk_stream *);

/* Return the size of a sample in bytes; how many of the last samples can be read at least. */
SHK_PUBLIC ssize_t shk_stream_sample_size(struct shk_stream *);
SHK_PUBLIC ssize_t shk_stream_history(struct shk_stream *);

/* Return how many channels a sample has, at least 1; whether samples have time stamps, 1 or 0. */
SHK_PUBLIC int shk_stream_channels(struct shk_stream *);
SHK_PUBLIC int shk_stream_is_stamped(struct shk_stream *);

/*
 * Get or set the samples a second that are noted. Nothing follows from it in the library; writers
 * note their rate, so that readers know it. 0: not known.
 * Returns 0, or -EINVAL: the rate is negative or no number, or out is NULL.
 * Killed: the rate is the old one or the new one.
 */
SHK_PUBLIC int shk_stream_rate(struct shk_stream *, double *out);
SHK_PUBLIC int shk_stream_set_rate(struct shk_stream *, double rate);

/*
 * Begin to read at the oldest sample that is there (SHK_OLDEST), or at the next one to come
 * (SHK_NEXT). A reader is private to the process, and the caller closes it.
 * Returns 0, or -EINVAL (from), -ENOMEM.
 */
SHK_PUBLIC int shk_reader_open(struct shk_stream *, uint32_t from, struct shk_reader **out);

/* Give the reader back. NULL is allowed. Returns 0. */
SHK_PUBLIC int shk_reader_close(struct shk_reader *);

/*
 * Read the next samples, at most n, waiting until there is one. timeout: nanoseconds, SHK_FOREVER,
 * SHK_NOWAIT. Overwritten samples are skipped and counted. The timeout holds even if samples are
 * overwritten again and again while they are being copied.
 * Returns how many, at least 1; or
 *   -EAGAIN, -ETIMEDOUT, -EINTR  there was none
 *   -EPIPE       there is none, and the last writer that was one by role has gone
 *   -EOWNERDEAD  once for each reader, before that: a writer of them has died
 * Killed: no other member notices.
 */
SHK_PUBLIC ssize_t shk_reader_read(struct shk_reader *, void *buf, size_t n, int64_t timeout);

/*
 * As shk_reader_read(), with the time stamp of each sample. stamps: room for n.
 * Returns as shk_reader_read(), and -EINVAL: stamps is NULL, or the stream has none.
 * Killed: no other member notices.
 */
SHK_PUBLIC ssize_t shk_reader_read_stamped(struct shk_reader *, void *buf, int64_t *stamps,
                                           size_t n, int64_t timeout);

/*
 * Read the newest samples, at most n and at most `history`, oldest first, without waiting and
 * without moving the reader on.
 * Returns how many; 0 while there are none, or while they are overwritten faster than they can be
 * copied.
 */
SHK_PUBLIC ssize_t shk_reader_latest(struct shk_reader *, void *buf, size_t n);

/* As shk_reader_latest(), with the time stamp of each sample; -EINVAL as when reading. */
SHK_PUBLIC ssize_t shk_reader_latest_stamped(struct shk_reader *, void *buf, int64_t *stamps,
                                             size_t n);

/* Returns how many samples were overwritten before this reader came to them. */
SHK_PUBLIC int64_t shk_reader_dropped(struct shk_reader *);

#ifdef __cplusplus
}
#endif

#endif
