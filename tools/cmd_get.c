/* shmctl get: items out of a queue. */
#include "common.h"
#include "open.h"
#include "output.h"
#include "queue.h"
#include "shmctl.h"

#include <errno.h>

struct wanted {
    uint64_t count;
    bool follow;      /* instead of the count: until it has ended and is drained */
    bool is_consumer; /* by role */
    struct acting acting;
    char separator;
    bool whole; /* and nothing after it */
};

/* Why there is no item in hand, to the user; the exit status that goes with it. */
static int complain_of_get(const struct path *path, const struct wanted *w, int error)
{
    if (error == -EINTR && output_is_gone())
        return output_failed(-EPIPE);
    return failed_to_wait(path, &w->acting, error, "the queue is empty");
}

/*
 * Print one item, and take it: in this order, so that none is lost that could not be printed.
 * killed here, between the two: the item has been printed, and is the next consumer's once more.
 * Returns 0, or a library's error; *status is set after a complaint about the output.
 */
static int get_one(struct shk_queue *queue, const struct wanted *w, int *status)
{
    const void *item;
    ssize_t length;
    int r = output_await_room();

    if (r < 0)
        return r;
    length = peek_soon(queue, &item, w->acting.timeout);
    if (length < 0)
        return (int)length;
    r = output_write(item, (size_t)length, &w->separator, !w->whole);
    if (r < 0) {
        shk_queue_unpeek(queue);
        *status = output_failed(r);
        return 0;
    }
    return queue_take_peeked(queue);
}

static int get_all(struct shk_queue *queue, const struct path *path, const struct wanted *w)
{
    int status = STATUS_DONE;
    int r = 0;

    output_watch();
    if (w->follow || w->count > 1)
        output_one_at_a_time();
    for (uint64_t i = 0; r == 0 && status == STATUS_DONE && (w->follow || i < w->count); i++)
        r = get_one(queue, w, &status);
    output_done();
    return r == 0 || (r == -EPIPE && w->follow) ? status : complain_of_get(path, w, r);
}

/* The queue, and the role that it is opened with. */
struct place {
    struct shk_queue *queue;
    const struct wanted *wanted;
};

static int open_queue(struct shk_segment *segment, const char *name, unsigned flags, void *to)
{
    struct place *place = to;
    unsigned role = place->wanted->is_consumer ? SHK_AS(SHK_CONSUMER) : 0;

    return shk_queue_open(segment, name, flags | role, NULL, &place->queue);
}

static int run(const struct command *command, int argc, char **argv)
{
    struct wanted wanted = {.count = 1, .acting = ACTING_DEFAULTS, .separator = '\n'};
    struct shk_segment *segment = NULL;
    struct place place = {.wanted = &wanted};
    struct path path;
    struct opening opening = {.path = &path, .kind = "queue", .open = open_queue, .to = &place};
    int status;
    int key;

    while ((key = next_own_option(command, argc, argv, &wanted.acting)) != -1) {
        if (key == 'c')
            wanted.count = parse_number(optarg, UINT64_MAX);
        else if (key == 'f')
            wanted.follow = true;
        else if (key == 'C')
            wanted.is_consumer = true;
        else if (key == 'w')
            wanted.whole = true;
        else if (key == '0')
            wanted.separator = '\0';
    }
    check_operands(argc, 1, 1);
    parse_object_path(argv[optind], &path);

    opening.flags = wanted.acting.flags;
    status = open_object(&opening, &segment);
    if (status == STATUS_DONE)
        status = get_all(place.queue, &path, &wanted);
    shk_queue_close(place.queue);
    shk_segment_close(segment);
    return status;
}

static const struct option_row options[] = {
    {'c', "count", "N", "take so many (1)"},
    {'f', "follow", NULL, "go on until it is shut down, or has no producer any more"},
    {'C', "consumer", NULL, "producers learn of the end (put --producer)"},
    {'w', "whole", NULL, "print it as it is, with nothing after it"},
    {'0', "null", NULL, "end each item with a zero byte, not a newline"},
    TIMEOUT_ROW("wait no longer for each item"),
    NOWAIT_ROW,
    NO_CREATE_ROW,
    ANY_OWNER_ROW,
    {0},
};

const struct command cmd_get = {
    .name = "get",
    .arguments = "[OPTION...] QUEUE",
    .summary = "take items out of a queue and print them, one a line",
    .notes = "An item is taken when it has been printed; into a pipe the next is printed when\n"
             "that one has been read. The queue is created if it is absent. For work by\n"
             "several see 'shmctl work'. When the last 'put --producer' has ended, --follow\n"
             "ends behind the last item; with 1 if one of them was killed: it may not be all.",
    .options = options,
    .run = run,
};
