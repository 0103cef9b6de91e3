#include "snapshots.h"

#include <stdlib.h>

struct shk_snapshot **take_snapshots(const char *operand, int *status)
{
    struct shk_snapshot **snapshots;
    struct shk_segment_info *list;
    struct path path;
    size_t taken = 0;
    ssize_t n;

    if (operand) {
        parse_path(operand, &path);
        if (*path.object)
            usage_error("'%s' is an object, not a segment", operand);
        snapshots = allocate(2, sizeof(struct shk_snapshot *));
        n = shk_snapshot_open(path.segment, &snapshots[0]);
        *status = n < 0 ? failed(path.text, (int)n) : STATUS_DONE;
        return snapshots;
    }
    n = shk_segment_list(0, &list);
    snapshots = allocate((size_t)(n > 0 ? n : 0) + 1, sizeof(struct shk_snapshot *));
    *status = n < 0 ? failed("segments", (int)n) : STATUS_DONE;
    for (ssize_t i = 0; i < n; i++) {
        /* One that goes away in between is not worth a word. */
        if (shk_snapshot_open(list[i].name, &snapshots[taken]) == 0)
            taken++;
    }
    if (n >= 0)
        free(list);
    return snapshots;
}

void drop_snapshots(struct shk_snapshot **snapshots)
{
    for (struct shk_snapshot **snapshot = snapshots; *snapshot; snapshot++)
        shk_snapshot_close(*snapshot);
    free(snapshots);
}
