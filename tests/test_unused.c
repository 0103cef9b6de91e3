/*
 * Claims: shk_segment_unlink_unused() removes what is unused and nothing else, whichever member
 * comes at the same moment.
 */
#include "common.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct shk_segment_options SMALL = {
    .size = 1 << 18, .max_members = 64, .max_objects = 16};

/* A segment without members, with an event in it if asked for. */
static void leave_one_behind(const char *name, bool with_event)
{
    struct shk_segment *segment;
    struct shk_event *event;

    assert_code(shk_segment_open(name, SHK_CREATE, &SMALL, &segment), 0);
    if (with_event) {
        assert_code(shk_event_open(segment, "go", SHK_CREATE, NULL, &event), 0);
        assert_code(shk_event_close(event), 0);
    }
    assert_code(shk_segment_close(segment), 0);
    ck_assert_uint_eq(shm_files(name + 1), 1);
}

static int stay(void *argument)
{
    struct shk_segment *segment;

    assert_code(shk_segment_open(argument, 0, NULL, &segment), 0);
    for (;;)
        pause();
}

static uint32_t living(const char *name)
{
    struct shk_segment_info info;

    return look_at_segment(name, &info) ? info.members_alive : 0;
}

/* ---- What is removed ---- */

START_TEST(test_an_unused_segment_is_removed)
{
    const char *name = segment_name(NULL);

    assert_code(shk_segment_unlink_unused(name, 0), -ENOENT);
    for (int with_event = 0; with_event < 2; with_event++) {
        leave_one_behind(name, with_event);
        /* with or without the slash */
        assert_code(shk_segment_unlink_unused(name + with_event, 0), 0);
        ck_assert_uint_eq(shm_files(name + 1), 0);
        assert_code(shk_segment_unlink_unused(name, 0), -ENOENT);
    }
    leave_one_behind(name, false); /* and the name is free */
    assert_code(shk_segment_unlink_unused(name, SHK_ANY_OWNER), 0);
}
END_TEST

START_TEST(test_what_only_the_dead_were_in_is_removed)
{
    const char *name = segment_name(NULL);

    leave_one_behind(name, true);
    pid_t children[] = {child_start(stay, (void *)name), child_start(stay, (void *)name)};
    wait_until(living(name) == 2, TEST_DEADLINE);
    child_kill(children[0]);
    assert_code(shk_segment_unlink_unused(name, 0), -EBUSY);
    child_kill(children[1]);
    assert_code(shk_segment_unlink_unused(name, 0), 0);
    ck_assert_uint_eq(shm_files(name + 1), 0);
}
END_TEST

START_TEST(test_with_objects_in_it_a_segment_is_not_empty)
{
    const char *name = segment_name(NULL);
    struct shk_segment *segment;

    leave_one_behind(name, false);
    assert_code(shk_segment_unlink_unused(name, SHK_EMPTY), 0);
    leave_one_behind(name, true);
    assert_code(shk_segment_unlink_unused(name, SHK_EMPTY), -ENOTEMPTY);
    assert_code(shk_segment_open(name, 0, NULL, &segment), 0);
    assert_code(shk_segment_unlink_unused(name, SHK_EMPTY), -EBUSY);
    assert_code(shk_object_unlink(segment, "go"), 0);
    assert_code(shk_segment_close(segment), 0);
    assert_code(shk_segment_unlink_unused(name, SHK_EMPTY), 0);
}
END_TEST

/* ---- What stays ---- */

static void *be_member(void *argument)
{
    pthread_barrier_t *barrier = argument;

    assert_code(shk_set_member_name(test_segment(), "a thread"), 0);
    pthread_barrier_wait(barrier);
    pthread_barrier_wait(barrier);
    return NULL;
}

START_TEST(test_a_segment_in_use_stays)
{
    const char *name = segment_name(NULL), *other = segment_name("2");
    pthread_barrier_t *barrier = shared_barrier(2);
    pthread_t thread;

    assert_code(shk_set_member_name(test_segment(), "the caller itself"), 0);
    assert_code(shk_segment_unlink_unused(name, 0), -EBUSY);
    ck_assert_int_eq(pthread_create(&thread, NULL, be_member, barrier), 0);
    pthread_barrier_wait(barrier);
    assert_code(shk_segment_unlink_unused(name, 0), -EBUSY);
    pthread_barrier_wait(barrier);
    pthread_join(thread, NULL);
    assert_code(shk_set_member_name(test_segment(), "unharmed"), 0);

    leave_one_behind(other, true);
    pid_t child = child_start(stay, (void *)other);
    wait_until(living(other) == 1, TEST_DEADLINE);
    assert_code(shk_segment_unlink_unused(other, 0), -EBUSY);
    child_stop(child); /* a stopped member lives */
    assert_code(shk_segment_unlink_unused(other, 0), -EBUSY);
    ck_assert_uint_eq(shm_files(other + 1), 1);
    child_kill(child);
    assert_code(shk_segment_unlink_unused(other, 0), 0);
}
END_TEST

START_TEST(test_what_is_not_shmkits_is_not_touched)
{
    static const char bytes[8192] = "not a segment";
    const char *name = segment_name(NULL);
    char after[sizeof(bytes)];
    FILE *file;

    write_shm(name, 0, bytes, sizeof(bytes));
    assert_code(shk_segment_unlink_unused(name, 0), -EPROTO);
    file = fopen(shm_path(name), "r");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fread(after, 1, sizeof(after), file), sizeof(after));
    fclose(file);
    ck_assert_int_eq(memcmp(bytes, after, sizeof(bytes)), 0);
    ck_assert_int_eq(unlink(shm_path(name)), 0);
}
END_TEST

START_TEST(test_unknown_flags_are_refused)
{
    leave_one_behind(segment_name(NULL), false);
    for (unsigned bit = 0; bit < 32; bit++)
        if (((1u << bit) & (SHK_ANY_OWNER | SHK_EMPTY)) == 0)
            assert_code(shk_segment_unlink_unused(segment_name(NULL), 1u << bit), -EINVAL);
    assert_code(shk_segment_unlink_unused(segment_name(NULL), SHK_EMPTY | SHK_ANY_OWNER), 0);
}
END_TEST

/* ---- Other users ---- */

static int unprivileged_leaves_one_behind(void *argument)
{
    become_unprivileged();
    leave_one_behind(argument, true);
    return 0;
}

static int unprivileged_tries_roots(void *argument)
{
    become_unprivileged();
    assert_code(shk_segment_unlink_unused(segment_name("0600"), 0), -EACCES);
    /* it may write to it, and may not remove it */
    assert_code(shk_segment_unlink_unused(argument, 0), -EPERM);
    return 0;
}

START_TEST(test_another_users_segment_is_refused_unless_any_owner_will_do)
{
    const char *name = segment_name(NULL);
    struct shk_segment_options options = SMALL;
    struct shk_segment *segment;

    if (geteuid() != 0)
        skip_test("not root: cannot become another user");
    child_succeeds(child_start(unprivileged_leaves_one_behind, (void *)name));
    assert_code(shk_segment_unlink_unused(name, 0), -EPERM);
    ck_assert_uint_eq(shm_files(name + 1), 1);
    assert_code(shk_segment_unlink_unused(name, SHK_ANY_OWNER | SHK_EMPTY), -ENOTEMPTY);
    assert_code(shk_segment_unlink_unused(name, SHK_ANY_OWNER), 0);

    leave_one_behind(segment_name("0600"), false);
    options.mode = 0666;
    assert_code(shk_segment_open(name, SHK_CREATE, &options, &segment), 0);
    assert_code(shk_segment_close(segment), 0);
    child_succeeds(child_start(unprivileged_tries_roots, (void *)name));
    assert_code(shk_segment_unlink_unused(segment_name("0600"), 0), 0);
    assert_code(shk_segment_unlink_unused(name, 0), 0); /* that it was tried has not begun it */
}
END_TEST

/* ---- At the same moment ---- */

enum { USERS = 4, CLEANERS = 2, ROUNDS = 500 };

struct storm {
    atomic_int users;
    atomic_int removed, kept;
};

/*
 * A member that has joined stays undisturbed until it leaves. In a hot loop, so without ck_assert.
 */
static int come_and_go(void *argument)
{
    struct storm *storm = argument;
    struct shk_segment *segment;
    struct shk_event *event;
    int r = 0;

    for (int round = 0; round < ROUNDS && r >= 0; round++) {
        r = shk_segment_open(segment_name(NULL), SHK_CREATE, &SMALL, &segment);
        if (r < 0)
            break;
        r = shk_event_open(segment, "go", SHK_CREATE, NULL, &event);
        for (int i = 0; i < 5 && r >= 0; i++)
            r = shk_event_set(event);
        if (r >= 0)
            r = shk_event_is_set(event);
        shk_event_close(event);
        shk_segment_close(segment);
    }
    atomic_fetch_sub(&storm->users, 1);
    ck_assert_msg(r >= 0, "%s: %s", code_name(r), shk_last_error());
    return 0;
}

static int clean_up(void *argument)
{
    struct storm *storm = argument;

    while (atomic_load(&storm->users) > 0) {
        int r = shk_segment_unlink_unused(segment_name(NULL), 0);

        if (r == 0)
            atomic_fetch_add(&storm->removed, 1);
        else if (r == -EBUSY)
            atomic_fetch_add(&storm->kept, 1);
        else
            assert_code(r, -ENOENT);
    }
    return 0;
}

START_TEST(test_nothing_is_removed_under_a_member_that_has_just_come)
{
    struct storm *storm = shared_memory(sizeof(*storm));
    pid_t children[USERS + CLEANERS];
    int r;

    storm->users = USERS;
    for (int i = 0; i < USERS + CLEANERS; i++)
        children[i] = child_start(i < USERS ? come_and_go : clean_up, storm);
    for (int i = 0; i < USERS + CLEANERS; i++)
        child_succeeds(children[i]);
    ck_assert_msg(storm->removed > 0 && storm->kept > 0,
                  "removed %d times, kept %d times: nothing was tried", storm->removed,
                  storm->kept);
    r = shk_segment_unlink_unused(segment_name(NULL), 0); /* all have left */
    ck_assert_msg(r == 0 || r == -ENOENT, "%s", code_name(r));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("unused");

    TCase *removed = test_case(suite, "removed");
    tcase_add_test(removed, test_an_unused_segment_is_removed);
    tcase_add_test(removed, test_what_only_the_dead_were_in_is_removed);
    tcase_add_test(removed, test_with_objects_in_it_a_segment_is_not_empty);

    TCase *kept = test_case(suite, "kept");
    tcase_add_test(kept, test_a_segment_in_use_stays);
    tcase_add_test(kept, test_what_is_not_shmkits_is_not_touched);
    tcase_add_test(kept, test_unknown_flags_are_refused);
    tcase_add_test(kept, test_another_users_segment_is_refused_unless_any_owner_will_do);

    TCase *storm = test_case(suite, "at the same moment");
    tcase_add_test(storm, test_nothing_is_removed_under_a_member_that_has_just_come);
    return run_tests(suite);
}
