/*
 * Names: valid UTF-8 without control characters, so that every terminal and every file system shows
 * them right.
 */
#ifndef SHKI_NAME_H
#define SHKI_NAME_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/*
 * 0, -EINVAL (NULL, empty, a slash, a dot in front, a control character), -ENAMETOOLONG, -EILSEQ;
 * with a sentence about "what".
 */
int shki_check_name(const char *what, const char *name, size_t longest);

/* The same for what is only shown, not looked up: a slash and a dot are allowed. */
int shki_check_label(const char *what, const char *label, size_t longest);

/*
 * Copy at most `size` - 1 bytes of doubtful origin (not necessarily terminated within `length`),
 * replacing what is not printable by '?'.
 */
void shki_copy_label(char *to, size_t size, const char *from, size_t length);

/*
 * The name of a user as /etc/passwd has it, "a user" if it has none. Not by getpwuid(3), which may
 * load libraries and ask servers. Returns `to`.
 */
const char *shki_user_name(char *to, size_t size, uid_t uid);

#endif
