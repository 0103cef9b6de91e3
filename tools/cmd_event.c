/* shmctl event: set it, clear it, wait for it, look at it. */
#include "common.h"
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
        usage_error("an event cannot be told to '%s'; set, clear, wait and is-set are known",
                    action);
    if (timeout != SHK_FOREVER && strcmp(action, "wait") != 0)
        usage_error("--timeout and --nowait are for 'event wait'");
}

static int run(const struct command *command, int argc, char **argv)
{
    struct shk_segment *segment = NULL;
    struct shk_event *event = NULL;
    int64_t timeout = SHK_FOREVER;
    unsigned flags = 0;
    const char *action;
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
    action = argv[optind];
    check_action(action, timeout);
    parse_object_path(argv[optind + 1], &path);

    status = open_segment(&path, flags, "event", &segment);
    if (status != STATUS_DONE)
        return status;
    r = shk_event_open(segment, path.object, 0, NULL, &event);
    if (r < 0) {
        status = failed_to_open(&path, "event", r);
        goto done;
    }
    r = act(event, action, timeout);
    if (r < 0)
        status = failed(path.text, r);
    else if (strcmp(action, "is-set") == 0 && r == 0)
        status = STATUS_FAILED;

done:
    shk_event_close(event);
    shk_segment_close(segment);
    return status;
}

static const struct option_row options[] = {
    TIMEOUT_ROW("with wait: no longer than this"),
    NOWAIT_ROW,
    ANY_OWNER_ROW,
    {0},
};

const struct command cmd_event = {
    .name = "event",
    .arguments = "[OPTION...] set|clear|wait|is-set EVENT",
    .summary = "set an event, clear it, wait for it, or ask whether it is set",
    .notes = "'is-set' prints nothing: its exit status is 0 if the event is set, and 1 if not.",
    .options = options,
    .run = run,
};
