#include "queue/state.h"

#include "queue/lease_records.h"
#include "queue/place.h"

bool shki_queue_is_over(const struct shk_queue *q)
{
    const struct shki_side_lock *lock = &q->shared->put_lock;
    uint32_t state = shki_shut_down(q);
    uint64_t holder;
    bool held;

    if (likely(state == SHKI_OPEN))
        return shki_roles_has_ended(&q->object, &q->roles, SHKI_PRODUCERS) &&
               shki_leases_out(q) == 0;
    if (shki_leases_out(q) > 0)
        return false; /* they may come back */
    if (state != SHKI_SHUT_WHILE_KEPT || q->order != SHK_FIFO)
        return true; /* LIFO, PRIORITY: the caller has the only lock, or is about to try it */
    /* A put that is seen half way without the fence needs none: the fence costs a system call. */
    held = shki_robust_is_held(&lock->mutex.robust);
    holder = load_acquire(&lock->mutex.holder); /* SD3 */
    if (held && !shki_member_is_alive(q->object.segment, holder))
        return false; /* a member is in the lock by the mutex, for one operation */
    if (held && load_acquire(&lock->open) == SHKI_OPEN_RESERVATION) /* SD3 */
        return false;
    /*
     * SD2: shut_down before whether a member is in the lock, by its bias (BL1) or its mutex (BL4)
     */
    shki_fence_heavy(q->asymmetric);
    if (!shki_robust_is_held(&lock->mutex.robust))
        return !shki_biased_owner_is_in(&q->put_biased);
    holder = load_acquire(&lock->mutex.holder); /* SD3 */
    return shki_member_is_alive(q->object.segment, holder) &&
           !shki_biased_is_in(&q->put_biased, holder) &&
           load_acquire(&lock->open) != SHKI_OPEN_RESERVATION; /* SD3 */
}

uint64_t shki_queue_items(const struct shk_queue *q)
{
    uint64_t items = q->ops->counts(q).items;

    /* FIFO: the head is beyond the tail that is read after it only if the tail is late */
    return ((int64_t)items > 0 ? items : 0) + shki_leases_back(q);
}

bool shki_queue_is_readable(const struct shk_queue *q)
{
    return q->ops->has_item(q) || shki_queue_is_over(q) || shki_lease_is_due(q);
}

bool shki_queue_has_item(const void *queue)
{
    const struct shk_queue *q = queue;

    return shki_queue_is_readable(q) || shki_object_is_stale(&q->object);
}

bool shki_queue_is_writable(const struct shk_queue *q)
{
    return (q->ops->has_room(q) && shki_queue_room_beside_leases(q) > 0) ||
           shki_shut_down(q) != SHKI_OPEN || shki_roles_is_alone(&q->object, &q->roles);
}

uint64_t shki_queue_room_beside_leases(const struct shk_queue *q)
{
    const struct shki_queue_shared *shared = q->shared;
    uint64_t out, items, bytes;

    if (!q->limited || q->order == SHK_FIFO || shki_lease_words(q) == 0)
        return UINT64_MAX;
    /* OR1 first: an item that is leased in between counts twice, and never not at all: LS2. */
    items = q->ops->counts(q).items;
    if (!q->capacity_bytes ||
        !shki_place_bytes(&shared->put_places, &shared->ordered.state, SHKI_INTENT_BITS, &bytes))
        bytes = 0; /* busy: worth another try */
    else
        bytes += shki_leases_bytes(q);
    out = shki_leases_out(q);
    if (shki_is_full(q, items + out, bytes))
        return 0;
    return q->capacity_bytes ? 1 : q->capacity - items - out;
}

bool shki_queue_has_room(const void *queue)
{
    const struct shk_queue *q = queue;

    return shki_queue_is_writable(q) || shki_object_is_stale(&q->object);
}
