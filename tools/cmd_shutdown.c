/* shmctl shutdown: no more items into a queue. */
#include "queue.h"
#include "shmctl.h"

static int shut_down(struct queue_operand *q)
{
    int r = shk_queue_shutdown(q->queue);

    return r < 0 ? failed(q->path.text, r) : STATUS_DONE;
}

static int run(const struct command *command, int argc, char **argv)
{
    return queue_run(command, argc, argv, shut_down);
}

static const struct option_row options[] = {ANY_OWNER_ROW, {0}};

const struct command cmd_shutdown = {
    .name = "shutdown",
    .arguments = "[OPTION...] QUEUE",
    .summary = "shut a queue down: puts fail at once, gets when it is drained",
    .options = options,
    .run = run,
};
