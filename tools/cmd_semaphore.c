/* shmctl semaphore: take permits, give them. */
#include "operation.h"
#include "shmctl.h"

#include <limits.h>
#include <stdio.h>

enum { ACQUIRE, RELEASE, VALUE };

static const struct action actions[] = {
    [ACQUIRE] = {.name = "acquire", .creates = true, .waits = true},
    [RELEASE] = {.name = "release", .creates = true, .counts = true},
    [VALUE] = {.name = "value"},
    {0},
};

static int act(struct shk_semaphore *semaphore, const struct operation *o)
{
    int r;

    switch (o->action) {
    case ACQUIRE:
        return shk_semaphore_acquire(semaphore, o->acting.timeout);
    case RELEASE:
        return shk_semaphore_release(semaphore, (unsigned)o->number);
    }
    r = shk_semaphore_value(semaphore);
    if (r >= 0)
        printf("%d\n", r);
    return r;
}

static int open_semaphore(struct shk_segment *segment, const char *name, unsigned flags, void *to)
{
    return shk_semaphore_open(segment, name, flags, NULL, to);
}

static int run(const struct command *command, int argc, char **argv)
{
    struct shk_semaphore *semaphore = NULL;
    struct operation o = {
        .actions = actions,
        .option = "count",
        .number = 1,
        .max = INT_MAX,
        .opening = {.kind = "semaphore", .open = open_semaphore, .to = &semaphore},
        .state = "no permit is free"};
    int status = operation_begin(&o, command, argc, argv);

    if (status == STATUS_DONE)
        status = operation_result(&o, act(semaphore, &o));
    shk_semaphore_close(semaphore);
    operation_end(&o);
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
    .notes = "A permit that was acquired stays taken until one is released. 'acquire' and\n"
             "'release' create the semaphore if it is absent, with one permit.",
    .options = options,
    .run = run,
};
