/*
 * A command that is run by a verb, to its end.
 *
 * Signals. SIGINT and SIGQUIT of a terminal reach the command by themselves; SIGTERM and SIGHUP are
 * passed on to it. The verb goes on when the command has ended, and may ask then which signal came.
 *
 * Death of shmctl (SIGKILL, the OOM killer). With `dies_with_us` the command is sent SIGTERM: by
 * the kernel, and by a guard, a second child that waits for shmctl's end. The kernel forgets its
 * part when the command changes its user (set-user-ID programs, daemons that drop root); the guard
 * does not. The guard cannot signal a command that has become another user's in full, such as sudo
 * run by an ordinary user.
 */
#ifndef SHMCTL_SPAWN_H
#define SHMCTL_SPAWN_H

/*
 * The command of the guard's process, a child of shmctl that is no part of the command's: 'why'
 * skips it.
 */
#define GUARD_NAME "shmctl-guard"

#include <stdbool.h>
#include <sys/types.h>

struct run {
    char **command;
    int input;         /* becomes its standard input; -1: shmctl's own */
    int output;        /* becomes its standard output; 0: shmctl's own */
    bool dies_with_us; /* it must not go on without shmctl */
    bool own_group;    /* it leads a process group of its own, and dies by SIGKILL: see crew.h */
    /* what came of it */
    bool started; /* its program was executed */
    int killed;   /* the signal that ended it; 0: none */
    int signal;   /* the last SIGINT, SIGQUIT, SIGTERM or SIGHUP that came meanwhile; 0: none */
};

/*
 * Run it. Returns its exit status as a shell would give it: 128 and the signal's number if it was
 * killed; after a complaint 127 if it was not found, 126 if it cannot be executed, STATUS_FAILED if
 * there is no process for it.
 */
int run_command(struct run *);

/*
 * The parts of it. fork_command() forks the process, which calls restore() for its signals and
 * waits for release_command(). Returns its pid, or -1: errno. release_command() returns 0, or why
 * the program could not be executed; *line is closed then. status_not_executed() is the exit status
 * for that.
 */
pid_t fork_command(const struct run *, void (*restore)(void), int *line);
int release_command(int line);
int status_not_executed(int error);

/* Close all descriptors from one to another, both of them included; ~0U: to the last. */
void close_descriptors(unsigned from, unsigned to);

/* A guard's process: no signal ends it, and it has no descriptors but 0 and 1, which are these. */
void become_guard(int input, int output);

#endif
