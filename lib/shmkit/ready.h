/*
 * Waiting for any of several objects of one segment: queues, events, semaphores, streams, in any
 * mixture.
 *
 *     struct shk_queue *orders;
 *     struct shk_event *stop;
 *     shk_queue_open(bank, "orders", 0, NULL, &orders);
 *     shk_event_open(bank, "stop", 0, NULL, &stop);
 *     struct shk_ready set[] = { { SHK_KIND_QUEUE, SHK_READABLE, orders }, { SHK_KIND_EVENT,
 *     SHK_READABLE, stop } };
 *     while (shk_wait_any(set, 2, SHK_FOREVER) == 0)
 *         shk_queue_get(orders, &account->paid_in, sizeof(account->paid_in), SHK_NOWAIT);
 *
 * When is what ready?
 *     SHK_KIND_QUEUE, SHK_READABLE      there is an item, or the queue has been shut down
 *     SHK_KIND_QUEUE, SHK_WRITABLE      there is room, or the queue has been shut down; without a capacity always
 *     SHK_KIND_EVENT, SHK_READABLE      it is set; or has been set since the wait began, though it
 *                                       was cleared at once
 *     SHK_KIND_SEMAPHORE, SHK_READABLE  there is a permit that has not been promised to anybody
 *     SHK_KIND_STREAM, SHK_READABLE     `object` is a struct shk_reader: there are samples that it has not read
 * Locks, conditions, barriers and regions are never just ready: -ENOTSUP.
 *
 * Nothing is taken: it is only said what is ready, and somebody else may be faster. So try with
 * SHK_NOWAIT and be prepared for -EAGAIN. A side of a queue that another member has claimed is
 * ready as any other.
 *
 * Who makes an object ready pays one load for this while nobody waits so; when somebody does, all
 * of a segment who wait for any of several objects are woken and look again.
 */
#ifndef SHMKIT_READY_H
#define SHMKIT_READY_H

#include <shmkit/event.h>
#include <shmkit/queue.h>
#include <shmkit/semaphore.h>
#include <shmkit/stream.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SHK_READY_MAX 64 /* objects in a set */

enum { SHK_READABLE = 1, SHK_WRITABLE = 2 };

struct shk_ready {
    uint32_t kind; /* enum shk_kind: what `object` is */
    uint32_t want; /* SHK_READABLE or SHK_WRITABLE; who wants both names the queue twice */
    void *object;  /* the handle; for SHK_KIND_STREAM that of a reader */
};

/*
 * Wait until one of the n objects is ready. If several are, the calling thread is given each in its
 * turn from call to call. Returns the index of one that is ready, or -EAGAIN, -ETIMEDOUT, -EINTR;
 * -EINVAL (no object or more than SHK_READY_MAX, an unknown kind, a `want` that is not for that
 * kind), -ENOTSUP (a kind that is never just ready), -EXDEV (of several segments), -ESTALE (one of
 * them has been unlinked, also while it waits, unless one has become ready before it woke). Killed:
 * nobody else notices.
 */
SHK_PUBLIC int shk_wait_any(const struct shk_ready *set, unsigned n, int64_t timeout);

/*
 * A descriptor for poll(), epoll and event loops, which becomes readable when any of the set is
 * ready. The set is copied.
 *
 * What is read from it is one uint32_t: the index of one that was ready. It stays readable until
 * that is read, whatever happens meanwhile, and becomes readable again if something is ready then.
 * So take first what is there, then read the descriptor; a look too many does no harm. read() gives
 * 0, the end of file, when the set cannot be waited for any more: an object was unlinked, or the
 * segment closed. shk_wait_any() tells which. The descriptor does not block, and is closed by exec.
 *
 * There is a thread for each, which blocks all signals and is a member of the segment, with the
 * name shk_ready_fd. It keeps the handles of the set: they may be closed before the descriptor,
 * except that nothing is freed until the thread ends. close() the descriptor to end it: it notices
 * within about 100 ms, gives up the handles and leaves the segment. So it does, and the descriptor
 * comes to its end, when the process closes the segment; the memory stays mapped until then.
 * shk_set_interrupt() does not concern it. The thread keeps a descriptor of its own, a high one;
 * when the program closes that, the descriptor comes to its end, and another file that gets the
 * number is left alone. A child of fork(3) has no such thread. It may read its copy of the
 * descriptor, which comes to its end with its parent's thread, and should close it: as long as it
 * has one, closing the other does not end the thread.
 *
 * Returns the descriptor, to be closed by the caller; or -EMFILE, -ENFILE (no pipe), -EAGAIN (no
 * thread); else as shk_wait_any(). -EUSERS may be for the thread. Killed: nobody else notices.
 */
SHK_PUBLIC int shk_ready_fd(const struct shk_ready *set, unsigned n);

#ifdef __cplusplus
}
#endif

#endif
