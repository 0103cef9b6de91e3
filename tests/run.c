/*
 * Runs one test of make check: run SECONDS COMMAND...
 *
 * The test has so many seconds. Whatever ends it, no process that it has started is left: orphans
 * become children of this program (PR_SET_CHILD_SUBREAPER), so that each is found. One that is left
 * is named and killed, and the test has failed.
 *
 * A signal ends the test, and then this program by the same signal. Ctrl-C goes to the terminal's
 * foreground process group, and the test is in it. A process of the test in another group (those
 * under timeout(1), script(1), setsid(1)) has not got it, and would go on for as long as it likes:
 * it is sent the same. What is still there after ASKED is sent SIGTERM (a background process of a
 * script ignores SIGINT; a script goes on when what it waits for does not die of it), after GRACE
 * SIGKILL.
 */
#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ASKED      2  /* seconds, for a test that is to end */
#define GRACE      10 /* … and for one that has been sent SIGTERM */
#define STRAGGLERS 5  /* seconds, for what a test that has ended has told to end */
#define KILLED     5  /* seconds, for what has been sent SIGKILL */

static pid_t test;
static int status; /* of the test, once test is 0 */

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void reap(void)
{
    int ended;
    pid_t pid;

    while ((pid = waitpid(-1, &ended, WNOHANG)) > 0) {
        if (pid != test)
            continue;
        test = 0;
        status = ended;
    }
}

/* ---- What the test has started ---- */

struct process {
    pid_t pid, parent, group;
    char state, name[16];
    bool ours;
};

static bool read_process(const char *pid, struct process *process)
{
    char path[300], text[512], *begin, *end;
    size_t length;
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%s/stat", pid);
    file = fopen(path, "re");
    if (!file)
        return false;
    length = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    text[length] = '\0';
    begin = strchr(text, '(');
    end = strrchr(text, ')'); /* the name may contain anything */
    if (!begin || !end)
        return false;
    *end = '\0';
    *process = (struct process){.pid = atoi(pid)};
    snprintf(process->name, sizeof(process->name), "%s", begin + 1);
    return sscanf(end + 1, " %c %d %d", &process->state, &process->parent, &process->group) == 3;
}

static struct process *read_processes(size_t *count)
{
    struct process *all = NULL;
    DIR *directory = opendir("/proc");

    *count = 0;
    for (struct dirent *entry; directory && (entry = readdir(directory));) {
        struct process one;

        if (entry->d_name[0] < '1' || entry->d_name[0] > '9' || !read_process(entry->d_name, &one))
            continue;
        all = realloc(all, (*count + 1) * sizeof(*all));
        if (!all)
            err(99, "realloc");
        all[(*count)++] = one;
    }
    if (directory)
        closedir(directory);
    return all;
}

/* Marks the processes that descend from this one: again and again, until a pass finds no other. */
static void mark_ours(struct process *all, size_t count)
{
    pid_t self = getpid();
    bool found = true;

    while (found) {
        found = false;
        for (size_t i = 0; i < count; i++) {
            bool ours = all[i].parent == self;

            for (size_t k = 0; k < count && !ours; k++)
                ours = all[k].ours && all[i].parent == all[k].pid;
            found |= ours && !all[i].ours;
            all[i].ours = ours;
        }
    }
}

enum { NAME = -1, COUNT = 0 };

/*
 * Send that signal to all that the test has started, or NAME or COUNT them; not to the group
 * `except`. Returns how many.
 */
static unsigned for_all(int what, pid_t except)
{
    size_t count;
    struct process *all = read_processes(&count);
    unsigned n = 0;

    mark_ours(all, count);
    for (size_t i = 0; i < count; i++) {
        if (!all[i].ours || all[i].group == except || all[i].state == 'Z' || all[i].state == 'X')
            continue;
        n++;
        if (what == NAME)
            printf("left running: %s (%d)\n", all[i].name, (int)all[i].pid);
        else if (what != COUNT)
            kill(all[i].pid, what);
    }
    free(all);
    return n;
}

/* Until none is there, or the time is over. Returns whether none is. */
static bool all_end(double seconds)
{
    const struct timespec pause = {.tv_nsec = 20000000};
    double end = now() + seconds;

    for (;;) {
        reap();
        if (for_all(COUNT, 0) == 0)
            return true;
        if (now() >= end)
            return false;
        nanosleep(&pause, NULL);
    }
}

/* Again and again, since one that is about to be killed may start another. */
static void kill_all(void)
{
    double end = now() + KILLED;

    while (for_all(SIGKILL, 0) > 0 && !all_end(0.1) && now() < end)
        continue;
    reap();
}

/* ---- The test ---- */

static void start(char **command, const sigset_t *mask)
{
    pid_t parent = getpid();

    test = fork();
    if (test < 0)
        err(99, "fork");
    if (test > 0)
        return;
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        _exit(99);
    /* as on a terminal: nohup(1), and a shell's "&", have them ignored */
    signal(SIGHUP, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    signal(SIGQUIT, SIG_DFL);
    sigprocmask(SIG_SETMASK, mask, NULL);
    execvp(command[0], command);
    err(127, "%s", command[0]);
}

/* Returns the signal that came, 0 when the test has ended, SIGALRM when its time was over. */
static int await_test(double seconds, const sigset_t *watched)
{
    enum { RUNS, ASKED_TO_END, TOLD_TO_END } phase = RUNS;
    double deadline = now() + seconds;
    int ended_by = 0;

    for (;;) {
        double left = deadline - now();
        struct timespec timeout = {.tv_sec = left > 0 ? (time_t)left : 0, .tv_nsec = 1000000};
        siginfo_t info;
        int signal_number = sigtimedwait(watched, &info, &timeout);

        reap();
        if (test == 0)
            return ended_by;
        if (phase == RUNS && signal_number > 0 && signal_number != SIGCHLD) {
            phase = ASKED_TO_END;
            deadline = now() + ASKED;
            ended_by = signal_number;
            for_all(signal_number, info.si_code == SI_KERNEL ? getpgrp() : 0);
        } else if (now() >= deadline) {
            if (phase == TOLD_TO_END)
                return ended_by;
            if (phase == RUNS) {
                printf("FAILED: it has not ended after %.0f s\n", seconds);
                ended_by = SIGALRM;
            }
            phase = TOLD_TO_END;
            deadline = now() + GRACE;
            for_all(SIGTERM, 0);
        }
    }
}

int main(int argc, char **argv)
{
    sigset_t watched, before;
    double seconds = argc > 2 ? atof(argv[1]) : 0;
    int ended_by;

    if (seconds <= 0)
        errx(2, "usage: run SECONDS COMMAND...");
    setvbuf(stdout, NULL, _IOLBF, 0);
    sigemptyset(&watched);
    sigaddset(&watched, SIGCHLD);
    sigaddset(&watched, SIGHUP);
    sigaddset(&watched, SIGINT);
    sigaddset(&watched, SIGQUIT);
    sigaddset(&watched, SIGTERM);
    sigprocmask(SIG_BLOCK, &watched, &before);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    start(argv + 2, &before);
    ended_by = await_test(seconds, &watched);

    bool left = !all_end(test == 0 ? STRAGGLERS : 0);
    if (left && (ended_by == 0 || ended_by == SIGALRM))
        for_all(NAME, 0);
    if (left)
        kill_all();
    if (ended_by == SIGALRM)
        return 1;
    if (ended_by != 0) {
        signal(ended_by, SIG_DFL);
        raise(ended_by);
        sigprocmask(SIG_UNBLOCK, &watched, NULL);
        return 128 + ended_by;
    }
    if (WIFSIGNALED(status)) {
        printf("FAILED: ended by %s\n", strsignal(WTERMSIG(status)));
        return 1;
    }
    if (left)
        puts("FAILED: it has left what it has started");
    return left && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 77) ? 1
                                                                           : WEXITSTATUS(status);
}
