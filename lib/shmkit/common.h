/*
 * What every shmkit call has in common: return values, timeouts, flags.
 *
 * Return values. 0 or a positive number is success, -errno is failure. shk_last_error() then has a
 * sentence for a person. The library never prints, aborts or exits.
 *
 * Codes that any call on an object may give, besides those listed with it:
 *     -EINVAL   an argument is NULL or out of range, or a reserved field is not zero
 *     -EBADF    the handle's segment has been closed in this process
 *     -ESTALE   the object or its segment has been unlinked; close the handle
 *     -EUSERS   the thread's first call here, and the segment's member table is full of living
 *               members
 *     -EXDEV    the thread's first call here, and a fork has led into another pid namespace than
 *               that of the segment
 *     -ENOSPC   the thread's first call here, and there is no memory for its member record
 *     -ENOTSUP  the thread's first call here, and the process was made by a raw fork or clone
 *               system call
 *     -ENOLCK   the thread already holds 2000 robust mutexes (one as a member of a segment, locks,
 *               claims); the kernel frees no more than 2048 when a thread dies
 *     -EBUSY    a process has stayed in the middle of a change to the segment or the object for
 *               10 seconds (it is stopped, or in a debugger), whatever the timeout; SHK_NOWAIT:
 *               another member is in the way (see queue.h)
 *     -ENOMEM   no memory for the handle or the thread's own notes
 * and any call that blocks:
 *     -EAGAIN     the timeout is SHK_NOWAIT and the call cannot proceed now
 *     -ETIMEDOUT  the timeout is over; never before it is
 *     -EINTR      the flag given to shk_set_interrupt() is set, or the call given to
 *                 shk_set_interrupt_call() ends the wait
 *     -EBADF      the segment has been closed in this process meanwhile
 *
 * Timeouts are relative, in nanoseconds of CLOCK_MONOTONIC. A negative one, such as "deadline -
 * now" computed too late, is over already: the call tries once, and gives -ETIMEDOUT if it would
 * have to wait.
 *
 * Threads and processes. Any number of threads of any number of processes may call anything at the
 * same time, if not said otherwise. The threads of a process may share a handle. Close a handle
 * only when no thread uses it any more. After fork() without exec the child may use the handles
 * that it has from its parent: it joins as a new member with its first call, and holds none of its
 * parent's locks. No call may be made from a signal handler or left by siglongjmp(), and no thread
 * may be cancelled in one.
 *
 * Killed. What is said under "Killed" with each call holds for any way to die: SIGKILL, a crash,
 * exec, exit without closing, the OOM killer. Where the kernel does not mark a death, a waiter
 * finds it at its next check, each 100 ms, or up to 0.8 s apart where it has waited for long; with
 * a /proc of another pid namespace, or none, it does not. No other thread is held up for longer
 * than about 100 ms, and usually for no time at all.
 * LIMITS in shmkit(7) has the exceptions; SHK_COND_PTHREAD is one.
 */
#ifndef SHMKIT_COMMON_H
#define SHMKIT_COMMON_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SHK_PUBLIC __attribute__((visibility("default")))

#define SHK_FOREVER INT64_MAX
#define SHK_NOWAIT  ((int64_t)0)

/*
 * Nanoseconds. n: an integer, or a fraction as in SHK_SEC(0.5), which is rounded to the nearest
 * nanosecond. Constant if n is.
 */
#define SHK_MS(n)  SHK_DURATION_(n, 1000000)
#define SHK_SEC(n) SHK_DURATION_(n, 1000000000)

/*
 * Adding 1.5 * 2^52 to a double, and taking it away again, leaves a whole number: the nearest one.
 */
#define SHK_WHOLE_(x) ((x) + 6755399441055744.0 - 6755399441055744.0)
#if defined(__cplusplus) && __cplusplus >= 201103L
extern "C++" {
template <typename T> constexpr int64_t shk_duration_(T n, int64_t unit)
{
    return static_cast<int64_t>(n) * unit;
}
constexpr int64_t shk_duration_(double n, int64_t unit)
{
    return static_cast<int64_t>(SHK_WHOLE_(n * static_cast<double>(unit)));
}
constexpr int64_t shk_duration_(float n, int64_t unit)
{
    return shk_duration_(static_cast<double>(n), unit);
}
constexpr int64_t shk_duration_(long double n, int64_t unit)
{
    return shk_duration_(static_cast<double>(n), unit);
}
}
#define SHK_DURATION_(n, unit) shk_duration_(n, unit)
#elif defined(__cplusplus) /* evaluates n several times */
#define SHK_DURATION_(n, unit) \
    ((int64_t)(n) * (unit) + (int64_t)SHK_WHOLE_(((n) - (int64_t)(n)) * (double)(unit)))
#else
#define SHK_ROUND_(n, unit) ((int64_t)SHK_WHOLE_((double)(n) * (double)(unit)))
/* An operation on doubles is an integer constant expression only behind __builtin_constant_p(). */
#define SHK_FRACTION_(n, unit) \
    (__builtin_constant_p(SHK_ROUND_(n, unit)) ? SHK_ROUND_(n, unit) : SHK_ROUND_(n, unit))
/* clang-format off */
#define SHK_DURATION_(n, unit)                                                                     \
    __extension__ _Generic((n),                                                                    \
        float: SHK_FRACTION_(n, unit),                                                             \
        double: SHK_FRACTION_(n, unit),                                                            \
        long double: SHK_FRACTION_(n, unit),                                                       \
        default: (int64_t)(n) * (unit))
/* clang-format on */
#endif

/*
 * Positive result of an acquire: the caller holds the lock, and a former holder died holding it.
 * What the lock protects may be half done.
 */
#define SHK_ORPHANED 1

/* Flags of the open calls. */
#define SHK_CREATE    0x1u /* create it if it is absent */
#define SHK_EXCL      0x2u /* with SHK_CREATE: -EEXIST if it is present */
#define SHK_ANY_OWNER 0x4u /* segments: accept one that belongs to another user */

/* The sides of a queue or a stream. */
#define SHK_PRODUCER 0x1u
#define SHK_CONSUMER 0x2u

/*
 * More flags of shk_queue_open() and shk_stream_open(): the process is a producer of it, a
 * consumer, or both, until it closes the handle or dies.
 *
 * When the last producer has gone, consumers take what is left and then get -EPIPE, as at the end
 * of a pipe; or once before that -EOWNERDEAD, if a producer has died since there was none: what it
 * had to put may not be complete. With SHK_EPIPE a producer gets -EPIPE when the last consumer has
 * gone. Where no process has ever opened it as a producer (as a consumer), all is as without roles,
 * and a role is no permission: any handle may put and get.
 *
 * A new producer begins anew: consumers wait again, and so for producers and a new consumer. What
 * had ended before a handle was opened is not told to it: it waits for those that come. But a queue
 * in which items were left at that time ends behind them.
 *
 * A close is noticed at once, a death within about 100 ms. A process has a role as long as any of
 * its handles has, whichever threads use them. A child of fork(2) has the roles of its parent, as
 * it has the ends of its pipes, until it closes the handles, execs or ends. A process that execs,
 * or ends without having closed the handle, has died.
 */
#define SHK_AS(roles) ((unsigned)(roles) << 8)
#define SHK_EPIPE     0x1000u

/* Another flag of shk_segment_unlink_unused(). */
#define SHK_EMPTY 0x8u /* only if there are no objects in it */

/* The longest names, in bytes of UTF-8, without the terminating zero. */
#define SHK_SEGMENT_NAME_MAX 200
#define SHK_NAME_MAX         63 /* of an object or a member */

/* The kinds of objects. The values are part of the layout in shared memory. */
enum shk_kind {
    SHK_KIND_LOCK = 1,
    SHK_KIND_COND = 2,
    SHK_KIND_EVENT = 3,
    SHK_KIND_SEMAPHORE = 4,
    SHK_KIND_BARRIER = 5,
    SHK_KIND_QUEUE = 6,
    SHK_KIND_STREAM = 7,
    SHK_KIND_REGION = 8,
    SHK_KIND_RWLOCK = 9,
    SHK_KIND_ONCE = 10,
    SHK_KIND_VALUE = 11,
    SHK_KIND_MEMBER = 12 /* for a set of shk_wait_any() only: no object is of it */
};

/*
 * One readable sentence about the calling thread's last failed call, such as "segment /bank was
 * created by layout 3, this library reads layout 1". Never NULL; "" before the first failure. The
 * string belongs to the library and is valid until the thread's next failing call. After a success
 * it says nothing about that call.
 */
SHK_PUBLIC const char *shk_last_error(void);

#ifdef __cplusplus
}
#endif

#endif
