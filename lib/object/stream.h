/* A stream in shared memory. */
#ifndef SHKI_STREAM_H
#define SHKI_STREAM_H

#include "object/object.h"

/* What is not said to change was written before the stream was published. */
struct shki_stream_shared {
    struct shki_repairs repairs;
    uint64_t sample_size, history, slots, samples_offset;
    struct shki_mutex writer_lock;        /* held by the writer while it changes the marks */
    alignas(64) _Atomic uint64_t claimed; /* samples below may have been overwritten: ST1 */
    _Atomic uint64_t published;           /* samples below have been written: ST2 */
    _Atomic uint32_t watched;             /* SHKI_WATCHERS or 0: see watch.h */
    struct shki_waitlist_shared waiters;  /* readers asleep */
};

extern const struct shki_kind shki_stream_kind;

#endif
