/* What a put of a source writes to its cursor, and says when that is elsewhere: see queue_at.c. */
#include "etcd/queue.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void shke_at_write(const struct shke_at *at, unsigned n, char written[SHKE_CURSOR_SIZE])
{
    char nonce[SHKE_NONCE_SIZE];

    memcpy(nonce, written, sizeof(nonce));
    snprintf(written, SHKE_CURSOR_SIZE, "%" PRIu64 " %" PRIu64 " %s", at->position + n,
             at->position, nonce);
}

int shke_at_stale(const struct shke_queue *q, const struct shke_at *at)
{
    return shke_fail(-ESTALE, "%s/%s: the cursor of %s is not at %" PRIu64,
                     q->object.segment->segment.name, q->object.name, at->source, at->position);
}
