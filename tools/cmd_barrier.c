/* shmctl barrier: meet others at it, mend it, break it. */
#include "operation.h"
#include "shmctl.h"

#include <stdio.h>

enum { WAIT, RESET, ABORT };

/* How many are to meet has no default: without --parties no barrier is created. */
static const struct action actions[] = {
    [WAIT] = {.name = "wait", .creates = true, .waits = true, .counts = true},
    [RESET] = {.name = "reset"},
    [ABORT] = {.name = "abort"},
    {0},
};

static int act(struct shk_barrier *barrier, const struct operation *o)
{
    int r;

    switch (o->action) {
    case RESET:
        return shk_barrier_reset(barrier);
    case ABORT:
        return shk_barrier_abort(barrier);
    }
    r = shk_barrier_wait(barrier, o->acting.timeout);
    if (r >= 0)
        printf("%d\n", r);
    return r;
}

struct request {
    struct shk_barrier *barrier;
    struct operation operation;
};

static int open_barrier(struct shk_segment *segment, const char *name, unsigned flags, void *to)
{
    struct request *request = to;
    struct shk_barrier_options options = {.parties = (uint32_t)request->operation.number};

    return shk_barrier_open(segment, name, flags, options.parties ? &options : NULL,
                            &request->barrier);
}

static int run(const struct command *command, int argc, char **argv)
{
    struct request request = {.operation = {.actions = actions,
                                            .option = "parties",
                                            .max = UINT32_MAX,
                                            .opening = {.kind = "barrier",
                                                        .options = "--parties N",
                                                        .open = open_barrier,
                                                        .to = &request},
                                            .state = "not all parties have arrived"}};
    struct operation *o = &request.operation;
    int status = operation_begin(o, command, argc, argv);

    if (status == STATUS_DONE)
        status = operation_result(o, act(request.barrier, o));
    shk_barrier_close(request.barrier);
    operation_end(o);
    return status;
}

static const struct option_row options[] = {
    {'p', "parties", "N", "with wait: create it for so many if it is absent"},
    TIMEOUT_ROW("with wait: no longer; it is broken then"),
    NOWAIT_ROW,
    NO_CREATE_ROW,
    ANY_OWNER_ROW,
    {0},
};

const struct command cmd_barrier = {
    .name = "barrier",
    .arguments = "[OPTION...] wait|reset|abort BARRIER",
    .summary = "wait at a barrier for the others, mend it, or break it",
    .notes = "'wait' prints its place in the order of arrival, from 0. A broken barrier is\n"
             "exit status 5.",
    .options = options,
    .run = run,
};
