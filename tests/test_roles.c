/* Producers and consumers by role: lines that end. */
#include "common.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define PRODUCER SHK_AS(SHK_PRODUCER)
#define CONSUMER SHK_AS(SHK_CONSUMER)
#define SOON     SHK_MS(1000) /* generous: a death is found in about 100 ms */

static const struct kind {
    uint32_t order;
    size_t capacity;
} kinds[] = {
    {SHK_FIFO, 4}, {SHK_LIFO, 4}, {SHK_PRIORITY, 4},
    {SHK_FIFO, 0}, {SHK_LIFO, 0}, {SHK_PRIORITY, 0},
};
enum { KINDS = sizeof(kinds) / sizeof(kinds[0]) };

static struct shk_queue *open_as(unsigned flags)
{
    struct shk_queue *queue;

    assert_code(shk_queue_open(test_segment(), "line", flags, NULL, &queue), 0);
    return queue;
}

static void create(const struct kind *kind)
{
    const struct shk_queue_options options = {
        .order = kind->order, .capacity = kind->capacity, .item_size = 8};
    struct shk_queue *queue;

    assert_code(shk_queue_open(test_segment(), "line", SHK_CREATE | SHK_EXCL, &options, &queue), 0);
    assert_code(shk_queue_close(queue), 0);
}

static int put(struct shk_queue *queue, int64_t number)
{
    return shk_queue_put(queue, &number, sizeof(number), SHK_NOWAIT);
}

static ssize_t get(struct shk_queue *queue, int64_t timeout)
{
    int64_t number;

    return shk_queue_get(queue, &number, sizeof(number), timeout);
}

/* ---- A process with a role, which does what it is told ---- */

enum order {
    NOTHING,
    PUT,
    GET,
    GET_IN_TIME,
    PUT_FOREVER,
    LEASE,
    ACK,
    CLOSE,
    EXEC,
    EXIT,
    FORK,
    LEAVE
};

struct actor {
    pid_t pid, child;
    unsigned flags;
    _Atomic int order;
    _Atomic int done;
    _Atomic int64_t result;
};

static int live(void *argument)
{
    struct actor *a = argument;
    struct shk_queue *queue = open_as(a->flags);
    uint64_t ticket = 0;
    int64_t number;
    pid_t child;

    a->done++;
    for (int done = 1;; done++) {
        while (a->done != done || a->order == NOTHING)
            pause_briefly();
        switch (atomic_load(&a->order)) {
        case PUT:
            a->result = put(queue, 7);
            break;
        case PUT_FOREVER:
            a->result = shk_queue_put(queue, "1234567", 8, SHK_FOREVER);
            break;
        case GET:
            a->result = get(queue, SHK_FOREVER);
            break;
        case GET_IN_TIME:
            a->result = get(queue, SOON);
            break;
        case LEASE:
            a->result = shk_queue_lease(queue, &number, sizeof(number), SHK_NOWAIT, &ticket);
            break;
        case ACK:
            a->result = shk_queue_ack(queue, ticket);
            break;
        case CLOSE:
            a->result = shk_queue_close(queue);
            break;
        case LEAVE: /* the handle is left open */
            a->result = shk_segment_close(test_segment());
            break;
        case EXIT:
            _exit(0);
        case EXEC:
            execl("/bin/sleep", "sleep", "100", NULL);
            _exit(1);
        case FORK:
            child = fork();
            if (child == 0) {
                pause();
                _exit(0);
            }
            a->child = child;
            break;
        }
        a->order = NOTHING;
        a->done++;
    }
}

static struct actor *start(unsigned flags)
{
    struct actor *a = shared_memory(sizeof(*a));

    a->flags = flags;
    a->pid = stranger_start(live, a);
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

static void let_end(struct actor *a)
{
    child_kill(a->pid);
}

/* ---- The end of the producers ---- */

START_TEST(test_consumers_drain_and_get_epipe_when_the_last_producer_has_closed)
{
    struct shk_queue *consumer;
    struct actor *producer;

    create(&kinds[_i]);
    consumer = open_as(CONSUMER);
    producer = start(PRODUCER);
    assert_code(let(producer, PUT), 0);
    assert_code(let(producer, PUT), 0);
    assert_code(get(consumer, SHK_NOWAIT), 8);
    assert_code(let(producer, CLOSE), 0);
    assert_code(get(consumer, SHK_NOWAIT), 8);
    assert_code(get(consumer, SHK_NOWAIT), -EPIPE);
    assert_code(get(consumer, SHK_FOREVER), -EPIPE);
    let_end(producer);
    assert_code(get(consumer, SHK_FOREVER), -EPIPE); /* had closed when it died */
    assert_code(shk_queue_close(consumer), 0);
}
END_TEST

START_TEST(test_consumers_are_told_once_that_the_last_producer_has_died)
{
    struct shk_queue *consumer, *another;
    struct actor *producer;

    create(&kinds[_i]);
    consumer = open_as(0); /* a role of its own makes no difference */
    another = open_as(CONSUMER);
    producer = start(PRODUCER);
    assert_code(let(producer, PUT), 0);
    let_end(producer);
    assert_code(get(consumer, SOON), 8);
    assert_code(get(consumer, SOON), -EOWNERDEAD);
    assert_code(get(consumer, SHK_NOWAIT), -EPIPE);
    assert_code(get(consumer, SHK_FOREVER), -EPIPE);
    assert_code(get(another, SHK_NOWAIT), -EOWNERDEAD);
    assert_code(get(another, SHK_FOREVER), -EPIPE);
    assert_code(shk_queue_close(consumer), 0);
    assert_code(shk_queue_close(another), 0);
}
END_TEST

START_TEST(test_sleeping_consumers_learn_of_the_end_soon)
{
    struct actor *producer, *sleepers[3];
    bool dies = _i % 2;

    create(&kinds[_i / 2]);
    producer = start(PRODUCER);
    for (int i = 0; i < 3; i++) {
        sleepers[i] = start(CONSUMER);
        tell(sleepers[i], GET);
        wait_until_waiting(segment_name(NULL), sleepers[i]->pid, "line");
    }
    int64_t began = time_now();

    if (dies)
        let_end(producer);
    else
        assert_code(let(producer, CLOSE), 0);
    for (int i = 0; i < 3; i++)
        assert_result(result_of(sleepers[i]), dies ? -EOWNERDEAD : -EPIPE);
    ck_assert_int_lt(time_now() - began, SOON * time_factor());
    for (int i = 0; i < 3; i++)
        let_end(sleepers[i]);
    if (!dies)
        let_end(producer);
}
END_TEST

START_TEST(test_the_end_of_one_of_two_producers_is_no_end)
{
    struct shk_queue *consumer;
    struct actor *first, *second;

    create(&kinds[0]);
    consumer = open_as(CONSUMER);
    first = start(PRODUCER);
    second = start(PRODUCER | CONSUMER);
    let_end(first);
    assert_code(get(consumer, SHK_MS(300)), -ETIMEDOUT);
    assert_code(let(second, CLOSE), 0);
    assert_code(get(consumer, SHK_FOREVER), -EOWNERDEAD); /* what the first had to put may lack */
    assert_code(get(consumer, SHK_FOREVER), -EPIPE);
    let_end(second);
    assert_code(shk_queue_close(consumer), 0);
}
END_TEST

START_TEST(test_without_a_producer_by_role_all_is_as_before)
{
    struct shk_queue *consumer;
    struct actor *producer;

    create(&kinds[0]);
    consumer = open_as(CONSUMER);
    producer = start(0);
    assert_code(let(producer, PUT), 0);
    let_end(producer);
    assert_code(get(consumer, SHK_NOWAIT), 8);
    assert_code(get(consumer, SHK_NOWAIT), -EAGAIN);
    assert_code(get(consumer, SHK_MS(250)), -ETIMEDOUT);
    assert_code(shk_queue_close(consumer), 0);
}
END_TEST

START_TEST(test_a_new_producer_begins_anew)
{
    struct shk_queue *consumer;
    struct actor *producer;

    create(&kinds[0]);
    consumer = open_as(CONSUMER);
    producer = start(PRODUCER);
    let_end(producer);
    assert_code(get(consumer, SHK_FOREVER), -EOWNERDEAD);
    assert_code(get(consumer, SHK_FOREVER), -EPIPE);
    producer = start(PRODUCER);
    assert_code(get(consumer, SHK_NOWAIT), -EAGAIN);
    assert_code(let(producer, PUT), 0);
    assert_code(get(consumer, SHK_FOREVER), 8);
    assert_code(let(producer, CLOSE), 0);
    assert_code(get(consumer, SHK_FOREVER), -EPIPE); /* the death was of the line before */
    let_end(producer);
    producer = start(PRODUCER);
    let_end(producer);
    assert_code(get(consumer, SHK_FOREVER), -EOWNERDEAD); /* and this is another one */
    assert_code(get(consumer, SHK_FOREVER), -EPIPE);
    assert_code(shk_queue_close(consumer), 0);
}
END_TEST

START_TEST(test_every_way_to_get_tells_the_end)
{
    struct shk_queue *consumer;
    struct actor *producer;
    struct iovec buffer = {&(int64_t){0}, 8};
    const void *item;
    int64_t number, priority;

    create(&kinds[_i]);
    consumer = open_as(CONSUMER);
    producer = start(PRODUCER);
    assert_code(let(producer, CLOSE), 0);
    assert_code(shk_queue_get_many(consumer, &buffer, 1, SHK_FOREVER), -EPIPE);
    assert_code(shk_queue_peek(consumer, &item, SHK_FOREVER), -EPIPE);
    assert_code(shk_queue_peek(consumer, &item, SHK_NOWAIT), -EPIPE);
    if (kinds[_i].order == SHK_PRIORITY)
        assert_code(shk_queue_get_priority(consumer, &number, 8, SHK_FOREVER, &priority), -EPIPE);
    if (kinds[_i].order == SHK_FIFO) {
        assert_code(shk_queue_claim(consumer, SHK_CONSUMER, SHK_FOREVER), 0);
        assert_code(get(consumer, SHK_FOREVER), -EPIPE);
        assert_code(shk_queue_unclaim(consumer, SHK_CONSUMER), 0);
    }
    assert_code(shk_queue_shutdown(consumer), 0);
    assert_code(get(consumer, SHK_FOREVER), -EPIPE);
    let_end(producer);
    assert_code(shk_queue_close(consumer), 0);
}
END_TEST

/* It may come back: consumers are told the end only when it has not. */
START_TEST(test_the_end_waits_for_an_item_that_is_leased)
{
    struct shk_queue *another;
    struct actor *producer, *holder, *waiter;
    bool dies = _i & 1, comes_back = _i & 2;
    int64_t end = dies ? -EOWNERDEAD : -EPIPE, began;

    create(&kinds[_i / 4]);
    another = open_as(CONSUMER);
    producer = start(PRODUCER);
    holder = start(CONSUMER);
    waiter = start(CONSUMER);
    assert_code(let(producer, PUT), 0);
    assert_code(let(holder, LEASE), 8);
    tell(waiter, GET);
    wait_until_waiting(segment_name(NULL), waiter->pid, "line");
    if (dies)
        let_end(producer);
    else
        assert_code(let(producer, CLOSE), 0);
    assert_code(get(another, SHK_MS(250)), -ETIMEDOUT);
    ck_assert_int_eq(waiter->order, GET);
    began = time_now();
    if (comes_back) {
        let_end(holder);
        assert_result(result_of(waiter), 8);
        assert_result(let(waiter, GET), end);
    } else {
        assert_code(let(holder, ACK), 0);
        assert_result(result_of(waiter), end);
    }
    ck_assert_int_lt(time_now() - began, SOON * time_factor());
    assert_result(let(waiter, GET), -EPIPE);
    assert_code(get(another, SHK_FOREVER), end);
    assert_code(get(another, SHK_FOREVER), -EPIPE);
    let_end(waiter);
    if (!comes_back)
        let_end(holder);
    if (!dies)
        let_end(producer);
    assert_code(shk_queue_close(another), 0);
}
END_TEST

START_TEST(test_an_exit_and_an_exec_without_a_close_are_deaths)
{
    struct shk_queue *consumer;
    struct actor *producer;

    create(&kinds[0]);
    consumer = open_as(CONSUMER);
    producer = start(PRODUCER);
    tell(producer, EXIT);
    assert_code(get(consumer, SHK_FOREVER), -EOWNERDEAD);
    child_succeeds(producer->pid);
    producer = start(PRODUCER);
    tell(producer, EXEC);
    assert_code(get(consumer, SHK_FOREVER), -EOWNERDEAD);
    let_end(producer);
    assert_code(shk_queue_close(consumer), 0);
}
END_TEST

START_TEST(test_a_process_that_leaves_the_segment_has_closed)
{
    struct shk_queue *consumer;
    struct actor *producer;

    create(&kinds[0]);
    consumer = open_as(CONSUMER);
    producer = start(PRODUCER);
    assert_code(let(producer, LEAVE), 0);
    assert_code(get(consumer, SOON), -EPIPE);
    let_end(producer);
    assert_code(shk_queue_close(consumer), 0);
}
END_TEST

START_TEST(test_a_process_has_a_role_as_long_as_any_of_its_handles)
{
    struct shk_queue *first, *second, *consumer;

    create(&kinds[0]);
    consumer = open_as(0);
    first = open_as(PRODUCER);
    second = open_as(PRODUCER);
    assert_code(shk_queue_close(first), 0);
    assert_code(get(consumer, SHK_NOWAIT), -EAGAIN);
    assert_code(shk_queue_close(second), 0);
    assert_code(get(consumer, SHK_NOWAIT), -EPIPE);
    assert_code(shk_queue_close(consumer), 0);
}
END_TEST

/* ---- Forks ---- */

START_TEST(test_a_child_keeps_the_line_open_when_its_parent_dies)
{
    struct shk_queue *consumer;
    struct actor *parent;

    create(&kinds[0]);
    consumer = open_as(CONSUMER);
    parent = start(PRODUCER);
    let(parent, FORK);
    let_end(parent);
    assert_code(get(consumer, SHK_MS(400)), -ETIMEDOUT);
    kill(parent->child, SIGKILL);
    assert_code(get(consumer, SHK_FOREVER), -EOWNERDEAD); /* that of the parent */
    assert_code(shk_queue_close(consumer), 0);
}
END_TEST

START_TEST(test_the_end_of_a_child_that_has_made_no_call_is_no_death)
{
    struct shk_queue *consumer;
    struct actor *parent;

    create(&kinds[0]);
    consumer = open_as(CONSUMER);
    parent = start(PRODUCER);
    let(parent, FORK);
    assert_code(let(parent, CLOSE), 0);
    assert_code(get(consumer, SHK_MS(300)), -ETIMEDOUT); /* as with a pipe */
    kill(parent->child, SIGKILL);
    assert_code(get(consumer, SHK_FOREVER), -EPIPE);
    let_end(parent);
    assert_code(shk_queue_close(consumer), 0);
}
END_TEST

static int fork_and_exec(void *argument)
{
    struct shk_queue *queue = open_as(PRODUCER);
    pid_t child = fork();

    if (child == 0) {
        execl("/bin/sleep", "sleep", "100", NULL);
        _exit(1);
    }
    *(int *)argument = child;
    return shk_queue_close(queue);
}

START_TEST(test_a_program_that_a_producer_has_started_is_no_producer)
{
    struct shk_queue *consumer;
    int *child = shared_memory(sizeof(*child));

    create(&kinds[0]);
    consumer = open_as(CONSUMER);
    child_succeeds(stranger_start(fork_and_exec, child));
    assert_code(get(consumer, SHK_FOREVER), -EPIPE);
    kill(*child, SIGKILL);
    assert_code(shk_queue_close(consumer), 0);
}
END_TEST

/* ---- The end of the consumers ---- */

START_TEST(test_a_producer_that_minds_gets_epipe_when_the_last_consumer_has_gone)
{
    struct shk_queue *minds, *does_not;
    struct actor *consumer;
    struct iovec item = {&(int64_t){1}, 8};
    bool dies = _i % 2;
    void *slot;

    create(&kinds[_i / 2]);
    minds = open_as(PRODUCER | SHK_EPIPE);
    does_not = open_as(PRODUCER);
    assert_code(put(minds, 1), 0); /* there has been no consumer yet */
    consumer = start(CONSUMER);
    assert_code(put(minds, 2), 0);
    if (dies)
        let_end(consumer);
    else
        assert_code(let(consumer, CLOSE), 0);
    if (dies)
        wait_until(put(minds, 3) == -EPIPE, SOON);
    assert_code(put(minds, 3), -EPIPE);
    assert_code(shk_queue_put_many(minds, &item, 1, SHK_FOREVER), -EPIPE);
    assert_code(shk_queue_reserve(minds, 8, &slot, SHK_FOREVER), -EPIPE);
    while (get(does_not, SHK_NOWAIT) == 8)
        continue;
    assert_code(put(does_not, 4), 0);
    if (!dies)
        let_end(consumer);
    consumer = start(CONSUMER);
    assert_code(put(minds, 5), 0); /* anew */
    let_end(consumer);
    assert_code(shk_queue_close(minds), 0);
    assert_code(shk_queue_close(does_not), 0);
}
END_TEST

START_TEST(test_a_producer_asleep_learns_that_the_last_consumer_has_gone)
{
    struct actor *consumer, *producer;
    bool dies = _i % 2;

    create(&kinds[_i / 2]);
    consumer = start(CONSUMER);
    producer = start(PRODUCER | SHK_EPIPE);
    for (int i = 0; i < 4; i++)
        assert_code(let(producer, PUT), 0);
    tell(producer, PUT_FOREVER);
    wait_until_waiting(segment_name(NULL), producer->pid, "line");
    if (dies)
        let_end(consumer);
    else
        assert_code(let(consumer, CLOSE), 0);
    assert_result(result_of(producer), -EPIPE);
    let_end(producer);
    if (!dies)
        let_end(consumer);
}
END_TEST

/* ---- Waiting for any of several objects ---- */

START_TEST(test_a_set_is_ready_when_a_line_has_ended)
{
    struct shk_queue *consumer;
    struct actor *producer;
    struct shk_event *never;
    unsigned descriptors = open_descriptors();
    bool dies = _i;

    create(&kinds[0]);
    consumer = open_as(CONSUMER);
    assert_code(shk_event_open(test_segment(), "never", SHK_CREATE, NULL, &never), 0);
    producer = start(PRODUCER);
    const struct shk_ready set[] = {{SHK_KIND_EVENT, SHK_READABLE, never},
                                    {SHK_KIND_QUEUE, SHK_READABLE, consumer}};
    struct pollfd fd = {.fd = shk_ready_fd(set, 2), .events = POLLIN};

    ck_assert_int_ge(fd.fd, 0);
    assert_code(shk_wait_any(set, 2, SHK_NOWAIT), -EAGAIN);
    ck_assert_int_eq(poll(&fd, 1, 1500), 0); /* its recheck interval does not grow */
    int64_t began = time_now();

    if (dies)
        let_end(producer);
    else
        assert_code(let(producer, CLOSE), 0);
    assert_code(shk_wait_any(set, 2, SHK_FOREVER), 1);
    ck_assert_int_eq(poll(&fd, 1, -1), 1);
    ck_assert_int_lt(time_now() - began, SHK_MS(400) * time_factor());
    assert_code(get(consumer, SHK_NOWAIT), dies ? -EOWNERDEAD : -EPIPE);
    close(fd.fd);
    wait_until(open_descriptors() == descriptors, TEST_DEADLINE); /* its thread has ended */
    if (!dies)
        let_end(producer);
    assert_code(shk_event_close(never), 0);
    assert_code(shk_queue_close(consumer), 0);
}
END_TEST

/* ---- Streams ---- */

static struct shk_stream *open_stream_as(unsigned flags)
{
    const struct shk_stream_options options = {.sample_size = 8, .history = 16};
    struct shk_stream *stream;

    assert_code(shk_stream_open(test_segment(), "eeg", SHK_CREATE | flags, &options, &stream), 0);
    return stream;
}

static int append_and_wait(void *argument)
{
    struct actor *a = argument;
    struct shk_stream *stream = open_stream_as(a->flags);

    a->result = shk_stream_append(stream, "1234567", 1);
    a->done++;
    while (a->order == NOTHING)
        pause_briefly();
    return shk_stream_close(stream);
}

START_TEST(test_a_reader_reads_the_rest_and_is_told_the_end)
{
    struct actor *writer = shared_memory(sizeof(*writer));
    struct shk_stream *stream = open_stream_as(CONSUMER);
    struct shk_reader *reader, *late;
    int64_t sample;
    bool dies = _i;

    assert_code(shk_reader_open(stream, SHK_OLDEST, &reader), 0);
    writer->flags = PRODUCER;
    writer->pid = stranger_start(append_and_wait, writer);
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
}
END_TEST

static int read_one(void *argument)
{
    struct actor *a = argument;
    struct shk_stream *stream = open_stream_as(CONSUMER);
    struct shk_reader *reader;
    int64_t sample;

    assert_code(shk_reader_open(stream, SHK_NEXT, &reader), 0);
    a->done++;
    a->result = shk_reader_read(reader, &sample, 1, SHK_FOREVER);
    assert_code(shk_reader_close(reader), 0);
    return shk_stream_close(stream);
}

START_TEST(test_a_sleeping_reader_and_a_writer_learn_of_the_end_of_the_other)
{
    struct actor *writer = shared_memory(sizeof(*writer)), *reader = shared_memory(sizeof(*reader));
    struct shk_stream *minds;

    writer->flags = PRODUCER;
    writer->pid = stranger_start(append_and_wait, writer);
    wait_until(writer->done == 1, TEST_DEADLINE);
    minds = open_stream_as(0);
    assert_code(shk_stream_close(minds), 0);
    reader->pid = stranger_start(read_one, reader);
    wait_until_waiting(segment_name(NULL), reader->pid, "eeg");
    child_kill(writer->pid);
    child_succeeds(reader->pid);
    assert_result(reader->result, -EOWNERDEAD);

    minds = open_stream_as(PRODUCER | SHK_EPIPE);
    assert_code(shk_stream_append(minds, "1234567", 1), 0); /* it had ended before */
    reader->pid = stranger_start(read_one, reader);
    wait_until_waiting(segment_name(NULL), reader->pid, "eeg");
    assert_code(shk_stream_append(minds, "1234567", 1), 0);
    child_succeeds(reader->pid);
    assert_result(reader->result, 1);
    wait_until(shk_stream_append(minds, "1234567", 1) == -EPIPE, SOON);
    assert_code(shk_stream_close(minds), 0);
}
END_TEST

/* ---- The rest ---- */

START_TEST(test_flags_that_make_no_sense_are_refused)
{
    struct shk_queue *queue;
    struct shk_stream *stream;
    struct shk_lock *lock;

    create(&kinds[0]);
    assert_code(shk_queue_open(test_segment(), "line", SHK_AS(4), NULL, &queue), -EINVAL);
    assert_code(shk_queue_open(test_segment(), "line", SHK_EPIPE, NULL, &queue), -EINVAL);
    assert_code(shk_queue_open(test_segment(), "line", SHK_EPIPE | CONSUMER, NULL, &queue),
                -EINVAL);
    assert_code(shk_stream_open(test_segment(), "eeg", SHK_AS(8), NULL, &stream), -EINVAL);
    assert_code(shk_lock_open(test_segment(), "lock", SHK_CREATE | PRODUCER, NULL, &lock), -EINVAL);
}
END_TEST

START_TEST(test_a_death_is_not_told_of_the_next_object_of_that_place)
{
    struct shk_queue *consumer;
    struct actor *producer;

    for (int i = 0; i < 3; i++) {
        create(&kinds[0]);
        producer = start(PRODUCER);
        let_end(producer);
        assert_code(shk_object_unlink(test_segment(), "line"), 0);
    }
    create(&kinds[0]);
    consumer = open_as(CONSUMER);
    producer = start(PRODUCER);
    assert_code(let(producer, CLOSE), 0);
    assert_code(get(consumer, SHK_FOREVER), -EPIPE);
    let_end(producer);
    assert_code(shk_queue_close(consumer), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("roles");
    TCase *producers = test_case(suite, "producers"), *forks = test_case(suite, "forks"),
          *consumers = test_case(suite, "consumers"), *sets = test_case(suite, "sets"),
          *streams = test_case(suite, "streams"), *rest = test_case(suite, "rest");

    tcase_add_loop_test(
        producers, test_consumers_drain_and_get_epipe_when_the_last_producer_has_closed, 0, KINDS);
    tcase_add_loop_test(producers, test_consumers_are_told_once_that_the_last_producer_has_died, 0,
                        KINDS);
    tcase_add_loop_test(producers, test_sleeping_consumers_learn_of_the_end_soon, 0, 2 * KINDS);
    tcase_add_test(producers, test_the_end_of_one_of_two_producers_is_no_end);
    tcase_add_test(producers, test_without_a_producer_by_role_all_is_as_before);
    tcase_add_test(producers, test_a_new_producer_begins_anew);
    tcase_add_loop_test(producers, test_every_way_to_get_tells_the_end, 0, KINDS);
    tcase_add_loop_test(producers, test_the_end_waits_for_an_item_that_is_leased, 0, 4 * KINDS);
    tcase_add_test(producers, test_an_exit_and_an_exec_without_a_close_are_deaths);
    tcase_add_test(producers, test_a_process_that_leaves_the_segment_has_closed);
    tcase_add_test(producers, test_a_process_has_a_role_as_long_as_any_of_its_handles);
    tcase_add_test(forks, test_a_child_keeps_the_line_open_when_its_parent_dies);
    tcase_add_test(forks, test_the_end_of_a_child_that_has_made_no_call_is_no_death);
    tcase_add_test(forks, test_a_program_that_a_producer_has_started_is_no_producer);
    tcase_add_loop_test(consumers,
                        test_a_producer_that_minds_gets_epipe_when_the_last_consumer_has_gone, 0,
                        2 * KINDS);
    tcase_add_loop_test(consumers, test_a_producer_asleep_learns_that_the_last_consumer_has_gone, 0,
                        6);
    tcase_add_loop_test(sets, test_a_set_is_ready_when_a_line_has_ended, 0, 2);
    tcase_add_loop_test(streams, test_a_reader_reads_the_rest_and_is_told_the_end, 0, 2);
    tcase_add_test(streams, test_a_sleeping_reader_and_a_writer_learn_of_the_end_of_the_other);
    tcase_add_test(rest, test_flags_that_make_no_sense_are_refused);
    tcase_add_test(rest, test_a_death_is_not_told_of_the_next_object_of_that_place);
    return run_tests(suite);
}
