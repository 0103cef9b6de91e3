/* Batches, and what keeps a lock of a queue: reservations, peeks, claims. */
#include "common.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct kind {
    uint32_t order;
    size_t capacity;
} kinds[] = {
    {SHK_FIFO, 4}, {SHK_LIFO, 4}, {SHK_PRIORITY, 4},
    {SHK_FIFO, 0}, {SHK_LIFO, 0}, {SHK_PRIORITY, 0},
};
enum { KINDS = sizeof(kinds) / sizeof(kinds[0]) };

static struct shk_queue *create_queue(const struct kind *kind, size_t item_size)
{
    const struct shk_queue_options options = {
        .order = kind->order, .capacity = kind->capacity, .item_size = item_size};
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

static int put(struct shk_queue *queue, int64_t number)
{
    return shk_queue_put(queue, &number, sizeof(number), SHK_NOWAIT);
}

static int64_t get_for(struct shk_queue *queue, int64_t timeout)
{
    int64_t number;
    ssize_t n = shk_queue_get(queue, &number, sizeof(number), timeout);

    return n == sizeof(number) ? number : n < 0 ? n : -EILSEQ;
}

static int64_t get(struct shk_queue *queue)
{
    return get_for(queue, SHK_NOWAIT);
}

/* ---- Actors ---- */

struct actor {
    pid_t pid;
    int (*act)(struct shk_queue *);
    bool stays;
    _Atomic int result;
    _Atomic bool done;
};

static int act(void *argument)
{
    struct actor *actor = argument;

    actor->result = actor->act(open_queue());
    actor->done = true;
    while (actor->stays)
        pause_briefly();
    return 0;
}

static struct actor *start_actor(int (*body)(struct shk_queue *), bool stays)
{
    struct actor *actor = shared_memory(sizeof(*actor));

    *actor = (struct actor){.act = body, .stays = stays};
    actor->pid = stranger_start(act, actor);
    return actor;
}

/* It has done it, and lives on with what it has. */
static struct actor *start_holder(int (*body)(struct shk_queue *))
{
    struct actor *actor = start_actor(body, true);

    wait_until(actor->done, TEST_DEADLINE);
    ck_assert_int_ge(actor->result, 0);
    return actor;
}

static struct actor *start_waiter(int (*body)(struct shk_queue *))
{
    struct actor *actor = start_actor(body, false);

    wait_until_waiting(segment_name(NULL), actor->pid, "jobs");
    return actor;
}

static int result_of(struct actor *actor)
{
    child_succeeds(actor->pid);
    return actor->result;
}

static int put_7(struct shk_queue *queue)
{
    int64_t number = 7;

    return shk_queue_put(queue, &number, sizeof(number), SHK_FOREVER);
}

static int get_any(struct shk_queue *queue)
{
    return (int)get_for(queue, SHK_FOREVER);
}

static int reserve(struct shk_queue *queue)
{
    void *slot;
    int r = shk_queue_reserve(queue, 8, &slot, SHK_FOREVER);

    if (r == 0)
        memset(slot, 0xff, 8);
    return r;
}

static int peek(struct shk_queue *queue)
{
    const void *item;

    return (int)shk_queue_peek(queue, &item, SHK_FOREVER);
}

static int claim_producer(struct shk_queue *queue)
{
    return shk_queue_claim(queue, SHK_PRODUCER, SHK_FOREVER);
}

static int claim_consumer(struct shk_queue *queue)
{
    return shk_queue_claim(queue, SHK_CONSUMER, SHK_FOREVER);
}

/* ---- Batches ---- */

#define PIECES(array, i)                \
    {                                   \
        &(array)[i], sizeof((array)[i]) \
    }

START_TEST(test_many_are_put_and_taken_in_order)
{
    struct shk_queue *queue = create_queue(&kinds[_i], 8);
    int64_t in[6] = {10, 11, 12, 13, 14, 15}, out[6] = {0};
    struct iovec items[6], buffers[6];
    int most = kinds[_i].capacity ? 4 : 6;

    for (int i = 0; i < 6; i++) {
        items[i] = (struct iovec)PIECES(in, i);
        buffers[i] = (struct iovec)PIECES(out, i);
    }
    assert_code(shk_queue_get_many(queue, buffers, 6, SHK_NOWAIT), -EAGAIN);
    assert_code(shk_queue_put_many(queue, items, 6, SHK_NOWAIT), most);
    assert_code(shk_queue_size(queue), most);
    if (kinds[_i].capacity)
        assert_code(shk_queue_put_many(queue, items, 1, SHK_NOWAIT), -EAGAIN);
    assert_code(shk_queue_get_many(queue, buffers, 2, SHK_FOREVER), 2);
    assert_code(shk_queue_get_many(queue, buffers + 2, 4, SHK_FOREVER), most - 2);
    for (int i = 0; i < most; i++) {
        ck_assert_int_eq(out[i], kinds[_i].order == SHK_LIFO ? in[most - 1 - i] : in[i]);
        ck_assert_uint_eq(buffers[i].iov_len, 8);
    }
    assert_code(shk_queue_shutdown(queue), 0);
    assert_code(shk_queue_put_many(queue, items, 6, SHK_FOREVER), -EPIPE);
    assert_code(shk_queue_get_many(queue, buffers, 6, SHK_FOREVER), -EPIPE);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

START_TEST(test_many_refuse_what_one_refuses)
{
    struct shk_queue *queue = create_queue(&kinds[_i], 8);
    char large[9] = "", one[8], two[8];
    struct iovec items[2] = {{large, 8}, {large, 9}}, none[2] = {{large, 8}, {NULL, 1}};
    struct iovec buffers[2] = {{one, 8}, {two, 7}};

    assert_code(shk_queue_put_many(queue, items, 2, SHK_NOWAIT), -EMSGSIZE);
    assert_code(shk_queue_put_many(queue, none, 2, SHK_NOWAIT), -EINVAL);
    assert_code(shk_queue_put_many(queue, items, 0, SHK_NOWAIT), -EINVAL);
    assert_code(shk_queue_put_many(queue, NULL, 1, SHK_NOWAIT), -EINVAL);
    assert_code(shk_queue_put_many(NULL, items, 1, SHK_NOWAIT), -EINVAL);
    assert_code(shk_queue_get_many(queue, NULL, 1, SHK_NOWAIT), -EINVAL);
    assert_code(shk_queue_get_many(queue, buffers, 0, SHK_NOWAIT), -EINVAL);
    assert_code(shk_queue_get_many(queue, none, 2, SHK_NOWAIT), -EINVAL);
    assert_code(shk_queue_get_many(NULL, buffers, 1, SHK_NOWAIT), -EINVAL);
    assert_code(shk_queue_size(queue), 0);
    items[1].iov_len = 8;
    assert_code(shk_queue_put_many(queue, items, 2, SHK_NOWAIT), 2);
    assert_code(shk_queue_get_many(queue, buffers + 1, 1, SHK_NOWAIT), -EMSGSIZE);
    /* the second does not fit, and stays */
    assert_code(shk_queue_get_many(queue, buffers, 2, SHK_NOWAIT), 1);
    assert_code(shk_queue_size(queue), 1);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

START_TEST(test_a_batch_wakes_all_that_can_go_on)
{
    struct shk_queue *queue = create_queue(&kinds[_i], 8);
    int64_t in[3] = {1, 2, 3};
    struct iovec items[3] = {PIECES(in, 0), PIECES(in, 1), PIECES(in, 2)};
    struct actor *getters[3];
    int sum = 0;

    for (int i = 0; i < 3; i++)
        getters[i] = start_waiter(get_any);
    assert_code(shk_queue_put_many(queue, items, 3, SHK_NOWAIT), 3);
    for (int i = 0; i < 3; i++)
        sum += result_of(getters[i]);
    ck_assert_int_eq(sum, 6);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

/* ---- Reservations ---- */

START_TEST(test_a_reservation_becomes_an_item_or_nothing)
{
    struct shk_queue *queue = create_queue(&kinds[_i], 16);
    void *slot;
    char item[16];

    for (int lap = 0; lap < 20; lap++) {
        assert_code(shk_queue_reserve(queue, 16, &slot, SHK_FOREVER), 0);
        ck_assert_uint_eq((uintptr_t)slot % 8, 0);
        memcpy(slot, "in place", 8);
        assert_code(shk_queue_size(queue), 0);
        assert_code(shk_queue_commit(queue, 17), -EMSGSIZE);
        assert_code(shk_queue_commit(queue, 8), 0);
        assert_code(shk_queue_commit(queue, 8), -EPERM);
        assert_code(shk_queue_reserve(queue, 16, &slot, SHK_FOREVER), 0);
        memset(slot, 'x', 16);
        assert_code(shk_queue_cancel(queue), 0);
        assert_code(shk_queue_cancel(queue), -EPERM);
        assert_code(shk_queue_size(queue), 1);
        assert_code(shk_queue_get(queue, item, sizeof(item), SHK_NOWAIT), 8);
        ck_assert_mem_eq(item, "in place", 8);
    }
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

START_TEST(test_a_reservation_refuses_what_a_put_refuses)
{
    struct shk_queue *queue = create_queue(&kinds[_i], 8);
    void *slot = NULL;

    assert_code(shk_queue_reserve(queue, 9, &slot, SHK_NOWAIT), -EMSGSIZE);
    assert_code(shk_queue_reserve(queue, 8, NULL, SHK_NOWAIT), -EINVAL);
    assert_code(shk_queue_reserve(NULL, 8, &slot, SHK_NOWAIT), -EINVAL);
    assert_code(shk_queue_commit(NULL, 8), -EINVAL);
    assert_code(shk_queue_cancel(NULL), -EINVAL);
    assert_code(shk_queue_commit(queue, 8), -EPERM);
    assert_code(shk_queue_cancel(queue), -EPERM);
    if (kinds[_i].capacity) {
        for (int i = 0; i < 4; i++)
            assert_code(put(queue, i), 0);
        assert_code(shk_queue_reserve(queue, 8, &slot, SHK_NOWAIT), -EAGAIN);
        assert_code_after(SHK_MS(20), shk_queue_reserve(queue, 8, &slot, SHK_MS(20)), -ETIMEDOUT);
    }
    assert_code(shk_queue_shutdown(queue), 0);
    assert_code(shk_queue_reserve(queue, 8, &slot, SHK_FOREVER), -EPIPE);
    ck_assert_ptr_null(slot);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

START_TEST(test_a_member_with_a_reservation_can_neither_put_nor_go)
{
    struct shk_queue *queue = create_queue(&kinds[_i], 8);
    struct shk_object_info info;
    void *slot;

    assert_code(put(queue, 1), 0);
    assert_code(shk_queue_reserve(queue, 8, &slot, SHK_FOREVER), 0);
    assert_code(put(queue, 2), -EDEADLK);
    assert_code(shk_queue_reserve(queue, 8, &slot, SHK_FOREVER), -EDEADLK);
    if (kinds[_i].order == SHK_FIFO) {
        assert_code(get(queue), 1);
        assert_code(shk_queue_claim(queue, SHK_PRODUCER, SHK_NOWAIT), -EDEADLK);
    } else {
        assert_code(get(queue), -EDEADLK);
    }
    assert_code(shk_queue_close(queue), -EBUSY);
    assert_code(shk_segment_close(test_segment()), -EBUSY);
    ck_assert(look_at_object(segment_name(NULL), "jobs", &info));
    ck_assert_uint_ne(info.as.queue.producer, 0);
    assert_code(shk_queue_cancel(queue), 0);
    ck_assert(look_at_object(segment_name(NULL), "jobs", &info));
    ck_assert_uint_eq(info.as.queue.producer, 0);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

START_TEST(test_others_wait_for_a_reservation_and_its_death_leaves_nothing)
{
    struct shk_queue *queue = create_queue(&kinds[_i], 8);
    struct actor *holder = start_holder(reserve);

    assert_code(put(queue, 1), -EBUSY);
    ck_assert_ptr_nonnull(strstr(shk_last_error(), "has a reservation open"));
    assert_code_after(SHK_MS(20), shk_queue_put(queue, "12345678", 8, SHK_MS(20)), -ETIMEDOUT);
    struct actor *waiter = start_waiter(put_7);
    child_kill(holder->pid);
    assert_result(result_of(waiter), 0);
    assert_code(get(queue), 7);
    assert_code(get(queue), -EAGAIN);
    for (int i = 1; i <= 4; i++)
        assert_code(put(queue, i), 0);
    assert_code(shk_queue_size(queue), 4);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

START_TEST(test_a_shutdown_lets_a_reservation_be_committed)
{
    struct shk_queue *queue = create_queue(&kinds[_i], 8);
    void *slot;

    assert_code(shk_queue_reserve(queue, 8, &slot, SHK_FOREVER), 0);
    struct actor *getters[2] = {start_waiter(get_any), start_waiter(get_any)};
    assert_code(shk_queue_shutdown(queue), 0);
    *(int64_t *)slot = 9;
    wait_until_waiting(segment_name(NULL), getters[0]->pid, "jobs"); /* they still wait for it */
    wait_until_waiting(segment_name(NULL), getters[1]->pid, "jobs");
    assert_code(shk_queue_commit(queue, 8), 0);
    assert_code(put(queue, 1), -EPIPE);
    int first = result_of(getters[0]), second = result_of(getters[1]);
    ck_assert_msg((first == 9 && second == -EPIPE) || (first == -EPIPE && second == 9), "%d, %d",
                  first, second);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

START_TEST(test_a_shutdown_is_over_when_the_reservation_is_cancelled)
{
    struct shk_queue *queue = create_queue(&kinds[_i], 8);
    void *slot;

    assert_code(shk_queue_reserve(queue, 8, &slot, SHK_FOREVER), 0);
    struct actor *getter = start_waiter(get_any);
    assert_code(shk_queue_shutdown(queue), 0);
    assert_code(shk_queue_cancel(queue), 0);
    assert_result(result_of(getter), -EPIPE);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

START_TEST(test_a_reservation_of_an_unlinked_queue_can_be_left)
{
    struct shk_queue *queue = create_queue(&kinds[_i], 8);
    const void *item;
    void *slot;

    assert_code(put(queue, 1), 0);
    assert_code(shk_queue_reserve(queue, 8, &slot, SHK_FOREVER), 0);
    assert_code(put(queue, 2), -EDEADLK);
    assert_code(shk_object_unlink(test_segment(), "jobs"), 0);
    assert_code(put(queue, 2), -ESTALE);
    assert_code(shk_queue_commit(queue, 8), -ESTALE);
    assert_code(shk_queue_cancel(queue), -EPERM);
    assert_code(shk_queue_close(queue), 0);
    queue = create_queue(&kinds[_i], 8);
    assert_code(put(queue, 1), 0);
    assert_code(shk_queue_peek(queue, &item, SHK_FOREVER), 8);
    assert_code(shk_object_unlink(test_segment(), "jobs"), 0);
    assert_code(shk_queue_unpeek(queue), 0);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

/* ---- Peeks ---- */

START_TEST(test_a_peeked_item_stays_until_it_is_consumed)
{
    struct shk_queue *queue = create_queue(&kinds[_i], 8);
    const void *item = NULL;
    int64_t first = kinds[_i].order == SHK_LIFO ? 2 : 1;

    assert_code(shk_queue_peek(queue, &item, SHK_NOWAIT), -EAGAIN);
    ck_assert_ptr_null(item);
    assert_code(put(queue, 1), 0);
    assert_code(put(queue, 2), 0);
    for (int lap = 0; lap < 2; lap++) {
        assert_code(shk_queue_peek(queue, &item, SHK_FOREVER), 8);
        ck_assert_int_eq(*(const int64_t *)item, first);
        assert_code(shk_queue_size(queue), 2);
        if (lap == 0)
            assert_code(shk_queue_unpeek(queue), 0);
        assert_code(shk_queue_unpeek(queue), lap == 0 ? -EPERM : 0);
    }
    assert_code(shk_queue_peek(queue, &item, SHK_FOREVER), 8);
    assert_code(get(queue), -EDEADLK);
    assert_code(shk_queue_peek(queue, &item, SHK_FOREVER), -EDEADLK);
    assert_code(put(queue, 3), kinds[_i].order == SHK_FIFO ? 0 : -EDEADLK);
    assert_code(shk_queue_close(queue), -EBUSY);
    assert_code(shk_queue_consume(queue), 0);
    assert_code(shk_queue_consume(queue), -EPERM);
    assert_code(get(queue), 3 - first);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

START_TEST(test_a_peek_refuses_what_a_get_refuses)
{
    struct shk_queue *queue = create_queue(&kinds[_i], 8);
    const void *item;

    assert_code(shk_queue_peek(queue, NULL, SHK_NOWAIT), -EINVAL);
    assert_code(shk_queue_peek(NULL, &item, SHK_NOWAIT), -EINVAL);
    assert_code(shk_queue_consume(NULL), -EINVAL);
    assert_code(shk_queue_unpeek(NULL), -EINVAL);
    assert_code_after(SHK_MS(20), shk_queue_peek(queue, &item, SHK_MS(20)), -ETIMEDOUT);
    assert_code(shk_queue_shutdown(queue), 0);
    assert_code(shk_queue_peek(queue, &item, SHK_FOREVER), -EPIPE);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

START_TEST(test_the_item_of_a_dead_peeker_is_the_next_ones)
{
    struct shk_queue *queue = create_queue(&kinds[_i], 8);

    assert_code(put(queue, 1), 0);
    struct actor *holder = start_holder(peek);
    assert_code(get(queue), -EBUSY); /* it is not empty */
    ck_assert_ptr_nonnull(strstr(shk_last_error(), "has an item peeked"));
    struct actor *waiter = start_waiter(get_any);
    child_kill(holder->pid);
    assert_result(result_of(waiter), 1);
    assert_code(get(queue), -EAGAIN);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

START_TEST(test_consuming_makes_room)
{
    struct shk_queue *queue = create_queue(&kinds[_i], 8);
    const void *item;

    for (int i = 1; i <= 4; i++)
        assert_code(put(queue, i), 0);
    struct actor *putter = start_waiter(put_7);
    assert_code(shk_queue_peek(queue, &item, SHK_FOREVER), 8);
    assert_code(shk_queue_consume(queue), 0);
    assert_result(result_of(putter), 0);
    assert_code(shk_queue_size(queue), 4);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

/* ---- Claims ---- */

static struct shk_queue *create_fifo(size_t capacity)
{
    return create_queue(&(struct kind){SHK_FIFO, capacity}, 8);
}

START_TEST(test_a_claim_is_for_one_thread)
{
    static const unsigned sides[] = {SHK_PRODUCER, SHK_CONSUMER, SHK_PRODUCER | SHK_CONSUMER};
    struct shk_queue *queue = create_fifo(_i % 2 ? 0 : 4);
    unsigned side = sides[_i / 2];
    struct shk_object_info info;
    const void *item;
    void *slot;

    assert_code(shk_queue_unclaim(queue, side), -EPERM);
    assert_code(shk_queue_claim(queue, side, SHK_NOWAIT), 0);
    assert_code(shk_queue_claim(queue, side, SHK_FOREVER), -EDEADLK);
    for (int i = 0; i < 1000; i++) {
        if (put(queue, i) != 0 || put(queue, i + 1) != 0 || get(queue) != i || get(queue) != i + 1)
            ck_abort_msg("lap %d: %s", i, shk_last_error());
    }
    assert_code(get(queue), -EAGAIN);
    assert_code(put(queue, 1), 0);
    assert_code(shk_queue_reserve(queue, 8, &slot, SHK_FOREVER), 0);
    *(int64_t *)slot = 2;
    if (side & SHK_PRODUCER)
        assert_code(shk_queue_unclaim(queue, side), -EBUSY);
    assert_code(shk_queue_commit(queue, 8), 0);
    assert_code(shk_queue_peek(queue, &item, SHK_FOREVER), 8);
    if (side & SHK_CONSUMER)
        assert_code(shk_queue_unclaim(queue, side), -EBUSY);
    assert_code(shk_queue_consume(queue), 0);
    assert_code(get(queue), 2);
    ck_assert(look_at_object(segment_name(NULL), "jobs", &info));
    ck_assert_int_eq(info.as.queue.producer != 0, (side & SHK_PRODUCER) != 0);
    ck_assert_int_eq(info.as.queue.consumer != 0, (side & SHK_CONSUMER) != 0);
    assert_code(shk_queue_close(queue), -EBUSY);
    assert_code(shk_segment_close(test_segment()), -EBUSY);
    assert_code(shk_queue_unclaim(queue, side), 0);
    assert_code(shk_queue_unclaim(queue, side), -EPERM);
    assert_code(put(queue, 1), 0);
    assert_code(get(queue), 1);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

START_TEST(test_a_claim_refuses_what_makes_no_sense)
{
    struct shk_queue *queue = create_queue(&kinds[_i], 8);

    assert_code(shk_queue_claim(queue, 0, SHK_NOWAIT), -EINVAL);
    assert_code(shk_queue_claim(queue, 4, SHK_NOWAIT), -EINVAL);
    assert_code(shk_queue_claim(NULL, SHK_PRODUCER, SHK_NOWAIT), -EINVAL);
    assert_code(shk_queue_unclaim(NULL, SHK_PRODUCER), -EINVAL);
    if (kinds[_i].order != SHK_FIFO) {
        assert_code(shk_queue_claim(queue, SHK_PRODUCER, SHK_NOWAIT), -ENOTSUP);
        assert_code(shk_queue_unclaim(queue, SHK_PRODUCER), -ENOTSUP);
    }
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

START_TEST(test_others_wait_for_a_claim_and_its_death_hands_it_on)
{
    struct shk_queue *queue = create_fifo(_i ? 0 : 4);
    struct actor *producer = start_holder(claim_producer), *consumer = start_holder(claim_consumer);

    assert_code(put(queue, 1), -EBUSY);
    ck_assert_ptr_nonnull(strstr(shk_last_error(), "has claimed the producer side"));
    assert_code(get(queue), -EAGAIN); /* it is empty, claimed or not */
    assert_code(shk_queue_claim(queue, SHK_PRODUCER, SHK_NOWAIT), -EAGAIN);
    assert_code_after(SHK_MS(20), shk_queue_claim(queue, SHK_PRODUCER | SHK_CONSUMER, SHK_MS(20)),
                      -ETIMEDOUT);
    struct actor *putter = start_waiter(put_7), *getter = start_waiter(get_any);
    struct actor *successor = start_actor(claim_producer, false);
    wait_until_waiting(segment_name(NULL), successor->pid, "jobs");
    child_kill(producer->pid);
    child_kill(consumer->pid);
    assert_result(result_of(putter), 0);
    assert_result(result_of(getter), 7);
    assert_result(result_of(successor), 0); /* it dies with its claim, too */
    assert_code(shk_queue_claim(queue, SHK_PRODUCER | SHK_CONSUMER, SHK_FOREVER), 0);
    assert_code(put(queue, 5), 0);
    assert_code(get(queue), 5);
    assert_code(shk_queue_unclaim(queue, SHK_PRODUCER | SHK_CONSUMER), 0);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

START_TEST(test_a_claim_of_both_sides_is_all_or_nothing)
{
    struct shk_queue *queue = create_fifo(4);
    struct actor *consumer = start_holder(claim_consumer);

    assert_code(shk_queue_claim(queue, SHK_PRODUCER | SHK_CONSUMER, SHK_NOWAIT), -EAGAIN);
    assert_code(shk_queue_unclaim(queue, SHK_PRODUCER), -EPERM);
    child_kill(consumer->pid);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

START_TEST(test_a_claimed_queue_can_be_shut_down_by_others)
{
    struct shk_queue *queue = create_fifo(_i ? 0 : 4);
    struct actor *producer = start_holder(claim_producer);

    struct actor *getter = start_waiter(get_any);
    struct actor *putter = start_waiter(put_7);
    assert_code(shk_queue_shutdown(queue), 0);
    assert_result(result_of(getter), -EPIPE);
    assert_result(result_of(putter), -EPIPE);
    assert_code(shk_queue_reopen(queue), 0);
    child_kill(producer->pid);
    assert_code(put(queue, 1), 0);
    assert_code(get(queue), 1);
    assert_code(shk_queue_claim(queue, SHK_PRODUCER, SHK_FOREVER), 0);
    assert_code(shk_queue_shutdown(queue), 0);
    assert_code(put(queue, 1), -EPIPE);
    assert_code(get(queue), -EPIPE);
    assert_code(shk_queue_unclaim(queue, SHK_PRODUCER), 0);
    assert_code(get(queue), -EPIPE);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

START_TEST(test_a_claim_of_an_unlinked_queue_can_be_left)
{
    struct shk_queue *queue = create_fifo(4);

    assert_code(shk_queue_claim(queue, SHK_PRODUCER, SHK_FOREVER), 0);
    assert_code(shk_object_unlink(test_segment(), "jobs"), 0);
    assert_code(put(queue, 1), -ESTALE);
    assert_code(shk_queue_unclaim(queue, SHK_PRODUCER), 0);
    assert_code(shk_queue_claim(queue, SHK_PRODUCER, SHK_FOREVER), -ESTALE);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

enum { FLOW = 200000 };

static int claim_and_put_all(struct shk_queue *queue)
{
    int r = shk_queue_claim(queue, SHK_PRODUCER, SHK_FOREVER);

    for (int64_t i = 0; r == 0 && i < FLOW; i++)
        r = shk_queue_put(queue, &i, sizeof(i), SHK_FOREVER);
    return r;
}

START_TEST(test_claimed_sides_deliver_everything_in_order)
{
    struct shk_queue *queue = create_fifo(_i ? 0 : 64);

    assert_code(shk_queue_claim(queue, SHK_CONSUMER, SHK_FOREVER), 0);
    struct actor *producer = start_actor(claim_and_put_all, false);
    for (int64_t i = 0; i < FLOW; i++)
        if (get_for(queue, SHK_FOREVER) != i)
            ck_abort_msg("item %lld", (long long)i);
    assert_result(result_of(producer), 0);
    assert_code(shk_queue_unclaim(queue, SHK_CONSUMER), 0);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

START_TEST(test_claims_count_as_locks)
{
    static struct shk_lock *locks[2000];
    struct shk_queue *queue = create_fifo(4);
    const void *item;
    void *slot;
    int n = 0;
    struct shk_segment *other;
    struct shk_segment_options options = {.max_objects = 2100, .size = (size_t)1 << 28};
    char name[16];

    assert_code(shk_segment_open(segment_name("locks"), SHK_CREATE, &options, &other), 0);
    for (; n < 2000; n++) {
        for (int i = 0, rest = n; i < 5; i++, rest /= 10) {
            name[i] = (char)('0' + rest % 10);
            name[i + 1] = '\0';
        }
        assert_code(shk_lock_open(other, name, SHK_CREATE, NULL, &locks[n]), 0);
        if (shk_lock_acquire(locks[n], SHK_NOWAIT) == -ENOLCK)
            break;
    }
    ck_assert_int_lt(n, 2000);
    assert_code(shk_queue_claim(queue, SHK_PRODUCER, SHK_NOWAIT), -ENOLCK);
    assert_code(shk_queue_reserve(queue, 8, &slot, SHK_NOWAIT), -ENOLCK);
    assert_code(put(queue, 1), 0);
    assert_code(shk_queue_peek(queue, &item, SHK_NOWAIT), -ENOLCK);
    assert_code(get(queue), 1);
    assert_code(shk_lock_close(locks[n]), 0);
    while (n-- > 0) {
        assert_code(shk_lock_release(locks[n]), 0);
        assert_code(shk_lock_close(locks[n]), 0);
    }
    assert_code(shk_queue_claim(queue, SHK_PRODUCER, SHK_NOWAIT), 0);
    assert_code(shk_queue_unclaim(queue, SHK_PRODUCER), 0);
    assert_code(shk_queue_close(queue), 0);
    assert_code(shk_segment_close(other), 0);
    assert_code(shk_segment_unlink(segment_name("locks")), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("queue holds");
    TCase *batches = test_case(suite, "batches"), *reservations = test_case(suite, "reservations"),
          *peeks = test_case(suite, "peeks"), *claims = test_case(suite, "claims");

    tcase_add_loop_test(batches, test_many_are_put_and_taken_in_order, 0, KINDS);
    tcase_add_loop_test(batches, test_many_refuse_what_one_refuses, 0, KINDS);
    tcase_add_loop_test(batches, test_a_batch_wakes_all_that_can_go_on, 0, KINDS);
    tcase_add_loop_test(reservations, test_a_reservation_becomes_an_item_or_nothing, 0, KINDS);
    tcase_add_loop_test(reservations, test_a_reservation_refuses_what_a_put_refuses, 0, KINDS);
    tcase_add_loop_test(reservations, test_a_member_with_a_reservation_can_neither_put_nor_go, 0,
                        KINDS);
    tcase_add_loop_test(reservations,
                        test_others_wait_for_a_reservation_and_its_death_leaves_nothing, 0, KINDS);
    tcase_add_loop_test(reservations, test_a_shutdown_lets_a_reservation_be_committed, 0, KINDS);
    tcase_add_loop_test(reservations, test_a_shutdown_is_over_when_the_reservation_is_cancelled, 0,
                        KINDS);
    tcase_add_loop_test(reservations, test_a_reservation_of_an_unlinked_queue_can_be_left, 0,
                        KINDS);
    tcase_add_loop_test(peeks, test_a_peeked_item_stays_until_it_is_consumed, 0, KINDS);
    tcase_add_loop_test(peeks, test_a_peek_refuses_what_a_get_refuses, 0, KINDS);
    tcase_add_loop_test(peeks, test_the_item_of_a_dead_peeker_is_the_next_ones, 0, KINDS);
    tcase_add_loop_test(peeks, test_consuming_makes_room, 0, 3);
    tcase_add_loop_test(claims, test_a_claim_is_for_one_thread, 0, 6);
    tcase_add_loop_test(claims, test_a_claim_refuses_what_makes_no_sense, 0, KINDS);
    tcase_add_loop_test(claims, test_others_wait_for_a_claim_and_its_death_hands_it_on, 0, 2);
    tcase_add_test(claims, test_a_claim_of_both_sides_is_all_or_nothing);
    tcase_add_loop_test(claims, test_a_claimed_queue_can_be_shut_down_by_others, 0, 2);
    tcase_add_test(claims, test_a_claim_of_an_unlinked_queue_can_be_left);
    tcase_add_loop_test(claims, test_claimed_sides_deliver_everything_in_order, 0, 2);
    tcase_add_test(claims, test_claims_count_as_locks);
    return run_tests(suite);
}
