/* A once in shared memory. */
#ifndef SHKI_ONCE_H
#define SHKI_ONCE_H

#include "object/lock.h"

#include <shmkit/once.h>

/* What is not said to change was written before the once was published. */
struct shki_once_shared {
    struct shki_repairs repairs;
    /* 1: it is done. Written with the lock, read without it: ON1 */
    _Atomic uint32_t done;
    /* 1: a member died in the middle, and none has done or abandoned it since. With the lock */
    _Atomic uint32_t orphaned;
    uint64_t reserved[3];
    /* held by the member that does it */
    alignas(64) struct shki_lock_shared lock;
};

extern const struct shki_kind shki_once_kind;

#endif
