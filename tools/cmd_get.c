/* shmctl get: items out of a queue. */
#include "common.h"
#include "shmctl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct wanted {
    uint64_t count;
    bool follow; /* instead of the count: until it is shut down and drained */
    int64_t timeout;
    char separator;
    bool whole; /* and nothing after it */
};

/*
 * An item that has been taken is written out before the next is asked for, and an interrupt waits until it is: with stdio
 * a part of it could get lost. (A second interrupt does not wait.)
 */
static int write_whole(const char *bytes, size_t length)
{
    while (length) {
        ssize_t n = write(STDOUT_FILENO, bytes, length);

        if (n < 0 && errno != EINTR)
            return -errno;
        if (n > 0) {
            bytes += n;
            length -= (size_t)n;
        }
    }
    return 0;
}

static int get_all(struct shk_queue *queue, const struct path *path, const struct wanted *w)
{
    size_t room = (size_t)shk_queue_item_size(queue);
    char *item = allocate(room + 1, 1);
    int status = STATUS_DONE;
    ssize_t length;
    int r;

    for (uint64_t i = 0; w->follow || i < w->count; i++) {
        length = shk_queue_get(queue, item, room, w->timeout);
        if (length == -EPIPE && w->follow)
            break;
        if (length < 0) {
            status = failed(path->text, (int)length);
            break;
        }
        item[length] = w->separator;
        r = write_whole(item, (size_t)length + !w->whole);
        if (r < 0) {
            complain("standard output", "%s", strerror(-r));
            status = STATUS_FAILED;
            break;
        }
    }
    free(item);
    return status;
}

static int run(const struct command *command, int argc, char **argv)
{
    struct wanted wanted = {.count = 1, .timeout = SHK_FOREVER, .separator = '\n'};
    struct shk_segment *segment = NULL;
    struct shk_queue *queue = NULL;
    unsigned flags = 0;
    struct path path;
    int status;
    int key;
    int r;

    while ((key = next_option(command, argc, argv)) != -1) {
        if (key == 'c')
            wanted.count = parse_number(optarg, UINT64_MAX);
        else if (key == 'f')
            wanted.follow = true;
        else if (key == 'w')
            wanted.whole = true;
        else if (key == '0')
            wanted.separator = '\0';
        else if (key == 't')
            wanted.timeout = parse_timeout(optarg);
        else if (key == OPTION_NOWAIT)
            wanted.timeout = SHK_NOWAIT;
        else
            flags |= SHK_ANY_OWNER;
    }
    check_operands(argc, 1, 1);
    parse_object_path(argv[optind], &path);

    status = open_segment(&path, flags, "queue", &segment);
    if (status != STATUS_DONE)
        return status;
    r = shk_queue_open(segment, path.object, 0, NULL, &queue);
    status = r < 0 ? failed_to_open(&path, "queue", r) : get_all(queue, &path, &wanted);
    shk_queue_close(queue);
    shk_segment_close(segment);
    return status;
}

static const struct option_row options[] = {
    {'c', "count", "N", "take so many (1)"},
    {'f', "follow", NULL, "go on until the queue is shut down and drained; that is then no error"},
    {'w', "whole", NULL, "print it as it is, with nothing after it"},
    {'0', "null", NULL, "end each item with a zero byte, not a newline"},
    TIMEOUT_ROW("wait no longer for each item"),
    NOWAIT_ROW,
    ANY_OWNER_ROW,
    {0},
};

const struct command cmd_get = {
    .name = "get",
    .arguments = "[OPTION...] QUEUE",
    .summary = "take items out of a queue and print them, one a line",
    .options = options,
    .run = run,
};
