/* shmctl join: wait until a queue is empty and its tasks have ended. */
#include "queue.h"
#include "shmctl.h"

#include <errno.h>
#include <stdlib.h>

/* How many are left now, to a user that did not want to wait for them. */
static int complain_of_tasks(const struct queue_operand *q, int error)
{
    ssize_t left = shk_queue_unfinished(q->queue);
    char *state = print_to_memory("%lld tasks are left", (long long)(left > 0 ? left : 0));
    int status = failed_to_wait(&q->path, &q->acting, error, state);

    free(state);
    return status;
}

static int join(struct queue_operand *q)
{
    int r = shk_queue_join(q->queue, q->acting.timeout);

    if (r == SHK_ORPHANED) {
        complain(q->path.text, "members have died with tasks: what they had taken is not done");
        return STATUS_FAILED;
    }
    return r < 0 ? complain_of_tasks(q, r) : STATUS_DONE;
}

static int run(const struct command *command, int argc, char **argv)
{
    return queue_run(command, argc, argv, join);
}

static const struct option_row options[] = {
    TIMEOUT_ROW("wait no longer"),
    NOWAIT_ROW,
    ANY_OWNER_ROW,
    {0},
};

const struct command cmd_join = {
    .name = "join",
    .arguments = "[OPTION...] QUEUE",
    .summary = "wait until a queue is empty and its tasks have ended",
    .notes = "Exit status: 1 if members have died with tasks since the last join said so.",
    .options = options,
    .run = run,
};
