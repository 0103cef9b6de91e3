/* shk_item_list(): what waits in a queue is listed, nothing is touched, and nothing is torn. */
#include "common.h"

#include <shmkit/inspect.h>

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define CASES 6 /* three orders, with a capacity and without */
#define WORDS 32

static struct shk_queue *open_case(int i)
{
    struct shk_queue_options options = {
        .order = (uint32_t)i % 3, .capacity = i < 3 ? 8 : 0, .item_size = WORDS * 8};
    struct shk_queue *queue;

    assert_code(shk_queue_open(test_segment(), "queue", SHK_CREATE, &options, &queue), 0);
    return queue;
}

START_TEST(test_items_are_listed_in_the_order_of_their_queue)
{
    static const char *const expected[] = {"abcde", "edcba", "eadbc"};
    static const int64_t priorities[] = {1, 3, 3, 2, -9};
    struct shk_queue *queue = open_case(_i);
    struct shk_item_info *items;
    ssize_t n;

    assert_code(shk_item_list(segment_name(NULL), "queue", SIZE_MAX, &items), 0);
    free(items);
    for (int i = 0; i < 5; i++) {
        const char *item = &"abcde"[i];

        if (_i % 3 == SHK_PRIORITY)
            assert_code(shk_queue_put_priority(queue, item, 1, priorities[i], SHK_NOWAIT), 0);
        else
            assert_code(shk_queue_put(queue, item, 1, SHK_NOWAIT), 0);
    }
    for (size_t max = 0; max < 8; max++) {
        n = shk_item_list(segment_name(NULL), "queue", max, &items);
        ck_assert_int_eq(n, max < 5 ? (ssize_t)max : 5);
        for (ssize_t i = 0; i < n; i++) {
            ck_assert_uint_eq(items[i].length, 1);
            ck_assert_int_eq(items[i].bytes[0], expected[_i % 3][i]);
            ck_assert_int_eq(items[i].priority,
                             _i % 3 == SHK_PRIORITY ? priorities[items[i].bytes[0] - 'a'] : 0);
        }
        free(items);
    }
    ck_assert_int_eq(shk_queue_size(queue), 5);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

/* Items of one word each, repeated, that come and go. */
struct traffic {
    struct shk_queue *queue;
    _Atomic int over;
};

static void *come_and_go(void *arg)
{
    struct traffic *t = arg;
    uint64_t item[WORDS];

    for (uint64_t n = 1; !t->over; n++) {
        for (int i = 0; i < WORDS; i++)
            item[i] = n;
        ck_assert_int_eq(shk_queue_put(t->queue, item, (n % WORDS + 1) * 8, SHK_FOREVER), 0);
        if (n > 4)
            ck_assert_int_ge(shk_queue_get(t->queue, item, sizeof(item), SHK_FOREVER), 0);
    }
    return NULL;
}

START_TEST(test_no_item_is_torn)
{
    struct traffic t = {.queue = open_case(_i)};
    struct shk_item_info *items;
    pthread_t thread;
    int listed = 0;
    ssize_t n;

    ck_assert_int_eq(pthread_create(&thread, NULL, come_and_go, &t), 0);
    for (int looks = 0; looks < 2000; looks++) {
        n = shk_item_list(segment_name(NULL), "queue", looks % 2 ? 2 : SIZE_MAX, &items);
        ck_assert_msg(n >= 0 || n == -EAGAIN, "%s", shk_last_error());
        for (ssize_t i = 0; i < n; i++) {
            uint64_t words[WORDS];

            ck_assert_uint_le(items[i].length, sizeof(words));
            memcpy(words, items[i].bytes, items[i].length);
            ck_assert_uint_eq(items[i].length, (words[0] % WORDS + 1) * 8);
            for (size_t k = 1; k < items[i].length / 8; k++)
                ck_assert_uint_eq(words[k], words[0]);
            listed++;
        }
        free(n < 0 ? NULL : items);
    }
    t.over = 1;
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_int_gt(listed, 0);
    assert_code(shk_queue_close(t.queue), 0);
}
END_TEST

START_TEST(test_what_has_no_items_is_told)
{
    struct shk_item_info *items = (void *)&items;
    struct shk_event *event;

    assert_code(shk_item_list(segment_name(NULL), "queue", 1, NULL), -EINVAL);
    assert_code(shk_item_list(segment_name("-none"), "queue", 1, &items), -ENOENT);
    ck_assert_ptr_null(items);
    assert_code(shk_event_open(test_segment(), "event", SHK_CREATE, NULL, &event), 0);
    assert_code(shk_item_list(segment_name(NULL), "queue", 1, &items), -ENOENT);
    assert_code(shk_item_list(segment_name(NULL), "event", 1, &items), -EPROTOTYPE);
    assert_code(shk_item_list(segment_name(NULL), "", 1, &items), -EINVAL);
    assert_code(shk_item_list(segment_name(NULL), NULL, 1, &items), -EINVAL);
    assert_code(shk_event_close(event), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("items");
    TCase *items = test_case(suite, "items");

    tcase_add_loop_test(items, test_items_are_listed_in_the_order_of_their_queue, 0, CASES);
    tcase_add_loop_test(items, test_no_item_is_torn, 0, CASES);
    tcase_add_test(items, test_what_has_no_items_is_told);
    return run_tests(suite);
}
