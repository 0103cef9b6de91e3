/* shmctl once: run a command, unless it has been run to its end; the others wait meanwhile. */
#include "common.h"
#include "open.h"
#include "shmctl.h"
#include "spawn.h"

#include <errno.h>
#include <stdlib.h>

struct request {
    struct path path;
    struct acting acting;
    char **command; /* NULL: reset */
};

static int open_once(struct shk_segment *segment, const char *name, unsigned flags, void *to)
{
    return shk_once_open(segment, name, flags, NULL, to);
}

static int reset(struct shk_once *once, const struct request *request)
{
    const struct acting now = {.timeout = SHK_NOWAIT};
    int r = shk_once_reset(once);

    return r < 0 ? failed_to_wait(&request->path, &now, r, "it is") : STATUS_DONE;
}

/* The command and what it starts know of a death only by this verb, and not of an outer one's. */
static int run_mine(struct shk_once *once, const struct request *request, bool orphaned)
{
    struct run run = {.command = request->command, .input = -1, .dies_with_us = true};
    int status = STATUS_FAILED, r;

    if (orphaned) {
        complain(request->path.text, "the former one died in the middle (SHMKIT_ORPHANED=1)");
        setenv("SHMKIT_ORPHANED", "1", 1);
    } else {
        unsetenv("SHMKIT_ORPHANED");
    }
    if (!interrupted())
        status = run_command(&run);
    /* What no command was told the next one is: shmctl ends in the middle, too. */
    if (orphaned && !run.started)
        return status;
    r = status == STATUS_DONE ? shk_once_done(once) : shk_once_abandon(once);
    return r < 0 ? failed(request->path.text, r) : status;
}

static int act(struct shk_once *once, const struct request *request)
{
    int r;

    if (!request->command)
        return reset(once, request);
    r = shk_once_begin(once, request->acting.timeout);
    if (r < 0)
        return failed_to_wait(&request->path, &request->acting, r, "it is");
    return r == 0 ? STATUS_DONE : run_mine(once, request, r & SHK_ORPHANED);
}

static int once(const struct request *request)
{
    struct shk_once *once = NULL;
    struct opening opening = {.path = &request->path,
                              .flags = request->acting.flags,
                              .kind = "once",
                              .open = open_once,
                              .to = &once};
    struct shk_segment *segment = NULL;
    int status = open_object(&opening, &segment);

    if (status == STATUS_DONE)
        status = act(once, request);
    shk_once_close(once);
    shk_segment_close(segment);
    return status;
}

enum { OPTION_RESET = OPTION_PRIVATE };

static int run(const struct command *command, int argc, char **argv)
{
    struct request request = {.acting = ACTING_DEFAULTS};
    bool resets = false;
    int key;

    while ((key = next_own_option(command, argc, argv, &request.acting)) != -1)
        resets = resets || key == OPTION_RESET;
    check_operands(argc, resets ? 1 : 2, resets ? 1 : argc);
    parse_object_path(argv[optind], &request.path);
    if (resets)
        request.acting.flags &= ~(unsigned)SHK_CREATE;
    else
        request.command = argv + optind + 1;
    return once(&request);
}

static const struct option_row options[] = {
    {OPTION_RESET, "reset", NULL, "without a command: make it not done"},
    TIMEOUT_ROW("wait no longer for another that does it"),
    NOWAIT_ROW,
    NO_CREATE_ROW,
    ANY_OWNER_ROW,
    {0},
};

const struct command cmd_once = {
    .name = "once",
    .arguments = "[OPTION...] ONCE [[--] COMMAND [ARGUMENT...]]",
    .summary = "run a command unless that has been done, or wait until it is",
    .notes = "It is done when a COMMAND exits with 0; from then on the exit status is 0, and\n"
             "nothing runs. Another exit status is passed on, and the next COMMAND runs. If\n"
             "shmctl is killed in the middle, the next COMMAND finds SHMKIT_ORPHANED=1 in its\n"
             "environment.",
    .options = options,
    .runs_command = true,
    .run = run,
};
