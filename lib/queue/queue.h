/*
 * The parts of a queue: its handle, how a call takes its turn at a lock, and the eventcounts where
 * a side sleeps that cannot go on.
 *
 * Locks. A FIFO queue has two, one for each side; LIFO and PRIORITY have one, the put lock, for
 * both. They are biased locks: see sync/biased.h. A lock is held for one operation, or kept:
 * claimed, or with a reservation or a peek open. The member that keeps it is written in
 * mutex.holder, which means nothing unless that member is alive; ids never repeat.
 *
 * Sleeping. Consumers sleep on the eventcount `not_empty`, producers on `not_full`, joiners on
 * `tasks`: see sync/eventcount.h. The changes that end in a notify are the commits Q1, Q2, Q3, O1
 * and T1. WATCHERS is a flag of the same word, for those who wait for any of several objects: see
 * poll.h.
 */
#ifndef SHKI_QUEUE_H
#define SHKI_QUEUE_H

#include "base/fence.h"
#include "object/shared.h"
#include "object/watch.h"
#include "queue/adaptive.h"
#include "sync/biased.h"
#include "sync/eventcount.h"

#include <shmkit/queue.h>
#include <string.h>

/*
 * A list of chunks of a queue of capacity 0: see list.c. Changed and read with the side's
 * lock.
 */
struct shki_list {
    struct shki_list_shared *shared;
    _Atomic uint32_t *map; /* which block each chunk begins at */
    /* number of the page of the map that is known to have memory; 0: none */
    uint64_t map_page;
    uint64_t piece, spare; /* bytes: memory comes and goes in pieces; so much is kept */
    uint32_t number;
    uint32_t blocks;          /* of a chunk */
    uint32_t last_block;      /* at which a chunk may begin */
    unsigned shift;           /* log of a chunk's bytes */
    uint64_t slot, per_chunk; /* PRIORITY, a size class: bytes of a slot; slots of a chunk */
};

#define SHKI_LISTS_MAX 64u

/*
 * The chunk that a side is in, of a FIFO queue of capacity 0. Changed and read with the side's
 * lock.
 */
struct shki_chunk {
    uint64_t number; /* + 1; 0: none */
    unsigned char *at;
};

/*
 * A side that finds itself on the heels of the other, one item at a time, would fight with it for
 * the cache line of head or tail for each item. It rather pauses before it looks, and then finds
 * many. Changed and read with the side's lock.
 */
struct shki_slip {
    uint32_t close; /* how often in a row there was hardly anything */
    /*
     * pauses in a row that have not paid: each doubles how close it must have been to pause again
     */
    uint32_t failed_backoffs;
};

/*
 * How soon the next item comes to one who waits for each. Private to the process; threads race on
 * it harmlessly.
 */
struct shki_poll_estimate {
    /* sixteenths of a pause until it is worth a look; 0: they are there, or it is not known */
    _Atomic uint32_t estimate;
};

#define SHKI_LINE 64u /* bytes of a cache line */

struct shk_queue {
    struct shki_object object;
    struct shki_queue_shared *shared;

    /* Validated copies. */
    uint64_t capacity; /* 0: grows */
    uint64_t mask;     /* of positions in the ring */
    uint64_t stride;
    size_t item_size;
    /*
     * an item of fewer bytes may go the usual way: item_size + 1 of a ring with asymmetric fences,
     * else 0
     */
    size_t usual_below;
    unsigned char *slots;
    uint32_t order;
    uint64_t put_ahead, get_ahead; /* FIFO: so many slots ahead each side fetches one, */
    /*
     * … at those positions alone that have none of these bits: the others' have their line in
     * common with it
     */
    uint64_t share_mask;
    uint64_t fetch;      /* bytes of it that a get fetches */
    bool grows;          /* capacity 0 */
    bool ring;           /* FIFO, and does not grow */
    bool asymmetric;     /* the segment's fences are */
    unsigned shift;      /* capacity 0: log of a chunk's bytes, */
    uint64_t chunk_mask; /* … less 1 */
    uint64_t chunks;     /* places in the map of a list */
    /* FIFO, capacity 0: chunks that keep their memory though nothing is in them */
    uint64_t spare;
    uint64_t limit;        /* PRIORITY: items that there may be */
    uint64_t entries_size; /* PRIORITY: the part of the chunk that is of the heap */
    unsigned n_lists;      /* capacity 0 */
    struct shki_list *lists;
    struct shki_task *tasks; /* one a member record */

    struct shki_chunk put_chunk, get_chunk;
    /* capacity 0: FIFO, LIFO: place of the record for which there is room; with the lock */
    uint64_t reserved_at;
    uint32_t reserved_class; /* … PRIORITY: list of the slot */
    struct shki_slip put_slip, get_slip;
    struct shki_poll_estimate poll;
    struct shki_adaptive put_adaptive, get_adaptive, task_adaptive;
    struct shki_spinner put_lock_spinner, get_lock_spinner, not_full_spinner, not_empty_spinner,
        tasks_spinner;
    struct shki_biased put_biased, get_biased; /* the locks, of shared->put_lock and get_lock */
};

#define SHKI_BATCH_MAX 65536u /* items moved with the lock; the others wait for that */

/*
 * How long SHK_NOWAIT waits for a side's lock that no member keeps: awake; asleep, before it looks
 * again; altogether.
 */
#define SHKI_BUSY_SPIN  SHK_MS(2)
#define SHKI_BUSY_SLICE SHK_MS(10)
#define SHKI_BUSY_LIMIT SHK_MS(900)

/* One call on one side: its turn at the lock, and its waits. */
struct shki_call {
    struct shk_queue *queue;
    struct shki_member *member;
    struct shki_side_lock *lock;
    const struct shki_biased *biased; /* the same */
    struct shki_spinner *lock_spinner;
    /* where this side sleeps, and the side that it wakes */
    struct shki_eventcount_shared *eventcount, *other;
    struct shki_spinner *spinner;
    struct shki_adaptive *adaptive;
    /* loads only; also true when there is nothing to wait for any more: shut down, unlinked */
    bool (*can_go_on)(const void *queue);
    uint32_t waits_for;
    int64_t timeout;
    struct shki_deadline deadline;
    uint32_t shutdowns; /* the queue's, when the wait began */
    bool heeds_shutdown;
    bool begun, slept;
    bool puts;
    bool keep;       /* the lock, after a success */
    bool bias_owner; /* is in the lock, without its mutex */
};

/* What is to be moved. */
struct shki_work {
    const struct iovec *items; /* put */
    struct iovec *buffers;     /* get: iov_len becomes the item's length */
    unsigned n;
    int64_t priority;       /* put; get: the item's */
    struct shki_slot *slot; /* reserve, peek, */
    size_t length;          /* … reserve */
};

/*
 * An order. With the lock. `room` gives a free slot for the i-th item from now, which is of that
 * length, `item` the slot of the i-th next item: 1; 0: full, empty; or an error. `put` commits n
 * slots that have been filled, `take` takes n items.
 */
struct shki_order {
    unsigned batch; /* how many at a time */
    int (*room)(struct shk_queue *, unsigned i, size_t length, struct shki_slot **);
    int (*item)(struct shk_queue *, unsigned i, struct shki_slot **);
    void (*put)(struct shk_queue *, unsigned n, int64_t priority);
    void (*take)(struct shk_queue *, unsigned n);
};

/* FIFO, LIFO: with a capacity, */
extern const struct shki_order shki_fifo, shki_lifo, shki_priority;
extern const struct shki_order shki_flow, shki_stack; /* … and without */
const struct shki_order *shki_order_of(const struct shk_queue *);

/*
 * With the lock: how many items have been moved, 0: full or empty, or an error. For
 * shki_carry_out().
 */
typedef int shki_act(struct shk_queue *, struct shki_member *, struct shki_work *);

/* How a call begins. */
struct shki_call shki_put_call(struct shk_queue *, struct shki_member *, int64_t timeout);
struct shki_call shki_get_call(struct shk_queue *, struct shki_member *, int64_t timeout);

/* Whether a side can go on, for spinning and sleeping: loads only. `arg` is the queue. */
bool shki_queue_has_item(const void *arg);
bool shki_queue_has_room(const void *arg);

/* The same without the question whether it has been unlinked. */
bool shki_queue_is_readable(const struct shk_queue *);
bool shki_queue_is_writable(const struct shk_queue *);

/* Whether it is shut down. Q3: acquire; pairs with the release in shutdown. */
static inline uint32_t shki_shut_word(const struct shk_queue *q)
{
    return load_acquire(&q->shared->shut_down);
}

static inline uint32_t shki_shut_down(const struct shk_queue *q)
{
    return shki_shut_word(q) & SHKI_SHUT_STATE;
}

/* Shut down, and no put is half way: what is not there now does not come. */
bool shki_queue_is_over(const struct shk_queue *);

/* How many items are in it; how many have been put. Loads only. */
uint64_t shki_queue_items(const struct shk_queue *);
uint64_t shki_fifo_tail(const struct shk_queue *);
/* With the put lock: what the word of the next item's slot begins with. */
uint64_t shki_fifo_number(const struct shk_queue *);
bool shki_fifo_has_item(const struct shk_queue *);

/* LIFO and PRIORITY: items, counted as if every committed operation were finished. */
uint64_t shki_ordered_size(const struct shk_queue *);
/* Finish what a dead holder of the lock had committed, and give back what it had not. */
void shki_ordered_repair(struct shk_queue *);

/* Wait until it is worth another try: 0, or the end of deadline. */
int shki_call_wait(struct shki_call *);
/* To be called when the call ends, with whatever result. */
void shki_cascade_wakeup(struct shki_call *);

/*
 * Take the lock, however long it takes, but that `slice` may end it after each slice: 0 or an
 * error.
 */
int shki_call_lock(struct shki_call *, int (*slice)(void *), void *arg);

/*
 * Whether a living member keeps the side: has claimed it, or has a reservation or a peek open.
 * Loads only.
 */
bool shki_side_is_held(const struct shki_call *);

/* A whole call, slowly. */
int shki_carry_out(struct shki_call *, shki_act *act, struct shki_work *work);

/* Make the lock, which the caller has, its own for long, and ordinary again. */
void shki_side_hold(struct shki_call *, uint32_t claimed, uint32_t open);
void shki_side_unhold(struct shki_side_lock *lock);

/* Repair what whoever died in the put lock left. With the mutex, and nobody living inside. */
void shki_fifo_repair(struct shk_queue *);

static inline bool shki_side_is_held_by(const struct shki_side_lock *lock,
                                        const struct shki_member *m)
{
    /* Relaxed: only the caller itself writes its own id there. */
    return m && load_relaxed(&lock->mutex.holder) == m->id;
}

/* The lock as a biased one. */
static inline const struct shki_biased *shki_side_biased(const struct shk_queue *q,
                                                         const struct shki_side_lock *lock)
{
    return lock == &q->shared->put_lock ? &q->put_biased : &q->get_biased;
}

/* Called when a queue is opened. */
void shki_side_init(struct shk_queue *);

/* Try to enter by the mutex: 0; 1: another member is there; or an error. And leave. */
int shki_side_trylock_slow(struct shk_queue *, struct shki_member *, struct shki_side_lock *lock);
void shki_side_unlock_slow(struct shk_queue *, struct shki_member *, struct shki_side_lock *lock);

/* What a member's record says of one that is in the lock by its bias. */
static inline __attribute__((always_inline)) uint64_t
shki_side_offset(const struct shk_queue *q, const struct shki_side_lock *lock)
{
    return q->object.offset + (uint64_t)((const char *)lock - (const char *)q->shared);
}

/* Enter as the bias owner, if the caller is. */
static inline __attribute__((always_inline)) bool
shki_side_enter(const struct shk_queue *q, const struct shki_member *m, struct shki_side_lock *lock)
{
    return shki_biased_enter(m, &lock->bias, shki_side_offset(q, lock), q->asymmetric);
}

/* Try to enter: 0; 1: another member is there; or an error. */
static inline __attribute__((always_inline)) int shki_side_trylock(struct shk_queue *q,
                                                                   struct shki_member *m,
                                                                   struct shki_side_lock *lock,
                                                                   bool *bias_owner)
{
    *bias_owner = shki_side_enter(q, m, lock);
    return likely(*bias_owner) ? 0 : shki_side_trylock_slow(q, m, lock);
}

static inline __attribute__((always_inline)) void shki_side_unlock(struct shk_queue *q,
                                                                   struct shki_member *m,
                                                                   struct shki_side_lock *lock,
                                                                   bool bias_owner)
{
    if (likely(bias_owner))
        shki_biased_leave(m);
    else
        shki_side_unlock_slow(q, m, lock);
}

/* Notify, after a commit. `adaptive`: of the side that has committed. */
void shki_queue_notify_slow(struct shk_queue *, struct shki_eventcount_shared *,
                            struct shki_adaptive *);
static inline __attribute__((always_inline)) void
shki_queue_notify(struct shk_queue *q, struct shki_eventcount_shared *eventcount,
                  struct shki_adaptive *adaptive)
{
    if (shki_eventcount_has_waiter(eventcount, q->asymmetric))
        shki_queue_notify_slow(q, eventcount, adaptive);
}

/* The other side, after something has been moved. */
static inline __attribute__((always_inline)) void shki_notify_other(struct shk_queue *q, bool puts)
{
    shki_queue_notify(q, puts ? &q->shared->not_empty : &q->shared->not_full,
                      puts ? &q->put_adaptive : &q->get_adaptive);
}

/*
 * The whole of most calls: 0 if the slow way has to be gone. Inline, with the act inlined as well.
 */
static inline __attribute__((always_inline)) int
shki_try_at_once(struct shk_queue *q, struct shki_member *m, struct shki_side_lock *lock, bool puts,
                 shki_act *act, struct shki_work *work)
{
    bool bias_owner;
    int r = shki_side_trylock(q, m, lock, &bias_owner);

    if (unlikely(r != 0))
        return r < 0 ? r : 0;
    r = act(q, m, work);
    shki_side_unlock(q, m, lock, bias_owner);
    if (likely(r > 0 || r == -EPIPE))
        shki_notify_other(q, puts);
    return r;
}

/* Count n items as tasks of the member; before the get commits. */
void shki_task_begin(struct shk_queue *, struct shki_member *, struct shki_task *);

/* … of which `task` is the count already. */
static inline __attribute__((always_inline)) void shki_task_count(struct shki_task *task,
                                                                  unsigned n)
{
    /*
     * Relaxed: written by this member alone; the commit publishes it. Killed after: a dead member's
     * task, though its item may still be in.
     */
    store_relaxed(&task->count, load_relaxed(&task->count) + n);
}

static inline bool shki_task_is_of(const struct shki_task *task, const struct shki_member *m)
{
    return load_relaxed(&task->member) == m->id;
}

static inline void shki_count_tasks(struct shk_queue *q, struct shki_member *m, unsigned n)
{
    struct shki_task *task = &q->tasks[m->index];

    if (unlikely(!shki_task_is_of(task, m)))
        shki_task_begin(q, m, task);
    shki_task_count(task, n);
}

static inline int shki_say_shut(const struct shk_queue *q)
{
    return shki_object_say(&q->object, -EPIPE, "the queue has been shut down");
}

/* Whether a put may begin: 0 or an error. */
static inline int shki_may_put(struct shk_queue *q)
{
    if (unlikely(shki_object_is_stale(&q->object)))
        return shki_stale(&q->object);
    return unlikely(shki_shut_down(q) != SHKI_OPEN) ? shki_say_shut(q) : 0;
}

/* Find the next item: 1, 0: empty, or an error. */
static inline __attribute__((always_inline)) int
shki_next_item(struct shk_queue *q, const struct shki_order *order, struct shki_slot **slot)
{
    int r;

    r = order->item(q, 0, slot);
    /* Once it is over nothing more comes, so a second look is the last word. */
    if (unlikely(r == 0) && shki_queue_is_over(q)) {
        r = order->item(q, 0, slot);
        if (r == 0)
            r = shki_object_say(&q->object, -EPIPE, "the queue has been shut down and is drained");
    }
    /*
     * The last question: what a consumer has waited for, it gets, even if the queue has been
     * unlinked since. A call that begins after that does not come here.
     */
    if (unlikely(r == 0) && shki_object_is_stale(&q->object))
        r = shki_stale(&q->object);
    return r;
}

/* Whether shki_copy_small() will do. */
static inline __attribute__((always_inline)) bool shki_is_small(size_t length)
{
    return length - 8 <= 56;
}

/* memcpy() for 8 to 64 bytes: a call costs as much as all the rest. */
static inline __attribute__((always_inline)) void shki_copy_small(void *to, const void *from,
                                                                  size_t length)
{
    typedef uint64_t words __attribute__((vector_size(16)));
    unsigned char *t = to;
    const unsigned char *f = from;

    if (length <= 16) { /* two halves, which overlap unless the length is 16; and so on */
        uint64_t first, last;

        memcpy(&first, f, 8);
        memcpy(&last, f + length - 8, 8);
        memcpy(t, &first, 8);
        memcpy(t + length - 8, &last, 8);
    } else {
        words first, second = {0}, third = {0}, last;

        memcpy(&first, f, 16);
        if (length > 32) {
            memcpy(&second, f + 16, 16);
            memcpy(&third, f + length - 32, 16);
        }
        memcpy(&last, f + length - 16, 16);
        memcpy(t, &first, 16);
        if (length > 32) {
            memcpy(t + 16, &second, 16);
            memcpy(t + length - 32, &third, 16);
        }
        memcpy(t + length - 16, &last, 16);
    }
}

/* memcpy() for what most often is small. */
static inline __attribute__((always_inline)) void shki_copy(void *to, const void *from,
                                                            size_t length)
{
    if (shki_is_small(length))
        shki_copy_small(to, from, length);
    else if (length)
        memcpy(to, from, length);
}

/* Of a queue whose count commits. */
static inline void shki_fill_slot(struct shki_slot *slot, const void *item, size_t length)
{
    /*
     * killed up to the commit: the slot is still free, whatever is in it. Relaxed: the commit
     * publishes it.
     */
    store_relaxed(&slot->word, shki_slot_word(0, length));
    shki_copy(slot->bytes, item, length);
}

int shki_damaged_item(const struct shk_queue *, size_t length);
int shki_small_buffer(const struct shk_queue *, size_t length, size_t size);

/*
 * Copy an item out, and note its length instead of the buffer's: 1 or an error. `word`: the slot's,
 * which is read once.
 */
static inline __attribute__((always_inline)) int shki_read_slot(const struct shk_queue *q,
                                                                const struct shki_slot *slot,
                                                                uint64_t word, void *buffer,
                                                                size_t *size)
{
    size_t length = shki_slot_length(word);

    if (unlikely(length > q->item_size))
        return shki_damaged_item(q, length);
    if (unlikely(length > *size))
        return shki_small_buffer(q, length, *size);
    shki_copy(buffer, slot->bytes, length);
    *size = length;
    return 1;
}

/* As many of the items as there is room for. */
static inline __attribute__((always_inline)) int
shki_put_items(struct shk_queue *q, struct shki_work *w, const struct shki_order *order)
{
    unsigned done = 0, i;
    struct shki_slot *slot = NULL;
    int r = shki_may_put(q);

    if (r < 0)
        return r;
    do {
        for (i = 0; i < order->batch && done + i < w->n; i++) {
            r = order->room(q, i, w->items[done + i].iov_len, &slot);
            if (r <= 0)
                break;
            shki_fill_slot(slot, w->items[done + i].iov_base, w->items[done + i].iov_len);
        }
        if (i > 0)
            order->put(q, i, w->priority);
        done += i;
    } while (r > 0 && done < w->n);
    return done ? (int)done : r;
}

/* As many items as there are buffers for. */
static inline __attribute__((always_inline)) int shki_get_items(struct shk_queue *q,
                                                                struct shki_member *m,
                                                                struct shki_work *w,
                                                                const struct shki_order *order)
{
    unsigned done = 0, i;
    struct shki_slot *slot;
    int r = shki_next_item(q, order, &slot);

    if (r <= 0)
        return r;
    do {
        for (i = 0; i < order->batch && done + i < w->n; i++) {
            if (done + i > 0)
                r = order->item(q, i, &slot);
            if (r > 0)
                r = shki_read_slot(q, slot, load_relaxed(&slot->word),
                                   w->buffers[done + i].iov_base, &w->buffers[done + i].iov_len);
            if (r <= 0)
                break;
        }
        if (i > 0) {
            shki_count_tasks(q, m, i);
            order->take(q, i);
        }
        done += i;
    } while (r > 0 && done < w->n);
    return done ? (int)done : r;
}

/* shk_queue_put() and shk_queue_get(), whatever comes. */
int shki_queue_put_anyhow(struct shk_queue *, const void *item, size_t length, int64_t priority,
                          int64_t timeout);
ssize_t shki_queue_get_anyhow(struct shk_queue *, void *buffer, size_t size, int64_t timeout);
/* … of a ring, once what was given has been looked at. */
int shki_ring_put(struct shk_queue *, struct shki_member *, const void *item, size_t length,
                  int64_t timeout);
ssize_t shki_ring_get(struct shk_queue *, struct shki_member *, void *buffer, size_t size,
                      int64_t timeout);
/* From the beginning, for those who may have to wait. */
int shki_queue_put_slowly(struct shk_queue *, const void *item, size_t length, int64_t priority,
                          int64_t timeout);
ssize_t shki_queue_get_slowly(struct shk_queue *, void *buffer, size_t size, int64_t timeout);

/* One item, without any waiting: 1, an error, or 0: the slow way has to be gone. */
int shki_ordered_put_one(struct shk_queue *, struct shki_member *, const void *item, size_t length,
                         int64_t priority);
int shki_ordered_get_one(struct shk_queue *, struct shki_member *, void *buffer, size_t *length);

/* ring.c, ordered.c: how many, at least 1, or an error. */
int shki_fifo_put(struct shk_queue *, struct shki_member *, struct shki_work *, int64_t timeout);
int shki_fifo_get(struct shk_queue *, struct shki_member *, struct shki_work *, int64_t timeout);
int shki_ordered_put(struct shk_queue *, struct shki_member *, struct shki_work *, int64_t timeout);
/* One item, and its priority. */
int shki_priority_get(struct shk_queue *, struct shki_member *, struct shki_work *,
                      int64_t timeout);
int shki_ordered_get(struct shk_queue *, struct shki_member *, struct shki_work *, int64_t timeout);

/* ---- list.c: chunks of a queue of capacity 0 ---- */

/* A chunk whose number is below `chunks`, wherever damaged bytes say that it is. */
static inline __attribute__((always_inline)) unsigned char *
shki_list_at(const struct shk_queue *q, const struct shki_list *list, uint64_t chunk)
{
    /* the lock orders it */
    uint32_t block = load_relaxed(&list->map[chunk]);

    return q->object.segment->base +
           (uint64_t)(block <= list->last_block ? block : list->last_block) * SHKI_BLOCK;
}

/*
 * Blocks for a chunk; and back, with their memory. Killed: to be called once more. `prepare`:
 * shki_list_has() may be asked.
 */
int shki_list_prepare(struct shk_queue *, struct shki_list *, uint64_t chunk);
int shki_list_take(struct shk_queue *, struct shki_list *, uint64_t chunk);
void shki_list_give(struct shk_queue *, const struct shki_list *, uint64_t chunk);
/* Whether it has blocks. */
bool shki_list_has(const struct shk_queue *, const struct shki_list *, uint64_t chunk);
/* A chunk of one block becomes another one. */
int shki_list_rename(struct shk_queue *, struct shki_list *, uint64_t chunk, uint64_t to);
/* Where it is; NULL: damaged. */
unsigned char *shki_list_find(const struct shk_queue *, const struct shki_list *, uint64_t chunk);
/* Memory for these bytes of it, which have blocks; and back. */
int shki_list_allocate(struct shk_queue *, const struct shki_list *, uint64_t from, uint64_t to);
void shki_list_punch(struct shk_queue *, const struct shki_list *, uint64_t from, uint64_t to);

/*
 * Not FIFO: have memory for the first so many bytes: 1 or an error. Only so many are used any more.
 * After a death under the lock.
 */
int shki_list_grow(struct shk_queue *, struct shki_list *, uint64_t bytes);
void shki_list_shrink(struct shk_queue *, struct shki_list *, uint64_t bytes);
void shki_list_repair(struct shk_queue *, struct shki_list *);

/*
 * Whether it has memory for so many bytes, and needs no growing; and more to spare than it keeps.
 */
static inline bool shki_list_reaches(const struct shki_list *list, uint64_t bytes)
{
    return bytes <= list->shared->memory && bytes <= list->shared->chunks << list->shift;
}

static inline bool shki_list_is_long(const struct shki_list *list, uint64_t bytes)
{
    return list->shared->memory > bytes + 2 * list->spare;
}

/*
 * PRIORITY, capacity 0: in which size class an item of that length goes, from 0; and the bytes of
 * that class's slots.
 */
unsigned shki_size_class(size_t length);
uint64_t shki_class_slot(unsigned class);

/* chunks.c, stack.c: with the lock. */
int shki_flow_put_now(struct shk_queue *, struct shki_work *);
int shki_flow_get_now(struct shk_queue *, struct shki_member *, struct shki_work *);
int shki_stack_put_now(struct shk_queue *, struct shki_work *);
int shki_stack_get_now(struct shk_queue *, struct shki_member *, struct shki_work *);

/*
 * For the inspector, and for the order of equals. Killed after: n puts too many have been
 * counted.
 */
static inline void shki_count_puts(struct shk_queue *q, unsigned n)
{
    store_release(&q->shared->tail, load_relaxed(&q->shared->tail) + n);
}

/* -ENOSPC and the like, -EPROTO, with a sentence. */
int shki_no_memory(const struct shk_queue *, int r);
int shki_damaged_place(const struct shk_queue *);

/* -EMSGSIZE with a sentence. */
int shki_too_large(const struct shk_queue *, size_t length);

/* Two fixed halves of FIFO's memory word P1. */
#define SHKI_FRESH_BITS 24
#define SHKI_CHUNKS_MAX ((UINT64_C(1) << SHKI_FRESH_BITS) - 1)

/*
 * So many items were in it at that moment. A FIFO queue's two sides know of each other only when
 * one finds no room or nothing left and looks: then this costs a load more, and a store only when
 * there have never been so many. A put that counted each time would have to read what the consumers
 * write.
 */
static inline void shki_note_fill(struct shki_queue_shared *shared, uint64_t n)
{
    uint64_t high = load_relaxed(&shared->high_water);

    while (n > high && !compare_exchange_weak_relaxed(&shared->high_water, &high, n))
        continue;
}

/* The queue as a kind: see kind.c. Its functions build and check are with the layout. */
extern const struct shki_kind shki_queue_kind;
int shki_queue_build(struct shki_object *, const struct shki_plan *);
int shki_queue_check(struct shki_object *, const struct shki_plan *);

/* Post all eventcounts of a queue: a consumer or producer that wakes checks, and wakes the next. */
void shki_queue_wake(struct shk_segment *, struct shki_queue_shared *);

#endif
