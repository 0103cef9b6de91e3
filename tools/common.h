/* What the verbs of shmctl share: exit statuses, paths, errors, numbers, Ctrl-C. */
#ifndef SHMCTL_COMMON_H
#define SHMCTL_COMMON_H

#include <shmkit.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

enum {
    STATUS_DONE = 0,
    STATUS_FAILED = 1,
    STATUS_USAGE = 2,
    STATUS_BLOCKED = 3, /* would block, or timed out */
    STATUS_ABSENT = 4,  /* no such segment or object */
    STATUS_SHUT_DOWN = 5
};

/* SEGMENT or SEGMENT/OBJECT, as it stands on the command line; a slash in front changes nothing. */
struct path {
    const char *text; /* without the slash in front */
    char segment[SHK_SEGMENT_NAME_MAX + 1];
    char object[SHK_NAME_MAX + 1]; /* "" for a segment */
};

/*
 * These end the program with STATUS_USAGE and a sentence when the text is no good, so they are
 * called before anything is open.
 */
void parse_path(const char *text, struct path *out);
void parse_object_path(const char *text, struct path *out);
/* Whether a segment of that name is on etcd; "etcd:": all of them. */
bool is_on_etcd(const char *segment);
bool is_all_of_etcd(const char *operand);
int64_t parse_timeout(const char *text); /* 2, 0.5s, 200ms: nanoseconds; -2s: over already */
size_t parse_size(const char *text);     /* 4096, 64K, 1.5G: bytes */
uint64_t parse_number(const char *text, uint64_t max);
int64_t parse_signed(const char *text); /* may be negative */

/* The sentence, and that 'shmctl VERB --help' tells more. Ends the program. */
_Noreturn void usage_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The verb that usage_error() names; "" as long as it is not known. */
void set_current_verb(const char *);

/* "shmctl: WHAT: sentence" on the standard error. */
void complain(const char *what, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Complain about a failed call of the library; the exit status that goes with it. */
int failed(const char *what, int error);

/*
 * SIGINT, SIGTERM and SIGHUP, from here on: the library's call under way gives -EINTR, and finish()
 * ends the program by that signal, so that a shell sees it. Between two calls nothing may be half
 * done: an item taken is printed. The second such signal does not wait for that.
 */
void catch_interrupts(void);

/* Let such a signal end blocked calls in this segment. */
void set_interrupt(struct shk_segment *);

/* As if that signal had come; NO_SIGNAL: blocked calls end, but the program not by a signal. */
enum { NO_SIGNAL = -1 };
void interrupt(int signal);

/*
 * With true, such a signal ends the program immediately: the program waits for something that is
 * not the library's, and has nothing in hand. Returns whether one has come before.
 */
bool let_interrupts_kill(bool on);

/* What is done before that, in the signal's handler. */
void before_interrupts_kill(void (*handler)(void));

/* Whether such a signal has come. */
bool interrupted(void);

/*
 * Write out what was printed; end by the signal that was caught, if there was one. Returns the exit
 * status.
 */
int finish(int status);

/* Nanoseconds of CLOCK_MONOTONIC. */
int64_t monotonic_now(void);

/* Sleep until then; false if a signal that ends the program has come. */
bool sleep_until(int64_t when);

/* Memory, or the end of the program. */
void *allocate(size_t count, size_t size);
char *print_to_memory(const char *format, ...) __attribute__((format(printf, 1, 2)));
char *add_to_list(char *list, const char *separator, const char *more); /* frees list, or NULL */
char *vprint_to_memory(const char *format, va_list arguments) __attribute__((format(printf, 1, 0)));

#endif
