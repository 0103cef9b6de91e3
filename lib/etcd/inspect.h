/*
 * The calls of <shmkit/inspect.h> for segments on etcd: with requests that only read, by a process
 * that need not be a member.
 */
#ifndef SHKE_INSPECT_H
#define SHKE_INSPECT_H

#include "etcd/sight.h"

/* ---- The calls: see struct shki_remote_library ---- */

ssize_t shke_segment_list(unsigned flags, struct shk_segment_info **list);
int shke_snapshot_read(const char *name, struct shk_snapshot *);
ssize_t shke_item_list(const char *segment, const char *queue, size_t max,
                       struct shk_item_info **list);
ssize_t shke_server_list(struct shk_cluster_info *, struct shk_server_info **list);

/* What the record of a segment, as of that revision, says: 0, -EPROTO. */
int shke_segment_describe(const char *name, const struct shke_kv *, int64_t revision,
                          struct shk_segment_info *);

#endif
