/*
 * Tables: rows of named columns, printed as people or scripts want them. libsmartcols aligns them;
 * without it they look the same.
 */
#ifndef SHMCTL_TABLE_H
#define SHMCTL_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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
};

#define TABLE_ROWS                                                                       \
    {'o', "output", "LIST", "print these columns; +LIST: these besides the usual ones"}, \
        {'J', "json", NULL, "print JSON, with all sizes in bytes and times in seconds"}, \
        {'r', "raw", NULL, "print bare fields for scripts, '-' for an empty one"},       \
        {'n', "noheadings", NULL, "print no headings"},                                  \
    {                                                                                    \
        'b', "bytes", NULL, "print sizes in bytes and times in seconds"                  \
    }

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
void table_append(struct table *, const char *column, const char *format, ...)
    __attribute__((format(printf, 3, 4))); /* COLUMN_LIST */

/*
 * Print it; the second way a line a cell, "Name  value", for tables of one row. Returns an exit
 * status.
 */
int table_print(const struct table *);
int table_print_vertical(const struct table *);

/* As it is printed for people, to fit so many columns; to be freed. NULL: it cannot be done. */
char *table_to_text(const struct table *, int width);

/*
 * As much of the text as fits so many columns, with an ellipsis if that is not all, never cut
 * inside a number. To be freed.
 */
char *text_to_fit(const char *text, int width);

/*
 * For sentences: 12 bytes, 1.5K; 250ms, 4.2s, 3m05s, 2d04h. Both buffers have QUANTITY_MAX bytes.
 */
#define QUANTITY_MAX 32
const char *format_size(char *buffer, uint64_t bytes);
const char *format_duration(char *buffer, int64_t nanoseconds);

#endif
