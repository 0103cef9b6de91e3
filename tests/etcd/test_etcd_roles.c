/* Producers and consumers by role on etcd: lines that end, by a close, a death, a lost lease. */
#include "cluster.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PRODUCER SHK_AS(SHK_PRODUCER)
#define CONSUMER SHK_AS(SHK_CONSUMER)
#define TTL      2 /* seconds */

static const uint32_t orders[] = {SHK_FIFO, SHK_LIFO, SHK_PRIORITY};
enum { ORDERS = sizeof(orders) / sizeof(orders[0]) };

static struct shk_queue *open_as(struct shk_segment *s, unsigned flags)
{
    struct shk_queue *queue;

    assert_code(shk_queue_open(s, "line", flags, NULL, &queue), 0);
    return queue;
}

static void create(struct shk_segment *s, uint32_t order, size_t capacity)
{
    const struct shk_queue_options options = {.order = order, .capacity = capacity, .item_size = 8};
    struct shk_queue *queue;

    assert_code(shk_queue_open(s, "line", SHK_CREATE | SHK_EXCL, &options, &queue), 0);
    assert_code(shk_queue_close(queue), 0);
}

static void end(struct shk_segment *s)
{
    assert_code(shk_segment_close(s), 0);
    assert_code(shk_segment_unlink(etcd_name()), 0);
}

static int put(struct shk_queue *queue, int64_t number, int64_t timeout)
{
    return shk_queue_put(queue, &number, sizeof(number), timeout);
}

static ssize_t get(struct shk_queue *queue, int64_t timeout)
{
    int64_t number;

    return shk_queue_get(queue, &number, sizeof(number), timeout);
}

/* How many processes are producers, or consumers, by role, as the servers have it. */
static int living(const char *object, char side)
{
    char prefix[200];

    snprintf(prefix, sizeof(prefix), "/shmkit/%s/%s/.role/%c/", strchr(etcd_name(), ':') + 1,
             object, side);
    return cluster_count(prefix);
}

/* ---- A process with a role, which does what it is told ---- */

enum order { NOTHING, PUT, PUT_FOREVER, GET, LEASE, ACK, CLOSE, LEAVE };

struct actor {
    pid_t pid;
    unsigned flags;
    _Atomic int order, done;
    _Atomic int64_t result;
};

static int live(void *argument)
{
    struct actor *a = argument;
    struct shk_segment *s = etcd_segment();
    struct shk_queue *queue = open_as(s, a->flags);
    uint64_t ticket = 0;
    int64_t number;

    a->done++;
    for (;;) {
        while (a->order == NOTHING)
            pause_briefly();
        switch (atomic_load(&a->order)) {
        case PUT:
            a->result = put(queue, 7, SHK_NOWAIT);
            break;
        case PUT_FOREVER:
            a->result = put(queue, 8, SHK_FOREVER);
            break;
        case GET:
            a->result = get(queue, SHK_FOREVER);
            break;
        case LEASE:
            a->result = shk_queue_lease(queue, &number, sizeof(number), TEST_DEADLINE, &ticket);
            break;
        case ACK:
            a->result = shk_queue_ack(queue, ticket);
            break;
        case CLOSE:
            a->result = shk_queue_close(queue);
            break;
        case LEAVE: /* the handle is left open */
            a->result = shk_segment_close(s);
            break;
        }
        a->order = NOTHING;
    }
    return 0;
}

static struct actor *start(unsigned flags)
{
    struct actor *a = shared_memory(sizeof(*a));

    a->flags = flags;
    a->pid = child_start(live, a);
    wait_until(a->done == 1, TEST_DEADLINE);
    return a;
}

static void tell(struct actor *a, enum order order)
{
    a->order = order;
}

static int64_t result_of(struct actor *a)
{
    wait_until(a->order == NOTHING, TEST_DEADLINE);
    return a->result;
}

static int64_t let(struct actor *a, enum order order)
{
    tell(a, order);
    return result_of(a);
}

/* It is shown as waiting at the queue. */
static void wait_until_it_waits(struct actor *a)
{
    struct shk_member_info m;

    wait_until(look_at_member(etcd_name(), a->pid, &m) && strcmp(m.waits_on, "line") == 0,
               TEST_DEADLINE);
}

/* ---- The end of the producers ---- */

START_TEST(test_etcd_roles_consumers_drain_and_get_epipe_when_the_last_producer_has_closed)
{
    struct shk_segment *s = etcd_segment();
    struct shk_queue *consumer;
    struct iovec buffer = {&(int64_t){0}, 8};
    struct actor *producer;
    const void *item;
    int64_t number, priority;
    uint64_t ticket;

    create(s, orders[_i], 4);
    consumer = open_as(s, CONSUMER);
    producer = start(PRODUCER);
    assert_result(let(producer, PUT), 0);
    assert_result(let(producer, PUT), 0);
    assert_code(get(consumer, TEST_DEADLINE), 8);
    assert_result(let(producer, CLOSE), 0);
    assert_code(get(consumer, SHK_NOWAIT), 8);
    assert_code(get(consumer, SHK_NOWAIT), -EPIPE);
    assert_code(get(consumer, SHK_FOREVER), -EPIPE);
    assert_code(shk_queue_get_many(consumer, &buffer, 1, SHK_FOREVER), -EPIPE);
    assert_code(shk_queue_peek(consumer, &item, SHK_FOREVER), -EPIPE);
    assert_code(shk_queue_lease(consumer, &number, 8, SHK_FOREVER, &ticket), -EPIPE);
    if (orders[_i] == SHK_PRIORITY)
        assert_code(shk_queue_get_priority(consumer, &number, 8, SHK_FOREVER, &priority), -EPIPE);
    child_kill(producer->pid); /* had closed when it died */
    assert_code(shk_queue_shutdown(consumer), 0);
    assert_code(get(consumer, SHK_FOREVER), -EPIPE);
    assert_code(shk_queue_close(consumer), 0);
    end(s);
}
END_TEST

START_TEST(test_etcd_roles_each_handle_is_told_once_that_a_producer_was_killed)
{
    struct shk_segment *s = etcd_segment();
    struct shk_queue *consumer, *another;
    struct actor *producer, *elsewhere;
    int64_t began;

    create(s, SHK_FIFO, 4);
    consumer = open_as(s, 0); /* a role of its own makes no difference */
    another = open_as(s, CONSUMER);
    elsewhere = start(CONSUMER);
    producer = start(PRODUCER);
    assert_result(let(producer, PUT), 0);
    tell(elsewhere, GET);
    assert_result(result_of(elsewhere), 8);
    tell(elsewhere, GET);
    wait_until_it_waits(elsewhere);
    began = time_now();
    child_kill(producer->pid);
    assert_code(get(consumer, TEST_DEADLINE), -EOWNERDEAD);
    printf("a consumer knew %.2f s after the kill; the lease lasts %d s\n",
           (double)(time_now() - began) / 1e9, TTL);
    ck_assert_int_lt(time_now() - began, SHK_SEC(3 * TTL) * time_factor());
    assert_code(get(consumer, SHK_NOWAIT), -EPIPE);
    assert_code(get(consumer, SHK_FOREVER), -EPIPE);
    assert_code(get(another, SHK_NOWAIT), -EOWNERDEAD);
    assert_code(get(another, SHK_FOREVER), -EPIPE);
    assert_result(result_of(elsewhere), -EOWNERDEAD);
    assert_result(let(elsewhere, GET), -EPIPE);
    child_kill(elsewhere->pid);
    assert_code(shk_queue_close(consumer), 0);
    /* what had ended before a handle was opened is not told to it */
    consumer = open_as(s, 0);
    assert_code(get(consumer, SHK_NOWAIT), -EAGAIN);
    assert_code(shk_queue_close(consumer), 0);
    assert_code(shk_queue_close(another), 0);
    end(s);
}
END_TEST

START_TEST(test_etcd_roles_sleeping_consumers_learn_of_the_end)
{
    struct shk_segment *s = etcd_segment();
    struct actor *producer, *sleepers[3];
    bool dies = _i;

    create(s, SHK_FIFO, 4);
    producer = start(PRODUCER);
    for (int i = 0; i < 3; i++) {
        sleepers[i] = start(CONSUMER);
        tell(sleepers[i], GET);
    }
    wait_until_it_waits(sleepers[2]);
    if (dies)
        child_kill(producer->pid);
    else
        assert_result(let(producer, CLOSE), 0);
    for (int i = 0; i < 3; i++) {
        assert_result(result_of(sleepers[i]), dies ? -EOWNERDEAD : -EPIPE);
        child_kill(sleepers[i]->pid);
    }
    if (!dies)
        child_kill(producer->pid);
    end(s);
}
END_TEST

START_TEST(test_etcd_roles_the_end_of_one_of_two_producers_is_no_end)
{
    struct shk_segment *s = etcd_segment();
    struct shk_queue *consumer;
    struct actor *first, *second;

    create(s, SHK_FIFO, 4);
    consumer = open_as(s, CONSUMER);
    first = start(PRODUCER);
    second = start(PRODUCER | CONSUMER);
    child_kill(first->pid);
    wait_until(living("line", 'p') == 1, TEST_DEADLINE);
    assert_code(get(consumer, SHK_MS(300)), -ETIMEDOUT);
    assert_result(let(second, CLOSE), 0);
    assert_code(get(consumer, SHK_FOREVER), -EOWNERDEAD); /* what the first had to put may lack */
    assert_code(get(consumer, SHK_FOREVER), -EPIPE);
    child_kill(second->pid);
    assert_code(shk_queue_close(consumer), 0);
    end(s);
}
END_TEST

START_TEST(test_etcd_roles_a_new_producer_begins_anew)
{
    struct shk_segment *s = etcd_segment();
    struct shk_queue *consumer, *late;
    struct actor *producer;

    create(s, SHK_FIFO, 4);
    consumer = open_as(s, CONSUMER);
    assert_code(get(consumer, SHK_NOWAIT), -EAGAIN); /* there has been none */
    producer = start(PRODUCER);
    assert_result(let(producer, PUT), 0);
    child_kill(producer->pid);
    wait_until(living("line", 'p') == 0, TEST_DEADLINE);
    late = open_as(s, CONSUMER); /* an item is left: it ends behind that */
    assert_code(get(late, TEST_DEADLINE), 8);
    assert_code(get(late, SHK_FOREVER), -EOWNERDEAD);
    assert_code(shk_queue_close(late), 0);
    assert_code(get(consumer, SHK_FOREVER), -EOWNERDEAD);
    producer = start(PRODUCER);
    assert_code(get(consumer, SHK_NOWAIT), -EAGAIN);
    assert_result(let(producer, PUT), 0);
    assert_code(get(consumer, SHK_FOREVER), 8);
    assert_result(let(producer, CLOSE), 0);
    assert_code(get(consumer, SHK_FOREVER), -EPIPE); /* the death was of the line before */
    child_kill(producer->pid);
    producer = start(PRODUCER);
    child_kill(producer->pid);
    assert_code(get(consumer, SHK_FOREVER), -EOWNERDEAD); /* and this is another one */
    assert_code(get(consumer, SHK_FOREVER), -EPIPE);
    assert_code(shk_queue_close(consumer), 0);
    end(s);
}
END_TEST

/* It may come back: consumers are told the end only when it has not. */
START_TEST(test_etcd_roles_the_end_waits_for_an_item_that_is_leased)
{
    struct shk_segment *s = etcd_segment();
    struct actor *producer, *holder, *waiter;
    bool comes_back = _i;

    create(s, SHK_FIFO, 4);
    producer = start(PRODUCER);
    holder = start(CONSUMER);
    waiter = start(CONSUMER);
    assert_result(let(producer, PUT), 0);
    assert_result(let(holder, LEASE), 8);
    tell(waiter, GET);
    assert_result(let(producer, CLOSE), 0);
    wait_until_it_waits(waiter);
    ck_assert_int_eq(waiter->order, GET);
    if (comes_back) {
        child_kill(holder->pid);
        assert_result(result_of(waiter), 8);
        assert_result(let(waiter, GET), -EPIPE);
    } else {
        assert_result(let(holder, ACK), 0);
        assert_result(result_of(waiter), -EPIPE);
        child_kill(holder->pid);
    }
    child_kill(waiter->pid);
    child_kill(producer->pid);
    end(s);
}
END_TEST

START_TEST(test_etcd_roles_end_with_the_last_handle_or_the_segment)
{
    struct shk_segment *s = etcd_segment();
    struct shk_queue *first, *second, *consumer;
    struct actor *producer;

    create(s, SHK_FIFO, 4);
    consumer = open_as(s, 0);
    first = open_as(s, PRODUCER);
    second = open_as(s, PRODUCER);
    ck_assert_int_eq(living("line", 'p'), 1);
    assert_code(shk_queue_close(first), 0);
    assert_code(get(consumer, SHK_NOWAIT), -EAGAIN);
    assert_code(shk_queue_close(second), 0);
    assert_code(get(consumer, SHK_NOWAIT), -EPIPE);
    producer = start(PRODUCER);
    assert_code(get(consumer, SHK_NOWAIT), -EAGAIN);
    assert_result(let(producer, LEAVE), 0);
    assert_code(get(consumer, SHK_FOREVER), -EPIPE);
    child_kill(producer->pid);
    assert_code(shk_queue_close(consumer), 0);
    end(s);
}
END_TEST

/* It has died, as others see it, and begins anew when it goes on. */
START_TEST(test_etcd_roles_a_producer_that_was_stopped_for_too_long_begins_anew)
{
    struct shk_segment *s = etcd_segment();
    struct shk_queue *consumer;
    struct actor *producer;

    create(s, SHK_FIFO, 1);
    consumer = open_as(s, CONSUMER);
    producer = start(PRODUCER);
    assert_result(let(producer, PUT), 0);
    if (_i) { /* it waits for room meanwhile */
        tell(producer, PUT_FOREVER);
        wait_until_it_waits(producer);
    }
    child_stop(producer->pid);
    wait_until(living("line", 'p') == 0, TEST_DEADLINE);
    assert_code(get(consumer, TEST_DEADLINE), 8);
    assert_code(get(consumer, TEST_DEADLINE), -EOWNERDEAD);
    assert_code(get(consumer, SHK_NOWAIT), -EPIPE);
    child_continue(producer->pid);
    assert_result(_i ? result_of(producer) : let(producer, PUT), 0);
    ck_assert_int_eq(living("line", 'p'), 1);
    assert_code(get(consumer, TEST_DEADLINE), 8);
    assert_code(get(consumer, SHK_NOWAIT), -EAGAIN);
    assert_result(let(producer, CLOSE), 0);
    assert_code(get(consumer, TEST_DEADLINE), -EPIPE);
    child_kill(producer->pid);
    assert_code(shk_queue_close(consumer), 0);
    end(s);
}
END_TEST

/* ---- The end of the consumers ---- */

START_TEST(test_etcd_roles_a_producer_that_minds_gets_epipe_when_the_last_consumer_has_gone)
{
    struct shk_segment *s = etcd_segment();
    struct shk_queue *minds, *does_not;
    struct iovec item = {&(int64_t){1}, 8};
    struct actor *consumer, *sleeper;
    bool dies = _i;

    create(s, SHK_FIFO, 8);
    minds = open_as(s, PRODUCER | SHK_EPIPE);
    does_not = open_as(s, PRODUCER);
    assert_code(put(minds, 1, SHK_NOWAIT), 0); /* there has been no consumer yet */
    consumer = start(CONSUMER);
    for (int i = 0; i < 7; i++)
        assert_code(put(minds, 2, SHK_NOWAIT), 0);
    assert_code(put(minds, 2, SHK_NOWAIT), -EAGAIN);
    sleeper = start(PRODUCER | SHK_EPIPE);
    tell(sleeper, PUT_FOREVER);
    wait_until_it_waits(sleeper);
    ck_assert_int_eq(sleeper->order, PUT_FOREVER);
    if (dies)
        child_kill(consumer->pid);
    else
        assert_result(let(consumer, CLOSE), 0);
    assert_result(result_of(sleeper), -EPIPE);
    assert_code(put(minds, 3, SHK_NOWAIT), -EPIPE);
    assert_code(shk_queue_put_many(minds, &item, 1, SHK_FOREVER), -EPIPE);
    assert_code(get(does_not, TEST_DEADLINE), 8);
    assert_code(put(does_not, 4, TEST_DEADLINE), 0);
    if (!dies)
        child_kill(consumer->pid);
    assert_code(get(does_not, TEST_DEADLINE), 8);
    consumer = start(CONSUMER);
    assert_code(put(minds, 5, TEST_DEADLINE), 0); /* anew */
    /* what no watch has told yet the transaction finds */
    assert_result(let(consumer, CLOSE), 0);
    assert_code(put(minds, 6, SHK_NOWAIT), -EPIPE);
    child_kill(consumer->pid);
    child_kill(sleeper->pid);
    assert_code(shk_queue_close(minds), 0);
    assert_code(shk_queue_close(does_not), 0);
    end(s);
}
END_TEST

/* That the keys of the consumers go with the others is no end of them; and a close succeeds. */
START_TEST(test_etcd_roles_an_unlink_ends_a_put_and_a_close_succeeds)
{
    struct shk_segment *s = etcd_segment();
    struct shk_queue *consumer;
    struct actor *sleeper;

    create(s, SHK_FIFO, 1);
    consumer = open_as(s, CONSUMER);
    sleeper = start(PRODUCER | SHK_EPIPE);
    assert_result(let(sleeper, PUT), 0);
    tell(sleeper, PUT_FOREVER);
    wait_until_it_waits(sleeper);
    assert_code(shk_object_unlink(s, "line"), 0);
    assert_result(result_of(sleeper), -ESTALE);
    child_kill(sleeper->pid);
    assert_code(shk_queue_close(consumer), 0);
    end(s);
}
END_TEST

/* ---- Sets ---- */

START_TEST(test_etcd_roles_a_set_is_ready_when_a_line_has_ended)
{
    struct shk_segment *s = etcd_segment();
    struct shk_queue *consumer;
    struct shk_event *never;
    struct actor *producer;
    unsigned descriptors = open_descriptors();
    bool dies = _i;

    create(s, SHK_FIFO, 4);
    consumer = open_as(s, CONSUMER);
    assert_code(shk_event_open(s, "never", SHK_CREATE, NULL, &never), 0);
    producer = start(PRODUCER);
    const struct shk_ready set[] = {{SHK_KIND_EVENT, SHK_READABLE, never},
                                    {SHK_KIND_QUEUE, SHK_READABLE, consumer}};
    struct pollfd fd = {.fd = shk_ready_fd(set, 2), .events = POLLIN};

    ck_assert_int_ge(fd.fd, 0);
    assert_code(shk_wait_any(set, 2, SHK_NOWAIT), -EAGAIN);
    ck_assert_int_eq(poll(&fd, 1, 300), 0);
    if (dies)
        child_kill(producer->pid);
    else
        assert_result(let(producer, CLOSE), 0);
    assert_code(shk_wait_any(set, 2, TEST_DEADLINE), 1);
    ck_assert_int_eq(poll(&fd, 1, (int)(TEST_DEADLINE / 1000000)), 1);
    assert_code(get(consumer, SHK_NOWAIT), dies ? -EOWNERDEAD : -EPIPE);
    close(fd.fd);
    wait_until(open_descriptors() == descriptors, TEST_DEADLINE); /* its thread has ended */
    if (!dies)
        child_kill(producer->pid);
    assert_code(shk_event_close(never), 0);
    assert_code(shk_queue_close(consumer), 0);
    end(s);
}
END_TEST

/* ---- Servers ---- */

/* The servers may take 2 s for their election: a lease of 2 s would be lost. */
START_TEST(test_etcd_roles_hold_when_the_leader_is_killed)
{
    struct shk_segment *s;
    struct shk_queue *consumer;
    struct actor *producer;
    int leader = cluster_leader();

    setenv("SHMKIT_ETCD_TTL", "6", 1);
    s = etcd_segment();
    create(s, SHK_FIFO, 4);
    consumer = open_as(s, CONSUMER);
    producer = start(PRODUCER);
    assert_result(let(producer, PUT), 0);
    cluster_kill(leader);
    assert_code(get(consumer, TEST_DEADLINE), 8);
    assert_code(get(consumer, SHK_SEC(9)), -ETIMEDOUT); /* the producer is still there */
    assert_result(let(producer, PUT), 0);
    assert_code(get(consumer, TEST_DEADLINE), 8);
    child_kill(producer->pid);
    assert_code(get(consumer, TEST_DEADLINE), -EOWNERDEAD);
    cluster_start(leader);
    cluster_compact();
    producer = start(PRODUCER);
    assert_result(let(producer, PUT), 0);
    assert_result(let(producer, CLOSE), 0);
    assert_code(get(consumer, TEST_DEADLINE), 8);
    assert_code(get(consumer, TEST_DEADLINE), -EPIPE);
    child_kill(producer->pid);
    assert_code(shk_queue_close(consumer), 0);
    end(s);
}
END_TEST

enum { TURNS = 12 };

static int put_one_and_go(void *argument)
{
    struct shk_segment *s = etcd_segment();
    struct shk_queue *queue = open_as(s, PRODUCER);

    (void)argument;
    assert_code(put(queue, 1, TEST_DEADLINE), 0);
    assert_code(shk_queue_close(queue), 0);
    assert_code(shk_segment_close(s), 0);
    return 0;
}

START_TEST(test_etcd_roles_all_items_of_a_line_come_before_its_end)
{
    struct shk_segment *s = etcd_segment();
    struct shk_queue *consumer;
    ssize_t n;

    create(s, SHK_FIFO, 0);
    consumer = open_as(s, CONSUMER);
    for (int turn = 0; turn < TURNS; turn++) {
        pid_t children[3];
        int items = 0;

        for (int i = 0; i < 3; i++)
            children[i] = child_start(put_one_and_go, NULL);
        while (items < 3) { /* a line may end between two of them */
            n = get(consumer, TEST_DEADLINE);
            ck_assert_msg(n == 8 || n == -EPIPE, "it gave %s", code_name(n));
            items += n == 8;
        }
        for (int i = 0; i < 3; i++)
            child_succeeds(children[i]);
        assert_code(get(consumer, SHK_NOWAIT), -EPIPE);
    }
    assert_code(shk_queue_close(consumer), 0);
    end(s);
}
END_TEST

/* ---- Streams ---- */

static struct shk_stream *open_stream_as(struct shk_segment *s, unsigned flags)
{
    const struct shk_stream_options options = {.sample_size = 8, .history = 16};
    struct shk_stream *stream;

    assert_code(shk_stream_open(s, "eeg", SHK_CREATE | flags, &options, &stream), 0);
    return stream;
}

static int append_and_wait(void *argument)
{
    struct actor *a = argument;
    struct shk_segment *s = etcd_segment();
    struct shk_stream *stream = open_stream_as(s, a->flags);

    a->result = shk_stream_append(stream, "1234567", 1);
    a->done++;
    while (a->order == NOTHING)
        pause_briefly();
    assert_code(shk_stream_close(stream), 0);
    assert_code(shk_segment_close(s), 0);
    return 0;
}

START_TEST(test_etcd_roles_a_reader_reads_the_rest_and_is_told_the_end)
{
    struct actor *writer = shared_memory(sizeof(*writer));
    struct shk_segment *s = etcd_segment();
    struct shk_stream *stream = open_stream_as(s, CONSUMER);
    struct shk_reader *reader, *late;
    int64_t sample;
    bool dies = _i;

    assert_code(shk_reader_open(stream, SHK_OLDEST, &reader), 0);
    writer->flags = PRODUCER;
    writer->pid = child_start(append_and_wait, writer);
    wait_until(writer->done == 1, TEST_DEADLINE);
    if (dies) {
        child_kill(writer->pid);
    } else {
        writer->order = CLOSE;
        child_succeeds(writer->pid);
    }
    assert_code(shk_reader_read(reader, &sample, 1, SHK_FOREVER), 1);
    assert_code(shk_reader_read(reader, &sample, 1, SHK_FOREVER), dies ? -EOWNERDEAD : -EPIPE);
    assert_code(shk_reader_read(reader, &sample, 1, SHK_FOREVER), -EPIPE);
    assert_code(shk_reader_open(stream, SHK_NEXT, &late), 0);
    assert_code(shk_reader_read(late, &sample, 1, SHK_NOWAIT), dies ? -EOWNERDEAD : -EPIPE);
    assert_code(shk_reader_close(late), 0);
    assert_code(shk_reader_close(reader), 0);
    assert_code(shk_stream_close(stream), 0);
    ck_assert_int_eq(living("eeg", 'c'), 0);
    end(s);
}
END_TEST

static int read_all(void *argument)
{
    struct actor *a = argument;
    struct shk_segment *s = etcd_segment();
    struct shk_stream *stream = open_stream_as(s, CONSUMER);
    struct shk_reader *reader;
    int64_t sample;

    assert_code(shk_reader_open(stream, SHK_OLDEST, &reader), 0);
    a->done++;
    do
        a->result = shk_reader_read(reader, &sample, 1, SHK_FOREVER);
    while (a->result == 1 && a->order == NOTHING);
    assert_code(shk_reader_close(reader), 0);
    assert_code(shk_stream_close(stream), 0);
    assert_code(shk_segment_close(s), 0);
    return 0;
}

START_TEST(test_etcd_roles_a_sleeping_reader_and_a_writer_learn_of_the_end_of_the_other)
{
    struct actor *writer = shared_memory(sizeof(*writer)), *reader = shared_memory(sizeof(*reader));
    struct shk_segment *s = etcd_segment();
    struct shk_stream *minds;
    bool dies = _i;

    writer->flags = PRODUCER;
    writer->pid = child_start(append_and_wait, writer);
    wait_until(writer->done == 1, TEST_DEADLINE);
    reader->pid = child_start(read_all, reader);
    wait_until(reader->done == 1, TEST_DEADLINE);
    child_kill(writer->pid);
    child_succeeds(reader->pid);
    assert_result(reader->result, -EOWNERDEAD);

    minds = open_stream_as(s, PRODUCER | SHK_EPIPE);
    assert_code(shk_stream_append(minds, "1234567", 1), 0); /* it had ended before */
    reader->done = 0;
    reader->order = dies ? NOTHING : CLOSE; /* after the first sample */
    reader->pid = child_start(read_all, reader);
    wait_until(reader->done == 1, TEST_DEADLINE);
    if (dies) {
        assert_code(shk_stream_append(minds, "1234567", 1), 0);
        child_kill(reader->pid);
        wait_until(living("eeg", 'c') == 0, TEST_DEADLINE);
    } else {
        child_succeeds(reader->pid);
        assert_result(reader->result, 1);
    }
    assert_code(shk_stream_append(minds, "1234567", 1), -EPIPE);

    /* A new one counts at once, whether the watch has told of it or not. */
    reader->done = 0;
    reader->order = NOTHING;
    reader->pid = child_start(read_all, reader);
    wait_until(reader->done == 1, TEST_DEADLINE);
    assert_code(shk_stream_append(minds, "1234567", 1), 0);
    child_kill(reader->pid);
    assert_code(shk_stream_close(minds), 0);
    end(s);
}
END_TEST

/* What a consumer waits for in a set: an item, a sample, the end of all tasks; that without one. */
enum { FOR_ITEM, FOR_SAMPLE, FOR_TASKS, TO_JOIN, WAITS };

static int wait_in_set(void *argument)
{
    struct actor *a = argument;
    struct shk_segment *s = etcd_segment();
    struct shk_queue *queue = open_as(s, CONSUMER);
    struct shk_stream *stream = open_stream_as(s, CONSUMER);
    struct shk_reader *reader;
    struct shk_ready ready = {SHK_KIND_QUEUE, SHK_READABLE, queue};

    assert_code(shk_reader_open(stream, SHK_NEXT, &reader), 0);
    if (a->flags == FOR_SAMPLE)
        ready = (struct shk_ready){SHK_KIND_STREAM, SHK_READABLE, reader};
    if (a->flags == FOR_TASKS)
        ready = (struct shk_ready){SHK_KIND_QUEUE, SHK_ALL_DONE, queue};
    a->done++;
    a->result = a->flags == TO_JOIN ? shk_queue_join(queue, SHK_FOREVER)
                                    : shk_wait_any(&ready, 1, SHK_FOREVER);
    assert_code(shk_reader_close(reader), 0);
    assert_code(shk_stream_close(stream), 0);
    assert_code(shk_queue_close(queue), 0);
    assert_code(shk_segment_close(s), 0);
    return 0;
}

/* What it has lost, as others see it, begins anew, though nothing is ready. */
START_TEST(test_etcd_roles_a_consumer_that_was_stopped_in_a_set_begins_anew)
{
    struct actor *consumer = shared_memory(sizeof(*consumer));
    const char *object = _i == FOR_SAMPLE ? "eeg" : "line";
    struct shk_segment *s = etcd_segment();
    struct shk_stream *stream;
    struct shk_queue *queue;

    create(s, SHK_FIFO, 4);
    queue = open_as(s, PRODUCER);
    stream = open_stream_as(s, PRODUCER);
    if (_i == FOR_TASKS || _i == TO_JOIN)
        assert_code(put(queue, 1, TEST_DEADLINE), 0);
    consumer->flags = (unsigned)_i;
    consumer->pid = child_start(wait_in_set, consumer);
    wait_until(consumer->done == 1 && living(object, 'c') == 1, TEST_DEADLINE);
    child_stop(consumer->pid);
    wait_until(living(object, 'c') == 0, TEST_DEADLINE);
    child_continue(consumer->pid);
    wait_until(living(object, 'c') == 1, TEST_DEADLINE);
    if (_i == FOR_SAMPLE) {
        assert_code(shk_stream_append(stream, "1234567", 1), 0);
    } else if (_i == FOR_ITEM) {
        assert_code(put(queue, 1, TEST_DEADLINE), 0);
    } else {
        assert_code(get(queue, TEST_DEADLINE), sizeof(int64_t));
        assert_code(shk_queue_task_done(queue), 0);
    }
    child_succeeds(consumer->pid);
    assert_result(consumer->result, 0);
    assert_code(shk_stream_close(stream), 0);
    assert_code(shk_queue_close(queue), 0);
    end(s);
}
END_TEST

/* ---- The rest ---- */

START_TEST(test_etcd_roles_are_seen_from_outside)
{
    struct shk_segment *s = etcd_segment();
    const struct shk_member_info *m;
    const struct shk_object_info *o;
    struct shk_snapshot *snapshot;
    struct shk_queue *queue;
    struct actor *producer;
    unsigned found = 0;

    create(s, SHK_FIFO, 4);
    queue = open_as(s, CONSUMER);
    producer = start(PRODUCER | CONSUMER);
    assert_code(shk_snapshot_open(etcd_name(), &snapshot), 0);
    o = shk_snapshot_find_object(snapshot, "line");
    ck_assert_uint_eq(o->producers, 1);
    ck_assert_uint_eq(o->consumers, 2);
    ck_assert_uint_eq(o->producer_line, SHK_LINE_OPEN);
    for (size_t i = 0; (m = shk_snapshot_member(snapshot, i)); i++)
        if (m->pid == producer->pid || m->pid == getpid()) {
            ck_assert_uint_eq(shk_snapshot_roles(snapshot, o, m),
                              m->pid == producer->pid ? SHK_PRODUCER | SHK_CONSUMER : SHK_CONSUMER);
            found++;
        }
    ck_assert_uint_ge(found, 2);
    shk_snapshot_close(snapshot);
    child_kill(producer->pid);
    wait_until(living("line", 'p') == 0, TEST_DEADLINE);
    assert_code(shk_queue_close(queue), 0);
    assert_code(shk_snapshot_open(etcd_name(), &snapshot), 0);
    o = shk_snapshot_find_object(snapshot, "line");
    ck_assert_uint_eq(o->producer_line, SHK_LINE_BROKEN);
    ck_assert_uint_eq(o->consumer_line, SHK_LINE_BROKEN); /* one has closed, one has died */
    ck_assert_uint_eq(o->producers + o->consumers, 0);
    shk_snapshot_close(snapshot);
    end(s);
}
END_TEST

START_TEST(test_etcd_roles_flags_that_make_no_sense_are_refused)
{
    struct shk_segment *s = etcd_segment();
    struct shk_stream *stream;
    struct shk_queue *queue;

    create(s, SHK_FIFO, 4);
    assert_code(shk_queue_open(s, "line", SHK_AS(4), NULL, &queue), -EINVAL);
    assert_code(shk_queue_open(s, "line", SHK_EPIPE, NULL, &queue), -EINVAL);
    assert_code(shk_queue_open(s, "line", SHK_EPIPE | CONSUMER, NULL, &queue), -EINVAL);
    assert_code(shk_stream_open(s, "eeg", SHK_AS(8), NULL, &stream), -EINVAL);
    assert_code(shk_queue_open(s, "other", PRODUCER, NULL, &queue), -ENOENT);
    end(s);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("roles on etcd");
    TCase *producers = test_case(suite, "producers"), *consumers = test_case(suite, "consumers"),
          *sets = test_case(suite, "sets"), *servers = test_case(suite, "servers"),
          *streams = test_case(suite, "streams"), *rest = test_case(suite, "rest");

    setenv("SHMKIT_ETCD_TTL", "2", 1);
    tcase_add_loop_test(
        producers, test_etcd_roles_consumers_drain_and_get_epipe_when_the_last_producer_has_closed,
        0, ORDERS);
    tcase_add_test(producers, test_etcd_roles_each_handle_is_told_once_that_a_producer_was_killed);
    tcase_add_loop_test(producers, test_etcd_roles_sleeping_consumers_learn_of_the_end, 0, 2);
    tcase_add_test(producers, test_etcd_roles_the_end_of_one_of_two_producers_is_no_end);
    tcase_add_test(producers, test_etcd_roles_a_new_producer_begins_anew);
    tcase_add_loop_test(producers, test_etcd_roles_the_end_waits_for_an_item_that_is_leased, 0, 2);
    tcase_add_test(producers, test_etcd_roles_end_with_the_last_handle_or_the_segment);
    tcase_add_loop_test(producers,
                        test_etcd_roles_a_producer_that_was_stopped_for_too_long_begins_anew, 0, 2);
    tcase_add_loop_test(
        consumers, test_etcd_roles_a_producer_that_minds_gets_epipe_when_the_last_consumer_has_gone,
        0, 2);
    tcase_add_test(consumers, test_etcd_roles_an_unlink_ends_a_put_and_a_close_succeeds);
    tcase_add_loop_test(sets, test_etcd_roles_a_set_is_ready_when_a_line_has_ended, 0, 2);
    tcase_add_loop_test(sets, test_etcd_roles_a_consumer_that_was_stopped_in_a_set_begins_anew, 0,
                        WAITS);
    tcase_add_test(servers, test_etcd_roles_hold_when_the_leader_is_killed);
    tcase_add_test(servers, test_etcd_roles_all_items_of_a_line_come_before_its_end);
    tcase_add_loop_test(streams, test_etcd_roles_a_reader_reads_the_rest_and_is_told_the_end, 0, 2);
    tcase_add_loop_test(
        streams, test_etcd_roles_a_sleeping_reader_and_a_writer_learn_of_the_end_of_the_other, 0,
        2);
    tcase_add_test(rest, test_etcd_roles_are_seen_from_outside);
    tcase_add_test(rest, test_etcd_roles_flags_that_make_no_sense_are_refused);
    return run_with_cluster(suite);
}
