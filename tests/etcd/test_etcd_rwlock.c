/* The rwlock on etcd: shares, turns, deaths, and servers that are killed. */
#include "cluster.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What the processes of a test tell each other. */
struct board {
    _Atomic int readers, writers, worst, reads, writes, most, came, order[8], orphaned;
    _Atomic bool holds, ends;
    _Atomic int result;
    _Atomic int64_t longest; /* ns: a wait */
};

static struct shk_rwlock *open_rwlock(struct shk_segment *s)
{
    struct shk_rwlock *lock;

    assert_code(shk_rwlock_open(s, "books", SHK_CREATE, NULL, &lock), 0);
    return lock;
}

static void close_all(struct shk_segment *s, struct shk_rwlock *lock)
{
    assert_code(shk_rwlock_close(lock), 0);
    assert_code(shk_segment_close(s), 0);
    assert_code(shk_segment_unlink(etcd_name()), 0);
}

/* How many keys there are under a part of it. */
static int count(const char *part)
{
    char prefix[200];

    snprintf(prefix, sizeof(prefix), "/shmkit/%s/books/%s", strchr(etcd_name(), ':') + 1, part);
    return cluster_count(prefix);
}

START_TEST(test_etcd_rwlock_is_shared_or_held_alone)
{
    struct shk_segment *s = etcd_segment();
    struct shk_rwlock *lock = open_rwlock(s), *same;

    assert_code(shk_rwlock_is_held(lock), 0);
    assert_code(shk_rwlock_release(lock), -EPERM);
    assert_code(shk_rwlock_downgrade(lock), -EPERM);
    assert_code(shk_rwlock_recover(lock), -EPERM);
    assert_code(shk_rwlock_acquire_shared(lock, SHK_NOWAIT), 0);
    assert_code(shk_rwlock_acquire_shared(lock, SHK_NOWAIT), 0);
    assert_code(shk_rwlock_is_held(lock), 1);
    assert_code(shk_rwlock_acquire(lock, SHK_NOWAIT), -EDEADLK);
    assert_code(shk_rwlock_close(lock), -EBUSY);
    assert_code(shk_rwlock_open(s, "books", 0, NULL, &same), 0);
    assert_code(shk_rwlock_release(same), 0);
    assert_code(shk_rwlock_close(same), -EBUSY);
    assert_code(shk_rwlock_release(same), 0);
    assert_code(shk_rwlock_close(same), 0);
    assert_code(shk_rwlock_release(lock), -EPERM);
    assert_code(shk_rwlock_acquire(lock, SHK_FOREVER), 0);
    assert_code(shk_rwlock_is_held(lock), 2);
    assert_code(shk_rwlock_acquire_shared(lock, SHK_FOREVER), -EDEADLK);
    assert_code(shk_rwlock_acquire(lock, SHK_FOREVER), -EDEADLK);
    assert_code(shk_rwlock_recover(lock), 0);
    assert_code(shk_rwlock_downgrade(lock), 0);
    assert_code(shk_rwlock_is_held(lock), 1);
    assert_code(shk_rwlock_downgrade(lock), -EPERM);
    ck_assert_int_eq(count("reader/"), 1);
    ck_assert_int_eq(count("writ"), 0);
    assert_code(shk_rwlock_release(lock), 0);
    for (int i = 0; i < 20; i++) {
        assert_code(shk_rwlock_acquire(lock, SHK_FOREVER), 0);
        assert_code(shk_rwlock_release(lock), 0);
        assert_code(shk_rwlock_acquire_shared(lock, SHK_FOREVER), 0);
        assert_code(shk_rwlock_release(lock), 0);
    }
    ck_assert_int_eq(count("reader/"), 0);
    ck_assert_int_eq(count("wait/"), 0);
    close_all(s, lock);
}
END_TEST

static int hold(void *argument, int (*acquire)(struct shk_rwlock *, int64_t))
{
    struct board *board = argument;
    struct shk_rwlock *lock = open_rwlock(etcd_segment());

    board->result = acquire(lock, SHK_FOREVER);
    board->holds = true;
    while (!board->ends)
        pause_briefly();
    board->result = shk_rwlock_release(lock);
    return 0;
}

static int hold_a_share(void *board)
{
    return hold(board, shk_rwlock_acquire_shared);
}

static int hold_alone(void *board)
{
    return hold(board, shk_rwlock_acquire);
}

/* Enter, and note when: 10 and more write. */
static int come(struct board *board, int number)
{
    struct shk_rwlock *lock = open_rwlock(etcd_segment());
    int r = number >= 10 ? shk_rwlock_acquire(lock, SHK_FOREVER)
                         : shk_rwlock_acquire_shared(lock, SHK_FOREVER);

    if (r < 0)
        return 1;
    board->order[board->came++] = number;
    return shk_rwlock_release(lock) != 0;
}

static int come_to_read(void *board)
{
    return come(board, 1);
}

static int come_to_write(void *board)
{
    return come(board, 10);
}

static int come_to_write_too(void *board)
{
    return come(board, 11);
}

/* A writer writes; a second one, a reader and a third one wait, in this order. */
START_TEST(test_etcd_rwlock_lets_readers_in_between_two_writers)
{
    struct board *board = shared_memory(sizeof(*board));
    struct shk_segment *s = etcd_segment();
    struct shk_rwlock *lock = open_rwlock(s);
    pid_t first, reader, second;

    assert_code(shk_rwlock_acquire(lock, SHK_NOWAIT), 0);
    first = child_start(come_to_write, board);
    wait_until(count("wait/") == 1, TEST_DEADLINE);
    reader = child_start(come_to_read, board);
    wait_until(count("wait/") == 2, TEST_DEADLINE);
    second = child_start(come_to_write_too, board);
    wait_until(count("wait/") == 3, TEST_DEADLINE);
    assert_code(shk_rwlock_release(lock), 0);
    child_succeeds(first);
    child_succeeds(reader);
    child_succeeds(second);
    /* all that had waited to read when the writer had finished come before the next writer */
    ck_assert_int_eq(board->order[0], 1);
    ck_assert_int_eq(board->order[1], 10);
    ck_assert_int_eq(board->order[2], 11);
    close_all(s, lock);
}
END_TEST

START_TEST(test_etcd_rwlock_lets_no_new_reader_pass_a_writer_that_waits)
{
    struct board *board = shared_memory(sizeof(*board));
    struct shk_segment *s = etcd_segment();
    struct shk_rwlock *lock = open_rwlock(s);
    pid_t holder = child_start(hold_a_share, board), writer;

    wait_until(board->holds, TEST_DEADLINE);
    assert_code(shk_rwlock_acquire(lock, SHK_NOWAIT), -EAGAIN);
    assert_code_after(SHK_MS(300), shk_rwlock_acquire(lock, SHK_MS(300)), -ETIMEDOUT);
    ck_assert_int_eq(count("wait/"), 0);
    assert_code(shk_rwlock_acquire_shared(lock, SHK_NOWAIT), 0);
    assert_code(shk_rwlock_release(lock), 0);
    writer = child_start(come_to_write, board);
    wait_until(count("wait/w.") == 1, TEST_DEADLINE);
    assert_code(shk_rwlock_acquire_shared(lock, SHK_NOWAIT), -EAGAIN);
    board->ends = true;
    child_succeeds(holder);
    child_succeeds(writer);
    assert_code(shk_rwlock_acquire_shared(lock, SHK_NOWAIT), 0);
    assert_code(shk_rwlock_release(lock), 0);
    close_all(s, lock);
}
END_TEST

START_TEST(test_etcd_rwlock_of_a_killed_writer_tells_all_until_it_is_mended)
{
    struct board *board = shared_memory(sizeof(*board));
    pid_t holder = child_start(hold_alone, board);
    struct shk_segment *s = etcd_segment();
    struct shk_rwlock *lock = open_rwlock(s);
    int64_t killed;

    wait_until(board->holds, TEST_DEADLINE);
    assert_code(shk_rwlock_acquire_shared(lock, SHK_NOWAIT), -EAGAIN);
    ck_assert_msg(strstr(shk_last_error(), "a member writes"), "it says: %s", shk_last_error());
    child_kill(holder);
    killed = time_now();
    assert_code(shk_rwlock_acquire_shared(lock, TEST_DEADLINE), SHK_ORPHANED);
    printf("the next reader was in %.2f s after the kill, with a lease of 2 s\n",
           (double)(time_now() - killed) / 1e9);
    ck_assert_int_lt(time_now() - killed, SHK_SEC(4) * time_factor());
    assert_code(shk_rwlock_acquire_shared(lock, SHK_NOWAIT), SHK_ORPHANED);
    assert_code(shk_rwlock_release(lock), 0);
    assert_code(shk_rwlock_release(lock), 0);
    assert_code(shk_rwlock_acquire(lock, SHK_NOWAIT), SHK_ORPHANED);
    assert_code(shk_rwlock_release(lock), 0); /* not mended */
    assert_code(shk_rwlock_acquire(lock, SHK_NOWAIT), SHK_ORPHANED);
    assert_code(shk_rwlock_downgrade(lock), 0);
    assert_code(shk_rwlock_release(lock), 0);
    assert_code(shk_rwlock_acquire_shared(lock, SHK_NOWAIT), SHK_ORPHANED);
    assert_code(shk_rwlock_release(lock), 0);
    assert_code(shk_rwlock_acquire(lock, SHK_NOWAIT), SHK_ORPHANED);
    assert_code(shk_rwlock_recover(lock), 0);
    assert_code(shk_rwlock_downgrade(lock), 0);
    assert_code(shk_rwlock_release(lock), 0);
    assert_code(shk_rwlock_acquire_shared(lock, SHK_NOWAIT), 0);
    assert_code(shk_rwlock_release(lock), 0);
    assert_code(shk_rwlock_acquire(lock, SHK_NOWAIT), 0);
    assert_code(shk_rwlock_release(lock), 0);
    close_all(s, lock);
}
END_TEST

START_TEST(test_etcd_rwlock_is_free_after_a_reader_was_killed)
{
    struct board *board = shared_memory(sizeof(*board));
    pid_t holder = child_start(hold_a_share, board), writer;
    struct shk_segment *s = etcd_segment();
    struct shk_rwlock *lock = open_rwlock(s);

    wait_until(board->holds, TEST_DEADLINE);
    writer = child_start(come_to_write, board);
    wait_until(count("wait/w.") == 1, TEST_DEADLINE);
    child_kill(writer); /* its place in the line goes, too */
    child_kill(holder);
    assert_code(shk_rwlock_acquire(lock, TEST_DEADLINE), 0);
    assert_code(shk_rwlock_release(lock), 0);
    close_all(s, lock);
}
END_TEST

static void freeze(int (*body)(void *), int next)
{
    struct board *board = shared_memory(sizeof(*board));
    pid_t holder = child_start(body, board);
    struct shk_segment *s = etcd_segment();
    struct shk_rwlock *lock = open_rwlock(s);

    wait_until(board->holds, TEST_DEADLINE);
    child_stop(holder);
    assert_code(shk_rwlock_acquire(lock, TEST_DEADLINE), next);
    board->ends = true;
    child_continue(holder);
    child_succeeds(holder);
    assert_result(board->result, -ESTALE);
    assert_code(shk_rwlock_is_held(lock), 2);
    assert_code(shk_rwlock_recover(lock), 0);
    assert_code(shk_rwlock_release(lock), 0);
    close_all(s, lock);
}

START_TEST(test_etcd_rwlock_of_a_frozen_writer_is_refused_when_it_wakes)
{
    freeze(hold_alone, SHK_ORPHANED);
}
END_TEST

START_TEST(test_etcd_rwlock_of_a_frozen_reader_is_refused_when_it_wakes)
{
    freeze(hold_a_share, 0);
}
END_TEST

/* Reads and writes in turn, with a look for what must not be in at the same time. */
static int read_and_write(void *argument)
{
    struct board *board = argument;
    struct shk_segment *s = etcd_segment();
    struct shk_rwlock *lock = open_rwlock(s);
    int64_t begun, took;

    for (int i = getpid(); !board->ends; i++) {
        bool writes = i % 4 == 0;
        int r, in;

        begun = time_now();
        r = writes ? shk_rwlock_acquire(lock, SHK_FOREVER)
                   : shk_rwlock_acquire_shared(lock, SHK_FOREVER);
        if (r != 0) {
            fprintf(stderr, "it gave %d: %s\n", r, shk_last_error());
            return 1;
        }
        took = time_now() - begun;
        if (took > board->longest)
            board->longest = took;
        if (writes) {
            if (atomic_fetch_add(&board->writers, 1) != 0 || board->readers != 0)
                board->worst = 1;
            board->writes++;
            atomic_fetch_sub(&board->writers, 1);
        } else {
            in = atomic_fetch_add(&board->readers, 1) + 1;
            if (in > board->most)
                board->most = in;
            if (board->writers != 0)
                board->worst = 2;
            board->reads++;
            usleep(500);
            atomic_fetch_sub(&board->readers, 1);
        }
        if (shk_rwlock_release(lock) != 0) {
            fprintf(stderr, "%s\n", shk_last_error());
            return 2;
        }
    }
    shk_rwlock_close(lock);
    shk_segment_close(s);
    return 0;
}

/* Three reads and a write. */
static int64_t count_turns(void *argument)
{
    struct board *board = argument;

    return board->reads / 3 < board->writes ? board->reads / 3 : board->writes;
}

START_TEST(test_etcd_rwlock_excludes_writers_when_the_leader_is_killed)
{
    enum { ACTORS = 4 };
    struct board *board = shared_memory(sizeof(*board));
    pid_t actors[ACTORS];

    setenv("SHMKIT_ETCD_TTL", "10", 1);
    for (int i = 0; i < ACTORS; i++)
        actors[i] = child_start(read_and_write, board);
    wait_until(board->reads >= 30 && board->writes >= 10, TEST_DEADLINE);
    cluster_kill_leaders(2, count_turns, board, 10);
    board->ends = true;
    for (int i = 0; i < ACTORS; i++)
        child_succeeds(actors[i]);
    ck_assert_int_eq(board->worst, 0);
    ck_assert_int_gt(board->most, 1);
    ck_assert_int_eq(count("wait/"), 0);
    ck_assert_int_eq(count("reader/"), 0);
    printf("%d reads, %d at a time, and %d writes, the leader killed twice; longest wait %.2f s\n",
           board->reads, board->most, board->writes, (double)board->longest / 1e9);
    assert_code(shk_segment_unlink(etcd_name()), 0);
}
END_TEST

START_TEST(test_etcd_rwlock_without_a_majority_says_so_and_is_free_afterwards)
{
    struct shk_segment *s = etcd_segment();
    struct shk_rwlock *lock = open_rwlock(s);

    cluster_kill(0);
    cluster_kill(1);
    assert_code(shk_rwlock_acquire(lock, SHK_NOWAIT), -EHOSTUNREACH);
    assert_code(shk_rwlock_acquire_shared(lock, SHK_MS(300)), -EHOSTUNREACH);
    cluster_start_one(0);
    cluster_start(1);
    cluster_start(0);
    /* what was given up may have been carried out: it is given back, and no member is told */
    assert_code(shk_rwlock_acquire(lock, TEST_DEADLINE), 0);
    assert_code(shk_rwlock_release(lock), 0);
    wait_until(count("reader/") == 0 && count("wait/") == 0 && count("writ") == 0, TEST_DEADLINE);
    close_all(s, lock);
}
END_TEST

static void *acquire_in_thread(void *lock)
{
    int r = shk_rwlock_acquire(lock, SHK_FOREVER);

    if (r == 0)
        r = shk_rwlock_release(lock);
    return (void *)(intptr_t)r;
}

START_TEST(test_etcd_rwlock_waits_through_a_compaction_and_ends_with_an_unlink)
{
    struct shk_segment *s = etcd_segment();
    struct shk_rwlock *lock = open_rwlock(s);
    pthread_t thread;
    void *result;

    assert_code(shk_rwlock_acquire_shared(lock, SHK_NOWAIT), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, acquire_in_thread, lock), 0);
    wait_until(count("wait/w.") == 1, TEST_DEADLINE);
    for (int i = 0; i < SERVERS; i++)
        cluster_stop(i);
    for (int i = 0; i < SERVERS; i++)
        cluster_continue(i);
    cluster_compact();
    assert_code(shk_rwlock_release(lock), 0);
    pthread_join(thread, &result);
    assert_result((intptr_t)result, 0);
    assert_code(shk_rwlock_acquire_shared(lock, SHK_NOWAIT), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, acquire_in_thread, lock), 0);
    wait_until(count("wait/w.") == 1, TEST_DEADLINE);
    assert_code(shk_object_unlink(s, "books"), 0);
    pthread_join(thread, &result);
    assert_result((intptr_t)result, -ESTALE);
    assert_code(shk_rwlock_release(lock), 0); /* what is unlinked can be released */
    close_all(s, lock);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("rwlock on etcd");
    TCase *turns = test_case(suite, "turns"), *deaths = test_case(suite, "deaths"),
          *servers = test_case(suite, "servers");

    setenv("SHMKIT_ETCD_TTL", "2", 1);
    tcase_add_test(turns, test_etcd_rwlock_is_shared_or_held_alone);
    tcase_add_test(turns, test_etcd_rwlock_lets_readers_in_between_two_writers);
    tcase_add_test(turns, test_etcd_rwlock_lets_no_new_reader_pass_a_writer_that_waits);
    tcase_add_test(deaths, test_etcd_rwlock_of_a_killed_writer_tells_all_until_it_is_mended);
    tcase_add_test(deaths, test_etcd_rwlock_is_free_after_a_reader_was_killed);
    tcase_add_test(deaths, test_etcd_rwlock_of_a_frozen_writer_is_refused_when_it_wakes);
    tcase_add_test(deaths, test_etcd_rwlock_of_a_frozen_reader_is_refused_when_it_wakes);
    tcase_add_test(servers, test_etcd_rwlock_excludes_writers_when_the_leader_is_killed);
    tcase_add_test(servers, test_etcd_rwlock_without_a_majority_says_so_and_is_free_afterwards);
    tcase_add_test(servers, test_etcd_rwlock_waits_through_a_compaction_and_ends_with_an_unlink);
    return run_with_cluster(suite);
}
