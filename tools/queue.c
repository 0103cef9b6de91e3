#include "queue.h"

#include <errno.h>

void queue_operand_parse(struct queue_operand *q, const char *operand)
{
    parse_object_path(operand, &q->path);
}

int queue_operand_open(struct queue_operand *q)
{
    const struct opening opening = {.path = &q->path,
                                    .flags = q->acting.flags,
                                    .kind = "queue",
                                    .open = open_any_queue,
                                    .to = &q->queue};

    return open_object(&opening, &q->segment);
}

void queue_operand_close(struct queue_operand *q)
{
    shk_queue_close(q->queue);
    shk_segment_close(q->segment);
}

int queue_run(const struct command *command, int argc, char **argv,
              int (*act)(struct queue_operand *))
{
    struct queue_operand q = QUEUE_OPERAND;
    int status;

    while (next_own_option(command, argc, argv, &q.acting) != -1)
        continue;
    check_operands(argc, 1, 1);
    queue_operand_parse(&q, argv[optind]);

    status = queue_operand_open(&q);
    if (status == STATUS_DONE)
        status = act(&q);
    queue_operand_close(&q);
    return status;
}

int queue_take_peeked(struct shk_queue *queue)
{
    int r = shk_queue_consume(queue);

    if (r == 0)
        r = shk_queue_task_done(queue);
    return r == -ENOTSUP ? 0 : r; /* there are no tasks on etcd */
}
