/* shmctl event: set it, clear it, wait for it, look at it. */
#include "common.h"
#include "open.h"
#include "shmctl.h"

#include <string.h>

static int act(struct shk_event *event, const char *action, int64_t timeout)
{
    if (strcmp(action, "set") == 0)
        return shk_event_set(event);
    if (strcmp(action, "clear") == 0)
        return shk_event_clear(event);
    if (strcmp(action, "wait") == 0)
        return shk_event_wait(event, timeout);
    return shk_event_is_set(event);
}

static void check_action(const char *action, int64_t timeout)
{
    static const char *const actions[] = {"set", "clear", "wait", "is-set"};
    size_t i = 0;

    while (i < 4 && strcmp(action, actions[i]) != 0)
        i++;
    if (i == 4)
        usage_error("unknown action '%s'; known: set, clear, wait, is-set", action);
    if (timeout != SHK_FOREVER && strcmp(action, "wait") != 0)
        usage_error("--timeout and --nowait are for 'event wait'");
}

static int open_event(struct shk_segment *segment, const char *name, unsigned flags, void *to)
{
    return shk_event_open(segment, name, flags, NULL, to);
}

static int run(const struct command *command, int argc, char **argv)
{
    struct acting acting = ACTING_DEFAULTS;
    struct shk_segment *segment = NULL;
    struct shk_event *event = NULL;
    const char *action;
    struct path path;
    struct opening opening = {.path = &path, .kind = "event", .open = open_event, .to = &event};
    bool asks;
    int status;
    int key;
    int r;

    while ((key = next_option(command, argc, argv)) != -1)
        acting_option(&acting, key);
    check_operands(argc, 2, 2);
    action = argv[optind];
    check_action(action, acting.timeout);
    parse_object_path(argv[optind + 1], &path);
    asks = strcmp(action, "is-set") == 0;

    opening.flags = acting.flags & ~(asks ? SHK_CREATE : 0);
    status = open_object(&opening, &segment);
    if (status == STATUS_DONE) {
        r = act(event, action, acting.timeout);
        if (r < 0)
            status = failed_to_wait(&path, &acting, r, "the event is not set");
        else if (asks && r == 0)
            status = STATUS_FAILED;
    }
    shk_event_close(event);
    shk_segment_close(segment);
    return status;
}

static const struct option_row options[] = {
    TIMEOUT_ROW("with wait: no longer than this"), NOWAIT_ROW, NO_CREATE_ROW, ANY_OWNER_ROW, {0},
};

const struct command cmd_event = {
    .name = "event",
    .arguments = "[OPTION...] set|clear|wait|is-set EVENT",
    .summary = "set an event, clear it, wait for it, or ask whether it is set",
    .notes =
        "'is-set' prints nothing: its exit status is 0 if the event is set, 1 if not, 4 if it is "
        "absent.\n"
        "The others create the event if it is absent.",
    .options = options,
    .run = run,
};
