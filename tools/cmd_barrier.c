/* shmctl barrier: meet others at it, mend it, break it. */
#include "common.h"
#include "open.h"
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

static void check_action(const char *action, int64_t timeout, uint32_t parties)
{
    if (strcmp(action, "wait") != 0 && strcmp(action, "reset") != 0 && strcmp(action, "abort") != 0)
        usage_error("unknown action '%s'; known: wait, reset, abort", action);
    if (timeout != SHK_FOREVER && strcmp(action, "wait") != 0)
        usage_error("--timeout and --nowait are for 'barrier wait'");
    if (parties && strcmp(action, "wait") != 0)
        usage_error("--parties is for 'barrier wait'");
}

struct wanted {
    struct shk_barrier *barrier;
    uint32_t parties; /* 0: as it is */
};

static int open_barrier(struct shk_segment *segment, const char *name, unsigned flags, void *to)
{
    struct wanted *wanted = to;
    struct shk_barrier_options options = {.parties = wanted->parties};

    return shk_barrier_open(segment, name, flags, wanted->parties ? &options : NULL,
                            &wanted->barrier);
}

static int run(const struct command *command, int argc, char **argv)
{
    struct acting acting = ACTING_DEFAULTS;
    struct shk_segment *segment = NULL;
    struct wanted wanted = {0};
    struct path path;
    struct opening opening = {.path = &path,
                              .kind = "barrier",
                              .options = "--parties N",
                              .open = open_barrier,
                              .to = &wanted};
    int status;
    int key;
    int r;

    while ((key = next_option(command, argc, argv)) != -1) {
        if (key == 'p')
            wanted.parties = (uint32_t)parse_number(optarg, UINT32_MAX);
        else
            acting_option(&acting, key);
    }
    check_operands(argc, 2, 2);
    check_action(argv[optind], acting.timeout, wanted.parties);
    parse_object_path(argv[optind + 1], &path);

    /* How many are to meet has no default. */
    opening.flags = acting.flags & ~(wanted.parties ? 0 : SHK_CREATE);
    status = open_object(&opening, &segment);
    if (status == STATUS_DONE) {
        r = act(wanted.barrier, argv[optind], acting.timeout);
        if (r < 0)
            status = failed_to_wait(&path, &acting, r, "not all parties have arrived");
    }
    shk_barrier_close(wanted.barrier);
    shk_segment_close(segment);
    return status;
}

static const struct option_row options[] = {
    {'p', "parties", "N", "with wait: create it for so many if it is absent"},
    TIMEOUT_ROW("with wait: no longer than this; the barrier is broken then"),
    NOWAIT_ROW,
    NO_CREATE_ROW,
    ANY_OWNER_ROW,
    {0},
};

const struct command cmd_barrier = {
    .name = "barrier",
    .arguments = "[OPTION...] wait|reset|abort BARRIER",
    .summary = "wait at a barrier for the others, mend it, or break it",
    .notes =
        "'wait' prints its place in the order of arrival, from 0. A broken barrier is exit status "
        "5.",
    .options = options,
    .run = run,
};
