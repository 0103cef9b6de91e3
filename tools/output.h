/*
 * The standard output of verbs that hand over what they take: nothing is taken that has no reader.
 *
 * A pipe holds 64 KiB, and a writer that fills it has taken items that its reader may never come
 * to; another worker, in want of work, cannot have them. So the pipe is made as small as it can be,
 * one page, which is full as soon as there is one item in it: poll(2) says that there is room when
 * the reader has read all of that.
 */
#ifndef SHMCTL_OUTPUT_H
#define SHMCTL_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Once, before anything is written: several items are to come, each when the one before has been
 * read.
 */
void output_one_at_a_time(void);

/*
 * Once: a reader that goes ends the library's blocked call (-EINTR), as an interrupt does. write(2)
 * gives EPIPE then, and no SIGPIPE.
 */
void output_watch(void);

/*
 * Wait until what was written before has been read, or there is room at least. Nothing may be in
 * hand: SIGINT and the like end the program meanwhile. Returns 0, or -EINTR: such a signal has come
 * before, or the reader has gone.
 */
int output_await_room(void);

/* Whether what is written now would have no reader. */
bool output_is_gone(void);

/*
 * Write an item and n bytes after it, wholly. An interrupt waits until this is done. Returns 0 or
 * -errno.
 */
int output_write(const void *item, size_t length, const char *end, size_t n);

/* At the end: the pipe is given back as it was. */
void output_done(void);

/*
 * Complain about a failed write, or a reader that has gone, or let finish() end the program by
 * SIGPIPE. Returns an exit status.
 */
int output_failed(int error);

#endif
