/*
 * A value: a seqlock with four buffers, of which the newest version is in one and the next version
 * is written into another.
 *
 * Source: H. Boehm, "Can seqlocks get along with programming language memory models?", MSPC 2012;
 * more buffers than one as in the latch of Linux's seqlock.h.
 *
 *     writer, with writer_lock                     reader
 *     next = version + 1                           VA2: version = that of the state (acquire)
 *     VA1: buffer[next % 4].version = next;        copy buffer[version % 4]
 *          fence                                   VA3: fence; buffer's version != version?
 *     write length and bytes                            then begin again
 *     VA2: the state's version = next (release)
 *     unlock; wake the waiters: broadcast.h
 *
 * A buffer has its next version before its next bytes. A reader that copies any of those sees that
 * version after the fence, and begins again. If the version was written after the bytes, a reader
 * could copy half of them and keep them.
 *
 * Only the writer that comes to the reader's own buffer, three versions later, disturbs it. So a
 * writer that is killed or stopped in the middle has spoiled the oldest buffer, which no reader
 * begins to copy: readers take the newest version, which is whole. The next writer writes the same
 * version into the same buffer once more.
 *
 * A reader whose copies were all spoiled takes writer_lock for one copy: it ends where writers are
 * faster than a copy for ever, and does not wait for a stopped one, for then nothing is spoiled.
 *
 * The model: tests/model/value.pml.
 */
#ifndef SHKI_VALUE_H
#define SHKI_VALUE_H

#include "object/broadcast.h"

#define SHKI_VALUE_BUFFERS 4u

/* What is not said to change was written before the value was published. */
struct shki_value_shared {
    struct shki_repairs repairs;
    uint64_t size;
    uint64_t reserved[3];
    struct shki_mutex writer_lock; /* held by the writer while it writes a version */
    /* how often it has been sent is the version: VA2, which is EV1. SHKI_BROADCAST_OBJECT: never */
    struct shki_broadcast_shared newest;
};

/* Behind it, four times. Written with writer_lock. */
struct shki_value_buffer {
    _Atomic uint64_t version; /* VA1: of what has been written here, or is being written */
    _Atomic uint64_t length;  /* bytes */
    _Atomic uint64_t words[];
};

#define SHKI_VALUE_OFFSET ((sizeof(struct shki_value_shared) + 63) / 64 * 64)

static inline uint64_t shki_value_stride(uint64_t size)
{
    return shki_round_up(sizeof(struct shki_value_buffer) + size, 64);
}

extern const struct shki_kind shki_value_kind;

#endif
