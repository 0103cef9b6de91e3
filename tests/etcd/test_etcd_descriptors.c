/* What programs do with descriptors, beside a segment on etcd: none of the library's is theirs. */
#include "cluster.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { NUMBERS = 256 };

/* How many descriptors the program has. */
static int count_descriptors(void)
{
    DIR *directory = opendir("/proc/self/fd");
    int n = -1; /* of the directory itself */

    ck_assert_ptr_nonnull(directory);
    for (struct dirent *e; (e = readdir(directory)) != NULL;)
        n += e->d_name[0] != '.';
    closedir(directory);
    return n;
}

struct board {
    _Atomic int last; /* 0: all was well; else the line of what was not */
    _Atomic bool ends;
    struct shk_segment *parents; /* what it has open */
    struct shk_event *event;
    struct shk_queue *queue;
    struct shk_lock *lock;
};

/* What a child finds wrong: it may have no stderr to say it on. */
#define check(what)                 \
    do {                            \
        if (!(what)) {              \
            board->last = __LINE__; \
            return 1;               \
        }                           \
    } while (0)

/* An item goes through a queue, and a watch tells of a set. */
static int use(struct board *board, struct shk_segment *s)
{
    const struct shk_queue_options options = {.capacity = 4};
    struct shk_event *event;
    struct shk_queue *queue;
    char item[8];

    check(shk_queue_open(s, "jobs", SHK_CREATE, &options, &queue) == 0);
    check(shk_event_open(s, "go", SHK_CREATE, NULL, &event) == 0);
    for (int i = 0; i < 10; i++) {
        check(shk_queue_put(queue, "one", 3, SHK_FOREVER) == 0);
        check(shk_queue_get(queue, item, sizeof(item), TEST_DEADLINE) == 3);
    }
    check(shk_event_set(event) == 0);
    check(shk_event_wait(event, TEST_DEADLINE) == 0);
    check(shk_event_close(event) == 0);
    check(shk_queue_close(queue) == 0);
    return 0;
}

static int run_without_standard_descriptors(void *argument)
{
    struct board *board = argument;
    struct shk_segment *s;

    for (int fd = 0; fd < 3; fd++)
        close(fd);
    check(shk_segment_open(etcd_name(), SHK_CREATE, NULL, &s) == 0);
    check(use(board, s) == 0);
    for (int fd = 0; fd < 3; fd++) /* they are still the program's to use */
        check(open("/dev/null", O_RDWR) == fd);
    check(use(board, s) == 0);
    for (int fd = 0; fd < 3; fd++)
        check(close(fd) == 0);
    check(shk_segment_close(s) == 0);
    return 0;
}

START_TEST(test_etcd_descriptors_are_not_the_standard_ones_of_a_program_without_them)
{
    struct board *board = shared_memory(sizeof(*board));
    int status = child_wait(child_start(run_without_standard_descriptors, board));

    ck_assert_msg(status == 0 && board->last == 0, "status %d, line %d", status, board->last);
    assert_code(shk_segment_unlink(etcd_name()), 0);
}
END_TEST

START_TEST(test_etcd_descriptors_of_the_program_are_as_many_as_before)
{
    struct board *board = shared_memory(sizeof(*board));
    int before = count_descriptors();
    struct shk_segment *s = etcd_segment();

    ck_assert_msg(use(board, s) == 0, "line %d", board->last);
    ck_assert_int_eq(count_descriptors(), before);
    assert_code(shk_segment_close(s), 0);
    ck_assert_int_eq(count_descriptors(), before);
    assert_code(shk_segment_unlink(etcd_name()), 0);
}
END_TEST

START_TEST(test_etcd_descriptors_of_the_program_are_not_kept_open)
{
    struct board *board = shared_memory(sizeof(*board));
    int before[2], after[2];
    struct shk_segment *s;
    char byte;

    ck_assert_int_eq(pipe2(before, O_NONBLOCK), 0);
    s = etcd_segment();
    ck_assert_msg(use(board, s) == 0, "line %d", board->last);
    ck_assert_int_eq(pipe2(after, O_NONBLOCK), 0);
    ck_assert_msg(use(board, s) == 0, "line %d", board->last);
    close(before[1]);
    close(after[1]);
    ck_assert_int_eq(read(before[0], &byte, 1), 0); /* its end, not EAGAIN */
    ck_assert_int_eq(read(after[0], &byte, 1), 0);
    close(before[0]);
    close(after[0]);
    assert_code(shk_segment_close(s), 0);
    assert_code(shk_segment_unlink(etcd_name()), 0);
}
END_TEST

/* All numbers are taken by sockets of the program, whose other ends it holds. */
static int take_all_numbers(int others[NUMBERS])
{
    int n = 0, ends[2];

    while (n < NUMBERS && socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0) {
        int other = fcntl(ends[1], F_DUPFD, NUMBERS + n);

        close(ends[1]);
        if (ends[0] >= NUMBERS)
            close(ends[0]);
        if (ends[0] >= NUMBERS || other < 0)
            break;
        others[n++] = other;
    }
    return n;
}

static void *wait_for_event(void *event)
{
    return (void *)(intptr_t)shk_event_wait(event, TEST_DEADLINE);
}

/* A program that closes what it does not know, and gives the numbers to files of its own. */
static int close_all_and_go_on(void *argument)
{
    struct board *board = argument;
    int others[NUMBERS], n;
    struct shk_segment *s;
    struct shk_event *event;
    pthread_t waiter;
    void *result;

    check(shk_segment_open(etcd_name(), SHK_CREATE, NULL, &s) == 0);
    check(shk_event_open(s, "late", SHK_CREATE, NULL, &event) == 0);
    check(use(board, s) == 0);
    check(pthread_create(&waiter, NULL, wait_for_event, event) == 0);
    usleep(200000); /* the wait is under way, most likely; it is none the worse if not */
    for (int fd = 3; fd < 1024; fd++)
        close(fd);
    n = take_all_numbers(others);
    check(n > 200);
    check(use(board, s) == 0);
    check(shk_event_set(event) == 0);
    pthread_join(waiter, &result);
    check(result == NULL);
    check(shk_event_close(event) == 0);
    check(shk_segment_close(s) == 0);
    for (int i = 0; i < n; i++) { /* nothing was written to the program's, nor was one closed */
        struct pollfd other = {.fd = others[i], .events = POLLIN};

        check(poll(&other, 1, 0) == 0);
    }
    return 0;
}

START_TEST(test_etcd_descriptors_are_out_of_reach_of_a_program_that_closes_all)
{
    struct board *board = shared_memory(sizeof(*board));
    int status = child_wait(child_start(close_all_and_go_on, board));

    ck_assert_msg(status == 0 && board->last == 0, "status %d, line %d", status, board->last);
    assert_code(shk_segment_unlink(etcd_name()), 0);
}
END_TEST

static int use_in_child(void *argument)
{
    struct board *board = argument;
    struct shk_segment *s;

    /* the parent's cannot be used here, and can be closed */
    check(shk_event_set(board->event) == -EBADF);
    check(shk_queue_size(board->queue) == -EBADF);
    check(shk_event_close(board->event) == 0);
    check(shk_queue_close(board->queue) == 0);
    check(shk_lock_close(board->lock) == 0);
    check(shk_segment_close(board->parents) == 0);
    check(shk_segment_open(etcd_name(), 0, NULL, &s) == 0);
    check(use(board, s) == 0);
    check(shk_segment_close(s) == 0);
    return 0;
}

static int only_stay(void *argument)
{
    const struct board *board = argument;

    while (!board->ends)
        pause_briefly();
    return 0;
}

/*
 * A child that stays has no copy of a connection: the parent's end with the parent's use of them.
 */
START_TEST(test_etcd_descriptors_of_a_parent_are_not_its_childs)
{
    struct board *board = shared_memory(sizeof(*board));
    int before = count_descriptors();
    struct shk_segment *s = etcd_segment();
    pid_t stays, uses;

    ck_assert_msg(use(board, s) == 0, "line %d", board->last);
    ck_assert_int_eq(count_descriptors(), before);
    board->parents = s;
    assert_code(shk_event_open(s, "go", 0, NULL, &board->event), 0);
    assert_code(shk_queue_open(s, "jobs", 0, NULL, &board->queue), 0);
    assert_code(shk_lock_open(s, "till", SHK_CREATE, NULL, &board->lock), 0);
    assert_code(shk_lock_acquire(board->lock, SHK_FOREVER), 0);
    stays = child_start(only_stay, board);
    uses = child_start(use_in_child, board);
    ck_assert_msg(use(board, s) == 0, "line %d", board->last);
    child_succeeds(uses);
    ck_assert_msg(use(board, s) == 0, "line %d", board->last);
    board->ends = true;
    child_succeeds(stays);
    assert_code(shk_lock_release(board->lock), 0);
    assert_code(shk_lock_close(board->lock), 0);
    assert_code(shk_queue_close(board->queue), 0);
    assert_code(shk_event_close(board->event), 0);
    assert_code(shk_segment_close(s), 0);
    assert_code(shk_segment_unlink(etcd_name()), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("descriptors beside etcd");
    TCase *tests = test_case(suite, "descriptors");

    tcase_add_test(tests,
                   test_etcd_descriptors_are_not_the_standard_ones_of_a_program_without_them);
    tcase_add_test(tests, test_etcd_descriptors_of_the_program_are_as_many_as_before);
    tcase_add_test(tests, test_etcd_descriptors_of_the_program_are_not_kept_open);
    tcase_add_test(tests, test_etcd_descriptors_are_out_of_reach_of_a_program_that_closes_all);
    tcase_add_test(tests, test_etcd_descriptors_of_a_parent_are_not_its_childs);
    return run_with_cluster(suite);
}
