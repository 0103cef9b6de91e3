/*
 * What /proc says of processes and threads: which state each is in, whose child it is, whether it
 * waits for a child. Only of those in the pid namespace of the caller, and as far as it may read.
 */
#ifndef SHMCTL_PROCESS_H
#define SHMCTL_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The state of a thread. ASLEEP: in a system call that a signal interrupts; IN_DISK_SLEEP: in one
 * that none does.
 */
enum activity {
    ACTIVITY_UNKNOWN,
    RUNS,
    ASLEEP,
    IN_DISK_SLEEP,
    IS_STOPPED, /* by SIGSTOP, SIGTSTP or the like */
    IS_TRACED,  /* stopped by a debugger */
    IS_FROZEN,  /* with its cgroup: a paused container */
    DUMPS_CORE, /* it has crashed, and its memory is being written */
    HAS_ENDED
};

struct process {
    int32_t pid, parent;
    int threads;
    enum activity activity; /* of its main thread */
    char command[16];
};

struct processes {
    struct process *list; /* in order of pid */
    size_t n;
};

struct processes list_processes(void);
void drop_processes(struct processes *);
const struct process *find_process(const struct processes *, int32_t pid);

enum activity activity_of(int32_t pid, int32_t tid);

/* When the process was started, in clock ticks since the kernel was; 0: not known. */
uint64_t start_of(int32_t pid);

/* Whether the process that was started then is there, and not about to end. */
bool is_alive(int32_t pid, uint64_t start);

/*
 * How often the thread has been put aside for another: where that stays the same, it has not run.
 * 0: not known.
 */
uint64_t switches_of(int32_t pid, int32_t tid);

/* For how long it has not run, in nanoseconds; 0: not known. */
int64_t idle_for(int32_t pid, int32_t tid);

/* Whether the process waits for a child: 1, 0, or -1: the kernel does not say. */
int waits_for_child(int32_t pid);

/* The inode of the caller's pid namespace. */
uint64_t our_pid_namespace(void);

#endif
