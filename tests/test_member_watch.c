/* Members that come and go, as something to wait for. */
#include "common.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#define ALL (SHK_JOINED | SHK_LEFT | SHK_DIED)

struct actor {
    pid_t pid;
    const char *name;
    _Atomic bool joined, leaves, left;
};

static int live(void *argument)
{
    struct actor *a = argument;

    assert_code(shk_set_member_name(test_segment(), a->name), 0);
    a->joined = true;
    while (!a->leaves)
        pause_briefly();
    assert_code(shk_segment_close(test_segment()), 0);
    a->left = true;
    for (;;)
        pause();
}

static struct actor *start(const char *name)
{
    struct actor *a = shared_memory(sizeof(*a));

    a->name = name;
    a->pid = stranger_start(live, a);
    wait_until(a->joined, TEST_DEADLINE);
    return a;
}

static void leave(struct actor *a)
{
    a->leaves = true;
    wait_until(a->left, TEST_DEADLINE);
}

static struct shk_member_watch *watch_open(const char *name, uint64_t id, uint32_t want)
{
    struct shk_member_watch *watch;

    assert_code(shk_member_watch_open(test_segment(), name, id, want, &watch), 0);
    return watch;
}

/* The event that it gives soon. */
static struct shk_member_event next(struct shk_member_watch *watch)
{
    struct shk_member_event e = {0};
    int r = shk_member_watch_read(watch, &e, TEST_DEADLINE);

    ck_assert_int_gt(r, 0);
    ck_assert_int_eq((uint32_t)r, e.what);
    return e;
}

static void expect(struct shk_member_watch *watch, const struct actor *a, uint32_t what)
{
    struct shk_member_event e = next(watch);

    ck_assert_int_eq(e.what, what);
    ck_assert_int_eq(e.pid, a->pid);
    ck_assert_int_eq(e.tid, a->pid);
    ck_assert_str_eq(e.name, a->name);
}

static void expect_nothing(struct shk_member_watch *watch)
{
    struct shk_member_event e;

    assert_code(shk_member_watch_read(watch, &e, SHK_NOWAIT), -EAGAIN);
}

START_TEST(test_a_watch_tells_which_member_joins_leaves_and_dies)
{
    struct shk_member_watch *watch = watch_open("reader", 0, ALL);
    struct actor *first, *second, *other;

    expect_nothing(watch);
    first = start("reader");
    other = start("writer");
    expect(watch, first, SHK_JOINED);
    expect_nothing(watch);
    ck_assert_int_eq(shk_member_watch_living(watch), 1);
    second = start("reader");
    expect(watch, second, SHK_JOINED);
    leave(first);
    expect(watch, first, SHK_LEFT);
    child_kill(second->pid);
    expect(watch, second, SHK_DIED);
    child_kill(other->pid);
    expect_nothing(watch);
    ck_assert_int_eq(shk_member_watch_living(watch), 0);
    child_kill(first->pid);
    assert_code(shk_member_watch_close(watch), 0);
}
END_TEST

START_TEST(test_nothing_of_a_member_that_was_seen_is_lost_between_two_reads)
{
    struct actor *a = start("one"), *b = start("two"), *c = start("three"), *late;
    struct shk_member_watch *watch = watch_open(NULL, 0, SHK_LEFT | SHK_DIED);
    unsigned left = 0, died = 0;

    ck_assert_int_eq(shk_member_watch_living(watch), 4); /* and this thread */
    leave(a);
    child_kill(b->pid);
    leave(c);
    late = start("late"); /* has the record of one of them */
    for (int i = 0; i < 3; i++) {
        struct shk_member_event e = next(watch);

        left += e.what == SHK_LEFT;
        died += e.what == SHK_DIED;
        if (e.what == SHK_DIED)
            ck_assert_int_eq(e.pid, b->pid);
    }
    ck_assert_int_eq(left, 2);
    ck_assert_int_eq(died, 1);
    expect_nothing(watch);
    child_kill(late->pid);
    expect(watch, late, SHK_DIED);
    child_kill(a->pid);
    child_kill(c->pid);
    assert_code(shk_member_watch_close(watch), 0);
}
END_TEST

START_TEST(test_how_a_member_has_gone_is_known_when_its_record_is_used_again)
{
    struct actor *a = start("one"), *b;
    struct shk_member_watch *watch = watch_open("one", 0, ALL);

    child_kill(a->pid);
    b = start("two"); /* in its record */
    expect(watch, a, SHK_DIED);
    assert_code(shk_member_watch_close(watch), 0);
    watch = watch_open("two", 0, ALL);
    leave(b);
    a = start("three");
    expect(watch, b, SHK_LEFT);
    child_kill(b->pid);
    child_kill(a->pid);
    assert_code(shk_member_watch_close(watch), 0);
}
END_TEST

START_TEST(test_a_member_is_watched_by_its_id)
{
    struct actor *a = start("one"), *b = start("one");
    struct shk_member_info info;
    struct shk_member_watch *watch;

    ck_assert(look_at_member(segment_name(NULL), b->pid, &info));
    watch = watch_open(NULL, info.id, SHK_DIED | SHK_LEFT);
    child_kill(a->pid);
    expect_nothing(watch);
    child_kill(b->pid);
    expect(watch, b, SHK_DIED);
    assert_code(shk_member_watch_close(watch), 0);
    assert_code(shk_member_watch_open(test_segment(), NULL, info.id, SHK_DIED, &watch), -ESRCH);
}
END_TEST

START_TEST(test_a_sleeping_supervisor_learns_of_a_death_within_150_ms)
{
    struct actor *a = start("one");
    struct shk_member_watch *watch = watch_open("one", 0, SHK_DIED);
    struct shk_member_event e;
    int64_t died;

    assert_code_after(SHK_MS(1200), shk_member_watch_read(watch, &e, SHK_MS(1200)), -ETIMEDOUT);
    child_kill(a->pid);
    died = time_now();
    expect(watch, a, SHK_DIED);
    ck_assert_int_lt(time_now() - died, SHK_MS(150) * 4 * time_factor()); /* a busy machine */
    assert_code(shk_member_watch_close(watch), 0);
}
END_TEST

START_TEST(test_a_set_may_have_watches_and_queues)
{
    struct actor *a = start("one");
    struct shk_member_watch *watch = watch_open("one", 0, ALL);
    unsigned descriptors = open_descriptors();
    struct shk_queue *queue;

    assert_code(shk_queue_open(test_segment(), "queue", SHK_CREATE, NULL, &queue), 0);
    struct shk_ready set[] = {{SHK_KIND_QUEUE, SHK_READABLE, queue},
                              {SHK_KIND_MEMBER, SHK_DIED | SHK_LEFT, watch}};
    struct pollfd fd = {.fd = shk_ready_fd(set, 2), .events = POLLIN};

    ck_assert_int_ge(fd.fd, 0);
    assert_code(shk_wait_any(set, 2, SHK_NOWAIT), -EAGAIN);
    assert_code(shk_wait_any(set, 2, SHK_MS(250)), -ETIMEDOUT);
    assert_code(shk_queue_put(queue, "x", 1, SHK_NOWAIT), 0);
    assert_code(shk_wait_any(set, 2, SHK_FOREVER), 0);
    assert_code(shk_queue_get(queue, (char[1024]){0}, 1024, SHK_NOWAIT), 1);
    child_kill(a->pid);
    assert_code(shk_wait_any(set, 2, SHK_FOREVER), 1);
    assert_code(shk_wait_any(set, 2, SHK_FOREVER), 1); /* it is still there */
    ck_assert_int_eq(poll(&fd, 1, -1), 1);
    expect(watch, a, SHK_DIED);
    assert_code(shk_wait_any(set, 2, SHK_NOWAIT), -EAGAIN);
    set[1].want = SHK_READABLE;
    assert_code(shk_wait_any(set, 2, SHK_NOWAIT), -EINVAL);
    close(fd.fd);
    wait_until(open_descriptors() == descriptors, TEST_DEADLINE);
    assert_code(shk_queue_close(queue), 0);
    assert_code(shk_member_watch_close(watch), 0);
}
END_TEST

START_TEST(test_two_hundred_members_are_watched)
{
    enum { N = 200 };
    pid_t children[N];
    struct actor *a = shared_memory(N * sizeof(*a));
    struct shk_member_watch *watch;
    bool told[N] = {0};

    test_segment();
    for (int i = 0; i < N; i++) {
        a[i].name = "one";
        children[i] = a[i].pid = stranger_start(live, &a[i]);
    }
    for (int i = 0; i < N; i++)
        wait_until(a[i].joined, TEST_DEADLINE);
    watch = watch_open("one", 0, SHK_DIED);
    ck_assert_int_eq(shk_member_watch_living(watch), N);
    for (int i = 0; i < N; i++)
        child_kill(children[i]);
    for (int i = 0; i < N; i++) {
        struct shk_member_event e = next(watch);

        for (int k = 0; k < N; k++)
            if (children[k] == e.pid) {
                ck_assert(!told[k]);
                told[k] = true;
            }
    }
    expect_nothing(watch);
    assert_code(shk_member_watch_close(watch), 0);
}
END_TEST

START_TEST(test_what_makes_no_sense_is_refused)
{
    struct shk_member_watch *watch;
    struct shk_member_event e;

    assert_code(shk_member_watch_open(NULL, "x", 0, ALL, &watch), -EINVAL);
    assert_code(shk_member_watch_open(test_segment(), "x", 0, 0, &watch), -EINVAL);
    assert_code(shk_member_watch_open(test_segment(), "x", 0, 1, &watch), -EINVAL);
    assert_code(shk_member_watch_open(test_segment(), "", 0, ALL, &watch), -EINVAL);
    assert_code(shk_member_watch_open(test_segment(), "x", 0, ALL, NULL), -EINVAL);
    assert_code(shk_member_watch_read(NULL, &e, SHK_NOWAIT), -EINVAL);
    assert_code(shk_member_watch_living(NULL), -EINVAL);
    assert_code(shk_member_watch_close(NULL), 0);
    watch = watch_open("x", 0, ALL);
    assert_code(shk_member_watch_read(watch, NULL, SHK_NOWAIT), -EINVAL);
    assert_code(shk_segment_unlink(segment_name(NULL)), 0);
    assert_code(shk_member_watch_read(watch, &e, SHK_FOREVER), -ESTALE);
    assert_code(shk_member_watch_close(watch), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("member_watch");
    TCase *watches = test_case(suite, "watches"), *sets = test_case(suite, "sets");

    tcase_add_test(watches, test_a_watch_tells_which_member_joins_leaves_and_dies);
    tcase_add_test(watches, test_nothing_of_a_member_that_was_seen_is_lost_between_two_reads);
    tcase_add_test(watches, test_how_a_member_has_gone_is_known_when_its_record_is_used_again);
    tcase_add_test(watches, test_a_member_is_watched_by_its_id);
    tcase_add_test(watches, test_a_sleeping_supervisor_learns_of_a_death_within_150_ms);
    tcase_add_test(watches, test_two_hundred_members_are_watched);
    tcase_add_test(watches, test_what_makes_no_sense_is_refused);
    tcase_add_test(sets, test_a_set_may_have_watches_and_queues);
    return run_tests(suite);
}
