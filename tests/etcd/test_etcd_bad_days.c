/*
 * What goes wrong on some day: the network is cut, the clock is set, history is compacted beneath a
 * watch, values are not shmkit's, items are as large as they can be.
 */
#include "cluster.h"
#include "proxy.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define TTL 2 /* seconds */

static struct shk_queue *open_queue(struct shk_segment *s, size_t capacity)
{
    const struct shk_queue_options options = {.capacity = capacity, .item_size = 64};
    struct shk_queue *queue;

    assert_code(shk_queue_open(s, "jobs", SHK_CREATE, &options, &queue), 0);
    return queue;
}

static struct shk_lock *open_lock(struct shk_segment *s)
{
    struct shk_lock *lock;

    assert_code(shk_lock_open(s, "till", SHK_CREATE, NULL, &lock), 0);
    return lock;
}

static void key_of(char key[200], const char *part)
{
    snprintf(key, 200, "/shmkit/%s/%s", strchr(etcd_name(), ':') + 1, part);
}

/* ---- The clock ---- */

/*
 * The wall clock that this program and its libraries see may be another one at each look: hours
 * ahead, or years back. No wait, lease or deadline depends on it.
 */
static _Atomic bool clock_is_mad;
static _Atomic unsigned looks;

static int64_t madness(void)
{
    static const int64_t steps[] = {3600, -86400, 7, -3, 31536000, -31536000, 0};

    return clock_is_mad ? steps[looks++ % (sizeof(steps) / sizeof(*steps))] : 0;
}

int clock_gettime(clockid_t clock, struct timespec *t)
{
    int r = (int)syscall(SYS_clock_gettime, clock, t);

    if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)
        t->tv_sec += (time_t)madness();
    return r;
}

int gettimeofday(struct timeval *restrict t, void *restrict zone)
{
    struct timespec now;

    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    *t = (struct timeval){now.tv_sec, now.tv_nsec / 1000};
    return 0;
}

time_t time(time_t *at)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    if (at)
        *at = now.tv_sec;
    return now.tv_sec;
}

START_TEST(test_etcd_goes_on_when_the_clock_is_set)
{
    struct shk_segment *s = etcd_segment();
    struct shk_queue *queue = open_queue(s, 4);
    struct shk_lock *lock = open_lock(s);
    int64_t end = time_now() + SHK_SEC(3 * TTL);
    char item[64];
    int rounds = 0;

    clock_is_mad = true;
    ck_assert_int_ne(time(NULL), time(NULL));
    looks = 0;
    assert_code(shk_lock_acquire(lock, SHK_FOREVER), 0);
    while (time_now() < end) {
        assert_code(shk_queue_put(queue, "one", 3, SHK_FOREVER), 0);
        assert_code(shk_queue_get(queue, item, sizeof(item), TEST_DEADLINE), 3);
        rounds++;
    }
    assert_code_after(SHK_MS(300), shk_queue_get(queue, item, sizeof(item), SHK_MS(300)),
                      -ETIMEDOUT);
    assert_code(shk_lock_release(lock), 0); /* its lease was kept for three times as long */
    clock_is_mad = false;
    printf("the clock was set %u times in %d rounds of put and get; a lock was held for 3 leases\n",
           (unsigned)looks, rounds);
    assert_code(shk_lock_close(lock), 0);
    assert_code(shk_queue_close(queue), 0);
    assert_code(shk_segment_close(s), 0);
    assert_code(shk_segment_unlink(etcd_name()), 0);
}
END_TEST

/* ---- Cut off ---- */

struct board {
    const char *endpoints;
    _Atomic bool has, woken, ends;
    _Atomic int peeked, released, consumed, waited, again;
    _Atomic int64_t token;
};

struct waiter {
    struct shk_event *event;
    struct board *board;
};

static void *wait_for_event(void *argument)
{
    struct waiter *w = argument;

    w->board->waited = shk_event_wait(w->event, SHK_FOREVER);
    w->board->woken = true;
    return NULL;
}

static int hold_behind_the_proxy(void *argument)
{
    struct board *board = argument;
    struct waiter waiter = {.board = board};
    struct shk_segment *s;
    struct shk_queue *queue;
    struct shk_lock *lock;
    pthread_t thread;
    const void *item;
    uint64_t token;

    setenv("ETCDCTL_ENDPOINTS", board->endpoints, 1);
    s = etcd_segment();
    queue = open_queue(s, 0);
    lock = open_lock(s);
    assert_code(shk_event_open(s, "go", SHK_CREATE, NULL, &waiter.event), 0);
    assert_code(shk_lock_acquire(lock, SHK_FOREVER), 0);
    assert_code(shk_lock_token(lock, &token), 0);
    board->token = (int64_t)token;
    board->peeked = (int)shk_queue_peek(queue, &item, SHK_FOREVER);
    pthread_create(&thread, NULL, wait_for_event, &waiter);
    board->has = true;
    while (!board->ends)
        pause_briefly();
    board->released = shk_lock_release(lock);
    board->consumed = shk_queue_consume(queue);
    pthread_join(thread, NULL);
    /* and it goes on, with another lease */
    board->again = shk_lock_acquire(lock, SHK_FOREVER);
    board->again = board->again < 0 ? board->again : shk_lock_release(lock);
    if (board->again == 0)
        board->again = (int)shk_queue_peek(queue, &item, TEST_DEADLINE);
    if (board->again > 0)
        board->again = shk_queue_consume(queue);
    shk_event_close(waiter.event);
    shk_lock_close(lock);
    shk_queue_close(queue);
    shk_segment_close(s);
    return 0;
}

START_TEST(test_etcd_process_that_is_cut_off_loses_what_it_held_and_comes_back)
{
    struct board *board = shared_memory(sizeof(*board));
    struct proxy *proxy = proxy_start(&board->endpoints);
    struct shk_segment *s = etcd_segment();
    struct shk_queue *queue = open_queue(s, 0);
    struct shk_lock *lock = open_lock(s);
    struct shk_event *event;
    pid_t holder;
    char item[64];
    uint64_t token;
    int64_t cut;

    assert_code(shk_event_open(s, "go", SHK_CREATE, NULL, &event), 0);
    assert_code(shk_queue_put(queue, "one", 3, SHK_FOREVER), 0);
    holder = child_start(hold_behind_the_proxy, board);
    wait_until(board->has, TEST_DEADLINE);
    assert_result(board->peeked, 3);
    assert_code(shk_lock_acquire(lock, SHK_NOWAIT), -EAGAIN);
    proxy_cut(proxy);
    cut = time_now();
    assert_code(shk_lock_acquire(lock, TEST_DEADLINE), SHK_ORPHANED);
    printf("cut off: the next holder has the lock %.2f s later, with a lease of %d s\n",
           (double)(time_now() - cut) / 1e9, TTL);
    assert_code(shk_lock_token(lock, &token), 0);
    ck_assert_int_gt((int64_t)token, board->token);
    assert_code(shk_queue_get(queue, item, sizeof(item), TEST_DEADLINE), 3);
    assert_code(shk_event_set(event), 0);
    while (time_now() < cut + SHK_SEC(3 * TTL))
        pause_briefly();
    ck_assert(!board->woken);
    proxy_mend(proxy);
    wait_until(board->woken, TEST_DEADLINE);
    assert_result(board->waited, 0);
    assert_code(shk_lock_release(lock), 0);
    assert_code(shk_queue_put(queue, "two", 3, SHK_FOREVER), 0);
    board->ends = true;
    child_succeeds(holder);
    assert_result(board->released, -ESTALE);
    assert_result(board->consumed, -ESTALE);
    assert_result(board->again, 0);
    assert_code(shk_queue_size(queue), 0);
    proxy_stop(proxy);
    assert_code(shk_event_close(event), 0);
    assert_code(shk_lock_close(lock), 0);
    assert_code(shk_queue_close(queue), 0);
    assert_code(shk_segment_close(s), 0);
    assert_code(shk_segment_unlink(etcd_name()), 0);
}
END_TEST

/* ---- Compaction ---- */

struct reader {
    _Atomic bool waits;
    _Atomic unsigned got, last;
};

static int read_all(void *argument)
{
    struct reader *reader = argument;
    struct shk_segment *s = etcd_segment();
    struct shk_queue *queue = open_queue(s, 0);
    char item[64];
    ssize_t n;

    assert_code(shk_queue_get(queue, item, sizeof(item) - 1, SHK_FOREVER), 5);
    reader->waits = true;
    while ((n = shk_queue_get(queue, item, sizeof(item) - 1, SHK_FOREVER)) > 0) {
        item[n] = '\0';
        ck_assert_uint_gt((unsigned)atoi(item), reader->last);
        reader->last = (unsigned)atoi(item);
        reader->got++;
    }
    return n == -EPIPE ? 0 : 1;
}

/* A watch that is stopped, and whose next events have been compacted when it goes on. */
START_TEST(test_etcd_watch_that_has_missed_what_was_compacted_reads_anew)
{
    struct reader *reader = shared_memory(sizeof(*reader));
    pid_t child = child_start(read_all, reader);
    struct shk_segment *s = etcd_segment();
    struct shk_queue *queue = open_queue(s, 0);
    char item[64];

    assert_code(shk_queue_put(queue, "first", 5, SHK_FOREVER), 0);
    wait_until(reader->waits, TEST_DEADLINE);
    for (unsigned round = 0; round < 3; round++) {
        unsigned all = (round + 1) * 20;

        child_stop(child);
        for (unsigned i = all - 19; i <= all; i++) {
            snprintf(item, sizeof(item), "%u", i);
            assert_code(shk_queue_put(queue, item, strlen(item), SHK_FOREVER), 0);
        }
        /* and its servers are other ones: the watch begins again, at a revision that is gone */
        cluster_compact();
        cluster_restart();
        child_continue(child);
        wait_until(reader->got == all, TEST_DEADLINE);
    }
    assert_code(shk_queue_shutdown(queue), 0);
    child_succeeds(child);
    printf("3 compactions beneath a watch: 60 items put, %u got, in order\n",
           (unsigned)reader->got);
    ck_assert_uint_eq(reader->got, 60);
    assert_code(shk_queue_close(queue), 0);
    assert_code(shk_segment_close(s), 0);
    assert_code(shk_segment_unlink(etcd_name()), 0);
}
END_TEST

/* ---- Values ---- */

START_TEST(test_etcd_values_that_are_not_shmkits_are_no_end)
{
    struct shk_segment *s = etcd_segment();
    struct shk_queue *queue;
    struct shk_lock *lock = open_lock(s);
    char key[200];

    key_of(key, "till/holder");
    cluster_put(key, "\x01 no JSON");
    assert_code(shk_lock_acquire(lock, SHK_NOWAIT), -EAGAIN);
    ck_assert_int_gt(shk_lock_is_held(lock), 0);
    assert_code_after(SHK_MS(200), shk_lock_acquire(lock, SHK_MS(200)), -ETIMEDOUT);
    key_of(key, "jobs/.object");
    cluster_put(key,
                "{\"shmkit\":1,\"kind\":\"queue\",\"order\":9,\"capacity\":1,\"item_size\":1}");
    assert_code(shk_queue_open(s, "jobs", 0, NULL, &queue), -EPROTO);
    cluster_put(key,
                "{\"shmkit\":1,\"kind\":\"queue\",\"order\":0,\"capacity\":-4,\"item_size\":1}");
    assert_code(shk_queue_open(s, "jobs", 0, NULL, &queue), -EPROTO);
    cluster_put(key, "{\"shmkit\":1,\"kind\":\"theorem\"}");
    assert_code(shk_queue_open(s, "jobs", 0, NULL, &queue), -EPROTOTYPE);
    cluster_put(key, "[[[[[[");
    assert_code(shk_queue_open(s, "jobs", 0, NULL, &queue), -EPROTO);
    cluster_put(key,
                "{\"shmkit\":1,\"kind\":\"queue\",\"order\":0,\"capacity\":0,\"item_size\":8}");
    assert_code(shk_queue_open(s, "jobs", 0, NULL, &queue), 0);
    key_of(key, "jobs/.state");
    cluster_put(key, "ajar");
    assert_code(shk_queue_is_shut_down(queue), 0);
    key_of(key, "jobs/slot.claim/none");
    cluster_put(key, "");
    key_of(key, "jobs/strange/thing");
    cluster_put(key, "x");
    assert_code(shk_queue_size(queue), 0);
    assert_code(shk_queue_close(queue), 0);
    assert_code(shk_lock_close(lock), 0);
    assert_code(shk_segment_close(s), 0);
    assert_code(shk_segment_unlink(etcd_name()), 0);
}
END_TEST

START_TEST(test_etcd_items_are_up_to_a_mebibyte)
{
    enum { LARGE = 1 << 20, ITEMS = 5 };
    const struct shk_queue_options options = {.item_size = LARGE},
                                   larger = {.item_size = LARGE + 1};
    struct shk_segment *s = etcd_segment();
    struct shk_queue *queue;
    struct iovec in[ITEMS], out[ITEMS];
    unsigned char *bytes = malloc(2 * (size_t)ITEMS * LARGE);

    assert_code(shk_queue_open(s, "large", SHK_CREATE, &larger, &queue), -EINVAL);
    assert_code(shk_queue_open(s, "large", SHK_CREATE, &options, &queue), 0);
    for (size_t i = 0; i < (size_t)ITEMS * LARGE; i++)
        bytes[i] = (unsigned char)(i * 7 + i / 251);
    for (size_t i = 0; i < ITEMS; i++) {
        in[i] = (struct iovec){bytes + i * LARGE, LARGE};
        out[i] = (struct iovec){bytes + (ITEMS + i) * LARGE, LARGE};
    }
    assert_code(shk_queue_put(queue, bytes, LARGE + 1, SHK_FOREVER), -EMSGSIZE);
    assert_code(shk_queue_put_many(queue, in, ITEMS, SHK_FOREVER), ITEMS);
    for (size_t i = 0; i < ITEMS; i++)
        assert_code(shk_queue_get(queue, out[i].iov_base, LARGE, TEST_DEADLINE), LARGE);
    ck_assert_int_eq(memcmp(bytes, bytes + (size_t)ITEMS * LARGE, (size_t)ITEMS * LARGE), 0);
    free(bytes);
    assert_code(shk_queue_close(queue), 0);
    assert_code(shk_segment_close(s), 0);
    assert_code(shk_segment_unlink(etcd_name()), 0);
}
END_TEST

/* ---- Endpoints ---- */

START_TEST(test_etcd_endpoints_that_do_not_answer_are_passed_by)
{
    char endpoints[300];
    struct shk_segment *s;

    snprintf(endpoints, sizeof(endpoints), "http://127.0.0.1:1,%s", getenv("ETCDCTL_ENDPOINTS"));
    setenv("ETCDCTL_ENDPOINTS", endpoints, 1);
    s = etcd_segment();
    assert_code(shk_segment_close(s), 0);
    assert_code(shk_segment_unlink(etcd_name()), 0);
    setenv("ETCDCTL_ENDPOINTS", "no such scheme://127.0.0.1:1", 1);
    assert_code(shk_segment_open(etcd_name(), SHK_CREATE, NULL, &s), -EHOSTUNREACH);
    ck_assert_msg(strstr(shk_last_error(), "no such scheme"), "it says: %s", shk_last_error());
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("bad days on etcd");
    TCase *days = test_case(suite, "days");

    setenv("SHMKIT_ETCD_TTL", "2", 1);
    tcase_add_test(days, test_etcd_goes_on_when_the_clock_is_set);
    tcase_add_test(days, test_etcd_process_that_is_cut_off_loses_what_it_held_and_comes_back);
    tcase_add_test(days, test_etcd_watch_that_has_missed_what_was_compacted_reads_anew);
    tcase_add_test(days, test_etcd_values_that_are_not_shmkits_are_no_end);
    tcase_add_test(days, test_etcd_items_are_up_to_a_mebibyte);
    tcase_add_test(days, test_etcd_endpoints_that_do_not_answer_are_passed_by);
    return run_with_cluster(suite);
}
