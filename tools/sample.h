/* Samples of a stream as text: a line each. */
#ifndef SHMCTL_SAMPLE_H
#define SHMCTL_SAMPLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* Numbers; a line, filled up with zeros; the bytes as they are. */
enum format_kind { FLOATING, SIGNED, UNSIGNED, TEXT, RAW };

struct format {
    const char *name;
    enum format_kind kind;
    size_t size; /* of a value; a sample is as many as it has room for */
};

/* NULL if there is none of that name; find_format() ends the program then, with a usage error. */
const struct format *lookup_format(const char *name);
const struct format *find_format(const char *name);

/*
 * A sample from a line: its values, with blanks or a comma between them, or its text. False after a
 * complaint, which begins with where.
 */
bool parse_sample(const char *line, const char *where, const struct format *, unsigned char *sample,
                  size_t sample_size);

/* The same as a line; with RAW the bytes alone. As few digits as give the same number back. */
void print_sample(FILE *, const struct format *, const unsigned char *sample, size_t sample_size);

#endif
