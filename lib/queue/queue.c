/*
 * Putting and getting, how many items there are, shutting down.
 *
 * A put has up to three stages. Each does what the one before could not do.
 *
 *     shk_queue_put()    fast tier: an item into a ring, as the bias owner, with room: ring.h
 *     put_slow()         one attempt, FIFO, LIFO or PRIORITY: enters the lock, puts, notifies
 *     put_wait()         full, or another member is in the lock: the slow loop of call.h
 *
 * Getting is the same, but that a consumer of a ring whose latest wait was short polls for the item
 * before it goes to sleep: shki_ring_poll().
 */
#include "object/remote.h"
#include "queue/call.h"
#include "queue/lease.h"
#include "queue/lease_records.h"
#include "queue/ring.h"
#include "queue/state.h"

#include <shmkit/inspect.h>

/* ---- Putting ---- */

/* `has_tried`: the queue has just been found full. */
static int put_wait(struct shk_queue *q, struct shki_member *m, struct shki_work *w,
                    int64_t timeout, bool has_tried)
{
    struct shki_call c;

    if (has_tried && timeout == SHK_NOWAIT)
        return shki_object_say(&q->object, -EAGAIN, "the queue is full");
    c = shki_put_call(q, m, timeout);
    c.has_tried = has_tried;
    return shki_call_run(&c, shki_lease_put, w);
}

static int check_items(const struct shk_queue *q, const struct iovec *items, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        if (items[i].iov_base == NULL && items[i].iov_len > 0)
            return shki_say(-EINVAL, "the item is NULL");
        if (items[i].iov_len > q->item_most)
            return shki_too_large(q, items[i].iov_len);
    }
    return 0;
}

int shk_queue_put_many(struct shk_queue *q, const struct iovec *items, unsigned n, int64_t timeout)
{
    struct shki_work w = {.items = items, .n = n < SHKI_BATCH_MAX ? n : SHKI_BATCH_MAX};
    struct shki_member *m;
    int r;

    if (items == NULL || n == 0)
        return shki_say(-EINVAL, "the items are NULL, or there are none");
    r = q ? shki_enter(&q->object, &m) : SHKI_NO_HANDLE;
    if (r == 0)
        r = check_items(q, items, w.n);
    if (r < 0)
        return SHKI_ELSEWHERE(r, q, queue, put_many, (q, items, w.n, timeout));
    shki_put_begins(q);
    r = shki_side_try(q, m, true, q->ops->put, &w);
    return r == 0 || r == SHKI_LOCK_BUSY ? put_wait(q, m, &w, timeout, r == 0) : r;
}

static __attribute__((noinline)) int put_slow(struct shk_queue *q, const void *item, size_t len,
                                              int64_t priority, int64_t timeout)
{
    struct iovec one = {(void *)(uintptr_t)item, len};
    struct shki_work w = {.items = &one, .n = 1, .priority = priority};
    struct shki_member *m;
    int r = q ? shki_enter(&q->object, &m) : SHKI_NO_HANDLE;

    if (unlikely(r < 0))
        return SHKI_ELSEWHERE(r, q, queue, put, (q, item, len, priority, timeout));
    if (unlikely(item == NULL || len > q->item_most)) {
        r = check_items(q, &one, 1);
        if (r < 0)
            return r;
    }
    shki_put_begins(q);
    r = q->ops->try_put(q, m, item, len, priority);
    if (unlikely(r == 0 || r == SHKI_LOCK_BUSY))
        r = put_wait(q, m, &w, timeout, r == 0);
    return r < 0 ? r : 0;
}

int shk_queue_put_priority(struct shk_queue *q, const void *item, size_t len, int64_t priority,
                           int64_t timeout)
{
    if (q && q->order != SHK_PRIORITY)
        return shki_say(-ENOTSUP, "the order of a FIFO or LIFO queue is the order of arrival: "
                                  "there is no place for a priority");
    return put_slow(q, item, len, priority, timeout);
}

/* The arguments of these are in such an order that most stay in their registers. */
static __attribute__((noinline, cold)) int leave_and_put(struct shk_queue *q, const void *item,
                                                         size_t len, struct shki_member *m,
                                                         int64_t timeout)
{
    shki_biased_leave(m);
    return put_slow(q, item, len, 0, timeout);
}

static __attribute__((noinline)) int notify_consumers(struct shk_queue *q)
{
    shki_notify_other(q, true);
    return 0;
}

/* In the lock by the bias, with room. */
static __attribute__((noinline)) int put_large_fast(struct shk_queue *q, const void *item,
                                                    size_t len, struct shki_member *m)
{
    ring_put_one(q, load_relaxed(&q->shared->tail), item, len, false);
    shki_biased_leave(m);
    return notify_consumers(q);
}

int shk_queue_put(struct shk_queue *q, const void *item, size_t len, int64_t timeout)
{
    struct shki_member *m = q ? shki_member_cached(q->object.segment) : NULL;
    struct shki_queue_shared *shared;
    uint64_t tail, used;

    if (unlikely(!m || !item || len >= q->fast_below))
        return put_slow(q, item, len, 0, timeout);
    shared = q->shared;
    if (unlikely(!ring_enter_fast(q, m, &shared->put_lock)))
        return leave_and_put(q, item, len, m, timeout);
    tail = load_relaxed(&shared->tail); /* the lock orders it */
    used = tail - shared->put_lock.cached_head;
    if (unlikely(used >= q->capacity || shki_shut_down(q) != SHKI_OPEN))
        return leave_and_put(q, item, len, m, timeout);
    ring_fetch_slot(q, tail, used);
    if (unlikely(!shki_is_small(len)))
        return put_large_fast(q, item, len, m);
    ring_put_one(q, tail, item, len, true);
    shki_biased_leave(m);
    if (shki_eventcount_has_waiter(&shared->not_empty, true))
        return notify_consumers(q);
    return 0;
}

/* ---- Getting ---- */

/* `has_tried`: the queue has just been found empty. */
static int get_wait(struct shk_queue *q, struct shki_member *m, struct shki_work *w,
                    int64_t timeout, bool has_tried)
{
    struct shki_call c;

    if (has_tried && shki_lease_words(q) > 0)
        has_tried = false; /* a claimer's try finds no item that has come back; the loop does */
    if (has_tried && timeout == SHK_NOWAIT &&
        !shki_roles_check(&q->object, &q->roles, SHKI_PRODUCERS))
        return shki_object_say(&q->object, -EAGAIN, "the queue is empty");
    c = shki_get_call(q, m, timeout);
    /* With SHK_NOWAIT the last producer has just gone: one more try returns -EPIPE. */
    c.has_tried = has_tried && timeout != SHK_NOWAIT;
    return shki_call_run(&c, shki_lease_get, w);
}

static int check_buffers(const struct iovec *buffers, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (buffers[i].iov_base == NULL && buffers[i].iov_len > 0)
            return shki_say(-EINVAL, "the buffer is NULL");
    return 0;
}

int shk_queue_get_many(struct shk_queue *q, struct iovec *bufs, unsigned n, int64_t timeout)
{
    struct shki_work w = {.buffers = bufs, .n = n < SHKI_BATCH_MAX ? n : SHKI_BATCH_MAX};
    struct shki_member *m;
    int r;

    if (bufs == NULL || n == 0)
        return shki_say(-EINVAL, "the buffers are NULL, or there are none");
    r = q ? shki_enter(&q->object, &m) : SHKI_NO_HANDLE;
    if (r == 0)
        r = check_buffers(bufs, w.n);
    if (r < 0)
        return SHKI_ELSEWHERE(r, q, queue, get_many, (q, bufs, w.n, timeout));
    r = shki_side_try(q, m, false, q->ops->get, &w);
    return r == 0 || r == SHKI_LOCK_BUSY ? get_wait(q, m, &w, timeout, r == 0) : r;
}

ssize_t shk_queue_get_priority(struct shk_queue *q, void *buf, size_t size, int64_t timeout,
                               int64_t *priority)
{
    struct iovec one = {buf, size};
    struct shki_work w = {.buffers = &one, .n = 1};
    struct shki_member *m;
    int r = q ? shki_enter(&q->object, &m) : SHKI_NO_HANDLE;

    if (r < 0 && r != SHKI_REMOTE)
        return r;
    if (q->order != SHK_PRIORITY)
        return shki_say(-ENOTSUP, "the items of a FIFO or LIFO queue have no priority");
    if ((buf == NULL && size > 0) || priority == NULL)
        return shki_say(-EINVAL, "the buffer, or the pointer to the priority, is NULL");
    if (r < 0)
        return SHKI_ELSEWHERE(r, q, queue, get, (q, buf, size, timeout, priority));
    r = shki_side_try(q, m, false, q->ops->get, &w);
    if (r == 0 || r == SHKI_LOCK_BUSY)
        r = get_wait(q, m, &w, timeout, r == 0);
    if (r < 0)
        return r;
    *priority = w.priority;
    return (ssize_t)one.iov_len;
}

static __attribute__((noinline)) ssize_t get_one_wait(struct shk_queue *q, struct shki_member *m,
                                                      void *buf, size_t size, int64_t timeout,
                                                      bool has_tried)
{
    struct iovec one = {buf, size};
    struct shki_work w = {.buffers = &one, .n = 1};
    int r = get_wait(q, m, &w, timeout, has_tried);

    return r < 0 ? r : (ssize_t)one.iov_len;
}

/* Of a ring: poll, and go to sleep only if nothing comes. */
static __attribute__((noinline)) ssize_t get_polling(struct shk_queue *q, struct shki_member *m,
                                                     void *buf, size_t size, int64_t timeout)
{
    size_t length = size;
    int r = shki_ring_poll(q, m, buf, &length);

    if (unlikely(r == 0))
        return get_one_wait(q, m, buf, size, timeout, false);
    return r < 0 ? r : (ssize_t)length;
}

/*
 * Whether the call should poll. After a try that found no item: if the side's latest spin was a
 * hit. Before the first try: if the item is known to come after some pauses. A try before that
 * would take the slot's line from the producer, which is about to write it.
 */
static SHKI_INLINE bool should_poll(const struct shk_queue *q, int64_t timeout, bool has_tried)
{
    if (!q->ring || timeout <= 0 || !shki_policy(SHKI_POLICY_POLL))
        return false;
    return has_tried ? load_relaxed(&q->not_empty_spinner.hit) : shki_poll_pauses(&q->poll) > 0;
}

static __attribute__((noinline)) ssize_t get_slow(struct shk_queue *q, void *buf, size_t size,
                                                  int64_t timeout)
{
    struct shki_member *m;
    size_t length = size;
    int r = q ? shki_enter(&q->object, &m) : SHKI_NO_HANDLE;

    if (unlikely(r < 0))
        return SHKI_ELSEWHERE(r, q, queue, get, (q, buf, size, timeout, NULL));
    if (unlikely(buf == NULL && size > 0))
        return shki_say(-EINVAL, "the buffer is NULL");
    if (unlikely(should_poll(q, timeout, false)))
        return get_polling(q, m, buf, size, timeout);
    r = q->ops->try_get(q, m, buf, &length);
    if (likely(r > 0))
        return (ssize_t)length;
    if (r != 0 && r != SHKI_LOCK_BUSY)
        return r;
    if (should_poll(q, timeout, true))
        return get_polling(q, m, buf, size, timeout);
    return get_one_wait(q, m, buf, size, timeout, r == 0);
}

static __attribute__((noinline, cold)) ssize_t
leave_and_get(struct shk_queue *q, struct shki_member *m, void *buf, size_t size, int64_t timeout)
{
    shki_biased_leave(m);
    return get_slow(q, buf, size, timeout);
}

static __attribute__((noinline)) ssize_t notify_producers(struct shk_queue *q, size_t length)
{
    shki_notify_other(q, false);
    return (ssize_t)length;
}

/* In the lock by the bias, and there is an item. */
static __attribute__((noinline)) ssize_t get_large_fast(struct shk_queue *q, struct shki_member *m,
                                                        void *buf, size_t length)
{
    uint64_t head = load_relaxed(&q->shared->head); /* the lock orders it */
    int r;

    r = ring_get_one(q, m, head, buf, &length, false);
    shki_biased_leave(m);
    return r > 0 ? notify_producers(q, length) : r;
}

ssize_t shk_queue_get(struct shk_queue *q, void *buf, size_t size, int64_t timeout)
{
    struct shki_member *m = q ? shki_member_cached(q->object.segment) : NULL;
    struct shki_queue_shared *shared;
    size_t length = size;
    uint64_t head;
    int64_t known;
    int r;

    if (unlikely(!m || !buf || q->fast_below == 0))
        return get_slow(q, buf, size, timeout);
    shared = q->shared;
    if (unlikely(!ring_enter_fast(q, m, &shared->get_lock)))
        return leave_and_get(q, m, buf, size, timeout);
    head = load_relaxed(&shared->head); /* the lock orders it */
    known = (int64_t)(shared->get_lock.cached_tail - head);
    if (unlikely(known <= 0))
        return leave_and_get(q, m, buf, size, timeout);
    ring_fetch_item(q, head, known);
    r = ring_get_one(q, m, head, buf, &length, true);
    if (unlikely(r == 0))
        return leave_and_get(q, m, buf, size, timeout);
    if (unlikely(r < 0))
        return get_large_fast(q, m, buf, size);
    shki_biased_leave(m);
    if (shki_eventcount_has_waiter(&q->shared->not_full, true))
        return notify_producers(q, length);
    return (ssize_t)length;
}

/* ---- How many items ---- */

ssize_t shk_queue_size(struct shk_queue *q)
{
    struct shki_member *m;
    int r = q ? shki_enter(&q->object, &m) : SHKI_NO_HANDLE;
    uint64_t size;

    if (r < 0)
        return SHKI_ELSEWHERE(r, q, queue, size, (q));
    size = shki_queue_items(q);
    return (ssize_t)(q->capacity == 0 || size < q->capacity ? size : q->capacity);
}

ssize_t shk_queue_capacity(struct shk_queue *q)
{
    struct shki_member *m;
    int r = q ? shki_enter(&q->object, &m) : SHKI_NO_HANDLE;

    return r < 0 ? SHKI_ELSEWHERE(r, q, queue, capacity, (q)) : (ssize_t)q->capacity;
}

ssize_t shk_queue_item_size(struct shk_queue *q)
{
    struct shki_member *m;
    int r = q ? shki_enter(&q->object, &m) : SHKI_NO_HANDLE;

    return r < 0 ? SHKI_ELSEWHERE(r, q, queue, item_size, (q)) : (ssize_t)q->item_size;
}

int shk_queue_empty(struct shk_queue *q)
{
    ssize_t n = shk_queue_size(q);

    return n < 0 ? (int)n : n == 0;
}

int shk_queue_full(struct shk_queue *q)
{
    struct shki_member *m;
    int r = q ? shki_enter(&q->object, &m) : SHKI_NO_HANDLE;

    if (r < 0)
        return SHKI_ELSEWHERE(r, q, queue, full, (q));
    return q->grows ? !q->ops->has_room(q) || shki_queue_room_beside_leases(q) == 0
                    : q->ops->counts(q).items + shki_leases_out(q) >= q->capacity;
}

int shk_queue_is_shut_down(struct shk_queue *q)
{
    struct shki_member *m;
    int r = q ? shki_enter(&q->object, &m) : SHKI_NO_HANDLE;

    return r < 0 ? SHKI_ELSEWHERE(r, q, queue, is_shut_down, (q)) : shki_shut_down(q) != SHKI_OPEN;
}

/* ---- Shutting down: see state.h ---- */

/* The lock is held for one copy: a thread that has it longer is stopped, or may be. */
#define SHUT_LIMIT SHK_SEC(10)

/* A lock that a living member keeps is not waited for. */
static int is_kept(void *queue)
{
    const struct shk_queue *q = queue;
    uint64_t holder = load_acquire(&q->shared->put_lock.mutex.holder); /* SD3 */

    return shki_member_is_alive(q->object.segment, holder) ? -EALREADY : 0;
}

static void shut(struct shk_queue *q, uint32_t state)
{
    /* a guess, which the exchange checks */
    uint32_t before = load_relaxed(&q->shared->shut_down), once;

    /*
     * SD1: release: commits; pairs with the acquire in shki_shut_word(): a consumer that sees it
     * sees what was put before. Killed after: sleepers see it at the end of their recheck interval.
     */
    do
        once = (before & SHKI_SHUT_STATE) == SHKI_OPEN ? SHKI_SHUT_ONCE : 0;
    while (!compare_exchange_weak_release(&q->shared->shut_down, &before,
                                          (before & ~SHKI_SHUT_STATE) + once + state));
}

int shk_queue_shutdown(struct shk_queue *q)
{
    struct shki_member *m;
    struct shki_call c;
    int r = q ? shki_enter(&q->object, &m) : SHKI_NO_HANDLE;

    if (r < 0)
        return SHKI_ELSEWHERE(r, q, queue, shutdown, (q));
    c = shki_put_call(q, m, SHUT_LIMIT);
    c.deadline = shki_deadline(SHUT_LIMIT, NULL); /* not to be interrupted */
    c.begun = true;
    r = is_kept(q);
    if (r == 0)
        r = shki_call_lock(&c, is_kept, q);
    if (r == 0) {
        shut(q, SHKI_SHUT_DOWN);
        shki_side_unlock(q, m, c.lock, false);
    } else if (r == -EALREADY) {
        shut(q, SHKI_SHUT_WHILE_KEPT);
    } else {
        return shki_fail(
            -EBUSY, "%s/%s: a thread has been in the middle of a put for 10 s; it may be stopped",
            q->object.segment->name, q->object.name);
    }
    shki_queue_wake(q->object.segment, q->shared);
    return 0;
}

int shk_queue_reopen(struct shk_queue *q)
{
    struct shki_member *m;
    int r = q ? shki_enter(&q->object, &m) : SHKI_NO_HANDLE;

    if (r < 0)
        return SHKI_ELSEWHERE(r, q, queue, reopen, (q));
    /* SD1: release: commits. The count stays */
    fetch_and_release(&q->shared->shut_down, ~SHKI_SHUT_STATE);
    return 0;
}
