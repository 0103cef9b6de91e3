/* shmctl barrier: meet others at it, mend it, break it. */
#include "common.h"
#include "shmctl.h"

#include <stdio.h>
#include <string.h>

static int act(struct shk_barrier *barrier, const char *action, int64_t timeout)
{
    int r;

    if (strcmp(action, "reset") == 0)
        return shk_barrier_reset(barrier);
    if (strcmp(action, "abort") == 0)
        return shk_barrier_abort(barrier);
    r = shk_barrier_wait(barrier, timeout);
    if (r >= 0)
        printf("%d\n", r);
    return r;
}

static void check_action(const char *action, int64_t timeout)
{
    if (strcmp(action, "wait") != 0 && strcmp(action, "reset") != 0 &&
        strcmp(action, "abort") != 0)
        usage_error("a barrier cannot be told to '%s'; wait, reset and abort are known", action);
    if (timeout != SHK_FOREVER && strcmp(action, "wait") != 0)
        usage_error("--timeout and --nowait are for 'barrier wait'");
}

static int run(const struct command *command, int argc, char **argv)
{
    struct shk_segment *segment = NULL;
    struct shk_barrier *barrier = NULL;
    int64_t timeout = SHK_FOREVER;
    unsigned flags = 0;
    struct path path;
    int status;
    int key;
    int r;

    while ((key = next_option(command, argc, argv)) != -1) {
        if (key == 't')
            timeout = parse_timeout(optarg);
        else if (key == OPTION_NOWAIT)
            timeout = SHK_NOWAIT;
        else
            flags |= SHK_ANY_OWNER;
    }
    check_operands(argc, 2, 2);
    check_action(argv[optind], timeout);
    parse_object_path(argv[optind + 1], &path);

    status = open_segment(&path, flags, "barrier", &segment);
    if (status != STATUS_DONE)
        return status;
    r = shk_barrier_open(segment, path.object, 0, NULL, &barrier);
    if (r < 0) {
        status = failed_to_open(&path, "barrier", r);
    } else {
        r = act(barrier, argv[optind], timeout);
        if (r < 0)
            status = failed(path.text, r);
    }
    shk_barrier_close(barrier);
    shk_segment_close(segment);
    return status;
}

static const struct option_row options[] = {
    TIMEOUT_ROW("with wait: no longer than this; the barrier is broken then"),
    NOWAIT_ROW,
    ANY_OWNER_ROW,
    {0},
};

const struct command cmd_barrier = {
    .name = "barrier",
    .arguments = "[OPTION...] wait|reset|abort BARRIER",
    .summary = "wait at a barrier for the others, mend it, or break it",
    .notes = "'wait' prints the how manieth it was to arrive, from 0. A broken barrier is exit status 5.",
    .options = options,
    .run = run,
};
