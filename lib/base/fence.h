/*
 * An asymmetric fence: two threads each store, fence, and look at what the other has stored; at
 * least one of them sees it. One does so a million times a second, the other seldom. Here the
 * frequent one pays nothing, and the rare one makes the kernel put a full barrier into every
 * running thread of all registered processes.
 *
 *     frequent                                rare
 *     store A                                 store B
 *     shki_fence_light()                      shki_fence_heavy()
 *     look at B                               look at A
 *
 * Whatever the frequent one has done before the moment at which the barrier hits it is visible to
 * the rare one's look; what it does later sees B.
 *
 * All who use a segment must have registered, and must be able to ask: whether its members do it so
 * is settled when it is created (header.asymmetric). Elsewhere both fences are ordinary ones.
 * Source: membarrier(2), MEMBARRIER_CMD_GLOBAL_EXPEDITED.
 */
#ifndef SHKI_FENCE_H
#define SHKI_FENCE_H

#include "base/atomic.h"
#include <stdbool.h>

/* Whether the environment has nothing against it: SHK_MEMBARRIER is not 0. */
bool shki_fence_is_wanted(void);

/*
 * Whether this process has registered and may ask. Registers it; a child of fork(2) and a program
 * started by execve(2) register anew.
 */
bool shki_fence_register(void);

static inline void shki_fence_light(bool asymmetric)
{
    if (likely(asymmetric))
        atomic_signal_fence(
            memory_order_seq_cst); /* the compiler must not exchange the two; the processor may: see above */
    else
        atomic_thread_fence(memory_order_seq_cst);
}

/*
 * The light fence behind a lock that has just been taken. On x86 the locked instruction that took
 * it is a full fence already; elsewhere it only keeps what follows from being done before the lock
 * is read, not before it is written.
 */
static inline void shki_fence_light_locked(bool asymmetric)
{
#if defined(__x86_64__) || defined(__i386__)
    (void)asymmetric;
    atomic_signal_fence(memory_order_seq_cst);
#else
    shki_fence_light(asymmetric);
#endif
}

void shki_fence_heavy(bool asymmetric);

#endif
