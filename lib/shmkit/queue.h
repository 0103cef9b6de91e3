/*
 * A queue: items of bytes, put by any number of members and taken by any number, in one of three
 * orders.
 *
 * States: open; shut down (no more puts, gets until it is drained). Empty, or holding items: up to
 * `capacity`, or with capacity 0 as many as there is memory for.
 *
 *     struct shk_queue *jobs;
 *     char item[64];
 *     ssize_t n;
 *     shk_queue_open(s, "jobs", SHK_CREATE, &(struct shk_queue_options){ .capacity = 4, .item_size
 *     = 64 }, &jobs);
 *     shk_queue_put(jobs, "Python", 6, SHK_FOREVER);
 *     while ((n = shk_queue_get(jobs, item, sizeof(item), SHK_FOREVER)) >= 0)
 *         fwrite(item, 1, n, stdout);
 *
 * An item is wholly in the queue or not at all. A put that returned 0 is never lost. No item is
 * delivered twice. In a FIFO queue items of one producer are delivered in the order in which it put
 * them.
 *
 * Who is served: not first come, first served, but eventually fair, as with a lock.
 *
 * Capacity 0: bounded only by memory. A put never waits for room. Items take the room of their own
 * length: FIFO 8 bytes more, LIFO 16; PRIORITY 48, in slots of 64, 96, 128, 192, 256 … bytes. All
 * such queues of a segment share its address space, which costs nothing (64 GiB if nothing else was
 * said), each as far as it needs. Memory is taken in pieces of 256 KiB or less, ahead of use. When
 * it is out, puts give -ENOSPC, and the sentence says of what: nothing is lost, gets go on, and
 * later puts work again. What has been consumed is given back, but for about 1 MiB that is kept for
 * the next puts, and a few KiB that say where what is.
 *
 * Gates. Producers take turns, and so do consumers: each side of a FIFO queue has a gate, LIFO and
 * PRIORITY queues have one for both. An open reservation, an open peek and a claim hold the gate:
 * the others on that side (LIFO and PRIORITY: on both) wait meanwhile; with SHK_NOWAIT they get
 * -EBUSY. They belong to the calling thread, which cannot leave the segment or close the queue
 * meanwhile (-EBUSY). Its death ends them.
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

/* The sides of a queue. */
#define SHK_PRODUCER 0x1u
#define SHK_CONSUMER 0x2u

struct shk_queue_options {
    uint32_t order;       /* SHK_FIFO, SHK_LIFO, SHK_PRIORITY */
    uint32_t reserved_32; /* zero */
    /* items, up to 2^31; 0: bounded only by memory, or, when opening, whatever is there */
    size_t capacity;
    /*
     * the largest item in bytes, up to 2^31; items may be shorter and keep their length. 0: 1024,
     * or whatever is there
     */
    size_t item_size;
    uint64_t reserved[8]; /* zero */
};

/*
 * Open a queue, or with SHK_CREATE create it if it is absent. options: NULL for whatever is there,
 * or for a FIFO queue of capacity 0. Returns 0, or -EPROTOTYPE (present, but no queue, or of
 * another order or geometry), -EINVAL (geometry out of range), -ENOENT, -EEXIST, -ENOSPC, -EPROTO,
 * -ENAMETOOLONG, -EILSEQ as shk_lock_open(). Killed: it has been created whole or not at all.
 */
SHK_PUBLIC int shk_queue_open(struct shk_segment *, const char *name, unsigned flags,
                              const struct shk_queue_options *options, struct shk_queue **out);

/*
 * Give the handle back; the queue and what is in it stay. NULL is allowed.
 * Returns 0, or -EBUSY: the calling thread has a claim, a reservation or a peek on the queue.
 */
SHK_PUBLIC int shk_queue_close(struct shk_queue *);

/*
 * Put one item of len bytes (0 is an item, too), waiting for a free place. On a PRIORITY queue its
 * priority is 0. Returns 0, or -EMSGSIZE (longer than item_size), -EPIPE (shut down), -EAGAIN
 * (full), -ETIMEDOUT, -EINTR, -EDEADLK (the calling thread has a reservation open; LIFO, PRIORITY:
 * or a peek); capacity 0: -ENOSPC (no memory, or the segment's address space is used up), -EFBIG
 * (the process's file size limit), -EBUSY. SHK_NOWAIT: -EAGAIN is for a full queue alone. -EBUSY:
 * another member has claimed the producer side or has a reservation open, or is stopped in the
 * middle of a put; the sentence names it. A put of another member that is under way is waited for,
 * for less than a second. Killed: the item is in the queue or not. Source: Python queue.Queue;
 * POSIX mq_send().
 */
SHK_PUBLIC int shk_queue_put(struct shk_queue *, const void *item, size_t len, int64_t timeout);

/*
 * The same with a priority, PRIORITY queues only: lower numbers are taken first.
 * Returns as shk_queue_put(), or -ENOTSUP: other orders have no place for a priority.
 * Source: Python queue.PriorityQueue.
 */
SHK_PUBLIC int shk_queue_put_priority(struct shk_queue *, const void *item, size_t len,
                                      int64_t priority, int64_t timeout);

/*
 * Take the next item into buf, which has room for size bytes, waiting for one to come.
 * Returns its length, or -EMSGSIZE (buf is too small, the item stays), -EPIPE (shut down and
 * drained), -EAGAIN (empty), -ETIMEDOUT, -EINTR, -EDEADLK (the calling thread has a peek open;
 * LIFO, PRIORITY: or a reservation). SHK_NOWAIT: -EAGAIN is for an empty queue alone. -EBUSY: there
 * is an item, but another member has claimed the consumer side or has an item peeked (LIFO,
 * PRIORITY: or a reservation open), or is stopped in the middle of a get; the sentence names it.
 * Killed: the one item has been taken or not.
 */
SHK_PUBLIC ssize_t shk_queue_get(struct shk_queue *, void *buf, size_t size, int64_t timeout);

/*
 * The same, and *priority is set to the priority that the item was put with. PRIORITY queues only.
 * Returns as shk_queue_get(), or -ENOTSUP: the items of other orders have none.
 * Killed: as shk_queue_get().
 */
SHK_PUBLIC ssize_t shk_queue_get_priority(struct shk_queue *, void *buf, size_t size,
                                          int64_t timeout, int64_t *priority);

/*
 * Put up to n items in one go, waiting until there is room for one. On a PRIORITY queue their
 * priority is 0. No more than 65536 are moved at a time. Returns how many have been put, the first
 * ones, at least 1; or as shk_queue_put(); -EMSGSIZE (any of them is longer than item_size: nothing
 * is put), -EINVAL (n is 0). Killed: FIFO, LIFO: all that it would have put are in the queue, or
 * none. PRIORITY: the first few.
 */
SHK_PUBLIC int shk_queue_put_many(struct shk_queue *, const struct iovec *items, unsigned n,
                                  int64_t timeout);

/*
 * Take up to n items in one go, each into a buffer of its own, waiting until there is one. It stops
 * before an item that is larger than its buffer. No more than 65536 are moved at a time. Returns
 * how many, at least 1, and sets iov_len of these to the items' lengths; or as shk_queue_get();
 * -EINVAL (n is 0). Killed: FIFO, LIFO: all that it would have returned have been taken, or none.
 * PRIORITY: the first few.
 */
SHK_PUBLIC int shk_queue_get_many(struct shk_queue *, struct iovec *bufs, unsigned n,
                                  int64_t timeout);

/*
 * Make an item in place. reserve waits for a free place for up to len bytes and sets *slot to it,
 * aligned to 8 bytes; the thread writes there, and ends with commit, which puts the first len bytes
 * as an item (priority 0), or with cancel. *slot is no longer valid then. The gate is held
 * meanwhile: be quick. A shutdown does not undo a reservation: its commit still succeeds, and
 * consumers wait for it. Returns 0. reserve: as shk_queue_put(), or -ENOLCK. commit, cancel: -EPERM
 * (no reservation is open here). commit: -EMSGSIZE (more than was reserved; it stays open), -ESTALE
 * (unlinked; the reservation is gone). Killed: with a reservation open, nothing is left of it; in
 * commit, the item is in the queue or not.
 */
SHK_PUBLIC int shk_queue_reserve(struct shk_queue *, size_t len, void **slot, int64_t timeout);
SHK_PUBLIC int shk_queue_commit(struct shk_queue *, size_t len);
SHK_PUBLIC int shk_queue_cancel(struct shk_queue *);

/*
 * Look at the next item in place. peek waits for one and sets *item to it, aligned to 8 bytes; the
 * item stays in the queue until the thread ends with consume, which takes it, or with unpeek, which
 * leaves it. *item is no longer valid then. So nothing is lost if the thread dies while it works on
 * the item. The gate is held meanwhile. Returns: peek, the item's length, or as shk_queue_get(), or
 * -ENOLCK. consume, unpeek: 0; -EPERM (no peek is open here). Killed: with a peek open, the item is
 * the next consumer's; in consume, it has been taken or not.
 */
SHK_PUBLIC ssize_t shk_queue_peek(struct shk_queue *, const void **item, int64_t timeout);
SHK_PUBLIC int shk_queue_consume(struct shk_queue *);
SHK_PUBLIC int shk_queue_unpeek(struct shk_queue *);

/*
 * Take one side (SHK_PRODUCER, SHK_CONSUMER), or both, of a FIFO queue for the calling thread,
 * until unclaim or its death: it then puts, or gets, without any lock; the others on that side
 * wait. Returns 0, or -EAGAIN, -ETIMEDOUT, -EINTR (neither side has been claimed), -EDEADLK
 * (claimed already, or a reservation or peek is open), -ENOLCK, -ENOTSUP: both sides of a LIFO or
 * PRIORITY queue change the same things, so neither can do without a lock. unclaim: 0, or -EPERM
 * (not claimed), -EBUSY (a reservation or a peek is open); then nothing has changed. Killed: the
 * gate is the next one's; puts and gets as without a claim.
 */
SHK_PUBLIC int shk_queue_claim(struct shk_queue *, unsigned sides, int64_t timeout);
SHK_PUBLIC int shk_queue_unclaim(struct shk_queue *, unsigned sides);

/*
 * Each item that a thread takes with get, get_many or consume is a task of that thread until it
 * says task_done, once for each item. task_done: 0, or -EINVAL: the calling thread has taken no
 * more items than it has finished. Source: Python queue.Queue.task_done(), where any thread may
 * finish another's tasks: here it would not be known whose are left when one dies.
 */
SHK_PUBLIC int shk_queue_task_done(struct shk_queue *);

/*
 * Wait until the queue is empty and no living member has a task of it left. Items that nobody takes
 * are waited for, tasks of the dead, or of those who have left the segment, are not. Returns 0;
 * SHK_ORPHANED (1): the same, but members have died, or left, with tasks since this was last said
 * to anybody; -EAGAIN, -ETIMEDOUT, -EINTR: not yet. A member killed at the end of a get counts as
 * one with a task even if its item has stayed in the queue. Who is killed at the end of a join may
 * take along what it was about to be told. Source: Python queue.Queue.join().
 */
SHK_PUBLIC int shk_queue_join(struct shk_queue *, int64_t timeout);

/*
 * How many tasks are left: items that are in it, and items that living members have taken and not
 * finished. 0: a join would not wait. A look, out of date at once; while items are being taken it
 * may be too high, never too low.
 */
SHK_PUBLIC ssize_t shk_queue_unfinished(struct shk_queue *);

/*
 * How many items are in it; how many it holds at most, 0: no limit but memory. A look, out of date
 * at once.
 */
SHK_PUBLIC ssize_t shk_queue_size(struct shk_queue *);
SHK_PUBLIC ssize_t shk_queue_capacity(struct shk_queue *);

/* The largest item in bytes: the size of buffer that any item fits. */
SHK_PUBLIC ssize_t shk_queue_item_size(struct shk_queue *);

/* 1 or 0. A look, out of date at once. A queue of capacity 0 is never full. */
SHK_PUBLIC int shk_queue_empty(struct shk_queue *);
SHK_PUBLIC int shk_queue_full(struct shk_queue *);

/*
 * No more puts: they give -EPIPE at once, those asleep in one, too (those who wait for a claimed or
 * reserved gate, within about 100 ms); gets go on until it is drained and then give -EPIPE. A put
 * that is being carried out at that moment may still succeed, and its item is then delivered.
 * Shutting down twice is the same as once. Returns 0. Killed: it is shut down or not. Source:
 * Python 3.13 queue.Queue.shutdown().
 */
SHK_PUBLIC int shk_queue_shutdown(struct shk_queue *);

/* Whether it is shut down, drained or not: 1 or 0. A look. */
SHK_PUBLIC int shk_queue_is_shut_down(struct shk_queue *);

/*
 * Open again what has been shut down; what is open stays so. Calls that were asleep when it was
 * shut down get -EPIPE all the same (a get, if there is no item), however soon this follows.
 * Returns 0. Killed: open or not.
 */
SHK_PUBLIC int shk_queue_reopen(struct shk_queue *);

#ifdef __cplusplus
}
#endif

#endif
