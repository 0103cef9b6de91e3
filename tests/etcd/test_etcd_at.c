/* The cursor of a source: shk_queue_put_at() and its companions. */
#include "cluster.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct shk_queue *open_queue(struct shk_segment *s, size_t capacity)
{
    const struct shk_queue_options options = {.capacity = capacity, .item_size = 64};
    struct shk_queue *queue;

    assert_code(shk_queue_open(s, "jobs", SHK_CREATE, &options, &queue), 0);
    return queue;
}

static void close_all(struct shk_segment *s, struct shk_queue *queue)
{
    assert_code(shk_queue_close(queue), 0);
    assert_code(shk_segment_close(s), 0);
    assert_code(shk_segment_unlink(etcd_name()), 0);
}

static void cursor_is(struct shk_queue *queue, const char *source, uint64_t position,
                      uint64_t before)
{
    uint64_t at = 0, was = 0;

    assert_code(shk_queue_cursor(queue, source, &at, &was), 0);
    ck_assert_uint_eq(at, position);
    ck_assert_uint_eq(was, before);
}

START_TEST(test_etcd_put_at_puts_only_at_its_cursor)
{
    struct shk_segment *s = etcd_segment();
    struct shk_queue *queue = open_queue(s, 0);
    struct iovec items[3] = {{"a", 1}, {"b", 1}, {"c", 1}};
    uint64_t position, before;
    char item[64];

    assert_code(shk_queue_cursor(queue, "first", &position, &before), -ENOENT);
    assert_code(shk_queue_put_at(queue, "first", 7, items, 3, SHK_FOREVER), 3);
    cursor_is(queue, "first", 10, 7);
    assert_code(shk_queue_put_at(queue, "first", 7, items, 3, SHK_FOREVER), -ESTALE);
    assert_code(shk_queue_put_at(queue, "first", 9, items, 1, SHK_FOREVER), -ESTALE);
    assert_code(shk_queue_put_at(queue, "first", 11, items, 1, SHK_FOREVER), -ESTALE);
    assert_code(shk_queue_put_at(queue, "first", 10, items, 1, SHK_NOWAIT), 1);
    cursor_is(queue, "first", 11, 10);
    assert_code(shk_queue_put_at(queue, "second", 0, items, 2, SHK_FOREVER), 2);
    cursor_is(queue, "second", 2, 0);
    cursor_is(queue, "first", 11, 10);
    assert_code(shk_queue_size(queue), 6);
    for (const char *c = "abcaab"; *c; c++) {
        assert_code(shk_queue_get(queue, item, sizeof(item), TEST_DEADLINE), 1);
        ck_assert_int_eq(item[0], *c);
    }
    close_all(s, queue);
}
END_TEST

START_TEST(test_etcd_cursor_is_set_and_ends_with_its_queue)
{
    struct shk_segment *s = etcd_segment();
    struct shk_queue *queue = open_queue(s, 0);
    struct iovec item = {"a", 1};
    uint64_t position, before;

    assert_code(shk_queue_set_cursor(queue, "source", 5), 0);
    cursor_is(queue, "source", 5, 5);
    assert_code(shk_queue_put_at(queue, "source", 4, &item, 1, SHK_FOREVER), -ESTALE);
    assert_code(shk_queue_put_at(queue, "source", 5, &item, 1, SHK_FOREVER), 1);
    assert_code(shk_queue_set_cursor(queue, "source", 2), 0);
    assert_code(shk_queue_put_at(queue, "source", 6, &item, 1, SHK_FOREVER), -ESTALE);
    assert_code(shk_queue_put_at(queue, "source", 2, &item, 1, SHK_FOREVER), 1);
    assert_code(shk_object_unlink(s, "jobs"), 0);
    assert_code(shk_queue_put_at(queue, "source", 3, &item, 1, SHK_FOREVER), -ESTALE);
    assert_code(shk_queue_cursor(queue, "source", &position, &before), -ESTALE);
    assert_code(shk_queue_close(queue), 0);
    queue = open_queue(s, 0);
    assert_code(shk_queue_cursor(queue, "source", &position, &before), -ENOENT);
    close_all(s, queue);
}
END_TEST

START_TEST(test_etcd_put_at_has_the_limits_of_its_queue)
{
    struct shk_segment *s = etcd_segment();
    struct shk_queue *queue = open_queue(s, 2);
    char large[65] = "", item[64];
    struct iovec items[3] = {{"a", 1}, {"b", 1}, {large, 65}};
    struct iovec many[100];
    uint64_t position;

    assert_code(shk_queue_put_at(queue, "source", 0, items, 3, SHK_FOREVER), -EMSGSIZE);
    items[2].iov_len = 64;
    assert_code(shk_queue_put_at(queue, "source", 0, items, 3, SHK_FOREVER), 2);
    cursor_is(queue, "source", 2, 0);
    assert_code(shk_queue_put_at(queue, "source", 2, items + 2, 1, SHK_NOWAIT), -EAGAIN);
    assert_code_after(SHK_MS(200), shk_queue_put_at(queue, "source", 2, items, 1, SHK_MS(200)),
                      -ETIMEDOUT);
    cursor_is(queue, "source", 2, 0);
    assert_code(shk_queue_get(queue, item, sizeof(item), SHK_NOWAIT), 1);
    assert_code(shk_queue_put_at(queue, "source", 2, items + 2, 1, SHK_FOREVER), 1);
    assert_code(shk_queue_shutdown(queue), 0);
    assert_code(shk_queue_put_at(queue, "source", 3, items, 1, SHK_FOREVER), -EPIPE);
    assert_code(shk_queue_put_at(queue, NULL, 3, items, 1, SHK_FOREVER), -EINVAL);
    assert_code(shk_queue_put_at(queue, "a/b", 3, items, 1, SHK_FOREVER), -EINVAL);
    assert_code(shk_queue_put_at(queue, "source", 3, items, 0, SHK_FOREVER), -EINVAL);
    assert_code(shk_queue_incarnation(queue, &position), -ENOTSUP);
    assert_code(shk_queue_position(queue, &position), -ENOTSUP);
    assert_code(shk_queue_close(queue), 0);
    assert_code(shk_object_unlink(s, "jobs"), 0);
    queue = open_queue(s, 0);
    for (int i = 0; i < 100; i++)
        many[i] = (struct iovec){"x", 1};
    assert_code(shk_queue_put_at(queue, "source", 0, many, 100, SHK_FOREVER), 60);
    assert_code(shk_queue_size(queue), 60);
    close_all(s, queue);
}
END_TEST

/* Two processes carry the same source: each position once. */
enum { EACH = 300 };

struct shared {
    _Atomic unsigned char put[EACH + 60];
    _Atomic unsigned doubled, refused;
};

static int carry(void *argument)
{
    struct shared *shared = argument;
    struct shk_segment *s = etcd_segment();
    struct shk_queue *queue = open_queue(s, 0);
    uint64_t position = 0, before;
    char text[7][16];
    struct iovec items[7];
    int r = 0;

    while (position < EACH) {
        for (unsigned i = 0; i < 7; i++) {
            snprintf(text[i], sizeof(text[i]), "%llu", (unsigned long long)position + i);
            items[i] = (struct iovec){text[i], strlen(text[i])};
        }
        r = shk_queue_put_at(queue, "source", position, items, 1 + (unsigned)position % 7,
                             SHK_FOREVER);
        for (int i = 0; i < r; i++)
            shared->doubled += atomic_exchange(&shared->put[position + (unsigned)i], 1);
        shared->refused += r == -ESTALE;
        if (r < 0 && r != -ESTALE)
            return 1;
        if (shk_queue_cursor(queue, "source", &position, &before) != 0)
            return 2;
    }
    shk_queue_close(queue);
    shk_segment_close(s);
    return 0;
}

START_TEST(test_etcd_put_at_of_two_processes_puts_each_position_once)
{
    struct shared *shared = shared_memory(sizeof(*shared));
    pid_t carriers[2];
    struct shk_segment *s;
    struct shk_queue *queue;
    char item[64];
    ssize_t n;

    for (int i = 0; i < 2; i++)
        carriers[i] = child_start(carry, shared);
    for (int i = 0; i < 2; i++)
        child_succeeds(carriers[i]);
    ck_assert_uint_eq(shared->doubled, 0);
    ck_assert_uint_gt(shared->refused, 0);
    s = etcd_segment();
    queue = open_queue(s, 0);
    for (unsigned i = 0; shared->put[i]; i++) {
        n = shk_queue_get(queue, item, sizeof(item) - 1, SHK_NOWAIT);
        ck_assert_int_gt(n, 0);
        item[n] = '\0';
        ck_assert_int_eq(atoi(item), (int)i);
    }
    assert_code(shk_queue_get(queue, item, sizeof(item), SHK_NOWAIT), -EAGAIN);
    close_all(s, queue);
}
END_TEST

START_TEST(test_etcd_cursor_that_is_no_cursor_is_reported)
{
    struct shk_segment *s = etcd_segment();
    struct shk_queue *queue = open_queue(s, 0);
    struct iovec item = {"a", 1};
    uint64_t position, before;
    char key[200];

    snprintf(key, sizeof(key), "/shmkit/%s/jobs/cursor/at-source", strchr(etcd_name(), ':') + 1);
    cluster_put(key, "12 none");
    assert_code(shk_queue_cursor(queue, "source", &position, &before), -EPROTO);
    assert_code(shk_queue_put_at(queue, "source", 0, &item, 1, SHK_FOREVER), -EPROTO);
    close_all(s, queue);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cursors on etcd");
    TCase *cursors = test_case(suite, "cursors");

    tcase_add_test(cursors, test_etcd_put_at_puts_only_at_its_cursor);
    tcase_add_test(cursors, test_etcd_cursor_is_set_and_ends_with_its_queue);
    tcase_add_test(cursors, test_etcd_put_at_has_the_limits_of_its_queue);
    tcase_add_test(cursors, test_etcd_put_at_of_two_processes_puts_each_position_once);
    tcase_add_test(cursors, test_etcd_cursor_that_is_no_cursor_is_reported);
    return run_with_cluster(suite);
}
