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

/* ---- Semaphores ---- */

struct slots {
    _Atomic bool has, ends;
    _Atomic unsigned wants, releases;
};

static struct shk_semaphore *open_slots(struct shk_segment *s, uint32_t owners)
{
    const struct shk_semaphore_options options = {.value = 2, .owners = owners};
    struct shk_semaphore *slots;

    assert_code(shk_semaphore_open(s, "slots", SHK_CREATE, &options, &slots), 0);
    return slots;
}

/* Take what it wants, and give back what it is told to, in the end. */
static int hold_slots(void *argument)
{
    struct slots *board = argument;
    struct shk_segment *s = etcd_segment();
    struct shk_semaphore *slots;

    assert_code(shk_semaphore_open(s, "slots", 0, NULL, &slots), 0);
    assert_code(shk_semaphore_acquire_many(slots, board->wants, SHK_FOREVER), 0);
    board->has = true;
    while (!board->ends)
        pause_briefly();
    if (board->releases)
        assert_code(shk_semaphore_release(slots, board->releases), 0);
    assert_code(shk_semaphore_close(slots), 0);
    assert_code(shk_segment_close(s), 0);
    return 0;
}

/* How many threads wait for permits. */
static int in_line(void)
{
    char prefix[200];

    snprintf(prefix, sizeof(prefix), "/shmkit/%s/slots/wait/", strchr(etcd_name(), ':') + 1);
    return cluster_count(prefix);
}

START_TEST(test_etcd_ready_semaphore_has_a_permit_that_no_waiter_is_to_have)
{
    struct slots *board = shared_memory(sizeof(*board));
    struct shk_segment *s = etcd_segment();
    struct shk_semaphore *slots = open_slots(s, 0);
    struct shk_ready set[] = {{SHK_KIND_SEMAPHORE, SHK_READABLE, slots}};
    pid_t child;

    assert_code(shk_wait_any(set, 1, SHK_NOWAIT), 0);
    assert_code(shk_semaphore_acquire(slots, SHK_NOWAIT), 0);
    assert_code(shk_wait_any(set, 1, SHK_NOWAIT), 0);
    /* the permit that is left is withheld for a waiter that wants two */
    board->wants = board->releases = 2;
    child = child_start(hold_slots, board);
    wait_until(in_line() == 1, TEST_DEADLINE);
    wait_until(shk_wait_any(set, 1, SHK_NOWAIT) == -EAGAIN, TEST_DEADLINE);
    assert_code(shk_semaphore_acquire(slots, SHK_NOWAIT), -EAGAIN);
    assert_code(shk_semaphore_release(slots, 1), 0);
    wait_until(board->has, TEST_DEADLINE);
    assert_code_after(SHK_MS(300), shk_wait_any(set, 1, SHK_MS(300)), -ETIMEDOUT);
    board->ends = true;
    assert_code(shk_wait_any(set, 1, TEST_DEADLINE), 0);
    assert_code(shk_semaphore_acquire(slots, SHK_NOWAIT), 0);
    child_succeeds(child);
    set[0].want = SHK_WRITABLE;
    assert_code(shk_wait_any(set, 1, SHK_NOWAIT), -EINVAL);
    set[0].want = SHK_READABLE;
    assert_code(shk_object_unlink(s, "slots"), 0);
    wait_until(shk_wait_any(set, 1, SHK_NOWAIT) == -ESTALE, TEST_DEADLINE);
    assert_code(shk_semaphore_close(slots), 0);
    end(s);
}
END_TEST

START_TEST(test_etcd_ready_semaphore_has_the_permits_of_a_process_that_died)
{
    struct slots *board = shared_memory(sizeof(*board));
    struct shk_segment *s = etcd_segment();
    struct shk_semaphore *slots = open_slots(s, 1);
    struct shk_ready set[] = {{SHK_KIND_SEMAPHORE, SHK_READABLE, slots}};
    pid_t child;

    board->wants = 2;
    child = child_start(hold_slots, board);
    wait_until(board->has, TEST_DEADLINE);
    wait_until(shk_wait_any(set, 1, SHK_NOWAIT) == -EAGAIN, TEST_DEADLINE);
    child_kill(child);
    assert_code(shk_wait_any(set, 1, TEST_DEADLINE), 0);
    assert_code(shk_semaphore_acquire_many(slots, 2, SHK_NOWAIT), 0);
    assert_code(shk_wait_any(set, 1, SHK_NOWAIT), -EAGAIN);
    assert_code(shk_semaphore_release(slots, 2), 0);
    assert_code(shk_semaphore_close(slots), 0);
    end(s);
}
END_TEST

/* ---- Readers ---- */

static struct shk_stream *open_stream(struct shk_segment *s)
{
    const struct shk_stream_options options = {.sample_size = sizeof(int64_t), .history = 100};
    struct shk_stream *stream;

    assert_code(shk_stream_open(s, "eeg", SHK_CREATE, &options, &stream), 0);
    return stream;
}

static int append_later(void *argument)
{
    struct board *board = argument;
    struct shk_segment *s = etcd_segment();
    struct shk_stream *stream = open_stream(s);
    int64_t samples[] = {1, 2};

    board->ready = true;
    usleep(300000);
    assert_code(shk_stream_append(stream, samples, 2), 0);
    assert_code(shk_stream_close(stream), 0);
    assert_code(shk_segment_close(s), 0);
    return 0;
}

START_TEST(test_etcd_ready_reader_has_samples_that_it_has_not_read)
{
    struct board *board = shared_memory(sizeof(*board));
    struct shk_segment *s = etcd_segment();
    struct shk_stream *stream = open_stream(s);
    struct shk_reader *first, *second;
    int64_t sample;
    pid_t child;

    assert_code(shk_reader_open(stream, SHK_OLDEST, &first), 0);
    assert_code(shk_reader_open(stream, SHK_NEXT, &second), 0);
    struct shk_ready set[] = {{SHK_KIND_STREAM, SHK_READABLE, first},
                              {SHK_KIND_STREAM, SHK_READABLE, second}};
    assert_code(shk_wait_any(set, 2, SHK_NOWAIT), -EAGAIN);
    child = child_start(append_later, board);
    ck_assert_int_ge(shk_wait_any(set, 2, TEST_DEADLINE), 0);
    child_succeeds(child);
    /* ready until it has read all of them */
    assert_code((int)shk_reader_read(first, &sample, 1, SHK_NOWAIT), 1);
    assert_code(shk_wait_any(set, 1, SHK_NOWAIT), 0);
    assert_code((int)shk_reader_read(first, &sample, 1, SHK_NOWAIT), 1);
    ck_assert_int_eq(sample, 2);
    assert_code(shk_wait_any(set, 1, SHK_NOWAIT), -EAGAIN);
    assert_code(shk_wait_any(set, 2, SHK_NOWAIT), 1);
    assert_code(shk_object_unlink(s, "eeg"), 0);
    assert_code(shk_wait_any(set, 1, TEST_DEADLINE), -ESTALE);
    assert_code(shk_reader_close(first), 0);
    assert_code(shk_reader_close(second), 0);
    assert_code(shk_stream_close(stream), 0);
    end(s);
}
END_TEST

START_TEST(test_etcd_ready_descriptor_keeps_a_reader_that_is_closed)
{
    struct board *board = shared_memory(sizeof(*board));
    struct shk_segment *s = etcd_segment();
    struct shk_stream *stream = open_stream(s);
    struct shk_reader *reader;
    struct pollfd fd = {.events = POLLIN};
    uint32_t index = 99;

    assert_code(shk_reader_open(stream, SHK_NEXT, &reader), 0);
    fd.fd = shk_ready_fd(&(struct shk_ready){SHK_KIND_STREAM, SHK_READABLE, reader}, 1);
    ck_assert_int_ge(fd.fd, 0);
    assert_code(shk_reader_close(reader), 0);
    assert_code(shk_stream_close(stream), 0);
    ck_assert_int_eq(poll(&fd, 1, 200), 0);
    child_succeeds(child_start(append_later, board));
    ck_assert_int_eq(poll(&fd, 1, (int)(TEST_DEADLINE / 1000000)), 1);
    ck_assert_int_eq(read(fd.fd, &index, sizeof(index)), sizeof(index));
    ck_assert_uint_eq(index, 0);
    close(fd.fd);
    end(s);
}
END_TEST

/* ---- All done ---- */

static int take_and_wait(void *argument)
{
    struct board *board = argument;
    struct shk_segment *s = etcd_segment();
    struct shk_queue *queue = open_queue(s, 2);
    char item[64];

    assert_code(shk_queue_get(queue, item, sizeof(item), SHK_FOREVER), 3);
    board->ready = true;
    while (!board->ends)
        pause_briefly();
    assert_code(shk_queue_task_done(queue), 0);
    assert_code(shk_queue_close(queue), 0);
    assert_code(shk_segment_close(s), 0);
    return 0;
}

START_TEST(test_etcd_ready_queue_is_done_when_all_tasks_are)
{
    struct board *board = shared_memory(sizeof(*board));
    struct shk_segment *s = etcd_segment();
    struct shk_queue *queue = open_queue(s, 2);
    struct shk_ready set[] = {{SHK_KIND_QUEUE, SHK_ALL_DONE, queue}};
    char item[64];
    pid_t child;

    assert_code(shk_wait_any(set, 1, SHK_NOWAIT), 0);
    assert_code(shk_queue_put(queue, "one", 3, SHK_FOREVER), 0);
    assert_code(shk_wait_any(set, 1, SHK_NOWAIT), -EAGAIN);
    assert_code(shk_queue_put(queue, "two", 3, SHK_FOREVER), 0);
    child = child_start(take_and_wait, board);
    wait_until(board->ready, TEST_DEADLINE);
    assert_code(shk_queue_get(queue, item, sizeof(item), SHK_FOREVER), 3);
    assert_code(shk_wait_any(set, 1, SHK_NOWAIT), -EAGAIN);
    assert_code(shk_queue_task_done(queue), 0);
    assert_code_after(SHK_MS(300), shk_wait_any(set, 1, SHK_MS(300)), -ETIMEDOUT);
    board->ends = true;
    assert_code(shk_wait_any(set, 1, TEST_DEADLINE), 0);
    assert_code(shk_queue_join(queue, SHK_NOWAIT), 0);
    child_succeeds(child);
    /* also when the process that has the last task dies, which the next join tells */
    board->ready = board->ends = false;
    assert_code(shk_queue_put(queue, "one", 3, SHK_FOREVER), 0);
    child = child_start(take_and_wait, board);
    wait_until(board->ready, TEST_DEADLINE);
    assert_code(shk_wait_any(set, 1, SHK_NOWAIT), -EAGAIN);
    child_kill(child);
    assert_code(shk_wait_any(set, 1, TEST_DEADLINE), 0);
    assert_code(shk_queue_join(queue, SHK_NOWAIT), SHK_ORPHANED);
    assert_code(shk_object_unlink(s, "jobs"), 0);
    assert_code(shk_wait_any(set, 1, TEST_DEADLINE), -ESTALE);
    assert_code(shk_queue_close(queue), 0);
    end(s);
}
END_TEST

START_TEST(test_etcd_ready_descriptor_tells_anew_that_all_is_done)
{
    struct shk_segment *s = etcd_segment();
    struct shk_queue *queue = open_queue(s, 2);
    struct shk_ready set[] = {{SHK_KIND_QUEUE, SHK_ALL_DONE, queue}};
    struct pollfd fd = {.fd = shk_ready_fd(set, 1), .events = POLLIN};
    uint64_t ticket;
    uint32_t index;
    char item[64];

    ck_assert_int_ge(fd.fd, 0);
    ck_assert_int_eq(poll(&fd, 1, (int)(TEST_DEADLINE / 1000000)), 1);
    assert_code(shk_queue_put(queue, "one", 3, SHK_FOREVER), 0);
    ck_assert_int_eq(read(fd.fd, &index, sizeof(index)), sizeof(index));
    ck_assert_int_eq(poll(&fd, 1, 500), 0);
    assert_code(shk_queue_lease(queue, item, sizeof(item), TEST_DEADLINE, &ticket), 3);
    ck_assert_int_eq(poll(&fd, 1, 300), 0);
    assert_code(shk_queue_ack(queue, ticket), 0);
    ck_assert_int_eq(poll(&fd, 1, (int)(TEST_DEADLINE / 1000000)), 1);
    close(fd.fd);
    assert_code(shk_queue_close(queue), 0);
    end(s);
}
END_TEST

/* ---- All kinds, in days of all kinds ---- */

enum { QUEUE, DONE, EVENT, SLOTS, READER, KINDS };

struct all {
    struct shk_segment *segment;
    struct shk_queue *queue;
    struct shk_event *event;
    struct shk_semaphore *slots;
    struct shk_stream *stream;
    struct shk_reader *reader;
    struct shk_ready set[KINDS];
};

static void open_all(struct all *a)
{
    a->segment = etcd_segment();
    a->queue = open_queue(a->segment, 2);
    a->event = open_event(a->segment);
    a->slots = open_slots(a->segment, 0);
    a->stream = open_stream(a->segment);
    assert_code(shk_reader_open(a->stream, SHK_OLDEST, &a->reader), 0);
    a->set[QUEUE] = (struct shk_ready){SHK_KIND_QUEUE, SHK_READABLE, a->queue};
    a->set[DONE] = (struct shk_ready){SHK_KIND_QUEUE, SHK_ALL_DONE, a->queue};
    a->set[EVENT] = (struct shk_ready){SHK_KIND_EVENT, SHK_READABLE, a->event};
    a->set[SLOTS] = (struct shk_ready){SHK_KIND_SEMAPHORE, SHK_READABLE, a->slots};
    a->set[READER] = (struct shk_ready){SHK_KIND_STREAM, SHK_READABLE, a->reader};
}

/* None of them is ready: an item has been taken, and all permits. */
static void take_all(struct all *a)
{
    char item[64];

    open_all(a);
    assert_code(shk_semaphore_acquire_many(a->slots, 2, SHK_FOREVER), 0);
    assert_code(shk_queue_put(a->queue, "one", 3, SHK_FOREVER), 0);
    assert_code((int)shk_queue_get(a->queue, item, sizeof(item), TEST_DEADLINE), 3);
}

static void close_all(struct all *a)
{
    assert_code(shk_reader_close(a->reader), 0);
    assert_code(shk_stream_close(a->stream), 0);
    assert_code(shk_semaphore_close(a->slots), 0);
    assert_code(shk_event_close(a->event), 0);
    assert_code(shk_queue_close(a->queue), 0);
    end(a->segment);
}

static void *wait_for_any(void *argument)
{
    struct all *a = argument;

    return (void *)(intptr_t)shk_wait_any(a->set, KINDS, SHK_FOREVER);
}

/* 6 s, and a lease of 2 s: kept alive nine or ten times, and each server may have asked another. */
START_TEST(test_etcd_ready_sets_ask_for_nothing_while_they_wait)
{
    unsigned long before, after;
    pthread_t waiter;
    void *result;
    struct all a;

    take_all(&a);
    ck_assert_int_eq(pthread_create(&waiter, NULL, wait_for_any, &a), 0);
    sleep(1);
    before = cluster_requests();
    sleep(6);
    after = cluster_requests();
    printf("%lu requests in 6 s of waiting\n", after - before);
    ck_assert_uint_le(after - before, 24);
    assert_code(shk_event_set(a.event), 0);
    pthread_join(waiter, &result);
    assert_result((intptr_t)result, EVENT);
    assert_code(shk_queue_task_done(a.queue), 0);
    close_all(&a);
}
END_TEST

/* What makes each of them ready, by a process that comes later. */
static void make_ready(struct all *a, int n)
{
    int64_t sample = 7;

    if (n == QUEUE)
        assert_code(shk_queue_put(a->queue, "two", 3, SHK_FOREVER), 0);
    else if (n == DONE)
        assert_code(shk_queue_task_done(a->queue), 0);
    else if (n == EVENT)
        assert_code(shk_event_set(a->event), 0);
    else if (n == SLOTS)
        assert_code(shk_semaphore_release(a->slots, 1), 0);
    else
        assert_code(shk_stream_append(a->stream, &sample, 1), 0);
}

START_TEST(test_etcd_ready_sets_go_on_when_the_leader_is_killed)
{
    for (int n = 0; n < KINDS; n++) {
        int leader = cluster_leader();
        pthread_t waiter;
        void *result;
        struct all a;

        take_all(&a);
        ck_assert_int_eq(pthread_create(&waiter, NULL, wait_for_any, &a), 0);
        usleep(300000);
        cluster_kill(leader);
        make_ready(&a, n);
        pthread_join(waiter, &result);
        assert_result((intptr_t)result, n);
        cluster_start(leader);
        close_all(&a);
    }
}
END_TEST

struct waiter {
    int kind;
    _Atomic bool waits;
    _Atomic int result;
};

static int wait_for_one(void *argument)
{
    struct waiter *waiter = argument;
    struct all a;

    open_all(&a);
    assert_code(shk_wait_any(a.set + waiter->kind, 1, SHK_MS(100)), -ETIMEDOUT);
    waiter->waits = true;
    waiter->result = shk_wait_any(a.set + waiter->kind, 1, SHK_FOREVER);
    return 0;
}

/*
 * A process that was stopped finds other servers, without the history from where its watches are to
 * go on: they read anew, and no set misses what has come. (An item would keep all from being done.)
 */
START_TEST(test_etcd_ready_sets_go_on_when_history_is_compacted)
{
    struct waiter *waiters = shared_memory(KINDS * sizeof(*waiters));
    pid_t children[KINDS];
    struct all a;

    take_all(&a);
    for (int n = DONE; n < KINDS; n++) {
        waiters[n].kind = n;
        waiters[n].result = 1;
        children[n] = child_start(wait_for_one, &waiters[n]);
    }
    for (int n = DONE; n < KINDS; n++)
        wait_until(waiters[n].waits, TEST_DEADLINE);
    for (int n = DONE; n < KINDS; n++)
        child_stop(children[n]);
    for (int n = DONE; n < KINDS; n++)
        make_ready(&a, n);
    cluster_compact();
    for (int i = 0; i < SERVERS; i++)
        cluster_kill(i);
    for (int i = 0; i < SERVERS; i++)
        cluster_start_one(i);
    cluster_leader();
    for (int n = DONE; n < KINDS; n++)
        child_continue(children[n]);
    for (int n = DONE; n < KINDS; n++) {
        child_succeeds(children[n]);
        assert_result(waiters[n].result, 0);
    }
    close_all(&a);
}
END_TEST

/* ---- Interrupt calls; what is unused ---- */

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
    TCase *sets = test_case(suite, "sets"), *days = test_case(suite, "days"),
          *others = test_case(suite, "others");

    setenv("SHMKIT_ETCD_TTL", "2", 1);
    tcase_add_test(sets, test_etcd_ready_wait_any_finds_what_is_ready);
    tcase_add_test(sets, test_etcd_ready_wait_any_notes_a_set_that_was_cleared_at_once);
    tcase_add_test(sets, test_etcd_ready_sets_are_of_one_segment);
    tcase_add_test(sets, test_etcd_ready_descriptor_tells_what_is_ready);
    tcase_add_test(sets, test_etcd_ready_semaphore_has_a_permit_that_no_waiter_is_to_have);
    tcase_add_test(sets, test_etcd_ready_semaphore_has_the_permits_of_a_process_that_died);
    tcase_add_test(sets, test_etcd_ready_reader_has_samples_that_it_has_not_read);
    tcase_add_test(sets, test_etcd_ready_descriptor_keeps_a_reader_that_is_closed);
    tcase_add_test(sets, test_etcd_ready_queue_is_done_when_all_tasks_are);
    tcase_add_test(sets, test_etcd_ready_descriptor_tells_anew_that_all_is_done);
    tcase_add_test(days, test_etcd_ready_sets_ask_for_nothing_while_they_wait);
    tcase_add_test(days, test_etcd_ready_sets_go_on_when_the_leader_is_killed);
    tcase_add_test(days, test_etcd_ready_sets_go_on_when_history_is_compacted);
    tcase_add_test(others, test_etcd_ready_interrupt_call_ends_waits);
    tcase_add_test(others, test_etcd_ready_unlink_unused_spares_what_a_process_has_open);
    return run_with_cluster(suite);
}
