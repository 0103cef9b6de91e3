#include "spawn.h"
#include "common.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static volatile sig_atomic_t child; /* which signals are passed on to; 0: none, or it has ended */
static volatile sig_atomic_t seen;  /* the last signal */

static void note(int number)
{
    seen = number;
}

/* The command is told, and ends, or not. */
static void pass_on(int number)
{
    int before = errno;

    seen = number;
    if (child > 0)
        kill(child, number);
    errno = before;
}

/* ---- the signals of shmctl while a command runs ---- */

static const struct treatment {
    int signal;
    void (*handler)(int);
} treatments[] = {
    {SIGINT, note},
    {SIGQUIT, note},
    {SIGTERM, pass_on},
    {SIGHUP, pass_on},
    /* Where the parent ignored it, waitpid(2) would find no status. */
    {SIGCHLD, SIG_DFL},
};

#define TREATMENTS (sizeof(treatments) / sizeof(*treatments))

struct signals {
    struct sigaction actions[TREATMENTS];
    sigset_t mask;
};

/* Until the command is known, signals wait. */
static void hold_signals(struct signals *before)
{
    sigset_t held;

    sigemptyset(&held);
    for (size_t i = 0; i < TREATMENTS; i++)
        sigaddset(&held, treatments[i].signal);
    sigprocmask(SIG_BLOCK, &held, &before->mask);
}

static void treat_signals(struct signals *before)
{
    for (size_t i = 0; i < TREATMENTS; i++) {
        struct sigaction action = {.sa_handler = treatments[i].handler};
        struct sigaction *old = &before->actions[i];

        sigaction(treatments[i].signal, NULL, old);
        /* What nohup or a shell's & has set to be ignored stays ignored. */
        if (old->sa_handler != SIG_IGN || treatments[i].handler == SIG_DFL)
            sigaction(treatments[i].signal, &action, NULL);
    }
}

static void restore_signals(const struct signals *before)
{
    for (size_t i = 0; i < TREATMENTS; i++)
        sigaction(treatments[i].signal, &before->actions[i], NULL);
    sigprocmask(SIG_SETMASK, &before->mask, NULL);
}

/* ---- the command's process ---- */

/*
 * Waits for the word to go, so that the guard stands first; tells the error if the program cannot
 * be executed.
 */
_Noreturn static void become(const struct run *run, void (*restore)(void), int line, pid_t parent)
{
    int dies_by = run->own_group ? SIGKILL : SIGTERM;
    char word;
    int error;

    if (run->own_group)
        setpgid(0, 0);
    let_interrupts_kill(true);
    restore();
    if (run->dies_with_us) {
        prctl(PR_SET_PDEATHSIG, dies_by);
        if (getppid() != parent)
            raise(dies_by);
    }
    if (run->input >= 0 && dup2(run->input, STDIN_FILENO) < 0)
        goto failed;
    if (run->output > 0 && dup2(run->output, STDOUT_FILENO) < 0)
        goto failed;
    if (read(line, &word, 1) != 1)
        _exit(STATUS_FAILED);
    execvp(*run->command, run->command);
failed:
    error = errno;
    if (write(line, &error, sizeof(error)) < 0)
        _exit(STATUS_FAILED);
    _exit(127);
}

pid_t fork_command(const struct run *run, void (*restore)(void), int *line)
{
    pid_t parent = getpid();
    int error;
    int ends[2];
    pid_t pid;

    *line = -1;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        return -1;
    pid = fork();
    if (pid == 0) {
        close(ends[0]);
        become(run, restore, ends[1], parent);
    }
    error = errno;
    close(ends[1]);
    if (pid > 0)
        *line = ends[0];
    else
        close(ends[0]);
    errno = error;
    return pid;
}

int release_command(int line)
{
    int error = 0;
    ssize_t n = 0;

    /* A command that has been killed reads no more, and its status tells. */
    if (send(line, "", 1, MSG_NOSIGNAL) == 1) {
        do
            n = recv(line, &error, sizeof(error), MSG_WAITALL);
        while (n < 0 && errno == EINTR);
    }
    close(line);
    return n == sizeof(error) ? error : 0;
}

int status_not_executed(int error)
{
    return error == ENOENT ? 127 : 126;
}

/* ---- the guard ---- */

#ifndef SYS_close_range
#define SYS_close_range 436 /* of all machines; glibc before 2.32 */
#endif

void close_descriptors(unsigned from, unsigned to)
{
    syscall(SYS_close_range, from, to, 0U);
}

void become_guard(int input, int output)
{
    sigset_t all;

    prctl(PR_SET_NAME, GUARD_NAME);
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    /* Whatever else is open here, such as a pipe, is the command's and shmctl's to keep open. */
    if (dup2(input, STDIN_FILENO) < 0 || dup2(output, STDOUT_FILENO) < 0)
        _exit(STATUS_FAILED);
    close_descriptors(STDERR_FILENO, ~0U);
}

/* Nothing but the command's end or shmctl's ends it. killed here: the kernel's part is left. */
_Noreturn static void guard(int shmctl, int command)
{
    char byte;

    become_guard(shmctl, command);
    while (read(STDIN_FILENO, &byte, 1) < 0 && errno == EINTR)
        continue;
    syscall(SYS_pidfd_send_signal, STDOUT_FILENO, SIGTERM, NULL, 0U);
    _exit(STATUS_DONE);
}

/*
 * Returns its process, 0 where it cannot be had; *end is to be closed when the command has ended.
 */
static pid_t start_guard(pid_t command, int *end)
{
    int ends[2];
    int process = (int)syscall(SYS_pidfd_open, command, 0U);
    pid_t pid = -1;

    *end = -1;
    if (process < 0)
        return 0;
    if (pipe2(ends, O_CLOEXEC) == 0) {
        pid = fork();
        if (pid == 0) {
            close(ends[1]);
            guard(ends[0], process);
        }
        close(ends[0]);
        *end = ends[1];
    }
    close(process);
    return pid > 0 ? pid : 0;
}

static void stop_guard(pid_t pid, int end)
{
    if (pid > 0) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    if (end >= 0)
        close(end);
}

/* ---- */

/* Its status. No signal is passed on to another process that gets its number. */
static int await(pid_t pid, int *killed)
{
    siginfo_t info;
    int status;

    while (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT) < 0 && errno == EINTR)
        continue;
    child = 0;
    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR)
            return STATUS_FAILED;
    }
    if (WIFEXITED(status))
        return WEXITSTATUS(status);
    *killed = WTERMSIG(status);
    return 128 + *killed;
}

static struct signals before; /* of the command that runs */

static void restore(void)
{
    restore_signals(&before);
}

int run_command(struct run *run)
{
    pid_t guard_pid = 0;
    int guard_end = -1;
    int status = STATUS_FAILED;
    int error;
    int line;
    pid_t pid;

    run->started = false;
    run->killed = run->signal = 0;
    seen = 0;
    hold_signals(&before);
    treat_signals(&before);
    pid = fork_command(run, restore, &line);
    error = errno;
    if (pid > 0) {
        child = pid;
        if (run->dies_with_us)
            guard_pid = start_guard(pid, &guard_end);
        sigprocmask(SIG_SETMASK, &before.mask, NULL);
        error = release_command(line);
        run->started = error == 0;
        status = await(pid, &run->killed);
        stop_guard(guard_pid, guard_end);
    }
    restore();
    run->signal = seen;
    if (!run->started) {
        complain(*run->command, "%s", strerror(error));
        if (pid > 0)
            status = status_not_executed(error);
    }
    return status;
}
