/* Queues that have their items at their length: limits in items and bytes, memory, long items. */
#include "common.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { KIB = 1024, MIB = 1024 * KIB, ORDERS = 3 };
#define LARGEST (UINT64_C(1) << 31)

static struct shk_queue *create_queue(uint32_t order, size_t capacity, uint64_t capacity_bytes,
                                      size_t item_size)
{
    const struct shk_queue_options options = {.order = order,
                                              .capacity = capacity,
                                              .item_size = item_size,
                                              .capacity_bytes = capacity_bytes};
    struct shk_queue *queue;

    assert_code(shk_queue_open(test_segment(), "jobs", SHK_CREATE | SHK_EXCL, &options, &queue), 0);
    return queue;
}

static struct shk_object_info look(void)
{
    const struct shk_object_info *found;
    struct shk_object_info info = {0};
    struct shk_snapshot *snapshot;

    ck_assert_int_eq(shk_snapshot_open(segment_name(NULL), &snapshot), 0);
    found = shk_snapshot_find_object(snapshot, "jobs");
    ck_assert_ptr_nonnull(found);
    info = *found;
    shk_snapshot_close(snapshot);
    return info;
}

/* Bytes of memory that the segment has. */
static uint64_t resident(void)
{
    struct stat st;

    ck_assert_int_eq(stat(shm_path(segment_name(NULL)), &st), 0);
    return (uint64_t)st.st_blocks * 512;
}

static unsigned char item[8 * MIB], copy[8 * MIB];

static int put_length(struct shk_queue *queue, size_t length)
{
    return shk_queue_put(queue, item, length, SHK_NOWAIT);
}

static ssize_t get_length(struct shk_queue *queue)
{
    return shk_queue_get(queue, copy, sizeof(copy), SHK_NOWAIT);
}

/* ---- Limits ---- */

START_TEST(test_a_queue_is_full_when_its_bytes_reach_the_limit)
{
    struct shk_queue *queue = create_queue((uint32_t)_i, 0, 100, 1000);

    assert_code(put_length(queue, 99), 0);
    assert_code(shk_queue_full(queue), 0);
    assert_code(put_length(queue, 60), 0); /* a high-water mark: 159 bytes */
    assert_code(shk_queue_full(queue), 1);
    assert_code(put_length(queue, 0), -EAGAIN);
    assert_code_after(SHK_MS(10), shk_queue_put(queue, item, 1, SHK_MS(10)), -ETIMEDOUT);
    assert_code(look().as.queue.bytes, 159);
    assert_code(get_length(queue), _i == SHK_LIFO ? 60 : 99);
    assert_code(shk_queue_full(queue), 0);
    assert_code(look().as.queue.bytes, _i == SHK_LIFO ? 99 : 60);
    assert_code(put_length(queue, 1), 0);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

START_TEST(test_a_queue_is_full_when_its_items_reach_the_limit)
{
    struct shk_queue *queue = create_queue((uint32_t)_i, 3, 1000, LARGEST);
    struct iovec many[] = {{item, 1}, {item, 2}, {item, 3}};
    struct iovec buffers[] = {{copy, 9}, {copy, 9}, {copy, 9}};

    assert_code(put_length(queue, 0), 0);
    assert_code(shk_queue_put_many(queue, many, 3, SHK_NOWAIT), 2);
    assert_code(shk_queue_full(queue), 1);
    assert_code(shk_queue_capacity(queue), 3);
    assert_code(put_length(queue, 1), -EAGAIN);
    assert_code(shk_queue_get_many(queue, buffers, 3, SHK_NOWAIT), 3);
    assert_code(look().as.queue.bytes, 0);
    for (int i = 0; i < 3; i++)
        assert_code(put_length(queue, 8), 0);
    assert_code(put_length(queue, 8), -EAGAIN);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

START_TEST(test_an_item_longer_than_the_limit_is_refused)
{
    struct shk_queue *queue = create_queue((uint32_t)_i, 0, 100, 1000);
    struct iovec many[] = {{item, 1}, {item, 101}};
    void *slot;

    assert_code(put_length(queue, 101), -EMSGSIZE);
    assert_code(shk_queue_put_many(queue, many, 2, SHK_NOWAIT), -EMSGSIZE);
    assert_code(shk_queue_reserve(queue, 101, &slot, SHK_NOWAIT), -EMSGSIZE);
    assert_code(shk_queue_size(queue), 0);
    assert_code(put_length(queue, 100), 0);
    assert_code(shk_queue_item_size(queue), 1000);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

START_TEST(test_the_limit_in_bytes_is_one_of_the_options)
{
    struct shk_queue *queue = create_queue((uint32_t)_i, 5, 100, 50), *again;
    struct shk_queue_options other = {
        .order = (uint32_t)_i, .capacity = 5, .item_size = 50, .capacity_bytes = 101};

    assert_code(shk_queue_open(test_segment(), "jobs", 0, &other, &again), -EPROTOTYPE);
    ck_assert_ptr_nonnull(strstr(shk_last_error(), "5 items and 100 bytes"));
    other.capacity_bytes = 0;
    assert_code(shk_queue_open(test_segment(), "jobs", 0, &other, &again), 0);
    assert_code(look().as.queue.capacity_bytes, 100);
    assert_code(shk_queue_close(again), 0);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

START_TEST(test_zero_copy_counts_the_bytes_that_are_committed)
{
    struct shk_queue *queue = create_queue((uint32_t)_i, 0, MIB, LARGEST);
    const void *peeked;
    void *slot;

    assert_code(shk_queue_reserve(queue, MIB, &slot, SHK_NOWAIT), 0);
    memset(slot, 'r', MIB);
    assert_code(shk_queue_commit(queue, 10), 0);
    assert_code(look().as.queue.bytes, 10);
    assert_code(shk_queue_reserve(queue, 700 * KIB, &slot, SHK_NOWAIT), 0);
    memset(slot, 's', 700 * KIB);
    assert_code(shk_queue_commit(queue, 700 * KIB), 0);
    assert_code(put_length(queue, 20), 0);
    assert_code(look().as.queue.bytes, 700 * KIB + 30);
    assert_code(shk_queue_peek(queue, &peeked, SHK_NOWAIT), _i == SHK_LIFO ? 20 : 10);
    assert_code(shk_queue_consume(queue), 0);
    assert_code(shk_queue_peek(queue, &peeked, SHK_NOWAIT), 700 * KIB);
    for (size_t i = 0; i < 700 * KIB; i++)
        if (((const char *)peeked)[i] != 's')
            ck_abort_msg("byte %zu is %d", i, ((const char *)peeked)[i]);
    assert_code(shk_queue_consume(queue), 0);
    assert_code(look().as.queue.bytes, _i == SHK_LIFO ? 10 : 20);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

/* ---- Waiting ---- */

enum { SHORTS = 3, LONG = 900 };

struct party {
    atomic_int long_put, over;
};

static int put_shorts(void *argument)
{
    struct party *party = argument;
    struct shk_queue *queue;

    if (shk_queue_open(test_segment(), "jobs", 0, NULL, &queue) < 0)
        return 2;
    while (!atomic_load(&party->over))
        if (shk_queue_put(queue, item, 10, SHK_MS(20)) < 0 && !atomic_load(&party->long_put))
            continue;
    return 0;
}

static int put_long(void *argument)
{
    struct party *party = argument;
    struct shk_queue *queue;

    if (shk_queue_open(test_segment(), "jobs", 0, NULL, &queue) < 0)
        return 2;
    for (int i = 0; i < 20; i++)
        if (shk_queue_put(queue, item, LONG, SHK_SEC(60)) < 0)
            return 3;
    atomic_store(&party->long_put, 1);
    return 0;
}

START_TEST(test_a_long_item_is_not_kept_waiting_by_short_ones)
{
    struct shk_queue *queue = create_queue((uint32_t)_i, 0, 1000, 1000);
    struct party *party = shared_memory(sizeof(*party));
    pid_t producers[SHORTS + 1];
    int longs = 0;

    for (int i = 0; i < SHORTS; i++)
        producers[i] = child_start(put_shorts, party);
    wait_until(shk_queue_full(queue) == 1, TEST_DEADLINE);
    producers[SHORTS] = child_start(put_long, party);
    while (!atomic_load(&party->long_put) || longs < 20) {
        ssize_t n = shk_queue_get(queue, copy, sizeof(copy), SHK_SEC(30));

        if (n < 0)
            ck_abort_msg("get: %s", shk_last_error());
        longs += n == LONG;
        if (look().as.queue.bytes >= 2 * 1000)
            ck_abort_msg("too many bytes");
    }
    atomic_store(&party->over, 1);
    for (int i = 0; i <= SHORTS; i++)
        child_succeeds(producers[i]);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

/* Several are asleep; each get makes room for one, whatever its length. */
static int put_one(void *length)
{
    struct shk_queue *queue;

    if (shk_queue_open(test_segment(), "jobs", 0, NULL, &queue) < 0)
        return 2;
    return shk_queue_put(queue, item, (size_t)(intptr_t)length, SHK_SEC(60)) < 0;
}

START_TEST(test_each_get_lets_a_sleeping_producer_go_on)
{
    static const intptr_t lengths[] = {100, 1, 50, 100};
    struct shk_queue *queue = create_queue((uint32_t)_i, 0, 100, 1000);
    pid_t producers[4];

    assert_code(put_length(queue, 100), 0);
    for (int i = 0; i < 4; i++)
        producers[i] = child_start(put_one, (void *)lengths[i]);
    wait_until(look().waiters == 4, TEST_DEADLINE);
    for (int i = 0; i < 5; i++)
        if (shk_queue_get(queue, copy, sizeof(copy), SHK_SEC(30)) < 0)
            ck_abort_msg("get %d: %s", i, shk_last_error());
    for (int i = 0; i < 4; i++)
        child_succeeds(producers[i]);
    assert_code(shk_queue_size(queue), 0);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

/* ---- Memory ---- */

START_TEST(test_short_items_in_a_queue_for_long_ones_take_little)
{
    enum { ITEMS = 1000 };
    static const struct {
        size_t capacity, item_size;
    } kinds[] = {{1000, MIB}, {0, MIB}, {2000, LARGEST}, {0, LARGEST}};
    struct shk_queue *queue =
        create_queue((uint32_t)_i / 4, kinds[_i % 4].capacity, 0, kinds[_i % 4].item_size);
    uint64_t before = look().size, resident_before = resident(), full;
    int32_t number;

    for (int32_t i = 0; i < ITEMS; i++)
        if (shk_queue_put(queue, &i, sizeof(i), SHK_NOWAIT) != 0)
            ck_abort_msg("%s", shk_last_error());
    full = resident() - resident_before;
    printf("order %d, capacity %zu, item size %zu: %llu KiB, %llu more for %d items of 4 bytes\n",
           _i / 4, kinds[_i % 4].capacity, kinds[_i % 4].item_size,
           (unsigned long long)(before / KIB), (unsigned long long)(full / KIB), ITEMS);
    ck_assert_uint_le(before, 64 * KIB);
    ck_assert_uint_le(full, _i / 4 == SHK_PRIORITY ? 256 * KIB : 100 * KIB);
    ck_assert_uint_le(look().size, before + 512 * KIB);
    assert_code(look().as.queue.bytes, 4 * ITEMS);
    for (int32_t i = 0; i < ITEMS; i++) {
        assert_code(shk_queue_get(queue, &number, sizeof(number), SHK_NOWAIT), 4);
        ck_assert_int_eq(number, _i / 4 == SHK_LIFO ? ITEMS - 1 - i : i);
    }
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

/* The same numbers with each C library. */
static uint64_t random_state;
static int pick(void)
{
    random_state = UINT64_C(6364136223846793005) * random_state + 1;
    return (int)(random_state >> 33);
}

/*
 * Of any length, in a queue that may have items of 2 GiB. With these numbers the blocks of a run
 * that is reserved follow those of chunks that an earlier reservation has left.
 */
START_TEST(test_long_and_short_items_keep_what_is_in_them)
{
    enum { MOST = 40, ROUNDS = 1500 };
    struct shk_queue *queue = create_queue((uint32_t)_i, MOST, 0, LARGEST);
    struct {
        size_t length;
        unsigned char byte;
    } model[MOST];
    int n = 0;

    random_state = 6;
    for (int round = 0; round < ROUNDS || n > 0; round++) {
        if (round < ROUNDS && (n == 0 || (n < MOST && pick() % 100 < 55))) {
            size_t length =
                pick() % 8 == 0 ? (size_t)(pick() % (3 * MIB)) : (size_t)(pick() % 9000);
            size_t reserved = length + (pick() % 4 == 0 ? (size_t)(pick() % MIB) : 0);
            void *slot;

            model[n].length = length;
            model[n].byte = (unsigned char)(round % 251);
            if (shk_queue_reserve(queue, reserved, &slot, SHK_NOWAIT) != 0)
                ck_abort_msg("reserve: %s", shk_last_error());
            memset(slot, model[n].byte, reserved);
            if (shk_queue_commit(queue, length) != 0)
                ck_abort_msg("commit: %s", shk_last_error());
            n++;
            continue;
        }
        int next = _i == SHK_LIFO ? n - 1 : 0;
        ssize_t length = shk_queue_get(queue, copy, sizeof(copy), SHK_NOWAIT);
        if (length != (ssize_t)model[next].length)
            ck_abort_msg("round %d: %zd bytes, not %zu: %s", round, length, model[next].length,
                         shk_last_error());
        for (ssize_t i = 0; i < length; i++)
            if (copy[i] != model[next].byte)
                ck_abort_msg("round %d, byte %zd", round, i);
        n--;
        memmove(&model[next], &model[next + 1], (size_t)(n - next) * sizeof(model[0]));
    }
    assert_code(look().as.queue.bytes, 0);
    ck_assert_uint_le(resident(), 14 * MIB);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

/* 30 of them, for items of any length: each gets what the others leave. */
START_TEST(test_each_of_many_queues_may_take_what_is_left)
{
    enum { QUEUES = 30, PART = 300 * KIB };
    const struct shk_segment_options segment = {.size = 64 * MIB};
    const struct shk_queue_options options = {.order = (uint32_t)_i, .item_size = LARGEST};
    struct shk_queue *queues[QUEUES];
    char name[8];
    int most = 0, n;

    test_segment_with(&segment);
    for (int k = 0; k < QUEUES; k++) {
        snprintf(name, sizeof(name), "%d", k);
        assert_code(shk_queue_open(test_segment(), name, SHK_CREATE, &options, &queues[k]), 0);
    }
    for (int k = 0; k < QUEUES; k++) {
        int at_most = k % (QUEUES / 2 - 1) == 0 ? INT32_MAX : 1; /* three of them are filled */

        for (n = 0; n < at_most && put_length(queues[k], PART) == 0; n++)
            continue;
        if (k == 0)
            most = n;
        if (n > 1) {
            assert_code(put_length(queues[k], PART), -ENOSPC);
            ck_assert_ptr_nonnull(strstr(shk_last_error(), "is full"));
            ck_assert_int_ge(n, most / 2); /* what the others keep for their next puts is little */
        }
        while (n-- > 0)
            assert_code(get_length(queues[k]), PART);
    }
    ck_assert_int_ge(most, 60); /* two blocks of 256 KiB each, of 64 MiB */
    for (int k = 0; k < QUEUES; k++)
        assert_code(shk_queue_close(queues[k]), 0);
}
END_TEST

/* A put that finds no memory leaves nothing behind that the next one cannot use. */
START_TEST(test_a_long_put_in_vain_does_not_use_up_address_space)
{
    const struct shk_segment_options segment = {.size = 32 * MIB};
    struct shk_queue *queue;

    test_segment_with(&segment);
    queue = create_queue((uint32_t)_i, 0, 0, LARGEST);
    assert_code(put_length(queue, 1000), 0);
    for (int i = 0; i < 100; i++) {
        void *slot;

        assert_code(shk_queue_reserve(queue, 7 * MIB, &slot, SHK_NOWAIT), 0);
        assert_code(shk_queue_cancel(queue), 0);
    }
    assert_code(put_length(queue, 7 * MIB), 0);
    assert_code(shk_queue_reserve(queue, 33 * MIB, &(void *){NULL}, SHK_NOWAIT), -EMSGSIZE);
    assert_code(get_length(queue), _i == SHK_LIFO ? 7 * MIB : 1000);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("items at their length");
    TCase *limits = test_case(suite, "limits"), *waiting = test_case(suite, "waiting"),
          *memory = test_case(suite, "memory");

    tcase_add_loop_test(limits, test_a_queue_is_full_when_its_bytes_reach_the_limit, 0, ORDERS);
    tcase_add_loop_test(limits, test_a_queue_is_full_when_its_items_reach_the_limit, 0, ORDERS);
    tcase_add_loop_test(limits, test_an_item_longer_than_the_limit_is_refused, 0, ORDERS);
    tcase_add_loop_test(limits, test_the_limit_in_bytes_is_one_of_the_options, 0, ORDERS);
    tcase_add_loop_test(limits, test_zero_copy_counts_the_bytes_that_are_committed, 0, ORDERS);
    tcase_add_loop_test(waiting, test_a_long_item_is_not_kept_waiting_by_short_ones, 0, ORDERS);
    tcase_add_loop_test(waiting, test_each_get_lets_a_sleeping_producer_go_on, 0, ORDERS);
    tcase_add_loop_test(memory, test_short_items_in_a_queue_for_long_ones_take_little, 0,
                        4 * ORDERS);
    tcase_add_loop_test(memory, test_long_and_short_items_keep_what_is_in_them, 0, ORDERS);
    tcase_add_loop_test(memory, test_each_of_many_queues_may_take_what_is_left, 0, ORDERS);
    tcase_add_loop_test(memory, test_a_long_put_in_vain_does_not_use_up_address_space, 0, ORDERS);
    return run_tests(suite);
}
