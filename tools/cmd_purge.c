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
static int purge(struct shk_queue *queue, uint64_t *n)
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

static int run(const struct command *command, int argc, char **argv)
{
    struct queue_operand q = QUEUE_OPERAND;
    uint64_t n = 0;
    int status;
    int r;

    while (next_own_option(command, argc, argv, &q.acting) != -1)
        continue;
    check_operands(argc, 1, 1);
    queue_operand_parse(&q, argv[optind]);
    q.acting.timeout = SHK_NOWAIT;

    status = queue_operand_open(&q);
    if (status == STATUS_DONE) {
        r = purge(q.queue, &n);
        printf("%" PRIu64 "\n", n);
        if (r < 0)
            status = failed_to_wait(&q.path, &q.acting, r, "the queue is empty");
    }
    queue_operand_close(&q);
    return status;
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
