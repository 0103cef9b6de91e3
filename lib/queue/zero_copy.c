/*
 * Zero copy: a producer writes an item where it stays (reserve, commit, cancel), a consumer reads
 * it where it lies (peek, consume, unpeek). The lock of the side is kept meanwhile.
 *
 * Killed while something is open: a dead holder of the lock. What was reserved is not put, what was
 * peeked is still in.
 */
#include "object/remote.h"
#include "queue/call.h"
#include "queue/lease.h"
#include "queue/state.h"

/* Relaxed: only the member that keeps the lock reads and writes its marks. */
static uint32_t mark(const _Atomic uint32_t *at)
{
    return load_relaxed(at);
}

static int find_room(struct shk_queue *q, struct shki_member *m, struct shki_work *w)
{
    int r = shki_may_put(q);

    (void)m;
    if (r == 0 && shki_queue_room_beside_leases(q) == 0)
        return 0;
    return r < 0 ? r : q->ops->room(q, w->length, &w->slot);
}

static int find_item(struct shk_queue *q, struct shki_member *m, struct shki_work *w)
{
    (void)m;
    return shki_lease_next_item(q, &w->slot);
}

/*
 * One attempt: enter the lock, carry it out, and keep the lock with something open. 1; 0: full, or
 * empty; SHKI_LOCK_BUSY; or an error. A lock that is not claimed is kept by its mutex.
 */
static SHKI_INLINE int try_keep(struct shk_queue *q, struct shki_member *m,
                                struct shki_side_lock *lock, shki_act *act, struct shki_work *w,
                                uint32_t open, bool claimed)
{
    bool bias_owner = claimed && shki_side_enter(q, m, lock);
    int r = bias_owner ? 0 : shki_side_trylock_slow(q, m, lock);

    if (unlikely(r != 0))
        return r > 0 ? SHKI_LOCK_BUSY : r;
    r = act(q, m, w);
    if (unlikely(r <= 0)) {
        shki_side_done(q, m, lock, bias_owner, open == SHKI_OPEN_RESERVATION, r);
        return r;
    }
    shki_side_keep(lock, m, claimed, open);
    if (bias_owner)
        shki_biased_leave(m);
    return r;
}

/* The same, however long it takes. `has_tried`: it has just been found full, or empty. */
static int wait_and_keep(struct shki_call *c, shki_act *act, struct shki_work *w, uint32_t open,
                         bool claimed, bool has_tried)
{
    int r;

    c->keep = true;
    c->has_tried = has_tried;
    r = shki_call_run(c, act, w);
    if (r <= 0)
        return r;
    shki_side_keep(c->lock, c->member, claimed, open);
    if (claimed)
        shki_biased_leave(c->member);
    shki_call_end(c);
    return r;
}

static SHKI_INLINE int keep(struct shk_queue *q, struct shki_member *m, shki_act *act,
                            struct shki_work *w, uint32_t open, int64_t timeout)
{
    bool puts = open == SHKI_OPEN_RESERVATION;
    struct shki_side_lock *lock = puts ? &q->shared->put_lock : shki_get_lock(q);
    bool claimed = shki_side_is_kept_by(lock, m);
    struct shki_call c;
    int r = claimed ? 0 : shki_held_more(m);

    if (unlikely(r < 0))
        return r;
    r = try_keep(q, m, lock, act, w, open, claimed);
    if (unlikely(r == 0 || r == SHKI_LOCK_BUSY)) {
        c = puts ? shki_put_call(q, m, timeout) : shki_get_call(q, m, timeout);
        r = wait_and_keep(&c, act, w, open, claimed, r == 0);
    }
    if (unlikely(r < 0) && !claimed)
        shki_held_less(m);
    return r;
}

/* Leave the lock, unless it is claimed. */
static void leave(struct shki_member *m, struct shki_side_lock *lock)
{
    /*
     * Killed around any of these: a dead holder. SD3: release: the item comes first; pairs with the
     * acquire of `open` in shki_queue_is_over(): a consumer that sees the reservation closed finds
     * the item.
     */
    store_release(&lock->open, SHKI_OPEN_NOTHING);
    if (mark(&lock->claimed)) {
        store_relaxed(&lock->bias.owner, m->id);
        return;
    }
    shki_side_unkeep(lock);
    shki_held_less(m);
}

/*
 * Has the calling thread that open behind its lock? 0 or an error; `state` is what that says.
 */
static int check_open(struct shk_queue *q, uint32_t open, const char *state, struct shki_member **m)
{
    struct shk_segment *s = q->object.segment;
    struct shki_side_lock *lock;

    if (s->remote)
        return SHKI_REMOTE;
    lock = open == SHKI_OPEN_RESERVATION ? &q->shared->put_lock : shki_get_lock(q);
    *m = s->base ? shki_member_find(s) : NULL;
    if (*m == NULL && shki_segment_is_closed(s))
        return shki_say_closed(s);
    if (*m == NULL || !shki_side_is_kept_by(lock, *m) || mark(&lock->open) != open)
        return shki_object_say(&q->object, -EPERM, state);
    return 0;
}

/*
 * Bytes of an item whose cache lines are prefetched when its slot is reserved, or peeked. The
 * caller writes, or reads, word by word, and would wait for one line after the other; a copy, in
 * wide pieces, has several on their way. A sixth more items a second in bench row W1/1 KiB.
 */
#define PREFETCH_MOST 1024u

static void prefetch_to_write(const struct shki_slot *slot, size_t length)
{
    for (size_t at = SHKI_CACHE_LINE; at < length && at < PREFETCH_MOST; at += SHKI_CACHE_LINE)
        shki_prefetch_write(slot->bytes + at);
}

static void prefetch_to_read(const struct shki_slot *slot, size_t length)
{
    for (size_t at = SHKI_CACHE_LINE; at < length && at < PREFETCH_MOST; at += SHKI_CACHE_LINE)
        __builtin_prefetch(slot->bytes + at);
}

/* ---- Reservations ---- */

int shk_queue_reserve(struct shk_queue *q, size_t len, void **slot, int64_t timeout)
{
    struct shki_member *m;
    struct shki_work w = {.n = 1, .length = len};
    int r = q ? shki_enter(&q->object, &m) : SHKI_NO_HANDLE;

    if (r < 0)
        return SHKI_ELSEWHERE(r, q, queue, reserve, (q, len, slot, timeout));
    if (slot == NULL)
        return shki_say(-EINVAL, "the pointer to the slot's address is NULL");
    if (len > q->item_most)
        return shki_too_large(q, len);
    shki_put_begins(q);
    r = keep(q, m, find_room, &w, SHKI_OPEN_RESERVATION, timeout);
    if (r < 0)
        return r;
    q->shared->put_lock.reserved_bytes = len;
    *slot = w.slot->bytes;
    prefetch_to_write(w.slot, len);
    return 0;
}

static int check_reservation(struct shk_queue *q, struct shki_member **m)
{
    if (q == NULL)
        return SHKI_NO_HANDLE;
    return check_open(q, SHKI_OPEN_RESERVATION, "the calling thread has no reservation open", m);
}

static void end_reservation(struct shk_queue *q, struct shki_member *m)
{
    q->shared->put_lock.reserved_bytes = 0;
    leave(m, &q->shared->put_lock);
    /* for the item, or because nothing more comes */
    shki_queue_notify(q, &q->shared->not_empty, &q->put_adaptive);
    if (q->order != SHK_FIFO)
        shki_queue_notify(q, &q->shared->not_full, &q->get_adaptive);
}

int shk_queue_commit(struct shk_queue *q, size_t len)
{
    uint64_t reserved;
    struct shki_member *m;
    struct shki_slot *slot = NULL;
    int r = check_reservation(q, &m);

    if (r < 0)
        return SHKI_ELSEWHERE(r, q, queue, commit, (q, len));
    reserved = q->shared->put_lock.reserved_bytes;
    if (len > reserved)
        return shki_fail(-EMSGSIZE, "%s/%s: %zu bytes are more than the %llu that were reserved",
                         q->object.segment->name, q->object.name, len,
                         (unsigned long long)reserved);
    r = shki_object_is_stale(&q->object) ? shki_stale(&q->object)
                                         : q->ops->room(q, (size_t)reserved, &slot);
    if (r > 0) /* killed in it: before it commits nothing was put, after that the item is in */
        q->ops->commit(q, slot, len);
    end_reservation(q, m);
    return r < 0 ? r : 0;
}

int shk_queue_cancel(struct shk_queue *q)
{
    struct shki_member *m;
    int r = check_reservation(q, &m);

    if (r == 0)
        end_reservation(q, m);
    return SHKI_ELSEWHERE(r, q, queue, cancel, (q));
}

/* ---- Peeks ---- */

ssize_t shk_queue_peek(struct shk_queue *q, const void **item, int64_t timeout)
{
    struct shki_member *m;
    struct shki_work w = {.n = 1};
    size_t length;
    int r = q ? shki_enter(&q->object, &m) : SHKI_NO_HANDLE;

    if (r < 0 && r != SHKI_REMOTE)
        return r;
    if (item == NULL)
        return shki_say(-EINVAL, "the pointer to the item's address is NULL");
    if (r < 0)
        return SHKI_ELSEWHERE(r, q, queue, peek, (q, item, timeout));
    r = keep(q, m, find_item, &w, SHKI_OPEN_PEEK, timeout);
    if (r < 0)
        return r;
    length = shki_slot_length(load_relaxed(&w.slot->word)); /* the lock orders it */
    if (length > q->item_size) {
        leave(m, shki_get_lock(q));
        return shki_damaged_item(q, length);
    }
    *item = w.slot->bytes;
    prefetch_to_read(w.slot, length);
    return (ssize_t)length;
}

static int check_peek(struct shk_queue *q, struct shki_member **m)
{
    if (q == NULL)
        return SHKI_NO_HANDLE;
    return check_open(q, SHKI_OPEN_PEEK, "the calling thread has no peek open", m);
}

int shk_queue_consume(struct shk_queue *q)
{
    struct shki_member *m;
    int r = check_peek(q, &m);

    if (r < 0)
        return SHKI_ELSEWHERE(r, q, queue, consume, (q));
    shki_count_tasks(q, m, 1);
    shki_lease_consume(q);
    leave(m, shki_get_lock(q));
    shki_queue_notify(q, &q->shared->not_full, &q->get_adaptive);
    return 0;
}

int shk_queue_unpeek(struct shk_queue *q)
{
    struct shki_member *m;
    int r = check_peek(q, &m);

    if (r == 0)
        leave(m, shki_get_lock(q));
    return SHKI_ELSEWHERE(r, q, queue, unpeek, (q));
}
