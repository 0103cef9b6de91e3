/* Rows that several verbs print: segments and objects, with everything that is known about them. */
#ifndef SHMCTL_ROWS_H
#define SHMCTL_ROWS_H

#include "table.h"

#include <shmkit/inspect.h>

extern const struct table_kind segment_table;
extern const struct table_kind object_table;

void add_segment(struct table *, const struct shk_segment_info *);
void add_object(struct table *, const struct shk_snapshot *, const struct shk_object_info *);

#endif
