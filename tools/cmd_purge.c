/* shmctl purge: all items out of a queue, unread. */
#include "queue.h"
#include "shmctl.h"

#include <errno.h>
#include <inttypes.h>

/*
 * As many items as there are at the beginning, so that a producer that goes on does not keep it
 * for ever. Each is taken by itself.
 * killed here, between two items: the others are still in the queue. Between the consume and the
 * end of its task: a join tells that a task is lost.
 * Returns 0 or a library's error; *n: how many.
 */
static int take_all(struct shk_queue *queue, uint64_t *n)
{
    ssize_t left = shk_queue_size(queue);
    const void *item;
    ssize_t r = left < 0 ? left : 0;

    for (; left > 0 && r >= 0; left--) {
        r = interrupted() ? -EINTR : peek_soon(queue, &item, SHK_NOWAIT);
        if (r >= 0)
            r = queue_take_peeked(queue);
        *n += r >= 0;
    }
    /* -EAGAIN, -EPIPE: other consumers have taken the rest. */
    return r == -EAGAIN || r == -EPIPE || r > 0 ? 0 : (int)r;
}

static int purge(struct queue_operand *q)
{
    uint64_t n = 0;
    int r = take_all(q->queue, &n);

    printf("%" PRIu64 "\n", n);
    q->acting.timeout = SHK_NOWAIT;
    return r < 0 ? failed_to_wait(&q->path, &q->acting, r, "the queue is empty") : STATUS_DONE;
}

static int run(const struct command *command, int argc, char **argv)
{
    return queue_run(command, argc, argv, purge);
}

static const struct option_row options[] = {ANY_OWNER_ROW, {0}};

const struct command cmd_purge = {
    .name = "purge",
    .arguments = "[OPTION...] QUEUE",
    .summary = "take all items out of a queue, and print how many",
    .notes = "It takes as many as there are when it begins. They are gone, unread.",
    .options = options,
    .run = run,
};
