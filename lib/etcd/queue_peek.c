/*
 * Peeking. Other members take other items meanwhile: a peek does not keep the consumer's side, as
 * it does in shared memory. See queue_claim.c.
 */
#include "etcd/queue.h"

#include <stdlib.h>
#include <string.h>

/* With the object's lock: that of the calling thread; NULL: none. */
static struct shke_claim *find_peek(const struct shke_queue *q)
{
    struct shke_claim *p = q->peeks;

    while (p && p->tid != shke_tid())
        p = p->next;
    return p;
}

bool shke_peek_is_open(struct shke_queue *q)
{
    bool is_open;

    pthread_mutex_lock(&q->object.lock);
    is_open = find_peek(q) != NULL;
    pthread_mutex_unlock(&q->object.lock);
    return is_open;
}

ssize_t shke_queue_peek(struct shk_queue *base, const void **item, int64_t timeout)
{
    struct shke_queue *q = shke_queue_of(base);
    struct shki_saved_error saved;
    struct shke_waiting waiting;
    struct shke_claim *p;
    struct shke_wait w;
    int r = shke_enter(&base->object, &q->object);

    if (r < 0)
        return r;
    if (shke_peek_is_open(q))
        return shke_host->object_say(&base->object, -EDEADLK, "the calling thread has a peek open");
    p = calloc(1, sizeof(*p));
    if (p == NULL)
        return shke_fail(-ENOMEM, "out of memory");
    p->tid = shke_tid();
    shke_host->error_save(&saved);
    w = shke_wait_begin(q, &base->object, timeout);
    shke_waiting_begin(&waiting, &q->object, SHK_WAITS_TO_GET, &w.deadline);
    r = shke_claim_next(q, p, SIZE_MAX, &w);
    shke_waiting_end(&waiting);
    if (r < 0) {
        free(p);
        return r;
    }
    *item = p->item->bytes;
    return shke_host->error_settle((int)p->item->length, &saved);
}

/* *peek: that of the calling thread, taken out of the list. 0, or an error. */
static int end_peek(struct shk_queue *base, struct shke_queue *q, struct shke_claim **peek)
{
    struct shke_claim *p;

    if (!shke_session_is_own(q->object.segment->session))
        return shke_enter(&base->object, &q->object);
    pthread_mutex_lock(&q->object.lock);
    p = find_peek(q);
    if (p)
        shke_claim_unlist(q, p);
    pthread_mutex_unlock(&q->object.lock);
    *peek = p;
    return p ? 0
             : shke_host->object_say(&base->object, -EPERM, "the calling thread has no peek open");
}

int shke_queue_consume(struct shk_queue *base)
{
    struct shke_queue *q = shke_queue_of(base);
    struct shki_saved_error saved;
    struct shke_claim *p;
    int r = end_peek(base, q, &p);

    if (r < 0)
        return r;
    shke_host->error_save(&saved);
    r = shke_claim_consume(q, p);
    if (r == 1)
        r = shke_fail(-ESTALE,
                      "%s/%s: the lease of this process has ended, and the peek with it: the item "
                      "is another member's",
                      q->object.segment->segment.name, q->object.name);
    return shke_host->error_settle(r, &saved);
}

/* With no majority the item comes back when the lease ends, or with the next event: as a stray. */
int shke_queue_unpeek(struct shk_queue *base)
{
    struct shke_queue *q = shke_queue_of(base);
    struct shki_saved_error saved;
    struct shke_claim *p;
    int r = end_peek(base, q, &p);

    if (r < 0)
        return r;
    shke_host->error_save(&saved);
    return shke_host->error_settle(shke_claim_give_back(q, p, 0), &saved);
}
