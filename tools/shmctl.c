/*
 * shmctl: inspect segments of shared memory and work on what is in them. This is the table of
 * verbs.
 */
#include "shmctl.h"
#include "common.h"
#include "origin.h"

#include <fcntl.h>
#include <locale.h>
#include <string.h>

struct group {
    const char *title;
    const struct command *commands[24];
};

static const struct group groups[] = {
    {"Look",
     {&cmd_ls, &cmd_show, &cmd_peek, &cmd_ps, &cmd_why, &cmd_watch, &cmd_hz, &cmd_doctor,
      &cmd_metrics}},
    {"Make and remove", {&cmd_create, &cmd_rm, &cmd_clean}},
    {"Operate",
     {&cmd_put, &cmd_get, &cmd_work, &cmd_move, &cmd_bridge, &cmd_purge, &cmd_join, &cmd_shutdown,
      &cmd_reopen, &cmd_stream, &cmd_value, &cmd_region, &cmd_event, &cmd_lock, &cmd_once,
      &cmd_semaphore, &cmd_barrier, &cmd_notify, &cmd_wait}},
    {"See it work", {&cmd_demo}},
};

static const struct command *find_command(const char *name)
{
    for (size_t g = 0; g < sizeof(groups) / sizeof(*groups); g++) {
        for (const struct command *const *c = groups[g].commands; *c; c++) {
            if (strcmp((*c)->name, name) == 0)
                return *c;
        }
    }
    usage_error("unknown verb '%s'", name);
}

static void print_verbs(void)
{
    printf("Usage: shmctl [--name NAME] VERB [OPTION...] [OPERAND...]\n\n"
           "Look at segments of shared memory and work on the objects in them.\n"
           "A path is SEGMENT or SEGMENT/OBJECT. In ps, why and show a verb that operates\n"
           "is called like the script that runs it, or as --name says.\n");
    for (size_t g = 0; g < sizeof(groups) / sizeof(*groups); g++) {
        printf("\n%s:\n", groups[g].title);
        for (const struct command *const *c = groups[g].commands; *c; c++)
            printf("  %-9s %s\n", (*c)->name, (*c)->summary);
    }
    printf("\nshmctl VERB --help tells more about one of them, and shmctl(1) about all.\n\n"
           "Exit status: 0 done, 1 failed, 2 usage, 3 would block or timed out,\n"
           "             4 no such segment or object, 5 shut down; why has two more\n");
}

/*
 * Names are UTF-8. Where no locale has been chosen (cron, containers) the terminal is taken to be,
 * too.
 */
static void choose_locale(void)
{
    const char *locale = setlocale(LC_CTYPE, "");

    if (!locale || strcmp(locale, "C") == 0 || strcmp(locale, "POSIX") == 0)
        setlocale(LC_CTYPE, "C.UTF-8");
}

/*
 * A descriptor below 3 that is closed would be the next file's, such as a segment's, and what is
 * printed would be written into it. It is opened the wrong way round, so that its use is an error
 * as before; a command that is run finds it closed.
 */
static void reserve_standard_descriptors(void)
{
    static const int ways[] = {O_WRONLY, O_RDONLY, O_RDONLY};

    for (int i = 0; i < 3; i++) {
        if (fcntl(i, F_GETFD) < 0 && open("/dev/null", ways[i] | O_CLOEXEC) != i)
            _exit(STATUS_FAILED);
    }
}

int main(int argc, char **argv)
{
    const struct command *command;

    reserve_standard_descriptors();
    choose_locale();
    if (argc > 2 && strcmp(argv[1], "--name") == 0) {
        set_member_name(argv[2]);
        argc -= 2;
        argv += 2;
    } else if (argc > 1 && strncmp(argv[1], "--name=", 7) == 0) {
        set_member_name(argv[1] + 7);
        argc--;
        argv++;
    }
    if (argc < 2)
        usage_error("missing verb; usage: shmctl VERB [OPTION...] [OPERAND...]");
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
        puts("shmctl (shmkit) " PACKAGE_VERSION);
        return finish(STATUS_DONE);
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        (strcmp(argv[1], "help") == 0 && argc == 2)) {
        print_verbs();
        return finish(STATUS_DONE);
    }
    if (strcmp(argv[1], "help") == 0) {
        print_help(find_command(argv[2]));
        return finish(STATUS_DONE);
    }
    if (*argv[1] == '-')
        usage_error("unknown option '%s' before the verb", argv[1]);
    command = find_command(argv[1]);
    set_current_verb(command->name);
    argv[1] = "shmctl"; /* getopt names it in its complaints */
    return finish(command->run(command, argc - 1, argv + 1));
}
