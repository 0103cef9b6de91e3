/* Segments on etcd: opening, names, what cannot be there, what is asked while nothing happens. */
#include "cluster.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void unlink_it(void)
{
    int r = shk_segment_unlink(etcd_name());

    ck_assert_msg(r == 0 || r == -ENOENT, "unlink gave %s: %s", code_name(r), shk_last_error());
}

START_TEST(test_etcd_segment_is_created_once_and_found_by_name)
{
    struct shk_segment *s, *again;

    assert_code(shk_segment_open(etcd_name(), 0, NULL, &s), -ENOENT);
    ck_assert_ptr_null(s);
    assert_code(shk_segment_open(etcd_name(), SHK_CREATE | SHK_EXCL, NULL, &s), 0);
    assert_code(shk_segment_open(etcd_name(), SHK_CREATE | SHK_EXCL, NULL, &again), -EEXIST);
    assert_code(shk_segment_open(etcd_name(), 0, NULL, &again), 0);
    ck_assert_ptr_eq(s, again);
    assert_code(shk_segment_close(again), 0);
    assert_code(shk_segment_close(s), 0);
    assert_code(shk_segment_open(etcd_name(), 0, NULL, &s), 0);
    assert_code(shk_segment_close(s), 0);
    assert_code(shk_segment_unlink(etcd_name()), 0);
    assert_code(shk_segment_unlink(etcd_name()), -ENOENT);
}
END_TEST

START_TEST(test_etcd_segment_leaves_no_key_when_it_is_unlinked)
{
    struct shk_segment *s = etcd_segment();
    struct shk_event *event;
    char prefix[160];

    snprintf(prefix, sizeof(prefix), "/shmkit/%s", strchr(etcd_name(), ':') + 1);
    assert_code(shk_event_open(s, "go", SHK_CREATE, NULL, &event), 0);
    assert_code(shk_event_set(event), 0);
    ck_assert_int_gt(cluster_count(prefix), 4);
    assert_code(shk_segment_unlink_unused(etcd_name(), 0), -EBUSY);
    assert_code(shk_event_close(event), 0);
    assert_code(shk_segment_close(s), 0);
    assert_code(shk_segment_unlink_unused(etcd_name(), SHK_EMPTY), -ENOTEMPTY);
    assert_code(shk_segment_unlink_unused(etcd_name(), 0), 0);
    ck_assert_int_eq(cluster_count(prefix), 0);
}
END_TEST

START_TEST(test_etcd_segment_refuses_bad_arguments)
{
    struct shk_segment *s;

    assert_code(shk_segment_open("etcd:", 0, NULL, &s), -EINVAL);
    assert_code(shk_segment_open("etcd:a/b", 0, NULL, &s), -EINVAL);
    assert_code(shk_segment_open("etcd:.a", 0, NULL, &s), -EINVAL);
    assert_code(shk_segment_open("etcd:a\xff", 0, NULL, &s), -EILSEQ);
    assert_code(shk_segment_open(etcd_name(), 0, NULL, NULL), -EINVAL);
    assert_code(shk_segment_open(etcd_name(), 0x80, NULL, &s), -EINVAL);
}
END_TEST

START_TEST(test_etcd_segment_has_only_the_kinds_that_can_be_there)
{
    struct shk_segment *s = etcd_segment();
    struct shk_region *region;
    struct shk_lock *lock;
    struct shk_queue *queue;
    void *slot;

    assert_code(shk_region_open(s, "memory", SHK_CREATE, &(struct shk_region_options){.size = 4096},
                                &region),
                -ENOTSUP);
    assert_code(shk_queue_open(s, "jobs", SHK_CREATE, NULL, &queue), 0);
    assert_code(shk_lock_open(s, "jobs", SHK_CREATE, NULL, &lock), -EPROTOTYPE);
    assert_code(shk_lock_open(s, "till", 0, NULL, &lock), -ENOENT);
    assert_code(shk_queue_reserve(queue, 10, &slot, SHK_NOWAIT), -ENOTSUP);
    assert_code(shk_queue_claim(queue, SHK_CONSUMER, SHK_NOWAIT), -ENOTSUP);
    assert_code(shk_queue_close(queue), 0);
    assert_code(shk_object_unlink(s, "jobs"), 0);
    assert_code(shk_object_unlink(s, "jobs"), -ENOENT);
    assert_code(shk_segment_close(s), 0);
    unlink_it();
}
END_TEST

START_TEST(test_etcd_segment_finds_no_foreign_key_to_be_an_object)
{
    struct shk_segment *s = etcd_segment();
    struct shk_lock *lock;
    char key[200];

    snprintf(key, sizeof(key), "/shmkit/%s/till/.object", strchr(etcd_name(), ':') + 1);
    cluster_put(key, "{\"what\":");
    assert_code(shk_lock_open(s, "till", SHK_CREATE, NULL, &lock), -EPROTO);
    assert_code(shk_segment_close(s), 0);
    unlink_it();
    snprintf(key, sizeof(key), "/shmkit/%s", strchr(etcd_name(), ':') + 1);
    cluster_put(key, "mine");
    assert_code(shk_segment_open(etcd_name(), SHK_CREATE, NULL, &s), -EPROTO);
    unlink_it();
}
END_TEST

START_TEST(test_etcd_segment_without_a_server_says_so)
{
    struct shk_segment *s;

    setenv("ETCDCTL_ENDPOINTS", "http://127.0.0.1:1", 1);
    assert_code(shk_segment_open(etcd_name(), SHK_CREATE, NULL, &s), -EHOSTUNREACH);
    ck_assert_msg(strstr(shk_last_error(), "127.0.0.1:1"), "it says: %s", shk_last_error());
    setenv("ETCDCTL_ENDPOINTS", " , ", 1);
    assert_code(shk_segment_open(etcd_name(), SHK_CREATE, NULL, &s), -EINVAL);
}
END_TEST

static int open_in_child(void *argument)
{
    struct shk_segment *s;
    struct shk_event *event = argument;

    /* the parent's handle is not for the child, which opens the segment anew */
    assert_code(shk_event_set(event), -EBADF);
    s = etcd_segment();
    assert_code(shk_event_open(s, "go", 0, NULL, &event), 0);
    assert_code(shk_event_set(event), 0);
    assert_code(shk_event_close(event), 0);
    assert_code(shk_segment_close(s), 0);
    return 0;
}

START_TEST(test_etcd_segment_is_opened_anew_in_a_forked_child)
{
    struct shk_segment *s = etcd_segment();
    struct shk_event *event;

    assert_code(shk_event_open(s, "go", SHK_CREATE, NULL, &event), 0);
    child_succeeds(child_start(open_in_child, event));
    assert_code(shk_event_wait(event, TEST_DEADLINE), 0);
    assert_code(shk_event_close(event), 0);
    assert_code(shk_segment_close(s), 0);
    unlink_it();
}
END_TEST

static void *wait_for_event(void *event)
{
    return (void *)(intptr_t)shk_event_wait(event, SHK_FOREVER);
}

/* 6 s: a lease of 5 s is kept alive three or four times; each of the servers may have asked another
 * for it. */
START_TEST(test_etcd_segment_asks_for_nothing_while_it_waits)
{
    struct shk_segment *s = etcd_segment();
    struct shk_event *event;
    unsigned long before, after;
    pthread_t waiter;
    void *result;

    assert_code(shk_event_open(s, "go", SHK_CREATE, NULL, &event), 0);
    ck_assert_int_eq(pthread_create(&waiter, NULL, wait_for_event, event), 0);
    sleep(1);
    before = cluster_requests();
    sleep(6);
    after = cluster_requests();
    printf("%lu requests in 6 s of waiting\n", after - before);
    ck_assert_uint_ge(after - before, 3);
    ck_assert_uint_le(after - before, 8);
    assert_code(shk_event_set(event), 0);
    pthread_join(waiter, &result);
    assert_result((intptr_t)result, 0);
    assert_code(shk_event_close(event), 0);
    assert_code(shk_segment_close(s), 0);
    unlink_it();
}
END_TEST

static void *close_later(void *s)
{
    sleep(1);
    return (void *)(intptr_t)shk_segment_close(s);
}

START_TEST(test_etcd_segment_that_is_closed_ends_the_waits_in_it)
{
    struct shk_segment *s = etcd_segment();
    struct shk_event *event;
    pthread_t closer;

    assert_code(shk_event_open(s, "go", SHK_CREATE, NULL, &event), 0);
    ck_assert_int_eq(pthread_create(&closer, NULL, close_later, s), 0);
    assert_code(shk_event_wait(event, SHK_FOREVER), -EBADF);
    pthread_join(closer, NULL);
    assert_code(shk_event_set(event), -EBADF);
    assert_code(shk_event_close(event), 0);
    unlink_it();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("segment on etcd");
    TCase *opening = test_case(suite, "opening"), *waiting = test_case(suite, "waiting");

    tcase_add_test(opening, test_etcd_segment_is_created_once_and_found_by_name);
    tcase_add_test(opening, test_etcd_segment_leaves_no_key_when_it_is_unlinked);
    tcase_add_test(opening, test_etcd_segment_refuses_bad_arguments);
    tcase_add_test(opening, test_etcd_segment_has_only_the_kinds_that_can_be_there);
    tcase_add_test(opening, test_etcd_segment_finds_no_foreign_key_to_be_an_object);
    tcase_add_test(opening, test_etcd_segment_without_a_server_says_so);
    tcase_add_test(opening, test_etcd_segment_is_opened_anew_in_a_forked_child);
    tcase_add_test(waiting, test_etcd_segment_asks_for_nothing_while_it_waits);
    tcase_add_test(waiting, test_etcd_segment_that_is_closed_ends_the_waits_in_it);
    return run_with_cluster(suite);
}
