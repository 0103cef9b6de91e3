/* The sentences of a queue's errors. */
#include "queue/handle.h"

#include <string.h>

int shki_no_memory(const struct shk_queue *q, int r)
{
    return shki_fail(
        r, "%s/%s: out of memory for more items: %s (" SHKI_DIRECTORY " or the machine is full)",
        q->object.segment->name, q->object.name, strerror(-r));
}

int shki_too_many(const struct shk_queue *q)
{
    return shki_fail(-ENOSPC, "%s/%s has as many items as it can have", q->object.segment->name,
                     q->object.name);
}

int shki_damaged_place(const struct shk_queue *q)
{
    return shki_fail(-EPROTO, "%s/%s is damaged: the places of its items", q->object.segment->name,
                     q->object.name);
}

int shki_damaged_item(const struct shk_queue *q, size_t length)
{
    return shki_fail(-EPROTO, "%s/%s is damaged: an item of %zu bytes", q->object.segment->name,
                     q->object.name, length);
}

int shki_too_large(const struct shk_queue *q, size_t length)
{
    return shki_fail(
        -EMSGSIZE, "an item of %zu bytes is too large for %s/%s, which holds items of at most %zu",
        length, q->object.segment->name, q->object.name, q->item_most);
}

int shki_small_buffer(const struct shk_queue *q, size_t length, size_t size)
{
    return shki_fail(-EMSGSIZE, "the next item of %s/%s has %zu bytes, the buffer %zu",
                     q->object.segment->name, q->object.name, length, size);
}

int shki_say_shut(const struct shk_queue *q)
{
    return shki_object_say(&q->object, -EPIPE, "the queue has been shut down");
}

int shki_say_drained(struct shk_queue *q)
{
    /* Relaxed: it only chooses the sentence. */
    uint32_t state = load_relaxed(&q->shared->shut_down) & SHKI_SHUT_STATE;

    if (state == SHKI_OPEN && shki_roles_has_ended(&q->object, &q->roles, SHKI_PRODUCERS))
        return shki_roles_say_ended(&q->object, &q->roles.told,
                                    "the last producer has gone, and the queue is drained",
                                    "the queue is drained, and a producer of it has died");
    return shki_object_say(&q->object, -EPIPE, "the queue has been shut down and is drained");
}
