/*
 * An asymmetric fence. Two threads each store, fence and load what the other has stored: at least
 * one of them sees the other's store. One of them does so a million times a second, the other
 * seldom. Here the frequent one pays nothing, and the rare one makes the kernel execute a full
 * barrier in every running thread of all registered processes.
 *
 * Source: membarrier(2), MEMBARRIER_CMD_GLOBAL_EXPEDITED; folly's asymmetric_thread_fence.
 *
 *     frequent                                rare
 *     store A                                 store B
 *     shki_fence_light()                      shki_fence_heavy()
 *     load B                                  load A
 *
 * What the frequent one has done before the moment at which the barrier comes to it is visible to
 * the rare one's load. What it does after that moment sees B.
 *
 * All threads that use a segment must have registered, and must be able to ask. Whether its members
 * do so is settled when it is created (header.asymmetric). Elsewhere both fences are full ones.
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
        /* the compiler must not exchange the two; the processor may: see above */
        atomic_signal_fence(memory_order_seq_cst);
    else
        atomic_thread_fence(memory_order_seq_cst);
}

/*
 * The light fence behind a mutex that has just been locked. On x86 the locked instruction that did
 * so is a full fence already. Elsewhere that instruction only keeps what follows from being done
 * before the mutex is read, not before it is written.
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
