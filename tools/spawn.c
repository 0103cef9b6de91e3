#include "spawn.h"
#include "common.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

static volatile sig_atomic_t child;

/* The command is told, and ends, or not. */
static void pass_on(int number)
{
    kill(child, number);
}

_Noreturn static void become(char **command, pid_t parent)
{
    /* What is held goes with shmctl: the command shall not go on without. */
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        raise(SIGTERM);
    execvp(*command, command);
    complain(*command, "%s", strerror(errno));
    _exit(errno == ENOENT ? 127 : 126);
}

int run_command(char **command)
{
    struct sigaction forward = {.sa_handler = pass_on};
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    struct sigaction interrupt;
    struct sigaction quit;
    sigset_t until_known;
    sigset_t before;
    pid_t parent = getpid();
    pid_t pid;
    int status;

    /* A signal that comes before the child is known waits until it is. */
    sigemptyset(&until_known);
    sigaddset(&until_known, SIGTERM);
    sigaddset(&until_known, SIGHUP);
    sigprocmask(SIG_BLOCK, &until_known, &before);
    /* Ctrl-C goes to the command, too, which may end or not, as with system(3). */
    sigaction(SIGINT, &ignore, &interrupt);
    sigaction(SIGQUIT, &ignore, &quit);
    pid = fork();
    if (pid == 0) {
        interrupts_end_at_once(true);
        sigaction(SIGINT, &interrupt, NULL);
        sigaction(SIGQUIT, &quit, NULL);
        sigprocmask(SIG_SETMASK, &before, NULL);
        become(command, parent);
    }
    if (pid > 0) {
        child = pid;
        sigaction(SIGTERM, &forward, NULL);
        sigaction(SIGHUP, &forward, NULL);
    }
    sigprocmask(SIG_SETMASK, &before, NULL);
    if (pid < 0) {
        complain(*command, "%s", strerror(errno));
        return STATUS_FAILED;
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
