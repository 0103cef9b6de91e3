/* shmctl shutdown: no more items into a queue. */
#include "common.h"
#include "open.h"
#include "shmctl.h"

static int run(const struct command *command, int argc, char **argv)
{
    struct shk_segment *segment = NULL;
    struct shk_queue *queue = NULL;
    struct path path;
    struct opening opening = {.path = &path, .kind = "queue", .open = open_any_queue, .to = &queue};
    int status;
    int r;

    while (next_option(command, argc, argv) != -1)
        opening.flags |= SHK_ANY_OWNER;
    check_operands(argc, 1, 1);
    parse_object_path(argv[optind], &path);

    status = open_object(&opening, &segment);
    if (status == STATUS_DONE) {
        r = shk_queue_shutdown(queue);
        if (r < 0)
            status = failed(path.text, r);
    }
    shk_queue_close(queue);
    shk_segment_close(segment);
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
