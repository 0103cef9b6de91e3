/*
 * A queue: items of bytes, put at one end by any number of members and taken from the other by any number.
 *
 * States: open; shut down (no more puts, gets until it is drained). Empty, or holding up to `capacity` items.
 *
 *     struct shk_queue *jobs;
 *     char item[64];
 *     ssize_t n;
 *     shk_queue_open(s, "jobs", SHK_CREATE, &(struct shk_queue_options){ .capacity = 4, .item_size = 64 }, &jobs);
 *     shk_queue_put(jobs, "Python", 6, SHK_FOREVER);
 *     while ((n = shk_queue_get(jobs, item, sizeof(item), SHK_FOREVER)) >= 0)
 *         fwrite(item, 1, n, stdout);
 *
 * An item is wholly in the queue or not at all. A put that returned 0 is never lost. No item is delivered twice. Items of
 * one producer are delivered in the order in which it put them.
 *
 * Who is served: not first come, first served, but eventually fair, as with a lock.
 */
#ifndef SHMKIT_QUEUE_H
#define SHMKIT_QUEUE_H

#include <shmkit/segment.h>

#ifdef __cplusplus
extern "C" {
#endif

struct shk_queue;

enum { SHK_FIFO = 0, SHK_LIFO = 1, SHK_PRIORITY = 2 };

struct shk_queue_options {
    uint32_t order;       /* SHK_FIFO; the other orders are -ENOTSUP in this version */
    uint32_t reserved_32; /* zero */
    size_t capacity;      /* items, 1 to 2^31, held in a ring rounded up to a power of two; 0 when opening: whatever is there */
    size_t item_size;     /* the largest item in bytes, up to 2^31; items may be shorter and keep their length. 0: 1024, or whatever is there */
    uint64_t reserved[8]; /* zero */
};

/*
 * Open a queue, or with SHK_CREATE create it if it is absent. options: NULL for whatever is there.
 * Returns 0, or -EPROTOTYPE (present, but no queue or of another geometry), -ENOTSUP (an order, or the unlimited capacity 0, that this version
 * cannot create), -EINVAL (geometry out of range), -ENOENT, -EEXIST, -ENOSPC, -EPROTO, -ENAMETOOLONG, -EILSEQ as shk_lock_open().
 * Killed: it has been created whole or not at all.
 */
SHK_PUBLIC int shk_queue_open(struct shk_segment *, const char *name, unsigned flags, const struct shk_queue_options *options,
                              struct shk_queue **out);

/* Give the handle back; the queue and what is in it stay. NULL is allowed. Returns 0. */
SHK_PUBLIC int shk_queue_close(struct shk_queue *);

/*
 * Put one item of len bytes (0 is an item, too), waiting for a free place.
 * Returns 0, or -EMSGSIZE (longer than item_size), -EPIPE (shut down), -EAGAIN (full), -ETIMEDOUT, -EINTR.
 * SHK_NOWAIT gives -EAGAIN only if it is full, or if another producer has stayed in the middle of its put past a bounded spin.
 * Killed: the item is in the queue or not.
 * Source: Python queue.Queue; POSIX mq_send().
 */
SHK_PUBLIC int shk_queue_put(struct shk_queue *, const void *item, size_t len, int64_t timeout);

/*
 * Take the next item into buf, which has room for size bytes, waiting for one to come.
 * Returns its length, or -EMSGSIZE (buf is too small, the item stays), -EPIPE (shut down and drained), -EAGAIN (empty), -ETIMEDOUT, -EINTR.
 * Killed: the one item has been taken or not.
 */
SHK_PUBLIC ssize_t shk_queue_get(struct shk_queue *, void *buf, size_t size, int64_t timeout);

/* How many items are in it; how many it holds at most. A look, out of date at once. */
SHK_PUBLIC ssize_t shk_queue_size(struct shk_queue *);
SHK_PUBLIC ssize_t shk_queue_capacity(struct shk_queue *);

/* The largest item in bytes: the size of buffer that any item fits. */
SHK_PUBLIC ssize_t shk_queue_item_size(struct shk_queue *);

/* 1 or 0. A look, out of date at once. */
SHK_PUBLIC int shk_queue_empty(struct shk_queue *);
SHK_PUBLIC int shk_queue_full(struct shk_queue *);

/*
 * No more puts: they give -EPIPE at once, those asleep in one, too; gets go on until it is drained and then give -EPIPE. A put that is being carried
 * out at that moment may still succeed, and its item is then delivered. Shutting down twice is the same as once. Returns 0.
 * Killed: it is shut down or not.
 * Source: Python 3.13 queue.Queue.shutdown().
 */
SHK_PUBLIC int shk_queue_shutdown(struct shk_queue *);

#ifdef __cplusplus
}
#endif

#endif
