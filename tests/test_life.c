/*
 * Claims about the life of a segment in a process and among others: no descriptor is kept, no
 * memory is given that was not asked for, no process holds another up, and what no process uses can
 * be removed.
 */
#include "common.h"

#include "segment/layout.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SYS_close_range
#define SYS_close_range 436 /* of all machines; glibc before 2.32 */
#endif

#define SMALL (&(struct shk_segment_options){.size = 1 << 20, .max_members = 8, .max_objects = 16})

static struct shk_segment *segment_open(const char *name, unsigned flags)
{
    struct shk_segment *segment = NULL;

    assert_code(shk_segment_open(name, flags, NULL, &segment), 0);
    return segment;
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

/* ---- Descriptors ---- */

START_TEST(test_no_descriptor_is_kept)
{
    unsigned before = open_descriptors();
    struct shk_queue *queue;

    test_segment();
    assert_code(shk_queue_open(test_segment(), "queue", SHK_CREATE, NULL, &queue), 0);
    ck_assert_uint_eq(open_descriptors(), before);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

enum { ITEM = 4096, ITEMS = 2000, FILE_SIZE = 1 << 20 };

/*
 * A file of the program's own, whose descriptor has the number that any of the library's had; -1.
 * No ck_assert: libcheck writes to a descriptor that it believes to be its own.
 */
static int own_file(void)
{
    unsigned char page[4096];
    int fd = open("/tmp", O_TMPFILE | O_RDWR, 0600);

    memset(page, 0x55, sizeof(page));
    for (int i = 0; i < FILE_SIZE; i += (int)sizeof(page))
        if (write(fd, page, sizeof(page)) != sizeof(page))
            return -1;
    return fd;
}

static bool is_whole(int fd)
{
    unsigned char page[4096];
    struct stat st;

    if (fstat(fd, &st) != 0 || st.st_size != FILE_SIZE)
        return false;
    for (int i = 0; i < FILE_SIZE; i += (int)sizeof(page)) {
        if (pread(fd, page, sizeof(page), i) != sizeof(page))
            return false;
        for (unsigned k = 0; k < sizeof(page); k++)
            if (page[k] != 0x55)
                return false;
    }
    return true;
}

/* Let a queue grow and shrink. 0, or a code. */
static int grow_and_shrink(struct shk_queue *queue)
{
    static char item[ITEM];
    int r = 0;

    for (int i = 0; i < ITEMS && r == 0; i++)
        r = shk_queue_put(queue, item, sizeof(item), SHK_FOREVER);
    for (int i = 0; i < ITEMS && r == 0; i++)
        r = shk_queue_get(queue, item, sizeof(item), SHK_FOREVER) == ITEM ? 0 : -EILSEQ;
    return r;
}

static int close_all_descriptors(void *argument)
{
    struct shk_segment *segment = segment_open(segment_name(NULL), SHK_CREATE);
    struct shk_queue *queue;
    int files[20], r, whole = 0;

    (void)argument;
    assert_code(shk_queue_open(segment, "queue", SHK_CREATE,
                               &(struct shk_queue_options){.item_size = ITEM}, &queue),
                0);
    /* with the pipe of the test's messages: from here on only statuses tell */
    syscall(SYS_close_range, 3, ~0u, 0);
    for (int i = 0; i < 20; i++)
        files[i] = own_file();
    r = grow_and_shrink(queue);
    if (r == 0)
        r = shk_queue_close(queue);
    if (r == 0)
        r = shk_segment_unlink(segment_name(NULL));
    if (r == 0)
        r = shk_segment_close(segment);
    for (int i = 0; i < 20; i++)
        whole += is_whole(files[i]);
    return r < 0 ? 1 : whole == 20 ? 0 : 2;
}

START_TEST(test_a_program_may_close_all_descriptors_and_open_its_own)
{
    child_succeeds(child_start(close_all_descriptors, NULL));
}
END_TEST

/* Whatever is printed meanwhile, by another thread too, it goes nowhere. */
static void *print_all_the_time(void *stop)
{
    while (!atomic_load((atomic_int *)stop))
        for (int fd = 0; fd < 3; fd++)
            if (write(fd, "a message to standard error\n", 28) > 0)
                atomic_store((atomic_int *)stop, 2);
    return NULL;
}

static int open_without_standard_descriptors(void *argument)
{
    struct shk_segment *segment;
    static atomic_int stop;
    pthread_t thread;

    (void)argument;
    for (int fd = 0; fd < 3; fd++)
        close(fd);
    pthread_create(&thread, NULL, print_all_the_time, &stop);
    for (int i = 0; i < 200; i++) {
        if (shk_segment_open(segment_name(NULL), SHK_CREATE, SMALL, &segment) < 0)
            return 1;
        if (shk_segment_close(segment) < 0 || (i % 2 && shk_segment_unlink(segment_name(NULL)) < 0))
            return 2;
    }
    if (atomic_load(&stop))
        return 3;
    atomic_store(&stop, 1);
    pthread_join(thread, NULL);
    return 0;
}

START_TEST(test_no_segment_is_ever_standard_error)
{
    child_succeeds(child_start(open_without_standard_descriptors, NULL));
}
END_TEST

/* ---- Memory ---- */

enum { NOT_PERMITTED = 77, MUCH = 16 << 20 };

static int lock_all_memory(void *argument)
{
    int flags = *(int *)argument;
    struct shk_segment *segment;
    struct shk_region *region;
    struct shk_queue *queue;
    struct rlimit limit;
    uint64_t before;

    if (geteuid() != 0 && getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
        /* an ordinary user: a few MiB, and mappings count with their address space */
        return NOT_PERMITTED;
    if (!(flags & MCL_FUTURE)) /* afterwards, and only what has memory */
        segment = segment_open(segment_name(NULL), SHK_CREATE);
    if (mlockall(flags) != 0)
        return NOT_PERMITTED;
    if (flags & MCL_FUTURE)
        segment = segment_open(segment_name(NULL), SHK_CREATE);
    before = resident(segment_name(NULL));
    ck_assert_uint_lt(before, 1 << 20);
    region = region_open(segment, "region", MUCH);
    memset(data_of(region), 1, MUCH);
    ck_assert_uint_ge(resident(segment_name(NULL)), before + MUCH);
    assert_code(shk_object_unlink(segment, "region"), 0);
    assert_code(shk_region_close(region), 0);
    /* locked, and given back */
    ck_assert_uint_lt(resident(segment_name(NULL)), before + (1 << 20));
    assert_code(shk_queue_open(segment, "queue", SHK_CREATE,
                               &(struct shk_queue_options){.item_size = ITEM}, &queue),
                0);
    assert_code(grow_and_shrink(queue), 0);
    ck_assert_uint_lt(resident(segment_name(NULL)), before + MUCH / 2);
    assert_code(shk_queue_close(queue), 0);
    assert_code(shk_segment_close(segment), 0);
    assert_code(shk_segment_unlink(segment_name(NULL)), 0);
    return 0;
}

START_TEST(test_locked_memory_is_what_is_used_and_no_more)
{
    int flags[] = {MCL_CURRENT | MCL_FUTURE, MCL_FUTURE, MCL_CURRENT | MCL_ONFAULT};

    for (int i = 0; i < 3; i++) {
        int status = child_wait(child_start(lock_all_memory, &flags[i]));
        if (status == NOT_PERMITTED)
            skip_test("not permitted to lock memory");
        ck_assert_int_eq(status, 0);
    }
}
END_TEST

/* Whether each mapping of a segment has that flag in /proc/self/smaps: proc(5). */
static bool has_flag(const char *flag)
{
    FILE *file = fopen("/proc/self/smaps", "re");
    bool inside = false, all = false;
    char line[512];

    while (file && fgets(line, sizeof(line), file)) {
        if (strstr(line, "/dev/shm/"))
            inside = true;
        else if (inside && strncmp(line, "VmFlags:", 8) == 0) {
            all = strstr(line, flag) != NULL;
            inside = false;
            if (!all)
                break;
        }
    }
    if (file)
        fclose(file);
    return all;
}

START_TEST(test_a_core_dump_does_not_walk_the_segment)
{
    test_segment();
    ck_assert(has_flag(" dd"));
}
END_TEST

#define MARK 64 /* bytes */

/* Bytes that are nowhere else in a child that makes them: two sequences, of its parent's pid. */
static void make_mark(unsigned char *mark, pid_t parent, unsigned which)
{
    uint32_t x = (uint32_t)parent * 2 + which;

    for (unsigned i = 0; i < MARK; i++, x = x * 1664525 + 1013904223)
        mark[i] = (unsigned char)(x >> 24);
}

/* Dies with one mark in private memory and the other in a segment. */
static int dump_core(void *directory)
{
    const struct rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};
    FILE *filter = fopen("/proc/self/coredump_filter", "we");
    unsigned char *private = malloc(MARK);

    /* Shared mappings of files, too, which are left out by default. */
    if (!filter || fputs("0x7f", filter) < 0 || fclose(filter) != 0 || !private)
        return 1;
    if (setrlimit(RLIMIT_CORE, &unlimited) != 0 || chdir(directory) != 0)
        return 1;
    make_mark(private, getppid(), 0);
    make_mark(data_of(region_open(test_segment(), "marked", MARK)), getppid(), 1);
    signal(SIGABRT, SIG_DFL);
    raise(SIGABRT);
    return private[0];
}

static bool has_mark(const char *path, unsigned which)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    unsigned char mark[MARK];
    struct stat st;
    void *core;
    bool has;

    ck_assert(fd >= 0 && fstat(fd, &st) == 0);
    core = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    ck_assert_ptr_ne(core, MAP_FAILED);
    make_mark(mark, getpid(), which);
    has = memmem(core, (size_t)st.st_size, mark, MARK) != NULL;
    munmap(core, (size_t)st.st_size);
    close(fd);
    return has;
}

/* Whether a process that dumps core leaves a file in its working directory. */
static bool dumps_here(void)
{
    char pattern[256] = "|";
    FILE *file = fopen("/proc/sys/kernel/core_pattern", "re");

    if (file && !fgets(pattern, sizeof(pattern), file))
        pattern[0] = '|';
    if (file)
        fclose(file);
    return pattern[0] != '|' && !strchr(pattern, '/');
}

START_TEST(test_a_core_dump_does_not_have_the_segment)
{
    char directory[] = "/tmp/shmkit-test-XXXXXX", pattern[64];
    bool has_private = false, has_segment = false;
    glob_t cores;

    if (!dumps_here())
        skip_test("core_pattern does not leave core dumps in the working directory");
    ck_assert_ptr_nonnull(mkdtemp(directory));
    test_segment_with(SMALL);
    ck_assert_int_eq(child_wait(stranger_start(dump_core, directory)), 128 + SIGABRT);
    snprintf(pattern, sizeof(pattern), "%s/*", directory);
    bool dumped = glob(pattern, 0, NULL, &cores) == 0;
    if (dumped) {
        has_private = has_mark(cores.gl_pathv[0], 0);
        has_segment = has_mark(cores.gl_pathv[0], 1);
        unlink(cores.gl_pathv[0]);
        globfree(&cores);
    }
    rmdir(directory);
    if (!dumped || !has_private)
        skip_test("there is no complete core dump");
    ck_assert(!has_segment);
}
END_TEST

/* ---- No process holds another up ---- */

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

struct caller {
    struct shk_event *event;
    atomic_int tid, code;
};

static void *join_slow(void *argument)
{
    struct caller *caller = argument;

    atomic_store(&caller->tid, (int)syscall(SYS_gettid));
    atomic_store(&caller->code, shk_event_is_set(caller->event));
    return NULL;
}

static void *open_slow(void *argument)
{
    struct shk_segment *same;
    struct caller *caller = argument;

    atomic_store(&caller->tid, (int)syscall(SYS_gettid));
    atomic_store(&caller->code, shk_segment_open(segment_name(NULL), 0, NULL, &same));
    if (atomic_load(&caller->code) == 0)
        shk_segment_close(same);
    return NULL;
}

static void *create_slow(void *argument)
{
    struct caller *caller = argument;
    struct shk_event *event = NULL;

    assert_code(shk_event_is_set(caller->event), 0);
    atomic_store(&caller->tid, (int)syscall(SYS_gettid));
    atomic_store(&caller->code, shk_event_open(test_segment(), "new", SHK_CREATE, NULL, &event));
    if (event)
        shk_event_close(event);
    return NULL;
}

static int nothing(void *argument)
{
    (void)argument;
    return 0;
}

static bool is_asleep(int tid)
{
    char path[64], line[256] = "";
    const char *state;
    FILE *file;

    snprintf(path, sizeof(path), "/proc/self/task/%d/stat", tid);
    file = tid ? fopen(path, "re") : NULL;
    if (file) {
        if (fgets(line, sizeof(line), file) == NULL)
            *line = '\0';
        fclose(file);
    }
    state = strrchr(line, ')');
    return state && state[2] == 'S';
}

START_TEST(test_fork_does_not_wait_for_another_process)
{
    void *(*const calls[])(void *) = {join_slow, open_slow, create_slow};
    atomic_int *held = shared_memory(sizeof(*held));
    struct caller callers[3] = {0};
    struct shk_event *event;
    pthread_t threads[3];

    assert_code(shk_event_open(test_segment(), "event", SHK_CREATE, NULL, &event), 0);
    for (int i = 2; i >= 0; i--) { /* the last one has to be a member before */
        callers[i] = (struct caller){.event = event, .code = 1};
        if (i == 1) {
            pid_t child = child_start(hold_segment_lock, held);
            wait_until(atomic_load(held), TEST_DEADLINE);
            ck_assert_int_eq(pthread_create(&threads[2], NULL, calls[0], &callers[2]), 0);
            ck_assert_int_eq(pthread_create(&threads[1], NULL, calls[1], &callers[1]), 0);
            wait_until(is_asleep(atomic_load(&callers[1].tid)) &&
                           is_asleep(atomic_load(&callers[2].tid)),
                       TEST_DEADLINE);
            int64_t start = time_now();
            child_succeeds(child_start(nothing, NULL));
            ck_assert_int_lt(time_now() - start, SHK_SEC(2) * time_factor());
            ck_assert_int_eq(atomic_load(&callers[1].code), 1); /* it is still waiting */
            child_kill(child);
            pthread_join(threads[1], NULL);
            pthread_join(threads[2], NULL);
        }
    }
    assert_result(atomic_load(&callers[1].code), 0);
    assert_result(atomic_load(&callers[2].code), 0);
    assert_code(shk_event_close(event), 0);
}
END_TEST

/* ---- What is open in a process stays ---- */

enum { BIG = 1 << 20 };

struct user {
    atomic_int step;
    atomic_int pid;
};

static void *open_and_end(void *argument)
{
    struct shk_segment *segment = segment_open(segment_name(NULL), 0);

    *(struct shk_region **)argument = region_open(segment, "big", BIG);
    memset(data_of(*(struct shk_region **)argument), 0x55, BIG);
    return data_of(*(struct shk_region **)argument);
}

/* Uses what a thread has opened that has ended. Its main thread has not called anything. */
static int use_what_a_thread_opened(void *argument)
{
    struct user *user = argument;
    struct shk_region *region;
    pthread_t thread;
    void *data;

    wait_until(atomic_load(&user->step) == 1, TEST_DEADLINE);
    ck_assert_int_eq(pthread_create(&thread, NULL, open_and_end, &region), 0);
    pthread_join(thread, &data);
    atomic_store(&user->step, 2);
    wait_until(atomic_load(&user->step) == 3, TEST_DEADLINE);
    for (int i = 0; i < BIG; i++)
        if (((unsigned char *)data)[i] != 0x55)
            ck_abort_msg("byte %d has changed", i);
    memset(data, 0xaa, BIG);
    atomic_store(&user->step, 4);
    for (;;)
        pause();
}

static int use_what_a_parent_opened(void *argument)
{
    struct user *user = argument;
    struct shk_region *region;
    unsigned char *data;

    wait_until(atomic_load(&user->step) == 1, TEST_DEADLINE);
    data = open_and_end(&region);
    pid_t child = fork();
    if (child > 0)
        raise(SIGKILL);
    atomic_store(&user->pid, getpid());
    wait_until(kill(getppid(), 0) == 0 && atomic_load(&user->step) == 3, TEST_DEADLINE);
    for (int i = 0; i < BIG; i++)
        if (data[i] != 0x55)
            _exit(1);
    memset(data, 0xaa, BIG);
    atomic_store(&user->step, 4);
    for (;;)
        pause();
}

/*
 * Unlink what another uses, create it anew, and see that each has its own; then that the memory
 * goes with the user.
 */
static void unlink_while_used(int (*body)(void *), bool by_child)
{
    struct user *user = shared_memory(sizeof(*user));
    pid_t child = child_start(body, user), pid = child;
    struct shk_segment *segment = segment_open(segment_name(NULL), SHK_CREATE);
    uint64_t before = resident(segment_name(NULL));

    atomic_store(&user->step, 1);
    if (by_child) {
        ck_assert_int_eq(child_wait(child), 128 + SIGKILL);
        wait_until(atomic_load(&user->pid) != 0, TEST_DEADLINE);
        pid = atomic_load(&user->pid);
    } else {
        wait_until(atomic_load(&user->step) == 2, TEST_DEADLINE);
    }
    assert_code(shk_object_unlink(segment, "big"), 0);
    struct shk_region *region = region_open(segment, "big", BIG);
    memset(data_of(region), 0xff, BIG);
    atomic_store(&user->step, 3);
    wait_until(atomic_load(&user->step) == 4, TEST_DEADLINE);
    for (int i = 0; i < BIG; i++)
        if (data_of(region)[i] != 0xff)
            ck_abort_msg("byte %d has changed", i);
    ck_assert_uint_ge(resident(segment_name(NULL)), before + 2 * BIG);
    if (by_child) {
        kill(pid, SIGKILL);
        wait_until(kill(pid, 0) != 0 || !is_asleep(pid), TEST_DEADLINE);
    } else {
        child_kill(child);
    }
    assert_code(shk_object_unlink(segment, "big"), 0);
    assert_code(shk_region_close(region), 0);
    wait_until(({
                   region = region_open(segment, "other", 64);
                   shk_object_unlink(segment, "other");
                   shk_region_close(region);
                   resident(segment_name(NULL)) < before + BIG / 2;
               }),
               TEST_DEADLINE);
    assert_code(shk_segment_close(segment), 0);
    assert_code(shk_segment_unlink(segment_name(NULL)), 0);
}

START_TEST(test_what_a_thread_opened_stays_when_it_has_ended)
{
    unlink_while_used(use_what_a_thread_opened, false);
}
END_TEST

START_TEST(test_what_a_parent_opened_stays_for_its_child_when_it_has_ended)
{
    unlink_while_used(use_what_a_parent_opened, true);
}
END_TEST

static int open_and_exec(void *argument)
{
    struct shk_region *region;

    wait_until(atomic_load((atomic_int *)argument) == 1, TEST_DEADLINE);
    open_and_end(&region);
    execl("/bin/sleep", "sleep", "1000", NULL);
    return 1;
}

START_TEST(test_what_is_open_ends_with_exec)
{
    atomic_int *step = shared_memory(sizeof(*step));
    struct shk_member_info info;
    struct shk_region *region;

    pid_t child = child_start(open_and_exec, step);
    struct shk_segment *segment = segment_open(segment_name(NULL), SHK_CREATE);
    uint64_t before = resident(segment_name(NULL));
    atomic_store(step, 1);
    wait_until(look_at_member(segment_name(NULL), child, &info) && !info.alive, TEST_DEADLINE);
    ck_assert_uint_ge(resident(segment_name(NULL)), before + BIG);
    assert_code(shk_object_unlink(segment, "big"), 0);
    wait_until(({
                   region = region_open(segment, "other", 64);
                   shk_object_unlink(segment, "other");
                   shk_region_close(region);
                   resident(segment_name(NULL)) < before + BIG / 2;
               }),
               TEST_DEADLINE);
    child_kill(child);
    assert_code(shk_segment_close(segment), 0);
    assert_code(shk_segment_unlink(segment_name(NULL)), 0);
}
END_TEST

static void *hold_and_end(void *argument)
{
    struct shk_segment *segment = segment_open(segment_name(NULL), 0);
    struct shk_lock *lock;

    *(struct shk_region **)argument = region_open(segment, "big", BIG);
    assert_code(shk_lock_open(segment, "lock", SHK_CREATE, NULL, &lock), 0);
    assert_code(shk_lock_acquire(lock, SHK_FOREVER), 0);
    return NULL;
}

static int close_what_a_dead_thread_opened(void *argument)
{
    struct user *user = argument;
    struct shk_region *region;
    pthread_t thread;

    wait_until(atomic_load(&user->step) == 1, TEST_DEADLINE);
    ck_assert_int_eq(pthread_create(&thread, NULL, hold_and_end, &region), 0);
    pthread_join(thread, NULL);
    atomic_store(&user->step, 2);
    wait_until(atomic_load(&user->step) == 3, TEST_DEADLINE);
    assert_code(shk_region_close(region), 0);
    atomic_store(&user->step, 4);
    for (;;)
        pause();
}

/*
 * The record of a thread that ended holding a lock is another process's by the time its own closes
 * a handle.
 */
START_TEST(test_a_record_that_was_taken_over_is_its_new_owners)
{
    struct shk_segment_options one = {.size = 8 << 20, .max_members = 1, .max_objects = 16};
    struct user *user = shared_memory(sizeof(*user));
    struct shk_segment *segment;
    struct shk_region *region;

    pid_t child = child_start(close_what_a_dead_thread_opened, user);
    assert_code(shk_segment_open(segment_name(NULL), SHK_CREATE, &one, &segment), 0);
    assert_code(shk_segment_close(segment), 0); /* there is room for one member */
    atomic_store(&user->step, 1);
    wait_until(atomic_load(&user->step) == 2, TEST_DEADLINE);
    segment = segment_open(segment_name(NULL), 0);
    region = region_open(segment, "big", BIG);
    memset(data_of(region), 0x55, BIG);
    atomic_store(&user->step, 3);
    wait_until(atomic_load(&user->step) == 4, TEST_DEADLINE);
    const unsigned char *data = data_of(region);
    assert_code(shk_object_unlink(segment, "big"), 0);
    struct shk_region *other = region_open(segment, "big", BIG);
    memset(data_of(other), 0xff, BIG);
    for (int i = 0; i < BIG; i++)
        if (data[i] != 0x55)
            ck_abort_msg("byte %d has changed", i);
    assert_code(shk_region_close(other), 0);
    assert_code(shk_region_close(region), 0);
    child_kill(child);
    assert_code(shk_segment_close(segment), 0);
    assert_code(shk_segment_unlink(segment_name(NULL)), 0);
}
END_TEST

/* ---- Making an object holds no other up ---- */

enum { HUGE_REGION = 256 << 20 };

static int make_huge(void *argument)
{
    struct shk_region *region;

    (void)argument;
    region = region_open(test_segment(), "huge", HUGE_REGION);
    for (int i = 0; i < HUGE_REGION; i += 4096)
        if (data_of(region)[i] != 0)
            return 1;
    return 0;
}

/* The state of the entry of an object, seen from outside. */
static uint32_t state_of_entry(const char *object)
{
    struct shki_geometry at = shki_geometry(1024, 256, 0);
    static struct shki_entry entries[256];
    int fd = open(shm_path(segment_name(NULL)), O_RDONLY | O_CLOEXEC);
    uint32_t state = SHKI_ENTRY_FREE;

    ck_assert_int_eq(pread(fd, entries, sizeof(entries), (off_t)at.entries_offset),
                     sizeof(entries));
    close(fd);
    for (int i = 0; i < 256; i++)
        if (entries[i].state > SHKI_ENTRY_TOMBSTONE && strcmp(entries[i].name, object) == 0)
            state = entries[i].state;
    return state;
}

/* A child that was stopped while it makes the object; 0 if it was too fast. */
static pid_t stopped_maker(void)
{
    pid_t child = stranger_start(make_huge, NULL);

    while (state_of_entry("huge") == SHKI_ENTRY_FREE)
        ;
    child_stop(child);
    if (state_of_entry("huge") == SHKI_ENTRY_CREATING)
        return child;
    child_kill(child);
    assert_code(shk_object_unlink(test_segment(), "huge"), 0);
    return 0;
}

START_TEST(test_the_maker_of_an_object_holds_no_other_up)
{
    struct shk_region *region = NULL;
    struct shk_event *event;
    pid_t child = 0;

    if (shm_room(HUGE_REGION / 2) < HUGE_REGION / 2)
        skip_test("/dev/shm has no room for %d MiB", HUGE_REGION >> 20);
    test_segment();
    for (int i = 0; i < 20 && child == 0; i++)
        child = stopped_maker();
    ck_assert_int_ne(child, 0);
    int64_t start = time_now();
    assert_code(shk_event_open(test_segment(), "event", SHK_CREATE, NULL, &event), 0);
    assert_code(shk_object_unlink(test_segment(), "event"), 0);
    assert_code(shk_event_close(event), 0);
    assert_code(shk_object_unlink(test_segment(), "huge"), -ENOENT); /* it is not there yet */
    assert_code(shk_region_open(test_segment(), "huge", 0, NULL, &region), -ENOENT);
    child_succeeds(child_start(nothing, NULL));
    ck_assert_int_lt(time_now() - start, SHK_SEC(2) * time_factor());
    assert_code_after(SHK_SEC(10),
                      shk_region_open(test_segment(), "huge", SHK_CREATE,
                                      &(struct shk_region_options){.size = HUGE_REGION}, &region),
                      -EBUSY);
    child_continue(child);
    region = region_open(test_segment(), "huge", HUGE_REGION); /* waits until it has been made */
    child_succeeds(child);
    assert_code(shk_object_unlink(test_segment(), "huge"), 0);
    assert_code(shk_region_close(region), 0);
}
END_TEST

START_TEST(test_what_a_killed_maker_left_is_cleared)
{
    struct shk_region *region;
    pid_t child = 0;

    if (shm_room(HUGE_REGION / 2) < HUGE_REGION / 2)
        skip_test("/dev/shm has no room for %d MiB", HUGE_REGION >> 20);
    test_segment();
    uint64_t before = resident(segment_name(NULL));
    for (int i = 0; i < 20 && child == 0; i++)
        child = stopped_maker();
    ck_assert_int_ne(child, 0);
    child_kill(child);
    region = region_open(test_segment(), "huge", 64);
    ck_assert_uint_lt(resident(segment_name(NULL)), before + BIG);
    assert_code(shk_region_close(region), 0);
}
END_TEST

/* ---- The file is removed by rm(1) ---- */

static int wait_for_what_comes(void *argument)
{
    struct shk_segment *segment = segment_open(segment_name(NULL), 0);
    int kind = *(int *)argument, r = 0;
    char item[8];

    if (kind == 0) {
        struct shk_event *event;
        assert_code(shk_event_open(segment, "event", SHK_CREATE, NULL, &event), 0);
        r = shk_event_wait(event, SHK_FOREVER);
    } else if (kind == 1) {
        struct shk_semaphore *semaphore;
        assert_code(shk_semaphore_open(segment, "semaphore", SHK_CREATE,
                                       &(struct shk_semaphore_options){.value = 0, .max = 1},
                                       &semaphore),
                    0);
        r = shk_semaphore_acquire(semaphore, SHK_FOREVER);
    } else if (kind == 2) {
        struct shk_queue *queue;
        assert_code(shk_queue_open(segment, "queue", SHK_CREATE,
                                   &(struct shk_queue_options){.capacity = 2, .item_size = 8},
                                   &queue),
                    0);
        r = (int)shk_queue_get(queue, item, sizeof(item), SHK_FOREVER);
    } else if (kind == 3) {
        struct shk_lock *lock;
        assert_code(shk_lock_open(segment, "lock", SHK_CREATE, NULL, &lock), 0);
        r = shk_lock_acquire(lock, SHK_FOREVER);
    } else {
        struct shk_cond *cond;
        uint32_t how = kind == 4 ? SHK_COND_ROBUST : SHK_COND_PTHREAD;
        assert_code(shk_cond_open(segment, kind == 4 ? "cond" : "native", SHK_CREATE,
                                  &(struct shk_cond_options){.kind = how}, &cond),
                    0);
        assert_code(shk_cond_acquire(cond, SHK_FOREVER), 0);
        r = shk_cond_wait(cond, SHK_FOREVER);
    }
    return r == -ESTALE ? 0 : 1;
}

START_TEST(test_a_segment_whose_file_was_removed_is_stale)
{
    static const char *const names[] = {"event", "semaphore", "queue", "lock", "cond", "native"};

    for (int kind = 0; kind < 6; kind++) {
        struct shk_segment *segment = segment_open(segment_name(NULL), SHK_CREATE), *other;
        struct shk_lock *lock;

        assert_code(shk_lock_open(segment, "lock", SHK_CREATE, NULL, &lock), 0);
        assert_code(shk_lock_acquire(lock, SHK_FOREVER), 0);
        pid_t child = child_start(wait_for_what_comes, &kind);
        wait_until_waiting(segment_name(NULL), child, names[kind]);
        ck_assert_int_eq(unlink(shm_path(segment_name(NULL))), 0);
        other = segment_open(segment_name("other"), SHK_CREATE);
        ck_assert_int_eq(rename(shm_path(segment_name("other")), shm_path(segment_name(NULL))), 0);
        child_succeeds(child);
        assert_code(shk_lock_release(lock), 0); /* what is held can still be released */
        assert_code(shk_lock_acquire(lock, SHK_NOWAIT), -ESTALE);
        assert_code(shk_lock_close(lock), 0);
        assert_code(shk_segment_close(segment), 0);
        assert_code(shk_segment_close(other), 0);
        ck_assert_int_eq(unlink(shm_path(segment_name(NULL))), 0);
    }
}
END_TEST

/* ---- What may fail when a thread joins ---- */

START_TEST(test_without_a_thread_specific_key_none_joins)
{
    struct shk_segment *segment = NULL;
    pthread_key_t keys[2000], key;
    int n = 0;

    ck_assert_int_eq(pthread_key_create(&key, NULL), 0);
    while (n < 2000 && pthread_key_create(&keys[n], NULL) == 0)
        n++;
    assert_code(shk_segment_open(segment_name(NULL), SHK_CREATE, SMALL, &segment), -ENOMEM);
    ck_assert_uint_eq(shm_files(segment_name(NULL) + 1), 0);
    ck_assert_int_eq(pthread_key_delete(key), 0);
    assert_code(shk_segment_open(segment_name(NULL), SHK_CREATE, SMALL, &segment), 0);
    for (int i = 0; i < n; i++) {
        ck_assert_ptr_null(pthread_getspecific(keys[i])); /* no other's key has been written over */
        pthread_key_delete(keys[i]);
    }
    assert_code(shk_segment_close(segment), 0);
    assert_code(shk_segment_unlink(segment_name(NULL)), 0);
}
END_TEST

static long raw_fork(void)
{
    return syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
}

START_TEST(test_the_child_of_a_raw_fork_is_not_taken_for_its_parent)
{
    struct shk_lock *lock;
    int status;

    assert_code(shk_lock_open(test_segment(), "lock", SHK_CREATE, NULL, &lock), 0);
    assert_code(shk_lock_acquire(lock, SHK_FOREVER), 0);
    long child = raw_fork();
    if (child == 0) {
        int r = shk_lock_release(lock); /* nor does it give its parent's lock away */
        int a = shk_lock_acquire(lock, SHK_NOWAIT);
        _exit(r == -EPERM && a == -ENOTSUP ? 0 : 1);
    }
    ck_assert_int_eq(waitpid((pid_t)child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    assert_code(shk_lock_acquire(lock, SHK_NOWAIT), -EDEADLK); /* the parent still has it */
    assert_code(shk_lock_release(lock), 0);
    assert_code(shk_lock_close(lock), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("life");
    TCase *descriptors = test_case(suite, "descriptors");
    TCase *memory = test_case(suite, "memory");
    TCase *uses = test_case(suite, "uses");
    TCase *making = test_case(suite, "making");
    TCase *removed = test_case(suite, "removed");
    TCase *joining = test_case(suite, "joining");

    tcase_add_test(descriptors, test_no_descriptor_is_kept);
    tcase_add_test(descriptors, test_a_program_may_close_all_descriptors_and_open_its_own);
    tcase_add_test(descriptors, test_no_segment_is_ever_standard_error);
    tcase_add_test(memory, test_locked_memory_is_what_is_used_and_no_more);
    tcase_add_test(memory, test_a_core_dump_does_not_walk_the_segment);
    tcase_add_test(memory, test_a_core_dump_does_not_have_the_segment);
    tcase_add_test(joining, test_fork_does_not_wait_for_another_process);
    tcase_add_test(uses, test_what_a_thread_opened_stays_when_it_has_ended);
    tcase_add_test(uses, test_what_a_parent_opened_stays_for_its_child_when_it_has_ended);
    tcase_add_test(uses, test_what_is_open_ends_with_exec);
    tcase_add_test(uses, test_a_record_that_was_taken_over_is_its_new_owners);
    tcase_add_test(making, test_the_maker_of_an_object_holds_no_other_up);
    tcase_add_test(making, test_what_a_killed_maker_left_is_cleared);
    tcase_add_test(removed, test_a_segment_whose_file_was_removed_is_stale);
    tcase_add_test(joining, test_without_a_thread_specific_key_none_joins);
    tcase_add_test(joining, test_the_child_of_a_raw_fork_is_not_taken_for_its_parent);
    return run_tests(suite);
}
