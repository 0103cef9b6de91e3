/*
 * Commands that run side by side, for 'shmctl work'. Each leads a process group of its own, so that
 * a signal reaches all that it has started, and Ctrl-C on the terminal reaches shmctl alone.
 *
 * Death of shmctl (SIGKILL, the OOM killer). All groups are killed by SIGKILL: by a guard, a child
 * of shmctl that waits for shmctl's end; and the command itself by the kernel, before the process
 * of shmctl counts as over, if it has not changed its user. What has left the group (setsid(2))
 * goes on.
 *
 *     killed here: shmctl, between crew_start() and the command's first instruction: the guard has
 *                  the group's number, and the command is not executed
 *                  shmctl, between a command's end and crew_reap(): the guard kills what is left
 *                  of its group
 *                  the guard: the kernel's part is left
 */
#ifndef SHMCTL_CREW_H
#define SHMCTL_CREW_H

#include "common.h"

/*
 * At first, and at last. In between SIGCHLD ends the library's blocked calls in the segment with
 * -EINTR, as SIGINT, SIGTERM and SIGHUP do, which end nothing by themselves.
 */
void crew_begin(struct shk_segment *);
void crew_end(void);

/*
 * What has come since the last call: a signal, 0: none. The library's calls block again after it.
 */
int crew_signal_seen(void);

/* Sleep until a signal comes or has come since crew_signal_seen(), or until then. */
void crew_sleep(int64_t until);

/*
 * Start a command, with these descriptors as its standard input and output (output 0: shmctl's
 * own). Returns its process, or 0: *error says why not.
 */
pid_t crew_start(char **command, int input, int output, int *error);

/* Send a signal to all of its group; a stopped one goes on, so that it gets the signal. */
void crew_send(pid_t, int signal);

/* A command that has ended, with its status as by waitpid(2); 0: none has. */
pid_t crew_reap(int *status);

#endif
