#include "bridge.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

struct words {
    char *word[12];
    bool traced;
};

/* The program itself, not libtool's script in front of it. */
static int become_bridge(void *argument)
{
    struct words *w = argument;
    const char *tests = getenv("SHMKIT_TESTDIR");
    char program[4096], libraries[4096];

    snprintf(program, sizeof(program), "%s/../tools/.libs/shmctl", tests ? tests : "tests");
    snprintf(libraries, sizeof(libraries), "%s/../.libs", tests ? tests : "tests");
    setenv("LD_LIBRARY_PATH", libraries, 1);
    if (w->traced) {
        dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), STDOUT_FILENO);
        ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        raise(SIGSTOP);
    }
    execv(program, w->word);
    perror(program);
    return 127;
}

static struct words words_of(const char *from, const char *to, const char *const *options)
{
    struct words w = {.word = {(char *)(uintptr_t) "shmctl", (char *)(uintptr_t) "bridge"}};
    int n = 2;

    while (options && *options)
        w.word[n++] = (char *)(uintptr_t)*options++;
    w.word[n++] = (char *)(uintptr_t)from;
    w.word[n] = (char *)(uintptr_t)to;
    return w;
}

pid_t bridge_start(const char *from, const char *to, const char *const *options)
{
    struct words w = words_of(from, to, options);

    return child_start(become_bridge, &w);
}

/* Whether a thread that has stopped begins a system call, and the process has connected. */
static bool begins_call(pid_t thread, bool *has_connected)
{
    struct __ptrace_syscall_info info = {0};

    if (ptrace(PTRACE_GET_SYSCALL_INFO, thread, sizeof(info), &info) <= 0 ||
        info.op != PTRACE_SYSCALL_INFO_ENTRY)
        return false;
    *has_connected = *has_connected || info.entry.nr == SYS_connect;
    return *has_connected;
}

int bridge_run(const char *from, const char *to, const char *const *options, unsigned n)
{
    struct words w = words_of(from, to, options);
    pid_t bridge, thread;
    bool has_connected = false;
    unsigned calls = 0;
    int status, signal;

    w.traced = true;
    bridge = child_start(become_bridge, &w);
    ck_assert_int_eq(waitpid(bridge, &status, __WALL), bridge);
    ck_assert(WIFSTOPPED(status));
    ptrace(PTRACE_SETOPTIONS, bridge, NULL,
           PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL);
    ptrace(PTRACE_SYSCALL, bridge, NULL, NULL);
    for (;;) {
        thread = waitpid(-1, &status, __WALL);
        if (thread < 0 && errno == EINTR)
            continue;
        ck_assert_int_gt(thread, 0);
        if (!WIFSTOPPED(status)) {
            if (thread == bridge)
                break;
            continue;
        }
        signal = WSTOPSIG(status);
        if (signal == (SIGTRAP | 0x80)) {
            if (begins_call(thread, &has_connected) && ++calls == n)
                kill(bridge, SIGKILL);
            signal = 0;
        } else if (signal == SIGTRAP || signal == SIGSTOP) {
            signal = 0; /* an event, or a new thread */
        }
        ptrace(PTRACE_SYSCALL, thread, NULL, (void *)(intptr_t)signal);
    }
    return WIFSIGNALED(status) ? -1 : WEXITSTATUS(status);
}
