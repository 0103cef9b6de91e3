/* Objects on etcd in sets: shk_wait_any(), shk_ready_fd(); interrupt calls; what is unused. */
#include "cluster.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct shk_queue *open_queue(struct shk_segment *s, size_t capacity)
{
    const struct shk_queue_options options = {.capacity = capacity, .item_size = 64};
    struct shk_queue *queue;

    assert_code(shk_queue_open(s, "jobs", SHK_CREATE, &options, &queue), 0);
    return queue;
}

static struct shk_event *open_event(struct shk_segment *s)
{
    struct shk_event *event;

    assert_code(shk_event_open(s, "stop", SHK_CREATE, NULL, &event), 0);
    return event;
}

static void end(struct shk_segment *s)
{
    assert_code(shk_segment_close(s), 0);
    assert_code(shk_segment_unlink(etcd_name()), 0);
}

struct board {
    _Atomic bool ready, ends;
    _Atomic int64_t put_at;
};

static int put_later(void *argument)
{
    struct board *board = argument;
    struct shk_segment *s = etcd_segment();
    struct shk_queue *queue = open_queue(s, 2);

    board->ready = true;
    usleep(500000);
    board->put_at = time_now();
    assert_code(shk_queue_put(queue, "one", 3, SHK_FOREVER), 0);
    assert_code(shk_queue_close(queue), 0);
    assert_code(shk_segment_close(s), 0);
    return 0;
}

START_TEST(test_etcd_ready_wait_any_finds_what_is_ready)
{
    struct board *board = shared_memory(sizeof(*board));
    struct shk_segment *s = etcd_segment();
    struct shk_queue *queue = open_queue(s, 2);
    struct shk_event *event = open_event(s);
    struct shk_ready set[] = {{SHK_KIND_QUEUE, SHK_READABLE, queue},
                              {SHK_KIND_EVENT, SHK_READABLE, event},
                              {SHK_KIND_QUEUE, SHK_WRITABLE, queue}};
    char item[64];
    pid_t child;

    assert_code(shk_wait_any(set, 2, SHK_NOWAIT), -EAGAIN);
    assert_code_after(SHK_MS(300), shk_wait_any(set, 2, SHK_MS(300)), -ETIMEDOUT);
    assert_code(shk_wait_any(set + 2, 1, SHK_NOWAIT), 0);
    child = child_start(put_later, board);
    assert_code(shk_wait_any(set, 2, TEST_DEADLINE), 0);
    printf("the waiter knew %.1f ms after the put began\n",
           (double)(time_now() - board->put_at) / 1e6);
    child_succeeds(child);
    assert_code(shk_event_set(event), 0);
    /* each gets its turn */
    ck_assert_int_ne(shk_wait_any(set, 2, SHK_NOWAIT), shk_wait_any(set, 2, SHK_NOWAIT));
    assert_code(shk_queue_put(queue, "two", 3, SHK_FOREVER), 0);
    assert_code(shk_wait_any(set + 2, 1, SHK_NOWAIT), -EAGAIN); /* full */
    assert_code(shk_queue_get(queue, item, sizeof(item), SHK_NOWAIT), 3);
    assert_code(shk_wait_any(set + 2, 1, TEST_DEADLINE), 0);
    assert_code(shk_event_clear(event), 0);
    assert_code(shk_queue_get(queue, item, sizeof(item), SHK_NOWAIT), 3);
    assert_code(shk_wait_any(set, 2, SHK_NOWAIT), -EAGAIN);
    assert_code(shk_queue_shutdown(queue), 0);
    assert_code(shk_wait_any(set, 1, TEST_DEADLINE), 0);
    set[0].want = SHK_ALL_DONE;
    assert_code(shk_wait_any(set, 1, SHK_NOWAIT), -ENOTSUP);
    set[0].want = SHK_READABLE;
    assert_code(shk_object_unlink(s, "stop"), 0);
    assert_code(shk_wait_any(set + 1, 1, TEST_DEADLINE), -ESTALE);
    assert_code(shk_event_close(event), 0);
    assert_code(shk_queue_close(queue), 0);
    end(s);
}
END_TEST

static void *set_and_clear(void *event)
{
    usleep(300000);
    assert_code(shk_event_set(event), 0);
    assert_code(shk_event_clear(event), 0);
    return NULL;
}

START_TEST(test_etcd_ready_wait_any_notes_a_set_that_was_cleared_at_once)
{
    struct shk_segment *s = etcd_segment();
    struct shk_event *event = open_event(s);
    struct shk_ready set[] = {{SHK_KIND_EVENT, SHK_READABLE, event}};
    pthread_t thread;

    ck_assert_int_eq(pthread_create(&thread, NULL, set_and_clear, event), 0);
    assert_code(shk_wait_any(set, 1, TEST_DEADLINE), 0);
    pthread_join(thread, NULL);
    assert_code(shk_wait_any(set, 1, SHK_NOWAIT), -EAGAIN);
    assert_code(shk_event_close(event), 0);
    end(s);
}
END_TEST

START_TEST(test_etcd_ready_sets_are_of_one_segment)
{
    struct shk_segment *s = etcd_segment(), *local = test_segment();
    struct shk_event *event = open_event(s), *other;
    struct shk_ready set[2] = {{SHK_KIND_EVENT, SHK_READABLE, event}};

    assert_code(shk_event_open(local, "stop", SHK_CREATE, NULL, &other), 0);
    set[1] = (struct shk_ready){SHK_KIND_EVENT, SHK_READABLE, other};
    assert_code(shk_wait_any(set, 2, SHK_NOWAIT), -EXDEV);
    assert_code(shk_event_close(other), 0);
    assert_code(shk_event_close(event), 0);
    end(s);
}
END_TEST

START_TEST(test_etcd_ready_descriptor_tells_what_is_ready)
{
    struct board *board = shared_memory(sizeof(*board));
    struct shk_segment *s = etcd_segment();
    struct shk_queue *queue = open_queue(s, 2);
    struct shk_event *event = open_event(s);
    struct shk_ready set[] = {{SHK_KIND_EVENT, SHK_READABLE, event},
                              {SHK_KIND_QUEUE, SHK_READABLE, queue}};
    struct pollfd fd = {.fd = shk_ready_fd(set, 2), .events = POLLIN};
    uint32_t index = 99;
    pid_t child;

    ck_assert_int_ge(fd.fd, 0);
    ck_assert_int_eq(poll(&fd, 1, 200), 0);
    child = child_start(put_later, board);
    ck_assert_int_eq(poll(&fd, 1, (int)(TEST_DEADLINE / 1000000)), 1);
    child_succeeds(child);
    /* it goes on with its own reference when the handles are closed */
    assert_code(shk_queue_close(queue), 0);
    assert_code(shk_event_close(event), 0);
    ck_assert_int_eq(read(fd.fd, &index, sizeof(index)), sizeof(index));
    ck_assert_uint_eq(index, 1);
    ck_assert_int_eq(poll(&fd, 1, (int)(TEST_DEADLINE / 1000000)), 1); /* the item is still there */
    /* the end of file once the set cannot be waited for any more */
    assert_code(shk_object_unlink(s, "stop"), 0);
    for (;;) {
        ck_assert_int_eq(poll(&fd, 1, (int)(TEST_DEADLINE / 1000000)), 1);
        if (read(fd.fd, &index, sizeof(index)) == 0)
            break;
    }
    close(fd.fd);
    end(s);
}
END_TEST

static int ends_soon(void *calls)
{
    return ++*(_Atomic int *)calls >= 3;
}

START_TEST(test_etcd_ready_interrupt_call_ends_waits)
{
    struct shk_segment *s = etcd_segment();
    struct shk_queue *queue = open_queue(s, 1);
    struct shk_event *event = open_event(s);
    struct shk_ready set[] = {{SHK_KIND_EVENT, SHK_READABLE, event}};
    _Atomic int calls = 0;
    char item[64];

    assert_code(shk_set_interrupt_call(s, ends_soon, &calls), 0);
    assert_code(shk_queue_get(queue, item, sizeof(item), SHK_FOREVER), -EINTR);
    ck_assert_int_eq(calls, 3);
    calls = 0;
    assert_code(shk_event_wait(event, SHK_FOREVER), -EINTR);
    calls = 0;
    assert_code(shk_wait_any(set, 1, SHK_FOREVER), -EINTR);
    /* without a majority, too */
    cluster_kill(0);
    cluster_kill(1);
    calls = 0;
    ck_assert_int_lt(shk_queue_put(queue, "one", 3, SHK_FOREVER), 0);
    ck_assert_int_ge(calls, 3);
    cluster_start_one(0);
    cluster_start(1);
    cluster_start(0);
    assert_code(shk_set_interrupt_call(s, NULL, NULL), 0);
    calls = 0;
    assert_code(shk_event_wait(event, SHK_MS(500)), -ETIMEDOUT);
    ck_assert_int_eq(calls, 0);
    assert_code(shk_event_close(event), 0);
    assert_code(shk_queue_close(queue), 0);
    end(s);
}
END_TEST

static int use_object(void *argument)
{
    struct board *board = argument;
    struct shk_segment *s = etcd_segment();
    struct shk_event *event = open_event(s);

    board->ready = true;
    while (!board->ends)
        pause_briefly();
    assert_code(shk_event_close(event), 0);
    assert_code(shk_segment_close(s), 0);
    return 0;
}

START_TEST(test_etcd_ready_unlink_unused_spares_what_a_process_has_open)
{
    struct board *board = shared_memory(sizeof(*board));
    struct shk_segment *s = etcd_segment();
    struct shk_event *event = open_event(s);
    pid_t child = child_start(use_object, board);
    int64_t deadline;

    wait_until(board->ready, TEST_DEADLINE);
    assert_code(shk_object_unlink_unused(s, "stop"), -EBUSY);
    assert_code(shk_event_close(event), 0);
    assert_code(shk_object_unlink_unused(s, "stop"), -EBUSY);
    /* one that was killed uses it until its lease ends */
    child_kill(child);
    deadline = time_now() + TEST_DEADLINE * time_factor();
    while (shk_object_unlink_unused(s, "stop") == -EBUSY && time_now() < deadline)
        pause_briefly();
    assert_code(shk_object_unlink_unused(s, "stop"), -ENOENT);
    board->ready = false;
    board->ends = true;
    child_succeeds(child_start(use_object, board));
    assert_code(shk_object_unlink_unused(s, "stop"), 0);
    end(s);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sets of objects on etcd");
    TCase *sets = test_case(suite, "sets"), *others = test_case(suite, "others");

    setenv("SHMKIT_ETCD_TTL", "2", 1);
    tcase_add_test(sets, test_etcd_ready_wait_any_finds_what_is_ready);
    tcase_add_test(sets, test_etcd_ready_wait_any_notes_a_set_that_was_cleared_at_once);
    tcase_add_test(sets, test_etcd_ready_sets_are_of_one_segment);
    tcase_add_test(sets, test_etcd_ready_descriptor_tells_what_is_ready);
    tcase_add_test(others, test_etcd_ready_interrupt_call_ends_waits);
    tcase_add_test(others, test_etcd_ready_unlink_unused_spares_what_a_process_has_open);
    return run_with_cluster(suite);
}
