/*
 * Where the consumers of a queue are, for a program that carries its items elsewhere, each once;
 * and the other end of that, which only a queue on etcd has.
 */
#include "object/remote.h"
#include "queue/order.h"

/* Odd: another serial gives another product. */
#define SPREAD UINT64_C(0x9e3779b97f4a7c15)

int shk_queue_incarnation(struct shk_queue *q, uint64_t *incarnation)
{
    struct shki_member *m;
    int r = q ? shki_enter(&q->object, &m) : SHKI_NO_HANDLE;

    if (r < 0)
        return SHKI_ELSEWHERE(r, q, queue, incarnation, (q, incarnation));
    if (incarnation == NULL)
        return shki_say(-EINVAL, "the pointer to the incarnation is NULL");
    /* The segment's id is random; a serial is not used a second time in a segment. */
    *incarnation = q->object.segment->header->id ^ (q->object.serial * SPREAD);
    return 0;
}

int shk_queue_position(struct shk_queue *q, uint64_t *position)
{
    struct shki_member *m;
    int r = q ? shki_enter(&q->object, &m) : SHKI_NO_HANDLE;

    if (r < 0)
        return SHKI_ELSEWHERE(r, q, queue, position, (q, position));
    if (position == NULL)
        return shki_say(-EINVAL, "the pointer to the position is NULL");
    if (q->order != SHK_FIFO)
        return shki_say(-ENOTSUP, "the items of a LIFO or PRIORITY queue are not taken in the "
                                  "order of their numbers");
    /* RQ2, CH2: acquire; what was taken before has been read. */
    *position = load_acquire(&q->shared->head);
    return 0;
}

/* In shared memory no reply is lost: a put that returned has put. */
static int has_no_cursors(const struct shk_queue *q)
{
    return shki_fail(-ENOTSUP, "%s/%s: a queue in shared memory has no cursors: only one on etcd",
                     q->object.segment->name, q->object.name);
}

int shk_queue_put_at(struct shk_queue *q, const char *source, uint64_t position,
                     const struct iovec *items, unsigned n, int64_t timeout)
{
    struct shki_member *m;
    int r = q ? shki_enter(&q->object, &m) : SHKI_NO_HANDLE;

    if (r < 0 && r != SHKI_REMOTE)
        return r;
    if (items == NULL || n == 0)
        return shki_say(-EINVAL, "the items are NULL, or there are none");
    if (r == 0)
        return has_no_cursors(q);
    return SHKI_ELSEWHERE(r, q, queue, put_at, (q, source, position, items, n, timeout));
}

int shk_queue_cursor(struct shk_queue *q, const char *source, uint64_t *position, uint64_t *before)
{
    struct shki_member *m;
    int r = q ? shki_enter(&q->object, &m) : SHKI_NO_HANDLE;

    if (r < 0 && r != SHKI_REMOTE)
        return r;
    if (position == NULL || before == NULL)
        return shki_say(-EINVAL, "a pointer to a position is NULL");
    if (r == 0)
        return has_no_cursors(q);
    return SHKI_ELSEWHERE(r, q, queue, cursor, (q, source, position, before));
}

int shk_queue_set_cursor(struct shk_queue *q, const char *source, uint64_t position)
{
    struct shki_member *m;
    int r = q ? shki_enter(&q->object, &m) : SHKI_NO_HANDLE;

    if (r == 0)
        return has_no_cursors(q);
    return SHKI_ELSEWHERE(r, q, queue, set_cursor, (q, source, position));
}
