/* The queue: what <shmkit/queue.h> says, sentence by sentence. */
#include "common.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static struct shk_queue *create_queue(size_t capacity, size_t item_size)
{
    const struct shk_queue_options options = {.capacity = capacity, .item_size = item_size};
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

static int put(struct shk_queue *queue, const char *text)
{
    return shk_queue_put(queue, text, strlen(text), SHK_NOWAIT);
}

/* The next item is that text, and is there now. */
static void assert_next(struct shk_queue *queue, const char *text)
{
    char item[64];

    assert_code(shk_queue_get(queue, item, sizeof(item), SHK_NOWAIT), strlen(text));
    ck_assert_mem_eq(item, text, strlen(text));
}

static void assert_empty(struct shk_queue *queue)
{
    char item[64];

    assert_code(shk_queue_get(queue, item, sizeof(item), SHK_NOWAIT), -EAGAIN);
    assert_code(shk_queue_empty(queue), 1);
    assert_code(shk_queue_full(queue), 0);
    assert_code(shk_queue_size(queue), 0);
}

/* ---- Actors: programs that put or get one item ---- */

enum { PENDING = INT_MIN };

struct actor {
    pid_t pid;
    bool puts;
    bool interruptible;
    int64_t timeout;
    char item[32];
    size_t size; /* of the buffer, for a get */
    _Atomic int result;
};

static int put_or_get(void *argument)
{
    struct actor *actor = argument;
    struct shk_queue *queue = open_queue();

    if (actor->interruptible)
        interruptible();
    if (actor->puts)
        actor->result = shk_queue_put(queue, actor->item, strlen(actor->item), actor->timeout);
    else
        actor->result = (int)shk_queue_get(queue, actor->item, actor->size, actor->timeout);
    return actor->result >= 0 || shk_last_error()[0] ? 0 : 2;
}

static struct actor *start_actor(const struct actor *what)
{
    struct actor *actor = shared_memory(sizeof(*actor));

    *actor = *what;
    actor->result = PENDING;
    if (actor->size == 0)
        actor->size = sizeof(actor->item);
    actor->pid = stranger_start(put_or_get, actor);
    wait_until_waiting(segment_name(NULL), actor->pid, "jobs");
    return actor;
}

/* Programs that sleep because the queue is empty, or full. */
static struct actor *start_getter(void)
{
    return start_actor(&(struct actor){.timeout = SHK_FOREVER});
}

static struct actor *start_putter(const char *text)
{
    struct actor what = {.puts = true, .timeout = SHK_FOREVER};

    strncpy(what.item, text, sizeof(what.item) - 1);
    return start_actor(&what);
}

/* What the actor's call gave; the actor has ended. */
static int result_of(struct actor *actor)
{
    child_succeeds(actor->pid);
    return actor->result;
}

static void assert_got(struct actor *getter, const char *text)
{
    assert_result(result_of(getter), (int)strlen(text));
    ck_assert_mem_eq(getter->item, text, strlen(text));
}

/* ---- Opening ---- */

START_TEST(test_queue_is_created_once_and_found_by_name)
{
    const struct shk_queue_options options = {.capacity = 3};
    struct shk_queue *queue, *again;

    assert_code(shk_queue_open(test_segment(), "jobs", 0, &options, &queue), -ENOENT);
    assert_code(shk_queue_open(test_segment(), "jobs", SHK_CREATE | SHK_EXCL, &options, &queue), 0);
    assert_code(shk_queue_open(test_segment(), "jobs", SHK_CREATE | SHK_EXCL, &options, &again),
                -EEXIST);
    assert_code(shk_queue_open(test_segment(), "jobs", SHK_CREATE, &options, &again), 0);
    assert_code(put(queue, "Python"), 0);
    assert_code(shk_queue_close(queue), 0);
    assert_code(shk_queue_size(again), 1);
    assert_code(shk_queue_close(again), 0);
    assert_code(shk_queue_close(NULL), 0);
    queue = open_queue();
    assert_code(shk_queue_capacity(queue), 3);
    assert_code(shk_queue_item_size(queue), 1024);
    assert_next(queue, "Python");
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

START_TEST(test_queue_is_opened_only_as_what_it_is)
{
    struct shk_queue *queue = create_queue(3, 64), *other;
    struct shk_event *event;
    const struct shk_queue_options wrong[] = {
        {.capacity = 4},
        {.capacity = 2, .item_size = 64},
        {.capacity = 3, .item_size = 65},
        {.capacity = 3, .item_size = 63},
        {.item_size = 128},
    };
    const struct shk_queue_options right[] = {
        {.capacity = 3, .item_size = 64}, {.capacity = 3}, {.item_size = 64}, {0}};

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_code(
            shk_queue_open(test_segment(), "jobs", i % 2 ? SHK_CREATE : 0, &wrong[i], &other),
            -EPROTOTYPE);
    for (size_t i = 0; i < sizeof(right) / sizeof(right[0]); i++) {
        assert_code(
            shk_queue_open(test_segment(), "jobs", i % 2 ? SHK_CREATE : 0, &right[i], &other), 0);
        assert_code(shk_queue_close(other), 0);
    }
    assert_code(shk_event_open(test_segment(), "event", SHK_CREATE, NULL, &event), 0);
    assert_code(shk_queue_open(test_segment(), "event", SHK_CREATE, &right[0], &other),
                -EPROTOTYPE);
    assert_code(shk_event_close(event), 0);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

START_TEST(test_queue_refuses_what_it_cannot_be)
{
    const size_t beyond = ((size_t)1 << 31) + 1;
    const struct shk_queue_options good = {.capacity = 1};
    const struct {
        struct shk_queue_options options;
        int code;
    } bad[] = {
        {{.capacity = 1, .order = 3}, -EINVAL},
        {{.capacity = beyond}, -EINVAL},
        {{.capacity = SIZE_MAX}, -EINVAL},
        {{.capacity = 1, .item_size = beyond}, -EINVAL},
        {{.capacity = 1, .item_size = SIZE_MAX}, -EINVAL},
        {{.capacity = 1, .reserved_32 = 1}, -EINVAL},
        {{.capacity = 1, .reserved[3] = 1}, -EINVAL},
    };
    struct shk_queue *queue;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_code(shk_queue_open(test_segment(), "jobs", SHK_CREATE, &bad[i].options, &queue),
                    bad[i].code);
    for (const struct bad_name *name = bad_object_names; name->name; name++)
        assert_code(shk_queue_open(test_segment(), name->name, SHK_CREATE, &good, &queue),
                    name->code);
    assert_code(shk_queue_open(test_segment(), "jobs", SHK_CREATE | 0x80, &good, &queue), -EINVAL);
    assert_code(shk_queue_open(test_segment(), "jobs", SHK_CREATE, &good, NULL), -EINVAL);
    assert_code(shk_queue_open(test_segment(), NULL, SHK_CREATE, &good, &queue), -EINVAL);
    assert_code(shk_queue_open(NULL, "jobs", SHK_CREATE, &good, &queue), -EINVAL);
    assert_code(shk_queue_open(test_segment(), "jobs", 0, NULL, &queue), -ENOENT);
}
END_TEST

START_TEST(test_queue_refuses_bad_arguments)
{
    struct shk_queue *queue = create_queue(1, 8);
    char item[8] = "";

    assert_code(shk_queue_put(queue, NULL, 1, SHK_NOWAIT), -EINVAL);
    assert_code(shk_queue_put(NULL, item, 1, SHK_NOWAIT), -EINVAL);
    assert_empty(queue);
    assert_code(put(queue, "item"), 0);
    assert_code(shk_queue_get(queue, NULL, 8, SHK_NOWAIT), -EINVAL);
    assert_code(shk_queue_get(NULL, item, 8, SHK_NOWAIT), -EINVAL);
    assert_code(shk_queue_size(NULL), -EINVAL);
    assert_code(shk_queue_capacity(NULL), -EINVAL);
    assert_code(shk_queue_item_size(NULL), -EINVAL);
    assert_code(shk_queue_empty(NULL), -EINVAL);
    assert_code(shk_queue_full(NULL), -EINVAL);
    assert_code(shk_queue_shutdown(NULL), -EINVAL);
    assert_next(queue, "item");
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

static int use_after_fork(void *queue)
{
    char item[8];

    assert_code(shk_queue_put(queue, "item", 4, SHK_FOREVER), -EUSERS);
    assert_code(shk_queue_get(queue, item, sizeof(item), SHK_FOREVER), -EUSERS);
    return 0;
}

START_TEST(test_queue_needs_room)
{
    const struct shk_segment_options options = {
        .size = 1 << 20, .max_members = 1, .max_objects = 1};
    const struct shk_queue_options large = {.capacity = 10000, .item_size = 1024},
                                   little = {.capacity = 10};
    struct shk_segment *small;
    struct shk_queue *queue, *other;

    assert_code(shk_segment_open(segment_name("small"), SHK_CREATE, &options, &small), 0);
    assert_code(shk_queue_open(small, "jobs", SHK_CREATE, &large, &queue), -ENOSPC);
    assert_code(shk_queue_open(small, "jobs", 0, NULL, &queue), -ENOENT);
    assert_code(shk_queue_open(small, "jobs", SHK_CREATE, &little, &queue), 0);
    assert_code(shk_queue_open(small, "more", SHK_CREATE, &little, &other), -ENOSPC);
    child_succeeds(child_start(use_after_fork, queue));
    assert_code(shk_queue_close(queue), 0);
    assert_code(shk_segment_close(small), 0);
    assert_code(shk_segment_unlink(segment_name("small")), 0);
}
END_TEST

/* Status 2: not permitted here. The file system ends with the child. */
static int fill_small_file_system(void *argument)
{
    enum { MIB = 1 << 20 };
    const struct shk_queue_options large = {.capacity = 16384, .item_size = 1024},
                                   little = {.capacity = 10};
    struct shk_segment *segment;
    struct shk_queue *queue;

    (void)argument;
    if (!replace_shm(4 * MIB))
        return 2;
    assert_code(shk_segment_open("/small", SHK_CREATE, NULL, &segment), 0);
    assert_code(shk_queue_open(segment, "jobs", SHK_CREATE, &large, &queue), -ENOSPC);
    assert_code(shk_queue_open(segment, "jobs", SHK_CREATE, &little, &queue), 0);
    for (int i = 0; i < 10; i++)
        assert_code(put(queue, "item"), 0);
    for (int i = 0; i < 10; i++)
        assert_next(queue, "item");
    return 0;
}

START_TEST(test_queue_does_not_fit_into_a_full_file_system)
{
    int status = child_wait(child_start(fill_small_file_system, NULL));

    if (status == 2)
        skip_test("no file system can be mounted here");
    ck_assert_int_eq(status, 0);
}
END_TEST

START_TEST(test_queue_ends_with_its_segment)
{
    const struct shk_queue_options options = {.capacity = 1};
    struct shk_segment *segment;
    struct shk_queue *queue;
    char item[8];

    assert_code(shk_segment_open(segment_name("other"), SHK_CREATE, NULL, &segment), 0);
    assert_code(shk_queue_open(segment, "jobs", SHK_CREATE, &options, &queue), 0);
    assert_code(shk_segment_close(segment), 0);
    assert_code(put(queue, "item"), -EBADF);
    assert_code(shk_queue_get(queue, item, sizeof(item), SHK_FOREVER), -EBADF);
    assert_code(shk_queue_size(queue), -EBADF);
    assert_code(shk_queue_empty(queue), -EBADF);
    assert_code(shk_queue_full(queue), -EBADF);
    assert_code(shk_queue_shutdown(queue), -EBADF);
    assert_code(shk_queue_close(queue), 0);
    assert_code(shk_segment_unlink(segment_name("other")), 0);
}
END_TEST

/* ---- Items ---- */

static const size_t capacities[] = {1, 2, 3, 5, 1000};

START_TEST(test_queue_is_first_in_first_out_and_full_at_its_capacity)
{
    const size_t capacity = capacities[_i];
    struct shk_queue *queue = create_queue(capacity, sizeof(size_t));
    size_t item;

    assert_code(shk_queue_capacity(queue), capacity);
    for (int lap = 0; lap < 3; lap++) {
        assert_empty(queue);
        for (size_t i = 0; i < capacity; i++) {
            assert_code(shk_queue_full(queue), 0);
            assert_code(shk_queue_put(queue, &i, sizeof(i), SHK_NOWAIT), 0);
            assert_code(shk_queue_empty(queue), 0);
            assert_code(shk_queue_size(queue), i + 1);
        }
        assert_code(shk_queue_full(queue), 1);
        assert_code(shk_queue_put(queue, &capacity, sizeof(capacity), SHK_NOWAIT), -EAGAIN);
        for (size_t i = 0; i < capacity; i++) {
            assert_code(shk_queue_get(queue, &item, sizeof(item), SHK_NOWAIT), sizeof(item));
            ck_assert_uint_eq(item, i);
        }
    }
    assert_empty(queue);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

START_TEST(test_queue_keeps_the_length_and_bytes_of_each_item)
{
    enum { ITEM_SIZE = 100 };
    struct shk_queue *queue = create_queue(ITEM_SIZE + 1, ITEM_SIZE);
    unsigned char item[ITEM_SIZE + 1];

    for (size_t length = 0; length <= ITEM_SIZE; length++) {
        memset(item, (int)length, length);
        assert_code(shk_queue_put(queue, length ? item : NULL, length, SHK_NOWAIT), 0);
    }
    for (size_t length = 0; length <= ITEM_SIZE; length++) {
        memset(item, 0xee, sizeof(item));
        assert_code(shk_queue_get(queue, item, length, SHK_NOWAIT), length);
        for (size_t i = 0; i < sizeof(item); i++)
            ck_assert_uint_eq(item[i], i < length ? length : 0xee);
    }
    assert_empty(queue);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

START_TEST(test_queue_refuses_an_item_that_is_too_long)
{
    struct shk_queue *queue = create_queue(2, 8);
    char buffer[9] = "12345678";

    assert_code(shk_queue_put(queue, buffer, 9, SHK_NOWAIT), -EMSGSIZE);
    assert_code(shk_queue_put(queue, buffer, SIZE_MAX, SHK_FOREVER), -EMSGSIZE);
    assert_empty(queue);
    assert_code(shk_queue_put(queue, buffer, 8, SHK_NOWAIT), 0);
    assert_code(put(queue, "after"), 0);
    assert_code(shk_queue_get(queue, buffer, 7, SHK_NOWAIT), -EMSGSIZE);
    assert_code(shk_queue_get(queue, buffer, 0, SHK_FOREVER), -EMSGSIZE);
    assert_code(shk_queue_get(queue, NULL, 0, SHK_FOREVER), -EMSGSIZE);
    assert_code(shk_queue_size(queue), 2);
    assert_next(queue, "12345678");
    assert_next(queue, "after");
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

START_TEST(test_queue_leaves_an_item_that_a_sleeper_has_no_room_for)
{
    struct shk_queue *queue = create_queue(2, 8);
    struct actor *narrow = start_actor(&(struct actor){.timeout = SHK_FOREVER, .size = 3});

    assert_code(put(queue, "1234"), 0);
    assert_result(result_of(narrow), -EMSGSIZE);
    assert_next(queue, "1234");

    /* Whichever is woken first, the item comes to the one that has room for it. */
    narrow = start_actor(&(struct actor){.timeout = SHK_FOREVER, .size = 3});
    struct actor *getter = start_getter();
    assert_code(put(queue, "5678"), 0);
    assert_got(getter, "5678");
    assert_code(put(queue, "9"), 0);
    int result = result_of(narrow);
    if (result == -EMSGSIZE)
        assert_next(queue, "9");
    else
        assert_result(result, 1);
    assert_empty(queue);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

START_TEST(test_queue_goes_round_for_many_laps)
{
    const size_t capacity = capacities[_i];
    struct shk_queue *queue = create_queue(capacity, 61);
    unsigned char in[61], out[61];
    uint32_t puts = 0, gets = 0;

    while (gets < 20000) {
        /* Up to a random level, then down to another. */
        for (size_t level = random() % (capacity + 1); puts - gets < level; puts++) {
            memset(in, (int)(puts * 7), sizeof(in));
            if (shk_queue_put(queue, in, puts % sizeof(in), SHK_NOWAIT) != 0)
                ck_abort_msg("put %u: %s", puts, shk_last_error());
        }
        for (size_t level = random() % (capacity + 1); puts - gets > level; gets++) {
            memset(in, (int)(gets * 7), sizeof(in));
            if (shk_queue_get(queue, out, sizeof(out), SHK_NOWAIT) !=
                    (ssize_t)(gets % sizeof(in)) ||
                memcmp(in, out, gets % sizeof(in)) != 0)
                ck_abort_msg("get %u: %s", gets, shk_last_error());
        }
        if (shk_queue_size(queue) != puts - gets)
            ck_abort_msg("%u puts, %u gets: size %zd", puts, gets, shk_queue_size(queue));
    }
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

/*
 * Where a ring has so few slots that each has a cache line of its own, and where it has not: every
 * byte of every item stays its own.
 */
START_TEST(test_queue_keeps_items_of_any_size_apart)
{
    static const size_t rings[] = {1, 63, 64, 65, 130};
    const size_t capacity = rings[_i];
    unsigned char in[70], out[70];

    for (size_t size = 1; size <= sizeof(in); size++) {
        struct shk_queue *queue = create_queue(capacity, size);
        for (size_t i = 0; i < 3 * capacity; i++) {
            memset(in, (int)i, size);
            assert_code(shk_queue_put(queue, in, size, SHK_NOWAIT), 0);
            if (shk_queue_full(queue) != 1)
                continue; /* all places first, then round */
            ck_assert_int_eq(shk_queue_get(queue, out, sizeof(out), SHK_NOWAIT), (ssize_t)size);
            memset(in, (int)(i + 1 - capacity), size);
            ck_assert_mem_eq(in, out, size);
        }
        assert_code(shk_queue_close(queue), 0);
        assert_code(shk_object_unlink(test_segment(), "jobs"), 0);
    }
}
END_TEST

/* ---- Waiting ---- */

/* also longer than a recheck interval */
static const int64_t timeouts[] = {1, SHK_MS(1), SHK_MS(30), SHK_MS(250)};

START_TEST(test_queue_gives_up_when_the_time_is_over_and_not_before)
{
    const int64_t timeout = timeouts[_i];
    struct shk_queue *queue = create_queue(1, 8);
    char item[8];

    assert_code_after(timeout, shk_queue_get(queue, item, sizeof(item), timeout), -ETIMEDOUT);
    assert_code(shk_queue_put(queue, "item", 4, timeout), 0);
    assert_code_after(timeout, shk_queue_put(queue, "more", 4, timeout), -ETIMEDOUT);
    assert_code(shk_queue_size(queue), 1);
    assert_code(shk_queue_get(queue, item, sizeof(item), timeout), 4);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

/* Queue(2), whose third put blocks. */
START_TEST(test_queue_lets_a_producer_wait_for_a_free_place)
{
    struct shk_queue *queue = create_queue(2, 16);

    assert_code(put(queue, "Python"), 0);
    assert_code(put(queue, "Kotlin"), 0);
    struct actor *putter = start_putter("Swift");
    assert_result(putter->result, PENDING);
    assert_next(queue, "Python");
    assert_result(result_of(putter), 0);
    assert_next(queue, "Kotlin");
    assert_next(queue, "Swift");
    assert_empty(queue);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

START_TEST(test_queue_lets_a_consumer_wait_for_an_item)
{
    struct shk_queue *queue = create_queue(2, 16);
    struct actor *getter = start_getter();

    assert_result(getter->result, PENDING);
    assert_code(put(queue, "Python"), 0);
    assert_got(getter, "Python");
    assert_empty(queue);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

/* One item for each, and no wake-up is lost among those that come at once. */
START_TEST(test_queue_wakes_a_sleeper_for_each_item_and_each_place)
{
    enum { SLEEPERS = 4 };
    struct shk_queue *queue = create_queue(SLEEPERS, 16);
    struct actor *sleepers[SLEEPERS];
    int done = 0;

    for (int i = 0; i < SLEEPERS; i++)
        sleepers[i] = start_getter();
    assert_code(put(queue, "1"), 0);
    assert_code(put(queue, "2"), 0);
    wait_until(shk_queue_size(queue) == 0, TEST_DEADLINE);
    usleep(350000); /* several recheck intervals: nothing more is to happen in this time */
    for (int i = 0; i < SLEEPERS; i++)
        done += sleepers[i]->result != PENDING;
    ck_assert_int_eq(done, 2);
    assert_code(put(queue, "3"), 0);
    assert_code(put(queue, "4"), 0);
    for (int i = 0; i < SLEEPERS; i++)
        assert_result(result_of(sleepers[i]), 1);
    assert_empty(queue);

    for (int i = 0; i < SLEEPERS; i++)
        assert_code(put(queue, "-"), 0);
    for (int i = 0; i < SLEEPERS; i++)
        sleepers[i] = start_putter("+");
    for (int i = 0; i < SLEEPERS; i++)
        assert_next(queue, "-");
    for (int i = 0; i < SLEEPERS; i++)
        assert_result(result_of(sleepers[i]), 0);
    for (int i = 0; i < SLEEPERS; i++)
        assert_next(queue, "+");
    assert_empty(queue);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

/* It wakes one consumer, which gives up before the item is due: another one has to know of it. */
START_TEST(test_queue_delayed_item_outlives_the_wait_of_the_consumer_that_was_told)
{
    struct shk_queue *queue = create_queue(2, 16);
    struct actor *brief, *patient;
    uint64_t ticket;
    char item[16];

    assert_code(put(queue, "late"), 0);
    assert_code(shk_queue_lease(queue, item, sizeof(item), SHK_NOWAIT, &ticket), 4);
    brief = start_actor(&(struct actor){.timeout = SHK_SEC(2)});
    patient = start_getter();
    assert_code(shk_queue_nack(queue, ticket, SHK_SEC(4)), 0);
    assert_result(result_of(brief), -ETIMEDOUT);
    assert_got(patient, "late");
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

static int put_and_get_with_the_handle_of_the_parent(void *queue)
{
    char item[16];

    assert_code(shk_queue_get(queue, item, sizeof(item), SHK_FOREVER), 8);
    assert_code(shk_queue_put(queue, item, 4, SHK_FOREVER), 0);
    return 0;
}

START_TEST(test_queue_works_in_a_forked_child)
{
    struct shk_queue *queue = create_queue(1, 16);
    pid_t child = child_start(put_and_get_with_the_handle_of_the_parent, queue);

    wait_until_waiting(segment_name(NULL), child, "jobs");
    assert_code(put(queue, "question"), 0);
    child_succeeds(child);
    assert_next(queue, "ques");
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

/*
 * A quick consumer takes what comes between two checks of a sleeper, which does not make the
 * sleeper give up earlier.
 */
static int get_within_half_a_second(void *argument)
{
    struct shk_queue *queue = open_queue();
    char item[16];

    (void)argument;
    for (;;) {
        int64_t start = time_now();
        ssize_t r = shk_queue_get(queue, item, sizeof(item), SHK_MS(500));
        if (r == -ETIMEDOUT && time_now() - start < SHK_MS(500))
            return 2;
        if (r == -ETIMEDOUT || (r < 0 && r != -EPIPE))
            return r == -ETIMEDOUT ? 0 : 3;
    }
}

START_TEST(test_queue_timeout_is_not_shortened_by_what_others_do)
{
    struct shk_queue *queue = create_queue(1, 16);
    pid_t getter = stranger_start(get_within_half_a_second, NULL);
    int64_t end = time_now() + SHK_MS(800);
    char item[16];

    while (time_now() < end) {
        int r = put(queue, "item");
        if ((r < 0 && r != -EAGAIN) ||
            (r = (int)shk_queue_get(queue, item, sizeof(item), SHK_NOWAIT), r < 0 && r != -EAGAIN))
            ck_abort_msg("put or get: %s", shk_last_error());
    }
    child_succeeds(getter);
    assert_empty(queue);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

/* Status 2: it is refused, although the queue is neither full nor empty. */
enum { AT_WORK = 3, OPERATIONS = 50000 };

static int work_without_waiting(void *puts)
{
    struct shk_queue *queue = open_queue();
    int item = 0;

    for (int i = 0; i < OPERATIONS; i++) {
        ssize_t r = *(bool *)puts ? shk_queue_put(queue, &item, sizeof(item), SHK_NOWAIT)
                                  : shk_queue_get(queue, &item, sizeof(item), SHK_NOWAIT);
        if (r < 0)
            return 2;
    }
    return 0;
}

START_TEST(test_queue_refuses_no_call_because_others_are_at_work)
{
    struct shk_queue *queue = create_queue(AT_WORK * OPERATIONS, sizeof(int));
    pid_t children[AT_WORK];

    for (int puts = 1; puts >= 0; puts--) {
        for (int i = 0; i < AT_WORK; i++)
            children[i] = stranger_start(work_without_waiting, &(bool){puts});
        for (int i = 0; i < AT_WORK; i++)
            child_succeeds(children[i]);
        assert_code(shk_queue_size(queue), puts ? AT_WORK * OPERATIONS : 0);
    }
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

/*
 * -EAGAIN is for an empty queue: the workers take all there is, though there are many for each CPU,
 * and end then.
 */
enum { WORKERS = 40, JOBS = 3000 };

static int take_until_it_is_empty(void *taken)
{
    struct shk_queue *queue = open_queue();
    char item[8];
    ssize_t r;

    while ((r = shk_queue_get(queue, item, sizeof(item), SHK_NOWAIT)) >= 0)
        atomic_fetch_add((_Atomic int *)taken, 1);
    return r == -EAGAIN ? 0 : 2;
}

START_TEST(test_queue_says_empty_only_when_it_is)
{
    static const uint32_t orders[] = {SHK_FIFO, SHK_LIFO, SHK_PRIORITY};
    struct shk_queue_options options = {
        .order = orders[_i / 2], .capacity = _i % 2 ? 0 : JOBS, .item_size = 8};
    _Atomic int *taken = shared_memory(sizeof(*taken));
    struct shk_queue *queue;
    pid_t children[WORKERS];

    assert_code(shk_queue_open(test_segment(), "jobs", SHK_CREATE, &options, &queue), 0);
    for (int i = 0; i < JOBS; i++)
        assert_code(put(queue, "job"), 0);
    for (int i = 0; i < WORKERS; i++)
        children[i] = stranger_start(take_until_it_is_empty, taken);
    for (int i = 0; i < WORKERS; i++)
        child_succeeds(children[i]);
    ck_assert_int_eq(atomic_load(taken), JOBS);
    assert_empty(queue);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

struct greed {
    atomic_bool end;
    _Atomic long puts[3];
};

struct greedy {
    struct greed *greed;
    int number; /* 3: the consumer */
};

static int put_or_get_until_the_end(void *argument)
{
    const struct greedy *greedy = argument;
    struct shk_queue *queue = open_queue();
    char item[8] = "item";

    while (!greedy->greed->end) {
        ssize_t r = greedy->number == 3 ? shk_queue_get(queue, item, sizeof(item), SHK_MS(1))
                                        : shk_queue_put(queue, item, sizeof(item), SHK_MS(1));
        if (r < 0 && r != -ETIMEDOUT)
            return 2;
        if (r >= 0 && greedy->number < 3)
            greedy->greed->puts[greedy->number]++;
    }
    return 0;
}

START_TEST(test_queue_serves_every_producer_in_the_end)
{
    struct shk_queue *queue = create_queue(1, 8);
    struct greed *greed = shared_memory(sizeof(*greed));
    pid_t children[4];

    for (int i = 0; i < 4; i++)
        children[i] = stranger_start(put_or_get_until_the_end, &(struct greedy){greed, i});
    for (int i = 0; i < 3; i++)
        wait_until(greed->puts[i] >= 200, TEST_DEADLINE);
    greed->end = true;
    for (int i = 0; i < 4; i++)
        child_succeeds(children[i]);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

/* ---- Shutdown ---- */

START_TEST(test_queue_that_is_shut_down_is_drained_and_takes_no_more)
{
    struct shk_queue *queue = create_queue(3, 8);
    char item[8];

    assert_code(put(queue, "1"), 0);
    assert_code(put(queue, "2"), 0);
    assert_code(shk_queue_is_shut_down(queue), 0);
    assert_code(shk_queue_shutdown(queue), 0);
    assert_code(shk_queue_shutdown(queue), 0);
    assert_code(shk_queue_is_shut_down(queue), 1); /* before and after it is drained */
    assert_code(put(queue, "3"), -EPIPE);
    assert_code(shk_queue_put(queue, "3", 1, SHK_FOREVER), -EPIPE);
    struct shk_queue *later = open_queue();
    assert_code(put(later, "3"), -EPIPE);
    assert_code(shk_queue_size(queue), 2);
    assert_next(later, "1");
    assert_code(shk_queue_get(queue, item, 0, SHK_FOREVER), -EMSGSIZE);
    assert_next(queue, "2");
    assert_code(shk_queue_get(queue, item, sizeof(item), SHK_NOWAIT), -EPIPE);
    assert_code(shk_queue_get(queue, item, sizeof(item), SHK_FOREVER), -EPIPE);
    assert_code(shk_queue_get(later, item, sizeof(item), SHK_MS(1)), -EPIPE);
    assert_code(shk_queue_empty(queue), 1);
    assert_code(shk_queue_is_shut_down(later), 1);
    assert_code(shk_queue_reopen(queue), 0);
    assert_code(shk_queue_is_shut_down(later), 0);
    assert_code(shk_queue_is_shut_down(NULL), -EINVAL);
    assert_code(shk_queue_close(later), 0);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

enum { SLEEPERS = 3 };

/* All of them, or (_i 1) all but one that is stopped. */
START_TEST(test_queue_shutdown_wakes_consumers)
{
    struct shk_queue *queue = create_queue(1, 8);
    struct actor *getters[SLEEPERS];

    for (int i = 0; i < SLEEPERS; i++)
        getters[i] = start_getter();
    if (_i)
        child_stop(getters[0]->pid);
    assert_code(shk_queue_shutdown(queue), 0);
    for (int i = 1; i < SLEEPERS; i++)
        assert_result(result_of(getters[i]), -EPIPE);
    if (_i)
        child_continue(getters[0]->pid);
    assert_result(result_of(getters[0]), -EPIPE);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

START_TEST(test_queue_shutdown_wakes_producers)
{
    struct shk_queue *queue = create_queue(1, 8);
    struct actor *putters[SLEEPERS];
    char item[8];

    assert_code(put(queue, "1"), 0);
    for (int i = 0; i < SLEEPERS; i++)
        putters[i] = start_putter("2");
    if (_i)
        child_stop(putters[0]->pid);
    assert_code(shk_queue_shutdown(queue), 0);
    for (int i = 1; i < SLEEPERS; i++)
        assert_result(result_of(putters[i]), -EPIPE);
    assert_next(queue, "1");
    if (_i)
        child_continue(putters[0]->pid);
    assert_result(result_of(putters[0]), -EPIPE);
    assert_code(shk_queue_get(queue, item, sizeof(item), SHK_NOWAIT), -EPIPE);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

/* ---- Interruption ---- */

START_TEST(test_queue_interrupt_neither_takes_nor_leaves_an_item)
{
    struct shk_queue *queue = create_queue(1, 8);
    struct actor *getter =
        start_actor(&(struct actor){.timeout = SHK_FOREVER, .interruptible = true});

    ck_assert_int_eq(kill(getter->pid, SIGINT), 0);
    assert_result(result_of(getter), -EINTR);
    assert_code(put(queue, "1"), 0);
    struct actor *putter = start_actor(&(struct actor){
        .puts = true, .item = "2", .timeout = SHK_SEC(3600), .interruptible = true});
    ck_assert_int_eq(kill(putter->pid, SIGINT), 0);
    assert_result(result_of(putter), -EINTR);
    assert_next(queue, "1");
    assert_empty(queue);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

static int use_interrupted(void *argument)
{
    struct shk_queue *queue = open_queue();
    char item[8];

    (void)argument;
    *interruptible() = 1;
    assert_code(shk_queue_get(queue, item, sizeof(item), SHK_FOREVER), -EINTR);
    assert_code(shk_queue_put(queue, "1", 1, SHK_FOREVER), 0);
    assert_code(shk_queue_put(queue, "2", 1, SHK_FOREVER), -EINTR);
    assert_code(shk_queue_get(queue, item, sizeof(item), SHK_FOREVER), 1);
    assert_code(shk_set_interrupt(test_segment(), NULL), 0);
    assert_code(shk_queue_get(queue, item, sizeof(item), SHK_MS(10)), -ETIMEDOUT);
    return 0;
}

START_TEST(test_queue_that_need_not_wait_ignores_the_interrupt)
{
    struct shk_queue *queue = create_queue(1, 8);

    child_succeeds(stranger_start(use_interrupted, NULL));
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

/* ---- Unlinking ---- */

START_TEST(test_queue_that_is_unlinked_releases_its_waiters)
{
    const bool whole_segment = _i % 2, full = _i / 2;
    struct shk_queue *queue = create_queue(1, 8);
    struct actor *sleepers[2];
    char item[8];

    if (full)
        assert_code(put(queue, "1"), 0);
    for (int i = 0; i < 2; i++)
        sleepers[i] = full ? start_putter("2") : start_getter();
    if (whole_segment)
        assert_code(shk_segment_unlink(segment_name(NULL)), 0);
    else
        assert_code(shk_object_unlink(test_segment(), "jobs"), 0);
    for (int i = 0; i < 2; i++)
        assert_result(result_of(sleepers[i]), -ESTALE);
    assert_code(put(queue, "3"), -ESTALE);
    assert_code(shk_queue_get(queue, item, sizeof(item), SHK_NOWAIT), -ESTALE);
    assert_code(shk_queue_size(queue), -ESTALE);
    assert_code(shk_queue_empty(queue), -ESTALE);
    assert_code(shk_queue_full(queue), -ESTALE);
    assert_code(shk_queue_shutdown(queue), -ESTALE);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

START_TEST(test_queue_of_the_same_name_is_another_queue)
{
    struct shk_queue *old = create_queue(2, 8);

    assert_code(put(old, "old"), 0);
    assert_code(shk_object_unlink(test_segment(), "jobs"), 0);
    struct shk_queue *new = create_queue(5, 16);
    assert_empty(new);
    assert_code(put(old, "old"), -ESTALE);
    assert_code(shk_queue_close(old), 0);
    struct actor *getter = start_getter();
    assert_code(put(new, "new"), 0);
    assert_got(getter, "new");
    assert_code(shk_queue_close(new), 0);
}
END_TEST

/* ---- Stopped and killed ---- */

/*
 * The one that sleeps longest may be the one that the kernel wakes: it does not come, and the
 * others go on.
 */
START_TEST(test_queue_goes_on_without_a_stopped_consumer)
{
    struct shk_queue *queue = create_queue(2, 8);
    struct actor *stopped = start_getter(), *getter = start_getter();

    child_stop(stopped->pid);
    assert_code(put(queue, "1"), 0);
    assert_got(getter, "1");
    for (int i = 0; i < 100; i++) {
        assert_code(put(queue, "2"), 0);
        assert_code(put(queue, "3"), 0);
        assert_code(put(queue, "4"), -EAGAIN);
        assert_next(queue, "2");
        assert_next(queue, "3");
        assert_empty(queue);
    }
    child_continue(stopped->pid);
    assert_result(stopped->result, PENDING);
    assert_code(put(queue, "5"), 0);
    assert_got(stopped, "5");
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

START_TEST(test_queue_goes_on_without_a_stopped_producer)
{
    struct shk_queue *queue = create_queue(1, 8);

    assert_code(put(queue, "1"), 0);
    struct actor *stopped = start_putter("last"), *putter = start_putter("2");
    child_stop(stopped->pid);
    assert_next(queue, "1");
    assert_result(result_of(putter), 0);
    assert_next(queue, "2");
    for (int i = 0; i < 100; i++) {
        assert_code(put(queue, "3"), 0);
        assert_code(put(queue, "4"), -EAGAIN);
        assert_next(queue, "3");
        assert_empty(queue);
    }
    child_continue(stopped->pid);
    assert_result(result_of(stopped), 0);
    assert_next(queue, "last");
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

/* Killed asleep (_i 0), or stopped first, so that it dies with the wake-up that was for it. */
START_TEST(test_queue_goes_on_without_a_killed_consumer)
{
    struct shk_queue *queue = create_queue(2, 8);
    struct actor *killed = start_getter(), *getter = start_getter();

    if (_i)
        child_stop(killed->pid);
    else
        child_kill(killed->pid);
    assert_code(put(queue, "1"), 0);
    if (_i)
        child_kill(killed->pid);
    assert_got(getter, "1");
    assert_empty(queue);
    assert_code(put(queue, "2"), 0);
    assert_next(queue, "2");
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

START_TEST(test_queue_goes_on_without_a_killed_producer)
{
    struct shk_queue *queue = create_queue(1, 8);

    assert_code(put(queue, "1"), 0);
    struct actor *killed = start_putter("never"), *putter = start_putter("2");
    if (_i)
        child_stop(killed->pid);
    else
        child_kill(killed->pid);
    assert_next(queue, "1");
    if (_i)
        child_kill(killed->pid);
    assert_result(result_of(putter), 0);
    assert_next(queue, "2");
    assert_empty(queue);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

/*
 * In the middle of a put or get: an item that takes milliseconds to copy, so that a signal often
 * meets the copying. That it did shows in the side's lock: it is closed, although the queue is
 * neither full nor empty.
 */
enum { LARGE = 4 << 20, MEETINGS = 4, ATTEMPTS = 2000 };

static char large[LARGE];

static bool is_large_item(void)
{
    for (int i = 0; i < LARGE; i++)
        if (large[i] != 'L')
            return false;
    return true;
}

static void assert_large_is_next(struct shk_queue *queue)
{
    memset(large, 0, LARGE);
    assert_code(shk_queue_get(queue, large, LARGE, SHK_NOWAIT), LARGE);
    ck_assert(is_large_item());
}

static void drain(struct shk_queue *queue)
{
    while (shk_queue_size(queue) > 0)
        ck_assert_int_ge(shk_queue_get(queue, large, LARGE, SHK_NOWAIT), 0);
}

struct porter {
    bool puts;
    atomic_bool begins;
    _Atomic int result;
};

static int carry_large_item(void *argument)
{
    struct porter *porter = argument;
    struct shk_queue *queue = open_queue();

    memset(large, 'L', LARGE);
    porter->begins = true;
    if (porter->puts)
        porter->result = shk_queue_put(queue, large, LARGE, SHK_FOREVER);
    else
        porter->result = (int)shk_queue_get(queue, large, LARGE, SHK_FOREVER);
    return is_large_item() ? 0 : 2;
}

/* A program that was stopped before, in or after its put or get; or has ended. */
static pid_t start_and_stop_porter(struct porter *porter)
{
    siginfo_t info;

    porter->begins = false;
    porter->result = PENDING;
    pid_t pid = stranger_start(carry_large_item, porter);
    wait_until(porter->begins, TEST_DEADLINE);
    for (volatile long spin = random() % 1000000; spin > 0; spin--)
        ;
    ck_assert_int_eq(kill(pid, SIGSTOP), 0);
    ck_assert_int_eq(waitid(P_PID, pid, &info, WSTOPPED | WEXITED | WNOWAIT), 0);
    return pid;
}

START_TEST(test_queue_has_an_item_wholly_or_not_at_all)
{
    struct porter *porter = shared_memory(sizeof(*porter));
    struct shk_queue *queue = create_queue(2, LARGE);
    int met = 0;

    porter->puts = true;
    for (int i = 0; i < ATTEMPTS && met < MEETINGS; i++) {
        pid_t pid = start_and_stop_porter(porter);
        int r = put(queue, "small");
        if (r == 0) {
            kill(pid, SIGKILL);
            child_wait(pid);
            drain(queue);
            continue;
        }
        assert_code(r, -EBUSY);
        assert_empty(queue);
        assert_code_after(SHK_MS(10), shk_queue_put(queue, "small", 5, SHK_MS(10)), -ETIMEDOUT);
        assert_result(porter->result, PENDING);
        if (met++ % 2 == 0) {
            child_kill(pid);
            assert_empty(queue);
        } else {
            child_continue(pid);
            child_succeeds(pid);
            assert_result(porter->result, 0);
            assert_large_is_next(queue);
        }
        assert_code(put(queue, "small"), 0);
        assert_next(queue, "small");
        assert_empty(queue);
    }
    ck_assert_int_eq(met, MEETINGS);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

START_TEST(test_queue_item_is_taken_wholly_or_not_at_all)
{
    struct porter *porter = shared_memory(sizeof(*porter));
    struct shk_queue *queue = create_queue(3, LARGE);
    int met = 0;

    for (int i = 0; i < ATTEMPTS && met < MEETINGS; i++) {
        memset(large, 'L', LARGE);
        assert_code(shk_queue_put(queue, large, LARGE, SHK_NOWAIT), 0);
        assert_code(put(queue, "small"), 0);
        pid_t pid = start_and_stop_porter(porter);
        int r = (int)shk_queue_get(queue, NULL, 0, SHK_NOWAIT);
        if (r == -EMSGSIZE) {
            kill(pid, SIGKILL);
            child_wait(pid);
            drain(queue);
            continue;
        }
        assert_code(r, -EBUSY);
        if (shk_queue_size(queue) == 1) { /* it has been taken; its memory is being given back */
            kill(pid, SIGKILL);
            child_wait(pid);
            drain(queue);
            continue;
        }
        assert_code(shk_queue_size(queue), 2);
        assert_code_after(SHK_MS(10), shk_queue_get(queue, NULL, 0, SHK_MS(10)), -ETIMEDOUT);
        assert_code(put(queue, "more"), 0);
        assert_result(porter->result, PENDING);
        if (met++ % 2 == 0) {
            child_kill(pid);
            assert_large_is_next(queue);
        } else {
            child_continue(pid);
            child_succeeds(pid);
            assert_result(porter->result, LARGE);
        }
        assert_next(queue, "small");
        assert_next(queue, "more");
        assert_empty(queue);
    }
    ck_assert_int_eq(met, MEETINGS);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

/* ---- Traffic: an account of every item ---- */

enum { PRODUCERS = 3, CONSUMERS = 3, ITEMS_MAX = 1 << 19 };

enum item_state { UNTOUCHED, BEGUN, ACKNOWLEDGED };

struct traffic {
    uint32_t items; /* of each producer, at most */
    uint32_t burst; /* a producer pauses after so many; 0: never */
    int consumers;
    bool in_order;     /* nothing is lost, and one consumer sees each producer's items in order */
    bool interrupts;   /* there will be some */
    _Atomic int ready; /* for them */
    atomic_bool end;   /* for the producers */
    _Atomic uint32_t next[PRODUCERS];
    /* it may have taken an item that it has not written down yet */
    atomic_bool gets[CONSUMERS];
    _Atomic unsigned char state[PRODUCERS][ITEMS_MAX]; /* enum item_state */
    _Atomic unsigned char taken[PRODUCERS][ITEMS_MAX]; /* how often */
};

struct party {
    struct traffic *traffic;
    int number;
};

struct item {
    uint32_t producer, number;
    unsigned char filling[56]; /* more or less of it */
};

static size_t make_item(struct item *item, uint32_t producer, uint32_t number)
{
    size_t filling = (producer + number) % (sizeof(item->filling) + 1);

    item->producer = producer;
    item->number = number;
    memset(item->filling, (int)(producer + number), filling);
    return offsetof(struct item, filling) + filling;
}

static bool is_item(const struct item *item, size_t length)
{
    struct item right;

    return length >= offsetof(struct item, filling) && item->producer < PRODUCERS &&
           item->number < ITEMS_MAX && length == make_item(&right, item->producer, item->number) &&
           memcmp(item, &right, length) == 0;
}

/*
 * Goes on after the last number that was begun, perhaps by a former process. Repeats what was
 * interrupted.
 */
static int produce(void *argument)
{
    const struct party *party = argument;
    struct traffic *traffic = party->traffic;
    volatile sig_atomic_t *interrupt = traffic->interrupts ? interruptible() : NULL;
    struct shk_queue *queue = open_queue();
    struct item item;
    uint32_t number;
    int r;

    traffic->ready++;
    while (!traffic->end && (number = traffic->next[party->number]) < traffic->items) {
        size_t length = make_item(&item, party->number, number);
        traffic->next[party->number] = number + 1;
        traffic->state[party->number][number] = BEGUN;
        while ((r = shk_queue_put(queue, &item, length, SHK_FOREVER)) == -EINTR && interrupt)
            *interrupt = 0;
        if (r != 0)
            return 2;
        traffic->state[party->number][number] = ACKNOWLEDGED;
        if (traffic->burst && number % traffic->burst == 0)
            usleep(50);
    }
    while (!traffic->end)
        pause_briefly();
    shk_queue_close(queue);
    return 0;
}

static int consume(void *argument)
{
    const struct party *party = argument;
    struct traffic *traffic = party->traffic;
    volatile sig_atomic_t *interrupt = traffic->interrupts ? interruptible() : NULL;
    struct shk_queue *queue = open_queue();
    uint32_t next[PRODUCERS] = {0};
    struct item item;
    ssize_t r;

    traffic->ready++;
    for (;;) {
        traffic->gets[party->number] = true;
        while ((r = shk_queue_get(queue, &item, sizeof(item), SHK_FOREVER)) == -EINTR && interrupt)
            *interrupt = 0;
        if (r == -EPIPE)
            break;
        if (r < 0 || !is_item(&item, r))
            return 2;
        if (item.number < next[item.producer] ||
            (traffic->in_order && item.number != next[item.producer]))
            return 3;
        next[item.producer] = item.number + 1;
        traffic->taken[item.producer][item.number]++;
        traffic->gets[party->number] = false;
    }
    shk_queue_close(queue);
    return 0;
}

/*
 * How many items were acknowledged and never came. None comes twice, and none that was not put.
 */
static unsigned lost_items(const struct traffic *traffic)
{
    unsigned lost = 0;

    for (int p = 0; p < PRODUCERS; p++) {
        for (uint32_t i = 0; i < ITEMS_MAX; i++) {
            int state = traffic->state[p][i], taken = traffic->taken[p][i];
            if (taken > (state == UNTOUCHED ? 0 : 1))
                ck_abort_msg("item %u of producer %d was taken %d times", i, p, taken);
            lost += state == ACKNOWLEDGED && taken == 0;
        }
    }
    return lost;
}

static bool all_is_put(const struct traffic *traffic)
{
    for (int p = 0; p < PRODUCERS; p++)
        if (traffic->state[p][traffic->items - 1] != ACKNOWLEDGED)
            return false;
    return true;
}

static const struct {
    size_t capacity;
    int consumers;
    uint32_t items;
} traffics[] = {{1, 1, 3000},
                {1, CONSUMERS, 3000},
                {3, 1, 20000},
                {7, CONSUMERS, 20000},
                {1000, CONSUMERS, 50000}};

static struct traffic *plan_traffic(int which)
{
    struct traffic *traffic = shared_memory(sizeof(*traffic));

    traffic->items = traffics[which].items;
    traffic->consumers = traffics[which].consumers;
    traffic->in_order = traffics[which].consumers == 1;
    return traffic;
}

static void assert_all_arrived(const struct traffic *traffic, struct shk_queue *queue)
{
    char item[8];

    ck_assert_uint_eq(lost_items(traffic), 0);
    assert_code(shk_queue_get(queue, item, sizeof(item), SHK_NOWAIT), -EPIPE);
    assert_code(shk_queue_size(queue), 0);
}

START_TEST(test_queue_delivers_every_item_between_programs)
{
    struct shk_queue *queue = create_queue(traffics[_i].capacity, sizeof(struct item));
    struct traffic *traffic = plan_traffic(_i);
    pid_t producers[PRODUCERS], consumers[CONSUMERS];

    for (int i = 0; i < traffic->consumers; i++)
        consumers[i] = stranger_start(consume, &(struct party){traffic, i});
    for (int i = 0; i < PRODUCERS; i++)
        producers[i] = stranger_start(produce, &(struct party){traffic, i});
    wait_until(all_is_put(traffic), 2 * TEST_DEADLINE);
    traffic->end = true;
    for (int i = 0; i < PRODUCERS; i++)
        child_succeeds(producers[i]);
    assert_code(shk_queue_shutdown(queue), 0);
    for (int i = 0; i < traffic->consumers; i++)
        child_succeeds(consumers[i]);
    assert_all_arrived(traffic, queue);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

static void *produce_in_a_thread(void *party)
{
    return (void *)(intptr_t)produce(party);
}

static void *consume_in_a_thread(void *party)
{
    return (void *)(intptr_t)consume(party);
}

START_TEST(test_queue_delivers_every_item_between_threads)
{
    struct shk_queue *queue = create_queue(traffics[_i].capacity, sizeof(struct item));
    struct traffic *traffic = plan_traffic(_i);
    struct party parties[PRODUCERS + CONSUMERS];
    pthread_t threads[PRODUCERS + CONSUMERS];
    void *status;

    for (int i = 0; i < PRODUCERS + traffic->consumers; i++) {
        parties[i] = (struct party){traffic, i % PRODUCERS};
        ck_assert_int_eq(pthread_create(&threads[i], NULL,
                                        i < PRODUCERS ? produce_in_a_thread : consume_in_a_thread,
                                        &parties[i]),
                         0);
    }
    wait_until(all_is_put(traffic), 2 * TEST_DEADLINE);
    traffic->end = true;
    for (int i = 0; i < PRODUCERS + traffic->consumers; i++) {
        if (i == PRODUCERS)
            assert_code(shk_queue_shutdown(queue), 0);
        ck_assert_int_eq(pthread_join(threads[i], &status), 0);
        ck_assert_ptr_null(status);
    }
    assert_all_arrived(traffic, queue);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

/* ---- Storms ---- */

enum { KILL_PRODUCERS = 1, KILL_CONSUMERS = 2, KILL_BOTH = 3, INTERRUPT_ALL = 4 };

static const struct {
    size_t capacity;
    int what;
} storms[] = {
    {1, KILL_PRODUCERS}, {1, KILL_CONSUMERS}, {4, KILL_PRODUCERS}, {4, KILL_CONSUMERS},
    {64, KILL_BOTH},     {1, KILL_BOTH},      {1, INTERRUPT_ALL},  {4, INTERRUPT_ALL},
};

/*
 * Kill a consumer and start it anew. Returns whether it may have had an item that it had not
 * written down.
 */
static bool replace_consumer(struct party *party, pid_t *pid)
{
    child_kill(*pid);
    bool gets = party->traffic->gets[party->number];
    party->traffic->gets[party->number] = false;
    *pid = stranger_start(consume, party);
    return gets;
}

static void replace_producer(struct party *party, pid_t *pid)
{
    child_kill(*pid);
    *pid = stranger_start(produce, party);
}

START_TEST(test_queue_accounts_for_every_item_in_a_storm)
{
    enum { STROKES = 200 };
    const int what = storms[_i].what;
    struct shk_queue *queue = create_queue(storms[_i].capacity, sizeof(struct item));
    struct traffic *traffic = shared_memory(sizeof(*traffic));
    struct party parties[PRODUCERS];
    pid_t producers[PRODUCERS], consumers[CONSUMERS];
    unsigned perhaps_lost = 0;

    traffic->items = ITEMS_MAX;
    traffic->burst = 32;
    traffic->interrupts = what & INTERRUPT_ALL;
    for (int i = 0; i < PRODUCERS; i++) {
        parties[i] = (struct party){traffic, i};
        producers[i] = stranger_start(produce, &parties[i]);
        consumers[i] = stranger_start(consume, &parties[i]);
    }
    wait_until(traffic->ready == PRODUCERS + CONSUMERS, TEST_DEADLINE);
    for (int stroke = 0; stroke < STROKES; stroke++) {
        int i = stroke % PRODUCERS;
        usleep((unsigned)(random() % 2000 * time_factor()));
        if (what & KILL_PRODUCERS)
            replace_producer(&parties[i], &producers[i]);
        if (what & KILL_CONSUMERS)
            perhaps_lost += replace_consumer(&parties[i], &consumers[i]);
        if (what & INTERRUPT_ALL)
            ck_assert_int_eq(kill(producers[i], SIGINT) | kill(consumers[i], SIGINT), 0);
    }
    traffic->end = true;
    for (int i = 0; i < PRODUCERS; i++)
        child_succeeds(producers[i]);
    assert_code(shk_queue_shutdown(queue), 0);
    for (int i = 0; i < CONSUMERS; i++)
        child_succeeds(consumers[i]);
    ck_assert_uint_le(lost_items(traffic), perhaps_lost);
    assert_code(shk_queue_size(queue), 0);
    for (int p = 0; p < PRODUCERS; p++)
        ck_assert_uint_gt(traffic->next[p], 0);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

int main(void)
{
    Suite *suite = suite_create("queue");
    TCase *opening = test_case(suite, "opening");
    TCase *items = test_case(suite, "items");
    TCase *waiting = test_case(suite, "waiting");
    TCase *shutdown = test_case(suite, "shutdown");
    TCase *interruption = test_case(suite, "interruption");
    TCase *unlinking = test_case(suite, "unlinking");
    TCase *deaths = test_case(suite, "stopped and killed");
    TCase *traffic = test_case(suite, "traffic");
    TCase *storm = test_case(suite, "storm");

    tcase_set_tags(interruption, "backstop");
    tcase_set_tags(deaths, "backstop");
    tcase_set_tags(storm, "backstop");

    tcase_add_test(opening, test_queue_is_created_once_and_found_by_name);
    tcase_add_test(opening, test_queue_is_opened_only_as_what_it_is);
    tcase_add_test(opening, test_queue_refuses_what_it_cannot_be);
    tcase_add_test(opening, test_queue_refuses_bad_arguments);
    tcase_add_test(opening, test_queue_needs_room);
    tcase_add_test(opening, test_queue_does_not_fit_into_a_full_file_system);
    tcase_add_test(opening, test_queue_ends_with_its_segment);

    tcase_add_loop_test(items, test_queue_is_first_in_first_out_and_full_at_its_capacity, 0,
                        COUNT(capacities));
    tcase_add_test(items, test_queue_keeps_the_length_and_bytes_of_each_item);
    tcase_add_test(items, test_queue_refuses_an_item_that_is_too_long);
    tcase_add_test(items, test_queue_leaves_an_item_that_a_sleeper_has_no_room_for);
    tcase_add_loop_test(items, test_queue_goes_round_for_many_laps, 0, COUNT(capacities));
    tcase_add_loop_test(items, test_queue_keeps_items_of_any_size_apart, 0, 5);

    tcase_add_loop_test(waiting, test_queue_gives_up_when_the_time_is_over_and_not_before, 0,
                        COUNT(timeouts));
    tcase_add_test(waiting, test_queue_lets_a_producer_wait_for_a_free_place);
    tcase_add_test(waiting, test_queue_lets_a_consumer_wait_for_an_item);
    tcase_add_test(waiting, test_queue_wakes_a_sleeper_for_each_item_and_each_place);
    tcase_add_test(waiting,
                   test_queue_delayed_item_outlives_the_wait_of_the_consumer_that_was_told);
    tcase_add_test(waiting, test_queue_works_in_a_forked_child);
    tcase_add_test(waiting, test_queue_timeout_is_not_shortened_by_what_others_do);
    tcase_add_test(waiting, test_queue_refuses_no_call_because_others_are_at_work);
    /* orders; with and without a limit */
    tcase_add_loop_test(waiting, test_queue_says_empty_only_when_it_is, 0, 6);
    tcase_add_test(waiting, test_queue_serves_every_producer_in_the_end);

    tcase_add_test(shutdown, test_queue_that_is_shut_down_is_drained_and_takes_no_more);
    tcase_add_loop_test(shutdown, test_queue_shutdown_wakes_consumers, 0, 1);
    tcase_add_loop_test(shutdown, test_queue_shutdown_wakes_producers, 0, 1);

    tcase_add_test(interruption, test_queue_interrupt_neither_takes_nor_leaves_an_item);
    tcase_add_test(interruption, test_queue_that_need_not_wait_ignores_the_interrupt);
    tcase_add_loop_test(unlinking, test_queue_that_is_unlinked_releases_its_waiters, 0,
                        4); /* object, segment; gets, puts */
    tcase_add_test(unlinking, test_queue_of_the_same_name_is_another_queue);

    tcase_add_test(deaths, test_queue_goes_on_without_a_stopped_consumer);
    tcase_add_test(deaths, test_queue_goes_on_without_a_stopped_producer);
    tcase_add_loop_test(deaths, test_queue_goes_on_without_a_killed_consumer, 0, 2);
    tcase_add_loop_test(deaths, test_queue_goes_on_without_a_killed_producer, 0, 2);
    tcase_add_loop_test(deaths, test_queue_shutdown_wakes_consumers, 1, 2);
    tcase_add_loop_test(deaths, test_queue_shutdown_wakes_producers, 1, 2);
    tcase_add_test(deaths, test_queue_has_an_item_wholly_or_not_at_all);
    tcase_add_test(deaths, test_queue_item_is_taken_wholly_or_not_at_all);

    tcase_add_loop_test(traffic, test_queue_delivers_every_item_between_programs, 0,
                        COUNT(traffics));
    tcase_add_loop_test(traffic, test_queue_delivers_every_item_between_threads, 0,
                        COUNT(traffics));
    tcase_add_loop_test(storm, test_queue_accounts_for_every_item_in_a_storm, 0, COUNT(storms));
    return run_tests(suite);
}
