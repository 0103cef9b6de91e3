/* shmctl event: set it, clear it, wait for it, read it. */
#include "operation.h"
#include "shmctl.h"

enum { SET, CLEAR, WAIT, IS_SET };

static const struct action actions[] = {
    [SET] = {.name = "set", .creates = true},
    [CLEAR] = {.name = "clear", .creates = true},
    [WAIT] = {.name = "wait", .creates = true, .waits = true},
    [IS_SET] = {.name = "is-set"},
    {0},
};

static int act(struct shk_event *event, const struct operation *o)
{
    switch (o->action) {
    case SET:
        return shk_event_set(event);
    case CLEAR:
        return shk_event_clear(event);
    case WAIT:
        return shk_event_wait(event, o->acting.timeout);
    }
    return shk_event_is_set(event);
}

static int open_event(struct shk_segment *segment, const char *name, unsigned flags, void *to)
{
    return shk_event_open(segment, name, flags, NULL, to);
}

static int run(const struct command *command, int argc, char **argv)
{
    struct shk_event *event = NULL;
    struct operation o = {.actions = actions,
                          .opening = {.kind = "event", .open = open_event, .to = &event},
                          .state = "the event is not set"};
    int status = operation_begin(&o, command, argc, argv);
    int r;

    if (status == STATUS_DONE) {
        r = act(event, &o);
        status = operation_result(&o, r);
        if (o.action == IS_SET && r == 0)
            status = STATUS_FAILED;
    }
    shk_event_close(event);
    operation_end(&o);
    return status;
}

static const struct option_row options[] = {
    TIMEOUT_ROW("with wait: no longer than this"), NOWAIT_ROW, NO_CREATE_ROW, ANY_OWNER_ROW, {0},
};

const struct command cmd_event = {
    .name = "event",
    .arguments = "[OPTION...] set|clear|wait|is-set EVENT",
    .summary = "set an event, clear it, wait for it, or ask whether it is set",
    .notes = "'is-set' prints nothing: its exit status is 0 if the event is set, 1 if not, 4\n"
             "if it is absent. The others create the event if it is absent.",
    .options = options,
    .run = run,
};
