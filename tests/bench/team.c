/*
 * The processes of one measurement: started, pinned, let go together, stopped, and never left
 * behind.
 */
#include "bench.h"
#include "circumstances.h"

#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TIME_LIMIT 60000000000 /* ns: longer than any team needs to get ready, or to end */

struct stage *stage;
static pid_t pids[ROLES_MAX];
static unsigned size;
static char trouble[sizeof(stage->trouble)];
static pid_t driver;
static volatile sig_atomic_t interrupt;

int64_t now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

void pin(int cpu)
{
    cpu_set_t set;

    if (cpu == ANY_CPU)
        return;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (sched_setaffinity(0, sizeof(set), &set) < 0)
        give_up("cannot be pinned to CPU %d: %s", cpu, strerror(errno));
}

const char *unique_name(void)
{
    static char name[40];

    snprintf(name, sizeof(name), "shmkit-bench-%d", (int)driver);
    return name;
}

const char *team_trouble(void)
{
    return trouble;
}

bool team_fails(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(trouble, sizeof(trouble), format, arguments);
    va_end(arguments);
    return false;
}

static void on_signal(int number)
{
    interrupt = number;
}

bool interrupted(void)
{
    return interrupt != 0;
}

static void first_team(void)
{
    struct sigaction action = {.sa_handler = on_signal};

    driver = getpid();
    stage = mmap(NULL, sizeof(*stage), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (stage == MAP_FAILED) {
        perror("bench: mmap");
        exit(1);
    }
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

void team_start(void)
{
    if (!stage)
        first_team();
    size = 0;
    trouble[0] = '\0';
    memset(stage, 0, sizeof(*stage));
}

static pid_t fork_child(void)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    /* The driver ends its children when it is interrupted, the kernel when the driver dies. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != driver)
        _exit(1);
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_DFL);
    signal(SIGHUP, SIG_IGN);
    return 0;
}

void team_add(role_body *body, void *argument, int cpu)
{
    if (size == ROLES_MAX)
        abort();
    pid_t pid = fork_child();
    if (pid < 0)
        team_fails("fork: %s", strerror(errno));
    if (pid <= 0 && pid != 0)
        return;
    if (pid == 0) {
        pin(cpu);
        body(argument, size);
        _exit(0);
    }
    pids[size++] = pid;
}

void give_up(const char *format, ...)
{
    va_list arguments;

    if (atomic_exchange(&stage->said, 2) == 0) {
        va_start(arguments, format);
        vsnprintf(stage->trouble, sizeof(stage->trouble), format, arguments);
        va_end(arguments);
        atomic_store(&stage->said, 1);
    }
    _exit(1);
}

void stage_ready(void)
{
    atomic_fetch_add(&stage->ready, 1);
    while (!atomic_load(&stage->go))
        syscall(SYS_futex, &stage->go, FUTEX_WAIT, 0, NULL, NULL, 0);
}

/* A moment. Not longer than needed, and not busy: the team has the CPUs. */
static void breathe(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 500000}, NULL);
}

/* Reap those that have ended. False: one of them has failed. */
static bool reap(unsigned *left)
{
    bool well = true;

    *left = 0;
    for (unsigned i = 0; i < size; i++) {
        int status;
        if (pids[i] == 0)
            continue;
        if (waitpid(pids[i], &status, WNOHANG) == 0) {
            ++*left;
            continue;
        }
        pids[i] = 0;
        if (status == 0)
            continue;
        well = false;
        if (atomic_load(&stage->said) == 1)
            team_fails("%s", stage->trouble);
        else if (WIFSIGNALED(status))
            team_fails("a process was killed: %s", strsignal(WTERMSIG(status)));
        else
            team_fails("a process ended with status %d", WEXITSTATUS(status));
    }
    return well;
}

void team_kill(void)
{
    for (unsigned i = 0; i < size; i++) {
        if (pids[i])
            kill(pids[i], SIGKILL);
    }
    for (unsigned i = 0; i < size; i++) {
        if (pids[i])
            waitpid(pids[i], NULL, 0);
        pids[i] = 0;
    }
}

bool team_ready(void)
{
    int64_t deadline = now() + TIME_LIMIT;
    unsigned left;

    while (!trouble[0] && atomic_load(&stage->ready) < size) {
        if (!reap(&left))
            break;
        if (left < size)
            team_fails("a process ended before it began");
        else if (interrupted())
            team_fails("interrupted");
        else if (now() > deadline)
            team_fails("it does not get ready");
        else
            breathe();
    }
    if (trouble[0]) {
        team_kill();
        return false;
    }
    atomic_store(&stage->go, 1);
    syscall(SYS_futex, &stage->go, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
    return true;
}

bool team_finish(void)
{
    int64_t deadline = now() + TIME_LIMIT;
    unsigned left;

    while (reap(&left) && left && !trouble[0]) {
        if (interrupted())
            team_fails("interrupted");
        else if (now() > deadline)
            team_fails("it does not come to an end");
        else
            breathe();
    }
    team_kill();
    return !trouble[0];
}

#define SAMPLES 8 /* checks on which CPUs a team of two is, in one run */

bool team_run(double seconds)
{
    if (!team_ready())
        return false;
    int64_t begin = now();
    for (int i = 1; i <= SAMPLES && !interrupted(); i++) {
        int64_t end = begin + (int64_t)(seconds * 1e9 / SAMPLES * i);
        struct timespec until = {.tv_sec = end / 1000000000, .tv_nsec = end % 1000000000};
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR &&
               !interrupted())
            continue;
        if (size == 2 && i < SAMPLES)
            circumstances_sample(pids[0], pids[1]);
    }
    atomic_store(&stage->stop, 1);
    return team_finish();
}

unsigned team_size(void)
{
    return size;
}

pid_t team_pid(unsigned role)
{
    return pids[role];
}

bool in_child(void (*body)(void *), void *argument)
{
    int64_t deadline = now() + TIME_LIMIT;
    int status = 1;
    pid_t pid = fork_child();

    if (pid < 0)
        return team_fails("fork: %s", strerror(errno));
    if (pid == 0) {
        body(argument);
        _exit(0);
    }
    while (waitpid(pid, &status, WNOHANG) == 0) {
        if (now() > deadline)
            kill(pid, SIGKILL);
        breathe();
    }
    if (status == 0)
        return true;
    return team_fails("%s",
                      atomic_load(&stage->said) == 1 ? stage->trouble : "a process has failed");
}
