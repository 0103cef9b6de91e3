/*
 * stalled SEGMENT LOCK traced|disk-sleep: holds the lock in a process that does not run, prints the
 * pid of that process, and gives the lock back when the standard input ends. For the tests of
 * 'shmctl why'.
 *
 * traced       the holder has let its parent trace it, and has stopped itself
 * disk-sleep   the holder is in vfork(2), which it leaves when its child has ended: for so long the
 *              kernel has it in the state of a process that waits for a disk, D
 *
 * Exit status: 77 if that cannot be had here.
 */
#include <shmkit.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

enum { IMPOSSIBLE = 77 };

static struct shk_segment *segment;
static struct shk_lock *lock;

static int acquire(char **names)
{
    if (shk_segment_open(names[1], 0, NULL, &segment) == 0 &&
        shk_set_member_name(segment, "holder") == 0 &&
        shk_lock_open(segment, names[2], 0, NULL, &lock) == 0 &&
        shk_lock_acquire(lock, SHK_SEC(60)) == 0)
        return 0;
    fprintf(stderr, "stalled: %s\n", shk_last_error());
    return 1;
}

static int release(void)
{
    int r = shk_lock_release(lock);

    shk_lock_close(lock);
    shk_segment_close(segment);
    return r < 0;
}

static void await_end_of_input(void)
{
    char byte;

    while (read(STDIN_FILENO, &byte, 1) > 0)
        continue;
}

static void print_pid(pid_t pid)
{
    printf("%d\n", (int)pid);
    fflush(stdout);
}

static int be_traced(char **names)
{
    if (acquire(names) != 0)
        return 1;
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
        return release() ? 1 : IMPOSSIBLE;
    raise(SIGSTOP);
    return release();
}

static int trace(char **names)
{
    pid_t holder = fork();
    int status;

    if (holder == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        _exit(be_traced(names));
    }
    if (holder < 0 || waitpid(holder, &status, WUNTRACED) < 0)
        return 1;
    if (WIFSTOPPED(status)) {
        print_pid(holder);
        await_end_of_input();
        ptrace(PTRACE_DETACH, holder, NULL, NULL);
        waitpid(holder, &status, 0);
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

static int sleep_like_a_disk(char **names)
{
    pid_t child;

    if (acquire(names) != 0)
        return 1;
    print_pid(getpid());
    child = vfork();
    if (child == 0) {
        await_end_of_input();
        _exit(0);
    }
    if (child > 0)
        waitpid(child, NULL, 0);
    return release() || child < 0;
}

int main(int argc, char **argv)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (argc == 4 && strcmp(argv[3], "traced") == 0)
        return trace(argv);
    if (argc == 4 && strcmp(argv[3], "disk-sleep") == 0)
        return sleep_like_a_disk(argv);
    return 2;
}
