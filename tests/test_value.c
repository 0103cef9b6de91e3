/* The value: what <shmkit/value.h> says, sentence by sentence. */
#include "common.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct shk_value *open_config(size_t size)
{
    const struct shk_value_options options = {.size = size};
    struct shk_value *value;

    assert_code(shk_value_open(test_segment(), "config", SHK_CREATE, &options, &value), 0);
    return value;
}

/* ---- Opening ---- */

START_TEST(test_value_is_created_with_its_size_and_found_as_it_is)
{
    struct shk_value *v = open_config(100), *other;

    assert_code(shk_value_open(test_segment(), "config", 0, NULL, &other), 0);
    assert_code(shk_value_size(other), 100);
    assert_code(shk_value_close(other), 0);
    assert_code(shk_value_open(test_segment(), "config", 0,
                               &(struct shk_value_options){.size = 101}, &other),
                -EPROTOTYPE);
    assert_code(shk_value_open(test_segment(), "config", SHK_CREATE | SHK_EXCL, NULL, &other),
                -EEXIST);
    assert_code(shk_value_open(test_segment(), "default", SHK_CREATE, NULL, &other), 0);
    assert_code(shk_value_size(other), 1024);
    assert_code(shk_value_close(other), 0);
    assert_code(shk_value_open(test_segment(), "huge", SHK_CREATE,
                               &(struct shk_value_options){.size = (16u << 20) + 1}, &other),
                -EINVAL);
    assert_code(shk_value_close(NULL), 0);
    assert_code(shk_value_close(v), 0);
}
END_TEST

START_TEST(test_value_refuses_bad_arguments)
{
    struct shk_value *v = open_config(8), *other;
    struct shk_event *event;
    uint64_t version;
    char bytes[9] = "";

    for (const struct bad_name *bad = bad_object_names; bad->name; bad++)
        assert_code(shk_value_open(test_segment(), bad->name, SHK_CREATE, NULL, &other), bad->code);
    assert_code(shk_event_open(test_segment(), "event", SHK_CREATE, NULL, &event), 0);
    assert_code(shk_value_open(test_segment(), "event", SHK_CREATE, NULL, &other), -EPROTOTYPE);
    assert_code(shk_event_close(event), 0);
    assert_code(shk_value_open(test_segment(), "new", SHK_CREATE, NULL, NULL), -EINVAL);
    assert_code(shk_value_open(NULL, "new", SHK_CREATE, NULL, &other), -EINVAL);
    assert_code(shk_value_set(NULL, "", 0), -EINVAL);
    assert_code(shk_value_set(v, NULL, 1), -EINVAL);
    assert_code(shk_value_set(v, bytes, 9), -EMSGSIZE);
    assert_code(shk_value_compare_and_set(NULL, 0, "", 0), -EINVAL);
    assert_code(shk_value_add(NULL, 1, NULL), -EINVAL);
    assert_code(shk_value_get(NULL, bytes, 8, &version), -EINVAL);
    assert_code(shk_value_get(v, NULL, 8, &version), -EINVAL);
    assert_code(shk_value_wait(NULL, 0, SHK_NOWAIT), -EINVAL);
    assert_code(shk_value_version(NULL), -EINVAL);
    assert_code(shk_value_size(NULL), -EINVAL);
    assert_code(shk_value_version(v), 0);
    assert_code(shk_value_close(v), 0);
}
END_TEST

/* ---- Setting and getting ---- */

START_TEST(test_value_is_replaced_whole)
{
    struct shk_value *v = open_config(100);
    char text[100];
    uint64_t version = 77;

    assert_code(shk_value_get(v, text, sizeof(text), &version), 0);
    ck_assert_uint_eq(version, 0);
    for (int i = 1; i <= 20; i++) {
        int length = 12 + i;

        memset(text, 'x', sizeof(text));
        memcpy(text, "值是新的", 12);

        assert_code(shk_value_set(v, text, (size_t)length), i);
        memset(text, 0, sizeof(text));
        assert_code(shk_value_get(v, text, sizeof(text), &version), length);
        ck_assert_uint_eq(version, (uint64_t)i);
        ck_assert_int_eq(memcmp(text, "值是新的x", 13), 0);
        assert_code(shk_value_version(v), i);
    }
    assert_code(shk_value_set(v, NULL, 0), 21);
    assert_code(shk_value_get(v, NULL, 0, &version), 0);
    ck_assert_uint_eq(version, 21);
    assert_code(shk_value_set(v, "12345", 5), 22);
    assert_code(shk_value_get(v, text, 4, NULL), -EMSGSIZE);
    assert_code(shk_value_get(v, text, 5, NULL), 5);
    assert_code(shk_value_close(v), 0);
}
END_TEST

START_TEST(test_value_is_set_only_if_it_still_has_that_version)
{
    struct shk_value *v = open_config(8);
    char text[8];

    assert_code(shk_value_compare_and_set(v, 1, "a", 1), -ECANCELED);
    assert_code(shk_value_compare_and_set(v, 0, "a", 1), 1);
    assert_code(shk_value_compare_and_set(v, 0, "b", 1), -ECANCELED);
    assert_code(shk_value_set(v, "a", 1), 2); /* the same bytes, another version */
    assert_code(shk_value_compare_and_set(v, 1, "b", 1), -ECANCELED);
    assert_code(shk_value_compare_and_set(v, 2, "c", 1), 3);
    assert_code(shk_value_get(v, text, sizeof(text), NULL), 1);
    ck_assert_int_eq(*text, 'c');
    assert_code(shk_value_close(v), 0);
}
END_TEST

START_TEST(test_value_is_a_number)
{
    struct shk_value *v = open_config(16), *small;
    int64_t number = 5, sum = 1;

    assert_code(shk_value_add(v, -7, &sum), 1);
    ck_assert_int_eq(sum, -7);
    assert_code(shk_value_set(v, &number, sizeof(number)), 2);
    assert_code(shk_value_add(v, 10, NULL), 3);
    assert_code(shk_value_get(v, &number, sizeof(number), NULL), 8);
    ck_assert_int_eq(number, 15);
    assert_code(shk_value_add(v, INT64_MAX, &sum), -EOVERFLOW);
    assert_code(shk_value_add(v, INT64_MAX - 15, &sum), 4);
    ck_assert_int_eq(sum, INT64_MAX);
    assert_code(shk_value_set(v, "text", 4), 5);
    assert_code(shk_value_add(v, 1, NULL), -EPROTOTYPE);
    assert_code(shk_value_close(v), 0);
    assert_code(shk_value_open(test_segment(), "small", SHK_CREATE,
                               &(struct shk_value_options){.size = 4}, &small),
                0);
    assert_code(shk_value_add(small, 1, NULL), -EPROTOTYPE);
    assert_code(shk_value_close(small), 0);
}
END_TEST

/* ---- Waiting ---- */

enum { PENDING = INT_MIN };

struct actor {
    pid_t pid;
    uint64_t version;
    int64_t timeout;
    bool interruptible;
    _Atomic int64_t result;
};

static int wait_newer(void *argument)
{
    struct actor *a = argument;
    struct shk_value *v;

    if (a->interruptible)
        interruptible();
    assert_code(shk_value_open(test_segment(), "config", 0, NULL, &v), 0);
    a->result = shk_value_wait(v, a->version, a->timeout);
    return 0;
}

static struct actor *start_waiter(uint64_t version, bool interrupted)
{
    struct actor *a = shared_memory(sizeof(*a));

    *a = (struct actor){.version = version,
                        .timeout = SHK_FOREVER,
                        .interruptible = interrupted,
                        .result = PENDING};
    a->pid = stranger_start(wait_newer, a);
    wait_until_waiting(segment_name(NULL), a->pid, "config");
    return a;
}

static int64_t result_of(struct actor *a)
{
    wait_until(a->result != PENDING, TEST_DEADLINE);
    child_succeeds(a->pid);
    return a->result;
}

START_TEST(test_value_wakes_all_that_wait_for_a_newer_version)
{
    struct shk_value *v = open_config(8);
    struct actor *a = start_waiter(0, false), *b = start_waiter(0, false), *late;
    struct shk_member_info member;

    ck_assert(look_at_member(segment_name(NULL), a->pid, &member));
    ck_assert_uint_eq(member.waits_for, SHK_WAITS_FOR_VERSION);
    assert_code(shk_value_wait(v, 0, SHK_NOWAIT), -EAGAIN);
    assert_code_after(SHK_MS(50), shk_value_wait(v, 0, SHK_MS(50)), -ETIMEDOUT);
    assert_code(shk_value_set(v, "x", 1), 1);
    assert_result(result_of(a), 1);
    assert_result(result_of(b), 1);
    assert_code(shk_value_wait(v, 0, SHK_NOWAIT), 1);
    late = start_waiter(3, false); /* newer than what there is: not woken by the next */
    assert_code(shk_value_set(v, "y", 1), 2);
    assert_code(shk_value_set(v, "y", 1), 3);
    assert_result(late->result, PENDING);
    assert_code(shk_value_set(v, "y", 1), 4);
    assert_result(result_of(late), 4);
    assert_code(shk_value_close(v), 0);
}
END_TEST

START_TEST(test_value_wait_is_interrupted)
{
    struct shk_value *v = open_config(8);
    struct actor *a = start_waiter(0, true);

    ck_assert_int_eq(kill(a->pid, SIGINT), 0);
    assert_result(result_of(a), -EINTR);
    assert_code(shk_value_close(v), 0);
}
END_TEST

START_TEST(test_value_that_is_unlinked_releases_its_waiters)
{
    struct shk_value *v = open_config(8);
    struct actor *a = start_waiter(0, false);
    char byte;

    if (_i == 0)
        assert_code(shk_object_unlink(test_segment(), "config"), 0);
    else
        assert_code(shk_segment_unlink(segment_name(NULL)), 0);
    assert_result(result_of(a), -ESTALE);
    assert_code(shk_value_set(v, "x", 1), -ESTALE);
    assert_code(shk_value_get(v, &byte, 1, NULL), -ESTALE);
    assert_code(shk_value_wait(v, 0, SHK_NOWAIT), -ESTALE);
    assert_code(shk_value_version(v), -ESTALE);
    assert_code(shk_value_close(v), 0);
}
END_TEST

static int set_later(void *argument)
{
    struct shk_value *v;

    (void)argument;
    assert_code(shk_value_open(test_segment(), "config", 0, NULL, &v), 0);
    wait_until_waiting(segment_name(NULL), getppid(), "config");
    assert_code(shk_value_set(v, "z", 1), 2);
    return 0;
}

/* Ready: newer than what the handle has got last. */
START_TEST(test_value_can_be_waited_for_with_others)
{
    struct shk_value *v = open_config(8);
    struct shk_ready set[] = {{SHK_KIND_VALUE, SHK_READABLE, v}};
    char bytes[8];
    pid_t child;

    assert_code(shk_wait_any(set, 1, SHK_NOWAIT), -EAGAIN);
    assert_code(shk_value_set(v, "x", 1), 1);
    assert_code(shk_wait_any(set, 1, SHK_NOWAIT), 0);
    assert_code(shk_value_get(v, bytes, sizeof(bytes), NULL), 1);
    assert_code(shk_wait_any(set, 1, SHK_NOWAIT), -EAGAIN);
    child = stranger_start(set_later, NULL);
    assert_code(shk_wait_any(set, 1, TEST_DEADLINE), 0);
    child_succeeds(child);
    assert_code(shk_value_close(v), 0);
}
END_TEST

START_TEST(test_value_is_shown)
{
    struct shk_value *v = open_config(100);
    struct shk_object_info info;

    assert_code(shk_value_set(v, "first", 5), 1);
    assert_code(shk_value_set(v, "the second", 10), 2);
    ck_assert(look_at_object(segment_name(NULL), "config", &info));
    ck_assert_uint_eq(info.kind, SHK_KIND_VALUE);
    ck_assert_uint_eq(info.as.value.size, 100);
    ck_assert_uint_eq(info.as.value.version, 2);
    ck_assert_uint_eq(info.as.value.length, 10);
    assert_code(shk_value_close(v), 0);
}
END_TEST

/* ---- Readers and writers ---- */

#define WORDS 200

struct storm {
    atomic_bool stop;
    atomic_long gets, sets;
};

/* All words of a version are the same, and as many as the first says. */
static int write_on(void *argument)
{
    struct storm *storm = argument;
    struct shk_value *v;
    uint64_t words[WORDS];
    unsigned seed = (unsigned)getpid();

    assert_code(shk_value_open(test_segment(), "config", 0, NULL, &v), 0);
    while (!storm->stop) {
        size_t n = 1 + (size_t)rand_r(&seed) % WORDS;
        long number = storm->sets;
        for (size_t i = 0; i < n; i++)
            words[i] = (uint64_t)number << 16 | n;
        if (shk_value_set(v, words, n * sizeof(*words)) < 0)
            return 2;
        storm->sets++;
    }
    return 0;
}

static int read_on(void *argument)
{
    struct storm *storm = argument;
    struct shk_value *v;
    uint64_t words[WORDS], version = 0, last = 0;

    assert_code(shk_value_open(test_segment(), "config", 0, NULL, &v), 0);
    while (!storm->stop) {
        ssize_t n = shk_value_get(v, words, sizeof(words), &version);
        if (n < 0 || version < last)
            return 2;
        last = version;
        for (ssize_t i = 0; i < n / 8; i++)
            if (words[i] != words[0] || (words[i] & 0xffff) * 8 != (uint64_t)n)
                return 3;
        storm->gets++;
    }
    return 0;
}

START_TEST(test_value_is_never_torn)
{
    struct shk_value *v = open_config(WORDS * sizeof(uint64_t));
    struct storm *storm = shared_memory(sizeof(*storm));
    pid_t pids[5];

    for (int i = 0; i < 5; i++)
        pids[i] = stranger_start(i < 2 ? write_on : read_on, storm);
    wait_until(storm->gets > 20000 && storm->sets > 20000, TEST_DEADLINE);
    storm->stop = true;
    for (int i = 0; i < 5; i++)
        child_succeeds(pids[i]);
    assert_code(shk_value_version(v), storm->sets);
    assert_code(shk_value_close(v), 0);
}
END_TEST

static int add_ones(void *argument)
{
    struct shk_value *v;

    (void)argument;
    assert_code(shk_value_open(test_segment(), "config", 0, NULL, &v), 0);
    for (int i = 0; i < 5000; i++)
        if (shk_value_add(v, 1, NULL) < 0)
            return 2;
    return 0;
}

START_TEST(test_value_loses_no_addition)
{
    struct shk_value *v = open_config(8);
    pid_t pids[4];
    int64_t number = 0;

    for (int i = 0; i < 4; i++)
        pids[i] = stranger_start(add_ones, NULL);
    for (int i = 0; i < 4; i++)
        child_succeeds(pids[i]);
    assert_code(shk_value_get(v, &number, sizeof(number), NULL), 8);
    ck_assert_int_eq(number, 20000);
    assert_code(shk_value_close(v), 0);
}
END_TEST

/* Stopped or killed wherever it is: the readers go on, and the next writer, too. */
START_TEST(test_value_of_a_stopped_or_killed_writer_is_read)
{
    struct shk_value *v = open_config(WORDS * sizeof(uint64_t));
    struct storm *storm = shared_memory(sizeof(*storm));
    uint64_t words[WORDS];

    for (int round = 0; round < 30; round++) {
        pid_t writer = stranger_start(write_on, storm);
        long before = storm->sets;

        wait_until(storm->sets > before + 50, TEST_DEADLINE);
        child_stop(writer);
        for (int i = 0; i < 100; i++) {
            ssize_t n = shk_value_get(v, words, sizeof(words), NULL);
            ck_assert_int_gt(n, 0);
            for (ssize_t k = 0; k < n / 8; k++)
                if (words[k] != words[0])
                    ck_abort_msg("torn");
        }
        child_kill(writer);
        ck_assert_int_gt(shk_value_set(v, words, sizeof(*words)), 0);
        storm->sets++;
    }
    assert_code(shk_value_close(v), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("value");
    TCase *opening = test_case(suite, "opening");
    TCase *versions = test_case(suite, "versions");
    TCase *waiting = test_case(suite, "waiting");
    TCase *together = test_case(suite, "together");

    tcase_add_test(opening, test_value_is_created_with_its_size_and_found_as_it_is);
    tcase_add_test(opening, test_value_refuses_bad_arguments);
    tcase_add_test(versions, test_value_is_replaced_whole);
    tcase_add_test(versions, test_value_is_set_only_if_it_still_has_that_version);
    tcase_add_test(versions, test_value_is_a_number);
    tcase_add_test(versions, test_value_is_shown);
    tcase_add_test(waiting, test_value_wakes_all_that_wait_for_a_newer_version);
    tcase_add_test(waiting, test_value_wait_is_interrupted);
    tcase_add_loop_test(waiting, test_value_that_is_unlinked_releases_its_waiters, 0, 2);
    tcase_add_test(waiting, test_value_can_be_waited_for_with_others);
    tcase_add_test(together, test_value_is_never_torn);
    tcase_add_test(together, test_value_loses_no_addition);
    tcase_add_test(together, test_value_of_a_stopped_or_killed_writer_is_read);
    return run_tests(suite);
}
