/* Regions: shared bytes. */
#include "common.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static struct shk_region *region_open(const char *name, unsigned flags, size_t size)
{
    struct shk_region *region;

    assert_code(shk_region_open(test_segment(), name, flags,
                                &(struct shk_region_options){.size = size}, &region),
                0);
    return region;
}

static unsigned char *data_of(struct shk_region *region, size_t expected_size)
{
    void *data = NULL;
    size_t size = 0;

    assert_code(shk_region_data(region, &data, &size), 0);
    ck_assert_ptr_nonnull(data);
    ck_assert_uint_eq(size, expected_size);
    return data;
}

static bool all_are(const unsigned char *data, size_t size, unsigned char value)
{
    for (size_t i = 0; i < size; i++)
        if (data[i] != value)
            return false;
    return true;
}

START_TEST(test_a_region_is_zero_at_first)
{
    static const size_t sizes[] = {1, 63, 64, 4095, 4096, 4097, 1000000};
    char name[8];

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        snprintf(name, sizeof(name), "%zu", i);
        struct shk_region *region = region_open(name, SHK_CREATE, sizes[i]);
        ck_assert(all_are(data_of(region, sizes[i]), sizes[i], 0));
        memset(data_of(region, sizes[i]), 0xff, sizes[i]);
        assert_code(shk_region_close(region), 0);
    }
    /* none lies on another, nor on its head */
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        snprintf(name, sizeof(name), "%zu", i);
        struct shk_region *region = region_open(name, 0, 0);
        ck_assert(all_are(data_of(region, sizes[i]), sizes[i], 0xff));
        assert_code(shk_region_close(region), 0);
        assert_code(shk_object_unlink(test_segment(), name), 0);
    }
}
END_TEST

START_TEST(test_a_region_in_memory_that_was_used_before_is_zero)
{
    struct shk_segment_info before, after;

    test_segment();
    for (int round = 0; round < 8; round++) {
        struct shk_region *region = region_open("region", SHK_CREATE | SHK_EXCL, 100000);
        unsigned char *data = data_of(region, 100000);
        ck_assert(all_are(data, 100000, 0));
        memset(data, 0xff, 100000);
        assert_code(shk_object_unlink(test_segment(), "region"), 0);
        assert_code(shk_region_close(region), 0);
        ck_assert(look_at_segment(segment_name(NULL), round ? &after : &before));
    }
    ck_assert_uint_eq(before.resident, after.resident);
}
END_TEST

START_TEST(test_a_region_begins_where_it_was_asked_to)
{
    struct shk_region *region;

    for (size_t align = 0; align <= 4096; align = align ? align * 2 : 1) {
        struct shk_region_options options = {.size = 10, .align = align};
        assert_code(shk_region_open(test_segment(), "region", SHK_CREATE, &options, &region), 0);
        ck_assert_uint_eq((uintptr_t)data_of(region, 10) % (align ? align : 64), 0);
        assert_code(shk_region_close(region), 0);
        assert_code(shk_object_unlink(test_segment(), "region"), 0);
    }
}
END_TEST

START_TEST(test_either_of_data_and_size_may_be_left_out)
{
    struct shk_region *region = region_open("region", SHK_CREATE, 10);
    void *data = NULL;
    size_t size = 0;

    assert_code(shk_region_data(region, NULL, NULL), 0);
    assert_code(shk_region_data(region, &data, NULL), 0);
    assert_code(shk_region_data(region, NULL, &size), 0);
    ck_assert_ptr_eq(data, data_of(region, size));
    assert_code(shk_region_close(region), 0);
}
END_TEST

/* Each process adds its part, in turn, to what the one before left. */
static int add_one(void *argument)
{
    struct shk_region *region = region_open("region", SHK_CREATE, sizeof(int));
    int *number = (int *)data_of(region, sizeof(int));

    ck_assert_int_eq(*number, *(int *)argument);
    ++*number;
    assert_code(shk_region_close(region), 0);
    return 0;
}

START_TEST(test_processes_see_the_same_bytes)
{
    int number;

    for (number = 0; number < 10; number++)
        child_succeeds(stranger_start(add_one, &number));
    struct shk_region *region = region_open("region", 0, 0);
    ck_assert_int_eq(*(int *)data_of(region, sizeof(int)), number);
    assert_code(shk_region_close(region), 0);
}
END_TEST

START_TEST(test_a_region_outlives_the_handles)
{
    struct shk_region *region = region_open("region", SHK_CREATE, 5);

    memcpy(data_of(region, 5), "money", 5);
    assert_code(shk_region_close(region), 0);
    region = region_open("region", SHK_CREATE, 5);
    ck_assert_mem_eq(data_of(region, 5), "money", 5);
    assert_code(shk_region_close(region), 0);
}
END_TEST

START_TEST(test_a_region_that_has_been_unlinked_is_stale_and_stays_in_place)
{
    struct shk_region *region = region_open("region", SHK_CREATE, 5), *again, *successor;
    unsigned char *data = data_of(region, 5);
    size_t size = 77;

    memcpy(data, "money", 5);
    assert_code(shk_object_unlink(test_segment(), "region"), 0);
    assert_code(shk_region_data(region, NULL, &size), -ESTALE);
    ck_assert_uint_eq(size, 77);
    assert_code(shk_region_open(test_segment(), "region", 0, NULL, &again), -ENOENT);

    successor = region_open("region", SHK_CREATE | SHK_EXCL, 5);
    ck_assert(all_are(data_of(successor, 5), 5, 0));
    memset(data_of(successor, 5), 0xff, 5);
    ck_assert_mem_eq(data, "money", 5); /* as long as a handle is open */
    assert_code(shk_region_data(region, NULL, NULL), -ESTALE);
    assert_code(shk_region_close(region), 0);
    assert_code(shk_region_data(successor, NULL, NULL), 0);
    assert_code(shk_region_close(successor), 0);
}
END_TEST

START_TEST(test_a_region_may_fill_the_segment)
{
    struct shk_segment *small;
    struct shk_segment_options options = {.size = 1 << 20, .max_members = 4, .max_objects = 4};
    struct shk_region *region;
    size_t fits = 0, too_large = 1 << 20;

    assert_code(shk_segment_open(segment_name("small"), SHK_CREATE, &options, &small), 0);
    while (too_large - fits > 1) {
        size_t size = fits + (too_large - fits) / 2;
        int got = shk_region_open(small, "region", SHK_CREATE,
                                  &(struct shk_region_options){.size = size}, &region);
        ck_assert_msg(got == 0 || code_is(got, -ENOSPC), "%zu bytes: %s", size, code_name(got));
        *(got == 0 ? &fits : &too_large) = size;
        if (got < 0)
            continue;
        memset(data_of(region, size), 0xff, size); /* to the last byte */
        assert_code(shk_object_unlink(small, "region"), 0);
        assert_code(shk_region_close(region), 0);
    }
    ck_assert_uint_gt(fits, 1 << 19);
    assert_code(shk_segment_close(small), 0);
    assert_code(shk_segment_unlink(segment_name("small")), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("region");
    TCase *bytes = test_case(suite, "bytes");
    tcase_add_test(bytes, test_a_region_is_zero_at_first);
    tcase_add_test(bytes, test_a_region_in_memory_that_was_used_before_is_zero);
    tcase_add_test(bytes, test_a_region_begins_where_it_was_asked_to);
    tcase_add_test(bytes, test_either_of_data_and_size_may_be_left_out);
    tcase_add_test(bytes, test_processes_see_the_same_bytes);
    tcase_add_test(bytes, test_a_region_outlives_the_handles);
    tcase_add_test(bytes, test_a_region_that_has_been_unlinked_is_stale_and_stays_in_place);
    tcase_add_test(bytes, test_a_region_may_fill_the_segment);
    return run_tests(suite);
}
