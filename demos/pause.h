/* Time, and the Ctrl-C that cuts a sleep short. */
#ifndef DEMOS_PAUSE_H
#define DEMOS_PAUSE_H

#include <shmkit.h>
#include <signal.h>
#include <stdint.h>

/* How soon a sleep notices a signal that came just before it began. */
#define RECHECK SHK_MS(100)

/*
 * Not 0 after SIGINT or SIGTERM: its number. Calls that block give -EINTR then. A second signal of
 * the kind kills.
 */
extern volatile sig_atomic_t interrupted;

/* From here on these signals set it. */
void catch_signals(void);

/* Sleep that long, or until that time of now(), or until interrupted. */
void pause_for(int64_t nanoseconds);
void pause_until(int64_t time);

/* Nanoseconds of CLOCK_MONOTONIC. */
int64_t now(void);

#endif
