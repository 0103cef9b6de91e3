/*
 * Print a table, as its style says: aligned for people, in bare fields or in JSON for scripts.
 * libsmartcols aligns; without it the output is the same.
 */
#ifndef SHMCTL_PRINT_H
#define SHMCTL_PRINT_H

#include "table.h"

/*
 * Print it; the second way a line a cell, "Name  value", for tables of one row. Returns an exit
 * status.
 */
int table_print(const struct table *);
int table_print_vertical(const struct table *);

/* As it is printed for people, to fit so many columns; to be freed. NULL: it cannot be done. */
char *table_to_text(const struct table *, int width);

#endif
