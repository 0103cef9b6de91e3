/* shmctl semaphore: take permits, give them. */
#include "common.h"
#include "open.h"
#include "shmctl.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

static int act(struct shk_semaphore *semaphore, const char *action, unsigned n, int64_t timeout)
{
    int r;

    if (strcmp(action, "acquire") == 0)
        return shk_semaphore_acquire(semaphore, timeout);
    if (strcmp(action, "release") == 0)
        return shk_semaphore_release(semaphore, n);
    r = shk_semaphore_value(semaphore);
    if (r >= 0)
        printf("%d\n", r);
    return r;
}

static void check_action(const char *action, unsigned n, int64_t timeout)
{
    if (strcmp(action, "acquire") != 0 && strcmp(action, "release") != 0 &&
        strcmp(action, "value") != 0)
        usage_error("unknown action '%s'; known: acquire, release, value", action);
    if (timeout != SHK_FOREVER && strcmp(action, "acquire") != 0)
        usage_error("--timeout and --nowait are for 'semaphore acquire'");
    if (n != 1 && strcmp(action, "release") != 0)
        usage_error("--count is for 'semaphore release'");
}

static int open_semaphore(struct shk_segment *segment, const char *name, unsigned flags, void *to)
{
    return shk_semaphore_open(segment, name, flags, NULL, to);
}

static int run(const struct command *command, int argc, char **argv)
{
    struct acting acting = ACTING_DEFAULTS;
    struct shk_segment *segment = NULL;
    struct shk_semaphore *semaphore = NULL;
    unsigned n = 1;
    struct path path;
    struct opening opening = {
        .path = &path, .kind = "semaphore", .open = open_semaphore, .to = &semaphore};
    int status;
    int key;
    int r;

    while ((key = next_option(command, argc, argv)) != -1) {
        if (key == 'c')
            n = (unsigned)parse_number(optarg, INT_MAX);
        else
            acting_option(&acting, key);
    }
    check_operands(argc, 2, 2);
    check_action(argv[optind], n, acting.timeout);
    parse_object_path(argv[optind + 1], &path);

    opening.flags = acting.flags & ~(strcmp(argv[optind], "value") == 0 ? SHK_CREATE : 0);
    status = open_object(&opening, &segment);
    if (status == STATUS_DONE) {
        r = act(semaphore, argv[optind], n, acting.timeout);
        if (r < 0)
            status = failed_to_wait(&path, &acting, r, "no permit is free");
    }
    shk_semaphore_close(semaphore);
    shk_segment_close(segment);
    return status;
}

static const struct option_row options[] = {
    {'c', "count", "N", "with release: how many (1)"},
    TIMEOUT_ROW("with acquire: wait no longer than this"),
    NOWAIT_ROW,
    NO_CREATE_ROW,
    ANY_OWNER_ROW,
    {0},
};

const struct command cmd_semaphore = {
    .name = "semaphore",
    .arguments = "[OPTION...] acquire|release|value SEMAPHORE",
    .summary = "take a permit of a semaphore, give some, or ask how many there are",
    .notes =
        "A permit that was acquired stays taken until one is released. 'acquire' and 'release' "
        "create the\n"
        "semaphore if it is absent, with one permit.",
    .options = options,
    .run = run,
};
