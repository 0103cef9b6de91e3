/* shmctl demo: the programs and scenes that come with shmkit. */
#include "common.h"
#include "shmctl.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NEEDS_MAX 3

static const struct demo {
    const char *name;
    const char *file;
    const char *summary;
    const char *needs[NEEDS_MAX + 1]; /* what a scene starts, beside its own file */
} demos[] = {
    {"account",
     "scene-account.sh",
     "scene: a drawer and three depositors take turns at an account",
     {"scene.sh", "depositor", "drawer"}},
    {"account-event",
     "scene-account-event.sh",
     "scene: the same with a lock and events",
     {"scene-account.sh", "depositor", "drawer"}},
    {"queue",
     "scene-queue.sh",
     "scene: queues of three orders, producers and a consumer, whole files",
     {"scene.sh", "producer", "consumer"}},
    {"list",
     "scene-list.sh",
     "scene: a list that processes share: append, pop and len",
     {"scene.sh", "producer"}},
    {"work",
     "scene-work.sh",
     "scene: jobs and workers, of which thirty are killed; no job is lost",
     {"scene.sh"}},
    {"pipeline",
     "scene-pipeline.sh",
     "scene: a pipeline over queues that ends by itself, whichever part is killed",
     {"scene.sh"}},
    {"event",
     "scene-event.sh",
     "scene: two workers wait for the word to go",
     {"scene.sh", "worker"}},
    {"rwlock",
     "scene-rwlock.sh",
     "scene: a board that many read and one writes, with kills in the middle",
     {"scene.sh", "board"}},
    {"cluster",
     "scene-cluster.sh",
     "scene: an account on three servers of etcd, of which the leader is killed",
     {"scene.sh", "depositor", "drawer"}},
    {"python",
     "scene-python.sh",
     "scene: C, Python and a shell at the same objects, with kills",
     {"scene.sh", "producer", "sampler"}},
    {"plot",
     "scene-plot.sh",
     "scene: a signal of 1000 samples a second, and its live plot",
     {"scene.sh", "sampler", "plotter"}},
    {"producer", "producer", "puts items into a queue", {NULL}},
    {"consumer", "consumer", "takes items out of a queue and prints them", {NULL}},
    {"depositor", "depositor", "pays money in, when the account is empty", {NULL}},
    {"drawer", "drawer", "draws money, when there is some", {NULL}},
    {"worker", "worker", "waits for an event", {NULL}},
    {"board", "board", "reads a notice board, or writes to it", {NULL}},
    {"sampler", "sampler", "appends samples to a stream", {NULL}},
    {"plotter", "plotter", "shows streams as they come", {NULL}},
};

#define DEMOS (sizeof(demos) / sizeof(*demos))

static const char *directory_of_demos(void)
{
    const char *directory = getenv("SHMKIT_DEMOS");

    return directory && *directory ? directory : SHMKIT_LIBEXECDIR;
}

static char *file_of(const char *name)
{
    return print_to_memory("%s/%s", directory_of_demos(), name);
}

/* Returns 0, or -errno: also a directory may be "executable". */
static int check_file(const char *name, int mode)
{
    char *file = file_of(name);
    struct stat about;
    int r = 0;

    if (stat(file, &about) < 0 || access(file, mode) < 0)
        r = -errno;
    else if (!S_ISREG(about.st_mode))
        r = -EACCES;
    free(file);
    return r;
}

/* Returns the file without which the demo cannot run, with the reason in *r, or NULL. */
static const char *missing_file(const struct demo *demo, int *r)
{
    *r = check_file(demo->file, X_OK);
    if (*r < 0)
        return demo->file;
    for (const char *const *need = demo->needs; *need; need++) {
        *r = check_file(*need, strncmp(*need, "scene", 5) == 0 ? R_OK : X_OK);
        if (*r < 0)
            return *need;
    }
    return NULL;
}

/* Those that can be run here. Returns how many there are. */
static size_t list_demos(FILE *out)
{
    size_t n = 0;
    int r;

    for (size_t i = 0; i < DEMOS; i++) {
        if (missing_file(&demos[i], &r))
            continue;
        fprintf(out, "%-13s  %s\n", demos[i].name, demos[i].summary);
        n++;
    }
    return n;
}

static int complain_of_none(void)
{
    complain(directory_of_demos(), "none of the demos is here; SHMKIT_DEMOS names the directory");
    return STATUS_ABSENT;
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
    int r;
    const char *missing = missing_file(demo, &r);
    char *file = file_of(missing ? missing : demo->file);

    if (!missing) {
        tell_where_we_are();
        *arguments = file;
        execv(file, arguments);
        r = -errno;
    }
    complain(file, "%s", strerror(-r));
    free(file);
    return STATUS_FAILED;
}

static int run(const struct command *command, int argc, char **argv)
{
    while (next_option(command, argc, argv) != -1)
        continue;
    if (optind == argc)
        return list_demos(stdout) > 0 ? STATUS_DONE : complain_of_none();
    for (size_t i = 0; i < DEMOS; i++) {
        if (strcmp(demos[i].name, argv[optind]) == 0)
            return run_demo(&demos[i], argv + optind);
    }
    complain(argv[optind], "there is no such demo; there are:");
    if (list_demos(stderr) == 0)
        complain_of_none();
    return STATUS_USAGE;
}

const struct command cmd_demo = {
    .name = "demo",
    .arguments = "[NAME [ARGUMENT...]]",
    .summary = "run a program or scene that comes with shmkit, or list them",
    .stops_at_operand = true,
    .run = run,
};
