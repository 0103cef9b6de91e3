/*
 * Waiting for any of several objects of one segment: queues, events, semaphores, streams,
 * values, in any mixture.
 *
 *     struct shk_queue *orders;
 *     struct shk_event *stop;
 *     shk_queue_open(bank, "orders", 0, NULL, &orders);
 *     shk_event_open(bank, "stop", 0, NULL, &stop);
 *     struct shk_ready set[] = {
 *         { SHK_KIND_QUEUE, SHK_READABLE, orders },
 *         { SHK_KIND_EVENT, SHK_READABLE, stop },
 *     };
 *     while (shk_wait_any(set, 2, SHK_FOREVER) == 0)
 *         shk_queue_get(orders, &account->paid_in, sizeof(account->paid_in), SHK_NOWAIT);
 *
 * When is an object ready?
 *   SHK_KIND_QUEUE, SHK_READABLE      there is an item, or the queue has been shut down, or the
 *                                     last producer by role has gone
 *   SHK_KIND_QUEUE, SHK_WRITABLE      there is room, or the queue has been shut down; without a
 *                                     capacity, always; with SHK_EPIPE, when the last consumer has
 *                                     gone
 *   SHK_KIND_QUEUE, SHK_ALL_DONE      no item is in it, and none is taken and not done: what
 *                                     shk_queue_join() waits for
 *   SHK_KIND_EVENT, SHK_READABLE      it is set; or it has been set since the wait began, even if
 *                                     it was cleared at once
 *   SHK_KIND_SEMAPHORE, SHK_READABLE  there is a permit that is neither promised to a waiter
 *                                     nor withheld for one that wants more
 *   SHK_KIND_STREAM, SHK_READABLE     `object` is a struct shk_reader, and there are samples that
 *                                     it has not read, or the last writer by role has gone
 *   SHK_KIND_MEMBER, SHK_JOINED | …   `object` is a struct shk_member_watch, and there is an event
 *                                     of those kinds to be read: SHK_JOINED, SHK_LEFT, SHK_DIED
 *   SHK_KIND_VALUE, SHK_READABLE      there is a newer version than the handle got last
 * Locks, conditions, barriers and regions cannot be waited for so: -ENOTSUP. On etcd a semaphore is
 * not ready while a thread waits for its permits.
 *
 * Nothing is taken. Another member may be faster, so try with SHK_NOWAIT and be prepared for
 * -EAGAIN. A side of a queue that another member has claimed counts as ready, too.
 *
 * Cost: a call that makes an object ready pays one load while no member of the segment waits for
 * any of several objects. Else it wakes all members that wait so, and each checks its set again.
 */
#ifndef SHMKIT_READY_H
#define SHMKIT_READY_H

#include <shmkit/event.h>
#include <shmkit/member.h>
#include <shmkit/queue.h>
#include <shmkit/semaphore.h>
#include <shmkit/stream.h>
#include <shmkit/value.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SHK_READY_MAX 64 /* objects in a set */

enum {
    SHK_READABLE = 1,
    SHK_WRITABLE = 2, /* 4 to 16: see <shmkit/member.h> */
    SHK_ALL_DONE = 32
};

struct shk_ready {
    uint32_t kind; /* enum shk_kind: what `object` is */
    uint32_t want; /* SHK_READABLE, …: one of them; for two, name the queue twice */
    void *object;  /* the handle; for SHK_KIND_STREAM that of a reader, _MEMBER that of a watch */
};

/*
 * Wait until one of the n objects is ready. If several are, each gets its turn from call to call of
 * a thread. timeout: nanoseconds, SHK_FOREVER, SHK_NOWAIT.
 * Returns the index of an object that is ready, or
 *   -EAGAIN, -ETIMEDOUT, -EINTR  none is ready
 *   -EINVAL   no object or more than SHK_READY_MAX, an unknown kind, a `want` not for that kind
 *   -ENOTSUP  a lock, condition, barrier or region
 *   -EXDEV    the objects are of several segments
 *   -ESTALE   one of them has been unlinked, also during the wait, unless one became ready before
 * Killed: no other member notices.
 * Source: poll(2); Python multiprocessing.connection.wait().
 */
SHK_PUBLIC int shk_wait_any(const struct shk_ready *set, unsigned n, int64_t timeout);

/*
 * Make a descriptor for poll(), epoll and event loops, which becomes readable when any of the set
 * is ready. The set is copied.
 *
 * A read gives one uint32_t: the index of an object that was ready. The descriptor stays readable
 * until then, and becomes readable again if an object is ready then. So take first what is there,
 * then read the descriptor; a spurious wake-up does no harm. read() gives 0, the end of file, when
 * the set cannot be waited for any more: an object was unlinked, or the segment closed.
 * shk_wait_any() tells which. The descriptor does not block, and is closed by exec.
 *
 * Each descriptor has a thread, which blocks all signals and is a member of the segment, named
 * shk_ready_fd. The thread keeps the handles of the set: they may be closed before the descriptor,
 * and are freed when the thread ends. close() the descriptor to end the thread: within about 100 ms
 * it gives up the handles and leaves the segment. If the process closes the segment, the thread
 * ends, too, and the descriptor gives the end of file; the memory stays mapped until then.
 * shk_set_interrupt() does not apply to the thread. The thread keeps a descriptor of its own, with
 * a high number; if the program closes it, the returned descriptor gives the end of file, and
 * another file that gets the number is left alone.
 *
 * A child of fork(3) has no such thread. It may read its copy of the descriptor, which gives the
 * end of file when the parent's thread ends. It should close its copy: as long as the child has
 * one, a close() in the parent does not end the thread.
 *
 * Returns the descriptor, which the caller closes; or
 *   -EMFILE, -ENFILE  no pipe can be opened
 *   -EAGAIN           no thread can be started
 *   -EUSERS           the member table is full: for the caller, or for the thread
 *   and as shk_wait_any()
 * Killed: no other member notices.
 */
SHK_PUBLIC int shk_ready_fd(const struct shk_ready *set, unsigned n);

#ifdef __cplusplus
}
#endif

#endif
