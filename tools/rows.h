/* Rows that several verbs print: segments and objects, with everything that is known about them. */
#ifndef SHMCTL_ROWS_H
#define SHMCTL_ROWS_H

#include "table.h"

#include <shmkit/inspect.h>

extern const struct table_kind segment_table;
extern const struct table_kind object_table;

void add_segment(struct table *, const struct shk_segment_info *);

/*
 * The segment among its objects, as one of the kind "segment": its waiters are those of all of
 * them. No snapshot: it cannot be read.
 */
void add_segment_as_object(struct table *, const struct shk_segment_info *,
                           const struct shk_snapshot *);
void add_object(struct table *, const struct shk_snapshot *, const struct shk_object_info *);

#endif
