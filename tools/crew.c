#include "crew.h"
#include "spawn.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

static volatile sig_atomic_t woken; /* what ends the library's blocked calls */
static volatile sig_atomic_t seen;  /* the last signal but SIGCHLD; 0: none */

static pid_t guard_pid; /* 0: there is none */
static int guard_line = -1;

/* ---- signals ---- */

/* Of several that come at a time SIGINT is the weakest, and not the one that counts. */
static void note(int number)
{
    if (number != SIGCHLD && (number != SIGINT || !seen))
        seen = number;
    woken = 1;
}

static const int signals[] = {SIGCHLD, SIGINT, SIGTERM, SIGHUP};

#define SIGNALS (sizeof(signals) / sizeof(*signals))

static struct sigaction actions_before[SIGNALS];
static sigset_t mask_before;

static void catch_signals(void)
{
    for (size_t i = 0; i < SIGNALS; i++) {
        struct sigaction action = {.sa_handler = note};
        struct sigaction *old = &actions_before[i];

        sigaction(signals[i], NULL, old);
        /* What nohup or a shell's & has set to be ignored stays ignored. */
        if (old->sa_handler != SIG_IGN || signals[i] == SIGCHLD)
            sigaction(signals[i], &action, NULL);
    }
    sigprocmask(SIG_BLOCK, NULL, &mask_before);
}

static void restore(void)
{
    for (size_t i = 0; i < SIGNALS; i++)
        sigaction(signals[i], &actions_before[i], NULL);
    sigprocmask(SIG_SETMASK, &mask_before, NULL);
}

static void hold_signals(void)
{
    sigset_t held;

    sigemptyset(&held);
    for (size_t i = 0; i < SIGNALS; i++)
        sigaddset(&held, signals[i]);
    sigprocmask(SIG_BLOCK, &held, NULL);
}

static void let_signals(void)
{
    sigprocmask(SIG_SETMASK, &mask_before, NULL);
}

int crew_signal_seen(void)
{
    int number;

    hold_signals();
    number = seen;
    seen = woken = 0;
    let_signals();
    return number;
}

void crew_sleep(int64_t until)
{
    int64_t left = until - monotonic_now();
    struct timespec time = {.tv_sec = (time_t)(left / SHK_SEC(1)), .tv_nsec = left % SHK_SEC(1)};

    if (left <= 0)
        return;
    hold_signals();
    if (!woken)
        ppoll(NULL, 0, until == SHK_FOREVER ? NULL : &time, &mask_before);
    let_signals();
}

/* ---- the guard ---- */

/* Sent to it: a group that is to be killed with shmctl, or, negative, is not any more. */
static void tell_guard(pid_t group)
{
    if (guard_pid && send(guard_line, &group, sizeof(group), MSG_NOSIGNAL) < 0)
        return; /* it has been killed */
}

static void remember(pid_t **groups, size_t *n, pid_t group)
{
    pid_t *more;

    for (size_t i = 0; i < *n; i++) {
        if ((*groups)[i] == -group) {
            (*groups)[i] = (*groups)[--*n];
            return;
        }
    }
    more = group > 0 ? realloc(*groups, (*n + 1) * sizeof(*more)) : NULL;
    if (more) {
        *groups = more;
        more[(*n)++] = group;
    }
}

_Noreturn static void guard(int line)
{
    pid_t *groups = NULL;
    size_t n = 0;
    ssize_t got;
    pid_t group;

    become_guard(line, line);
    while ((got = recv(STDIN_FILENO, &group, sizeof(group), 0)) != 0) {
        if (got == sizeof(group))
            remember(&groups, &n, group);
        else if (got < 0 && errno != EINTR)
            break;
    }
    for (size_t i = 0; i < n; i++)
        kill(-groups[i], SIGKILL);
    _exit(STATUS_DONE);
}

static void start_guard(void)
{
    int ends[2];
    pid_t pid;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return;
    pid = fork();
    if (pid == 0) {
        close(ends[1]);
        guard(ends[0]);
    }
    close(ends[0]);
    if (pid > 0) {
        guard_pid = pid;
        guard_line = ends[1];
    } else {
        close(ends[1]);
    }
}

/* ---- */

void crew_begin(struct shk_segment *segment)
{
    catch_signals();
    start_guard();
    shk_set_interrupt(segment, &woken);
}

void crew_end(void)
{
    restore();
    if (guard_pid) {
        close(guard_line);
        waitpid(guard_pid, NULL, 0);
    }
    guard_pid = 0;
}

pid_t crew_start(char **command, int input, int output, int *error)
{
    struct run run = {.command = command,
                      .input = input,
                      .output = output,
                      .dies_with_us = true,
                      .own_group = true};
    int line;
    pid_t pid;

    hold_signals();
    pid = fork_command(&run, restore, &line);
    *error = errno;
    let_signals();
    if (pid < 0)
        return 0;
    setpgid(pid, pid); /* by both: whichever comes first */
    tell_guard(pid);
    *error = release_command(line);
    if (!*error)
        return pid;
    tell_guard(-pid);
    waitpid(pid, NULL, 0);
    return 0;
}

void crew_send(pid_t pid, int signal)
{
    kill(-pid, signal);
    kill(-pid, SIGCONT);
}

pid_t crew_reap(int *status)
{
    siginfo_t info = {0};

    /* Its number is not another's until it is reaped, and then the guard must not have it. */
    while (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid) {
        if (info.si_pid != guard_pid)
            tell_guard(-info.si_pid);
        if (waitpid(info.si_pid, status, 0) == info.si_pid && info.si_pid != guard_pid)
            return info.si_pid;
        if (info.si_pid == guard_pid)
            guard_pid = 0;
        info.si_pid = 0;
    }
    return 0;
}
