/* shmctl demo: the programs and scenes that come with shmkit. */
#include "common.h"
#include "shmctl.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct demo {
    const char *name;
    const char *file;
    const char *summary;
} demos[] = {
    {"account", "scene-account.sh",
     "scene: a drawer and three depositors take turns at an account"},
    {"account-event", "scene-account-event.sh", "scene: the same with a lock and events"},
    {"queue", "scene-queue.sh",
     "scene: queues of three orders, producers and a consumer, whole files"},
    {"list", "scene-list.sh", "scene: a list that processes share: append, pop and len"},
    {"event", "scene-event.sh", "scene: two workers wait for the word to go"},
    {"plot", "scene-plot.sh", "scene: a signal of 1000 samples a second, and its live plot"},
    {"producer", "producer", "puts items into a queue"},
    {"consumer", "consumer", "takes items out of a queue and prints them"},
    {"depositor", "depositor", "pays money in, when the account is empty"},
    {"drawer", "drawer", "draws money, when there is some"},
    {"worker", "worker", "waits for an event"},
    {"sampler", "sampler", "appends samples to a stream"},
    {"plotter", "plotter", "shows streams as they come"},
};

#define DEMOS (sizeof(demos) / sizeof(*demos))

static char *file_of(const struct demo *demo)
{
    const char *directory = getenv("SHMKIT_DEMOS");

    return print_to_memory("%s/%s", directory && *directory ? directory : SHMKIT_LIBEXECDIR,
                           demo->file);
}

static void list_demos(FILE *out)
{
    for (size_t i = 0; i < DEMOS; i++) {
        char *file = file_of(&demos[i]);

        if (access(file, X_OK) == 0)
            fprintf(out, "%-13s  %s\n", demos[i].name, demos[i].summary);
        free(file);
    }
}

/* A scene shall call this shmctl, not another one that may be installed. */
static void tell_where_we_are(void)
{
    char self[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);

    if (length < 0)
        return;
    self[length] = '\0';
    setenv("SHMCTL", self, 1);
}

static int run_demo(const struct demo *demo, char **arguments)
{
    char *file = file_of(demo);

    tell_where_we_are();
    *arguments = file;
    execv(file, arguments);
    complain(file, "%s", strerror(errno));
    free(file);
    return STATUS_FAILED;
}

static int run(const struct command *command, int argc, char **argv)
{
    while (next_option(command, argc, argv) != -1)
        continue;
    if (optind == argc) {
        list_demos(stdout);
        return STATUS_DONE;
    }
    for (size_t i = 0; i < DEMOS; i++) {
        if (strcmp(demos[i].name, argv[optind]) == 0)
            return run_demo(&demos[i], argv + optind);
    }
    complain(argv[optind], "there is no such demo; there are:");
    list_demos(stderr);
    return STATUS_USAGE;
}

const struct command cmd_demo = {
    .name = "demo",
    .arguments = "[NAME [ARGUMENT...]]",
    .summary = "run a program or scene that comes with shmkit, or list them",
    .stops_at_operand = true,
    .run = run,
};
