/*
 * Segments: created whole, opened with full checks, retired; and the objects in them as far as all
 * kinds are alike.
 */
#include "common.h"

#include "segment/layout.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#define SMALL (&(struct shk_segment_options){.size = 1 << 20, .max_members = 8, .max_objects = 16})

static struct shk_segment *segment_open(const char *name, unsigned flags,
                                        const struct shk_segment_options *options)
{
    struct shk_segment *segment = NULL;

    assert_code(shk_segment_open(name, flags, options, &segment), 0);
    ck_assert_ptr_nonnull(segment);
    return segment;
}

static void assert_not_opened(const char *name, unsigned flags, int code)
{
    struct shk_segment *segment = NULL;

    assert_code(shk_segment_open(name, flags, NULL, &segment), code);
    ck_assert_ptr_null(segment);
}

static struct shk_region *region_open(struct shk_segment *segment, const char *name, size_t size)
{
    struct shk_region *region;

    assert_code(shk_region_open(segment, name, SHK_CREATE,
                                &(struct shk_region_options){.size = size}, &region),
                0);
    return region;
}

static unsigned char *data_of(struct shk_region *region)
{
    void *data = NULL;

    assert_code(shk_region_data(region, &data, NULL), 0);
    return data;
}

static uint64_t resident(const char *name)
{
    struct shk_segment_info info;

    ck_assert(look_at_segment(name, &info));
    return info.resident;
}

/* One object of each kind. */
struct things {
    struct shk_lock *lock;
    struct shk_cond *cond;
    struct shk_event *event;
    struct shk_queue *queue;
    struct shk_region *region;
};

static struct things things_open(struct shk_segment *segment)
{
    struct things all;

    assert_code(shk_lock_open(segment, "lock", SHK_CREATE, NULL, &all.lock), 0);
    assert_code(shk_cond_open(segment, "cond", SHK_CREATE, NULL, &all.cond), 0);
    assert_code(shk_event_open(segment, "event", SHK_CREATE, NULL, &all.event), 0);
    assert_code(shk_queue_open(segment, "queue", SHK_CREATE,
                               &(struct shk_queue_options){.capacity = 1, .item_size = 8},
                               &all.queue),
                0);
    all.region = region_open(segment, "region", 64);
    return all;
}

static void things_close(const struct things *all)
{
    assert_code(shk_lock_close(all->lock), 0);
    assert_code(shk_cond_close(all->cond), 0);
    assert_code(shk_event_close(all->event), 0);
    assert_code(shk_queue_close(all->queue), 0);
    assert_code(shk_region_close(all->region), 0);
}

static void assert_every_call_gives(const struct things *all, int code)
{
    char item[8];

    assert_code(shk_lock_acquire(all->lock, SHK_FOREVER), code);
    assert_code(shk_cond_acquire(all->cond, SHK_FOREVER), code);
    assert_code(shk_event_set(all->event), code);
    assert_code(shk_event_clear(all->event), code);
    assert_code(shk_event_is_set(all->event), code);
    assert_code(shk_event_wait(all->event, SHK_FOREVER), code);
    assert_code(shk_queue_put(all->queue, "a", 1, SHK_FOREVER), code);
    assert_code(shk_queue_get(all->queue, item, sizeof(item), SHK_FOREVER), code);
    assert_code(shk_queue_size(all->queue), code);
    assert_code(shk_queue_capacity(all->queue), code);
    assert_code(shk_queue_item_size(all->queue), code);
    assert_code(shk_queue_empty(all->queue), code);
    assert_code(shk_queue_full(all->queue), code);
    assert_code(shk_queue_shutdown(all->queue), code);
    assert_code(shk_region_data(all->region, NULL, NULL), code);
}

/* ---- Opening ---- */

START_TEST(test_a_segment_is_created_when_asked_and_found_afterwards)
{
    const char *name = segment_name(NULL);
    struct shk_segment *segment;

    assert_not_opened(name, 0, -ENOENT);
    ck_assert_uint_eq(shm_files(name + 1), 0);
    segment = segment_open(name, SHK_CREATE, NULL);
    ck_assert_uint_eq(shm_files(name + 1), 1);
    assert_not_opened(name, SHK_CREATE | SHK_EXCL, -EEXIST);
    assert_code(shk_segment_close(segment), 0);
    ck_assert_uint_eq(shm_files(name + 1), 1); /* it stays */
    assert_not_opened(name, SHK_CREATE | SHK_EXCL, -EEXIST);
    assert_code(shk_segment_close(segment_open(name, SHK_CREATE, NULL)), 0);
    assert_code(shk_segment_close(segment_open(name, 0, NULL)), 0);
    assert_code(shk_segment_unlink(name), 0);
    assert_code(shk_segment_unlink(name), -ENOENT);
    assert_not_opened(name, 0, -ENOENT);
}
END_TEST

START_TEST(test_opening_twice_gives_the_same_handle)
{
    struct shk_segment *segment = test_segment();
    unsigned descriptors = open_descriptors(), mapped = mappings();

    ck_assert_uint_gt(mapped, 0);
    for (int i = 0; i < 3; i++)
        ck_assert_ptr_eq(segment_open(segment_name(NULL), i & 1 ? SHK_CREATE : 0, NULL), segment);
    ck_assert_uint_eq(open_descriptors(), descriptors);
    ck_assert_uint_eq(mappings(), mapped);
    for (int i = 0; i < 3; i++) {
        assert_code(shk_segment_close(segment), 0);
        assert_code(shk_set_member_name(segment, "still here"), 0);
    }
}
END_TEST

START_TEST(test_opening_and_closing_leaves_nothing_behind)
{
    const char *name = segment_name(NULL);
    unsigned descriptors = open_descriptors();

    for (int i = 0; i < 100; i++) {
        struct shk_segment *segment = segment_open(name, SHK_CREATE, NULL);
        struct things all = things_open(segment);
        assert_not_opened(name, SHK_CREATE | SHK_EXCL, -EEXIST);
        if (i & 1) {
            things_close(&all);
            assert_code(shk_segment_close(segment), 0);
        } else {
            assert_code(shk_segment_close(segment), 0);
            things_close(&all);
        }
        ck_assert_uint_eq(open_descriptors(), descriptors);
        ck_assert_uint_eq(mappings(), 0);
    }
    assert_code(shk_segment_unlink(name), 0);
}
END_TEST

START_TEST(test_the_mode_is_exact_whatever_the_umask)
{
    static const mode_t modes[] = {0, 0600, 0640, 0660, 0666, 0644, 0777};
    static const mode_t masks[] = {0, 022, 077, 0777};
    struct stat status;

    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        for (size_t k = 0; k < sizeof(masks) / sizeof(masks[0]); k++) {
            mode_t before = umask(masks[k]);
            struct shk_segment_options options = {.mode = modes[i]};
            struct shk_segment *segment = segment_open(segment_name(NULL), SHK_CREATE, &options);
            ck_assert_uint_eq(umask(before), masks[k]);
            ck_assert_int_eq(stat(shm_path(segment_name(NULL)), &status), 0);
            ck_assert_uint_eq(status.st_mode, S_IFREG | (modes[i] ? modes[i] : 0600));
            assert_code(shk_segment_close(segment), 0);
            assert_code(shk_segment_unlink(segment_name(NULL)), 0);
        }
    }
}
END_TEST

#define SIZE_DEFAULT (1ull << (sizeof(void *) > 4 ? 36 : 30))

/*
 * Without so much address space, or where no file may be so large, a segment is smaller, down to 1
 * GiB.
 */
static int create_with_a_limit(void *resource)
{
    const struct rlimit limit = {8ull << 30, 8ull << 30};
    struct shk_segment_info info;
    struct shk_segment *segment;

    if (setrlimit(*(int *)resource, &limit) != 0)
        return 2;
    segment = segment_open(segment_name("limited"), SHK_CREATE, NULL);
    ck_assert(look_at_segment(segment_name("limited"), &info));
    ck_assert_uint_ge(info.size, 1u << 30);
    ck_assert_uint_le(info.size, 8ull << 30);
    assert_code(shk_segment_close(segment), 0);
    assert_code(shk_segment_unlink(segment_name("limited")), 0);
    return 0;
}

START_TEST(test_a_segment_is_no_larger_than_the_limits_allow)
{
    static int resources[] = {RLIMIT_AS, RLIMIT_FSIZE};

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    if (_i == 0)
        skip_test("a sanitizer needs more address space than that");
#endif
    child_succeeds(child_start(create_with_a_limit, &resources[_i]));
}
END_TEST

START_TEST(test_a_segment_is_as_the_options_say)
{
    static const struct shk_segment_options asked[] = {
        {.size = 0},
        {.size = 1 << 16, .max_members = 1, .max_objects = 1},
        {.size = 5000000, .max_members = 17, .max_objects = 3},
        {.size = 1ull << 40, .max_members = 65535, .max_objects = 65535, .mode = 0666},
    };
    struct shk_segment_info info;

    for (size_t i = 0; i < sizeof(asked) / sizeof(asked[0]); i++) {
        struct shk_segment *segment = segment_open(segment_name(NULL), SHK_CREATE, &asked[i]);
        ck_assert(look_at_segment(segment_name(NULL), &info));
        ck_assert_uint_ge(info.size, asked[i].size ? asked[i].size : SIZE_DEFAULT);
        ck_assert_uint_lt(info.size, (asked[i].size ? asked[i].size : SIZE_DEFAULT) + 4096);
        ck_assert_uint_eq(info.max_members, asked[i].max_members ? asked[i].max_members : 1024);
        ck_assert_uint_eq(info.max_objects, asked[i].max_objects ? asked[i].max_objects : 256);
        ck_assert_uint_eq(info.mode, asked[i].mode ? asked[i].mode : 0600);
        ck_assert_uint_eq(info.uid, geteuid());
        ck_assert_uint_eq(info.gid, getegid());
        if (!asked[i].max_objects)
            ck_assert_uint_lt(info.resident, 1 << 20); /* sparse */
        /* opened as it is */
        assert_code(shk_segment_close(segment_open(segment_name(NULL), 0, &asked[0])), 0);
        assert_code(shk_segment_close(segment), 0);
        assert_code(shk_segment_unlink(segment_name(NULL)), 0);
    }
}
END_TEST

/* ---- Closing ---- */

START_TEST(test_a_handle_of_a_closed_segment_gives_ebadf)
{
    struct shk_segment *segment = segment_open(segment_name(NULL), SHK_CREATE, NULL);
    struct things all = things_open(segment);

    assert_code(shk_segment_close(segment), 0);
    assert_every_call_gives(&all, -EBADF);
    assert_code(shk_lock_release(all.lock), -EBADF);
    assert_code(shk_cond_release(all.cond), -EBADF);
    assert_code(shk_cond_wait(all.cond, SHK_FOREVER), -EBADF);
    assert_code(shk_cond_notify(all.cond, 1), -EBADF);
    assert_code(shk_cond_notify_all(all.cond), -EBADF);

    /* Opening it anew does not bring the old handles back. */
    segment = segment_open(segment_name(NULL), 0, NULL);
    struct things anew = things_open(segment);
    assert_every_call_gives(&all, -EBADF);
    things_close(&all);
    assert_code(shk_event_set(anew.event), 0);
    things_close(&anew);
    assert_code(shk_segment_close(segment), 0);
    assert_code(shk_segment_unlink(segment_name(NULL)), 0);
}
END_TEST

START_TEST(test_the_holder_of_a_lock_cannot_close)
{
    struct shk_segment *segment = test_segment();
    struct things all = things_open(segment);

    assert_code(shk_lock_acquire(all.lock, SHK_NOWAIT), 0);
    assert_code(shk_cond_acquire(all.cond, SHK_NOWAIT), 0);
    assert_code(shk_cond_acquire(all.cond, SHK_NOWAIT), 0);
    assert_code(shk_segment_close(segment), -EBUSY);
    assert_code(shk_lock_close(all.lock), -EBUSY);
    assert_code(shk_cond_close(all.cond), -EBUSY);
    assert_code(shk_lock_release(all.lock), 0);
    assert_code(shk_segment_close(segment), -EBUSY);
    assert_code(shk_cond_release(all.cond), 0);
    assert_code(shk_segment_close(segment), -EBUSY);
    assert_code(shk_cond_notify_all(all.cond), 0); /* nothing has changed */
    assert_code(shk_cond_release(all.cond), 0);
    things_close(&all);
}
END_TEST

START_TEST(test_the_holder_of_a_lock_can_close_one_of_two_openings)
{
    struct shk_lock *lock;

    assert_code(shk_lock_open(test_segment(), "lock", SHK_CREATE, NULL, &lock), 0);
    segment_open(segment_name(NULL), 0, NULL);
    assert_code(shk_lock_acquire(lock, SHK_NOWAIT), 0);
    assert_code(shk_segment_close(test_segment()), 0);
    assert_code(shk_lock_release(lock), 0);
    assert_code(shk_lock_close(lock), 0);
}
END_TEST

/* ---- What is no segment, or no good one ---- */

static _Alignas(SHKI_PAGE) unsigned char small_image[1 << 20]; /* the bytes of a good one */

static void save_image(const char *name)
{
    struct shk_segment *segment = segment_open(name, SHK_CREATE, SMALL);
    struct things all = things_open(segment);
    int fd = open(shm_path(name), O_RDONLY | O_CLOEXEC);

    ck_assert_int_eq(read(fd, small_image, sizeof(small_image)), sizeof(small_image));
    close(fd);
    things_close(&all);
    assert_code(shk_segment_close(segment), 0);
    assert_code(shk_segment_unlink(name), 0);
}

static void assert_one_of(const char *what, long long got, int first, int second)
{
    if (!code_is(got, first) && !code_is(got, second))
        ck_abort_msg("%s gave %s: %s", what, code_name(got), shk_last_error());
}

/* It is present, usable or not. */
static void assert_not_created(const char *name)
{
    struct shk_segment *segment = NULL;

    assert_code(shk_segment_open(name, SHK_CREATE | SHK_EXCL, NULL, &segment), -EEXIST);
    ck_assert_ptr_null(segment);
}

/* No call opens, changes or removes it. */
static void assert_refused(const char *name)
{
    struct stat before, after;

    ck_assert_int_eq(lstat(shm_path(name), &before), 0);
    for (unsigned flags = 0; flags <= SHK_CREATE; flags += SHK_CREATE)
        assert_not_opened(name, flags, -EPROTO);
    assert_not_created(name);
    assert_code(shk_segment_unlink(name), -EPROTO);
    ck_assert_int_eq(lstat(shm_path(name), &after), 0);
    ck_assert_uint_eq(before.st_ino, after.st_ino);
    ck_assert_int_eq(before.st_size, after.st_size);
    ck_assert_int_eq(before.st_blocks, after.st_blocks);
    ck_assert_int_eq(before.st_mtim.tv_sec, after.st_mtim.tv_sec);
    ck_assert_int_eq(before.st_mtim.tv_nsec, after.st_mtim.tv_nsec);
}

static void write_image(const char *name, size_t size)
{
    write_shm(name, 0, small_image, size);
}

START_TEST(test_a_copy_of_the_bytes_is_a_segment)
{
    /* So that the tests below fail for the reason that they mean. */
    const char *name = segment_name(NULL);

    save_image(name);
    write_image(name, sizeof(small_image));
    struct shk_segment *segment = segment_open(name, 0, NULL);
    struct things all = things_open(segment);
    assert_code(shk_event_is_set(all.event), 0);
    things_close(&all);
    assert_code(shk_segment_close(segment), 0);
    assert_code(shk_segment_unlink(name), 0);
}
END_TEST

START_TEST(test_an_empty_or_foreign_file_is_no_segment)
{
    const char *name = segment_name(NULL);
    unsigned char bytes[8192] = {0};

    write_shm(name, 0, "", 0);
    assert_refused(name);
    write_shm(name, 0, "x", 1);
    assert_refused(name);
    write_shm(name, 0, bytes, sizeof(bytes));
    assert_refused(name);
    write_shm(name, 0, "#!/bin/sh\necho something else\n", 30);
    assert_refused(name);
    ck_assert_int_eq(truncate(shm_path(name), 1ll << 40), 0);
    assert_refused(name);
    ck_assert_int_eq(unlink(shm_path(name)), 0);
}
END_TEST

START_TEST(test_what_is_no_file_is_no_segment)
{
    const char *name = segment_name(NULL);
    struct shk_segment *segment;

    ck_assert_int_eq(mkdir(shm_path(name), 0700), 0);
    assert_not_opened(name, 0, -EPROTO);
    assert_not_opened(name, SHK_CREATE, -EPROTO);
    assert_code(shk_segment_unlink(name), -EPROTO);
    ck_assert_int_eq(rmdir(shm_path(name)), 0);

    ck_assert_int_eq(mkfifo(shm_path(name), 0600), 0);
    assert_not_opened(name, 0, -EPROTO); /* and it does not wait for a process at the other end */
    assert_not_opened(name, SHK_CREATE, -EPROTO);
    assert_code(shk_segment_unlink(name), -EPROTO);
    ck_assert_int_eq(unlink(shm_path(name)), 0);

    segment = segment_open(segment_name("good"), SHK_CREATE, NULL);
    ck_assert_int_eq(symlink(shm_path(segment_name("good")), shm_path(name)), 0);
    assert_not_opened(name, 0, -EPROTO);
    assert_not_opened(name, SHK_CREATE, -EPROTO);
    assert_code(shk_segment_unlink(name), -EPROTO);
    ck_assert_int_eq(unlink(shm_path(name)), 0);
    assert_code(shk_segment_close(segment), 0);
    assert_code(shk_segment_unlink(segment_name("good")), 0);
}
END_TEST

START_TEST(test_a_truncated_segment_is_refused)
{
    const char *name = segment_name(NULL);
    static const off_t sizes[] = {0,    1,    7,    8,    12,      100,
                                  1000, 4095, 4096, 8192, 1 << 16, (1 << 20) - 1};

    save_image(name);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        write_image(name, sizeof(small_image));
        ck_assert_int_eq(truncate(shm_path(name), sizes[i]), 0);
        assert_refused(name);
    }
    write_image(name, sizeof(small_image));
    /* nor is it longer than it says */
    ck_assert_int_eq(truncate(shm_path(name), (1 << 20) + 1), 0);
    assert_refused(name);
    ck_assert_int_eq(unlink(shm_path(name)), 0);
}
END_TEST

#define PATCH(field, value)                                                          \
    do {                                                                             \
        struct shki_header header;                                                   \
        __typeof__(header.field) wrong = (value);                                    \
        write_image(name, sizeof(small_image));                                      \
        write_shm(name, offsetof(struct shki_header, field), &wrong, sizeof(wrong)); \
        assert_refused(name);                                                        \
        ck_assert_msg(shk_last_error()[0], "no sentence about %s", #field);          \
    } while (0)

START_TEST(test_another_layout_or_machine_is_refused)
{
    const char *name = segment_name(NULL);
    struct shki_header *good = (struct shki_header *)small_image;

    save_image(name);
    PATCH(layout, good->layout + 1);
    ck_assert_ptr_nonnull(strstr(shk_last_error(), "layout"));
    PATCH(layout, good->layout - 1);
    PATCH(layout, UINT32_MAX);
    PATCH(header_size, good->header_size + 8);
    PATCH(fingerprint, good->fingerprint ^ 1);
    PATCH(fingerprint, good->fingerprint ^ 1ull << 63);
    PATCH(fingerprint, 0);
    for (size_t i = 0; i < sizeof(good->magic); i++)
        PATCH(magic[i], good->magic[i] ^ 0x20);
    ck_assert_int_eq(unlink(shm_path(name)), 0);
}
END_TEST

#define PATCH_ALL(field)                                                  \
    do {                                                                  \
        for (size_t i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) \
            PATCH(field, offsets[i]);                                     \
        PATCH(field, good->field + 4096);                                 \
        PATCH(field, good->field - 4096);                                 \
        PATCH(field, good->field + 1);                                    \
    } while (0)

START_TEST(test_a_header_with_wrong_offsets_is_refused)
{
    const char *name = segment_name(NULL);
    struct shki_header *good = (struct shki_header *)small_image;
    static const uint64_t offsets[] = {
        0, 1, 8, UINT64_MAX, INT64_MAX, 1ull << 40, UINT64_MAX - 4095, 1 << 20};

    save_image(name);
    /* the last is the right size */
    for (size_t i = 0; i + 1 < sizeof(offsets) / sizeof(offsets[0]); i++)
        PATCH(size, offsets[i]);
    PATCH(size, good->size - 1);
    PATCH_ALL(entries_offset);
    PATCH_ALL(members_offset);
    PATCH_ALL(nodes_offset);
    PATCH_ALL(processes_offset);
    PATCH_ALL(heap_offset);
    PATCH(max_members, 0);
    PATCH(max_members, good->max_members + 1000);
    PATCH(max_members, UINT32_MAX);
    PATCH(max_objects, 0);
    PATCH(max_objects, good->max_objects + 1000);
    PATCH(max_objects, UINT32_MAX);
    ck_assert_int_eq(unlink(shm_path(name)), 0);
}
END_TEST

START_TEST(test_random_bytes_are_no_segment)
{
    const char *name = segment_name(NULL);
    static unsigned char bytes[1 << 16];
    unsigned short seed[3] = {1, 2, 3};

    for (int i = 0; i < 200; i++) {
        for (size_t k = 0; k < sizeof(bytes); k++)
            bytes[k] = nrand48(seed) >> 7;
        if (i & 1)
            memcpy(bytes, SHKI_MAGIC, 8);
        write_shm(name, 0, bytes, sizeof(bytes));
        assert_refused(name);
    }
    ck_assert_int_eq(unlink(shm_path(name)), 0);
}
END_TEST

/* An entry of the directory that claims what is not its own is not opened, or does no harm. */
START_TEST(test_an_object_with_wrong_offsets_is_refused)
{
    const char *name = segment_name(NULL);
    static const uint64_t offsets[] = {0,          1,         8,          64,      4096,
                                       UINT64_MAX, INT64_MAX, 1ull << 40, 1 << 20, (1 << 20) - 64};

    save_image(name);
    struct shki_geometry geometry =
        shki_geometry(SMALL->max_members, SMALL->max_objects, SMALL->size);
    for (uint32_t e = 0; e < SMALL->max_objects; e++) {
        size_t at = geometry.entries_offset + e * sizeof(struct shki_entry);
        const struct shki_entry *entry = (const void *)(small_image + at);
        if (entry->state != SHKI_ENTRY_LIVE || strcmp(entry->name, "region"))
            continue;
        for (size_t i = 0; i < 2 * sizeof(offsets) / sizeof(offsets[0]); i++) {
            size_t field =
                i & 1 ? offsetof(struct shki_entry, offset) : offsetof(struct shki_entry, size);
            struct shk_region *region = NULL;
            /* it may well be as large */
            if (field == offsetof(struct shki_entry, size) && offsets[i / 2] == SHKI_PAGE)
                continue;
            write_image(name, sizeof(small_image));
            write_shm(name, at + field, &offsets[i / 2], sizeof(uint64_t));
            struct shk_segment *segment = segment_open(name, 0, NULL);
            assert_code(shk_region_open(segment, "region", 0, NULL, &region), -EPROTO);
            /* and what is new is put into the segment, or nowhere */
            for (size_t size = sizeof(small_image) - 1; size > 0; size = size * 3 / 4) {
                if (shk_region_open(segment, "new", SHK_CREATE | SHK_EXCL,
                                    &(struct shk_region_options){.size = size}, &region) < 0)
                    continue;
                memset(data_of(region), 0x55, size);
                assert_code(shk_region_close(region), 0);
            }
            struct stat after;
            ck_assert_int_eq(stat(shm_path(name), &after), 0);
            ck_assert_uint_eq((size_t)after.st_size, sizeof(small_image));
            assert_code(shk_segment_close(segment), 0);
        }
        assert_code(shk_segment_unlink(name), 0);
        return;
    }
    ck_abort_msg("the entry was not found");
}
END_TEST

START_TEST(test_a_dead_unlinkers_work_is_finished_by_its_finder)
{
    const char *name = segment_name(NULL);
    uint32_t retired = 1;

    save_image(name);
    for (int step = 0; step < 4; step++) {
        write_image(name, sizeof(small_image));
        write_shm(name, offsetof(struct shki_header, retired), &retired, sizeof(retired));
        if (step == 0)
            assert_not_opened(name, 0, -ENOENT);
        else if (step == 1)
            assert_code(shk_segment_close(segment_open(name, SHK_CREATE | SHK_EXCL, NULL)), 0);
        if (step < 2)
            ck_assert_uint_eq(shm_files(name + 1), step);
        int got = step == 3 ? shk_segment_unlink_unused(name, 0) : shk_segment_unlink(name);
        ck_assert_msg(got == (step == 1 ? 0 : -ENOENT) || (step >= 2 && got == 0), "step %d: %s",
                      step, code_name(got));
        ck_assert_uint_eq(shm_files(name + 1), 0);
    }
}
END_TEST

/* ---- Limits of the process and of the system ---- */

static int open_beyond_file_size_limit(void *argument)
{
    (void)argument;
    struct rlimit limit = {1 << 20, 1 << 20};
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    for (int i = 0; i < 3; i++) /* SIGXFSZ does not kill it */
        assert_not_opened(segment_name(NULL), SHK_CREATE, -EFBIG);
    ck_assert_uint_eq(shm_files(segment_name(NULL) + 1), 0);
    assert_code(shk_segment_close(segment_open(segment_name(NULL), SHK_CREATE, SMALL)), 0);
    assert_code(shk_segment_unlink(segment_name(NULL)), 0);
    return 0;
}

START_TEST(test_a_segment_beyond_the_limit_on_file_sizes_is_not_created)
{
    child_succeeds(child_start(open_beyond_file_size_limit, NULL));
}
END_TEST

static int use_beyond_file_size_limit(void *argument)
{
    enum { LIMIT = 1 << 16 };
    struct shk_segment *segment;

    (void)argument;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &(struct rlimit){LIMIT, LIMIT}), 0);
    segment = segment_open(segment_name(NULL), 0, NULL);
    struct shk_region *region = region_open(segment, "region", 16 * LIMIT);
    memset(data_of(region), 1, 16 * LIMIT);
    return 0;
}

START_TEST(test_the_limit_on_file_sizes_is_not_for_what_is_in_a_segment)
{
    test_segment();
    child_succeeds(child_start(use_beyond_file_size_limit, NULL));
}
END_TEST

static int open_without_descriptors(void *argument)
{
    struct rlimit limit;

    (void)argument;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = 64;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    while (dup(0) >= 0)
        ;
    ck_assert_int_eq(errno, EMFILE);
    assert_not_opened(segment_name(NULL), 0, -EMFILE);
    assert_not_opened(segment_name(NULL), SHK_CREATE, -EMFILE);
    assert_not_opened(segment_name("new"), SHK_CREATE, -EMFILE);
    return 0;
}

START_TEST(test_without_descriptors_nothing_is_opened)
{
    struct shk_segment *segment = segment_open(segment_name(NULL), SHK_CREATE, NULL);

    assert_code(shk_segment_close(segment), 0);
    child_succeeds(child_start(open_without_descriptors, NULL));
    ck_assert_uint_eq(shm_files(segment_name("new") + 1), 0);
    assert_code(shk_segment_unlink(segment_name(NULL)), 0);
}
END_TEST

/* Room for this much more than there is now, which is no room for a segment. */
static void limit_address_space(size_t more)
{
    unsigned long long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");

    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fscanf(file, "%llu", &pages), 1);
    fclose(file);
    rlim_t bytes = pages * sysconf(_SC_PAGESIZE) + more;
    ck_assert_int_eq(setrlimit(RLIMIT_AS, &(struct rlimit){bytes, bytes}), 0);
}

static int open_without_address_space(void *argument)
{
    unsigned descriptors = open_descriptors();

    (void)argument;
    limit_address_space(256 << 20);
    assert_not_opened(segment_name(NULL), 0, -ENOMEM);
    assert_not_opened(segment_name("new"), SHK_CREATE, -ENOMEM);
    ck_assert_uint_eq(open_descriptors(), descriptors);
    return 0;
}

START_TEST(test_without_address_space_nothing_is_opened)
{
    struct shk_segment *segment = segment_open(segment_name(NULL), SHK_CREATE, NULL);

    assert_code(shk_segment_close(segment), 0);
    child_succeeds(child_start(open_without_address_space, NULL));
    ck_assert_uint_eq(shm_files(segment_name("new") + 1), 0);
    assert_code(shk_segment_unlink(segment_name(NULL)), 0);
}
END_TEST

/* ---- A full file system; each body runs where /dev/shm is its own ---- */

enum { NOT_PERMITTED = 77 };

/* False if it is not permitted. */
static bool runs_with_own_shm(int (*body)(void *), void *argument)
{
    int status = child_wait(child_start(body, argument));

    ck_assert_msg(status == 0 || status == NOT_PERMITTED, "status %d", status);
    return status == 0;
}

#define SKIP_OWN_SHM "not permitted to mount a file system of its own over /dev/shm"

#define OWN_SHM_OR_SKIP(size)     \
    do {                          \
        if (!replace_shm(size))   \
            return NOT_PERMITTED; \
    } while (0)

static uint64_t bytes_used(void)
{
    struct statvfs fs;

    ck_assert_int_eq(statvfs("/dev/shm", &fs), 0);
    return (fs.f_blocks - fs.f_bfree) * fs.f_frsize;
}

static int create_in_hardly_any_memory(void *argument)
{
    struct shk_segment *segment = NULL;
    struct shk_event *event;

    OWN_SHM_OR_SKIP(4096 * (size_t)(intptr_t)argument);
    for (unsigned flags = SHK_CREATE; flags <= (SHK_CREATE | SHK_EXCL); flags += SHK_EXCL) {
        int got = shk_segment_open("/full", flags, NULL, &segment);
        if (got < 0) { /* nothing of the attempt is left, visible or not */
            assert_code(got, -ENOSPC);
            ck_assert_ptr_null(segment);
            ck_assert_uint_eq(bytes_used(), 0);
            assert_not_opened("/full", 0, -ENOENT);
            continue;
        }
        got = shk_event_open(segment, "event", SHK_CREATE, NULL, &event);
        if (got == 0) {
            assert_code(shk_event_set(event), 0);
            assert_code(shk_event_close(event), 0);
        } else {
            assert_code(got, -ENOSPC);
        }
        assert_code(shk_segment_close(segment), 0);
        assert_code(shk_segment_unlink("/full"), 0);
        ck_assert_uint_eq(bytes_used(), 0);
    }
    return 0;
}

START_TEST(test_a_segment_that_the_file_system_cannot_hold_is_not_created)
{
    for (intptr_t pages = 1; pages < 40; pages++)
        if (!runs_with_own_shm(create_in_hardly_any_memory, (void *)pages))
            skip_test(SKIP_OWN_SHM);
}
END_TEST

static int fill_with_objects(void *argument)
{
    enum { SIZE = 100000, MOST = 100 };
    struct shk_region *regions[MOST], *more = NULL;
    struct shk_queue *queue;
    char name[16], item[64];
    int count = 0, got;

    (void)argument;
    OWN_SHM_OR_SKIP(4 << 20);
    struct shk_segment *segment = segment_open("/full", SHK_CREATE, NULL);
    assert_code(shk_queue_open(segment, "queue", SHK_CREATE,
                               &(struct shk_queue_options){.capacity = 100, .item_size = 64},
                               &queue),
                0);
    for (;; count++) {
        snprintf(name, sizeof(name), "%d", count);
        got = shk_region_open(segment, name, SHK_CREATE, &(struct shk_region_options){.size = SIZE},
                              &more);
        if (got < 0)
            break;
        ck_assert_int_lt(count, MOST);
        regions[count] = more;
        memset(data_of(more), count + 1, SIZE);
    }
    assert_code(got, -ENOSPC);
    ck_assert_int_gt(count, 10);

    /* What has been created works on, to the last byte, and what was in it is still there. */
    for (int i = 0; i < 100; i++)
        assert_code(shk_queue_put(queue, name, sizeof(name), SHK_NOWAIT), 0);
    for (int i = 0; i < 100; i++)
        assert_code(shk_queue_get(queue, item, sizeof(item), SHK_NOWAIT), sizeof(name));
    for (int i = 0; i < count; i++) {
        const unsigned char *data = data_of(regions[i]);
        for (int k = 0; k < SIZE; k++)
            if (data[k] != i + 1)
                ck_abort_msg("region %d, byte %d", i, k);
    }
    assert_code(shk_lock_open(segment, "0", SHK_CREATE, NULL, &(struct shk_lock *){NULL}),
                -EPROTOTYPE);

    /* What is given back can be taken again. */
    for (int round = 0; round < 5; round++) {
        assert_code(shk_object_unlink(segment, "0"), 0);
        assert_code(shk_region_close(regions[0]), 0);
        regions[0] = region_open(segment, "0", SIZE);
        ck_assert_int_eq(data_of(regions[0])[SIZE - 1], 0);
        memset(data_of(regions[0]), 1, SIZE);
        assert_code(shk_region_open(segment, "more", SHK_CREATE,
                                    &(struct shk_region_options){.size = SIZE}, &more),
                    -ENOSPC);
        assert_code(shk_region_open(segment, "more", 0, NULL, &more), -ENOENT);
    }
    for (int i = 0; i < count; i++)
        assert_code(shk_region_close(regions[i]), 0);
    assert_code(shk_queue_close(queue), 0);
    assert_code(shk_segment_unlink("/full"), 0);
    assert_code(shk_segment_close(segment), 0);
    ck_assert_uint_eq(bytes_used(), 0);
    return 0;
}

START_TEST(test_a_full_file_system_loses_nothing)
{
    if (!runs_with_own_shm(fill_with_objects, NULL))
        skip_test(SKIP_OWN_SHM);
}
END_TEST

struct joiner {
    struct shk_event *event;
    pthread_barrier_t *all_in;
    int code;
};

static void *join_and_stay(void *argument)
{
    struct joiner *joiner = argument;

    joiner->code = shk_event_wait(joiner->event, SHK_FOREVER);
    if (joiner->code < 0 && !shk_last_error()[0])
        joiner->code = -EDOM;
    pthread_barrier_wait(joiner->all_in);
    return NULL;
}

static int join_without_memory(void *argument)
{
    enum { THREADS = 60 };
    pthread_t threads[THREADS];
    struct joiner joiners[THREADS];
    struct shk_event *event;
    int joined = 0, refused = 0;

    (void)argument;
    OWN_SHM_OR_SKIP(4 << 20);
    struct shk_segment *segment = segment_open("/full", SHK_CREATE, NULL);
    assert_code(shk_event_open(segment, "event", SHK_CREATE, NULL, &event), 0);
    assert_code(shk_event_set(event), 0);
    int fd = open("/dev/shm/something-else", O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    static const char page[4096];
    while (write(fd, page, sizeof(page)) > 0)
        ;
    ck_assert_int_eq(errno, ENOSPC);

    pthread_barrier_t *all_in = shared_barrier(THREADS + 1);
    for (int i = 0; i < THREADS; i++) {
        joiners[i] = (struct joiner){event, all_in, -EDOM};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, join_and_stay, &joiners[i]), 0);
    }
    pthread_barrier_wait(all_in);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        ck_assert_msg(joiners[i].code == 0 || joiners[i].code == -ENOSPC, "%s",
                      code_name(joiners[i].code));
        *(joiners[i].code == 0 ? &joined : &refused) += 1;
    }
    ck_assert_int_gt(refused, 0); /* or the test has not tested it */

    /* Once there is room again, they can come. */
    ck_assert_int_eq(ftruncate(fd, 0), 0);
    close(fd);
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, join_and_stay, &joiners[i]), 0);
    pthread_barrier_wait(all_in);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_code(joiners[i].code, 0);
    }
    assert_code(shk_event_close(event), 0);
    assert_code(shk_segment_close(segment), 0);
    assert_code(shk_segment_unlink("/full"), 0);
    return 0;
}

START_TEST(test_a_join_without_memory_is_told)
{
    if (!runs_with_own_shm(join_without_memory, NULL))
        skip_test(SKIP_OWN_SHM);
}
END_TEST

static int unlink_and_look_at_memory(void *argument)
{
    (void)argument;
    OWN_SHM_OR_SKIP(16 << 20);
    struct shk_segment *segment = segment_open("/used", SHK_CREATE, NULL);
    struct shk_region *region = region_open(segment, "region", 4 << 20);
    memset(data_of(region), 1, 4 << 20);
    assert_code(shk_segment_unlink("/used"), 0);
    ck_assert_uint_ge(bytes_used(), 4 << 20);
    assert_code(shk_segment_close(segment), 0);
    assert_code(shk_region_data(region, NULL, NULL), -EBADF);
    ck_assert_uint_eq(bytes_used(), 0); /* not even an open handle keeps it */
    assert_code(shk_region_close(region), 0);
    return 0;
}

START_TEST(test_an_unlinked_segments_memory_goes_with_the_last_member)
{
    if (!runs_with_own_shm(unlink_and_look_at_memory, NULL))
        skip_test(SKIP_OWN_SHM);
}
END_TEST

/* ---- Other users, other namespaces ---- */

static int unprivileged_opens_roots(void *argument)
{
    struct shk_segment *segment;

    (void)argument;
    become_unprivileged();
    /* Its permission bits are the border; that it is root's is no objection. */
    assert_not_opened(segment_name("0600"), 0, -EACCES);
    assert_not_opened(segment_name("0600"), SHK_CREATE | SHK_ANY_OWNER, -EACCES);
    assert_not_opened(segment_name("0644"), 0, -EACCES);
    assert_not_created(segment_name("0600"));
    segment = segment_open(segment_name("0666"), 0, NULL);
    struct things all = things_open(segment);
    assert_code(shk_event_set(all.event), 0);
    things_close(&all);
    assert_code(shk_segment_close(segment), 0);
    for (const char *const *mode = (const char *const[]){"0600", "0644", "0666", NULL}; *mode;
         mode++) {
        int got = shk_segment_unlink(segment_name(*mode));
        ck_assert_msg(code_is(got, -EACCES) || code_is(got, -EPERM), "%s: %s", *mode,
                      code_name(got));
        ck_assert_uint_eq(shm_files(segment_name(*mode) + 1), 1);
    }
    return 0;
}

START_TEST(test_permission_bits_are_the_border)
{
    struct shk_segment *segments[3];
    static const char *const suffixes[] = {"0600", "0644", "0666"};

    if (geteuid() != 0)
        skip_test("not root: cannot become another user");
    for (int i = 0; i < 3; i++)
        segments[i] =
            segment_open(segment_name(suffixes[i]), SHK_CREATE,
                         &(struct shk_segment_options){.mode = strtoul(suffixes[i], NULL, 8)});
    child_succeeds(child_start(unprivileged_opens_roots, NULL));
    for (int i = 0; i < 3; i++) { /* and the attempt to remove it has not hurt it */
        struct things all = things_open(segments[i]);
        assert_code(shk_event_is_set(all.event), i == 2);
        things_close(&all);
        assert_code(shk_segment_close(segments[i]), 0);
        assert_code(shk_segment_unlink(segment_name(suffixes[i])), 0);
    }
}
END_TEST

static int unprivileged_creates(void *argument)
{
    struct shk_segment *segment;

    (void)argument;
    become_unprivileged();
    segment =
        segment_open(segment_name(NULL), SHK_CREATE, &(struct shk_segment_options){.mode = 0666});
    struct things all = things_open(segment);
    assert_code(shk_event_set(all.event), 0);
    return 0;
}

START_TEST(test_another_users_segment_is_refused_unless_any_owner_will_do)
{
    struct shk_segment *segment;

    if (geteuid() != 0)
        skip_test("not root: cannot become another user");
    child_succeeds(child_start(unprivileged_creates, NULL));
    assert_not_opened(segment_name(NULL), 0, -EPERM);
    assert_not_opened(segment_name(NULL), SHK_CREATE, -EPERM);
    assert_not_created(segment_name(NULL));
    segment = segment_open(segment_name(NULL), SHK_ANY_OWNER, NULL);
    struct things all = things_open(segment);
    assert_code(shk_event_is_set(all.event), 1);
    things_close(&all);
    assert_code(shk_segment_close(segment), 0);
    assert_code(
        shk_segment_close(segment_open(segment_name(NULL), SHK_CREATE | SHK_ANY_OWNER, NULL)), 0);
    assert_code(shk_segment_unlink(segment_name(NULL)), 0); /* root may remove it */
}
END_TEST

/* Where only root may write in /dev/shm, and not even read it. */
static int unprivileged_in_a_closed_directory(void *argument)
{
    struct shk_segment *segment = NULL;
    struct shk_segment_info *list = NULL;

    (void)argument;
    become_unprivileged();
    assert_not_opened("/new", SHK_CREATE, -EACCES);
    segment = segment_open("/there", SHK_CREATE, NULL); /* it is to be found all the same */
    struct things all = things_open(segment);
    assert_code(shk_segment_unlink("/there"), -EACCES);
    assert_code(shk_event_set(all.event), 0); /* unlinking did not begin */
    assert_code(shk_segment_list(0, &list), -EACCES);
    ck_assert_ptr_null(list);
    return 0;
}

static int close_the_directory(void *argument)
{
    (void)argument;
    OWN_SHM_OR_SKIP(4 << 20);
    ck_assert_int_eq(chmod("/dev/shm", 0711), 0);
    struct shk_segment *segment =
        segment_open("/there", SHK_CREATE, &(struct shk_segment_options){.mode = 0666});
    child_succeeds(child_start(unprivileged_in_a_closed_directory, NULL));
    struct things all = things_open(segment);
    assert_code(shk_event_is_set(all.event), 1);
    things_close(&all);
    assert_code(shk_segment_close(segment), 0);
    return 0;
}

START_TEST(test_a_directory_without_permission_is_told)
{
    if (geteuid() != 0)
        skip_test("not root: cannot become another user");
    if (!runs_with_own_shm(close_the_directory, NULL))
        skip_test(SKIP_OWN_SHM);
}
END_TEST

/* Another user cannot make us hang or fall over a file of its own under the name we want. */
static int unprivileged_puts_a_file_there(void *argument)
{
    (void)argument;
    become_unprivileged();
    int fd = open(shm_path(segment_name(NULL)), O_CREAT | O_RDWR | O_CLOEXEC, 0666);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(fchmod(fd, 0666), 0);
    ck_assert_int_eq(ftruncate(fd, 1 << 20), 0);
    return 0;
}

START_TEST(test_another_users_file_is_refused)
{
    if (geteuid() != 0)
        skip_test("not root: cannot become another user");
    child_succeeds(child_start(unprivileged_puts_a_file_there, NULL));
    assert_not_opened(segment_name(NULL), SHK_CREATE, -EPERM);
    assert_not_opened(segment_name(NULL), SHK_CREATE | SHK_ANY_OWNER, -EPROTO);
    ck_assert_int_eq(unlink(shm_path(segment_name(NULL))), 0);
}
END_TEST

static int open_in_new_pid_namespace(void *argument)
{
    struct shk_segment_info info;
    struct shk_segment *segment;

    (void)argument;
    /* nor with what came across the border */
    assert_code(shk_set_member_name(test_segment(), "of parent"), -EXDEV);
    assert_not_opened(segment_name(NULL), 0, -EXDEV);
    assert_not_opened(segment_name(NULL), SHK_CREATE, -EXDEV);
    assert_not_created(segment_name(NULL));
    assert_code(shk_segment_unlink_unused(segment_name(NULL), 0), -EBUSY);
    ck_assert_uint_eq(shm_files(segment_name(NULL) + 1), 1);
    ck_assert(look_at_segment(segment_name(NULL), &info)); /* looking is allowed */
    ck_assert_uint_eq(info.members_alive, 1);
    segment = segment_open(segment_name("inner"), SHK_CREATE, NULL);
    struct things all = things_open(segment);
    things_close(&all);
    assert_code(shk_segment_close(segment), 0);
    return 0;
}

static int leave_pid_namespace(void *argument)
{
    if (unshare(CLONE_NEWPID) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWPID) < 0)
        return 77;
    /* dies with us: see die_with_parent() */
    child_succeeds(child_start(open_in_new_pid_namespace, argument));
    return 0;
}

START_TEST(test_another_pid_namespace_is_kept_out)
{
    test_segment();
    int status = child_wait(child_start(leave_pid_namespace, NULL));
    if (status == 77)
        skip_test("not permitted to make a pid namespace");
    ck_assert_int_eq(status, 0);
    assert_code(shk_set_member_name(test_segment(), "unharmed"), 0);
    assert_not_opened(segment_name("inner"), 0, -EXDEV);
    assert_code(shk_segment_unlink_unused(segment_name("inner"), SHK_EMPTY), -ENOTEMPTY);
    assert_code(shk_segment_unlink_unused(segment_name("inner"), 0), 0); /* its namespace is gone */
    assert_code(shk_segment_unlink_unused(segment_name("inner"), 0), -ENOENT);
}
END_TEST

static int unlink_from_new_pid_namespace(void *argument)
{
    (void)argument;
    assert_code(shk_segment_unlink(segment_name(NULL)), 0);
    assert_code(shk_segment_unlink(segment_name(NULL)), -ENOENT);
    return 0;
}

static int unlink_in_another_namespace(void *argument)
{
    if (unshare(CLONE_NEWPID) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWPID) < 0)
        return 77;
    return child_wait(child_start(unlink_from_new_pid_namespace, argument));
}

START_TEST(test_a_segment_can_be_unlinked_from_another_pid_namespace)
{
    struct shk_segment *segment = segment_open(segment_name(NULL), SHK_CREATE, SMALL);
    struct shk_event *event;

    assert_code(shk_event_open(segment, "event", SHK_CREATE, NULL, &event), 0);
    int status = child_wait(child_start(unlink_in_another_namespace, NULL));
    if (status != 77) {
        ck_assert_int_eq(status, 0);
        assert_code(shk_event_wait(event, SHK_FOREVER), -ESTALE); /* its members are told */
        ck_assert_uint_eq(shm_files(segment_name(NULL) + 1), 0);
    } else {
        assert_code(shk_segment_unlink(segment_name(NULL)), 0);
    }
    assert_code(shk_event_close(event), 0);
    assert_code(shk_segment_close(segment), 0);
    if (status == 77)
        skip_test("not permitted to make a pid namespace");
}
END_TEST

static int create_and_stay(void *argument)
{
    struct shk_segment *segment = segment_open(segment_name(NULL), SHK_CREATE, SMALL);
    struct shk_event *event;

    assert_code(shk_event_open(segment, "event", SHK_CREATE, NULL, &event), 0);
    atomic_store((atomic_int *)argument, 1);
    wait_until(atomic_load((atomic_int *)argument) == 2, TEST_DEADLINE);
    raise(SIGKILL);
    return 0;
}

static int create_in_another_namespace(void *argument)
{
    if (unshare(CLONE_NEWPID) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWPID) < 0) {
        atomic_store((atomic_int *)argument, -1);
        return 0;
    }
    child_wait(child_start(create_and_stay, argument));
    return 0;
}

/* A container's, which was killed: the program in the next container starts all the same. */
START_TEST(test_a_segment_of_a_dead_pid_namespace_gives_way_to_a_new_one)
{
    atomic_int *step = shared_memory(sizeof(*step));

    for (unsigned flags = SHK_CREATE; flags <= (SHK_CREATE | SHK_EXCL); flags += SHK_EXCL) {
        struct shk_segment *segment;
        struct shk_event *event;

        atomic_store(step, 0);
        pid_t child = child_start(create_in_another_namespace, step);
        wait_until(atomic_load(step) != 0, TEST_DEADLINE);
        if (atomic_load(step) != 1) {
            child_succeeds(child);
            skip_test("not permitted to make a pid namespace");
        }
        /* its member lives */
        assert_not_opened(segment_name(NULL), flags, flags & SHK_EXCL ? -EEXIST : -EXDEV);
        assert_code(shk_segment_unlink_unused(segment_name(NULL), 0), -EBUSY);
        atomic_store(step, 2);
        child_succeeds(child);
        assert_not_opened(segment_name(NULL), 0, -EXDEV);
        segment = segment_open(segment_name(NULL), flags, SMALL);
        assert_code(shk_event_open(segment, "event", 0, NULL, &event), -ENOENT); /* a new one */
        assert_code(shk_segment_close(segment), 0);
        assert_code(shk_segment_unlink(segment_name(NULL)), 0);
    }
}
END_TEST

START_TEST(test_any_file_can_be_removed)
{
    const char *name = segment_name(NULL);
    uint32_t layout = SHKI_LAYOUT + 1, zero = 0;

    save_image(name);
    for (int kind = 0; kind < 6; kind++) {
        write_image(name, kind == 1 ? sizeof(small_image) / 2 : sizeof(small_image));
        if (kind == 2)
            write_shm(name, offsetof(struct shki_header, layout), &layout, sizeof(layout));
        else if (kind == 3)
            write_shm(name, 0, &zero, sizeof(zero));
        else if (kind == 4)
            ck_assert_int_eq(chmod(shm_path(name), 0), 0);
        else if (kind == 5) {
            ck_assert_int_eq(unlink(shm_path(name)), 0);
            ck_assert_int_eq(symlink("/nowhere", shm_path(name)), 0);
        }
        if (kind >= 1 && kind <= 3)
            assert_code(shk_segment_unlink(name), -EPROTO);
        assert_code(shk_segment_unlink_any(name), 0);
        ck_assert_uint_eq(shm_files(name + 1), 0);
        assert_code(shk_segment_unlink_any(name), -ENOENT);
    }
    assert_code(shk_segment_unlink_any("a/b"), -EINVAL);
}
END_TEST

/* ---- Opening at the same moment ---- */

enum { CROWD = 50, CROWD_ROUNDS = 10 };

struct crowd {
    pthread_barrier_t *together;
    atomic_int created, objects_created[5], failed;
};

static int come_with_the_crowd(void *argument)
{
    struct crowd *crowd = argument;

    for (int round = 0; round < CROWD_ROUNDS; round++) {
        struct shk_segment *segment = NULL;
        pthread_barrier_wait(crowd->together);
        int got = shk_segment_open(segment_name(NULL), SHK_CREATE | SHK_EXCL, NULL, &segment);
        if (got == 0)
            atomic_fetch_add(&crowd->created, 1);
        else
            assert_code(got, -EEXIST);
        if (got < 0)
            segment = segment_open(segment_name(NULL), round & 1 ? SHK_CREATE : 0, NULL);

        struct things all;
        got = shk_lock_open(segment, "lock", SHK_CREATE | SHK_EXCL, NULL, &all.lock);
        ck_assert_msg(got == 0 || code_is(got, -EEXIST), "%s: %s", code_name(got),
                      shk_last_error());
        if (got == 0) {
            atomic_fetch_add(&crowd->objects_created[0], 1);
            assert_code(shk_lock_close(all.lock), 0);
        }
        all = things_open(segment);
        assert_code(shk_lock_acquire(all.lock, SHK_FOREVER), 0);
        int *number = (int *)data_of(all.region);
        int before = *number;
        sched_yield();
        *number = before + 1;
        assert_code(shk_lock_release(all.lock), 0);
        pthread_barrier_wait(crowd->together);
        /* all are in one segment, and in one region and under one lock of it */
        if (*number != CROWD)
            atomic_fetch_add(&crowd->failed, 1);
        pthread_barrier_wait(crowd->together);
        things_close(&all);
        assert_code(shk_segment_close(segment), 0);
        pthread_barrier_wait(crowd->together);
        got = shk_segment_unlink(segment_name(NULL)); /* all at once: one of them does it */
        if (got == 0)
            atomic_fetch_add(&crowd->created, 1000);
        else
            assert_code(got, -ENOENT);
    }
    return 0;
}

START_TEST(test_a_crowd_that_opens_at_once_meets_in_one_segment)
{
    struct crowd *crowd = shared_memory(sizeof(*crowd));
    pid_t children[CROWD];

    crowd->together = shared_barrier(CROWD);
    for (int i = 0; i < CROWD; i++)
        children[i] = child_start(come_with_the_crowd, crowd);
    for (int i = 0; i < CROWD; i++)
        child_succeeds(children[i]);
    /* one creator, one remover in each round */
    ck_assert_int_eq(crowd->created, 1001 * CROWD_ROUNDS);
    ck_assert_int_eq(crowd->objects_created[0], CROWD_ROUNDS);
    ck_assert_int_eq(crowd->failed, 0);
}
END_TEST

/* The threads of one process, each with its own open and close, while the process forks. */
static void *open_and_close(void *argument)
{
    for (int round = 0; round < 200; round++) {
        struct shk_segment *segment = segment_open(segment_name(NULL), SHK_CREATE, SMALL);
        struct things all = things_open(segment);
        assert_code(shk_event_set(all.event), 0);
        assert_code(shk_lock_acquire(all.lock, SHK_FOREVER), 0);
        ++*(int *)data_of(all.region);
        assert_code(shk_lock_release(all.lock), 0);
        things_close(&all);
        assert_code(shk_segment_close(segment), 0);
    }
    atomic_fetch_add((atomic_int *)argument, 1);
    return NULL;
}

/* Without a ck_assert: another thread may have been in one at the time of the fork. */
static int come_and_go(void *argument)
{
    struct shk_segment *segment = NULL;
    struct shk_event *event = NULL;

    (void)argument;
    return shk_segment_open(segment_name(NULL), SHK_CREATE, SMALL, &segment) < 0 ||
           shk_event_open(segment, "event", SHK_CREATE, NULL, &event) < 0 ||
           shk_event_set(event) < 0 || shk_event_close(event) < 0 || shk_segment_close(segment) < 0;
}

START_TEST(test_threads_open_and_close_at_once_while_the_process_forks)
{
    enum { THREADS = 5 };
    pthread_t threads[THREADS];
    atomic_int done = 0;
    struct shk_segment *segment;

#ifdef __SANITIZE_ADDRESS__
    skip_test("the sanitizer's malloc does not survive a fork beside other threads");
#endif
    segment = segment_open(segment_name(NULL), SHK_CREATE, SMALL);
    assert_code(shk_segment_close(segment), 0);
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, open_and_close, &done), 0);
    while (atomic_load(&done) < THREADS)
        child_succeeds(child_start(come_and_go, NULL));
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    ck_assert_uint_eq(mappings(), 0);
    segment = segment_open(segment_name(NULL), 0, NULL);
    struct things all = things_open(segment);
    ck_assert_int_eq(*(int *)data_of(all.region), THREADS * 200);
    things_close(&all);
    assert_code(shk_segment_close(segment), 0);
    assert_code(shk_segment_unlink(segment_name(NULL)), 0);
}
END_TEST

enum { STORM = 8, STORM_ROUNDS = 400 };

/*
 * One of a storm of processes that open, create, use and remove the same segment, each as it
 * pleases.
 */
static int blow_segment(void *argument)
{
    unsigned short seed[3] = {1, 2, (unsigned short)(intptr_t)argument};
    char item[8];

    for (int round = 0; round < STORM_ROUNDS; round++) {
        struct shk_segment *segment = NULL;
        struct shk_queue *queue;
        struct shk_queue_options options = {.capacity = 2, .item_size = 8};
        switch (nrand48(seed) % 4) {
        case 0:
            assert_one_of("unlink", shk_segment_unlink(segment_name(NULL)), 0, -ENOENT);
            continue;
        case 1:
            assert_one_of("open", shk_segment_open(segment_name(NULL), 0, NULL, &segment), 0,
                          -ENOENT);
            break;
        case 2:
            assert_one_of(
                "create",
                shk_segment_open(segment_name(NULL), SHK_CREATE | SHK_EXCL, SMALL, &segment), 0,
                -EEXIST);
            break;
        default: /* whatever others do, a member that wants a segment gets one */
            segment = segment_open(segment_name(NULL), SHK_CREATE, SMALL);
        }
        if (!segment)
            continue;
        int got = shk_queue_open(segment, "queue", SHK_CREATE, &options, &queue);
        assert_one_of("queue", got, 0, -ESTALE);
        if (got == 0) {
            got = shk_queue_put(queue, "a", 1, SHK_NOWAIT);
            if (got != -EAGAIN)
                assert_one_of("put", got, 0, -ESTALE);
            got = shk_queue_get(queue, item, sizeof(item), SHK_NOWAIT);
            if (got != -EAGAIN)
                assert_one_of("get", got, 1, -ESTALE);
            assert_code(shk_queue_close(queue), 0);
        }
        assert_code(shk_segment_close(segment), 0);
    }
    return 0;
}

static void run_storm(int (*body)(void *))
{
    pid_t children[STORM];

    for (int i = 0; i < STORM; i++)
        children[i] = child_start(body, (void *)(intptr_t)i);
    for (int i = 0; i < STORM; i++)
        child_succeeds(children[i]);
}

START_TEST(test_a_storm_of_opening_and_unlinking_a_segment)
{
    run_storm(blow_segment);
    int got = shk_segment_unlink(segment_name(NULL));
    ck_assert(got == 0 || got == -ENOENT);
    ck_assert_uint_eq(shm_files(segment_name(NULL) + 1), 0);
}
END_TEST

/* … the same object, which is now of this kind, now of that. */
static int blow_object(void *argument)
{
    unsigned short seed[3] = {3, 2, (unsigned short)(intptr_t)argument};
    struct shk_segment *segment = segment_open(segment_name(NULL), 0, NULL);

    for (int round = 0; round < STORM_ROUNDS; round++) {
        struct shk_event *event;
        struct shk_region *region;
        int got;
        switch (nrand48(seed) % 3) {
        case 0:
            assert_one_of("unlink", shk_object_unlink(segment, "object"), 0, -ENOENT);
            break;
        case 1:
            got = shk_event_open(segment, "object", SHK_CREATE, NULL, &event);
            assert_one_of("event", got, 0, -EPROTOTYPE);
            if (got == 0) {
                assert_one_of("set", shk_event_set(event), 0, -ESTALE);
                assert_code(shk_event_close(event), 0);
            }
            break;
        default:
            got = shk_region_open(segment, "object", SHK_CREATE,
                                  &(struct shk_region_options){.size = 200000}, &region);
            assert_one_of("region", got, 0, -EPROTOTYPE);
            if (got == 0) {
                void *data;
                got = shk_region_data(region, &data, NULL);
                assert_one_of("data", got, 0, -ESTALE);
                if (got == 0) /* ours as long as the handle is open */
                    memset(data, 0xff, 200000);
                assert_code(shk_region_close(region), 0);
            }
        }
    }
    assert_code(shk_segment_close(segment), 0);
    return 0;
}

START_TEST(test_a_storm_of_opening_and_unlinking_an_object)
{
    /* Room for as many regions as there are processes that may have one open, and few more. */
    struct shk_segment_options options = {.size = 4 << 20, .max_members = 16, .max_objects = 16};
    struct things all = things_open(test_segment_with(&options));

    assert_code(shk_event_set(all.event), 0);
    memset(data_of(all.region), 0x55, 64);
    uint64_t before = resident(segment_name(NULL));
    run_storm(blow_object);
    int got = shk_object_unlink(test_segment(), "object");
    ck_assert(got == 0 || got == -ENOENT);
    ck_assert_uint_lt(resident(segment_name(NULL)), before + 200000); /* none of them is left */
    assert_code(shk_event_is_set(all.event), 1);
    for (int i = 0; i < 64; i++)
        ck_assert_int_eq(data_of(all.region)[i], 0x55);
    things_close(&all);
}
END_TEST

/* ---- Unlinking while others use it ---- */

struct sleeper {
    const char *object;
    int (*sleep)(void *);
};

static struct things of_parent; /* of test_segment() */

static int sleep_on_lock(void *argument)
{
    (void)argument;
    assert_code(shk_lock_acquire(of_parent.lock, SHK_FOREVER), -ESTALE);
    assert_code(shk_lock_release(of_parent.lock), -EPERM);
    return 0;
}

static int sleep_on_cond(void *argument)
{
    (void)argument;
    assert_code(shk_cond_acquire(of_parent.cond, SHK_FOREVER), 0);
    assert_code(shk_cond_wait(of_parent.cond, SHK_FOREVER), -ESTALE);
    assert_code(shk_cond_release(of_parent.cond), 0); /* it had the lock back */
    assert_code(shk_cond_release(of_parent.cond), -EPERM);
    return 0;
}

static int sleep_on_event(void *argument)
{
    (void)argument;
    assert_code(shk_event_wait(of_parent.event, SHK_FOREVER), -ESTALE);
    return 0;
}

static int sleep_getting(void *argument)
{
    char item[8];

    (void)argument;
    assert_code(shk_queue_get(of_parent.queue, item, sizeof(item), SHK_FOREVER), -ESTALE);
    return 0;
}

static int sleep_putting(void *argument)
{
    struct shk_queue *full;

    (void)argument;
    assert_code(shk_queue_open(test_segment(), "full", 0, NULL, &full), 0);
    assert_code(shk_queue_put(full, "b", 1, SHK_FOREVER), -ESTALE);
    return 0;
}

static const struct sleeper sleepers[] = {
    {"lock", sleep_on_lock},   {"cond", sleep_on_cond},   {"cond", sleep_on_cond},
    {"event", sleep_on_event}, {"event", sleep_on_event}, {"queue", sleep_getting},
    {"queue", sleep_getting},  {"full", sleep_putting},
};

enum { SLEEPERS = sizeof(sleepers) / sizeof(sleepers[0]) };

static struct shk_queue *start_sleepers(pid_t children[SLEEPERS])
{
    struct shk_queue *full;

    of_parent = things_open(test_segment());
    assert_code(shk_queue_open(test_segment(), "full", SHK_CREATE,
                               &(struct shk_queue_options){.capacity = 1}, &full),
                0);
    assert_code(shk_queue_put(full, "a", 1, SHK_NOWAIT), 0);
    assert_code(shk_lock_acquire(of_parent.lock, SHK_NOWAIT), 0);
    for (int i = 0; i < SLEEPERS; i++) {
        children[i] = child_start(sleepers[i].sleep, NULL);
        wait_until_waiting(segment_name(NULL), children[i], sleepers[i].object);
    }
    return full;
}

START_TEST(test_unlinking_a_segment_wakes_everybody)
{
    pid_t children[SLEEPERS];
    struct shk_queue *full = start_sleepers(children);

    assert_code(shk_segment_unlink(segment_name(NULL)), 0);
    struct shk_segment *successor = segment_open(segment_name(NULL), SHK_CREATE | SHK_EXCL, NULL);
    ck_assert_ptr_ne(successor, test_segment());
    for (int i = 0; i < SLEEPERS; i++)
        child_succeeds(children[i]);

    assert_code(shk_lock_release(of_parent.lock), 0); /* what is held can be given back */
    assert_every_call_gives(&of_parent, -ESTALE);
    assert_code(shk_object_unlink(test_segment(), "event"), -ESTALE);
    assert_code(shk_set_member_name(test_segment(), "a"), -ESTALE);
    assert_code(
        shk_event_open(test_segment(), "event", SHK_CREATE, NULL, &(struct shk_event *){NULL}),
        -ESTALE);
    struct things all = things_open(successor);
    assert_code(shk_event_set(all.event), 0);
    assert_code(shk_event_wait(all.event, SHK_FOREVER), 0);
    assert_code(shk_event_is_set(of_parent.event), -ESTALE);
    things_close(&all);
    things_close(&of_parent);
    assert_code(shk_queue_close(full), 0);
    assert_code(shk_segment_close(successor), 0);
}
END_TEST

START_TEST(test_unlinking_an_object_wakes_its_sleepers)
{
    static const char *const names[] = {"lock", "cond", "event", "queue", "full", "region"};
    pid_t children[SLEEPERS];
    struct shk_queue *full = start_sleepers(children);

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        assert_code(shk_object_unlink(test_segment(), names[i]), 0);
        assert_code(shk_object_unlink(test_segment(), names[i]), -ENOENT);
        for (int k = 0; k < SLEEPERS; k++) { /* these and no others */
            if (!strcmp(sleepers[k].object, names[i]))
                child_succeeds(children[k]);
            for (size_t later = i + 1; later < sizeof(names) / sizeof(names[0]); later++)
                if (!strcmp(sleepers[k].object, names[later]))
                    ck_assert_int_eq(waitpid(children[k], NULL, WNOHANG), 0);
        }
    }
    assert_code(shk_lock_release(of_parent.lock), 0);
    assert_every_call_gives(&of_parent, -ESTALE);

    /* the names are free, and what they name now is new */
    struct things all = things_open(test_segment());
    assert_code(shk_lock_acquire(all.lock, SHK_NOWAIT), 0);
    assert_code(shk_lock_release(all.lock), 0);
    assert_code(shk_queue_size(all.queue), 0);
    assert_every_call_gives(&of_parent, -ESTALE);
    things_close(&of_parent);
    assert_code(shk_lock_acquire(all.lock, SHK_NOWAIT), 0);
    assert_code(shk_lock_release(all.lock), 0);
    things_close(&all);
    assert_code(shk_queue_close(full), 0);
}
END_TEST

/* ---- An object's memory ---- */

enum { BIG = 1 << 20 };

static int keep_open(void *argument)
{
    atomic_int *state = argument;
    struct shk_region *region;

    assert_code(shk_region_open(test_segment(), "big", 0, NULL, &region), 0);
    unsigned char *data = data_of(region);
    atomic_store(state, 1);
    wait_until(atomic_load(state) == 2, TEST_DEADLINE);
    for (int i = 0; i < BIG; i++)
        if (data[i] != 0x55)
            ck_abort_msg("byte %d has changed", i);
    assert_code(shk_region_close(region), 0);
    return 0;
}

START_TEST(test_an_unlinked_objects_memory_goes_with_the_last_opener)
{
    atomic_int *state = shared_memory(sizeof(*state));
    struct shk_region *other;

    test_segment();
    other = region_open(test_segment(), "other", 64);
    uint64_t before = resident(segment_name(NULL));
    struct shk_region *region = region_open(test_segment(), "big", BIG);
    memset(data_of(region), 0x55, BIG);
    ck_assert_uint_ge(resident(segment_name(NULL)), before + BIG);

    pid_t child = stranger_start(keep_open, state);
    wait_until(atomic_load(state) == 1, TEST_DEADLINE);
    assert_code(shk_object_unlink(test_segment(), "big"), 0);
    assert_code(shk_region_close(region), 0);
    ck_assert_uint_ge(resident(segment_name(NULL)), before + BIG); /* the child has it open */
    for (int i = 0; i < 10; i++) { /* and nothing new is put there */
        region = region_open(test_segment(), "big", BIG);
        memset(data_of(region), 0xff, BIG);
        assert_code(shk_object_unlink(test_segment(), "big"), 0);
        assert_code(shk_region_close(region), 0);
    }
    atomic_store(state, 2);
    child_succeeds(child);
    ck_assert_uint_lt(resident(segment_name(NULL)), before + BIG / 2);
    assert_code(shk_region_close(other), 0);
}
END_TEST

START_TEST(test_an_unlinked_objects_memory_goes_when_its_opener_is_killed)
{
    atomic_int *state = shared_memory(sizeof(*state));
    struct shk_region *region;

    test_segment();
    uint64_t before = resident(segment_name(NULL));
    region = region_open(test_segment(), "big", BIG);
    memset(data_of(region), 0x55, BIG);
    pid_t child = stranger_start(keep_open, state);
    wait_until(atomic_load(state) == 1, TEST_DEADLINE);
    assert_code(shk_object_unlink(test_segment(), "big"), 0);
    assert_code(shk_region_close(region), 0);
    ck_assert_uint_ge(resident(segment_name(NULL)), before + BIG);
    child_kill(child);
    /* the dead are noticed by the next member that changes something */
    region = region_open(test_segment(), "small", 64);
    ck_assert_uint_lt(resident(segment_name(NULL)), before + BIG / 2);
    assert_code(shk_region_close(region), 0);
}
END_TEST

/*
 * Small objects share pages: their memory goes with the last in a page, and until then the others
 * keep what is theirs.
 */
START_TEST(test_small_objects_come_and_go_beside_each_other)
{
    enum { REGIONS = 200, EACH = 100 };
    struct shk_region *regions[REGIONS];
    char name[20];

    test_segment();
    struct shk_region *other = region_open(test_segment(), "other", 2 * SHKI_PAGE);
    uint64_t before = resident(segment_name(NULL));
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < REGIONS; i++) {
            snprintf(name, sizeof(name), "r%d", i);
            regions[i] = region_open(test_segment(), name, EACH);
            for (int k = 0; k < EACH; k++)
                ck_assert_msg(((unsigned char *)data_of(regions[i]))[k] == 0,
                              "a new object is not zero");
            memset(data_of(regions[i]), i + 1, EACH);
        }
        ck_assert_uint_lt(resident(segment_name(NULL)), before + REGIONS * SHKI_PAGE / 4);
        /* in another order: 77 and 200 have no common divisor */
        for (int n = 0; n < REGIONS; n++) {
            int i = 77 * n % REGIONS;
            for (int k = 0; k < EACH; k++)
                ck_assert_msg(((unsigned char *)data_of(regions[i]))[k] == (unsigned char)(i + 1),
                              "byte %d of object %d has changed", k, i);
            snprintf(name, sizeof(name), "r%d", i);
            assert_code(shk_object_unlink(test_segment(), name), 0);
            assert_code(shk_region_close(regions[i]), 0);
        }
        ck_assert_uint_eq(resident(segment_name(NULL)), before);
    }
    assert_code(shk_region_close(other), 0);
}
END_TEST

static int create_and_die(void *argument)
{
    (void)argument;
    memset(data_of(region_open(test_segment(), "big", BIG)), 0x55, BIG);
    raise(SIGKILL);
    return 1;
}

START_TEST(test_create_and_unlink_for_ever_in_a_small_segment)
{
    /* A process holds other objects all the time; the big one fits twice. */
    struct shk_segment_options options = {.size = 3 * BIG, .max_members = 16, .max_objects = 16};
    struct shk_segment *segment = test_segment_with(&options);

    struct things all = things_open(segment);
    for (int round = 0; round < 300; round++) {
        char name[16];
        /* a new name each time: the directory does not silt up either */
        snprintf(name, sizeof(name), "%d", round);
        struct shk_region *region = region_open(segment, name, BIG);
        ck_assert_int_eq(data_of(region)[round * 3], 0);
        memset(data_of(region), 0xff, BIG);
        if (round & 1)
            assert_code(shk_region_close(region), 0);
        assert_code(shk_object_unlink(segment, name), 0);
        if (!(round & 1))
            assert_code(shk_region_close(region), 0);
    }
    /* the same by processes that are killed with it open */
    for (int round = 0; round < 20; round++) {
        ck_assert_int_eq(child_wait(stranger_start(create_and_die, NULL)), 128 + SIGKILL);
        assert_code(shk_object_unlink(test_segment(), "big"), 0);
    }
    things_close(&all);
}
END_TEST

START_TEST(test_a_full_directory_is_told)
{
    struct shk_segment *segment = test_segment_with(SMALL);
    struct shk_event *events[16], *more;
    char name[16];

    for (int round = 0; round < 3; round++) {
        for (unsigned i = 0; i < SMALL->max_objects; i++) {
            snprintf(name, sizeof(name), "%d-%u", round, i);
            assert_code(shk_event_open(segment, name, SHK_CREATE, NULL, &events[i]), 0);
        }
        assert_code(shk_event_open(segment, "more", SHK_CREATE, NULL, &more), -ENOSPC);
        assert_code(shk_event_open(segment, "more", 0, NULL, &more), -ENOENT);
        for (unsigned i = 0; i < SMALL->max_objects; i++) {
            snprintf(name, sizeof(name), "%d-%u", round, i);
            assert_code(shk_object_unlink(segment, name), 0);
            assert_code(shk_event_close(events[i]), 0);
        }
    }
}
END_TEST

/* ---- The segment's own lock ---- */

/* Stands for a process that was stopped in the middle of a change. */
static int hold_segment_lock(void *argument)
{
    int fd = open(shm_path(segment_name(NULL)), O_RDWR | O_CLOEXEC);
    struct shki_header *header =
        mmap(NULL, sizeof(*header), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    ck_assert_ptr_ne(header, MAP_FAILED);
    ck_assert_int_eq(pthread_mutex_lock(&header->lock.robust), 0);
    atomic_store((atomic_int *)argument, 1);
    for (;;)
        pause();
}

START_TEST(test_a_stopped_process_keeps_no_other_for_ever)
{
    atomic_int *held = shared_memory(sizeof(*held));
    struct shk_event *event;

    assert_code(shk_event_open(test_segment(), "event", SHK_CREATE, NULL, &event), 0);
    pid_t child = child_start(hold_segment_lock, held);
    wait_until(atomic_load(held), TEST_DEADLINE);
    assert_code(shk_event_set(event), 0); /* members that change nothing do not notice */
    assert_code(shk_event_wait(event, SHK_FOREVER), 0);
    assert_code_after(SHK_SEC(10), shk_object_unlink(test_segment(), "event"), -EBUSY);
    child_kill(child);
    assert_code(shk_object_unlink(test_segment(), "event"), 0);
    assert_code(shk_event_close(event), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("segment");
    TCase *opening = test_case(suite, "opening and closing");
    tcase_add_test(opening, test_a_segment_is_created_when_asked_and_found_afterwards);
    tcase_add_test(opening, test_opening_twice_gives_the_same_handle);
    tcase_add_test(opening, test_opening_and_closing_leaves_nothing_behind);
    tcase_add_test(opening, test_the_mode_is_exact_whatever_the_umask);
    tcase_add_test(opening, test_a_segment_is_as_the_options_say);
    tcase_add_loop_test(opening, test_a_segment_is_no_larger_than_the_limits_allow, 0, 2);
    tcase_add_test(opening, test_a_handle_of_a_closed_segment_gives_ebadf);
    tcase_add_test(opening, test_the_holder_of_a_lock_cannot_close);
    tcase_add_test(opening, test_the_holder_of_a_lock_can_close_one_of_two_openings);

    TCase *refused = test_case(suite, "no good segments");
    tcase_add_test(refused, test_a_copy_of_the_bytes_is_a_segment);
    tcase_add_test(refused, test_an_empty_or_foreign_file_is_no_segment);
    tcase_add_test(refused, test_what_is_no_file_is_no_segment);
    tcase_add_test(refused, test_a_truncated_segment_is_refused);
    tcase_add_test(refused, test_another_layout_or_machine_is_refused);
    tcase_add_test(refused, test_a_header_with_wrong_offsets_is_refused);
    tcase_add_test(refused, test_random_bytes_are_no_segment);
    tcase_add_test(refused, test_an_object_with_wrong_offsets_is_refused);
    tcase_add_test(refused, test_a_dead_unlinkers_work_is_finished_by_its_finder);

    TCase *limits = test_case(suite, "limits");
    tcase_add_test(limits, test_a_segment_beyond_the_limit_on_file_sizes_is_not_created);
    tcase_add_test(limits, test_the_limit_on_file_sizes_is_not_for_what_is_in_a_segment);
    tcase_add_test(limits, test_without_descriptors_nothing_is_opened);
    tcase_add_test(limits, test_without_address_space_nothing_is_opened);
    tcase_add_test(limits, test_a_segment_that_the_file_system_cannot_hold_is_not_created);
    tcase_add_test(limits, test_a_full_file_system_loses_nothing);
    tcase_add_test(limits, test_a_join_without_memory_is_told);
    tcase_add_test(limits, test_an_unlinked_segments_memory_goes_with_the_last_member);
    tcase_add_test(limits, test_a_full_directory_is_told);
    tcase_add_test(limits, test_a_stopped_process_keeps_no_other_for_ever);

    TCase *others = test_case(suite, "other users and namespaces");
    tcase_add_test(others, test_permission_bits_are_the_border);
    tcase_add_test(others, test_another_users_segment_is_refused_unless_any_owner_will_do);
    tcase_add_test(others, test_a_directory_without_permission_is_told);
    tcase_add_test(others, test_another_users_file_is_refused);
    tcase_add_test(others, test_another_pid_namespace_is_kept_out);
    tcase_add_test(others, test_a_segment_can_be_unlinked_from_another_pid_namespace);
    tcase_add_test(others, test_a_segment_of_a_dead_pid_namespace_gives_way_to_a_new_one);
    tcase_add_test(others, test_any_file_can_be_removed);

    TCase *crowds = test_case(suite, "at the same moment");
    tcase_add_test(crowds, test_a_crowd_that_opens_at_once_meets_in_one_segment);
    tcase_add_test(crowds, test_threads_open_and_close_at_once_while_the_process_forks);
    tcase_add_test(crowds, test_a_storm_of_opening_and_unlinking_a_segment);
    tcase_add_test(crowds, test_a_storm_of_opening_and_unlinking_an_object);

    TCase *unlinking = test_case(suite, "unlinking");
    tcase_add_test(unlinking, test_unlinking_a_segment_wakes_everybody);
    tcase_add_test(unlinking, test_unlinking_an_object_wakes_its_sleepers);
    tcase_add_test(unlinking, test_an_unlinked_objects_memory_goes_with_the_last_opener);
    tcase_add_test(unlinking, test_an_unlinked_objects_memory_goes_when_its_opener_is_killed);
    tcase_add_test(unlinking, test_small_objects_come_and_go_beside_each_other);
    tcase_add_test(unlinking, test_create_and_unlink_for_ever_in_a_small_segment);
    return run_tests(suite);
}
