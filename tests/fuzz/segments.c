/*
 * segments DIRECTORY SEGMENT: the corpus. Makes segments of that name with every kind of object,
 * with holders, waiters and dead members, and saves the bytes of each in a file of the directory.
 */
#include <shmkit.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* bytes that are kept of a segment; behind them is what is in queues with items at their length */
#define LONGEST 400000
#define ITEM    16

static const char *name;
static struct shk_segment *segment;

static struct objects {
    struct shk_lock *lock, *recursive;
    struct shk_cond *changed, *given, *native;
    struct shk_event *go;
    struct shk_semaphore *permits;
    struct shk_barrier *start;
    struct shk_queue *full, *empty, *stack, *ranked, *endless, *weighed, *measured, *jobs, *errands;
    struct shk_stream *signal;
    struct shk_region *table;
    struct shk_rwlock *read, *written;
    struct shk_once *once;
    struct shk_semaphore *owned;
    struct shk_value *config;
} o;

static void fail(const char *what)
{
    fprintf(stderr, "segments: %s: %s\n", what, shk_last_error());
    exit(1);
}

static void check(long long result, const char *what)
{
    if (result < 0)
        fail(what);
}

#define CHECK(call) check(call, #call)
#define OPEN(kind, object, ...)                           \
    CHECK(shk_##kind##_open(segment, #object, SHK_CREATE, \
                            &(struct shk_##kind##_options){__VA_ARGS__}, &o.object))

static void open_segment(uint32_t max_members, uint32_t max_objects)
{
    struct shk_segment_options options = {
        .size = 16 << 20, .max_members = max_members, .max_objects = max_objects};

    CHECK(shk_segment_open(name, SHK_CREATE, &options, &segment));
}

static void open_objects(void)
{
    OPEN(lock, lock, .no_deadlock_check = 1);
    OPEN(lock, recursive, .recursive = 1);
    OPEN(cond, changed, 0);
    OPEN(cond, given, .lock = o.lock);
    OPEN(cond, native, .kind = SHK_COND_PTHREAD);
    OPEN(event, go, 0);
    OPEN(semaphore, permits, .max = 2);
    OPEN(barrier, start, .parties = 9);
    OPEN(queue, full, .capacity = 2, .item_size = ITEM);
    OPEN(queue, empty, .capacity = 2, .item_size = ITEM);
    OPEN(queue, stack, .order = SHK_LIFO, .capacity = 3, .item_size = ITEM);
    OPEN(queue, ranked, .order = SHK_PRIORITY, .capacity = 3, .item_size = ITEM);
    OPEN(stream, signal, .sample_size = 8, .history = 4);
    OPEN(region, table, .size = 64);
    OPEN(rwlock, read, .no_deadlock_check = 1);
    OPEN(rwlock, written, 0);
    OPEN(once, once, 0);
    OPEN(semaphore, owned, .value = 3, .owners = 1);
    OPEN(value, config, .size = 64);
    OPEN(queue, endless, .item_size = ITEM);
    OPEN(queue, weighed, .item_size = 1 << 20, .capacity_bytes = 1000);
    OPEN(queue, measured, .order = SHK_LIFO, .capacity = 9, .item_size = 1u << 31);
    OPEN(queue, jobs, .capacity = 9, .item_size = ITEM);
    OPEN(queue, errands, .order = SHK_PRIORITY, .item_size = 1 << 20, .capacity_bytes = 1000);
}

/* ---- what is in them ---- */

static uint64_t lease(struct shk_queue *queue)
{
    uint64_t ticket = 0;
    char item[ITEM];

    CHECK(shk_queue_lease(queue, item, sizeof(item), SHK_NOWAIT, &ticket));
    return ticket;
}

/* One is acknowledged, one has come back, one will later, one stays leased, one waits. */
static void lease_some(struct shk_queue *queue)
{
    uint64_t ticket[4];

    for (int i = 0; i < 5; i++)
        CHECK(shk_queue_put(queue, "job", 3, SHK_NOWAIT));
    for (int i = 0; i < 4; i++)
        ticket[i] = lease(queue);
    CHECK(shk_queue_ack(queue, ticket[0]));
    CHECK(shk_queue_nack(queue, ticket[1], 0));
    CHECK(shk_queue_nack(queue, ticket[2], SHK_SEC(3600)));
}

static void fill(void)
{
    static const double samples[] = {1, 2, 3, 4, 5, 6};

    for (int i = 0; i < 2; i++)
        CHECK(shk_queue_put(o.full, "存款者", 9, SHK_NOWAIT));
    for (int i = 0; i < 3; i++) {
        CHECK(shk_queue_put(o.stack, "a", 1, SHK_NOWAIT));
        CHECK(shk_queue_put_priority(o.ranked, "b", 1, -i, SHK_NOWAIT));
        CHECK(shk_queue_put(o.endless, "", 0, SHK_NOWAIT));
        CHECK(shk_queue_put(o.weighed, "c", 1, SHK_NOWAIT));
        CHECK(shk_queue_put(o.measured, "d", 1, SHK_NOWAIT));
    }
    lease_some(o.jobs);
    lease_some(o.errands);
    CHECK(shk_stream_append(o.signal, samples, 6));
    CHECK(shk_semaphore_acquire_many(o.owned, 2, SHK_NOWAIT));
    for (int i = 0; i < 6; i++)
        CHECK(shk_value_set(o.config, "colour=blue", 11));
}

/* ---- holders and waiters ---- */

static int hold(void)
{
    shk_lock_acquire(o.lock, SHK_FOREVER);
    shk_lock_acquire(o.recursive, SHK_FOREVER);
    shk_lock_acquire(o.recursive, SHK_FOREVER);
    return shk_event_wait(o.go, SHK_FOREVER);
}

static int wait_native(void)
{
    shk_cond_acquire(o.native, SHK_FOREVER);
    return shk_cond_wait(o.native, SHK_FOREVER);
}

static int wait_changed(void)
{
    shk_cond_acquire(o.changed, SHK_FOREVER);
    return shk_cond_wait(o.changed, SHK_FOREVER);
}

static int acquire_recursive(void)
{
    return shk_lock_acquire(o.recursive, SHK_SEC(3600));
}

static int acquire_permit(void)
{
    return shk_semaphore_acquire(o.permits, SHK_FOREVER);
}

static int acquire_owned(void)
{
    shk_semaphore_acquire(o.owned, SHK_FOREVER);
    return shk_semaphore_acquire_many(o.owned, 2, SHK_FOREVER);
}

/* What has come back, and after it what waited. */
static int lease_jobs(void)
{
    for (int i = 0; i < 2; i++) {
        lease(o.jobs);
        lease(o.errands);
    }
    return shk_event_wait(o.go, SHK_FOREVER);
}

static int wait_for_version(void)
{
    return (int)shk_value_wait(o.config, 6, SHK_FOREVER);
}

static int meet(void)
{
    return shk_barrier_wait(o.start, SHK_FOREVER);
}

/* By role, as are the consumer and the reader below: the only ones, which are dead afterwards. */
static int put_full(void)
{
    CHECK(shk_queue_open(segment, "full", SHK_AS(SHK_PRODUCER), NULL, &o.full));
    return shk_queue_put(o.full, "x", 1, SHK_FOREVER);
}

static int get_empty(void)
{
    char item[ITEM];

    CHECK(shk_queue_open(segment, "empty", SHK_AS(SHK_CONSUMER), NULL, &o.empty));
    return shk_queue_get(o.empty, item, sizeof(item), SHK_FOREVER);
}

static int join_stack(void)
{
    char item[ITEM];

    shk_queue_get(o.stack, item, sizeof(item), SHK_FOREVER);
    return shk_queue_join(o.stack, SHK_FOREVER);
}

static int keep_ranked(void)
{
    const void *item;

    shk_queue_peek(o.ranked, &item, SHK_FOREVER);
    return shk_event_wait(o.go, SHK_FOREVER);
}

static int read_signal(void)
{
    struct shk_reader *reader;
    double sample;

    CHECK(shk_stream_open(segment, "signal", SHK_AS(SHK_CONSUMER), NULL, &o.signal));
    CHECK(shk_reader_open(o.signal, SHK_NEXT, &reader));
    return shk_reader_read(reader, &sample, 1, SHK_FOREVER);
}

static int wait_for_any(void)
{
    struct shk_ready set[] = {
        {.kind = SHK_KIND_EVENT, .want = SHK_READABLE, .object = o.go},
        {.kind = SHK_KIND_QUEUE, .want = SHK_READABLE, .object = o.empty},
    };

    return shk_wait_any(set, 2, SHK_FOREVER);
}

static int hold_shared(void)
{
    shk_rwlock_acquire_shared(o.read, SHK_FOREVER);
    shk_rwlock_acquire(o.written, SHK_FOREVER);
    shk_once_begin(o.once, SHK_FOREVER);
    return shk_event_wait(o.go, SHK_FOREVER);
}

static int write_read(void)
{
    return shk_rwlock_acquire(o.read, SHK_FOREVER);
}

static int read_written(void)
{
    return shk_rwlock_acquire_shared(o.written, SHK_FOREVER);
}

static int begin_once(void)
{
    return shk_once_begin(o.once, SHK_FOREVER);
}

static int (*const roles[])(void) = {
    hold,         acquire_recursive, wait_changed, wait_changed, wait_native, acquire_permit,
    meet,         put_full,          get_empty,    join_stack,   keep_ranked, read_signal,
    wait_for_any, hold_shared,       write_read,   read_written, begin_once,  acquire_owned,
    lease_jobs,   wait_for_version,
};
enum { ROLES = sizeof(roles) / sizeof(*roles) };

static pid_t children[ROLES];

static bool is_asleep(pid_t child)
{
    const struct shk_member_info *member;
    struct shk_snapshot *look;
    bool asleep = false;

    CHECK(shk_snapshot_open(name, &look));
    for (size_t i = 0; (member = shk_snapshot_member(look, i)) && !asleep; i++)
        asleep = member->pid == child && member->waits_for != SHK_WAITS_NOT;
    shk_snapshot_close(look);
    return asleep;
}

/* One after the other, so that each finds what it is to find. */
static void start_children(void)
{
    for (int i = 0; i < ROLES; i++) {
        pid_t parent = getpid();
        int tries = 60000;

        children[i] = fork();
        if (children[i] < 0) {
            perror("segments: fork");
            exit(1);
        }
        if (children[i] == 0) {
            char label[32];

            prctl(PR_SET_PDEATHSIG, SIGKILL);
            if (getppid() != parent)
                _exit(1);
            snprintf(label, sizeof(label), "进程-%d", i);
            CHECK(shk_set_member_name(segment, label));
            _exit(roles[i]() < 0);
        }
        while (!is_asleep(children[i])) {
            if (tries-- == 0 || waitpid(children[i], NULL, WNOHANG) != 0) {
                fprintf(stderr, "segments: the %dth does not wait\n", i);
                exit(1);
            }
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        }
    }
}

static void kill_children(void)
{
    for (int i = 0; i < ROLES; i++)
        kill(children[i], SIGKILL);
    for (int i = 0; i < ROLES; i++)
        waitpid(children[i], NULL, 0);
}

/* ---- saving ---- */

static void save_descriptor(int fd, const char *directory, const char *file)
{
    static char bytes[LONGEST];
    ssize_t n = pread(fd, bytes, sizeof(bytes), 0);
    char path[4096];
    FILE *out;

    while (n > 0 && bytes[n - 1] == 0)
        n--;
    snprintf(path, sizeof(path), "%s/%s", directory, file);
    out = fopen(path, "wb");
    if (n <= 0 || !out || fwrite(bytes, n, 1, out) != 1 || fclose(out) != 0) {
        fprintf(stderr, "segments: %s: %s\n", path, strerror(errno));
        exit(1);
    }
}

static int open_bytes(void)
{
    char path[300];
    int fd;

    snprintf(path, sizeof(path), "/dev/shm/%s", name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        fprintf(stderr, "segments: %s: %s\n", path, strerror(errno));
        exit(1);
    }
    return fd;
}

static void save(const char *directory, const char *file)
{
    int fd = open_bytes();

    save_descriptor(fd, directory, file);
    close(fd);
}

static void unlink_segment(void)
{
    shk_segment_unlink(name);
}

int main(int argc, char **argv)
{
    int fd;

    if (argc != 3) {
        fprintf(stderr, "usage: segments DIRECTORY SEGMENT\n");
        return 2;
    }
    name = argv[2];
    atexit(unlink_segment);

    open_segment(1, 1);
    save(argv[1], "empty");
    CHECK(shk_segment_unlink(name));
    CHECK(shk_segment_close(segment));

    open_segment(32, 26);
    open_objects();
    save(argv[1], "objects");
    fill();
    save(argv[1], "filled");
    start_children();
    save(argv[1], "waiting");
    kill_children();
    save(argv[1], "dead");
    CHECK(shk_queue_shutdown(o.full));
    CHECK(shk_object_unlink(segment, "stack"));
    fd = open_bytes();
    CHECK(shk_segment_unlink(name));
    save_descriptor(fd, argv[1], "retired");
    close(fd);
    return 0;
}
