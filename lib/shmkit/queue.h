/*
 * A queue: items of bytes, put by any number of members and taken by any number, in one of three
 * orders.
 *
 * States: open; shut down (no more puts, gets until it is drained). Empty, or holding items: up to
 * `capacity`, up to `capacity_bytes` bytes, or as many as there is memory for.
 *
 *     struct shk_queue_options size = { .capacity = 4, .item_size = 64 };
 *     struct shk_queue *jobs;
 *     char item[64];
 *     ssize_t n;
 *     shk_queue_open(s, "jobs", SHK_CREATE, &size, &jobs);
 *     shk_queue_put(jobs, "Python", 6, SHK_FOREVER);
 *     while ((n = shk_queue_get(jobs, item, sizeof(item), SHK_FOREVER)) >= 0)
 *         fwrite(item, 1, n, stdout);
 *
 * An item is in the queue whole or not at all. A put that returned 0 is never lost. No item is
 * delivered twice. A FIFO queue delivers the items of one producer in the order in which it put
 * them.
 *
 * Order of members: not first come, first served, but eventually fair, as with a lock.
 *
 * Sides. Producers take turns, and so do consumers. The producer side and the consumer side of a
 * FIFO queue are independent of each other; a LIFO or PRIORITY queue has one lock for both. A
 * reservation, a peek and a claim belong to the calling thread and keep the side (LIFO, PRIORITY:
 * both) until they end. Meanwhile other members on that side wait; with SHK_NOWAIT they get -EBUSY.
 * The thread cannot close the queue or leave the segment meanwhile (-EBUSY). Its death ends them.
 *
 * SHK_NOWAIT. A call that meets an operation of another member under way waits for its end, for
 * less than a second. Therefore -EAGAIN means that the queue is full (put) or empty (get), and
 * nothing else. -EBUSY means that another member keeps the side, or is stopped in the middle of a
 * call; shk_last_error() names it.
 *
 * Roles. A process may open a queue as a producer, as a consumer or both, with SHK_AS() (common.h).
 * When the last producer has gone, consumers drain the queue and are told, as at the end of a pipe:
 *
 *     shk_queue_open(s, "jobs", SHK_CREATE | SHK_AS(SHK_CONSUMER), NULL, &jobs);
 *     while ((n = shk_queue_get(jobs, item, sizeof(item), SHK_FOREVER)) >= 0)
 *         fwrite(item, 1, n, stdout);
 *     if (n == -EOWNERDEAD)
 *         errx(1, "a producer has died: this is not all");
 *
 * Limits. A put waits while there are `capacity` items in the queue, or while their lengths add up
 * to `capacity_bytes` or more. So there may be more bytes than that, by less than one item, and
 * always less than twice as many: an item longer than capacity_bytes is refused. Whether a put has
 * to wait does not depend on its item, so short items do not keep a long one waiting. A queue with
 * neither limit is bounded only by memory: a put never waits for room.
 *
 * Memory. A queue has a slot for each item that it may hold if it is limited in items alone, and if
 * item_size is at most 1024 or all slots together take at most 1 MiB. Its memory is taken when it
 * is created, and no put lacks memory. Any other queue has its items at their length, and its
 * memory follows what is in it. So item_size may be as large as an item can ever be, up to 2^31,
 * and costs nothing. An item takes its own length and some bytes more: FIFO 8, LIFO 16; PRIORITY
 * 48, in slots of 64, 96, 128, 192, 256 … bytes. All such queues of a segment share its address
 * space (64 GiB by default, which costs nothing until it is used), each as far as it needs. Memory
 * is taken ahead of use: as much as the queue has, at most 256 KiB. When there is no more, puts
 * give -ENOSPC, and shk_last_error() says what is full. Nothing is lost: gets go on, and later puts
 * succeed again. Memory of consumed items is given back, except about 1 MiB that is kept for the
 * next puts (of a queue with a limit, as much as it may hold, at most about 8 MiB), and a few KiB
 * of bookkeeping.
 */
#ifndef SHMKIT_QUEUE_H
#define SHMKIT_QUEUE_H

#include <shmkit/segment.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

struct shk_queue;

/*
 * First in, first out; last in, first out; lowest priority number first, equals in order of
 * arrival.
 */
enum { SHK_FIFO = 0, SHK_LIFO = 1, SHK_PRIORITY = 2 };

struct shk_queue_options {
    uint32_t order;       /* SHK_FIFO, SHK_LIFO, SHK_PRIORITY */
    uint32_t reserved_32; /* zero */
    /* items, up to 2^31; 0: any number when creating, any capacity when opening */
    size_t capacity;
    /*
     * the largest item in bytes, up to 2^31; items may be shorter and keep their length. 0: 1024
     * when creating, any size when opening
     */
    size_t item_size;
    /*
     * bytes of all items together, up to 2^40, see Limits. 0: any number when creating, any limit
     * when opening
     */
    uint64_t capacity_bytes;
    uint64_t reserved[7]; /* zero */
};

/*
 * Open a queue, or with SHK_CREATE create it if it is absent. options: NULL to open it as it is, or
 * to create a FIFO queue without a limit. flags: SHK_CREATE, SHK_EXCL; SHK_AS(roles), SHK_EPIPE.
 * Returns 0, or
 *   -EPROTOTYPE  present, but no queue, or of another order, limit or item size
 *   -EINVAL      the order, a limit or the item size is out of range; no such role, or SHK_EPIPE
 *                and no producer
 *   -EUSERS      a role, and more processes use the segment than it was created for
 *   -ENOENT, -EEXIST, -ENOSPC, -EPROTO, -ENAMETOOLONG, -EILSEQ as shk_lock_open()
 * The handle is the caller's, which closes it.
 * Killed: the queue has been created whole or not at all. With a role: as a producer, or consumer,
 * that has died; or it had not become one yet.
 */
SHK_PUBLIC int shk_queue_open(struct shk_segment *, const char *name, unsigned flags,
                              const struct shk_queue_options *options, struct shk_queue **out);

/*
 * Give the handle back; the queue and its items stay. NULL is allowed. A role of the handle ends:
 * if it was the process's last one, and no other process has it, waiters learn that at once.
 * Returns 0, or -EBUSY: the calling thread has a claim, a reservation or a peek on the queue; or,
 * of a handle with a role on etcd, -EHOSTUNREACH: it stays open.
 * Killed: the role has been given up, or is that of a process that has died.
 */
SHK_PUBLIC int shk_queue_close(struct shk_queue *);

/*
 * Put one item of len bytes (0 is an item, too), waiting while the queue is full. In a PRIORITY
 * queue its priority is 0. timeout: nanoseconds, SHK_FOREVER, SHK_NOWAIT.
 * Returns 0, or
 *   -EMSGSIZE  the item is longer than item_size, or than capacity_bytes
 *   -EPIPE     the queue is shut down; or the handle has SHK_EPIPE, and the last consumer has gone
 *   -EAGAIN    SHK_NOWAIT, and the queue is full
 *   -EBUSY     SHK_NOWAIT, and another member keeps the producer side (see above); items at their
 *              length: a process has been in the middle of a change to the segment for 10 seconds
 *   -ETIMEDOUT, -EINTR
 *   -EDEADLK   the calling thread has a reservation open (LIFO, PRIORITY: or a peek)
 *   -ENOSPC    items at their length: no memory, or the segment's address space is used up
 *   -EFBIG     items at their length: more than the process's limit of file sizes
 * Killed: the item is in the queue or not.
 * Source: Python queue.Queue; POSIX mq_send().
 */
SHK_PUBLIC int shk_queue_put(struct shk_queue *, const void *item, size_t len, int64_t timeout);

/*
 * Put an item with a priority, into a PRIORITY queue: lower numbers are taken first.
 * Returns as shk_queue_put(), or -ENOTSUP: the queue is of another order.
 * Killed: as shk_queue_put().
 * Source: Python queue.PriorityQueue.
 */
SHK_PUBLIC int shk_queue_put_priority(struct shk_queue *, const void *item, size_t len,
                                      int64_t priority, int64_t timeout);

/*
 * Take the next item into buf, which has room for size bytes, waiting while the queue is empty.
 * timeout: nanoseconds, SHK_FOREVER, SHK_NOWAIT.
 * Returns the length of the item in bytes, or
 *   -EMSGSIZE  buf is too small; the item stays in the queue
 *   -EPIPE     the queue is shut down and empty; or it is empty and the last producer has gone
 *   -EOWNERDEAD  once for each handle, before that: a producer of them has died
 *   -EAGAIN    SHK_NOWAIT, and the queue is empty
 *   -EBUSY     SHK_NOWAIT, there is an item, and another member keeps the consumer side (see above)
 *   -ETIMEDOUT, -EINTR
 *   -EDEADLK   the calling thread has a peek open (LIFO, PRIORITY: or a reservation)
 *   -EPROTO    the shared memory is damaged
 * Killed: the item has been taken, and is gone with its consumer, or it has not.
 * Source: Python queue.Queue; POSIX mq_receive().
 */
SHK_PUBLIC ssize_t shk_queue_get(struct shk_queue *, void *buf, size_t size, int64_t timeout);

/*
 * Take the next item of a PRIORITY queue, and set *priority to the priority that it was put with.
 * Returns as shk_queue_get(), or -ENOTSUP: the queue is of another order.
 * Killed: as shk_queue_get().
 */
SHK_PUBLIC ssize_t shk_queue_get_priority(struct shk_queue *, void *buf, size_t size,
                                          int64_t timeout, int64_t *priority);

/*
 * Put the first of n items, as many as there is room for, at most 65536, waiting while there is no
 * room for one. In a PRIORITY queue their priority is 0.
 * Returns how many it has put, at least 1; or as shk_queue_put(), or
 *   -EMSGSIZE  any of the items is longer than item_size, or than capacity_bytes; nothing is put
 *   -EINVAL    n is 0
 * Killed: FIFO, LIFO: all items of the call are in the queue, or none. PRIORITY: the first few.
 */
SHK_PUBLIC int shk_queue_put_many(struct shk_queue *, const struct iovec *items, unsigned n,
                                  int64_t timeout);

/*
 * Take up to n items, at most 65536, each into a buffer of its own, waiting while there is none. It
 * stops before an item that is larger than its buffer.
 * Returns how many it has taken, at least 1, and sets iov_len of their buffers to their lengths; or
 * as shk_queue_get(), or -EINVAL: n is 0.
 * Killed: FIFO, LIFO: all items of the call have been taken, or none. PRIORITY: the first few.
 */
SHK_PUBLIC int shk_queue_get_many(struct shk_queue *, struct iovec *bufs, unsigned n,
                                  int64_t timeout);

/*
 * Make an item in place. reserve waits for a free place for up to len bytes and sets *slot to it,
 * aligned to 8 bytes. The thread writes the item there. commit puts the first len bytes as one item
 * (of priority 0), and cancel gives the place up; then *slot is no longer valid. The producer side
 * is kept meanwhile, so be quick. A shutdown does not undo a reservation: its commit still
 * succeeds, and consumers wait for it.
 * Return 0, or
 *   reserve         as shk_queue_put(); -ENOLCK (see common.h)
 *   commit, cancel  -EPERM: the thread has no reservation open here
 *   commit          -EMSGSIZE: len is more than was reserved; the reservation stays open
 *                   -ESTALE: the queue has been unlinked; the reservation is gone
 * Killed: with a reservation open, nothing is left of it. In commit, the item is in the queue or
 * not.
 */
SHK_PUBLIC int shk_queue_reserve(struct shk_queue *, size_t len, void **slot, int64_t timeout);
SHK_PUBLIC int shk_queue_commit(struct shk_queue *, size_t len);
SHK_PUBLIC int shk_queue_cancel(struct shk_queue *);

/*
 * Read the next item in place. peek waits for an item and sets *item to it, aligned to 8 bytes. The
 * item stays in the queue until consume takes it out, or unpeek leaves it in; then *item is no
 * longer valid. So nothing is lost if the thread dies while it works on the item. The consumer side
 * is kept meanwhile.
 * Return
 *   peek             the length of the item in bytes, or as shk_queue_get(); -ENOLCK (see common.h)
 *   consume, unpeek  0, or -EPERM: the thread has no peek open here
 * Killed: with a peek open, the item is the next consumer's. In consume, it has been taken or not.
 */
SHK_PUBLIC ssize_t shk_queue_peek(struct shk_queue *, const void **item, int64_t timeout);
SHK_PUBLIC int shk_queue_consume(struct shk_queue *);
SHK_PUBLIC int shk_queue_unpeek(struct shk_queue *);

/*
 * Lease the next item: it is copied into buf, which has room for size bytes, and stays the calling
 * process's until that acknowledges it (ack) or gives it back (nack). Several consumers lease items
 * at the same time, each its own. If the process ends, or closes the segment, before that, the item
 * comes back: so work is lost with no worker. *ticket is set to what ack and nack are told.
 *
 *     while ((n = shk_queue_lease(jobs, item, sizeof(item), SHK_FOREVER, &ticket)) >= 0)
 *         if (work(item, n) == 0)
 *             shk_queue_ack(jobs, ticket);
 *         else
 *             shk_queue_nack(jobs, ticket, SHK_SEC(5));
 *
 * An item that comes back goes before the items that wait, several of them in their former order;
 * in a PRIORITY queue before those of the same priority. Any call that takes an item may be given
 * it. After a death that is as soon as a consumer that waits, or takes items, has found it: within
 * 0.2 s as a rule, 1 s at most. (A member that has claimed the consumer side is given it when there
 * are no others.) The order of the others is kept.
 *
 * A leased item, and one that has come back, counts for the capacity, and keeps a join waiting
 * until it is acknowledged (or has been taken with a get, and is done). It is no task of a thread.
 * A queue that is shut down is drained when nothing is leased any more: until then get and lease
 * wait, for the item may come back.
 *
 * A ticket is valid in all threads of the process, whichever handle of this queue they use, and
 * once only. A forked child does not own what its parent has leased. Up to 4096 items of a queue
 * can be leased; the memory for them, as much for each as the largest item takes, is taken from the
 * segment as it is needed first, and stays with the queue.
 *
 * nack: the item is not handed out again before `delay` nanoseconds are over; consumers that wait
 * are given it then. 0: at once. Less than 0: at once, and this time does not count as an attempt.
 *
 * Return
 *   lease      the length of the item in bytes, or as shk_queue_get(); -EPIPE only if nothing is
 *              leased or has come back, or if the queue was reopened while the call slept;
 *              -ENOSPC: no memory, or 4096 items are leased
 *   ack, nack  0, or
 *              -ENOENT: the ticket is not that of a leased item: it was acknowledged or given back,
 *                       or its process was taken for dead
 *              -EPERM: the item is leased to another process
 *              -ESTALE: the queue has been unlinked, and its items are gone
 * Killed: in lease, the item has not been leased, or comes back. In ack, the item is done or comes
 * back. In nack, it comes back, perhaps at once.
 * Source: the visibility timeout of Amazon SQS, basic.ack and basic.nack of AMQP 0-9-1.
 */
SHK_PUBLIC ssize_t shk_queue_lease(struct shk_queue *, void *buf, size_t size, int64_t timeout,
                                   uint64_t *ticket);
SHK_PUBLIC int shk_queue_ack(struct shk_queue *, uint64_t ticket);
SHK_PUBLIC int shk_queue_nack(struct shk_queue *, uint64_t ticket, int64_t delay);

struct shk_lease_info {
    uint64_t ticket;
    uint64_t member;   /* id of the thread that leased it; it may have ended */
    int32_t pid;       /* of its process */
    uint32_t attempts; /* times that it was handed out, 1: for the first time */
    int64_t priority;  /* PRIORITY; else 0 */
    uint64_t length;   /* bytes */
    int64_t since;     /* nanoseconds since it was leased, or came back */
    int64_t delay;     /* it has come back: nanoseconds until it is due, 0: it is */
    uint32_t is_back;  /* 1: it has come back and waits */
    uint32_t reserved_32;
    uint64_t reserved[8];
};

/*
 * Tell about an item that the calling process has leased: *info. How often it was handed out tells
 * an item that kills its workers from others.
 * Returns as shk_queue_ack(). Killed: nothing has changed.
 */
SHK_PUBLIC int shk_queue_lease_info(struct shk_queue *, uint64_t ticket, struct shk_lease_info *);

/*
 * Claim one side (SHK_PRODUCER, SHK_CONSUMER), or both, of a FIFO queue for the calling thread,
 * until unclaim or its death. It then puts, or gets, without taking a lock each time; other members
 * on that side wait.
 * Return 0, or
 *   claim    -EAGAIN, -ETIMEDOUT, -EINTR: another member keeps a side; neither has been claimed
 *            -EDEADLK: claimed already, or a reservation or a peek is open
 *            -ENOLCK (see common.h)
 *   unclaim  -EPERM (not claimed), -EBUSY (a reservation or a peek is open); nothing has changed
 *   both     -EINVAL: no such side; -ENOTSUP: both sides of a LIFO or PRIORITY queue change the
 *            same data, so neither can do without the lock
 * Killed: the side is free for the next member; puts and gets as without a claim.
 */
SHK_PUBLIC int shk_queue_claim(struct shk_queue *, unsigned sides, int64_t timeout);
SHK_PUBLIC int shk_queue_unclaim(struct shk_queue *, unsigned sides);

/*
 * End a task. Each item that a thread takes with get, get_priority, get_many or consume is a task
 * of that thread until it calls task_done, once for each item.
 * Returns 0, or -EINVAL: the thread has ended as many tasks as it has taken items.
 * Killed: the task has ended, or it ends with the member.
 * Source: Python queue.Queue.task_done(), where any thread may end another's task. Here it may not,
 * because it would not be known whose tasks are left when a member dies.
 */
SHK_PUBLIC int shk_queue_task_done(struct shk_queue *);

/*
 * Wait until the queue is empty and no living member has a task of it left. It waits for items that
 * nothing takes. It does not wait for tasks of members that have died or left the segment.
 * timeout: nanoseconds, SHK_FOREVER, SHK_NOWAIT.
 * Returns
 *   0             all tasks have ended
 *   SHK_ORPHANED  (1) no task is left, and members have died or left with tasks since a join last
 *                 returned this
 *   -EAGAIN, -ETIMEDOUT, -EINTR  tasks are left
 * A member killed at the end of a get counts as one with a task, even if its item has stayed in the
 * queue.
 * Killed: at the end of a join, the SHK_ORPHANED that it was about to return may be lost.
 * Source: Python queue.Queue.join().
 */
SHK_PUBLIC int shk_queue_join(struct shk_queue *, int64_t timeout);

/*
 * Returns how many tasks are left: items that are in the queue, and items that living members have
 * taken and not finished. 0: a join would not wait. A hint, it may have changed since; while items
 * are being taken it may be too high, never too low.
 */
SHK_PUBLIC ssize_t shk_queue_unfinished(struct shk_queue *);

/*
 * Return how many items are in the queue, a hint; how many it holds at most, 0: any number.
 */
SHK_PUBLIC ssize_t shk_queue_size(struct shk_queue *);
SHK_PUBLIC ssize_t shk_queue_capacity(struct shk_queue *);

/*
 * Returns the largest item in bytes: a buffer of that size has room for any item. Where that is
 * more than any item that will come, peek tells the length of the next one.
 */
SHK_PUBLIC ssize_t shk_queue_item_size(struct shk_queue *);

/*
 * Return 1 or 0; a hint, it may have changed since. Full: a put would wait. A queue without a limit
 * is never full.
 */
SHK_PUBLIC int shk_queue_empty(struct shk_queue *);
SHK_PUBLIC int shk_queue_full(struct shk_queue *);

/*
 * End the puts: they give -EPIPE at once, and those that are asleep wake with -EPIPE (those that
 * wait for a claimed or reserved producer side, within about 100 ms). Gets go on until the queue is
 * empty and then give -EPIPE. A put that is being carried out at that moment may still succeed, and
 * its item is then delivered. Shutting down twice is the same as once. Returns 0.
 * Killed: it is shut down or not.
 * Source: Python 3.13 queue.Queue.shutdown().
 */
SHK_PUBLIC int shk_queue_shutdown(struct shk_queue *);

/*
 * Returns 1 if the queue is shut down, drained or not; else 0. A hint, it may have changed since.
 */
SHK_PUBLIC int shk_queue_is_shut_down(struct shk_queue *);

/*
 * Allow puts again; a queue that is open stays so. Calls that were asleep at the shutdown give
 * -EPIPE all the same (a get, if there is no item), however soon this follows. Returns 0.
 * Killed: it is open or not.
 */
SHK_PUBLIC int shk_queue_reopen(struct shk_queue *);

/*
 * Carry the items of one queue into another, each once, whichever process is killed at whatever
 * moment. The one queue is FIFO, in shared memory, and its consumer side is claimed; the other lies
 * on etcd, and keeps a cursor for each source of items: how many it has been given of it. 'shmctl
 * bridge' does that.
 *
 *     shk_queue_position(jobs, &position);
 *     n = shk_queue_put_at(far, source, position, items, n, SHK_FOREVER);
 *     shk_queue_get_many(jobs, items, n, SHK_NOWAIT);
 *
 * After a kill between the two last calls the cursor is n ahead of the position, and so tells which
 * items are only to be taken.
 *
 * incarnation: set *incarnation to a number that no other queue has, also not an earlier or a later
 * one of that name; a source may be called by it. A copy of the segment's file has the same.
 * position: set *position to the number of the next item of a FIFO queue, from 0: how many have
 * been taken so far. An item that was leased and has come back counts as taken. Others may take
 * items meanwhile, unless the calling thread has claimed the consumer side.
 * Return 0, or
 *   -EINVAL   the pointer is NULL
 *   -ENOTSUP  the queue lies on etcd; position: it is not FIFO
 * Killed: nothing has changed.
 */
SHK_PUBLIC int shk_queue_incarnation(struct shk_queue *, uint64_t *incarnation);
SHK_PUBLIC int shk_queue_position(struct shk_queue *, uint64_t *position);

/*
 * Put the first of n items, as many as there is room for, at most 60, if the cursor of `source` is
 * at `position`, and move it on by as many: all of that or nothing. A source that has no cursor yet
 * begins at any position. In a PRIORITY queue the items' priority is 0. source: a name, as an
 * object has; timeout: nanoseconds, SHK_FOREVER, SHK_NOWAIT.
 * Returns how many it has put, at least 1; or as shk_queue_put(), or
 *   -ESTALE        the cursor is elsewhere: nothing was put; or the queue has been unlinked
 *   -EHOSTUNREACH  it is not known whether they were put; the cursor tells, when it can be read
 *                  again, and the same call made again puts nothing twice
 *   -ENOTSUP       the queue lies in shared memory, and has no cursors
 * Killed: the items are in the queue and the cursor is behind them, or neither; which of both may
 * become known only later, and a second call with the same position settles it.
 */
SHK_PUBLIC int shk_queue_put_at(struct shk_queue *, const char *source, uint64_t position,
                                const struct iovec *items, unsigned n, int64_t timeout);

/*
 * Read the cursor of a source: *position, where the next put_at continues, and *before, where the
 * last one began. Or set it, where source and queue do not fit together any more: after a restore,
 * or when other consumers have taken items of the source.
 * Return 0, or
 *   -ENOENT   cursor: the source has none
 *   -ENOTSUP  the queue lies in shared memory, and has no cursors
 *   -ESTALE, -EHOSTUNREACH, -EINVAL
 * Killed: the cursor has been set or not.
 */
SHK_PUBLIC int shk_queue_cursor(struct shk_queue *, const char *source, uint64_t *position,
                                uint64_t *before);
SHK_PUBLIC int shk_queue_set_cursor(struct shk_queue *, const char *source, uint64_t position);

#ifdef __cplusplus
}
#endif

#endif
