/* A barrier in shared memory. */
#ifndef SHKI_BARRIER_H
#define SHKI_BARRIER_H

#include "object/object.h"

/* What is not said to change was written before the barrier was published. */
struct shki_barrier_shared {
    struct shki_repairs repairs;
    uint32_t parties;
    uint32_t reserved_32;
    uint64_t reserved[3];
    struct shki_waitlist_shared waiters; /* the parties that have arrived */

    /* Written with the waitlist's mutex, read without it: */
    alignas(64) _Atomic uint32_t broken;
    uint32_t reserved_32_too;
};

extern const struct shki_kind shki_barrier_kind;

#endif
