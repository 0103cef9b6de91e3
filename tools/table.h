/* Tables: rows of named columns. print.h prints them. */
#ifndef SHMCTL_TABLE_H
#define SHMCTL_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

enum {
    COLUMN_RIGHT = 0x1, /* aligned to the right */
    COLUMN_CUT =
        /* cut when the terminal is narrow, with a mark, down to its heading: for what is no name */
    0x2,
    COLUMN_NUMBER = 0x4, /* in JSON a number */
    COLUMN_BOOL = 0x8,   /* in JSON true or false */
    COLUMN_LIST = 0x10   /* several strings: in JSON an array */
};

struct column {
    const char *name;
    const char *help;
    unsigned flags;
};

struct table_kind {
    const char *name;             /* the rows, in the plural; JSON has them under this name */
    const struct column *columns; /* the last has no name */
};

struct table_style {
    const char *output; /* the columns asked for; NULL: the usual ones */
    bool json, raw, noheadings, bytes;
    bool lines; /* JSON: an object a line for each row, and nothing around them */
};

#define TABLE_ROWS                                                                       \
    {'o', "output", "LIST", "print these columns; +LIST: these besides the usual ones"}, \
        {'J', "json", NULL, "print JSON, with all sizes in bytes and times in seconds"}, \
        {'r', "raw", NULL, "print bare fields for scripts, '-' for an empty one"},       \
        {'n', "noheadings", NULL, "print no headings"},                                  \
    {                                                                                    \
        'b', "bytes", NULL, "print sizes in bytes and times in seconds"                  \
    }

#define SHOWN_MAX 64
struct table {
    const struct table_kind *kind;
    struct table_style style;
    size_t columns; /* of the kind */
    int shown[SHOWN_MAX];
    size_t shown_columns;
    /* rows * columns; NULL: empty, or not shown. The strings of a list have '\n' in between */
    char **cells;
    size_t rows;
    size_t room; /* for so many rows */
};

/* Take one of TABLE_ROWS, with its argument in optarg. */
void table_option(struct table_style *, int key);

/* The columns, for --help. */
void table_print_columns(const struct table_kind *);

/*
 * An empty table. usual: the columns printed when none are asked for, "A,B,C". A column that there
 * is not is a usage error.
 */
struct table *table_new(const struct table_kind *, const char *usual, const struct table_style *);
void table_free(struct table *);

/*
 * Begin a row; fill cells of the last one. What is not shown is not kept, and need not be found
 * out.
 */
void table_row(struct table *);
bool table_shows(const struct table *, const char *column);
void table_set(struct table *, const char *column, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void table_set_bool(struct table *, const char *column, bool value);
void table_set_size(struct table *, const char *column, uint64_t bytes);
void table_set_duration(struct table *, const char *column, int64_t nanoseconds);
void table_set_date(struct table *, const char *column, int64_t seconds);
/* "2026-11-29T18:40:58.123+0000", as ISO 8601 has it */
void table_set_time(struct table *, const char *column, const struct timespec *);
void table_append(struct table *, const char *column, const char *format, ...)
    __attribute__((format(printf, 3, 4))); /* COLUMN_LIST */

/* For printing: the i-th of the columns that are shown, and what is in it, "" if nothing is. */
const struct column *table_column(const struct table *, size_t shown);
const char *table_cell(const struct table *, size_t row, size_t shown);

#endif
