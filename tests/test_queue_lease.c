/* Leased items: acknowledged, given back, and what comes back from the dead. */
#include "common.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static const struct kind {
    uint32_t order;
    size_t capacity;
} kinds[] = {
    {SHK_FIFO, 8}, {SHK_LIFO, 8}, {SHK_PRIORITY, 8},
    {SHK_FIFO, 0}, {SHK_LIFO, 0}, {SHK_PRIORITY, 0},
};
enum { KINDS = sizeof(kinds) / sizeof(kinds[0]), LIMITED = 3 };

static struct shk_queue *create_queue(const struct kind *kind)
{
    const struct shk_queue_options options = {
        .order = kind->order, .capacity = kind->capacity, .item_size = 64};
    struct shk_queue *queue;

    assert_code(shk_queue_open(test_segment(), "jobs", SHK_CREATE | SHK_EXCL, &options, &queue), 0);
    return queue;
}

static struct shk_queue *open_queue(void)
{
    struct shk_queue *queue;

    assert_code(shk_queue_open(test_segment(), "jobs", 0, NULL, &queue), 0);
    return queue;
}

static void put(struct shk_queue *queue, int64_t number)
{
    assert_code(shk_queue_put(queue, &number, sizeof(number), SHK_NOWAIT), 0);
}

/* Numbers of an order in which 1, 2, 3 … were put. */
static void put_all(struct shk_queue *queue, int64_t first, int64_t last)
{
    for (int64_t i = first; i <= last; i++)
        put(queue, i);
}

static int64_t get_in(struct shk_queue *queue, int64_t timeout)
{
    int64_t number;
    ssize_t n = shk_queue_get(queue, &number, sizeof(number), timeout);

    return n < 0 ? n : number;
}

static int64_t get(struct shk_queue *queue)
{
    return get_in(queue, SHK_NOWAIT);
}

static int64_t lease_in(struct shk_queue *queue, uint64_t *ticket, int64_t timeout)
{
    int64_t number;
    ssize_t n = shk_queue_lease(queue, &number, sizeof(number), timeout, ticket);

    return n < 0 ? n : number;
}

static int64_t lease(struct shk_queue *queue, uint64_t *ticket)
{
    return lease_in(queue, ticket, SHK_NOWAIT);
}

static uint32_t attempts(struct shk_queue *queue, uint64_t ticket)
{
    struct shk_lease_info info;

    assert_code(shk_queue_lease_info(queue, ticket, &info), 0);
    return info.attempts;
}

/* The i-th of n items that were put as 1 … n. */
static int64_t ith(const struct kind *kind, int64_t i, int64_t n)
{
    return kind->order == SHK_LIFO ? n + 1 - i : i;
}

/* ---- Leases of one process ---- */

START_TEST(test_an_item_is_leased_and_acknowledged_once)
{
    const struct kind *kind = &kinds[_i];
    struct shk_queue *queue = create_queue(kind);
    struct shk_lease_info info;
    uint64_t first, second;

    assert_code(lease(queue, &first), -EAGAIN);
    put_all(queue, 1, 3);
    assert_code(lease(queue, &first), ith(kind, 1, 3));
    assert_code(lease(queue, &second), ith(kind, 2, 3));
    ck_assert_uint_ne(first, second);
    assert_code(shk_queue_size(queue), 1);
    assert_code(shk_queue_unfinished(queue), 3);
    assert_code(shk_queue_lease_info(queue, second, &info), 0);
    ck_assert_uint_eq(info.attempts, 1);
    ck_assert_uint_eq(info.length, sizeof(int64_t));
    ck_assert_int_eq(info.pid, getpid());
    ck_assert_uint_eq(info.ticket, second);
    assert_code(shk_queue_ack(queue, first), 0);
    assert_code(shk_queue_ack(queue, first), -ENOENT);
    assert_code(shk_queue_nack(queue, first, 0), -ENOENT);
    assert_code(shk_queue_lease_info(queue, first, &info), -ENOENT);
    assert_code(shk_queue_unfinished(queue), 2);
    assert_code(get(queue), ith(kind, 3, 3));
    assert_code(get(queue), -EAGAIN);
    assert_code(shk_queue_ack(queue, second), 0);
    assert_code(shk_queue_ack(queue, 0), -ENOENT);
    assert_code(shk_queue_ack(queue, UINT64_MAX), -ENOENT);
    assert_code(shk_queue_ack(NULL, second), -EINVAL);
    assert_code(shk_queue_lease(queue, NULL, 8, SHK_NOWAIT, &first), -EINVAL);
    assert_code(shk_queue_lease(queue, &info, 8, SHK_NOWAIT, NULL), -EINVAL);
    assert_code(shk_queue_lease_info(queue, second, NULL), -EINVAL);
    assert_code(shk_queue_unfinished(queue), 1); /* of the get */
    assert_code(shk_queue_task_done(queue), 0);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

START_TEST(test_what_is_given_back_goes_before_the_others_in_its_order)
{
    const struct kind *kind = &kinds[_i];
    struct shk_queue *queue = create_queue(kind);
    uint64_t a, b, c;

    put_all(queue, 1, 5);
    assert_code(lease(queue, &a), ith(kind, 1, 5));
    assert_code(lease(queue, &b), ith(kind, 2, 5));
    assert_code(lease(queue, &c), ith(kind, 3, 5));
    assert_code(shk_queue_nack(queue, b, 0), 0);
    assert_code(shk_queue_nack(queue, a, 0), 0);
    assert_code(shk_queue_size(queue), 4);
    assert_code(lease(queue, &a), ith(kind, 1, 5));
    ck_assert_uint_eq(attempts(queue, a), 2);
    assert_code(get(queue), ith(kind, 2, 5));
    assert_code(shk_queue_nack(queue, c, 0), 0);
    assert_code(get(queue), ith(kind, 3, 5));
    assert_code(get(queue), ith(kind, 4, 5));
    assert_code(shk_queue_nack(queue, a, -1), 0);
    assert_code(lease(queue, &a), ith(kind, 1, 5));
    ck_assert_uint_eq(attempts(queue, a), 2); /* the last time does not count */
    assert_code(shk_queue_ack(queue, a), 0);
    assert_code(get(queue), ith(kind, 5, 5));
    assert_code(get(queue), -EAGAIN);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

START_TEST(test_priorities_decide_between_what_came_back_and_what_waits)
{
    const struct kind kind = {SHK_PRIORITY, _i ? 0 : 8};
    struct shk_queue *queue = create_queue(&kind);
    struct iovec bufs[4];
    int64_t numbers[4], priority;
    uint64_t a, b;

    for (int64_t i = 5; i <= 7; i++)
        assert_code(shk_queue_put_priority(queue, &i, sizeof(i), i, SHK_NOWAIT), 0);
    assert_code(lease(queue, &a), 5);
    assert_code(lease(queue, &b), 6);
    for (int64_t i = 4; i <= 6; i++)
        assert_code(shk_queue_put_priority(queue, &(int64_t){10 * i}, sizeof(i), i, SHK_NOWAIT), 0);
    assert_code(shk_queue_nack(queue, b, 0), 0);
    assert_code(shk_queue_nack(queue, a, 0), 0);
    assert_code(lease(queue, &a), 40);
    assert_code(shk_queue_nack(queue, a, 0), 0);
    /* 40, 5, 50, 6, 60, 7 */
    assert_code(shk_queue_get_priority(queue, numbers, 8, SHK_NOWAIT, &priority), 8);
    ck_assert_int_eq(numbers[0], 40);
    ck_assert_int_eq(priority, 4);
    assert_code(get(queue), 5);
    for (int i = 0; i < 4; i++)
        bufs[i] = (struct iovec){&numbers[i], 8};
    for (int n = 0, r; n < 4; n += r) {
        r = shk_queue_get_many(queue, bufs + n, (unsigned)(4 - n), SHK_NOWAIT);
        ck_assert_int_gt(r, 0);
    }
    ck_assert_int_eq(numbers[0], 50);
    ck_assert_int_eq(numbers[1], 6);
    ck_assert_int_eq(numbers[2], 60);
    ck_assert_int_eq(numbers[3], 7);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

START_TEST(test_a_peek_shows_what_came_back)
{
    const struct kind *kind = &kinds[_i];
    struct shk_queue *queue = create_queue(kind);
    const void *item;
    uint64_t a;

    put_all(queue, 1, 2);
    assert_code(lease(queue, &a), ith(kind, 1, 2));
    assert_code(shk_queue_nack(queue, a, 0), 0);
    assert_code(shk_queue_peek(queue, &item, SHK_NOWAIT), 8);
    ck_assert_int_eq(*(const int64_t *)item, ith(kind, 1, 2));
    assert_code(shk_queue_unpeek(queue), 0);
    assert_code(shk_queue_peek(queue, &item, SHK_NOWAIT), 8);
    ck_assert_int_eq(*(const int64_t *)item, ith(kind, 1, 2));
    assert_code(shk_queue_consume(queue), 0);
    assert_code(shk_queue_peek(queue, &item, SHK_NOWAIT), 8);
    ck_assert_int_eq(*(const int64_t *)item, ith(kind, 2, 2));
    assert_code(shk_queue_consume(queue), 0);
    assert_code(shk_queue_unfinished(queue), 2);
    assert_code(shk_queue_size(queue), 0);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

START_TEST(test_leased_items_count_for_the_capacity)
{
    const struct kind *kind = &kinds[_i];
    struct shk_queue *queue = create_queue(kind);
    struct iovec items[4];
    int64_t number = 99;
    uint64_t tickets[8];
    void *slot;

    for (int round = 0; round < 3; round++) {
        put_all(queue, 1, 8);
        for (int i = 0; i < 3; i++)
            ck_assert_int_gt(lease(queue, &tickets[i]), 0);
        assert_code(shk_queue_full(queue), 1);
        assert_code(shk_queue_put(queue, &number, 8, SHK_NOWAIT), -EAGAIN);
        assert_code(shk_queue_reserve(queue, 8, &slot, SHK_NOWAIT), -EAGAIN);
        assert_code(shk_queue_ack(queue, tickets[0]), 0);
        assert_code(shk_queue_full(queue), 0);
        for (int i = 0; i < 4; i++)
            items[i] = (struct iovec){&number, 8};
        assert_code(shk_queue_put_many(queue, items, 4, SHK_NOWAIT), 1);
        assert_code(shk_queue_nack(queue, tickets[1], SHK_SEC(1000)), 0);
        assert_code(shk_queue_put(queue, &number, 8, SHK_NOWAIT), -EAGAIN);
        assert_code(shk_queue_nack(queue, tickets[2], 0), 0);
        assert_code(shk_queue_put(queue, &number, 8, SHK_NOWAIT), -EAGAIN);
        ck_assert_int_gt(get(queue), 0); /* what came back */
        assert_code(shk_queue_put(queue, &number, 8, SHK_NOWAIT), 0);
        while (lease(queue, &tickets[0]) >= 0)
            assert_code(shk_queue_ack(queue, tickets[0]), 0);
        assert_code(shk_queue_size(queue), 1); /* the delayed one */
        assert_code(shk_object_unlink(test_segment(), "jobs"), 0);
        assert_code(shk_queue_close(queue), 0);
        queue = create_queue(kind);
    }
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

START_TEST(test_a_delayed_item_is_given_when_it_is_due)
{
    struct shk_queue *queue = create_queue(&kinds[_i]);
    uint64_t ticket;

    put(queue, 1);
    assert_code(lease(queue, &ticket), 1);
    assert_code(shk_queue_nack(queue, ticket, SHK_MS(200)), 0);
    assert_code(get(queue), -EAGAIN);
    assert_code(lease(queue, &ticket), -EAGAIN);
    assert_code_after(SHK_MS(10), get_in(queue, SHK_MS(10)), -ETIMEDOUT);
    assert_code_after(SHK_MS(100), lease_in(queue, &ticket, SHK_FOREVER), 1);
    assert_code(shk_queue_nack(queue, ticket, SHK_MS(100)), 0);
    put(queue, 2);
    assert_code(get(queue), 2);
    assert_code_after(SHK_MS(50), get_in(queue, SHK_FOREVER), 1);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

START_TEST(test_a_buffer_that_is_too_small_leases_nothing)
{
    struct shk_queue *queue = create_queue(&kinds[_i]);
    uint64_t ticket;
    char small[4];

    put(queue, 1);
    assert_code(shk_queue_lease(queue, small, 4, SHK_NOWAIT, &ticket), -EMSGSIZE);
    assert_code(lease(queue, &ticket), 1);
    assert_code(shk_queue_nack(queue, ticket, 0), 0);
    assert_code(shk_queue_lease(queue, small, 4, SHK_NOWAIT, &ticket), -EMSGSIZE);
    assert_code(shk_queue_get(queue, small, 4, SHK_NOWAIT), -EMSGSIZE);
    assert_code(shk_queue_size(queue), 1);
    assert_code(lease(queue, &ticket), 1);
    ck_assert_uint_eq(attempts(queue, ticket), 2);
    assert_code(shk_queue_ack(queue, ticket), 0);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

START_TEST(test_as_many_items_are_leased_as_the_page_says)
{
    struct shk_queue *queue = create_queue(&kinds[3]);
    static uint64_t tickets[4097];

    for (int round = 0; round < 2; round++) {
        put_all(queue, 1, 4097);
        for (int64_t i = 0; i < 4096; i++)
            assert_code(lease(queue, &tickets[i]), i + 1);
        assert_code(lease(queue, &tickets[4096]), -ENOSPC);
        assert_code(shk_queue_ack(queue, tickets[70]), 0);
        assert_code(lease(queue, &tickets[70]), 4097);
        for (int i = 0; i < 4096; i++)
            assert_code(shk_queue_ack(queue, tickets[i]), 0);
        assert_code(shk_queue_join(queue, SHK_NOWAIT), 0);
    }
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

/* The fast tier of get does not know of leases. */
START_TEST(test_a_bias_owner_gets_what_came_back_first)
{
    const struct kind *kind = &kinds[_i];
    struct shk_queue *queue = create_queue(kind);
    uint64_t ticket;

    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 300; i++) {
            put(queue, i);
            assert_code(get(queue), i);
        }
        put_all(queue, 1, 3);
        assert_code(lease(queue, &ticket), ith(kind, 1, 3));
        assert_code(get(queue), ith(kind, 2, 3));
        assert_code(shk_queue_nack(queue, ticket, 0), 0);
        assert_code(get(queue), ith(kind, 1, 3));
        assert_code(get(queue), ith(kind, 3, 3));
        assert_code(get(queue), -EAGAIN);
    }
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

START_TEST(test_a_claimer_leases_and_is_given_what_came_back)
{
    struct shk_queue *queue = create_queue(&kinds[_i ? 3 : 0]);
    uint64_t ticket;

    put_all(queue, 1, 3);
    assert_code(shk_queue_claim(queue, SHK_CONSUMER, SHK_NOWAIT), 0);
    assert_code(lease(queue, &ticket), 1);
    assert_code(shk_queue_nack(queue, ticket, 0), 0);
    assert_code(lease(queue, &ticket), 1);
    assert_code(shk_queue_nack(queue, ticket, 0), 0);
    for (int64_t i = 0, sum = 0; i < 3; i++) {
        int64_t number = get(queue);

        ck_assert_int_gt(number, 0);
        sum += number;
        if (i == 2)
            ck_assert_int_eq(sum, 6);
    }
    assert_code(get(queue), -EAGAIN);
    assert_code(shk_queue_unclaim(queue, SHK_CONSUMER), 0);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

START_TEST(test_a_queue_that_is_shut_down_is_drained_when_nothing_is_leased)
{
    struct shk_queue *queue = create_queue(&kinds[_i]);
    uint64_t a, b;

    put_all(queue, 1, 2);
    ck_assert_int_gt(lease(queue, &a), 0);
    ck_assert_int_gt(lease(queue, &b), 0);
    assert_code(shk_queue_shutdown(queue), 0);
    assert_code(get(queue), -EAGAIN);
    assert_code(lease(queue, &a), -EAGAIN);
    assert_code(shk_queue_ack(queue, b), 0);
    assert_code(shk_queue_nack(queue, a, 0), 0);
    ck_assert_int_gt(lease(queue, &a), 0);
    assert_code(lease(queue, &b), -EAGAIN);
    assert_code(shk_queue_nack(queue, a, SHK_MS(20)), 0);
    ck_assert_int_gt(lease_in(queue, &a, SHK_FOREVER), 0);
    assert_code(shk_queue_ack(queue, a), 0);
    assert_code(lease(queue, &b), -EPIPE);
    assert_code(get(queue), -EPIPE);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

START_TEST(test_leases_of_an_unlinked_queue_are_gone)
{
    struct shk_queue *queue = create_queue(&kinds[_i]);
    uint64_t ticket;

    put(queue, 1);
    assert_code(lease(queue, &ticket), 1);
    assert_code(shk_object_unlink(test_segment(), "jobs"), 0);
    assert_code(shk_queue_ack(queue, ticket), -ESTALE);
    assert_code(shk_queue_nack(queue, ticket, 0), -ESTALE);
    assert_code(lease(queue, &ticket), -ESTALE);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

/* ---- Several processes ---- */

struct actor {
    pid_t pid;
    int (*act)(struct shk_queue *);
    _Atomic int64_t result;
    _Atomic uint64_t ticket;
    _Atomic bool done, goes_on;
};

static struct actor *self; /* in the actor */

static int act(void *argument)
{
    self = argument;
    self->result = self->act(open_queue());
    return 0;
}

static struct actor *start_actor(int (*body)(struct shk_queue *))
{
    struct actor *actor = shared_memory(sizeof(*actor));

    actor->act = body;
    actor->pid = stranger_start(act, actor);
    return actor;
}

static void wait_until_done(struct actor *actor)
{
    wait_until(actor->done, TEST_DEADLINE);
}

static int64_t result_of(struct actor *actor)
{
    child_succeeds(actor->pid);
    return actor->result;
}

static struct actor *start_waiter(int (*body)(struct shk_queue *))
{
    struct actor *actor = start_actor(body);

    wait_until_waiting(segment_name(NULL), actor->pid, "jobs");
    return actor;
}

static int lease_and_stay(struct shk_queue *queue)
{
    uint64_t ticket;
    int64_t r = lease_in(queue, &ticket, SHK_FOREVER);

    self->ticket = ticket;
    self->done = true;
    wait_until(self->goes_on, TEST_DEADLINE);
    if (r >= 0)
        assert_code(shk_queue_ack(queue, ticket), 0);
    return (int)r;
}

static int lease_and_ack(struct shk_queue *queue)
{
    uint64_t ticket;
    int64_t r = lease_in(queue, &ticket, SHK_FOREVER);

    if (r >= 0)
        assert_code(shk_queue_ack(queue, ticket), 0);
    return (int)r;
}

static int get_one(struct shk_queue *queue)
{
    return (int)get_in(queue, SHK_FOREVER);
}

static int put_one(struct shk_queue *queue)
{
    int64_t number = 77;

    return shk_queue_put(queue, &number, 8, SHK_FOREVER);
}

static int join(struct shk_queue *queue)
{
    return shk_queue_join(queue, SHK_FOREVER);
}

static void worker_dies(const struct kind *kind, int (*waiter)(struct shk_queue *))
{
    struct shk_queue *queue = create_queue(kind);
    struct actor *worker = start_waiter(lease_and_stay), *idle;
    int64_t killed;

    put(queue, 5);
    wait_until_done(worker);
    idle = start_waiter(waiter);
    child_kill(worker->pid);
    killed = time_now();
    assert_result(result_of(idle), 5);
    ck_assert_int_lt(time_now() - killed, SHK_SEC(2) * time_factor());
    assert_code(shk_queue_unfinished(queue), 0);
    assert_code(shk_queue_close(queue), 0);
}

START_TEST(test_an_idle_consumer_is_given_what_a_dead_worker_had_leased)
{
    worker_dies(&kinds[_i], lease_and_ack);
}
END_TEST

START_TEST(test_an_idle_getter_is_given_what_a_dead_worker_had_leased)
{
    worker_dies(&kinds[_i], get_one);
}
END_TEST

/* No consumer waits, and none finds it empty. */
START_TEST(test_a_busy_consumer_is_given_what_a_dead_worker_had_leased)
{
    struct shk_queue *queue = create_queue(&kinds[_i / 2]);
    struct actor *worker = start_waiter(lease_and_stay);
    int64_t number, until = time_now() + TEST_DEADLINE * time_factor();
    uint64_t ticket;

    put(queue, 5);
    wait_until_done(worker);
    put(queue, 6);
    child_kill(worker->pid);
    do {
        ck_assert_int_lt(time_now(), until);
        put(queue, 6);
        number = _i % 2 ? get(queue) : lease(queue, &ticket);
        if (_i % 2 == 0)
            assert_code(shk_queue_ack(queue, ticket), 0);
    } while (number == 6);
    assert_result(number, 5);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

static int lease_in_order(struct shk_queue *queue)
{
    uint64_t ticket;

    for (int i = 0; i < 3; i++)
        ck_assert_int_gt(lease(queue, &ticket), 0);
    self->done = true;
    wait_until(self->goes_on, TEST_DEADLINE);
    return 0;
}

START_TEST(test_what_comes_back_from_the_dead_keeps_its_order)
{
    const struct kind *kind = &kinds[_i];
    struct shk_queue *queue = create_queue(kind);
    struct actor *worker;
    uint64_t ticket;

    put_all(queue, 1, 4);
    worker = start_actor(lease_in_order);
    wait_until_done(worker);
    child_kill(worker->pid);
    assert_code(lease(queue, &ticket), ith(kind, 4, 4));
    for (int64_t i = 1; i <= 3; i++) {
        assert_code(lease_in(queue, &ticket, TEST_DEADLINE), ith(kind, i, 4));
        ck_assert_uint_eq(attempts(queue, ticket), 2);
    }
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

START_TEST(test_only_the_process_that_leased_may_acknowledge)
{
    struct shk_queue *queue = create_queue(&kinds[_i]);
    struct actor *worker;

    put(queue, 1);
    worker = start_actor(lease_and_stay);
    wait_until_done(worker);
    assert_code(shk_queue_ack(queue, worker->ticket), -EPERM);
    assert_code(shk_queue_nack(queue, worker->ticket, 0), -EPERM);
    worker->goes_on = true;
    assert_result(result_of(worker), 1);
    assert_code(shk_queue_ack(queue, worker->ticket), -ENOENT);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

static int ack_parents(void *ticket)
{
    struct shk_queue *queue = open_queue();

    assert_code(shk_queue_ack(queue, *(uint64_t *)ticket), -EPERM);
    return 0;
}

START_TEST(test_a_forked_child_does_not_own_its_parents_leases)
{
    struct shk_queue *queue = create_queue(&kinds[0]);
    uint64_t ticket;

    put(queue, 1);
    assert_code(lease(queue, &ticket), 1);
    child_succeeds(child_start(ack_parents, &ticket));
    assert_code(lease_in(queue, &(uint64_t){0}, SHK_MS(300)), -ETIMEDOUT); /* nothing came back */
    assert_code(shk_queue_ack(queue, ticket), 0);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

static void *lease_in_thread(void *ticket)
{
    struct shk_queue *queue = open_queue();

    assert_code(lease(queue, ticket), 1);
    assert_code(shk_queue_close(queue), 0);
    return NULL;
}

START_TEST(test_a_lease_outlives_its_thread_and_any_thread_may_acknowledge)
{
    struct shk_queue *queue = create_queue(&kinds[_i]);
    uint64_t ticket, other;
    pthread_t thread;

    put(queue, 1);
    ck_assert_int_eq(pthread_create(&thread, NULL, lease_in_thread, &ticket), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    assert_code(lease_in(queue, &other, SHK_MS(300)), -ETIMEDOUT);
    assert_code(shk_queue_ack(queue, ticket), 0);
    assert_code(shk_queue_join(queue, SHK_NOWAIT), 0);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

static int lease_and_close(struct shk_queue *queue)
{
    uint64_t ticket;

    assert_code(lease(queue, &ticket), 1);
    assert_code(shk_queue_close(queue), 0);
    assert_code(shk_segment_close(test_segment()), 0);
    self->done = true;
    wait_until(self->goes_on, TEST_DEADLINE);
    _exit(0);
}

START_TEST(test_a_lease_ends_when_its_process_closes_the_segment)
{
    struct shk_queue *queue = create_queue(&kinds[_i]);
    struct actor *worker;
    uint64_t ticket;

    put(queue, 1);
    worker = start_actor(lease_and_close);
    wait_until_done(worker);
    assert_code(lease_in(queue, &ticket, TEST_DEADLINE), 1);
    worker->goes_on = true;
    child_wait(worker->pid);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

static int lease_and_exec(struct shk_queue *queue)
{
    uint64_t ticket;

    assert_code(lease(queue, &ticket), 1);
    self->done = true;
    execlp("sleep", "sleep", "100", NULL);
    return 1;
}

START_TEST(test_a_lease_ends_when_its_process_executes_another_program)
{
    struct shk_queue *queue = create_queue(&kinds[_i]);
    struct actor *worker;
    uint64_t ticket;

    put(queue, 1);
    worker = start_actor(lease_and_exec);
    wait_until_done(worker);
    assert_code(lease_in(queue, &ticket, TEST_DEADLINE), 1);
    child_kill(worker->pid);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

START_TEST(test_a_stopped_worker_keeps_its_item)
{
    struct shk_queue *queue = create_queue(&kinds[_i]);
    struct actor *worker;
    uint64_t ticket;

    put(queue, 1);
    worker = start_actor(lease_and_stay);
    wait_until_done(worker);
    child_stop(worker->pid);
    assert_code(lease_in(queue, &ticket, SHK_MS(300)), -ETIMEDOUT);
    child_continue(worker->pid);
    worker->goes_on = true;
    assert_result(result_of(worker), 1);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

START_TEST(test_a_producer_wakes_at_an_acknowledgement)
{
    struct shk_queue *queue = create_queue(&kinds[_i]);
    struct actor *producer;
    uint64_t ticket;

    put_all(queue, 1, 8);
    ck_assert_int_gt(lease(queue, &ticket), 0);
    producer = start_waiter(put_one);
    assert_code(shk_queue_ack(queue, ticket), 0);
    assert_result(result_of(producer), 0);
    assert_code(shk_queue_size(queue), 8);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

START_TEST(test_a_join_waits_for_leases_and_delays)
{
    struct shk_queue *queue = create_queue(&kinds[_i]);
    struct actor *joiner;
    uint64_t ticket;

    put(queue, 1);
    assert_code(lease(queue, &ticket), 1);
    assert_code(shk_queue_join(queue, SHK_NOWAIT), -EAGAIN);
    assert_code(shk_queue_nack(queue, ticket, SHK_MS(50)), 0);
    assert_code(shk_queue_join(queue, SHK_NOWAIT), -EAGAIN);
    joiner = start_waiter(join);
    assert_code(lease_in(queue, &ticket, SHK_FOREVER), 1);
    assert_code(shk_queue_join(queue, SHK_MS(20)), -ETIMEDOUT);
    assert_code(shk_queue_ack(queue, ticket), 0);
    assert_result(result_of(joiner), 0);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

START_TEST(test_consumers_of_a_shut_queue_end_at_the_last_acknowledgement)
{
    struct shk_queue *queue = create_queue(&kinds[_i]);
    struct actor *getter, *lessee;
    uint64_t ticket;

    put(queue, 1);
    assert_code(lease(queue, &ticket), 1);
    assert_code(shk_queue_shutdown(queue), 0);
    getter = start_waiter(get_one);
    lessee = start_waiter(lease_and_ack);
    assert_code(shk_queue_ack(queue, ticket), 0);
    assert_result(result_of(getter), -EPIPE);
    assert_result(result_of(lessee), -EPIPE);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

START_TEST(test_waiting_consumers_are_given_what_is_given_back)
{
    struct shk_queue *queue = create_queue(&kinds[_i]);
    struct actor *first, *second;
    uint64_t a, b;

    put_all(queue, 1, 2);
    ck_assert_int_gt(lease(queue, &a), 0);
    ck_assert_int_gt(lease(queue, &b), 0);
    first = start_waiter(lease_and_ack);
    second = start_waiter(get_one);
    assert_code(shk_queue_nack(queue, a, 0), 0);
    assert_code(shk_queue_nack(queue, b, SHK_MS(30)), 0);
    ck_assert_int_eq(result_of(first) + result_of(second), 3);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

static int wait_for_any(struct shk_queue *queue)
{
    struct shk_ready set = {.kind = SHK_KIND_QUEUE, .want = SHK_READABLE, .object = queue};

    return shk_wait_any(&set, 1, TEST_DEADLINE);
}

START_TEST(test_a_queue_is_readable_when_an_item_comes_back)
{
    struct shk_queue *queue = create_queue(&kinds[_i]);
    struct actor *watcher, *worker;
    uint64_t ticket;

    put(queue, 1);
    assert_code(lease(queue, &ticket), 1);
    watcher = start_waiter(wait_for_any);
    assert_code(shk_queue_nack(queue, ticket, 0), 0);
    assert_result(result_of(watcher), 0);
    worker = start_actor(lease_and_stay);
    wait_until_done(worker);
    watcher = start_waiter(wait_for_any);
    child_kill(worker->pid);
    assert_result(result_of(watcher), 0);
    assert_code(lease(queue, &ticket), 1);
    assert_code(shk_queue_nack(queue, ticket, SHK_MS(50)), 0);
    assert_code_after(SHK_MS(40), wait_for_any(queue), 0);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

/* ---- Many at once ---- */

enum { WORKERS = 4, ITEMS = 3000 };

static int work(struct shk_queue *queue)
{
    uint64_t ticket;
    int64_t number;
    int n = 0;

    while ((number = lease_in(queue, &ticket, SHK_FOREVER)) >= 0) {
        int r = number % 7 == 0 && attempts(queue, ticket) == 1
                    ? shk_queue_nack(queue, ticket, number % 14 ? 0 : SHK_MS(1))
                    : (n++, shk_queue_ack(queue, ticket));

        if (r != 0)
            return r;
    }
    return number == -EPIPE ? n : (int)number;
}

START_TEST(test_each_item_is_done_once)
{
    struct shk_queue *queue = create_queue(&kinds[_i]);
    struct actor *workers[WORKERS];
    int64_t done = 0;

    for (int i = 0; i < WORKERS; i++)
        workers[i] = start_actor(work);
    for (int64_t i = 0; i < ITEMS; i++)
        assert_code(shk_queue_put(queue, &i, sizeof(i), TEST_DEADLINE), 0);
    assert_code(shk_queue_join(queue, TEST_DEADLINE), 0);
    assert_code(shk_queue_shutdown(queue), 0);
    for (int i = 0; i < WORKERS; i++) {
        int64_t n = result_of(workers[i]);

        ck_assert_int_ge(n, 0);
        done += n;
    }
    ck_assert_int_eq(done, ITEMS);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("lease");
    TCase *alone = test_case(suite, "alone");
    TCase *others = test_case(suite, "others");

    tcase_add_loop_test(alone, test_an_item_is_leased_and_acknowledged_once, 0, KINDS);
    tcase_add_loop_test(alone, test_what_is_given_back_goes_before_the_others_in_its_order, 0,
                        KINDS);
    tcase_add_loop_test(alone, test_priorities_decide_between_what_came_back_and_what_waits, 0, 2);
    tcase_add_loop_test(alone, test_a_peek_shows_what_came_back, 0, KINDS);
    tcase_add_loop_test(alone, test_leased_items_count_for_the_capacity, 0, LIMITED);
    tcase_add_loop_test(alone, test_a_delayed_item_is_given_when_it_is_due, 0, KINDS);
    tcase_add_loop_test(alone, test_a_buffer_that_is_too_small_leases_nothing, 0, KINDS);
    tcase_add_test(alone, test_as_many_items_are_leased_as_the_page_says);
    tcase_add_loop_test(alone, test_a_bias_owner_gets_what_came_back_first, 0, KINDS);
    tcase_add_loop_test(alone, test_a_claimer_leases_and_is_given_what_came_back, 0, 2);
    tcase_add_loop_test(alone, test_a_queue_that_is_shut_down_is_drained_when_nothing_is_leased, 0,
                        KINDS);
    tcase_add_loop_test(alone, test_leases_of_an_unlinked_queue_are_gone, 0, KINDS);
    tcase_add_loop_test(others, test_an_idle_consumer_is_given_what_a_dead_worker_had_leased, 0,
                        KINDS);
    tcase_add_loop_test(others, test_an_idle_getter_is_given_what_a_dead_worker_had_leased, 0,
                        KINDS);
    tcase_add_loop_test(others, test_a_busy_consumer_is_given_what_a_dead_worker_had_leased, 0,
                        2 * KINDS);
    tcase_add_loop_test(others, test_what_comes_back_from_the_dead_keeps_its_order, 0, KINDS);
    tcase_add_loop_test(others, test_only_the_process_that_leased_may_acknowledge, 0, KINDS);
    tcase_add_test(others, test_a_forked_child_does_not_own_its_parents_leases);
    tcase_add_loop_test(others, test_a_lease_outlives_its_thread_and_any_thread_may_acknowledge, 0,
                        KINDS);
    tcase_add_loop_test(others, test_a_lease_ends_when_its_process_closes_the_segment, 0, KINDS);
    tcase_add_loop_test(others, test_a_lease_ends_when_its_process_executes_another_program, 0,
                        KINDS);
    tcase_add_loop_test(others, test_a_stopped_worker_keeps_its_item, 0, 1);
    tcase_add_loop_test(others, test_a_producer_wakes_at_an_acknowledgement, 0, LIMITED);
    tcase_add_loop_test(others, test_a_join_waits_for_leases_and_delays, 0, KINDS);
    tcase_add_loop_test(others, test_consumers_of_a_shut_queue_end_at_the_last_acknowledgement, 0,
                        KINDS);
    tcase_add_loop_test(others, test_waiting_consumers_are_given_what_is_given_back, 0, KINDS);
    tcase_add_loop_test(others, test_a_queue_is_readable_when_an_item_comes_back, 0, KINDS);
    tcase_add_loop_test(others, test_each_item_is_done_once, 0, KINDS);
    return run_tests(suite);
}
