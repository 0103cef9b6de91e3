/* shmctl work: a command for each item of a queue, one item at a time. */
#include "common.h"
#include "open.h"
#include "shmctl.h"
#include "spawn.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define SHOWN_MAX 60 /* bytes of an item in a complaint */

struct job {
    struct shk_queue *queue;
    const struct path *path;
    struct acting acting;
    uint64_t count;      /* how many items at most */
    bool standard_input; /* the item is the command's standard input, and not its last argument */
    bool stops;          /* at the first command that fails */
    char **command;      /* with room for the item and NULL behind its n words */
    int words;
    char *item; /* with room for one byte more than the largest */
    size_t room;
    int64_t priority; /* of the item */
    uint64_t failed;  /* so far */
};

/* ---- the command ---- */

static bool is_program(const char *file)
{
    struct stat st;

    if (access(file, X_OK) != 0 || stat(file, &st) != 0)
        return false;
    errno = EACCES; /* as execve(2) */
    return S_ISREG(st.st_mode);
}

/*
 * Whether it can be executed, before an item is taken for it: else all of them would be lost one
 * after the other.
 */
static bool is_executable(const char *file)
{
    const char *path = getenv("PATH");
    bool found = false;
    char *list, *directory, *rest;

    if (strchr(file, '/'))
        return is_program(file);
    list = rest = print_to_memory("%s", path ? path : "/bin:/usr/bin");
    while (!found && (directory = strsep(&rest, ":"))) {
        char *whole = print_to_memory("%s/%s", *directory ? directory : ".", file);

        found = is_program(whole);
        free(whole);
    }
    free(list);
    return found;
}

/* A file without a name, from its beginning: no process has to write while the command reads. */
static int file_of(const char *item, size_t length)
{
    int fd = memfd_create("item", MFD_CLOEXEC);
    size_t done = 0;

    while (fd >= 0 && done < length) {
        ssize_t n = write(fd, item + done, length - done);

        if (n < 0 && errno != EINTR) {
            close(fd);
            return -1;
        }
        done += n > 0 ? (size_t)n : 0;
    }
    if (fd >= 0)
        lseek(fd, 0, SEEK_SET);
    return fd;
}

/* A word of an item, for a complaint: what may be printed of its beginning. */
static const char *show(char *buffer, const char *item, size_t length)
{
    size_t n = 0;

    while (n < length && n < SHOWN_MAX && item[n] && !iscntrl((unsigned char)item[n])) {
        buffer[n] = item[n];
        n++;
    }
    strcpy(buffer + n, n < length ? "..." : "");
    return buffer;
}

/* ---- an item ---- */

static void complain_of_command(const struct job *job, size_t length, const struct run *run,
                                int status)
{
    char shown[SHOWN_MAX + 4];

    show(shown, job->item, length);
    if (run->killed)
        complain(job->path->text, "item '%s': %s was killed by signal %d (%s)", shown,
                 *job->command, run->killed, strsignal(run->killed));
    else
        complain(job->path->text, "item '%s': %s exited with %d", shown, *job->command, status);
}

/* An item whose command did not even begin goes back, in a FIFO queue behind the others. */
static void give_back(const struct job *job, size_t length)
{
    char shown[SHOWN_MAX + 4];
    int r = shk_queue_put_priority(job->queue, job->item, length, job->priority, SHK_NOWAIT);

    if (r == -ENOTSUP)
        r = shk_queue_put(job->queue, job->item, length, SHK_NOWAIT);
    show(shown, job->item, length);
    if (r == 0)
        complain(job->path->text, "item '%s' has been put back", shown);
    else
        complain(job->path->text, "item '%s' is lost: %s", shown, shk_last_error());
}

/*
 * Run the command for the item in hand. Returns its exit status. killed here, or any time before
 * the command ends: the item is in no queue any more. The command, if it runs already, goes on to
 * its end.
 */
static int run_item(struct job *job, size_t length)
{
    struct run run = {.command = job->command, .input = -1};
    int status = STATUS_FAILED;

    job->item[length] = '\0';
    if (job->standard_input) {
        run.input = file_of(job->item, length);
    } else if (strlen(job->item) == length) {
        job->command[job->words] = job->item;
        run.input = open("/dev/null", O_RDONLY | O_CLOEXEC);
    } else {
        errno = EINVAL; /* an argument has no zero byte */
    }
    if (run.input >= 0) {
        status = run_command(&run);
        close(run.input);
    } else {
        complain(job->path->text, "%s",
                 errno == EINVAL ? "there is a zero byte in the item: --stdin is needed"
                                 : strerror(errno));
    }
    if (!run.started)
        give_back(job, length);
    else if (status != STATUS_DONE)
        complain_of_command(job, length, &run, status);
    if (run.signal)
        interrupt(run.signal);
    if (status == STATUS_DONE)
        shk_queue_task_done(job->queue);
    else
        job->failed++;
    job->stops = job->stops || !run.started; /* the next would fare no better */
    return status;
}

static int work(struct job *job)
{
    int status = STATUS_DONE;
    ssize_t length = 0;

    for (uint64_t i = 0; i < job->count && !interrupted(); i++) {
        length = get_soon(job->queue, job->item, job->room, job->acting.timeout, &job->priority);
        if (length < 0)
            break;
        status = run_item(job, (size_t)length);
        if (status != STATUS_DONE && job->stops)
            return status;
    }
    if (length < 0 && length != -EPIPE)
        return failed_to_wait(job->path, &job->acting, (int)length, "the queue is empty");
    return job->failed ? STATUS_FAILED : STATUS_DONE;
}

static int run(const struct command *command, int argc, char **argv)
{
    struct job job = {.acting = ACTING_DEFAULTS, .count = UINT64_MAX};
    struct shk_segment *segment = NULL;
    struct path path;
    struct opening opening = {
        .path = &path, .kind = "queue", .open = open_any_queue, .to = &job.queue};
    int status;
    int key;

    while ((key = next_own_option(command, argc, argv, &job.acting)) != -1) {
        if (key == 'c')
            job.count = parse_number(optarg, UINT64_MAX);
        else if (key == 's')
            job.standard_input = true;
        else if (key == 'x')
            job.stops = true;
    }
    check_operands(argc, 2, argc);
    parse_object_path(argv[optind], &path);
    if (!is_executable(argv[optind + 1])) {
        complain(argv[optind + 1], "%s", strerror(errno));
        return errno == ENOENT ? 127 : 126;
    }

    job.path = &path;
    job.words = argc - optind - 1;
    job.command = allocate((size_t)job.words + 2, sizeof(*job.command));
    memcpy(job.command, argv + optind + 1, (size_t)job.words * sizeof(*job.command));
    unsetenv("SHMKIT_ORPHANED");
    opening.flags = job.acting.flags;
    status = open_object(&opening, &segment);
    if (status == STATUS_DONE) {
        job.room = (size_t)shk_queue_item_size(job.queue);
        job.item = allocate(job.room + 1, 1);
        status = work(&job);
    }
    free(job.item);
    free(job.command);
    shk_queue_close(job.queue);
    shk_segment_close(segment);
    return status;
}

static const struct option_row options[] = {
    {'s', "stdin", NULL, "the item is the command's input, not its last argument"},
    {'c', "count", "N", "end after so many items"},
    {'x', "stop", NULL, "end at the first command that fails, with its status"},
    TIMEOUT_ROW("wait no longer for each item"),
    NOWAIT_ROW,
    NO_CREATE_ROW,
    ANY_OWNER_ROW,
    {0},
};

const struct command cmd_work = {
    .name = "work",
    .arguments = "[OPTION...] QUEUE [--] COMMAND [ARGUMENT...]",
    .summary = "run a command for each item of a queue, one at a time",
    .notes = "An item is taken when the command for the one before has ended, so any number of\n"
             "workers share the queue. They end when it is shut down and drained. Exit status:\n"
             "0 all commands exited with 0, 1 one did not; with --stop the command's own. The\n"
             "queue is created if it is absent.",
    .options = options,
    .runs_command = 1,
    .run = run,
};
