/*
 * A stream: a ring that is overwritten, with two marks.
 *
 *     claimed - slots          published        claimed
 *          |  can be read whole   |  being written |
 *          v                      v                v
 *     .....[======================][~~~~~~~~~~~~~~~]       position p is in slot p & mask
 *
 * Source: H. Boehm, "Can seqlocks get along with programming language memory models?", MSPC 2012.
 *
 *     writer, with writer_lock                     reader
 *     ST1: claimed = published + n; fence          ST2: end = published (acquire)
 *     write n samples                              copy samples below `end`
 *     ST2: published += n (release)                ST3: fence; read claimed
 *     unlock                                       drop what lies below claimed - slots
 *     ST4: full fence                              nothing new: lock the waitlist, enter,
 *     readers in the waitlist? request                 ST5: full fence; check `published`
 *       the release of all                             unlock; sleep for a recheck interval
 *
 * A reader drops the samples that may have been overwritten while it copied them: those more than a
 * ring below `claimed`. If `claimed` moved after the samples were written, a reader could copy half
 * of a new sample and keep it.
 *
 * `claimed` never goes back, not even when a writer dies between ST1 and ST2: the slots that it has
 * spoiled stay spoiled, and the next writer writes them anew.
 *
 * ST4 and ST5: either the writer sees the reader in the waitlist, or the reader sees what the
 * writer has published. Without one of the fences both could miss, and the reader would sleep until
 * its recheck.
 *
 * A time stamp is the first word of its sample's slot. It is written and read between the same
 * marks as the sample, so a reader gets both of one append, or neither.
 *
 * The model: tests/model/stream.pml.
 */
#ifndef SHKI_STREAM_H
#define SHKI_STREAM_H

#include "object/object.h"
#include "object/roles.h"

#include <shmkit/stream.h>
#include <string.h>

/* What is not said to change was written before the stream was published. */
struct shki_stream_shared {
    struct shki_repairs repairs;
    uint64_t sample_size, history, slots, samples_offset;
    struct shki_mutex writer_lock; /* held by the writer while it changes the marks */
    uint32_t channels;             /* at least 1; they divide sample_size */
    uint32_t stamped;              /* 1: a slot begins with a time stamp; else 0 */
    /* A double's bits. Any writer stores it whole. Relaxed: no other word depends on it. */
    _Atomic uint64_t rate;
    alignas(64) _Atomic uint64_t claimed; /* samples below may have been overwritten: ST1 */
    _Atomic uint64_t published;           /* samples below have been written: ST2 */
    _Atomic uint32_t watched;             /* SHKI_WATCHERS or 0: see watch.h */
    struct shki_waitlist_shared waiters;  /* readers asleep */
};

struct shk_stream {
    struct shki_object object;
    struct shki_stream_shared *shared;

    /* Validated copies. */
    uint64_t history, slots, piece;
    size_t sample_size, stride;
    uint32_t channels;
    bool stamped;
    unsigned char *samples; /* of the first slot: its sample, behind the time stamp */

    struct shki_roles roles;
    struct shki_spinner lock_spinner;
    struct shki_waitlist line;
};

struct shk_reader {
    struct shk_stream *stream;
    /* Relaxed: written by the one thread that reads, read by a thread that watches for it. */
    _Atomic uint64_t position;
    int64_t dropped;
    _Atomic uint64_t told; /* see shki_roles_say_ended() */
    _Atomic unsigned refs; /* as of an object */
    struct shki_spinner spinner;
};

static inline uint64_t shki_stream_published(const struct shk_stream *st)
{
    /* ST2: acquire; pairs with the release in append_piece(): samples below have been written. */
    return load_acquire(&st->shared->published);
}

static inline _Atomic uint64_t *shki_stream_words(const struct shk_stream *st, uint64_t position)
{
    return (_Atomic uint64_t *)(void *)(st->samples + (position & (st->slots - 1)) * st->stride);
}

/* Only of a stream that has them. */
static inline _Atomic uint64_t *shki_stream_stamp(const struct shk_stream *st, uint64_t position)
{
    return shki_stream_words(st, position) - 1;
}

static inline double shki_stream_rate(uint64_t bits)
{
    double rate;

    memcpy(&rate, &bits, sizeof(rate));
    return rate;
}

/* The handle is closed with the last of its references: the program's, and one of each reader. */
static inline void shki_stream_unref(struct shk_stream *st)
{
    if (!shki_object_unref(&st->object))
        return;
    shki_roles_close(&st->object, &st->roles);
    shki_waitlist_close(&st->line);
    shki_handle_close(&st->object);
}

/* The kind's `object_of` and `watch`, of a reader: see reader.c. */
const struct shki_object *shki_stream_of_reader(const void *reader);
void shki_stream_watch(void *reader, uint32_t want, struct shki_watch *);

extern const struct shki_kind shki_stream_kind;

#endif
