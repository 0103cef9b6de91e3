/*
 * Claims: a segment without a name is found by its descriptor alone, leaves no file, and is not
 * taken for one whose name has been removed; an object that no process has open can be removed.
 */
#include "common.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct shk_segment_options SMALL = {
    .size = 1 << 18, .max_members = 64, .max_objects = 16};

/* Where a process that was not forked from the creator finds the descriptor. */
static char place[64];
static int descriptor;

static struct shk_segment *create_unnamed(void)
{
    struct shk_segment *s;

    descriptor = shk_segment_create_unnamed(&SMALL, &s);
    ck_assert_int_ge(descriptor, 0);
    ck_assert_int_eq(fcntl(descriptor, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    snprintf(place, sizeof(place), "/proc/%d/fd/%d", (int)getpid(), descriptor);
    return s;
}

/* Open the segment at `place`, the event in it, and set that. */
static int set_go(void *unused)
{
    struct shk_segment *s;
    struct shk_event *go;
    int fd = open(place, O_RDWR | O_CLOEXEC);

    (void)unused;
    assert_code(shk_segment_open_fd(fd, 0, &s), 0);
    close(fd);
    assert_code(shk_event_open(s, "go", 0, NULL, &go), 0);
    assert_code(shk_event_set(go), 0);
    assert_code(shk_event_close(go), 0);
    assert_code(shk_segment_close(s), 0);
    return 0;
}

static int set_go_of_parent(void *go)
{
    assert_code(shk_event_set(go), 0);
    return 0;
}

START_TEST(test_a_child_has_the_segment_of_its_parent)
{
    struct shk_segment *s = create_unnamed();
    struct shk_event *go;
    struct stat status;

    ck_assert_int_eq(fstat(descriptor, &status), 0);
    ck_assert_uint_eq(status.st_nlink, 0); /* no file has it as its name */
    assert_code(shk_event_open(s, "go", SHK_CREATE, NULL, &go), 0);
    child_succeeds(child_start(set_go_of_parent, go));
    assert_code(shk_event_wait(go, SHK_NOWAIT), 0);
    assert_code(shk_event_close(go), 0);
    assert_code(shk_segment_close(s), 0);
    close(descriptor);
}
END_TEST

/* The handle of the parent is closed in the child, which then maps the segment anew. */
static int set_anew(void *segment)
{
    assert_code(shk_segment_close(segment), 0);
    return set_go(NULL);
}

START_TEST(test_a_process_opens_it_by_its_descriptor)
{
    struct shk_segment *s = create_unnamed(), *again;
    struct shk_event *go;
    int fd = open(place, O_RDWR | O_CLOEXEC);

    assert_code(shk_event_open(s, "go", SHK_CREATE, NULL, &go), 0);
    child_succeeds(child_start(set_anew, s));
    assert_code(shk_event_wait(go, SHK_NOWAIT), 0);
    assert_code(shk_segment_open_fd(fd, 0, &again), 0);
    ck_assert_ptr_eq(again, s);
    assert_code(shk_segment_close(again), 0);
    assert_code(shk_event_close(go), 0);
    assert_code(shk_segment_close(s), 0);
    close(fd);
    close(descriptor);
}
END_TEST

START_TEST(test_it_is_not_taken_for_one_whose_name_was_removed)
{
    struct shk_segment *s = create_unnamed();
    struct shk_event *go;
    struct shk_lock *lock;

    assert_code(shk_event_open(s, "go", SHK_CREATE, NULL, &go), 0);
    assert_code(shk_lock_open(s, "lock", SHK_CREATE, NULL, &lock), 0);
    assert_code(shk_event_wait(go, SHK_MS(350)), -ETIMEDOUT); /* several rechecks */
    assert_code(shk_lock_acquire(lock, SHK_NOWAIT), 0);
    assert_code(shk_lock_release(lock), 0);
    assert_code(shk_lock_close(lock), 0);
    assert_code(shk_event_close(go), 0);
    assert_code(shk_segment_close(s), 0);
    close(descriptor);
}
END_TEST

START_TEST(test_a_descriptor_of_something_else_is_refused)
{
    struct shk_segment *named, *s = (struct shk_segment *)(void *)place;
    char path[256];
    int pipes[2], fd;

    assert_code(shk_segment_open(segment_name(NULL), SHK_CREATE, &SMALL, &named), 0);
    snprintf(path, sizeof(path), "/dev/shm%s", segment_name(NULL));
    fd = open(path, O_RDWR | O_CLOEXEC);
    assert_code(shk_segment_open_fd(fd, 0, &s), -EINVAL);
    ck_assert_ptr_null(s);
    assert_code(shk_segment_unlink(segment_name(NULL)), 0);
    assert_code(shk_segment_open_fd(fd, 0, &s), -ESTALE);
    close(fd);
    assert_code(shk_segment_open_fd(fd, 0, &s), -EBADF);
    ck_assert_int_eq(pipe(pipes), 0);
    assert_code(shk_segment_open_fd(pipes[0], 0, &s), -EPROTO);
    assert_code(shk_segment_open_fd(pipes[0], SHK_CREATE, &s), -EINVAL);
    assert_code(shk_segment_open_fd(pipes[0], 0, NULL), -EINVAL);
    assert_code(shk_segment_create_unnamed(NULL, NULL), -EINVAL);
    assert_code(
        shk_segment_create_unnamed(&(struct shk_segment_options){.reserved = {[7] = 1}}, &s),
        -EINVAL);
    assert_code(shk_segment_create_unnamed(&(struct shk_segment_options){.size = 1}, &s), -EINVAL);
    ck_assert_ptr_null(s);
    close(pipes[0]);
    close(pipes[1]);
    assert_code(shk_segment_close(named), 0);
}
END_TEST

/* ---- Objects that no process has open ---- */

static int open_and_stay(void *name)
{
    struct shk_segment *s;
    struct shk_event *event;

    assert_code(shk_segment_open(name, 0, NULL, &s), 0);
    assert_code(shk_event_open(s, "mine", 0, NULL, &event), 0);
    assert_code(shk_event_open(s, "there", SHK_CREATE, NULL, &event), 0);
    for (;;)
        pause();
}

START_TEST(test_an_object_is_removed_when_no_process_has_it_open)
{
    const char *name = segment_name(NULL);
    struct shk_segment *s;
    struct shk_event *event;

    assert_code(shk_segment_open(name, SHK_CREATE, &SMALL, &s), 0);
    assert_code(shk_object_unlink_unused(s, "mine"), -ENOENT);
    assert_code(shk_event_open(s, "mine", SHK_CREATE, NULL, &event), 0);
    assert_code(shk_object_unlink_unused(s, "mine"), -EBUSY); /* this one has */
    assert_code(shk_event_set(event), 0);

    pid_t child = child_start(open_and_stay, (void *)name);
    struct shk_event *there;
    wait_until(shk_event_open(s, "there", 0, NULL, &there) == 0, TEST_DEADLINE);
    assert_code(shk_event_close(event), 0);
    assert_code(shk_object_unlink_unused(s, "mine"), -EBUSY); /* the child has */
    child_kill(child);
    assert_code(shk_object_unlink_unused(s, "mine"), 0);
    assert_code(shk_object_unlink_unused(s, "mine"), -ENOENT);
    assert_code(shk_object_unlink_unused(s, "a/b"), -EINVAL);
    assert_code(shk_object_unlink_unused(NULL, "mine"), -EINVAL);
    assert_code(shk_event_open(s, "mine", SHK_CREATE | SHK_EXCL, NULL, &event), 0);
    assert_code(shk_event_is_set(event), 0); /* another one */
    assert_code(shk_event_close(event), 0);
    assert_code(shk_event_close(there), 0);
    assert_code(shk_segment_close(s), 0);
    assert_code(shk_segment_unlink(name), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("unnamed");

    TCase *segments = test_case(suite, "segments");
    tcase_add_test(segments, test_a_child_has_the_segment_of_its_parent);
    tcase_add_test(segments, test_a_process_opens_it_by_its_descriptor);
    tcase_add_test(segments, test_it_is_not_taken_for_one_whose_name_was_removed);
    tcase_add_test(segments, test_a_descriptor_of_something_else_is_refused);

    TCase *objects = test_case(suite, "objects");
    tcase_add_test(objects, test_an_object_is_removed_when_no_process_has_it_open);
    return run_tests(suite);
}
