/* shmctl work: a command for each item of a queue, several at a time, none lost. */
#include "common.h"
#include "crew.h"
#include "job.h"
#include "journal.h"
#include "open.h"
#include "shmctl.h"
#include "spawn.h"

#include <shmkit/inspect.h>

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
    RETRIES = 3,
    JOBS_MAX = 1024,
    FIRST_ROOM = 4096,   /* bytes for an item */
    RESULT_SIZE = 65536, /* bytes, of a queue of results that is created */
};

#define KILL_AFTER SHK_SEC(10)
#define REFRESH    SHK_SEC(1) /* of the progress */

/* ---- before it begins ---- */

static bool is_program(const char *file)
{
    struct stat st;

    if (access(file, X_OK) != 0 || stat(file, &st) != 0)
        return false;
    errno = EACCES; /* as execve(2) */
    return S_ISREG(st.st_mode);
}

/* Whether it can be executed, before an item is taken for it. */
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

static int open_target(struct shk_segment *segment, const char *name, unsigned flags, void *to)
{
    struct target *t = to;

    return shk_queue_open(segment, name, flags, flags & SHK_CREATE ? &t->options : NULL, &t->queue);
}

static int open_one_target(struct target *t, unsigned flags)
{
    struct opening opening = {
        .path = &t->path, .flags = flags, .kind = "queue", .open = open_target, .to = t};

    return t->path.text ? open_object(&opening, &t->segment) : STATUS_DONE;
}

/* What fails keeps its priority: the queue for it is created in the order of the other. */
static uint32_t order_of(const struct path *path)
{
    const struct shk_object_info *object;
    struct shk_snapshot *snapshot;
    uint32_t order = SHK_FIFO;

    if (shk_snapshot_open(path->segment, &snapshot) != 0)
        return SHK_FIFO;
    object = shk_snapshot_find_object(snapshot, path->object);
    if (object && object->kind == SHK_KIND_QUEUE && object->as.queue.order == SHK_PRIORITY)
        order = SHK_PRIORITY;
    shk_snapshot_close(snapshot);
    return order;
}

static int open_targets(struct work *w, unsigned flags)
{
    int status;

    w->results.options.item_size = RESULT_SIZE;
    w->failed.options.item_size = (size_t)shk_queue_item_size(w->queue);
    w->failed.options.order = order_of(w->path);
    status = open_one_target(&w->results, flags);
    return status == STATUS_DONE ? open_one_target(&w->failed, flags) : status;
}

static void close_target(struct target *t)
{
    shk_queue_close(t->queue);
    shk_segment_close(t->segment);
}

/* ---- progress, on a terminal ---- */

static void show_progress(const struct work *w, int64_t since)
{
    double seconds = (double)(monotonic_now() - since) / 1e9;
    ssize_t waiting = shk_queue_size(w->queue);

    if (!w->shows_progress)
        return;
    fprintf(stderr, "\r%" PRIu64 " done, %" PRIu64 " failed, %u running, %zd waiting, %.1f/s\033[K",
            w->done, w->given_up, w->busy, waiting > 0 ? waiting : 0,
            seconds > 0 ? (double)(w->done + w->given_up) / seconds : 0);
}

/* ---- signals ---- */

/*
 * SIGINT: no more items; once more: as SIGTERM and SIGHUP, which end the commands, whose items go
 * back; then SIGKILL.
 */
static void obey(struct work *w, int signal)
{
    if (!signal)
        return;
    w->ended = true;
    if (signal == SIGINT || w->haste >= ENDS_COMMANDS)
        w->haste += w->haste < KILLS_COMMANDS;
    else
        w->haste = ENDS_COMMANDS;
    if (w->haste == FINISHES && w->shows_progress && w->busy)
        work_say(w, "it ends when what runs has ended; Ctrl-C ends that, too");
    for (unsigned i = 0; i < w->n && w->haste >= ENDS_COMMANDS; i++) {
        if (w->jobs[i].state == RUNS)
            crew_send(w->jobs[i].process, w->haste == KILLS_COMMANDS ? SIGKILL : SIGTERM);
    }
}

/* ---- the loop ---- */

static void reap(struct work *w)
{
    pid_t pid;
    int status;

    while ((pid = crew_reap(&status))) {
        for (unsigned i = 0; i < w->n; i++) {
            if (w->jobs[i].state == RUNS && w->jobs[i].process == pid)
                job_end(w, &w->jobs[i], status);
        }
    }
}

static struct job *find_free(const struct work *w)
{
    for (unsigned i = 0; i < w->n; i++) {
        if (w->jobs[i].state == FREE)
            return &w->jobs[i];
    }
    return NULL;
}

static bool may_take(const struct work *w)
{
    return !w->ended && w->busy < w->n && w->done + w->given_up + w->busy < w->count;
}

/* When something is to be done without a signal. */
static int64_t next_time(const struct work *w)
{
    int64_t next = w->shows_progress ? monotonic_now() + REFRESH : SHK_FOREVER;

    for (unsigned i = 0; i < w->n; i++) {
        if (w->jobs[i].state != FREE && w->jobs[i].due < next)
            next = w->jobs[i].due;
    }
    return next;
}

/* How long a lease may wait. idle: since when no command has run. */
static int64_t lease_timeout(const struct work *w, const struct acting *acting, int64_t idle)
{
    int64_t until = next_time(w);

    if (acting->timeout == SHK_NOWAIT)
        return SHK_NOWAIT;
    if (!w->busy && acting->timeout != SHK_FOREVER && idle + acting->timeout < until)
        until = idle + acting->timeout;
    if (until == SHK_FOREVER)
        return SHK_FOREVER;
    until -= monotonic_now();
    return until > 0 ? until : -1; /* 0 would not wait, but be -EAGAIN */
}

/*
 * Lease an item into a buffer that grows with what comes: the largest item that the queue takes may
 * be larger than any that ever comes. An item that does not fit stays in the queue.
 */
static ssize_t lease(const struct work *w, struct job *job, int64_t timeout)
{
    size_t most = (size_t)shk_queue_item_size(w->queue);
    ssize_t length;

    if (!job->item)
        job_make_room(job, most < FIRST_ROOM ? most : FIRST_ROOM);
    while ((length = shk_queue_lease(w->queue, job->item, job->room, timeout, &job->ticket)) ==
               -EMSGSIZE &&
           job->room < most)
        job_make_room(job, job->room < most / 2 ? 2 * job->room : most);
    return length;
}

/*
 * Lease an item and start its command. Returns 0 if there was one, or what ended the wait; then
 * there is nothing else to do than to wait for a command, if one runs.
 */
static int take(struct work *w, int64_t timeout)
{
    struct job *job = find_free(w);
    ssize_t length;

    length = lease(w, job, timeout);
    if (length < 0)
        return (int)length;
    job->length = (size_t)length;
    job_begin(w, job);
    return 0;
}

/* Whether a failed lease is the end. */
static bool is_end(const struct work *w, const struct acting *acting, int r, int64_t idle)
{
    switch (r) {
    case 0:
    case -EINTR:
        return false;
    case -ETIMEDOUT:
        return !w->busy && acting->timeout != SHK_FOREVER &&
               monotonic_now() >= idle + acting->timeout;
    case -EAGAIN: /* --nowait */
    case -ENOSPC: /* too many leases */
        return !w->busy;
    }
    return true;
}

static int work(struct work *w, const struct acting *acting)
{
    int64_t since = monotonic_now(), idle = since;
    int signal = 0, seen;
    int r = 0;

    while (true) {
        seen = crew_signal_seen();
        obey(w, seen);
        signal = seen ? seen : signal;
        w->ended = w->ended || interrupted();
        reap(w);
        for (unsigned i = 0; i < w->n; i++)
            job_look_after(w, &w->jobs[i]);
        show_progress(w, since);
        if (w->busy)
            idle = monotonic_now();
        if (may_take(w)) {
            r = take(w, lease_timeout(w, acting, idle));
            w->ended = w->ended || is_end(w, acting, r, idle);
            if ((r == -EAGAIN || r == -ENOSPC) && w->busy)
                crew_sleep(next_time(w));
        } else if (w->busy) {
            crew_sleep(next_time(w));
        } else {
            break;
        }
    }
    if (w->shows_progress)
        fputc('\n', stderr);
    if (signal)
        interrupt(signal);
    if (w->status != STATUS_DONE)
        return w->status;
    if (r < 0 && r != -EPIPE && r != -EINTR)
        return failed_to_wait(w->path, acting, r, "the queue is empty");
    return w->given_up ? STATUS_FAILED : STATUS_DONE;
}

/* ---- the command line ---- */

enum {
    OPTION_RETRIES = OPTION_PRIVATE,
    OPTION_DELAY,
    OPTION_TIMEOUT,
    OPTION_FAILED,
    OPTION_RESULTS,
    OPTION_JSON_LINES,
};

static void own_option(struct work *w, struct acting *acting, int key)
{
    switch (key) {
    case 'j':
        w->n = (unsigned)parse_number(optarg, JOBS_MAX);
        break;
    case OPTION_RETRIES:
        w->retries = parse_number(optarg, UINT32_MAX - 1);
        break;
    case OPTION_DELAY:
        w->delay = parse_timeout(optarg);
        break;
    case OPTION_TIMEOUT:
        w->limit = parse_timeout(optarg);
        break;
    case 'k':
        w->kill_after = parse_timeout(optarg);
        break;
    case OPTION_FAILED:
        parse_object_path(optarg, &w->failed.path);
        break;
    case OPTION_RESULTS:
        parse_object_path(optarg, &w->results.path);
        break;
    case 's':
        w->standard_input = true;
        break;
    case 'c':
        w->count = parse_number(optarg, UINT64_MAX);
        break;
    case 'x':
        w->stops = true;
        break;
    case 'w':
        acting->timeout = parse_timeout(optarg);
        break;
    case 'v':
        w->verbose = true;
        break;
    case OPTION_JSON_LINES:
        w->has_journal = true;
        break;
    }
}

static void check_options(const struct work *w)
{
    const struct target *targets[] = {&w->failed, &w->results};

    if (w->n == 0)
        usage_error("--jobs 0 would do nothing");
    if (w->delay < 0 || w->limit < 0 || w->kill_after < 0)
        usage_error("--delay, --timeout and --kill-after cannot be negative");
    for (size_t i = 0; i < 2; i++) {
        if (targets[i]->path.text && strcmp(targets[i]->path.segment, w->path->segment) == 0 &&
            strcmp(targets[i]->path.object, w->path->object) == 0)
            usage_error("%s cannot take what comes of its own items", w->path->text);
    }
}

static int run(const struct command *command, int argc, char **argv)
{
    struct acting acting = ACTING_DEFAULTS;
    struct path path;
    struct work w = {.path = &path,
                     .n = 1,
                     .count = UINT64_MAX,
                     .retries = RETRIES,
                     .limit = SHK_FOREVER,
                     .kill_after = KILL_AFTER};
    struct shk_segment *segment = NULL;
    struct opening opening = {
        .path = &path, .kind = "queue", .open = open_any_queue, .to = &w.queue};
    int status;
    int key;

    while ((key = next_own_option(command, argc, argv, &acting)) != -1)
        own_option(&w, &acting, key);
    check_operands(argc, 2, argc);
    parse_object_path(argv[optind], &path);
    check_options(&w);
    if (!is_executable(argv[optind + 1])) {
        complain(argv[optind + 1], "%s", strerror(errno));
        return status_not_executed(errno);
    }

    w.words = argc - optind - 1;
    w.command = allocate((size_t)w.words + 2, sizeof(*w.command));
    memcpy(w.command, argv + optind + 1, (size_t)w.words * sizeof(*w.command));
    w.jobs = allocate(w.n, sizeof(*w.jobs));
    w.shows_progress = isatty(STDERR_FILENO) && !w.verbose && !w.has_journal;
    unsetenv("SHMKIT_ORPHANED");
    if (w.has_journal)
        journal_begin();
    opening.flags = acting.flags;
    status = open_object(&opening, &segment);
    if (status == STATUS_DONE)
        status = open_targets(&w, acting.flags);
    if (status == STATUS_DONE) {
        crew_begin(segment);
        status = work(&w, &acting);
        crew_end();
    }
    for (unsigned i = 0; i < w.n; i++)
        free(w.jobs[i].item);
    free(w.jobs);
    free(w.command);
    close_target(&w.failed);
    close_target(&w.results);
    shk_queue_close(w.queue);
    shk_segment_close(segment);
    return status;
}

static const struct option_row options[] = {
    {'j', "jobs", "N", "so many commands at a time (1)"},
    {OPTION_RETRIES, "retries", "N", "attempts after the first that fails (3)"},
    {OPTION_DELAY, "delay", "TIME", "wait so long before another attempt (0)"},
    {OPTION_TIMEOUT, "timeout", "TIME", "SIGTERM to a command that takes longer"},
    {'k', "kill-after", "TIME", "and SIGKILL so much later (10s)"},
    {OPTION_FAILED, "failed", "QUEUE", "put there what has failed for the last time"},
    {OPTION_RESULTS, "results", "QUEUE", "put there what a command has printed"},
    {'s', "stdin", NULL, "the item is the command's input, not its last argument"},
    {'c', "count", "N", "end after so many items"},
    {'x', "stop", NULL, "end at the first item that has failed for the last time"},
    {'w', "wait", "TIME", "wait no longer for an item: 2, 0.5s, 200ms"},
    NOWAIT_ROW,
    {'v', "verbose", NULL, "tell of each command's begin and end"},
    {OPTION_JSON_LINES, "json-lines", NULL, "print a line of JSON for each event of an item"},
    NO_CREATE_ROW,
    ANY_OWNER_ROW,
    {0},
};

const struct command cmd_work = {
    .name = "work",
    .arguments = "[OPTION...] QUEUE [--] COMMAND [ARGUMENT...]",
    .summary = "run a command for each item of a queue, and lose none",
    .notes = "An item is done when its command has exited with 0. It comes back if the command\n"
             "fails, or the worker dies. Any number of workers share the queue. They end when\n"
             "it is shut down and drained. Ctrl-C: they end after the commands in hand; once\n"
             "more: these are ended, and their items go back. Exit status: 0 all items are\n"
             "done, 1 one was given up; with --stop its command's. With --json-lines what the\n"
             "commands print goes to the standard error.",
    .options = options,
    .runs_command = 1,
    .run = run,
};
