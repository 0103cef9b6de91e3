/* shmctl shutdown: no more items into a queue. */
#include "queue.h"
#include "shmctl.h"

static int run(const struct command *command, int argc, char **argv)
{
    struct queue_operand q = QUEUE_OPERAND;
    int status;
    int r;

    while (next_own_option(command, argc, argv, &q.acting) != -1)
        continue;
    check_operands(argc, 1, 1);
    queue_operand_parse(&q, argv[optind]);

    status = queue_operand_open(&q);
    if (status == STATUS_DONE) {
        r = shk_queue_shutdown(q.queue);
        if (r < 0)
            status = failed(q.path.text, r);
    }
    queue_operand_close(&q);
    return status;
}

static const struct option_row options[] = {ANY_OWNER_ROW, {0}};

const struct command cmd_shutdown = {
    .name = "shutdown",
    .arguments = "[OPTION...] QUEUE",
    .summary = "shut a queue down: puts fail at once, gets when it is drained",
    .options = options,
    .run = run,
};
