/*
 * How many instructions a function executes: counted by single-stepping it (ptrace), which needs
 * neither a tool nor a performance counter, and gives the same figure on an idle and on a loaded
 * machine. A system call counts as one instruction. `valgrind --tool=callgrind` gives the same
 * figures, but for what needs membarrier(2), which it does not know.
 *
 * The traced role stops itself before and after the function:
 *
 *     role                              driver
 *     PTRACE_TRACEME
 *     raise(SIGSTOP)                    wait for the first stop
 *     the function                      single steps, until
 *     raise(SIGSTOP)                    the second stop; detach
 */
#include "bench.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

/*
 * More than any count takes. On aarch64 without single-instruction atomics (before ARMv8.1) a
 * pair of exclusive load and store never succeeds under single-stepping: then the limit ends it.
 */
#define STEPS_MAX 1000000

void count_begin(void)
{
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
        give_up("ptrace: %s", strerror(errno));
    raise(SIGSTOP);
}

void count_end(void)
{
    raise(SIGSTOP);
}

/* The signal at which the role stops next; -1: it has ended. */
static int next_stop(pid_t pid)
{
    int status;

    if (waitpid(pid, &status, __WALL) != pid || !WIFSTOPPED(status))
        return -1;
    return WSTOPSIG(status);
}

double count_steps(void)
{
    pid_t pid = team_pid(0);
    int signal = next_stop(pid);
    double steps = 0;

    while (signal == SIGSTOP || signal == SIGTRAP) {
        if (signal == SIGSTOP && steps > 0)
            break;
        if (++steps > STEPS_MAX || ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) < 0) {
            signal = -1;
            break;
        }
        signal = next_stop(pid);
    }
    if (signal != SIGSTOP) {
        kill(pid, SIGKILL);
        team_fails(steps > STEPS_MAX ? "more than %d instructions" : "the role cannot be traced",
                   STEPS_MAX);
        return NAN;
    }
    ptrace(PTRACE_DETACH, pid, NULL, NULL);
    return steps;
}
