/* shmctl semaphore: take permits, give them, run a command that has some. */
#include "operation.h"
#include "shmctl.h"
#include "spawn.h"

#include <limits.h>
#include <stdio.h>

enum { ACQUIRE, RELEASE, VALUE, RUN };

static const struct action actions[] = {
    [ACQUIRE] = {.name = "acquire", .creates = true, .waits = true, .counts = true},
    [RELEASE] = {.name = "release", .creates = true, .counts = true},
    [VALUE] = {.name = "value"},
    [RUN] = {.name = "run", .creates = true, .waits = true, .counts = true, .runs = true},
    {0},
};

/* Opened, or created: with owners by 'run', whose permits are to come back if it is killed. */
struct target {
    struct operation operation;
    struct shk_semaphore *semaphore;
};

static int open_semaphore(struct shk_segment *segment, const char *name, unsigned flags, void *to)
{
    struct target *t = to;
    const struct shk_semaphore_options owned = {.value = 1, .owners = 1};

    return shk_semaphore_open(segment, name, flags,
                              flags & SHK_CREATE && t->operation.action == RUN ? &owned : NULL,
                              &t->semaphore);
}

/* What shmctl takes from a semaphore with owners comes back when shmctl ends, and that is now. */
static int refuse_owned(const struct operation *o)
{
    complain(o->path.text,
             "its permits belong to processes, and this one ends now; 'shmctl semaphore run %s -- "
             "COMMAND' has a permit while COMMAND runs",
             o->path.text);
    return STATUS_FAILED;
}

static int run_with_permits(struct shk_semaphore *semaphore, const struct operation *o)
{
    struct run run = {.command = o->command, .input = -1, .dies_with_us = true};
    int status = STATUS_FAILED;
    int r = shk_semaphore_acquire_many(semaphore, (unsigned)o->number, o->acting.timeout);

    if (r < 0)
        return operation_result(o, r);
    if (!interrupted())
        status = run_command(&run);
    r = shk_semaphore_release(semaphore, (unsigned)o->number);
    return r < 0 ? failed(o->path.text, r) : status;
}

static int act(struct shk_semaphore *semaphore, const struct operation *o)
{
    int r;

    if (o->action == RUN)
        return run_with_permits(semaphore, o);
    if (o->action != VALUE && shk_semaphore_held(semaphore) >= 0)
        return refuse_owned(o);
    if (o->action == ACQUIRE)
        r = shk_semaphore_acquire_many(semaphore, (unsigned)o->number, o->acting.timeout);
    else if (o->action == RELEASE)
        r = shk_semaphore_release(semaphore, (unsigned)o->number);
    else
        r = shk_semaphore_value(semaphore);
    if (r >= 0 && o->action == VALUE)
        printf("%d\n", r);
    return operation_result(o, r);
}

static int run(const struct command *command, int argc, char **argv)
{
    struct target target = {
        .operation = {.actions = actions,
                      .option = "count",
                      .number = 1,
                      .max = INT_MAX,
                      .opening = {.kind = "semaphore", .open = open_semaphore, .to = &target},
                      .state = "not so many permits are free"}};
    int status = operation_begin(&target.operation, command, argc, argv);

    if (status == STATUS_DONE)
        status = act(target.semaphore, &target.operation);
    shk_semaphore_close(target.semaphore);
    operation_end(&target.operation);
    return status;
}

static const struct option_row options[] = {
    {'c', "count", "N", "how many permits, all at once (1)"},
    TIMEOUT_ROW("with acquire, run: no longer than this"),
    NOWAIT_ROW,
    NO_CREATE_ROW,
    ANY_OWNER_ROW,
    {0},
};

const struct command cmd_semaphore = {
    .name = "semaphore",
    .arguments = "[OPTION...] acquire|release|value|run PATH [COMMAND...]",
    .summary = "take permits of a semaphore, give some, or run a command with some",
    .notes = "'run' gives the permits back however the command ends; its exit status is the\n"
             "command's, as with 'shmctl lock'. It creates the semaphore, if it is absent,\n"
             "with one permit and with owners: the permit comes back even if shmctl is\n"
             "killed. A permit of 'acquire' stays taken until one is released. 'acquire' and\n"
             "'release' create the semaphore without owners, with one permit.",
    .options = options,
    .runs_command = 2,
    .run = run,
};
