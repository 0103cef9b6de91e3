/* The queue's orders, and queues that are bounded only by memory. */
#include "common.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct kind {
    uint32_t order;
    size_t capacity;
} kinds[] = {
    {SHK_FIFO, 64}, {SHK_LIFO, 64}, {SHK_PRIORITY, 64},
    {SHK_FIFO, 0},  {SHK_LIFO, 0},  {SHK_PRIORITY, 0},
};
enum { KINDS = sizeof(kinds) / sizeof(kinds[0]), GROWING = 3 };

static struct shk_queue *create_in(struct shk_segment *segment, const struct kind *kind,
                                   size_t item_size)
{
    const struct shk_queue_options options = {
        .order = kind->order, .capacity = kind->capacity, .item_size = item_size};
    struct shk_queue *queue;

    assert_code(shk_queue_open(segment, "jobs", SHK_CREATE | SHK_EXCL, &options, &queue), 0);
    return queue;
}

static struct shk_queue *create_queue(uint32_t order, size_t capacity, size_t item_size)
{
    return create_in(test_segment(), &(struct kind){order, capacity}, item_size);
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

/* ---- Opening ---- */

START_TEST(test_queue_has_the_order_and_the_capacity_it_was_created_with)
{
    struct shk_queue *queue = create_queue(kinds[_i].order, kinds[_i].capacity, 64), *again;
    struct shk_object_info info;

    assert_code(shk_queue_capacity(queue), kinds[_i].capacity);
    assert_code(shk_queue_item_size(queue), 64);
    for (uint32_t order = SHK_FIFO; order <= SHK_PRIORITY; order++) {
        struct shk_queue_options options = {.order = order};
        int right = order == kinds[_i].order;
        assert_code(shk_queue_open(test_segment(), "jobs", SHK_CREATE, &options, &again),
                    right ? 0 : -EPROTOTYPE);
        if (right)
            assert_code(shk_queue_close(again), 0);
        options.capacity = 65;
        assert_code(shk_queue_open(test_segment(), "jobs", 0, &options, &again), -EPROTOTYPE);
    }
    assert_code(shk_queue_close(open_queue()), 0);
    assert_code(put(queue, 1), 0);
    assert_code(put(queue, 2), 0);
    ck_assert_int_ge(get(queue), 1);
    ck_assert(look_at_object(segment_name(NULL), "jobs", &info));
    ck_assert_uint_eq(info.as.queue.order, kinds[_i].order);
    ck_assert_uint_eq(info.as.queue.capacity, kinds[_i].capacity);
    ck_assert_uint_eq(info.as.queue.size, 1);
    ck_assert_uint_eq(info.as.queue.puts, 2);
    ck_assert_uint_eq(info.as.queue.gets, 1);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

START_TEST(test_queue_without_options_is_fifo_without_a_limit)
{
    struct shk_queue *queue;

    assert_code(shk_queue_open(test_segment(), "jobs", SHK_CREATE, NULL, &queue), 0);
    assert_code(shk_queue_capacity(queue), 0);
    assert_code(shk_queue_item_size(queue), 1024);
    for (int i = 1; i <= 3; i++)
        assert_code(put(queue, i), 0);
    for (int i = 1; i <= 3; i++)
        assert_code(get(queue), i);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

/* ---- Order ---- */

START_TEST(test_lifo_takes_the_last_first)
{
    size_t capacity = _i ? 0 : 1000;
    struct shk_queue *queue = create_queue(SHK_LIFO, capacity, 8);

    for (int lap = 0; lap < 3; lap++) {
        assert_code(shk_queue_empty(queue), 1);
        for (int i = 1; i <= 1000; i++)
            if (put(queue, i) != 0)
                ck_abort_msg("put %d", i);
        assert_code(shk_queue_size(queue), 1000);
        assert_code(shk_queue_full(queue), capacity != 0);
        assert_code(put(queue, 1001), capacity ? -EAGAIN : 0);
        if (!capacity)
            assert_code(get(queue), 1001);
        for (int i = 1000; i >= 1; i--)
            if (get(queue) != i)
                ck_abort_msg("get %d", i);
        assert_code(get(queue), -EAGAIN);
    }
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

START_TEST(test_priority_takes_the_lowest_first_and_equals_in_order_of_arrival)
{
    static const struct {
        int64_t priority, number;
    } in[] = {{5, 1}, {-1, 2}, {5, 3}, {INT64_MAX, 4}, {0, 5}, {INT64_MIN, 6}, {-1, 7}, {5, 8}};
    static const int64_t out[] = {6, 2, 7, 5, 9, 1, 3, 8, 4};
    struct shk_queue *queue = create_queue(SHK_PRIORITY, _i ? 0 : 9, 8);

    for (size_t i = 0; i < sizeof(in) / sizeof(in[0]); i++)
        assert_code(shk_queue_put_priority(queue, &in[i].number, 8, in[i].priority, SHK_NOWAIT), 0);
    assert_code(put(queue, 9), 0); /* priority 0 */
    if (!_i) {
        assert_code(shk_queue_full(queue), 1);
        assert_code(put(queue, 10), -EAGAIN);
    }
    for (size_t i = 0; i < sizeof(out) / sizeof(out[0]); i++)
        assert_code(get(queue), out[i]);
    assert_code(get(queue), -EAGAIN);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

START_TEST(test_a_get_tells_the_priority_of_its_item)
{
    static const int64_t in[] = {5, -1, INT64_MAX, 5, INT64_MIN, 0},
                         out[] = {INT64_MIN, -1, 0, 5, 5, INT64_MAX};
    struct shk_queue *queue = create_queue(SHK_PRIORITY, _i ? 0 : 6, 8);
    int64_t priority = 77;
    char item[8];

    for (size_t i = 0; i < 6; i++)
        assert_code(shk_queue_put_priority(queue, &in[i], 8, in[i], SHK_NOWAIT), 0);
    assert_code(shk_queue_get_priority(queue, item, 7, SHK_NOWAIT, &priority), -EMSGSIZE);
    ck_assert_int_eq(priority, 77);
    for (size_t i = 0; i < 6; i++) {
        assert_code(shk_queue_get_priority(queue, item, 8, SHK_NOWAIT, &priority), 8);
        ck_assert_int_eq(priority, out[i]);
        ck_assert_int_eq(memcmp(item, &out[i], 8), 0);
        assert_code(shk_queue_task_done(queue), 0);
    }
    assert_code(shk_queue_get_priority(queue, item, 8, SHK_NOWAIT, &priority), -EAGAIN);
    assert_code_after(SHK_MS(20), shk_queue_get_priority(queue, item, 8, SHK_MS(20), &priority),
                      -ETIMEDOUT);
    assert_code(shk_queue_get_priority(queue, item, 8, SHK_NOWAIT, NULL), -EINVAL);
    assert_code(shk_queue_get_priority(queue, NULL, 8, SHK_NOWAIT, &priority), -EINVAL);
    assert_code(shk_queue_get_priority(NULL, item, 8, SHK_NOWAIT, &priority), -EINVAL);
    assert_code(shk_queue_shutdown(queue), 0);
    assert_code(shk_queue_get_priority(queue, item, 8, SHK_FOREVER, &priority), -EPIPE);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

/* The model is a plain array that is searched. */
START_TEST(test_priority_is_right_for_any_sequence)
{
    enum { MOST = 700, ROUNDS = 40000 };
    static struct job {
        int64_t priority, number;
        char rest[32];
    } model[MOST], job;
    struct shk_queue *queue = create_queue(SHK_PRIORITY, _i ? 0 : MOST, sizeof(job));
    int n = 0;

    srand(7);
    for (int64_t round = 0; round < ROUNDS; round++) {
        bool puts = n == 0 || (n < MOST && rand() % 100 < (round / 4000 % 2 ? 35 : 65));
        if (puts) {
            job = (struct job){.priority = rand() % 20 - 10, .number = round};
            memset(job.rest, (int)(round % 128), sizeof(job.rest));
            model[n++] = job;
            if (shk_queue_put_priority(queue, &job, sizeof(job) - (size_t)(round % 3), job.priority,
                                       SHK_NOWAIT) != 0)
                ck_abort_msg("put: %s", shk_last_error());
            continue;
        }
        int best = 0;
        for (int i = 1; i < n; i++)
            if (model[i].priority < model[best].priority ||
                (model[i].priority == model[best].priority && model[i].number < model[best].number))
                best = i;
        ssize_t length = shk_queue_get(queue, &job, sizeof(job), SHK_NOWAIT);
        if (length != (ssize_t)sizeof(job) - model[best].number % 3 ||
            memcmp(&job, &model[best], (size_t)length))
            ck_abort_msg("round %lld: item %lld, not %lld", (long long)round, (long long)job.number,
                         (long long)model[best].number);
        model[best] = model[--n];
        if (shk_queue_size(queue) != n)
            ck_abort_msg("size");
    }
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

START_TEST(test_a_priority_is_for_priority_queues)
{
    struct shk_queue *queue = create_queue(kinds[_i].order, kinds[_i].capacity, 8);

    assert_code(shk_queue_put_priority(queue, "item", 4, 1, SHK_NOWAIT),
                kinds[_i].order == SHK_PRIORITY ? 0 : -ENOTSUP);
    assert_code(shk_queue_put_priority(NULL, "item", 4, 1, SHK_NOWAIT), -EINVAL);
    if (kinds[_i].order != SHK_PRIORITY)
        assert_code(shk_queue_get_priority(queue, (char[8]){0}, 8, SHK_NOWAIT, &(int64_t){0}),
                    -ENOTSUP);
    if (kinds[_i].order == SHK_PRIORITY) {
        assert_code(shk_queue_put_priority(queue, NULL, 4, 1, SHK_NOWAIT), -EINVAL);
        assert_code(shk_queue_put_priority(queue, "too long a one", 9, 1, SHK_NOWAIT), -EMSGSIZE);
    }
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

START_TEST(test_an_item_stays_if_the_buffer_is_too_small)
{
    struct shk_queue *queue = create_queue(kinds[_i].order, kinds[_i].capacity, 64);
    char item[64];

    assert_code(shk_queue_put(queue, item, 65, SHK_NOWAIT), -EMSGSIZE);
    assert_code(shk_queue_put(queue, "a longer item", 13, SHK_NOWAIT), 0);
    assert_code(shk_queue_get(queue, item, 12, SHK_NOWAIT), -EMSGSIZE);
    assert_code(shk_queue_size(queue), 1);
    assert_code(shk_queue_get(queue, item, 13, SHK_NOWAIT), 13);
    assert_code(shk_queue_put(queue, NULL, 0, SHK_NOWAIT), 0);
    assert_code(shk_queue_get(queue, NULL, 0, SHK_NOWAIT), 0);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

/* ---- Blocking, shutting down ---- */

struct actor {
    pid_t pid;
    _Atomic int64_t result;
};

static int get_one(void *argument)
{
    struct actor *actor = argument;

    actor->result = get_for(open_queue(), SHK_FOREVER);
    return 0;
}

static int put_one(void *argument)
{
    struct actor *actor = argument;
    int64_t number = 77;

    actor->result = shk_queue_put(open_queue(), &number, sizeof(number), SHK_FOREVER);
    return 0;
}

static struct actor *start_actor(int (*body)(void *))
{
    struct actor *actor = shared_memory(sizeof(*actor));

    actor->pid = stranger_start(body, actor);
    wait_until_waiting(segment_name(NULL), actor->pid, "jobs");
    return actor;
}

static int64_t result_of(struct actor *actor)
{
    child_succeeds(actor->pid);
    return actor->result;
}

START_TEST(test_a_get_waits_for_a_put_and_a_put_for_a_get)
{
    struct shk_queue *queue = create_queue(kinds[_i].order, kinds[_i].capacity ? 1 : 0, 8);
    struct actor *getter = start_actor(get_one);

    assert_code(put(queue, 5), 0);
    assert_result(result_of(getter), 5);
    if (kinds[_i].capacity) {
        assert_code(put(queue, 6), 0);
        struct actor *putter = start_actor(put_one);
        assert_code(get(queue), 6);
        assert_result(result_of(putter), 0);
        assert_code(get(queue), 77);
    }
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

START_TEST(test_a_shut_down_queue_is_drained_and_can_be_reopened)
{
    struct shk_queue *queue = create_queue(kinds[_i].order, kinds[_i].capacity, 8);

    assert_code(shk_queue_reopen(queue), 0);
    assert_code(put(queue, 1), 0);
    for (int lap = 0; lap < 3; lap++) {
        assert_code(shk_queue_shutdown(queue), 0);
        assert_code(shk_queue_shutdown(queue), 0);
        assert_code(shk_queue_put(queue, "item", 4, SHK_FOREVER), -EPIPE);
        assert_code(get_for(queue, SHK_FOREVER), 1);
        assert_code(get_for(queue, SHK_FOREVER), -EPIPE);
        assert_code(get(queue), -EPIPE);
        assert_code(shk_queue_reopen(queue), 0);
        assert_code(shk_queue_reopen(queue), 0);
        assert_code(get(queue), -EAGAIN);
        assert_code(put(queue, 1), 0);
    }
    assert_code(get(queue), 1);
    struct actor *getters[2] = {start_actor(get_one), start_actor(get_one)};
    assert_code(shk_queue_shutdown(queue), 0);
    for (int i = 0; i < 2; i++)
        assert_result(result_of(getters[i]), -EPIPE);
    assert_code(shk_queue_reopen(NULL), -EINVAL);
    assert_code(shk_object_unlink(test_segment(), "jobs"), 0);
    assert_code(shk_queue_reopen(queue), -ESTALE);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

/* ---- Many at once ---- */

enum { PRODUCERS = 3, EACH = 4000 };

static int produce(void *argument)
{
    struct shk_queue *queue = open_queue();
    int64_t first = *(int64_t *)argument * EACH;

    for (int64_t i = first; i < first + EACH; i++)
        if (shk_queue_put(queue, &i, sizeof(i), SHK_FOREVER) != 0)
            return 3;
    return 0;
}

struct marks {
    _Atomic unsigned char seen[PRODUCERS * EACH];
};

static int consume(void *argument)
{
    struct shk_queue *queue = open_queue();
    struct marks *marks = argument;
    int64_t number;

    while ((number = get_for(queue, SHK_FOREVER)) >= 0)
        marks->seen[number]++;
    return number == -EPIPE ? 0 : 3;
}

START_TEST(test_each_item_comes_once)
{
    struct shk_queue *queue = create_queue(kinds[_i].order, kinds[_i].capacity, 8);
    struct marks *marks = shared_memory(sizeof(*marks));
    int64_t numbers[PRODUCERS] = {0, 1, 2};
    pid_t producers[PRODUCERS], consumers[2];

    for (int i = 0; i < 2; i++)
        consumers[i] = stranger_start(consume, marks);
    for (int i = 0; i < PRODUCERS; i++)
        producers[i] = stranger_start(produce, &numbers[i]);
    for (int i = 0; i < PRODUCERS; i++)
        child_succeeds(producers[i]);
    assert_code(shk_queue_shutdown(queue), 0);
    for (int i = 0; i < 2; i++)
        child_succeeds(consumers[i]);
    for (int i = 0; i < PRODUCERS * EACH; i++)
        if (marks->seen[i] != 1)
            ck_abort_msg("item %d came %d times", i, marks->seen[i]);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

/* ---- Capacity 0: memory ---- */

enum { KIB = 1 << 10, MIB = 1 << 20 };

static uint64_t resident(const char *segment)
{
    struct shk_segment_info info;

    ck_assert(look_at_segment(segment, &info));
    return info.resident;
}

static uint64_t megabytes(const char *variable, uint64_t otherwise)
{
    const char *text = getenv(variable);

    return text ? strtoull(text, NULL, 10) : otherwise;
}

static void put_filled(struct shk_queue *queue, char *item, size_t size, uint64_t number)
{
    memcpy(item, &number, sizeof(number));
    if (shk_queue_put(queue, item, size, SHK_NOWAIT) != 0)
        ck_abort_msg("put %llu: %s", (unsigned long long)number, shk_last_error());
}

static uint64_t get_filled(struct shk_queue *queue, char *item, size_t size)
{
    uint64_t number;

    if (shk_queue_get(queue, item, size, SHK_NOWAIT) != (ssize_t)size)
        ck_abort_msg("get: %s", shk_last_error());
    memcpy(&number, item, sizeof(number));
    return number;
}

/* TEST_QUEUE_FLOW: MiB through the queue, which never holds more than 1 MiB. */
START_TEST(test_a_flow_needs_little_memory)
{
    const uint64_t total = megabytes("TEST_QUEUE_FLOW", 64) * MIB;
    const size_t size = 16 * KIB;
    struct shk_queue *queue = create_queue(kinds[_i].order, 0, size);
    uint64_t before = resident(segment_name(NULL)), most = 0, items = total / size, next = 0,
             batch = MIB / size;
    char *item = calloc(1, size);

    for (uint64_t done = 0; done < items; done += batch) {
        for (uint64_t i = 0; i < batch; i++)
            put_filled(queue, item, size, next + i);
        if (done / batch % 16 == 0 && resident(segment_name(NULL)) - before > most)
            most = resident(segment_name(NULL)) - before;
        for (uint64_t i = 0; i < batch; i++) {
            uint64_t expected = kinds[_i].order == SHK_LIFO ? next + batch - 1 - i : next + i;
            if (get_filled(queue, item, size) != expected)
                ck_abort_msg("not item %llu", (unsigned long long)expected);
        }
        next += batch;
    }
    printf("order %u: %llu MiB through the queue, resident at most %llu KiB\n", kinds[_i].order,
           (unsigned long long)(total / MIB), (unsigned long long)(most / KIB));
    ck_assert_uint_le(most, 4 * MIB);
    free(item);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

/*
 * TEST_QUEUE_BACKLOG: MiB that are in the queue at the same time; as many as there is room for,
 * else 64. The segment is four times as large, and more.
 */
START_TEST(test_a_backlog_shrinks_when_it_is_drained)
{
    const uint64_t total =
        megabytes("TEST_QUEUE_BACKLOG", shm_room(64 * (uint64_t)MIB) / MIB) * MIB;
    const size_t size = 16 * KIB;
    const struct shk_segment_options options = {.size = 5 * total + 64 * MIB};
    struct shk_queue *queue = create_in(test_segment_with(&options), &kinds[_i], size);
    uint64_t before = resident(segment_name(NULL)), after, n = total / size;
    char *item = calloc(1, size);

    for (int lap = 0; lap < 2; lap++) {
        for (uint64_t i = 0; i < n; i++)
            put_filled(queue, item, size, i);
        assert_code(shk_queue_size(queue), n);
        ck_assert_uint_ge(resident(segment_name(NULL)) - before, total);
        for (uint64_t i = 0; i < n; i++)
            if (get_filled(queue, item, size) != (kinds[_i].order == SHK_LIFO ? n - 1 - i : i))
                ck_abort_msg("not item %llu", (unsigned long long)i);
        after = resident(segment_name(NULL)) - before;
        printf("order %u: %llu MiB drained, resident %llu KiB\n", kinds[_i].order,
               (unsigned long long)(total / MIB), (unsigned long long)(after / KIB));
        ck_assert_uint_le(after, 4 * MIB);
    }
    free(item);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

/*
 * Chunks are of 256 KiB or of one item; small items go to more than one chunk as well, short and
 * long in turn.
 */
START_TEST(test_a_growing_queue_keeps_what_is_in_it)
{
    static const size_t sizes[] = {1, 8, 100, 5000, 200000, 300000, 2 * MIB};
    enum { SIZES = sizeof(sizes) / sizeof(sizes[0]) };
    size_t size = sizes[_i % SIZES], n = size < 16 ? 200000 : 3 * MIB / size + 3;
    uint32_t order = (uint32_t)(_i / SIZES);
    struct shk_queue *queue = create_queue(order, 0, size);
    unsigned char *item = calloc(1, size), *copy = calloc(1, size);

    for (int lap = 0; lap < 3; lap++) {
        for (size_t i = 0; i < n; i++) {
            memset(item, (int)(i % 251), size - i % 2);
            if (shk_queue_put(queue, item, size - i % 2, SHK_NOWAIT) != 0)
                ck_abort_msg("put: %s", shk_last_error());
        }
        assert_code(shk_queue_size(queue), n);
        for (size_t i = 0; i < n; i++) {
            size_t which = order == SHK_LIFO ? n - 1 - i : i;
            memset(item, (int)(which % 251), size);
            ssize_t length = shk_queue_get(queue, copy, size, SHK_NOWAIT);
            if (length != (ssize_t)(size - which % 2) || memcmp(item, copy, (size_t)length) != 0)
                ck_abort_msg("item %zu of %zu bytes", which, size);
        }
        assert_code(shk_queue_get(queue, copy, size, SHK_NOWAIT), -EAGAIN);
    }
    free(item);
    free(copy);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

static size_t fill(struct shk_queue *queue, char *item, size_t size)
{
    size_t n = 0;
    int r;

    while ((r = shk_queue_put(queue, item, size, SHK_FOREVER)) == 0)
        n++;
    assert_code(r, -ENOSPC);
    return n;
}

static void use_up_address_space(struct shk_queue *queue, size_t n_least)
{
    const size_t size = 1000;
    char item[1000] = "";
    size_t n = fill(queue, item, size);

    /* what would help */
    ck_assert_ptr_nonnull(strstr(shk_last_error(), "shk_segment_options.size"));
    ck_assert_uint_ge(n, n_least);
    assert_code(shk_queue_full(queue), 0);
    assert_code(shk_queue_size(queue), n);
    for (size_t i = 0; i < n; i++)
        if (shk_queue_get(queue, item, size, SHK_NOWAIT) != (ssize_t)size)
            ck_abort_msg("item %zu of %zu", i, n);
    ck_assert_uint_ge(fill(queue, item, size) + 2 * 256, n); /* it keeps a few blocks */
}

/*
 * One queue gets all that there is: of 32 MiB, in which the tables take less than one, more than 24
 * (PRIORITY: a class of 1,024 bytes).
 */
START_TEST(test_address_space_that_is_used_up_is_said)
{
    const struct shk_segment_options options = {.size = 32 * MIB};
    struct shk_queue *queue = create_in(test_segment_with(&options), &kinds[_i], 1000);

    use_up_address_space(queue, 24 * MIB / 1000);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

/* Status 2: not permitted here. The file system ends with the child. */
static int fill_small_file_system(void *argument)
{
    const struct kind *kind = argument;
    struct shk_segment *segment;
    char item[1000] = "";

    if (!replace_shm(8 * MIB))
        return 2;
    assert_code(shk_segment_open("/small", SHK_CREATE, NULL, &segment), 0);
    struct shk_queue *queue = create_in(segment, kind, sizeof(item));
    size_t n = fill(queue, item, sizeof(item));
    ck_assert_uint_ge(n, 6000);
    assert_code(shk_queue_size(queue), n);
    for (int lap = 0; lap < 3; lap++) {
        for (size_t i = 0; i < n / 2; i++)
            if (shk_queue_get(queue, item, sizeof(item), SHK_NOWAIT) != sizeof(item))
                ck_abort_msg("item %zu", i);
        ck_assert_uint_ge(fill(queue, item, sizeof(item)) + 512, n / 2);
        n = (size_t)shk_queue_size(queue);
    }
    for (size_t i = 0; i < n; i++)
        if (shk_queue_get(queue, item, sizeof(item), SHK_NOWAIT) != sizeof(item))
            ck_abort_msg("item %zu", i);
    assert_code(shk_queue_get(queue, item, sizeof(item), SHK_NOWAIT), -EAGAIN);
    return 0;
}

START_TEST(test_nothing_is_lost_when_memory_is_out)
{
    int status = child_wait(child_start(fill_small_file_system, (void *)&kinds[_i]));

    if (status == 2)
        skip_test("no file system can be mounted here");
    ck_assert_int_eq(status, 0);
}
END_TEST

START_TEST(test_a_growing_queue_gives_everything_back_when_it_is_unlinked)
{
    char item[1000] = "";
    struct shk_object_info info;

    test_segment();
    uint64_t before = resident(segment_name(NULL));

    for (int lap = 0; lap < 3; lap++) {
        struct shk_queue *queue = create_queue(kinds[_i].order, 0, 1000);
        for (uint64_t i = 0; i < 5000; i++)
            put_filled(queue, item, sizeof(item), i);
        ck_assert_uint_ge(resident(segment_name(NULL)), before + 5000000);
        /* its size is what it has, not address space */
        ck_assert(look_at_object(segment_name(NULL), "jobs", &info));
        ck_assert_uint_ge(info.size, 5000000);
        ck_assert_uint_le(info.size, 16 * MIB);
        assert_code(shk_object_unlink(test_segment(), "jobs"), 0);
        assert_code(put(queue, 1), -ESTALE);
        assert_code(get(queue), -ESTALE);
        assert_code(shk_queue_close(queue), 0);
        /* but for the blocks' words, of which there are 512 in a page */
        ck_assert_uint_le(resident(segment_name(NULL)), before + 4 * KIB);
    }
}
END_TEST

/* Items take the room of their own length, not that of the largest that there could be. */
START_TEST(test_items_are_stored_at_their_length)
{
    enum { ITEMS = 20000 };
    static const size_t sizes[] = {1000, 200000, MIB};
    struct shk_queue *queue = create_queue(kinds[GROWING + _i / 3].order, 0, sizes[_i % 3]);
    uint64_t before = resident(segment_name(NULL)), full;
    int32_t number;

    for (int32_t i = 0; i < ITEMS; i++)
        if (shk_queue_put(queue, &i, sizeof(i), SHK_NOWAIT) != 0)
            ck_abort_msg("%s", shk_last_error());
    full = resident(segment_name(NULL)) - before;
    printf("order %u, items of 4 bytes of at most %zu: %llu KiB for %d\n",
           kinds[GROWING + _i / 3].order, sizes[_i % 3], (unsigned long long)(full / KIB), ITEMS);
    ck_assert_uint_le(full, 3 * MIB); /* 16, 24 or 96 bytes each, and a piece that is begun */
    for (int32_t i = 0; i < ITEMS; i++) {
        assert_code(shk_queue_get(queue, &number, sizeof(number), SHK_NOWAIT), 4);
        ck_assert_int_eq(number, kinds[GROWING + _i / 3].order == SHK_LIFO ? ITEMS - 1 - i : i);
    }
    ck_assert_uint_le(resident(segment_name(NULL)) - before, 2 * MIB);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

/*
 * Lengths of all kinds, between which the largest items come and go: nothing is mixed up, and the
 * memory comes back.
 */
START_TEST(test_lengths_may_be_mixed)
{
    enum { MOST = 400, ROUNDS = 6000, LARGEST = 700000 };
    static struct {
        size_t length;
        int64_t number, priority;
    } model[MOST];
    static unsigned char item[LARGEST], copy[LARGEST];
    uint32_t order = kinds[GROWING + _i].order;
    struct shk_queue *queue = create_queue(order, 0, LARGEST);
    uint64_t before = resident(segment_name(NULL));
    int n = 0;

    srand(11);
    for (int64_t round = 0; round < ROUNDS || n > 0; round++) {
        bool puts =
            round < ROUNDS && (n == 0 || (n < MOST && rand() % 100 < (round / 1000 % 2 ? 30 : 70)));
        if (puts) {
            int kind = rand() % 50;
            size_t length = kind == 0  ? LARGEST - (size_t)(rand() % 3)
                            : kind < 5 ? (size_t)(rand() % 300000)
                                       : (size_t)(rand() % 300);
            model[n].length = length;
            model[n].number = round;
            model[n].priority = rand() % 9;
            memset(item, (int)(round % 251), length);
            int r = order == SHK_PRIORITY
                        ? shk_queue_put_priority(queue, item, length, model[n].priority, SHK_NOWAIT)
                        : shk_queue_put(queue, item, length, SHK_NOWAIT);
            if (r != 0)
                ck_abort_msg("put: %s", shk_last_error());
            n++;
            continue;
        }
        int best = order == SHK_LIFO ? n - 1 : 0;
        for (int i = 0; order == SHK_PRIORITY && i < n; i++)
            if (model[i].priority < model[best].priority)
                best = i;
        ssize_t length = shk_queue_get(queue, copy, LARGEST, SHK_NOWAIT);
        memset(item, (int)(model[best].number % 251), model[best].length);
        if (length != (ssize_t)model[best].length || memcmp(item, copy, (size_t)length) != 0)
            ck_abort_msg("round %lld: %zd bytes, not %zu: %s", (long long)round, length,
                         model[best].length, shk_last_error());
        n--;
        memmove(&model[best], &model[best + 1], (size_t)(n - best) * sizeof(model[0]));
    }
    printf("order %u: drained, resident %llu KiB\n", order,
           (unsigned long long)((resident(segment_name(NULL)) - before) / KIB));
    ck_assert_uint_le(resident(segment_name(NULL)) - before, 8 * MIB);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

/* Other objects want the room that a queue had. */
START_TEST(test_what_a_drained_queue_had_is_for_other_objects)
{
    const struct shk_segment_options options = {.size = 32 * MIB};
    const struct shk_region_options large = {.size = 16 * MIB};
    struct shk_segment *segment = test_segment_with(&options);
    struct shk_queue *queue = create_in(segment, &kinds[GROWING + _i], 1000);
    struct shk_region *region;
    char item[1000] = "";
    size_t n = fill(queue, item, sizeof(item));

    assert_code(shk_region_open(segment, "large", SHK_CREATE, &large, &region), -ENOSPC);
    for (size_t i = 0; i < n; i++)
        get_filled(queue, item, sizeof(item));
    /* FIFO: on to another block: the last one may lie where the heap is to go on */
    for (uint64_t i = 0; i < 600; i++) {
        put_filled(queue, item, sizeof(item), i);
        get_filled(queue, item, sizeof(item));
    }
    assert_code(shk_region_open(segment, "large", SHK_CREATE, &large, &region), 0);
    n = fill(queue, item, sizeof(item)); /* what is left */
    ck_assert_uint_ge(n, 8 * MIB / 1000);
    assert_code(shk_region_close(region), 0);
    assert_code(shk_object_unlink(segment, "large"), 0);
    ck_assert_uint_ge(fill(queue, item, sizeof(item)), 12 * MIB / 1000);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

/* The hundredth queue has as much room as the first. */
START_TEST(test_a_share_does_not_shrink_with_the_number_of_queues)
{
    enum { QUEUES = 100, LAST = 4000 };
    const struct shk_queue_options options = {.order = kinds[GROWING + _i].order,
                                              .item_size = 1000};
    static struct shk_queue *queues[QUEUES];
    char name[8], item[1000] = "";

    for (int k = 0; k < QUEUES; k++) {
        snprintf(name, sizeof(name), "q%d", k);
        assert_code(shk_queue_open(test_segment(), name, SHK_CREATE, &options, &queues[k]), 0);
        assert_code(shk_queue_put(queues[k], name, sizeof(name), SHK_NOWAIT), 0);
    }
    for (uint64_t i = 0; i < LAST; i++) {
        put_filled(queues[0], item, sizeof(item), i);
        put_filled(queues[QUEUES - 1], item, sizeof(item), i);
    }
    for (int k = 0; k < QUEUES; k++) {
        assert_code(shk_queue_size(queues[k]), k == 0 || k == QUEUES - 1 ? LAST + 1 : 1);
        assert_code(shk_queue_close(queues[k]), 0);
    }
}
END_TEST

START_TEST(test_several_growing_queues_share_a_segment)
{
    const struct shk_queue_options options = {.item_size = 1000};
    struct shk_queue *queues[8];
    char name[2] = "a";
    int64_t number;

    for (int k = 0; k < 8; k++, name[0]++)
        assert_code(shk_queue_open(test_segment(), name, SHK_CREATE, &options, &queues[k]), 0);
    for (int64_t i = 0; i < 2000; i++)
        for (int k = 0; k < 8; k++) {
            number = i * 8 + k;
            if (shk_queue_put(queues[k], &number, sizeof(number), SHK_NOWAIT) != 0)
                ck_abort_msg("%s", shk_last_error());
        }
    for (int64_t i = 0; i < 2000; i++)
        for (int k = 0; k < 8; k++)
            if (get(queues[k]) != i * 8 + k)
                ck_abort_msg("item %lld of queue %d", (long long)i, k);
    for (int k = 0; k < 8; k++)
        assert_code(shk_queue_close(queues[k]), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("queue orders");
    TCase *opening = test_case(suite, "opening"), *order = test_case(suite, "order"),
          *blocking = test_case(suite, "blocking"), *memory = test_case(suite, "memory");

    tcase_add_loop_test(opening, test_queue_has_the_order_and_the_capacity_it_was_created_with, 0,
                        KINDS);
    tcase_add_test(opening, test_queue_without_options_is_fifo_without_a_limit);
    tcase_add_loop_test(order, test_lifo_takes_the_last_first, 0, 2);
    tcase_add_loop_test(order, test_priority_takes_the_lowest_first_and_equals_in_order_of_arrival,
                        0, 2);
    tcase_add_loop_test(order, test_a_get_tells_the_priority_of_its_item, 0, 2);
    tcase_add_loop_test(order, test_priority_is_right_for_any_sequence, 0, 2);
    tcase_add_loop_test(order, test_a_priority_is_for_priority_queues, 0, KINDS);
    tcase_add_loop_test(order, test_an_item_stays_if_the_buffer_is_too_small, 0, KINDS);
    tcase_add_loop_test(blocking, test_a_get_waits_for_a_put_and_a_put_for_a_get, 0, KINDS);
    tcase_add_loop_test(blocking, test_a_shut_down_queue_is_drained_and_can_be_reopened, 0, KINDS);
    tcase_add_loop_test(blocking, test_each_item_comes_once, 0, KINDS);
    tcase_add_loop_test(memory, test_a_flow_needs_little_memory, GROWING, KINDS);
    tcase_add_loop_test(memory, test_a_backlog_shrinks_when_it_is_drained, GROWING, KINDS);
    tcase_add_loop_test(memory, test_a_growing_queue_keeps_what_is_in_it, 0, 21);
    tcase_add_loop_test(memory, test_address_space_that_is_used_up_is_said, GROWING, KINDS);
    tcase_add_loop_test(memory, test_nothing_is_lost_when_memory_is_out, GROWING, KINDS);
    tcase_add_loop_test(memory, test_a_growing_queue_gives_everything_back_when_it_is_unlinked,
                        GROWING, KINDS);
    tcase_add_loop_test(memory, test_items_are_stored_at_their_length, 0, 9);
    tcase_add_loop_test(memory, test_lengths_may_be_mixed, 0, 3);
    tcase_add_loop_test(memory, test_what_a_drained_queue_had_is_for_other_objects, 0, 3);
    tcase_add_loop_test(memory, test_a_share_does_not_shrink_with_the_number_of_queues, 0, 3);
    tcase_add_test(memory, test_several_growing_queues_share_a_segment);
    return run_tests(suite);
}
