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

/* ---- Members that come and go ---- */

struct board {
    _Atomic bool joined, ends, stays_open;
};

/* A process that has the segment open, with that name. */
static int be_reader(void *argument)
{
    struct board *board = argument;
    struct shk_segment *s = etcd_segment();

    assert_code(shk_set_member_name(s, "reader"), 0);
    board->joined = true;
    while (!board->ends)
        pause_briefly();
    if (!board->stays_open)
        assert_code(shk_segment_close(s), 0);
    return 0;
}

static pid_t start_reader(struct board *board)
{
    pid_t child;

    board->joined = board->ends = false;
    child = child_start(be_reader, board);
    wait_until(board->joined, TEST_DEADLINE);
    return child;
}

static struct shk_member_event next_event(struct shk_member_watch *watch, int what, pid_t pid)
{
    struct shk_member_event event;

    assert_code(shk_member_watch_read(watch, &event, TEST_DEADLINE), what);
    ck_assert_uint_eq(event.what, (uint32_t)what);
    ck_assert_int_eq(event.pid, pid);
    return event;
}

START_TEST(test_etcd_segment_member_watch_tells_of_members_that_come_and_go)
{
    struct board *board = shared_memory(sizeof(*board));
    struct shk_segment *s = etcd_segment();
    struct shk_member_watch *all, *readers, *own;
    struct shk_member_event event;
    struct shk_snapshot *snapshot;
    const struct shk_member_info *member;
    pid_t child;

    assert_code(shk_member_watch_open(s, NULL, 0, 0, &all), -EINVAL);
    assert_code(shk_member_watch_open(s, NULL, 99, SHK_DIED, &all), -ESRCH);
    assert_code(shk_member_watch_open(s, NULL, 0, SHK_JOINED | SHK_LEFT | SHK_DIED, &all), 0);
    assert_code(shk_member_watch_open(s, "reader", 0, SHK_LEFT | SHK_DIED, &readers), 0);
    /* what was there has not joined since */
    assert_code(shk_member_watch_read(all, &event, SHK_NOWAIT), -EAGAIN);
    assert_code_after(SHK_MS(300), shk_member_watch_read(all, &event, SHK_MS(300)), -ETIMEDOUT);
    assert_code(shk_member_watch_living(all), 1);
    assert_code(shk_member_watch_living(readers), 0);
    child = start_reader(board);
    event = next_event(all, SHK_JOINED, child);
    wait_until(shk_member_watch_living(readers) == 1, TEST_DEADLINE);
    assert_code(shk_snapshot_open(etcd_name(), &snapshot), 0);
    member = shk_snapshot_find_member(snapshot, event.id);
    ck_assert_ptr_nonnull(member);
    ck_assert_int_eq(member->pid, child);
    shk_snapshot_close(snapshot);
    assert_code(shk_member_watch_open(s, NULL, event.id, SHK_LEFT | SHK_DIED, &own), 0);
    assert_code(shk_member_watch_living(own), 1);
    /* it closes the segment */
    board->ends = true;
    child_succeeds(child);
    ck_assert_uint_eq(next_event(all, SHK_LEFT, child).id, event.id);
    ck_assert_uint_eq(next_event(own, SHK_LEFT, child).id, event.id);
    ck_assert_str_eq(next_event(readers, SHK_LEFT, child).name, "reader");
    assert_code(shk_member_watch_living(own), 0);
    /* … is killed */
    child = start_reader(board);
    next_event(all, SHK_JOINED, child);
    child_kill(child);
    next_event(all, SHK_DIED, child);
    next_event(readers, SHK_DIED, child);
    assert_code(shk_member_watch_living(all), 1);
    assert_code(shk_member_watch_read(readers, &event, SHK_NOWAIT), -EAGAIN);
    assert_code(shk_member_watch_close(own), 0);
    assert_code(shk_member_watch_close(readers), 0);
    assert_code(shk_segment_close(s), 0);
    assert_code(shk_member_watch_read(all, &event, SHK_NOWAIT), -EBADF);
    assert_code(shk_member_watch_living(all), -EBADF);
    assert_code(shk_member_watch_close(all), 0);
    unlink_it();
}
END_TEST

/* What has come and gone while the servers were away, and their history was compacted. */
START_TEST(test_etcd_segment_member_watch_in_a_set_misses_none_when_servers_are_killed)
{
    struct board *board = shared_memory(sizeof(*board));
    struct shk_segment *s = etcd_segment();
    struct shk_member_watch *watch;
    struct shk_member_event event;
    struct shk_event *go;
    pid_t stays, goes;
    int leader, what;

    assert_code(shk_event_open(s, "go", SHK_CREATE, NULL, &go), 0);
    assert_code(shk_member_watch_open(s, NULL, 0, SHK_JOINED | SHK_LEFT | SHK_DIED, &watch), 0);
    struct shk_ready set[] = {{SHK_KIND_EVENT, SHK_READABLE, go},
                              {SHK_KIND_MEMBER, SHK_LEFT | SHK_DIED, watch},
                              {SHK_KIND_MEMBER, SHK_JOINED, watch}};
    assert_code(shk_wait_any(set, 3, SHK_NOWAIT), -EAGAIN);
    stays = start_reader(board);
    assert_code(shk_wait_any(set, 3, TEST_DEADLINE), 2);
    next_event(watch, SHK_JOINED, stays);
    assert_code(shk_wait_any(set, 3, SHK_NOWAIT), -EAGAIN);
    goes = start_reader(board);
    next_event(watch, SHK_JOINED, goes);
    leader = cluster_leader();
    cluster_kill(leader);
    child_kill(goes);
    assert_code(shk_wait_any(set, 3, TEST_DEADLINE), 1);
    what = shk_member_watch_read(watch, &event, SHK_NOWAIT);
    ck_assert_int_eq(what & SHK_DIED, SHK_DIED); /* with a gap in its history: or left */
    ck_assert_int_eq(event.pid, goes);
    cluster_start(leader);
    board->ends = true;
    child_succeeds(stays);
    next_event(watch, SHK_LEFT, stays);
    assert_code(shk_member_watch_close(watch), 0);
    assert_code(shk_event_close(go), 0);
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
    TCase *opening = test_case(suite, "opening"), *members = test_case(suite, "members"),
          *waiting = test_case(suite, "waiting");

    tcase_add_test(opening, test_etcd_segment_is_created_once_and_found_by_name);
    tcase_add_test(opening, test_etcd_segment_leaves_no_key_when_it_is_unlinked);
    tcase_add_test(opening, test_etcd_segment_refuses_bad_arguments);
    tcase_add_test(opening, test_etcd_segment_has_only_the_kinds_that_can_be_there);
    tcase_add_test(opening, test_etcd_segment_finds_no_foreign_key_to_be_an_object);
    tcase_add_test(opening, test_etcd_segment_without_a_server_says_so);
    tcase_add_test(opening, test_etcd_segment_is_opened_anew_in_a_forked_child);
    tcase_add_test(members, test_etcd_segment_member_watch_tells_of_members_that_come_and_go);
    tcase_add_test(members,
                   test_etcd_segment_member_watch_in_a_set_misses_none_when_servers_are_killed);
    tcase_add_test(waiting, test_etcd_segment_asks_for_nothing_while_it_waits);
    tcase_add_test(waiting, test_etcd_segment_that_is_closed_ends_the_waits_in_it);
    return run_with_cluster(suite);
}
