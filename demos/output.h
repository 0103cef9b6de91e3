/*
 * Lines to standard output and sentences to standard error, each in one write(2), so that it stays
 * whole among those of other processes.
 */
#ifndef DEMOS_OUTPUT_H
#define DEMOS_OUTPUT_H

#include <stddef.h>
#include <sys/uio.h>

/* The exit codes, those of shmctl. A program that a signal ended dies of that signal. */
enum { DONE = 0, FAILED = 1, USAGE = 2, NOT_NOW = 3, ABSENT = 4, SHUT_DOWN = 5 };

/*
 * The width of 存款者甲: shorter names are filled up to it, so that lines of several programs line
 * up.
 */
enum { NAME_COLUMNS = 8 };

/* What complain() begins with. */
extern const char *program_name;

/* "producer: sentence" on standard error. */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Write to standard output. Return DONE or FAILED. */
int say(const char *format, ...) __attribute__((format(printf, 1, 2)));
int say_bytes(struct iovec *parts, int n); /* parts: changed */

/*
 * Wait until standard output takes a line without blocking. Returns DONE, or FAILED when
 * interrupted.
 */
int wait_to_say(void);

/* How many blanks fill text up to that many columns of a terminal. */
int padding(const char *text, int columns);

/*
 * The bytes as text for a terminal: what cannot be printed is shown as "?". The caller frees it;
 * NULL: no memory.
 */
char *printable(const char *bytes, size_t length);

#endif
