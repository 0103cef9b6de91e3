/*
 * A kernel that gives no memory through a mapping (before Linux 5.14): an open segment keeps a
 * descriptor. The hook SHKI_POPULATE makes this one such a kernel.
 */
#include "common.h"

#include "base/hooks.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_close_range
#define SYS_close_range 436 /* of all machines; glibc before 2.32 */
#endif

#define LOWEST      100 /* the descriptors below it are the program's */
#define DESCRIPTORS 1024
#define BIG         (1 << 20)

/* Such an old kernel is what each test begins with: before the segment is mapped. */
static void forget_populate(void)
{
    shki_test_disable |= SHKI_POPULATE;
}

/* The lowest descriptor of the segment's file from this one on; -1: none. */
static int descriptor_of_segment(int from)
{
    struct stat segment, st;

    if (stat(shm_path(segment_name(NULL)), &segment) != 0)
        return -1;
    for (int fd = from; fd < DESCRIPTORS; fd++)
        if (fstat(fd, &st) == 0 && st.st_dev == segment.st_dev && st.st_ino == segment.st_ino)
            return fd;
    return -1;
}

static int region_open(const char *name, struct shk_region **region)
{
    return shk_region_open(test_segment(), name, SHK_CREATE,
                           &(struct shk_region_options){.size = BIG}, region);
}

START_TEST(test_a_kept_descriptor_is_none_of_the_low_ones)
{
    struct shk_region *region;
    unsigned before = open_descriptors();
    void *data;
    int fd;

    forget_populate();
    test_segment();
    ck_assert_uint_eq(open_descriptors(), before + 1);
    fd = descriptor_of_segment(0);
    ck_assert_int_ge(fd, LOWEST);
    ck_assert_int_eq(descriptor_of_segment(fd + 1), -1);
    ck_assert_int_ne(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);

    assert_code(region_open("big", &region), 0);
    assert_code(shk_region_data(region, &data, NULL), 0);
    memset(data, 1, BIG);
    assert_code(shk_region_close(region), 0);
    ck_assert_uint_eq(open_descriptors(), before + 1);
}
END_TEST

/*
 * Everything but the standard descriptors is closed, and a file of the program's gets the number.
 * Returns the line at which something was wrong, 0: nowhere: libcheck's descriptors are closed,
 * too.
 */
static int close_descriptors(void *argument)
{
    const char *path = argument;
    char content[16] = {0};
    struct shk_region *region = NULL;
    int kept, file;

#define FAIL_UNLESS(condition)      \
    do {                            \
        if (!(condition))           \
            return __LINE__ & 0x7f; \
    } while (0)
    forget_populate();
    test_segment();
    kept = descriptor_of_segment(0);
    FAIL_UNLESS(kept >= LOWEST);
    FAIL_UNLESS(syscall(SYS_close_range, 3, ~0U, 0) == 0);

    FAIL_UNLESS(region_open("first", &region) == -EBADF);
    FAIL_UNLESS(strstr(shk_last_error(), strerror(EBADF)) != NULL);

    file = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
    FAIL_UNLESS(file >= 0 && dup2(file, kept) == kept);
    FAIL_UNLESS(write(kept, "the program's", 13) == 13);
    FAIL_UNLESS(region_open("second", &region) == -EBADF);
    FAIL_UNLESS(shk_segment_close(test_segment()) == 0);

    /* The file is still open, has its length, and what was written to it. */
    FAIL_UNLESS(lseek(kept, 0, SEEK_END) == 13);
    FAIL_UNLESS(pread(kept, content, sizeof(content), 0) == 13);
    FAIL_UNLESS(strcmp(content, "the program's") == 0);
    return 0;
}

START_TEST(test_a_kept_descriptor_that_is_closed_harms_no_file)
{
    char path[] = "/tmp/shmkit-test-XXXXXX";
    struct shk_region *region;

    ck_assert_ptr_nonnull(mkdtemp(path));
    char *file = NULL;
    ck_assert_int_gt(asprintf(&file, "%s/file", path), 0);
    forget_populate();
    test_segment();
    ck_assert_int_eq(child_wait(stranger_start(close_descriptors, file)), 0);
    unlink(file);
    rmdir(path);
    free(file);
    /* The others go on. */
    assert_code(region_open("first", &region), 0);
    assert_code(shk_region_close(region), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("kept");
    TCase *kept = test_case(suite, "kept");

    tcase_add_test(kept, test_a_kept_descriptor_is_none_of_the_low_ones);
    tcase_add_test(kept, test_a_kept_descriptor_that_is_closed_harms_no_file);
    return run_tests(suite);
}
