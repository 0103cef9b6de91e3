#include "ledger.h"

#include <errno.h>
#include <string.h>

int ledger_open(struct shk_segment *segment, const char *name, struct shk_queue **queue)
{
    return shk_queue_open(segment, name, SHK_CREATE, NULL, queue);
}

/* Take the oldest entry; the caller knows that there are several. */
static int drop(struct shk_queue *queue, size_t size)
{
    char entry[1024];

    if (size > sizeof(entry))
        return -EMSGSIZE;
    return (int)shk_queue_get(queue, entry, sizeof(entry), SHK_FOREVER);
}

int ledger_read(struct shk_queue *queue, void *entry, size_t size)
{
    const void *item;
    ssize_t n = shk_queue_size(queue);

    memset(entry, 0, size);
    for (; n > 1; n--) {
        int r = drop(queue, size);

        if (r < 0)
            return r;
    }
    if (n <= 0)
        return (int)n;
    n = shk_queue_peek(queue, &item, SHK_FOREVER);
    if (n < 0)
        return (int)n;
    memcpy(entry, item, (size_t)n < size ? (size_t)n : size);
    return shk_queue_unpeek(queue);
}

int ledger_write(struct shk_queue *queue, struct shk_lock *lock, const void *entry, size_t size)
{
    uint64_t token;
    ssize_t before = shk_queue_size(queue);
    int r = before < 0 ? (int)before : shk_lock_token(lock, &token);

    if (r == 0)
        r = shk_queue_put(queue, entry, size, SHK_FOREVER);
    /* killed here: two entries; ledger_read() drops the older one */
    if (r == 0 && before > 0)
        r = drop(queue, size);
    return r < 0 ? r : 0;
}
