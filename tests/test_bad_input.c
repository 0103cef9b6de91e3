/*
 * Calls that are wrong in themselves: names, NULL, flags, reserved fields, timeouts; objects of
 * another type or geometry.
 */
#include "common.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#define NAME_OF(length) ((const char[]){[0 ...(length) - 1] = 'n', [length] = 0})

static const char *const not_utf8[] = {
    "\xff",             /* never a byte of UTF-8 */
    "\x80",             /* goes on without a start */
    "\xe5\xad",         /* cut off */
    "\xe5\xad-",        /* cut off by another */
    "\xc0\xaf",         /* a slash, longer than need be */
    "\xe0\x80\xaf",     /* a slash, longer still */
    "\xed\xa0\x80",     /* half of a pair of UTF-16 */
    "\xf4\x90\x80\x80", /* beyond the last character */
    "\xf8\x88\x80\x80\x80",
};

static const char *const never_legal[] = {
    NULL, "",        "/",        "a/b",        "//a",  "/a/",   ".",
    "..", ".hidden", "/.hidden", "line\nfeed", "\x01", "tab\t", "delete\x7f",
};

/* UTF-8 of every length, and what is ordinary in names. */
static const char *const legal[] = {
    "a",
    "till 2",
    "a.b",
    "-",
    "#",
    "银行",
    "存款者甲",
    "\xc2\xa0",
    "\xf0\x9f\x8f\xa6",
    "\xf4\x8f\xbf\xbd",
};

/* ---- Segments ---- */

static void assert_segment_name(const char *name, int code)
{
    struct shk_segment *segment = NULL;
    struct shk_snapshot *look = NULL;

    assert_code(shk_segment_open(name, 0, NULL, &segment), code);
    assert_code(shk_segment_unlink(name), code);
    assert_code(shk_segment_unlink_unused(name, 0), code);
    assert_code(shk_snapshot_open(name, &look), code);
    if (code == -ENOENT)
        return;
    assert_code(shk_segment_open(name, SHK_CREATE, NULL, &segment), code);
    ck_assert_ptr_null(segment);
    ck_assert_ptr_null(look);
}

START_TEST(test_a_segment_has_a_legal_name)
{
    for (size_t i = 0; i < sizeof(never_legal) / sizeof(never_legal[0]); i++)
        assert_segment_name(never_legal[i], -EINVAL);
    for (size_t i = 0; i < sizeof(not_utf8) / sizeof(not_utf8[0]); i++)
        assert_segment_name(not_utf8[i], -EILSEQ);
    assert_segment_name(NAME_OF(SHK_SEGMENT_NAME_MAX + 1), -ENAMETOOLONG);
    assert_segment_name(NAME_OF(5000), -ENAMETOOLONG);
    assert_segment_name(NAME_OF(SHK_SEGMENT_NAME_MAX), -ENOENT);
    assert_segment_name(segment_name("银行 \xf0\x9f\x8f\xa6"), -ENOENT);
}
END_TEST

START_TEST(test_a_slash_in_front_of_a_segments_name_changes_nothing)
{
    char name[1 + SHK_SEGMENT_NAME_MAX + 1] = "";
    struct shk_segment *segment, *same;

    strcpy(name, segment_name("银行"));
    memset(name + strlen(name), 'x', sizeof(name) - 1 - strlen(name));
    assert_code(shk_segment_open(name + 1, SHK_CREATE, NULL, &segment), 0);
    assert_code(shk_segment_open(name, 0, NULL, &same), 0);
    ck_assert_ptr_eq(segment, same);
    assert_code(shk_segment_close(same), 0);
    assert_code(shk_segment_close(segment), 0);
    assert_code(shk_segment_unlink(name), 0);
    assert_code(shk_segment_unlink(name + 1), -ENOENT);
}
END_TEST

static void assert_segment_refused(unsigned flags, const struct shk_segment_options *options)
{
    struct shk_segment *segment = NULL;

    assert_code(shk_segment_open(segment_name(NULL), flags, options, &segment), -EINVAL);
    ck_assert_ptr_null(segment);
    ck_assert_uint_eq(shm_files(segment_name(NULL) + 1), 0);
}

START_TEST(test_a_segments_options_are_checked)
{
    assert_segment_refused(SHK_CREATE, &(struct shk_segment_options){.size = 65535});
    assert_segment_refused(SHK_CREATE, &(struct shk_segment_options){.size = 1});
    assert_segment_refused(SHK_CREATE, &(struct shk_segment_options){.size = (1ull << 40) + 1});
    assert_segment_refused(SHK_CREATE, &(struct shk_segment_options){.size = SIZE_MAX});
    assert_segment_refused(SHK_CREATE, &(struct shk_segment_options){.max_members = 65536});
    assert_segment_refused(SHK_CREATE, &(struct shk_segment_options){.max_members = UINT32_MAX});
    assert_segment_refused(SHK_CREATE, &(struct shk_segment_options){.max_objects = 65536});
    assert_segment_refused(SHK_CREATE, &(struct shk_segment_options){.max_objects = UINT32_MAX});
    assert_segment_refused(SHK_CREATE, &(struct shk_segment_options){.mode = 04600});
    assert_segment_refused(SHK_CREATE, &(struct shk_segment_options){.mode = 0100600});
    for (size_t i = 0; i < 8; i++) {
        struct shk_segment_options options = {0};
        options.reserved[i] = 1ull << (8 * i);
        assert_segment_refused(SHK_CREATE, &options);
    }
}
END_TEST

START_TEST(test_a_segments_flags_are_checked)
{
    assert_segment_refused(0x8, NULL);
    assert_segment_refused(SHK_CREATE | 0x80000000, NULL);
    assert_code(shk_segment_open(segment_name(NULL), SHK_CREATE, NULL, NULL), -EINVAL);
    ck_assert_uint_eq(shm_files(segment_name(NULL) + 1), 0);
}
END_TEST

/* ---- Objects: each kind behind one signature ---- */

typedef int open_function(struct shk_segment *, const char *name, unsigned flags,
                          const void *options, void **out);

#define OBJECT_FUNCTIONS(KIND)                                                        \
    static int open_##KIND(struct shk_segment *s, const char *name, unsigned flags,   \
                           const void *options, void **out)                           \
    {                                                                                 \
        return shk_##KIND##_open(s, name, flags, options, (struct shk_##KIND **)out); \
    }                                                                                 \
    static int close_##KIND(void *object)                                             \
    {                                                                                 \
        return shk_##KIND##_close(object);                                            \
    }
OBJECT_FUNCTIONS(lock)
OBJECT_FUNCTIONS(cond)
OBJECT_FUNCTIONS(event)
OBJECT_FUNCTIONS(queue)
OBJECT_FUNCTIONS(region)
OBJECT_FUNCTIONS(semaphore)
OBJECT_FUNCTIONS(barrier)
OBJECT_FUNCTIONS(stream)
OBJECT_FUNCTIONS(rwlock)
OBJECT_FUNCTIONS(once)

static const struct kind {
    const char *name;
    open_function *open;
    int (*close)(void *);
    const void *options; /* that create one */
    size_t options_size; /* reserved[8] is its end; of a stream reserved[6] */
} kinds[] = {
    {"lock", open_lock, close_lock, &(struct shk_lock_options){0}, sizeof(struct shk_lock_options)},
    {"cond", open_cond, close_cond, &(struct shk_cond_options){0}, sizeof(struct shk_cond_options)},
    {"event", open_event, close_event, &(struct shk_event_options){{0}},
     sizeof(struct shk_event_options)},
    {"queue", open_queue, close_queue, &(struct shk_queue_options){.capacity = 4, .item_size = 64},
     sizeof(struct shk_queue_options)},
    {"region", open_region, close_region, &(struct shk_region_options){.size = 64},
     sizeof(struct shk_region_options)},
    {"semaphore", open_semaphore, close_semaphore,
     &(struct shk_semaphore_options){.value = 1, .max = 2}, sizeof(struct shk_semaphore_options)},
    {"barrier", open_barrier, close_barrier, &(struct shk_barrier_options){.parties = 1},
     sizeof(struct shk_barrier_options)},
    {"stream", open_stream, close_stream,
     &(struct shk_stream_options){.sample_size = 8, .history = 16},
     sizeof(struct shk_stream_options)},
    {"rwlock", open_rwlock, close_rwlock, &(struct shk_rwlock_options){0},
     sizeof(struct shk_rwlock_options)},
    {"once", open_once, close_once, &(struct shk_once_options){.reserved = {0}},
     sizeof(struct shk_once_options)},
};

enum { KINDS = sizeof(kinds) / sizeof(kinds[0]) };

static void assert_refused(const struct kind *kind, const char *name, unsigned flags,
                           const void *options, int code)
{
    void *object = NULL;

    int got = kind->open(test_segment(), name, flags, options, &object);
    ck_assert_msg(code_is(got, code), "%s: opening gave %s, not %s", kind->name, code_name(got),
                  code_name(code));
    ck_assert_ptr_null(object);
}

static void *create(const struct kind *kind, const char *name)
{
    void *object = NULL;

    assert_code(kind->open(test_segment(), name, SHK_CREATE | SHK_EXCL, kind->options, &object), 0);
    ck_assert_ptr_nonnull(object);
    return object;
}

static size_t objects(void)
{
    struct shk_segment_info info;

    ck_assert(look_at_segment(segment_name(NULL), &info));
    return info.objects;
}

START_TEST(test_an_object_has_a_legal_name)
{
    for (const struct kind *kind = kinds; kind < kinds + KINDS; kind++) {
        for (size_t i = 0; i < sizeof(never_legal) / sizeof(never_legal[0]); i++)
            assert_refused(kind, never_legal[i], SHK_CREATE, kind->options, -EINVAL);
        for (size_t i = 0; i < sizeof(not_utf8) / sizeof(not_utf8[0]); i++)
            assert_refused(kind, not_utf8[i], SHK_CREATE, kind->options, -EILSEQ);
        assert_refused(kind, NAME_OF(SHK_NAME_MAX + 1), SHK_CREATE, kind->options, -ENAMETOOLONG);
        assert_refused(kind, "/in-front", SHK_CREATE, kind->options, -EINVAL);
    }
    ck_assert_uint_eq(objects(), 0);
}
END_TEST

START_TEST(test_an_object_may_have_any_legal_name)
{
    struct shk_object_info info;

    for (const struct kind *kind = kinds; kind < kinds + KINDS; kind++) {
        for (size_t i = 0; i < sizeof(legal) / sizeof(legal[0]); i++) {
            assert_code(kind->close(create(kind, legal[i])), 0);
            ck_assert(look_at_object(segment_name(NULL), legal[i], &info));
            ck_assert_str_eq(info.name, legal[i]);
            assert_code(shk_object_unlink(test_segment(), legal[i]), 0);
        }
        assert_code(kind->close(create(kind, NAME_OF(SHK_NAME_MAX))), 0);
        assert_code(shk_object_unlink(test_segment(), NAME_OF(SHK_NAME_MAX)), 0);
    }
    ck_assert_uint_eq(objects(), 0);
}
END_TEST

START_TEST(test_unlinking_an_object_checks_its_name)
{
    for (size_t i = 0; i < sizeof(never_legal) / sizeof(never_legal[0]); i++)
        assert_code(shk_object_unlink(test_segment(), never_legal[i]), -EINVAL);
    for (size_t i = 0; i < sizeof(not_utf8) / sizeof(not_utf8[0]); i++)
        assert_code(shk_object_unlink(test_segment(), not_utf8[i]), -EILSEQ);
    assert_code(shk_object_unlink(test_segment(), NAME_OF(SHK_NAME_MAX + 1)), -ENAMETOOLONG);
    assert_code(shk_object_unlink(test_segment(), NAME_OF(SHK_NAME_MAX)), -ENOENT);
    assert_code(shk_object_unlink(NULL, "a"), -EINVAL);
}
END_TEST

START_TEST(test_an_objects_flags_and_reserved_fields_are_checked)
{
    for (const struct kind *kind = kinds; kind < kinds + KINDS; kind++) {
        assert_refused(kind, "a", SHK_CREATE | 0x8, kind->options, -EINVAL);
        assert_refused(kind, "a", SHK_CREATE | 0x80000000, kind->options, -EINVAL);
        for (size_t i = 0; i < (kind->open == open_stream ? 6 : 8); i++) {
            unsigned char options[256];
            ck_assert_uint_le(kind->options_size, sizeof(options));
            memcpy(options, kind->options, kind->options_size);
            options[kind->options_size - 1 - 8 * i] = 1;
            assert_refused(kind, "a", SHK_CREATE, options, -EINVAL);
        }
        assert_code(kind->open(test_segment(), "a", SHK_CREATE, kind->options, NULL), -EINVAL);
        assert_code(kind->open(NULL, "a", SHK_CREATE, kind->options, &(void *){NULL}), -EINVAL);
    }
    ck_assert_uint_eq(objects(), 0);
}
END_TEST

START_TEST(test_enums_and_switches_are_checked)
{
    const struct kind *lock = &kinds[0], *cond = &kinds[1], *queue = &kinds[3];

    assert_refused(lock, "a", SHK_CREATE, &(struct shk_lock_options){.recursive = 2}, -EINVAL);
    assert_refused(lock, "a", SHK_CREATE, &(struct shk_lock_options){.no_deadlock_check = 2},
                   -EINVAL);
    assert_refused(cond, "a", SHK_CREATE, &(struct shk_cond_options){.kind = 2}, -EINVAL);
    assert_refused(cond, "a", SHK_CREATE, &(struct shk_cond_options){.reserved_32 = 1}, -EINVAL);
    assert_refused(queue, "a", SHK_CREATE, &(struct shk_queue_options){.order = 3, .capacity = 1},
                   -EINVAL);
    assert_refused(queue, "a", SHK_CREATE,
                   &(struct shk_queue_options){.capacity = 1, .reserved_32 = 1}, -EINVAL);
    ck_assert_uint_eq(objects(), 0);
}
END_TEST

START_TEST(test_an_absent_object_is_not_created_unasked)
{
    for (const struct kind *kind = kinds; kind < kinds + KINDS; kind++) {
        assert_refused(kind, "a", 0, NULL, -ENOENT);
        assert_refused(kind, "a", 0, kind->options, -ENOENT);
    }
    ck_assert_uint_eq(objects(), 0);
}
END_TEST

START_TEST(test_excl_creates_once)
{
    for (const struct kind *kind = kinds; kind < kinds + KINDS; kind++) {
        void *object = create(kind, kind->name), *again;
        assert_refused(kind, kind->name, SHK_CREATE | SHK_EXCL, kind->options, -EEXIST);
        assert_code(kind->open(test_segment(), kind->name, SHK_CREATE, kind->options, &again), 0);
        assert_code(kind->close(again), 0);
        assert_code(kind->open(test_segment(), kind->name, 0, NULL, &again), 0);
        assert_code(kind->close(again), 0);
        assert_code(kind->close(object), 0);
    }
    ck_assert_uint_eq(objects(), KINDS);
}
END_TEST

START_TEST(test_an_object_is_opened_as_what_it_is)
{
    for (const struct kind *present = kinds; present < kinds + KINDS; present++)
        assert_code(present->close(create(present, present->name)), 0);
    for (const struct kind *present = kinds; present < kinds + KINDS; present++) {
        for (const struct kind *asked = kinds; asked < kinds + KINDS; asked++) {
            if (asked == present)
                continue;
            assert_refused(asked, present->name, 0, NULL, -EPROTOTYPE);
            assert_refused(asked, present->name, 0, asked->options, -EPROTOTYPE);
            assert_refused(asked, present->name, SHK_CREATE, asked->options, -EPROTOTYPE);
        }
    }
    ck_assert_uint_eq(objects(), KINDS);
}
END_TEST

/* ---- Geometry ---- */

START_TEST(test_a_lock_is_opened_with_its_options)
{
    const struct kind *lock = &kinds[0];

    assert_code(lock->close(create(lock, "plain")), 0);
    assert_refused(lock, "plain", 0, &(struct shk_lock_options){.recursive = 1}, -EPROTOTYPE);
    assert_refused(lock, "plain", SHK_CREATE, &(struct shk_lock_options){.recursive = 1},
                   -EPROTOTYPE);
    assert_refused(lock, "plain", 0, &(struct shk_lock_options){.no_deadlock_check = 1},
                   -EPROTOTYPE);

    struct shk_lock_options recursive = {.recursive = 1};
    struct shk_lock *opened;
    assert_code(shk_lock_open(test_segment(), "recursive", SHK_CREATE, &recursive, &opened), 0);
    assert_code(shk_lock_close(opened), 0);
    assert_code(shk_lock_open(test_segment(), "recursive", 0, NULL, &opened), 0);
    assert_code(shk_lock_close(opened), 0);
    assert_refused(lock, "recursive", 0, &(struct shk_lock_options){0}, -EPROTOTYPE);
}
END_TEST

START_TEST(test_a_condition_is_opened_with_its_kind_and_lock)
{
    const struct kind *cond = &kinds[1];
    struct shk_lock *lock, *other;
    struct shk_cond *opened;

    assert_code(shk_lock_open(test_segment(), "lock", SHK_CREATE, NULL, &lock), 0);
    assert_code(shk_lock_open(test_segment(), "other", SHK_CREATE, NULL, &other), 0);
    assert_code(cond->close(create(cond, "own")), 0);
    assert_code(shk_cond_open(test_segment(), "given", SHK_CREATE,
                              &(struct shk_cond_options){.lock = lock}, &opened),
                0);
    assert_code(shk_cond_close(opened), 0);

    assert_refused(cond, "own", 0, &(struct shk_cond_options){.kind = SHK_COND_PTHREAD},
                   -EPROTOTYPE);
    assert_refused(cond, "own", 0, &(struct shk_cond_options){.lock = lock}, -EPROTOTYPE);
    assert_refused(cond, "given", 0, &(struct shk_cond_options){.lock = other}, -EPROTOTYPE);
    assert_refused(cond, "given", 0, &(struct shk_cond_options){0}, -EPROTOTYPE);
    assert_code(shk_cond_open(test_segment(), "given", 0, &(struct shk_cond_options){.lock = lock},
                              &opened),
                0);
    assert_code(shk_cond_close(opened), 0);

    assert_code(shk_object_unlink(test_segment(), "lock"), 0);
    assert_refused(cond, "new", SHK_CREATE, &(struct shk_cond_options){.lock = lock}, -ESTALE);
    assert_code(shk_lock_close(lock), 0);
    assert_code(shk_lock_close(other), 0);
}
END_TEST

START_TEST(test_objects_used_together_are_of_one_segment)
{
    struct shk_segment *elsewhere;
    struct shk_lock *lock;

    assert_code(shk_segment_open(segment_name("elsewhere"), SHK_CREATE, NULL, &elsewhere), 0);
    assert_code(shk_lock_open(elsewhere, "lock", SHK_CREATE, NULL, &lock), 0);
    assert_refused(&kinds[1], "cond", SHK_CREATE, &(struct shk_cond_options){.lock = lock}, -EXDEV);
    assert_code(shk_lock_close(lock), 0);
    assert_code(shk_segment_close(elsewhere), 0);
    assert_code(shk_segment_unlink(segment_name("elsewhere")), 0);
}
END_TEST

START_TEST(test_a_queue_is_opened_with_its_geometry)
{
    const struct kind *queue = &kinds[3];
    struct shk_queue *opened;

    assert_code(queue->close(create(queue, "queue")), 0);
    assert_refused(queue, "queue", 0, &(struct shk_queue_options){.capacity = 8}, -EPROTOTYPE);
    assert_refused(queue, "queue", 0, &(struct shk_queue_options){.item_size = 65}, -EPROTOTYPE);
    assert_refused(queue, "queue", SHK_CREATE,
                   &(struct shk_queue_options){.capacity = 3, .item_size = 64}, -EPROTOTYPE);
    assert_code(shk_queue_open(test_segment(), "queue", 0,
                               &(struct shk_queue_options){.item_size = 64}, &opened),
                0);
    assert_code(shk_queue_close(opened), 0);
    assert_refused(queue, "new", SHK_CREATE, &(struct shk_queue_options){.capacity = SIZE_MAX},
                   -EINVAL);
    assert_refused(queue, "new", SHK_CREATE,
                   &(struct shk_queue_options){.capacity = (1ull << 31) + 1}, -EINVAL);
    assert_refused(queue, "new", SHK_CREATE,
                   &(struct shk_queue_options){.capacity = 1, .item_size = (1ull << 31) + 1},
                   -EINVAL);
}
END_TEST

START_TEST(test_a_region_is_opened_with_its_geometry)
{
    const struct kind *region = &kinds[4];
    struct shk_region *opened;
    struct shk_region_options page = {.size = 64, .align = 4096};

    assert_code(region->close(create(region, "region")), 0);
    assert_refused(region, "region", 0, &(struct shk_region_options){.size = 63}, -EPROTOTYPE);
    assert_refused(region, "region", SHK_CREATE, &(struct shk_region_options){.size = 65},
                   -EPROTOTYPE);
    assert_refused(region, "region", 0, &(struct shk_region_options){.align = 128}, -EPROTOTYPE);
    for (size_t align = 1; align <= 64; align *= 2) {
        assert_code(shk_region_open(test_segment(), "region", 0,
                                    &(struct shk_region_options){.align = align}, &opened),
                    0);
        assert_code(shk_region_close(opened), 0);
    }
    assert_code(shk_region_open(test_segment(), "page", SHK_CREATE, &page, &opened), 0);
    assert_code(shk_region_close(opened), 0);
    assert_code(shk_region_open(test_segment(), "page", 0, &(struct shk_region_options){.size = 64},
                                &opened),
                0);
    assert_code(shk_region_close(opened), 0);

    assert_refused(region, "new", SHK_CREATE, NULL, -EINVAL);
    assert_refused(region, "new", SHK_CREATE, &(struct shk_region_options){.align = 64}, -EINVAL);
    assert_refused(region, "new", SHK_CREATE, &(struct shk_region_options){.size = 1, .align = 3},
                   -EINVAL);
    assert_refused(region, "new", SHK_CREATE,
                   &(struct shk_region_options){.size = 1, .align = 8192}, -EINVAL);
    assert_refused(region, "region", 0, &(struct shk_region_options){.align = 96}, -EINVAL);
}
END_TEST

START_TEST(test_semaphores_barriers_and_streams_are_opened_with_their_geometry)
{
    const struct kind *semaphore = &kinds[5], *barrier = &kinds[6], *stream = &kinds[7];
    const struct {
        const struct kind *kind;
        const char *name;
        const void *options;
        int code;
    } wrong[] = {
        {semaphore, "semaphore", &(struct shk_semaphore_options){.value = 1, .max = 3},
         -EPROTOTYPE},
        {semaphore, "new", &(struct shk_semaphore_options){.value = 3, .max = 2}, -EINVAL},
        {semaphore, "new", &(struct shk_semaphore_options){.max = UINT32_MAX}, -EINVAL},
        {semaphore, "new", &(struct shk_semaphore_options){.value = UINT32_MAX}, -EINVAL},
        {barrier, "barrier", &(struct shk_barrier_options){.parties = 2}, -EPROTOTYPE},
        {barrier, "new", NULL, -EINVAL},
        {barrier, "new", &(struct shk_barrier_options){.parties = 0}, -EINVAL},
        {barrier, "new", &(struct shk_barrier_options){.parties = 65536}, -EINVAL},
        {barrier, "new", &(struct shk_barrier_options){.parties = UINT32_MAX}, -EINVAL},
        {barrier, "new", &(struct shk_barrier_options){.parties = 1, .reserved_32 = 1}, -EINVAL},
        {stream, "stream", &(struct shk_stream_options){.sample_size = 9}, -EPROTOTYPE},
        {stream, "stream", &(struct shk_stream_options){.sample_size = 8, .history = 17},
         -EPROTOTYPE},
        {stream, "new", NULL, -EINVAL},
        {stream, "new", &(struct shk_stream_options){.history = 16}, -EINVAL},
        {stream, "new", &(struct shk_stream_options){.sample_size = 65537}, -EINVAL},
        {stream, "new", &(struct shk_stream_options){.sample_size = SIZE_MAX}, -EINVAL},
        {stream, "new", &(struct shk_stream_options){.sample_size = 8, .history = (1ull << 30) + 1},
         -EINVAL},
        {stream, "new", &(struct shk_stream_options){.sample_size = 8, .history = SIZE_MAX},
         -EINVAL},
        {stream, "new", &(struct shk_stream_options){.sample_size = 65536, .history = 1ull << 30},
         -ENOSPC},
    };

    for (const struct kind *kind = semaphore; kind <= stream; kind++)
        assert_code(kind->close(create(kind, kind->name)), 0);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_refused(wrong[i].kind, wrong[i].name, SHK_CREATE, wrong[i].options, wrong[i].code);
    ck_assert_uint_eq(objects(), 3);
}
END_TEST

START_TEST(test_what_is_too_large_for_the_segment_does_not_fit)
{
    static const size_t sizes[] = {1ull << 36, 1ull << 40, SIZE_MAX / 2, SIZE_MAX - 4096, SIZE_MAX};

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        assert_refused(&kinds[4], "new", SHK_CREATE, &(struct shk_region_options){.size = sizes[i]},
                       -ENOSPC);
    assert_refused(&kinds[3], "new", SHK_CREATE,
                   &(struct shk_queue_options){.capacity = 1ull << 31, .item_size = 1024}, -ENOSPC);
    ck_assert_uint_eq(objects(), 0);
}
END_TEST

/* ---- Calls on objects ---- */

/* Handles of every kind: of a segment that has been closed, or all of them NULL. */
struct things {
    struct shk_lock *lock;
    struct shk_cond *cond;
    struct shk_event *event;
    struct shk_semaphore *semaphore;
    struct shk_barrier *barrier;
    struct shk_queue *queue, *heap; /* FIFO; PRIORITY */
    struct shk_stream *stream;
    struct shk_reader *reader;
    struct shk_region *region;
    struct shk_rwlock *rwlock;
    struct shk_once *once;
};

static const struct shk_queue_options heap_options = {
    .order = SHK_PRIORITY, .capacity = 4, .item_size = 64};

static void open_things(struct shk_segment *s, struct things *t)
{
    const struct {
        int kind;
        void *out;
    } all[] = {{0, &t->lock},   {1, &t->cond},      {2, &t->event},   {3, &t->queue},
               {4, &t->region}, {5, &t->semaphore}, {6, &t->barrier}, {7, &t->stream},
               {8, &t->rwlock}, {9, &t->once}};

    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        const struct kind *kind = &kinds[all[i].kind];
        assert_code(kind->open(s, kind->name, SHK_CREATE, kind->options, all[i].out), 0);
    }
    assert_code(shk_queue_open(s, "heap", SHK_CREATE, &heap_options, &t->heap), 0);
    assert_code(shk_reader_open(t->stream, SHK_OLDEST, &t->reader), 0);
}

static void close_things(struct things *t)
{
    assert_code(shk_lock_close(t->lock), 0);
    assert_code(shk_cond_close(t->cond), 0);
    assert_code(shk_event_close(t->event), 0);
    assert_code(shk_semaphore_close(t->semaphore), 0);
    assert_code(shk_barrier_close(t->barrier), 0);
    assert_code(shk_queue_close(t->queue), 0);
    assert_code(shk_queue_close(t->heap), 0);
    assert_code(shk_reader_close(t->reader), 0);
    assert_code(shk_stream_close(t->stream), 0);
    assert_code(shk_region_close(t->region), 0);
    assert_code(shk_rwlock_close(t->rwlock), 0);
    assert_code(shk_once_close(t->once), 0);
}

/* All arguments but the handles are right. */
static void assert_every_queue_call_gives(struct shk_queue *queue, struct shk_queue *heap, int code)
{
    char buffer[64] = "";
    struct iovec many[2] = {{buffer, 8}, {buffer + 8, 8}};
    struct shk_lease_info info;
    uint64_t ticket;
    const void *item;
    void *slot;

    assert_code(shk_queue_put(queue, "a", 1, SHK_NOWAIT), code);
    assert_code(shk_queue_put_priority(heap, "a", 1, 7, SHK_NOWAIT), code);
    assert_code(shk_queue_get(queue, buffer, sizeof(buffer), SHK_NOWAIT), code);
    assert_code(shk_queue_put_many(queue, many, 2, SHK_NOWAIT), code);
    assert_code(shk_queue_get_many(queue, many, 2, SHK_NOWAIT), code);
    assert_code(shk_queue_reserve(queue, 8, &slot, SHK_NOWAIT), code);
    assert_code(shk_queue_commit(queue, 8), code);
    assert_code(shk_queue_cancel(queue), code);
    assert_code(shk_queue_peek(queue, &item, SHK_NOWAIT), code);
    assert_code(shk_queue_consume(queue), code);
    assert_code(shk_queue_unpeek(queue), code);
    assert_code(shk_queue_claim(queue, SHK_PRODUCER | SHK_CONSUMER, SHK_NOWAIT), code);
    assert_code(shk_queue_unclaim(queue, SHK_PRODUCER | SHK_CONSUMER), code);
    assert_code(shk_queue_lease(queue, buffer, sizeof(buffer), SHK_NOWAIT, &ticket), code);
    assert_code(shk_queue_lease_info(queue, 4096, &info), code);
    assert_code(shk_queue_nack(queue, 4096, 0), code);
    assert_code(shk_queue_ack(queue, 4096), code);
    assert_code(shk_queue_task_done(queue), code);
    assert_code(shk_queue_join(queue, SHK_NOWAIT), code);
    assert_code(shk_queue_size(queue), code);
    assert_code(shk_queue_capacity(queue), code);
    assert_code(shk_queue_item_size(queue), code);
    assert_code(shk_queue_empty(queue), code);
    assert_code(shk_queue_full(queue), code);
    assert_code(shk_queue_shutdown(queue), code);
    assert_code(shk_queue_reopen(queue), code);
}

static void assert_every_call_gives(const struct things *t, int code)
{
    const struct shk_ready sets[] = {{SHK_KIND_QUEUE, SHK_READABLE, t->queue},
                                     {SHK_KIND_QUEUE, SHK_WRITABLE, t->queue},
                                     {SHK_KIND_EVENT, SHK_READABLE, t->event},
                                     {SHK_KIND_SEMAPHORE, SHK_READABLE, t->semaphore},
                                     {SHK_KIND_STREAM, SHK_READABLE, t->reader}};
    struct shk_reader *reader = NULL;
    uint64_t sample = 0;
    double rate;

    assert_code(shk_lock_acquire(t->lock, SHK_NOWAIT), code);
    assert_code(shk_lock_release(t->lock), code);
    assert_code(shk_lock_stamp(t->lock), code);
    assert_code(shk_cond_acquire(t->cond, SHK_NOWAIT), code);
    assert_code(shk_cond_release(t->cond), code);
    assert_code(shk_cond_stamp(t->cond), code);
    assert_code(shk_cond_wait(t->cond, SHK_NOWAIT), code);
    assert_code(shk_cond_notify(t->cond, 1), code);
    assert_code(shk_cond_notify_all(t->cond), code);
    assert_code(shk_event_set(t->event), code);
    assert_code(shk_event_clear(t->event), code);
    assert_code(shk_event_is_set(t->event), code);
    assert_code(shk_event_wait(t->event, SHK_NOWAIT), code);
    assert_code(shk_semaphore_acquire(t->semaphore, SHK_NOWAIT), code);
    assert_code(shk_semaphore_release(t->semaphore, 1), code);
    assert_code(shk_semaphore_value(t->semaphore), code);
    assert_code(shk_barrier_wait(t->barrier, SHK_NOWAIT), code);
    assert_code(shk_barrier_reset(t->barrier), code);
    assert_code(shk_barrier_abort(t->barrier), code);
    assert_code(shk_barrier_waiting(t->barrier), code);
    assert_code(shk_barrier_parties(t->barrier), code);
    assert_code(shk_barrier_broken(t->barrier), code);
    assert_every_queue_call_gives(t->queue, t->heap, code);
    assert_code(shk_stream_append(t->stream, &sample, 1), code);
    assert_code(shk_stream_position(t->stream), code);
    assert_code(shk_stream_sample_size(t->stream), code);
    assert_code(shk_stream_history(t->stream), code);
    assert_code(shk_stream_channels(t->stream), code);
    assert_code(shk_stream_is_stamped(t->stream), code);
    assert_code(shk_stream_rate(t->stream, &rate), code);
    assert_code(shk_stream_set_rate(t->stream, 1), code);
    assert_code(shk_reader_open(t->stream, SHK_NEXT, &reader), code);
    ck_assert_ptr_null(reader);
    assert_code(shk_reader_read(t->reader, &sample, 1, SHK_NOWAIT), code);
    assert_code(shk_reader_latest(t->reader, &sample, 1), code);
    assert_code(shk_region_data(t->region, NULL, NULL), code);
    assert_code(shk_rwlock_acquire_shared(t->rwlock, SHK_NOWAIT), code);
    assert_code(shk_rwlock_acquire(t->rwlock, SHK_NOWAIT), code);
    assert_code(shk_rwlock_release(t->rwlock), code);
    assert_code(shk_rwlock_downgrade(t->rwlock), code);
    assert_code(shk_rwlock_recover(t->rwlock), code);
    assert_code(shk_rwlock_is_held(t->rwlock), code);
    assert_code(shk_once_begin(t->once, SHK_NOWAIT), code);
    assert_code(shk_once_done(t->once), code);
    assert_code(shk_once_abandon(t->once), code);
    assert_code(shk_once_reset(t->once), code);
    assert_code(shk_once_is_done(t->once), code);
    for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++) {
        assert_code(shk_wait_any(&sets[i], 1, SHK_NOWAIT), code);
        assert_code(shk_ready_fd(&sets[i], 1), code);
    }
}

START_TEST(test_calls_on_nothing)
{
    struct things none = {0};

    assert_code(shk_segment_close(NULL), 0);
    close_things(&none);
    assert_every_call_gives(&none, -EINVAL);
    assert_code(shk_reader_dropped(NULL), -EINVAL);
    assert_code(shk_cond_native(NULL, NULL, NULL), -EINVAL);

    assert_code(shk_set_member_name(NULL, "a"), -EINVAL);
    assert_code(shk_set_interrupt(NULL, NULL), -EINVAL);
    assert_code(shk_segment_list(0, NULL), -EINVAL);
    assert_code(shk_segment_list(0x4, &(struct shk_segment_info *){NULL}), -EINVAL);
    assert_code(shk_snapshot_open(segment_name(NULL), NULL), -EINVAL);
    shk_snapshot_close(NULL);
}
END_TEST

START_TEST(test_calls_in_a_closed_segment)
{
    struct shk_segment *segment;
    struct things t;

    assert_code(shk_segment_open(segment_name("closed"), SHK_CREATE, NULL, &segment), 0);
    open_things(segment, &t);
    assert_code(shk_segment_close(segment), 0);
    assert_every_call_gives(&t, -EBADF);
    close_things(&t);
    assert_code(shk_segment_unlink(segment_name("closed")), 0);
}
END_TEST

START_TEST(test_nothing_to_put_and_nowhere_to_get_to)
{
    struct shk_queue *queue = create(&kinds[3], "queue");

    assert_code(shk_queue_put(queue, NULL, 1, SHK_NOWAIT), -EINVAL);
    assert_code(shk_queue_size(queue), 0);
    /* an item of no bytes lies nowhere */
    assert_code(shk_queue_put(queue, NULL, 0, SHK_NOWAIT), 0);
    assert_code(shk_queue_get(queue, NULL, 0, SHK_NOWAIT), 0);
    assert_code(shk_queue_put(queue, "a", 1, SHK_NOWAIT), 0);
    assert_code(shk_queue_get(queue, NULL, 1, SHK_NOWAIT), -EINVAL);
    assert_code(shk_queue_size(queue), 1);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

/* ---- Tickets ---- */

static uint64_t lease_one(struct shk_queue *queue)
{
    uint64_t ticket;
    char item[8];

    assert_code(shk_queue_put(queue, "a", 1, SHK_NOWAIT), 0);
    assert_code(shk_queue_lease(queue, item, sizeof(item), SHK_NOWAIT, &ticket), 1);
    return ticket;
}

static void assert_is_no_ticket(struct shk_queue *queue, uint64_t ticket)
{
    struct shk_lease_info info;

    assert_code(shk_queue_lease_info(queue, ticket, &info), -ENOENT);
    assert_code(shk_queue_nack(queue, ticket, SHK_SEC(1)), -ENOENT);
    assert_code(shk_queue_ack(queue, ticket), -ENOENT);
}

START_TEST(test_numbers_that_are_no_tickets_change_nothing)
{
    struct shk_queue *queue = create(&kinds[3], "queue");
    uint64_t ticket = lease_one(queue);

    for (int bit = 0; bit < 64; bit++)
        assert_is_no_ticket(queue, ticket ^ UINT64_C(1) << bit);
    for (uint64_t i = 0; i < 70; i++) {
        assert_is_no_ticket(queue, i);
        assert_is_no_ticket(queue, UINT64_MAX - i);
    }
    assert_code(shk_queue_unfinished(queue), 1);
    assert_code(shk_queue_ack(queue, ticket), 0);
    assert_is_no_ticket(queue, ticket);
    assert_code(shk_queue_unfinished(queue), 0);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

/* Each of them has leased its first item. */
START_TEST(test_a_ticket_is_none_of_another_queue)
{
    struct shk_queue *queue = create(&kinds[3], "queue"), *other = create(&kinds[3], "other");
    uint64_t ticket = lease_one(queue), others = lease_one(other);

    assert_is_no_ticket(queue, others);
    assert_is_no_ticket(other, ticket);
    assert_code(shk_queue_ack(other, others), 0);
    assert_code(shk_queue_close(other), 0);

    /* nor of the one that has the name now */
    assert_code(shk_queue_close(queue), 0);
    assert_code(shk_object_unlink(test_segment(), "queue"), 0);
    queue = create(&kinds[3], "queue");
    others = lease_one(queue);
    assert_is_no_ticket(queue, ticket);
    assert_code(shk_queue_ack(queue, others), 0);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

/* The item has come back, and is leased again: perhaps by the same record, but not that ticket. */
START_TEST(test_a_ticket_of_what_came_back_is_none)
{
    struct shk_queue *queue = create(&kinds[3], "queue");
    uint64_t before = lease_one(queue), after;
    char item[8];

    assert_code(shk_queue_nack(queue, before, 0), 0);
    assert_is_no_ticket(queue, before);
    assert_code(shk_queue_lease(queue, item, sizeof(item), SHK_NOWAIT, &after), 1);
    assert_is_no_ticket(queue, before);
    assert_code(shk_queue_ack(queue, after), 0);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

START_TEST(test_no_items_no_samples_no_place_for_them)
{
    struct iovec none[2] = {{"a", 1}, {NULL, 1}};
    struct shk_reader *reader = NULL;
    struct things t;
    uint64_t sample = 0;

    open_things(test_segment(), &t);
    assert_code(shk_queue_put_many(t.queue, NULL, 1, SHK_NOWAIT), -EINVAL);
    assert_code(shk_queue_put_many(t.queue, none, 0, SHK_NOWAIT), -EINVAL);
    assert_code(shk_queue_put_many(t.queue, none, 2, SHK_NOWAIT), -EINVAL);
    assert_code(shk_queue_put_priority(t.heap, NULL, 1, 7, SHK_NOWAIT), -EINVAL);
    assert_code(shk_queue_reserve(t.queue, 8, NULL, SHK_NOWAIT), -EINVAL);
    assert_code(shk_queue_size(t.queue), 0);
    assert_code(shk_queue_size(t.heap), 0);
    assert_code(shk_queue_commit(t.queue, 0), -EPERM);

    assert_code(shk_queue_put(t.queue, "a", 1, SHK_NOWAIT), 0);
    assert_code(shk_queue_get_many(t.queue, NULL, 1, SHK_NOWAIT), -EINVAL);
    assert_code(shk_queue_get_many(t.queue, none, 0, SHK_NOWAIT), -EINVAL);
    assert_code(shk_queue_get_many(t.queue, none, 2, SHK_NOWAIT), -EINVAL);
    assert_code(shk_queue_peek(t.queue, NULL, SHK_NOWAIT), -EINVAL);
    assert_code(shk_queue_consume(t.queue), -EPERM);
    assert_code(shk_queue_size(t.queue), 1);
    assert_code(shk_queue_claim(t.queue, 0, SHK_NOWAIT), -EINVAL);
    assert_code(shk_queue_claim(t.queue, SHK_PRODUCER | 4, SHK_NOWAIT), -EINVAL);
    assert_code(shk_queue_unclaim(t.queue, 0), -EINVAL);
    assert_code(shk_queue_unclaim(t.queue, SHK_PRODUCER), -EPERM);

    assert_code(shk_semaphore_release(t.semaphore, 0), -EINVAL);
    assert_code(shk_semaphore_release(t.semaphore, UINT_MAX), -EOVERFLOW);
    assert_code(shk_semaphore_value(t.semaphore), 1);

    assert_code(shk_stream_append(t.stream, NULL, 1), -EINVAL);
    assert_code(shk_stream_position(t.stream), 0);
    assert_code(shk_stream_append(t.stream, NULL, 0), 0); /* no samples lie nowhere */
    assert_code(shk_stream_append(t.stream, &sample, 1), 0);
    assert_code(shk_reader_open(t.stream, SHK_NEXT, NULL), -EINVAL);
    assert_code(shk_reader_open(t.stream, 2, &reader), -EINVAL);
    ck_assert_ptr_null(reader);
    assert_code(shk_reader_read(t.reader, NULL, 1, SHK_NOWAIT), -EINVAL);
    assert_code(shk_reader_read(t.reader, &sample, 0, SHK_NOWAIT), -EINVAL);
    assert_code(shk_reader_latest(t.reader, NULL, 1), -EINVAL);
    assert_code(shk_reader_latest(t.reader, NULL, 0), 0);
    assert_code(shk_reader_latest(t.reader, &sample, SIZE_MAX), 1);
    assert_code(shk_reader_read(t.reader, &sample, SIZE_MAX, SHK_NOWAIT), 1);
    close_things(&t);
}
END_TEST

static void assert_holds_just(struct shk_queue *queue, const char *expected)
{
    const void *item = NULL;
    size_t length = strlen(expected);

    assert_code(shk_queue_size(queue), 1);
    assert_code(shk_queue_peek(queue, &item, SHK_NOWAIT), length);
    ck_assert_mem_eq(item, expected, length);
    assert_code(shk_queue_unpeek(queue), 0);
}

/* In each order; the item that is there stays, and nothing comes beside it. */
START_TEST(test_what_does_not_fit_stays_where_it_is)
{
    static const size_t too_large[] = {9, 1ull << 31, 1ull << 32, SIZE_MAX};
    const struct shk_queue_options options = {.order = (uint32_t)_i, .capacity = 4, .item_size = 8};
    struct shk_queue *queue;
    char large[16] = "", small[7], taken[8];
    void *slot = NULL;

    assert_code(shk_queue_open(test_segment(), "queue", SHK_CREATE, &options, &queue), 0);
    assert_code(shk_queue_put(queue, "8 bytes.", 8, SHK_NOWAIT), 0);
    for (size_t i = 0; i < sizeof(too_large) / sizeof(too_large[0]); i++) {
        struct iovec second_is[2] = {{large, 8}, {large, too_large[i]}};
        assert_code(shk_queue_put(queue, large, too_large[i], SHK_NOWAIT), -EMSGSIZE);
        assert_code(shk_queue_put_priority(queue, large, too_large[i], 7, SHK_NOWAIT),
                    _i == SHK_PRIORITY ? -EMSGSIZE : -ENOTSUP);
        assert_code(shk_queue_put_many(queue, second_is, 2, SHK_NOWAIT), -EMSGSIZE);
        assert_code(shk_queue_reserve(queue, too_large[i], &slot, SHK_NOWAIT), -EMSGSIZE);
        ck_assert_ptr_null(slot);
        assert_holds_just(queue, "8 bytes.");
    }
    for (size_t size = 0; size <= sizeof(small); size++) {
        struct iovec too_small = {small, size};
        assert_code(shk_queue_get(queue, small, size, SHK_NOWAIT), -EMSGSIZE);
        assert_code(shk_queue_get_many(queue, &too_small, 1, SHK_NOWAIT), -EMSGSIZE);
        assert_holds_just(queue, "8 bytes.");
    }
    assert_code(shk_queue_task_done(queue), -EINVAL); /* none of these has taken it */
    assert_code(shk_queue_reserve(queue, 4, &slot, SHK_NOWAIT), 0);
    assert_code(shk_queue_commit(queue, 5), -EMSGSIZE);
    assert_code(shk_queue_commit(queue, SIZE_MAX), -EMSGSIZE);
    assert_code(shk_queue_cancel(queue), 0);
    assert_holds_just(queue, "8 bytes.");
    assert_code(shk_queue_get(queue, taken, sizeof(taken), SHK_NOWAIT), 8);
    ck_assert_mem_eq(taken, "8 bytes.", 8);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

START_TEST(test_a_set_of_none_of_too_many_or_of_what_is_never_ready)
{
    struct shk_ready many[SHK_READY_MAX + 1];
    struct things t;

    open_things(test_segment(), &t);
    for (size_t i = 0; i <= SHK_READY_MAX; i++)
        many[i] = (struct shk_ready){SHK_KIND_SEMAPHORE, SHK_READABLE, t.semaphore};
    const struct {
        const struct shk_ready *set;
        unsigned n;
        int code;
    } wrong[] = {
        {NULL, 1, -EINVAL},
        {many, 0, -EINVAL},
        {many, SHK_READY_MAX + 1, -EINVAL},
        {many, UINT_MAX, -EINVAL},
        {&(struct shk_ready){0, SHK_READABLE, t.queue}, 1, -EINVAL},
        {&(struct shk_ready){99, SHK_READABLE, t.queue}, 1, -EINVAL},
        {&(struct shk_ready){SHK_KIND_QUEUE, 0, t.queue}, 1, -EINVAL},
        {&(struct shk_ready){SHK_KIND_QUEUE, SHK_READABLE | SHK_WRITABLE, t.queue}, 1, -EINVAL},
        {&(struct shk_ready){SHK_KIND_SEMAPHORE, SHK_WRITABLE, t.semaphore}, 1, -EINVAL},
        {&(struct shk_ready){SHK_KIND_LOCK, SHK_READABLE, t.lock}, 1, -ENOTSUP},
        {&(struct shk_ready){SHK_KIND_COND, SHK_READABLE, t.cond}, 1, -ENOTSUP},
        {&(struct shk_ready){SHK_KIND_BARRIER, SHK_READABLE, t.barrier}, 1, -ENOTSUP},
        {&(struct shk_ready){SHK_KIND_REGION, SHK_READABLE, t.region}, 1, -ENOTSUP},
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_code(shk_wait_any(wrong[i].set, wrong[i].n, SHK_NOWAIT), wrong[i].code);
        assert_code(shk_ready_fd(wrong[i].set, wrong[i].n), wrong[i].code);
    }
    assert_code(shk_wait_any(many, SHK_READY_MAX, SHK_NOWAIT), 0);
    close_things(&t);
}
END_TEST

static const int64_t over_already[] = {-1, -2, SHK_SEC(-0.5), INT64_MIN};

/* It takes what is there, just as with any other timeout. */
START_TEST(test_a_negative_timeout_tries_once)
{
    char item[64];
    struct iovec one = {item, sizeof(item)}, put = {"b", 1};
    uint64_t sample = 0;
    const void *peeked;
    struct things t;
    int64_t over = over_already[_i];
    void *slot;

    open_things(test_segment(), &t);
    assert_code(shk_lock_acquire(t.lock, over), 0);
    assert_code(shk_lock_release(t.lock), 0);
    assert_code(shk_cond_acquire(t.cond, over), 0);
    assert_code(shk_cond_release(t.cond), 0);
    assert_code(shk_event_set(t.event), 0);
    assert_code(shk_event_wait(t.event, over), 0);
    assert_code(shk_wait_any(&(struct shk_ready){SHK_KIND_EVENT, SHK_READABLE, t.event}, 1, over),
                0);
    assert_code(shk_semaphore_acquire(t.semaphore, over), 0);
    assert_code(shk_stream_append(t.stream, &sample, 1), 0);
    assert_code(shk_reader_read(t.reader, &sample, 1, over), 1);
    assert_code(shk_queue_claim(t.queue, SHK_PRODUCER | SHK_CONSUMER, over), 0);
    assert_code(shk_queue_unclaim(t.queue, SHK_PRODUCER | SHK_CONSUMER), 0);
    assert_code(shk_queue_put(t.queue, "a", 1, over), 0);
    assert_code(shk_queue_put_many(t.queue, &put, 1, over), 1);
    assert_code(shk_queue_reserve(t.queue, 1, &slot, over), 0);
    assert_code(shk_queue_commit(t.queue, 1), 0);
    assert_code(shk_queue_peek(t.queue, &peeked, over), 1);
    assert_code(shk_queue_consume(t.queue), 0);
    assert_code(shk_queue_get(t.queue, item, sizeof(item), over), 1);
    assert_code(shk_queue_get_many(t.queue, &one, 1, over), 1);
    assert_code(shk_queue_join(t.heap, over), 0);
    assert_code(shk_queue_put_priority(t.heap, "b", 1, 7, over), 0);
    assert_code(shk_queue_get(t.heap, item, sizeof(item), over), 1);
    close_things(&t);
}
END_TEST

static int hold_lock_and_sides(void *arg)
{
    struct things t;

    (void)arg;
    open_things(test_segment(), &t);
    assert_code(shk_lock_acquire(t.lock, SHK_NOWAIT), 0);
    assert_code(shk_event_set(t.event), 0);
    pause();
    return 0;
}

/* What would have to wait does not, and says that the time is over. */
START_TEST(test_a_negative_timeout_is_over_already)
{
    char item[64];
    struct iovec one = {item, sizeof(item)};
    uint64_t sample = 0;
    const void *peeked;
    struct things t;
    int64_t over = over_already[_i];
    pid_t holder;

    open_things(test_segment(), &t);
    holder = child_start(hold_lock_and_sides, NULL);
    assert_code(shk_event_wait(t.event, TEST_DEADLINE), 0);
    assert_code(shk_event_clear(t.event), 0);
    assert_code(shk_lock_acquire(t.lock, over), -ETIMEDOUT);
    assert_code(shk_cond_acquire(t.cond, over), 0);
    assert_code(shk_cond_wait(t.cond, over), -ETIMEDOUT);
    assert_code(shk_cond_release(t.cond), 0); /* it still holds the lock */
    assert_code(shk_event_wait(t.event, over), -ETIMEDOUT);
    assert_code(shk_wait_any(&(struct shk_ready){SHK_KIND_EVENT, SHK_READABLE, t.event}, 1, over),
                -ETIMEDOUT);
    assert_code(shk_semaphore_acquire(t.semaphore, over), 0);
    assert_code(shk_semaphore_acquire(t.semaphore, over), -ETIMEDOUT);
    assert_code(shk_reader_read(t.reader, &sample, 1, over), -ETIMEDOUT);
    assert_code(shk_queue_get(t.queue, item, sizeof(item), over), -ETIMEDOUT);
    assert_code(shk_queue_get_many(t.queue, &one, 1, over), -ETIMEDOUT);
    assert_code(shk_queue_peek(t.queue, &peeked, over), -ETIMEDOUT);
    assert_code(shk_queue_get(t.heap, item, sizeof(item), over), -ETIMEDOUT);
    while (shk_queue_put(t.queue, "a", 1, SHK_NOWAIT) == 0)
        ;
    assert_code(shk_queue_put(t.queue, "a", 1, over), -ETIMEDOUT);
    assert_code(shk_queue_join(t.queue, over), -ETIMEDOUT);
    child_kill(holder);
    close_things(&t);
}
END_TEST

static int set_event_soon(void *arg)
{
    struct things t;

    (void)arg;
    open_things(test_segment(), &t);
    wait_until_waiting(segment_name(NULL), getppid(), "event");
    assert_code(shk_event_set(t.event), 0);
    return 0;
}

START_TEST(test_the_longest_timeouts_are_no_negative_ones)
{
    static const int64_t longest[] = {SHK_FOREVER, SHK_FOREVER - 1, INT64_MAX / 2};
    struct things t;

    ck_assert(SHK_FOREVER == INT64_MAX);
    open_things(test_segment(), &t);
    for (size_t i = 0; i < sizeof(longest) / sizeof(longest[0]); i++) {
        pid_t setter;

        assert_code(shk_event_clear(t.event), 0);
        setter = child_start(set_event_soon, NULL);
        assert_code(shk_event_wait(t.event, longest[i]), 0);
        child_succeeds(setter);
    }
    close_things(&t);
}
END_TEST

START_TEST(test_durations_may_have_fractions_and_are_constants)
{
    static const int64_t half = SHK_SEC(0.5);
    static const char array[SHK_MS(1) / 1000] = "";
    enum { MILLISECOND = SHK_MS(1), QUARTER = SHK_MS(0.25) };
    int64_t seconds = 1700000000, n = 2;
    double fraction = 1.5;

    _Static_assert(SHK_SEC(0.5) == 500000000 && SHK_SEC(0.5f) == 500000000 &&
                       SHK_SEC(2) == 2000000000,
                   "constants");
    ck_assert(half == 500000000 && sizeof(array) == 1000 && MILLISECOND == 1000000 &&
              QUARTER == 250000);
    ck_assert(SHK_SEC(0.57) == 570000000 && SHK_SEC(-0.57) == -570000000 && SHK_MS(0.3) == 300000 &&
              SHK_MS(1e-6) == 1);
    ck_assert(SHK_SEC(fraction) == 1500000000 && SHK_MS(fraction) == 1500000);
    /* whole numbers are exact, however large */
    ck_assert(SHK_SEC(seconds) + 1 == 1700000000000000001);
    ck_assert(SHK_SEC(n++) == 2000000000 && n == 3);
    ck_assert(SHK_SEC(fraction++) == 1500000000 && fraction == 2.5);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("bad input");
    TCase *segments = test_case(suite, "segments");
    tcase_add_test(segments, test_a_segment_has_a_legal_name);
    tcase_add_test(segments, test_a_slash_in_front_of_a_segments_name_changes_nothing);
    tcase_add_test(segments, test_a_segments_options_are_checked);
    tcase_add_test(segments, test_a_segments_flags_are_checked);

    TCase *objects = test_case(suite, "objects");
    tcase_add_test(objects, test_an_object_has_a_legal_name);
    tcase_add_test(objects, test_an_object_may_have_any_legal_name);
    tcase_add_test(objects, test_unlinking_an_object_checks_its_name);
    tcase_add_test(objects, test_an_objects_flags_and_reserved_fields_are_checked);
    tcase_add_test(objects, test_enums_and_switches_are_checked);
    tcase_add_test(objects, test_an_absent_object_is_not_created_unasked);
    tcase_add_test(objects, test_excl_creates_once);
    tcase_add_test(objects, test_an_object_is_opened_as_what_it_is);

    TCase *geometry = test_case(suite, "geometry");
    tcase_add_test(geometry, test_a_lock_is_opened_with_its_options);
    tcase_add_test(geometry, test_a_condition_is_opened_with_its_kind_and_lock);
    tcase_add_test(geometry, test_objects_used_together_are_of_one_segment);
    tcase_add_test(geometry, test_a_queue_is_opened_with_its_geometry);
    tcase_add_test(geometry, test_a_region_is_opened_with_its_geometry);
    tcase_add_test(geometry, test_semaphores_barriers_and_streams_are_opened_with_their_geometry);
    tcase_add_test(geometry, test_what_is_too_large_for_the_segment_does_not_fit);

    TCase *calls = test_case(suite, "calls");
    tcase_add_test(calls, test_calls_on_nothing);
    tcase_add_test(calls, test_calls_in_a_closed_segment);
    tcase_add_test(calls, test_nothing_to_put_and_nowhere_to_get_to);
    tcase_add_test(calls, test_numbers_that_are_no_tickets_change_nothing);
    tcase_add_test(calls, test_a_ticket_is_none_of_another_queue);
    tcase_add_test(calls, test_a_ticket_of_what_came_back_is_none);
    tcase_add_test(calls, test_no_items_no_samples_no_place_for_them);
    tcase_add_loop_test(calls, test_what_does_not_fit_stays_where_it_is, SHK_FIFO,
                        SHK_PRIORITY + 1);
    tcase_add_test(calls, test_a_set_of_none_of_too_many_or_of_what_is_never_ready);
    tcase_add_loop_test(calls, test_a_negative_timeout_tries_once, 0,
                        sizeof(over_already) / sizeof(over_already[0]));
    tcase_add_loop_test(calls, test_a_negative_timeout_is_over_already, 0,
                        sizeof(over_already) / sizeof(over_already[0]));
    tcase_add_test(calls, test_the_longest_timeouts_are_no_negative_ones);
    tcase_add_test(calls, test_durations_may_have_fractions_and_are_constants);
    return run_tests(suite);
}
