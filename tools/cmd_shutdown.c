/* shmctl shutdown: no more items into a queue. */
#include "common.h"
#include "shmctl.h"

static int run(const struct command *command, int argc, char **argv)
{
    struct shk_segment *segment = NULL;
    struct shk_queue *queue = NULL;
    unsigned flags = 0;
    struct path path;
    int status;
    int r;

    while (next_option(command, argc, argv) != -1)
        flags |= SHK_ANY_OWNER;
    check_operands(argc, 1, 1);
    parse_object_path(argv[optind], &path);

    status = open_segment(&path, flags, "queue", &segment);
    if (status != STATUS_DONE)
        return status;
    r = shk_queue_open(segment, path.object, 0, NULL, &queue);
    if (r < 0) {
        status = failed_to_open(&path, "queue", r);
        goto done;
    }
    r = shk_queue_shutdown(queue);
    if (r < 0)
        status = failed(path.text, r);

done:
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
