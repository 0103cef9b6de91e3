/*
 * Names: valid UTF-8 without control characters. So each terminal and each file system shows them
 * right.
 */
#ifndef SHKI_NAME_H
#define SHKI_NAME_H

#include "base/utf8.h"

#include <sys/types.h>

/*
 * 0, -EINVAL (NULL, empty, a slash, a dot in front, a control character), -ENAMETOOLONG, -EILSEQ;
 * with a sentence about "what".
 */
int shki_check_name(const char *what, const char *name, size_t longest);

/* The same for a text that is only shown: a slash and a dot are allowed. */
int shki_check_label(const char *what, const char *label, size_t longest);

/*
 * The name of a user as /etc/passwd has it, "a user" if it has none. Not by getpwuid(3), which may
 * load libraries and ask servers. Returns `to`.
 */
const char *shki_user_name(char *to, size_t size, uid_t uid);

#endif
