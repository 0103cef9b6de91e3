/* The stream on etcd: its samples in order, what is missed, and servers that are killed. */
#include "cluster.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What the processes of a test tell each other. */
struct board {
    _Atomic int64_t appended, got[2], dropped[2];
    _Atomic int ready, wrong, failed;
    _Atomic bool ends, all_appended;
};

static struct shk_stream *open_stream(struct shk_segment *s, size_t history)
{
    const struct shk_stream_options options = {.sample_size = sizeof(int64_t), .history = history};
    struct shk_stream *stream;

    assert_code(shk_stream_open(s, "eeg", SHK_CREATE, &options, &stream), 0);
    return stream;
}

static struct shk_reader *open_reader(struct shk_stream *stream, uint32_t from)
{
    struct shk_reader *reader;

    assert_code(shk_reader_open(stream, from, &reader), 0);
    return reader;
}

static void close_all(struct shk_segment *s, struct shk_stream *stream)
{
    assert_code(shk_stream_close(stream), 0);
    assert_code(shk_segment_close(s), 0);
    assert_code(shk_segment_unlink(etcd_name()), 0);
}

static int blocks(void)
{
    char prefix[200];

    snprintf(prefix, sizeof(prefix), "/shmkit/%s/eeg/block/", strchr(etcd_name(), ':') + 1);
    return cluster_count(prefix);
}

/* The samples are their positions. */
static void append(struct shk_stream *stream, int64_t from, size_t n)
{
    int64_t *samples = calloc(n, sizeof(*samples));

    for (size_t i = 0; i < n; i++)
        samples[i] = from + (int64_t)i;
    assert_code(shk_stream_append(stream, samples, n), 0);
    free(samples);
}

/* What comes in several reads: the samples of each append may come a moment later. */
static void read_all(struct shk_reader *reader, int64_t *samples, size_t n)
{
    ssize_t some;

    for (size_t got = 0; got < n; got += (size_t)some) {
        some = shk_reader_read(reader, samples + got, n - got, TEST_DEADLINE);
        ck_assert_msg(some > 0, "it gave %s: %s", code_name(some), shk_last_error());
    }
}

START_TEST(test_etcd_stream_gives_samples_in_order)
{
    struct shk_segment *s = etcd_segment();
    struct shk_stream *stream = open_stream(s, 100), *other;
    struct shk_reader *next = open_reader(stream, SHK_NEXT), *oldest, *none;
    int64_t got[100];
    double rate;

    assert_code(shk_stream_sample_size(stream), sizeof(int64_t));
    assert_code(shk_stream_history(stream), 100);
    assert_code(shk_stream_channels(stream), 1);
    assert_code(shk_stream_is_stamped(stream), 0);
    assert_code(shk_stream_position(stream), 0);
    assert_code(shk_reader_latest(next, got, 10), 0);
    assert_code(shk_reader_read(next, got, 10, SHK_NOWAIT), -EAGAIN);
    assert_code_after(SHK_MS(300), shk_reader_read(next, got, 10, SHK_MS(300)), -ETIMEDOUT);
    append(stream, 0, 60);
    append(stream, 60, 10);
    assert_code(shk_stream_position(stream), 70);
    read_all(next, got, 65);
    for (int i = 0; i < 65; i++)
        ck_assert_int_eq(got[i], i);
    read_all(next, got, 5);
    ck_assert_int_eq(got[4], 69);
    assert_code(shk_reader_read(next, got, 65, SHK_NOWAIT), -EAGAIN);
    oldest = open_reader(stream, SHK_OLDEST);
    read_all(oldest, got, 70);
    ck_assert_int_eq(got[0], 0);
    assert_code(shk_reader_latest(oldest, got, 3), 3);
    ck_assert_int_eq(got[0], 67);
    assert_code(shk_reader_dropped(oldest), 0);
    assert_code(shk_stream_set_rate(stream, 250.5), 0);
    assert_code(shk_stream_set_rate(stream, 250.5), 0);
    assert_code(shk_stream_set_rate(stream, -1), -EINVAL);
    assert_code(shk_stream_rate(stream, &rate), 0);
    ck_assert_double_eq(rate, 250.5);
    assert_code(shk_stream_append_stamped(stream, got, got, 1), -EINVAL);
    assert_code(shk_reader_read_stamped(oldest, got, got, 1, SHK_NOWAIT), -EINVAL);
    assert_code(shk_stream_append(stream, NULL, 1), -EINVAL);
    assert_code(shk_reader_open(stream, 2, &none), -EINVAL);
    assert_code(
        shk_stream_open(s, "eeg", 0, &(struct shk_stream_options){.sample_size = 4}, &other),
        -EPROTOTYPE);
    assert_code(shk_stream_open(s, "eeg", 0, &(struct shk_stream_options){.stamped = 1}, &other),
                -EPROTOTYPE);
    assert_code(shk_stream_open(s, "other", SHK_CREATE, NULL, &other), -EINVAL);
    assert_code(
        shk_wait_any(
            &(struct shk_ready){.kind = SHK_KIND_STREAM, .object = oldest, .want = SHK_READABLE}, 1,
            SHK_NOWAIT),
        -EAGAIN);
    assert_code(shk_reader_close(next), 0);
    assert_code(shk_reader_close(oldest), 0);
    close_all(s, stream);
}
END_TEST

START_TEST(test_etcd_stream_keeps_its_history_and_counts_what_was_missed)
{
    enum { HISTORY = 40 };
    struct shk_segment *s = etcd_segment();
    struct shk_stream *stream = open_stream(s, HISTORY);
    struct shk_reader *slow = open_reader(stream, SHK_OLDEST), *late;
    int64_t got[3 * HISTORY], position = 0;
    ssize_t n;

    for (int i = 0; i < 30; i++, position += 7)
        append(stream, position, 7);
    ck_assert_int_le(blocks(), HISTORY / 7 + 4);
    /* what this process has of the stream may come a moment later */
    while (shk_reader_latest(slow, got, 1) != 1 || got[0] != position - 1)
        pause_briefly();
    late = open_reader(stream, SHK_OLDEST);
    n = shk_reader_read(late, got, 3 * HISTORY, SHK_NOWAIT);
    ck_assert_int_eq(n, HISTORY);
    ck_assert_int_eq(got[0], position - HISTORY);
    assert_code(shk_reader_dropped(late), 0);
    n = shk_reader_read(slow, got, 3 * HISTORY, SHK_NOWAIT);
    ck_assert_int_ge(n, HISTORY);
    ck_assert_int_eq(got[0], position - n);
    ck_assert_int_eq(got[n - 1], position - 1);
    assert_code(shk_reader_dropped(slow), position - n);
    append(stream, position, 1000); /* only the last of these are there at all */
    position += 1000;
    read_all(late, got, HISTORY);
    ck_assert_int_eq(got[0], position - HISTORY);
    assert_code(shk_reader_dropped(late), 1000 - HISTORY);
    assert_code(shk_stream_position(stream), position);
    assert_code(shk_reader_latest(late, got, 1000), HISTORY);
    ck_assert_int_le(blocks(), HISTORY / 7 + 10);
    assert_code(shk_reader_close(slow), 0);
    assert_code(shk_stream_close(stream), 0);
    assert_code(shk_reader_dropped(late), 1000 - HISTORY); /* the reader keeps the stream */
    assert_code(shk_reader_close(late), 0);
    assert_code(shk_segment_close(s), 0);
    assert_code(shk_segment_unlink(etcd_name()), 0);
}
END_TEST

START_TEST(test_etcd_stream_has_channels_and_time_stamps)
{
    const struct shk_stream_options options = {
        .sample_size = 6, .channels = 3, .stamped = 1, .rate = 100};
    struct shk_segment *s = etcd_segment();
    const int64_t stamps[] = {10, -20};
    int16_t samples[] = {1, 2, 3, -4, 5, 6}, got[9];
    struct shk_stream *stream;
    struct shk_reader *reader;
    int64_t times[3];
    double rate;

    assert_code(shk_stream_open(s, "eeg", SHK_CREATE, &options, &stream), 0);
    assert_code(shk_stream_channels(stream), 3);
    assert_code(shk_stream_is_stamped(stream), 1);
    assert_code(shk_stream_rate(stream, &rate), 0);
    ck_assert_double_eq(rate, 100);
    reader = open_reader(stream, SHK_NEXT);
    assert_code(shk_stream_append_stamped(stream, samples, stamps, 2), 0);
    assert_code(shk_stream_append(stream, samples, 1), 0);
    while (shk_reader_latest(reader, got, 3) < 3)
        pause_briefly();
    assert_code(shk_reader_read_stamped(reader, got, times, 3, SHK_FOREVER), 3);
    ck_assert_mem_eq(got, samples, sizeof(samples));
    ck_assert_int_eq(times[0], 10);
    ck_assert_int_eq(times[1], -20);
    ck_assert_int_gt(times[2], SHK_SEC(INT64_C(1700000000)));
    assert_code(shk_reader_latest_stamped(reader, got, times, 2), 2);
    ck_assert_int_eq(times[0], -20);
    assert_code(shk_reader_close(reader), 0);
    close_all(s, stream);
}
END_TEST

START_TEST(test_etcd_stream_takes_appends_of_a_mebibyte)
{
    struct shk_segment *s = etcd_segment();
    struct shk_stream *stream = open_stream(s, 200000);
    struct shk_reader *reader = open_reader(stream, SHK_NEXT);
    enum { N = (1 << 20) / 8 };
    int64_t *got = calloc(N, sizeof(*got));
    ssize_t n = 0, some;

    append(stream, 0, N);
    while (n < N) {
        some = shk_reader_read(reader, got + n, (size_t)(N - n), TEST_DEADLINE);
        ck_assert_int_gt(some, 0);
        n += some;
    }
    for (int i = 0; i < N; i++)
        ck_assert_int_eq(got[i], i);
    assert_code(shk_stream_append(stream, got, N + 1), -EMSGSIZE);
    free(got);
    assert_code(shk_reader_close(reader), 0);
    close_all(s, stream);
}
END_TEST

/* Two writers append; each sample tells which of them, and its number. */
static int write_on(struct board *board, int64_t number)
{
    struct shk_segment *s = etcd_segment();
    struct shk_stream *stream = open_stream(s, 2000);
    int64_t samples[5], next = 0;

    while (!board->ends) {
        for (int i = 0; i < 5; i++)
            samples[i] = number << 32 | next++;
        if (shk_stream_append(stream, samples, 5) != 0) {
            fprintf(stderr, "append: %s\n", shk_last_error());
            board->failed = 1;
            return 1;
        }
        board->appended += 5;
        usleep(2000);
    }
    shk_stream_close(stream);
    shk_segment_close(s);
    return 0;
}

static int write_first(void *board)
{
    return write_on(board, 0);
}

static int write_second(void *board)
{
    return write_on(board, 1);
}

static int read_on(struct board *board, int number)
{
    struct shk_segment *s = etcd_segment();
    struct shk_stream *stream = open_stream(s, 2000);
    struct shk_reader *reader = open_reader(stream, SHK_OLDEST);
    int64_t got[64], next[2] = {0, 0};
    ssize_t n;

    board->ready++;
    for (;;) {
        n = shk_reader_read(reader, got, 64, board->all_appended ? SHK_NOWAIT : SHK_MS(500));
        if (n == -EAGAIN)
            break;
        if (n < 0 && n != -ETIMEDOUT) {
            fprintf(stderr, "read: %s\n", shk_last_error());
            board->failed = 1;
            return 1;
        }
        board->dropped[number] = shk_reader_dropped(reader);
        for (ssize_t i = 0; i < n; i++) {
            int64_t writer = got[i] >> 32 & 1, sample = got[i] & UINT32_MAX;

            if (board->dropped[number] == 0 ? sample != next[writer] : sample < next[writer])
                board->wrong++;
            next[writer] = sample + 1;
        }
        if (n > 0)
            board->got[number] += n;
    }
    shk_reader_close(reader);
    shk_stream_close(stream);
    shk_segment_close(s);
    return 0;
}

static int read_first(void *board)
{
    return read_on(board, 0);
}

static int read_second(void *board)
{
    return read_on(board, 1);
}

static int64_t count_appended(void *argument)
{
    struct board *board = argument;

    return board->failed ? COUNT_FAILED : board->appended;
}

START_TEST(test_etcd_stream_loses_and_doubles_nothing_when_the_leader_is_killed)
{
    struct board *board = shared_memory(sizeof(*board));
    pid_t readers[2], writers[2];

    readers[0] = child_start(read_first, board);
    readers[1] = child_start(read_second, board);
    wait_until(board->ready == 2, TEST_DEADLINE);
    writers[0] = child_start(write_first, board);
    writers[1] = child_start(write_second, board);
    wait_until(board->appended >= 100 || board->failed, TEST_DEADLINE);
    cluster_kill_leaders(2, count_appended, board, 200);
    ck_assert_int_eq(board->failed, 0);
    board->ends = true;
    for (int i = 0; i < 2; i++)
        child_succeeds(writers[i]);
    board->all_appended = true;
    for (int i = 0; i < 2; i++)
        child_succeeds(readers[i]);
    printf("%lld samples appended by 2 writers, the leader killed twice; got %lld and %lld, missed "
           "%lld and %lld, out of order or twice %d\n",
           (long long)board->appended, (long long)board->got[0], (long long)board->got[1],
           (long long)board->dropped[0], (long long)board->dropped[1], board->wrong);
    ck_assert_int_eq(board->wrong, 0);
    ck_assert_int_eq(board->dropped[0] + board->dropped[1], 0);
    ck_assert_int_eq(board->got[0], board->appended);
    ck_assert_int_eq(board->got[1], board->appended);
    assert_code(shk_segment_unlink(etcd_name()), 0);
}
END_TEST

/* A reader is stopped for longer than its lease, and than the history lasts; a writer is killed. */
START_TEST(test_etcd_stream_goes_on_beside_a_frozen_reader_and_a_killed_writer)
{
    struct board *board = shared_memory(sizeof(*board));
    pid_t reader = child_start(read_first, board), writer;
    struct shk_segment *s = etcd_segment();
    struct shk_stream *stream = open_stream(s, 2000);
    int64_t position;

    wait_until(board->ready == 1, TEST_DEADLINE);
    writer = child_start(write_second, board);
    wait_until(board->got[0] >= 50 || board->failed, TEST_DEADLINE);
    child_stop(reader);
    child_kill(writer);
    position = shk_stream_position(stream);
    ck_assert_int_eq(position % 5, 0);
    for (int i = 0; i < 30; i++) {
        int64_t samples[100];

        for (int k = 0; k < 100; k++)
            samples[k] = i * 100 + k;
        assert_code(shk_stream_append(stream, samples, 100), 0);
    }
    sleep(3);
    child_continue(reader);
    wait_until(board->got[0] + board->dropped[0] == position + 3000, TEST_DEADLINE);
    printf("a reader that was stopped has got %lld samples, and missed %lld\n",
           (long long)board->got[0], (long long)board->dropped[0]);
    ck_assert_int_eq(board->wrong, 0);
    board->all_appended = true;
    child_succeeds(reader);
    close_all(s, stream);
}
END_TEST

static void *read_in_thread(void *reader)
{
    int64_t sample;

    return (void *)(intptr_t)shk_reader_read(reader, &sample, 1, SHK_FOREVER);
}

START_TEST(test_etcd_stream_waits_without_requests_through_a_compaction_and_ends_with_an_unlink)
{
    struct shk_segment *s = etcd_segment();
    struct shk_stream *stream = open_stream(s, 100);
    struct shk_reader *reader = open_reader(stream, SHK_NEXT);
    unsigned long before, after;
    pthread_t thread;
    void *result;

    ck_assert_int_eq(pthread_create(&thread, NULL, read_in_thread, reader), 0);
    sleep(1);
    before = cluster_requests();
    sleep(4);
    after = cluster_requests();
    printf("%lu requests in 4 s of waiting, with a lease of 2 s\n", after - before);
    ck_assert_uint_le(after - before, 15); /* keep-alives: 6, and some are passed on */
    cluster_restart();
    append(stream, 0, 5);
    cluster_compact();
    pthread_join(thread, &result);
    assert_result((intptr_t)result, 1);
    read_all(reader, (int64_t[10]){0}, 4);
    assert_code(shk_reader_dropped(reader), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, read_in_thread, reader), 0);
    sleep(1);
    assert_code(shk_object_unlink(s, "eeg"), 0);
    pthread_join(thread, &result);
    assert_result((intptr_t)result, -ESTALE);
    assert_code(shk_stream_append(stream, &(int64_t){0}, 1), -ESTALE);
    assert_code(shk_reader_close(reader), 0);
    close_all(s, stream);
}
END_TEST

START_TEST(test_etcd_stream_without_a_majority_says_so)
{
    struct shk_segment *s = etcd_segment();
    struct shk_stream *stream = open_stream(s, 100);
    struct shk_reader *reader = open_reader(stream, SHK_OLDEST);
    int64_t got[10];
    ssize_t n;

    append(stream, 0, 1);
    cluster_kill(0);
    cluster_kill(1);
    assert_code(shk_stream_append(stream, &(int64_t){1}, 1), -EHOSTUNREACH);
    cluster_start_one(0);
    cluster_start(1);
    cluster_start(0);
    /* it may have been appended, or still be; then it has been once */
    append(stream, 2, 1);
    n = shk_stream_position(stream);
    ck_assert_int_ge(n, 2);
    ck_assert_int_le(n, 3);
    for (ssize_t i = 0; i < n; i++)
        assert_code(shk_reader_read(reader, &got[i], 1, TEST_DEADLINE), 1);
    ck_assert_int_eq(got[0], 0);
    ck_assert_int_eq(got[n - 1], 2);
    assert_code(shk_reader_close(reader), 0);
    close_all(s, stream);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("stream on etcd");
    TCase *samples = test_case(suite, "samples"), *deaths = test_case(suite, "deaths"),
          *servers = test_case(suite, "servers");

    setenv("SHMKIT_ETCD_TTL", "2", 1);
    tcase_add_test(samples, test_etcd_stream_gives_samples_in_order);
    tcase_add_test(samples, test_etcd_stream_keeps_its_history_and_counts_what_was_missed);
    tcase_add_test(samples, test_etcd_stream_has_channels_and_time_stamps);
    tcase_add_test(samples, test_etcd_stream_takes_appends_of_a_mebibyte);
    tcase_add_test(deaths, test_etcd_stream_goes_on_beside_a_frozen_reader_and_a_killed_writer);
    tcase_add_test(servers, test_etcd_stream_loses_and_doubles_nothing_when_the_leader_is_killed);
    tcase_add_test(
        servers,
        test_etcd_stream_waits_without_requests_through_a_compaction_and_ends_with_an_unlink);
    tcase_add_test(servers, test_etcd_stream_without_a_majority_says_so);
    return run_with_cluster(suite);
}
