/* shmctl reopen: items may go into a queue again. */
#include "queue.h"
#include "shmctl.h"

static int reopen(struct queue_operand *q)
{
    int r = shk_queue_reopen(q->queue);

    return r < 0 ? failed(q->path.text, r) : STATUS_DONE;
}

static int run(const struct command *command, int argc, char **argv)
{
    return queue_run(command, argc, argv, reopen);
}

static const struct option_row options[] = {ANY_OWNER_ROW, {0}};

const struct command cmd_reopen = {
    .name = "reopen",
    .arguments = "[OPTION...] QUEUE",
    .summary = "allow puts into a queue that was shut down",
    .options = options,
    .run = run,
};
