#include "looks.h"

#include <stdlib.h>

struct shk_snapshot **take_looks(const char *operand, int *status)
{
    struct shk_snapshot **looks;
    struct shk_segment_info *list;
    struct path path;
    size_t taken = 0;
    ssize_t n;

    if (operand) {
        parse_path(operand, &path);
        if (*path.object)
            usage_error("'%s' is an object, not a segment", operand);
        looks = allocate(2, sizeof(struct shk_snapshot *));
        n = shk_snapshot_open(path.segment, &looks[0]);
        *status = n < 0 ? failed(path.text, (int)n) : STATUS_DONE;
        return looks;
    }
    n = shk_segment_list(0, &list);
    looks = allocate((size_t)(n > 0 ? n : 0) + 1, sizeof(struct shk_snapshot *));
    *status = n < 0 ? failed("segments", (int)n) : STATUS_DONE;
    for (ssize_t i = 0; i < n; i++) {
        /* One that goes away in between is not worth a word. */
        if (shk_snapshot_open(list[i].name, &looks[taken]) == 0)
            taken++;
    }
    if (n >= 0)
        free(list);
    return looks;
}

void drop_looks(struct shk_snapshot **looks)
{
    for (struct shk_snapshot **look = looks; *look; look++)
        shk_snapshot_close(*look);
    free(looks);
}
