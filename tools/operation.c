#include "operation.h"

#include <getopt.h>
#include <string.h>

/* "set, clear, wait, is-set" */
static char *list_actions(const struct action *actions)
{
    char *list = NULL;

    for (; actions->name; actions++)
        list = add_to_list(list, ", ", actions->name);
    return list;
}

static size_t find_action(const struct operation *o, const char *name)
{
    for (size_t i = 0; o->actions[i].name; i++) {
        if (strcmp(o->actions[i].name, name) == 0)
            return i;
    }
    usage_error("unknown action '%s'; known: %s", name, list_actions(o->actions));
}

static const char *name_waiting(const struct action *actions)
{
    while (!actions->waits)
        actions++;
    return actions->name;
}

int operation_begin(struct operation *o, const struct command *command, int argc, char **argv)
{
    const uint64_t usual = o->number;
    const struct action *action;

    o->acting = (struct acting)ACTING_DEFAULTS;
    while (next_own_option(command, argc, argv, &o->acting) != -1)
        o->number = parse_number(optarg, o->max);
    check_operands(argc, 2, argc);
    o->action = find_action(o, argv[optind]);
    action = &o->actions[o->action];
    check_operands(argc, action->runs ? 3 : 2, action->runs ? argc : 2);
    o->command = argv + optind + 2;
    if (o->acting.timeout != SHK_FOREVER && !action->waits)
        usage_error("--timeout and --nowait are for '%s %s'", command->name,
                    name_waiting(o->actions));
    if (o->number != usual && !action->counts)
        usage_error("--%s is not for '%s %s'", o->option, command->name, action->name);
    parse_object_path(argv[optind + 1], &o->path);

    o->opening.path = &o->path;
    o->opening.flags = o->acting.flags;
    if (!action->creates || (o->option && o->number == 0))
        o->opening.flags &= ~SHK_CREATE;
    return open_object(&o->opening, &o->segment);
}

int operation_result(const struct operation *o, int r)
{
    return r < 0 ? failed_to_wait(&o->path, &o->acting, r, o->state) : STATUS_DONE;
}

void operation_end(struct operation *o)
{
    shk_segment_close(o->segment);
}
