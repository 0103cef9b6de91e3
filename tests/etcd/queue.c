/* A queue of short texts on etcd, for tests. */
#include "queue.h"

#include "cluster.h"

#include <string.h>

struct shk_queue *queue_open(struct shk_segment *s, uint32_t order, size_t capacity)
{
    const struct shk_queue_options options = {
        .order = order, .capacity = capacity, .item_size = 64};
    struct shk_queue *queue;

    assert_code(shk_queue_open(s, "jobs", SHK_CREATE, &options, &queue), 0);
    return queue;
}

void queue_close(struct shk_segment *s, struct shk_queue *queue)
{
    assert_code(shk_queue_close(queue), 0);
    assert_code(shk_segment_close(s), 0);
    assert_code(shk_segment_unlink(etcd_name()), 0);
}

void queue_put(struct shk_queue *queue, const char *item)
{
    assert_code(shk_queue_put(queue, item, strlen(item), SHK_FOREVER), 0);
}

void queue_get(struct shk_queue *queue, const char *expected)
{
    char item[64];
    ssize_t n = shk_queue_get(queue, item, sizeof(item), TEST_DEADLINE);

    ck_assert_msg(n == (ssize_t)strlen(expected) && memcmp(item, expected, (size_t)n) == 0,
                  "got %zd bytes, not \"%s\": %s", n, expected, shk_last_error());
}
