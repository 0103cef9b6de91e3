/* shmctl move: items from one queue into another. */
#include "queue.h"
#include "shmctl.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct move {
    struct queue_operand from, to;
    uint64_t count;  /* at most so many; 0: as many as there are at the beginning */
    bool priorities; /* both queues have them */
};

/*
 * The front item, which the caller has peeked: with its priority, if both queues have them. The
 * peek keeps the queue as it is, so the front item is the first of the list.
 */
static int put_peeked(const struct move *m, const void *item, size_t length)
{
    struct shk_item_info *first;
    int64_t priority;
    ssize_t n;

    if (!m->priorities)
        return shk_queue_put(m->to.queue, item, length, m->to.acting.timeout);
    n = shk_item_list(m->from.path.segment, m->from.path.object, 1, &first);
    if (n < 0)
        return (int)n;
    priority = n > 0 ? first->priority : 0;
    free(first);
    return shk_queue_put_priority(m->to.queue, item, length, priority, m->to.acting.timeout);
}

/*
 * Move one item. It is in the one queue until it is in the other.
 * killed here, between put and consume: it is in both. So an item may come twice, and is never
 * lost.
 * Returns 0, or a library's error and the operand that it is about.
 */
static int move_one(const struct move *m, const struct queue_operand **about)
{
    const void *item;
    ssize_t length;
    int r;

    *about = &m->from;
    length = interrupted() ? -EINTR : peek_soon(m->from.queue, &item, SHK_NOWAIT);
    if (length < 0)
        return (int)length;
    *about = &m->to;
    r = put_peeked(m, item, (size_t)length);
    if (r < 0) {
        shk_queue_unpeek(m->from.queue);
        return r;
    }
    *about = &m->from;
    return queue_take_peeked(m->from.queue);
}

static int move_all(const struct move *m)
{
    ssize_t size = shk_queue_size(m->from.queue);
    uint64_t most = m->count ? m->count : (uint64_t)(size > 0 ? size : 0), n = 0;
    const struct queue_operand *about;
    struct acting acting;
    int r = 0;

    while (n < most && (r = move_one(m, &about)) == 0)
        n++;
    printf("%" PRIu64 "\n", n);
    if (r == 0 || (about == &m->from && (r == -EAGAIN || r == -EPIPE)))
        return STATUS_DONE; /* it is empty: all that there was has been moved */
    acting = about->acting;
    if (about == &m->from)
        acting.timeout = SHK_NOWAIT;
    return failed_to_wait(&about->path, &acting, r, "the queue is full");
}

/* Whether each item has a priority; false if that cannot be seen. */
static bool has_priorities(const struct queue_operand *q)
{
    const struct shk_object_info *object;
    struct shk_snapshot *snapshot;
    bool has = false;

    if (shk_snapshot_open(q->path.segment, &snapshot) != 0)
        return false;
    object = shk_snapshot_find_object(snapshot, q->path.object);
    if (object && object->kind == SHK_KIND_QUEUE)
        has = object->as.queue.order == SHK_PRIORITY;
    shk_snapshot_close(snapshot);
    return has;
}

static int run(const struct command *command, int argc, char **argv)
{
    struct move m = {.from = QUEUE_OPERAND, .to = QUEUE_OPERAND};
    int status;
    int key;

    while ((key = next_own_option(command, argc, argv, &m.to.acting)) != -1) {
        if (key == 'c')
            m.count = parse_number(optarg, UINT64_MAX);
    }
    check_operands(argc, 2, 2);
    queue_operand_parse(&m.from, argv[optind]);
    queue_operand_parse(&m.to, argv[optind + 1]);
    m.from.acting.flags = m.to.acting.flags;
    if (strcmp(m.from.path.text, m.to.path.text) == 0)
        usage_error("'%s' is the same queue twice", argv[optind]);

    status = queue_operand_open(&m.from);
    if (status == STATUS_DONE)
        status = queue_operand_open(&m.to);
    if (status == STATUS_DONE) {
        m.priorities = has_priorities(&m.from) && has_priorities(&m.to);
        status = move_all(&m);
    }
    queue_operand_close(&m.to);
    queue_operand_close(&m.from);
    return status;
}

static const struct option_row options[] = {
    {'c', "count", "N", "move no more (as many as there are)"},
    TIMEOUT_ROW("wait no longer for each free place"),
    NOWAIT_ROW,
    ANY_OWNER_ROW,
    {0},
};

const struct command cmd_move = {
    .name = "move",
    .arguments = "[OPTION...] FROM TO",
    .summary = "move items from one queue into another, and print how many",
    .notes = "An item is taken out of FROM when it is in TO: if shmctl is killed between the\n"
             "two, it is in both. Between two priority queues items keep their priorities.",
    .options = options,
    .run = run,
};
