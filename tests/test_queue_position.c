/* The position of a queue's consumers, and its incarnation: lib/queue/position.c. */
#include "common.h"

#include <errno.h>

static struct shk_queue *open_queue(const char *name, uint32_t order, size_t capacity)
{
    const struct shk_queue_options options = {.order = order, .capacity = capacity};
    struct shk_queue *queue;

    assert_code(shk_queue_open(test_segment(), name, SHK_CREATE, &options, &queue), 0);
    return queue;
}

static uint64_t position_of(struct shk_queue *queue)
{
    uint64_t position = UINT64_MAX;

    assert_code(shk_queue_position(queue, &position), 0);
    return position;
}

static uint64_t incarnation_of(struct shk_queue *queue)
{
    uint64_t incarnation = 0;

    assert_code(shk_queue_incarnation(queue, &incarnation), 0);
    return incarnation;
}

START_TEST(test_queue_position_counts_what_was_taken)
{
    /* a ring, and chunks */
    struct shk_queue *queue = open_queue("jobs", SHK_FIFO, _i ? 4 : 0);
    struct iovec items[3] = {{"a", 1}, {"b", 1}, {"c", 1}};
    char bytes[3];
    struct iovec buffers[3] = {{bytes, 1}, {bytes + 1, 1}, {bytes + 2, 1}};
    const void *item;

    ck_assert_uint_eq(position_of(queue), 0);
    for (unsigned lap = 0; lap < 20; lap++) {
        assert_code(shk_queue_put_many(queue, items, 3, SHK_NOWAIT), 3);
        ck_assert_uint_eq(position_of(queue), lap * 3);
        assert_code(shk_queue_get(queue, bytes, 1, SHK_NOWAIT), 1);
        ck_assert_uint_eq(position_of(queue), lap * 3 + 1);
        assert_code(shk_queue_peek(queue, &item, SHK_NOWAIT), 1);
        ck_assert_uint_eq(position_of(queue), lap * 3 + 1);
        assert_code(shk_queue_unpeek(queue), 0);
        assert_code(shk_queue_get_many(queue, buffers, 3, SHK_NOWAIT), 2);
    }
    assert_code(shk_queue_claim(queue, SHK_CONSUMER, SHK_NOWAIT), 0);
    ck_assert_uint_eq(position_of(queue), 60);
    assert_code(shk_queue_unclaim(queue, SHK_CONSUMER), 0);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

static int take_one(void *argument)
{
    struct shk_queue *queue = open_queue("jobs", SHK_FIFO, 4);
    char item[1024];

    (void)argument;
    return shk_queue_get(queue, item, sizeof(item), SHK_NOWAIT) == 1 && position_of(queue) == 1 ? 0
                                                                                                : 1;
}

START_TEST(test_queue_position_and_incarnation_are_the_same_in_all_processes)
{
    struct shk_queue *queue = open_queue("jobs", SHK_FIFO, 4);
    struct shk_queue *again = open_queue("jobs", SHK_FIFO, 4);

    ck_assert_uint_eq(incarnation_of(queue), incarnation_of(again));
    assert_code(shk_queue_put(queue, "a", 1, SHK_NOWAIT), 0);
    child_succeeds(stranger_start(take_one, NULL));
    ck_assert_uint_eq(position_of(queue), 1);
    assert_code(shk_queue_close(queue), 0);
    assert_code(shk_queue_close(again), 0);
}
END_TEST

START_TEST(test_queue_incarnation_is_another_for_each_queue)
{
    enum { QUEUES = 50 };
    uint64_t seen[QUEUES];
    struct shk_segment *other;
    struct shk_queue *queue;

    for (int i = 0; i < QUEUES; i++) { /* of one name, one after the other; then in a segment */
        struct shk_segment *s = test_segment();

        if (i >= QUEUES / 2) {
            assert_code(shk_segment_open(segment_name("-other"), SHK_CREATE, NULL, &other), 0);
            s = other;
        }
        assert_code(shk_queue_open(s, "jobs", SHK_CREATE, NULL, &queue), 0);
        seen[i] = incarnation_of(queue);
        for (int k = 0; k < i; k++)
            ck_assert_uint_ne(seen[i], seen[k]);
        assert_code(shk_object_unlink(s, "jobs"), 0);
        assert_code(shk_queue_close(queue), 0);
        if (i >= QUEUES / 2) {
            assert_code(shk_segment_close(other), 0);
            assert_code(shk_segment_unlink(segment_name("-other")), 0);
        }
    }
}
END_TEST

START_TEST(test_queue_in_shared_memory_has_no_cursors)
{
    struct shk_queue *queue = open_queue("jobs", SHK_FIFO, 4),
                     *stack = open_queue("stack", SHK_LIFO, 4);
    struct iovec item = {"a", 1};
    uint64_t a, b;

    assert_code(shk_queue_put_at(queue, "source", 0, &item, 1, SHK_NOWAIT), -ENOTSUP);
    assert_code(shk_queue_cursor(queue, "source", &a, &b), -ENOTSUP);
    assert_code(shk_queue_set_cursor(queue, "source", 0), -ENOTSUP);
    assert_code(shk_queue_size(queue), 0);
    assert_code(shk_queue_position(stack, &a), -ENOTSUP);
    ck_assert_uint_ne(incarnation_of(stack), incarnation_of(queue));
    assert_code(shk_queue_position(NULL, &a), -EINVAL);
    assert_code(shk_queue_position(queue, NULL), -EINVAL);
    assert_code(shk_queue_incarnation(queue, NULL), -EINVAL);
    assert_code(shk_queue_put_at(queue, "source", 0, NULL, 1, SHK_NOWAIT), -EINVAL);
    assert_code(shk_queue_put_at(queue, "source", 0, &item, 0, SHK_NOWAIT), -EINVAL);
    assert_code(shk_object_unlink(test_segment(), "jobs"), 0);
    assert_code(shk_queue_position(queue, &a), -ESTALE);
    assert_code(shk_queue_incarnation(queue, &a), -ESTALE);
    assert_code(shk_queue_close(queue), 0);
    assert_code(shk_queue_close(stack), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("queue: position");
    TCase *position = test_case(suite, "position");

    tcase_add_loop_test(position, test_queue_position_counts_what_was_taken, 0, 2);
    tcase_add_test(position, test_queue_position_and_incarnation_are_the_same_in_all_processes);
    tcase_add_test(position, test_queue_incarnation_is_another_for_each_queue);
    tcase_add_test(position, test_queue_in_shared_memory_has_no_cursors);
    return run_tests(suite);
}
