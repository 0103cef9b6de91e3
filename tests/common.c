#include "common.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* glibc has it since 2.32; another name of an error will do. */
#ifdef __GLIBC__
#if !__GLIBC_PREREQ(2, 32)
#define strerrorname_np strerror
#endif
#else
#define strerrorname_np strerror
#endif

#define TEST_SECONDS   300          /* more than any one deadline */
#define CHILD_DEADLINE SHK_SEC(200) /* for all that a child has to do */
#define SHM_DIRECTORY  "/dev/shm"
/* the terminal under make check, where standard output is a log; see AM_TESTS_FD_REDIRECT */
#define CONSOLE 9

static char run_prefix[64];  /* of all segments of this run */
static char test_prefix[96]; /* of the segments of the running test */
static struct shk_segment *segment_of_test;
static unsigned descriptors_at_start;

/* ---- The run ---- */

static void die_with_parent(pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent && getppid() != 0) /* 0: the parent is in another pid namespace */
        _exit(1);
}

/* How many files have the part in their names; they are removed if the caller wants it. */
static unsigned scan_shm(const char *part_of_name, bool remove)
{
    unsigned count = 0;
    DIR *directory = opendir(SHM_DIRECTORY);

    if (!directory)
        return 0;
    for (struct dirent *entry; (entry = readdir(directory));) {
        if (!strstr(entry->d_name, part_of_name))
            continue;
        count++;
        if (remove) {
            fprintf(stderr, "left in " SHM_DIRECTORY ": %s\n", entry->d_name);
            unlinkat(dirfd(directory), entry->d_name, 0);
        }
    }
    closedir(directory);
    return count;
}

static int run_in_this_process(SRunner *runner)
{
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

/*
 * The tests run in a child, so that a process is left to clean up if they are ended from outside.
 */
int run_tests(Suite *suite)
{
    SRunner *runner = srunner_create(suite);
    pid_t supervisor = getpid();
    sigset_t watched, before;
    int status, signal_number, ended_by = 0;

    snprintf(run_prefix, sizeof(run_prefix), "shmkit-test-%d-", (int)supervisor);
    sigemptyset(&watched);
    sigaddset(&watched, SIGCHLD);
    sigaddset(&watched, SIGHUP);
    sigaddset(&watched, SIGINT);
    sigaddset(&watched, SIGTERM);
    sigprocmask(SIG_BLOCK, &watched, &before);
    pid_t child = fork();
    if (child < 0) {
        perror("fork");
        return EXIT_FAILURE;
    }
    if (child == 0) {
        die_with_parent(supervisor);
        sigprocmask(SIG_SETMASK, &before, NULL);
        return run_in_this_process(runner);
    }
    signal(SIGPIPE, SIG_IGN); /* what is said about cleaning up may have no reader left */
    while (waitpid(child, &status, WNOHANG) == 0)
        if (sigwait(&watched, &signal_number) == 0 && signal_number != SIGCHLD) {
            ended_by = signal_number;
            kill(child, signal_number);
        }
    srunner_free(runner);
    if (scan_shm(run_prefix, true) > 0 && !ended_by)
        return EXIT_FAILURE;
    if (ended_by) { /* by the signal, so that a script does not go on with its next program */
        signal(ended_by, SIG_DFL);
        raise(ended_by);
        sigprocmask(SIG_SETMASK, &before, NULL);
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILURE;
}

static void begin_test(void)
{
    static unsigned number;

    die_with_parent(getppid());
    /* what a failed test has left is not to fill /dev/shm for all after it */
    scan_shm(run_prefix, true);
    snprintf(test_prefix, sizeof(test_prefix), "%s%d-%u", run_prefix, (int)getpid(), number++);
    descriptors_at_start = open_descriptors();
}

static void end_test(void)
{
    if (segment_of_test) {
        assert_code(shk_segment_close(segment_of_test), 0);
        segment_of_test = NULL;
        int removed = shk_segment_unlink(segment_name(NULL));
        ck_assert_msg(removed == 0 || removed == -ENOENT, "unlink gave %s", code_name(removed));
    }
    pid_t child = waitpid(-1, NULL, WNOHANG);
    ck_assert_msg(child < 0 && errno == ECHILD, "a child is left");
    ck_assert_uint_eq(shm_files(test_prefix), 0);
    ck_assert_uint_eq(open_descriptors(), descriptors_at_start);
}

TCase *test_case(Suite *suite, const char *name)
{
    TCase *tests = tcase_create(name);

    tcase_set_timeout(tests, TEST_SECONDS);
    tcase_add_checked_fixture(tests, begin_test, end_test);
    suite_add_tcase(suite, tests);
    return tests;
}

void print_skipped(const char *test, const char *format, ...)
{
    size_t length = strlen(test);
    va_list values;
    char reason[256];

    if (length > 3 && !strcmp(test + length - 3, "_fn")) /* which libcheck adds to the name */
        length -= 3;
    va_start(values, format);
    vsnprintf(reason, sizeof(reason), format, values);
    va_end(values);
    printf("SKIPPED %.*s: %s\n", (int)length, test, reason);
    fflush(stdout);
    if (getenv("TEST_CONSOLE"))
        dprintf(CONSOLE, "SKIPPED %.*s: %s\n", (int)length, test, reason);
}

/* ---- Return codes ---- */

static _Thread_local char sentence[1000];

void remember_sentence(void)
{
    snprintf(sentence, sizeof(sentence), "%s", shk_last_error());
}

bool sentence_was_kept(void)
{
    return strcmp(shk_last_error(), sentence) == 0;
}

bool code_is(long long got, long long expected)
{
    return got == expected && (got >= 0 || shk_last_error()[0]);
}

const char *code_name(long long code)
{
    static _Thread_local char texts[4][32];
    static _Thread_local unsigned next;
    char *text = texts[next++ % 4];
    const char *name = code < 0 && code > -4096 ? strerrorname_np((int)-code) : NULL;

    if (name)
        snprintf(text, sizeof(texts[0]), "-%s", name);
    else
        snprintf(text, sizeof(texts[0]), "%lld", code);
    return text;
}

const struct bad_name bad_object_names[] = {
    {"", -EINVAL},
    {"a/b", -EINVAL},
    {"line\nfeed", -EINVAL},
    {"delete\x7f", -EINVAL},
    {"\xff", -EILSEQ},
    {"cut \xe5\xad", -EILSEQ},
    {"0123456789012345678901234567890123456789012345678901234567890123", -ENAMETOOLONG},
    {NULL, 0},
};

/* ---- Segments ---- */

const char *segment_name(const char *suffix)
{
    static _Thread_local char names[4][SHK_SEGMENT_NAME_MAX];
    static _Thread_local unsigned next;
    char *name = names[next++ % 4];

    snprintf(name, sizeof(names[0]), "/%s%s%s", test_prefix, suffix ? "-" : "",
             suffix ? suffix : "");
    return name;
}

struct shk_segment *test_segment_with(const struct shk_segment_options *options)
{
    ck_assert_ptr_null(segment_of_test);
    assert_code(
        shk_segment_open(segment_name(NULL), SHK_CREATE | SHK_EXCL, options, &segment_of_test), 0);
    return segment_of_test;
}

struct shk_segment *test_segment(void)
{
    return segment_of_test ? segment_of_test : test_segment_with(NULL);
}

unsigned shm_files(const char *part_of_name)
{
    return scan_shm(part_of_name, false);
}

uint64_t shm_room(uint64_t wished)
{
    struct statvfs room;
    uint64_t share;

    if (statvfs(SHM_DIRECTORY, &room) < 0)
        return wished;
    share = (uint64_t)room.f_bavail * room.f_frsize / 4;
    return share < wished ? share : wished;
}

const char *shm_path(const char *segment)
{
    static _Thread_local char paths[4][sizeof(SHM_DIRECTORY) + SHK_SEGMENT_NAME_MAX + 1];
    static _Thread_local unsigned next;
    char *path = paths[next++ % 4];

    snprintf(path, sizeof(paths[0]), "%s/%s", SHM_DIRECTORY, segment + (segment[0] == '/'));
    return path;
}

void write_shm(const char *segment, off_t at, const void *bytes, size_t size)
{
    int fd = open(shm_path(segment), O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    ck_assert_msg(fd >= 0, "%s: %s", shm_path(segment), strerror(errno));
    ck_assert_int_eq(pwrite(fd, bytes, size, at), (ssize_t)size);
    close(fd);
}

unsigned mappings(void)
{
    unsigned count = 0;
    char line[4096];
    FILE *file = fopen("/proc/self/maps", "re");

    ck_assert_ptr_nonnull(file);
    while (fgets(line, sizeof(line), file))
        count += strstr(line, " " SHM_DIRECTORY "/") != NULL;
    fclose(file);
    return count;
}

unsigned open_descriptors(void)
{
    unsigned count = 0;
    DIR *directory = opendir("/proc/self/fd");

    ck_assert_ptr_nonnull(directory);
    for (struct dirent *entry; (entry = readdir(directory));)
        count += entry->d_name[0] != '.';
    closedir(directory);
    return count - 1; /* the one that looked */
}

/* ---- Children ---- */

pid_t child_start(int (*body)(void *argument), void *argument)
{
    pid_t parent = getpid();

    fflush(NULL);
    pid_t child = fork();
    if (child < 0)
        ck_abort_msg("fork: %s", strerror(errno));
    if (child > 0)
        return child;
    die_with_parent(parent);
    int status = body(argument);
    fflush(NULL);
    _exit(status);
}

struct program {
    int (*body)(void *argument);
    void *argument;
};

static int run_program(void *argument)
{
    const struct program *program = argument;

    assert_code(shk_segment_close(segment_of_test), 0);
    /* It leaves a hole of its size, 1 GiB: filled, so that the segment is mapped elsewhere. */
    ck_assert_ptr_ne(
        mmap(NULL, 1u << 30, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0),
        MAP_FAILED);
    assert_code(shk_segment_open(segment_name(NULL), 0, NULL, &segment_of_test), 0);
    return program->body(program->argument);
}

pid_t stranger_start(int (*body)(void *argument), void *argument)
{
    test_segment();
    return child_start(run_program, &(struct program){body, argument});
}

static volatile sig_atomic_t interrupted;

static void note_signal(int signal_number)
{
    (void)signal_number;
    interrupted = 1;
}

volatile sig_atomic_t *interruptible(void)
{
    struct sigaction action = {.sa_handler = note_signal, .sa_flags = SA_RESTART};

    interrupted = 0;
    ck_assert_int_eq(sigaction(SIGINT, &action, NULL), 0);
    assert_code(shk_set_interrupt(test_segment(), &interrupted), 0);
    return &interrupted;
}

int child_wait(pid_t child)
{
    int status = 0;

    wait_until(waitpid(child, &status, WNOHANG) == child, CHILD_DEADLINE);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void child_succeeds(pid_t child)
{
    ck_assert_int_eq(child_wait(child), 0);
}

void child_kill(pid_t child)
{
    ck_assert_int_eq(kill(child, SIGKILL), 0);
    ck_assert_int_eq(child_wait(child), 128 + SIGKILL);
}

void child_stop(pid_t child)
{
    int status = 0;

    ck_assert_int_eq(kill(child, SIGSTOP), 0);
    wait_until(waitpid(child, &status, WNOHANG | WUNTRACED) == child, TEST_DEADLINE);
    ck_assert(WIFSTOPPED(status));
}

void child_continue(pid_t child)
{
    ck_assert_int_eq(kill(child, SIGCONT), 0);
}

void *shared_memory(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    ck_assert_msg(memory != MAP_FAILED, "mmap: %s", strerror(errno));
    return memory;
}

pthread_barrier_t *shared_barrier(unsigned count)
{
    pthread_barrier_t *barrier = shared_memory(sizeof(*barrier));
    pthread_barrierattr_t attributes;

    pthread_barrierattr_init(&attributes);
    pthread_barrierattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    ck_assert_int_eq(pthread_barrier_init(barrier, &attributes, count), 0);
    pthread_barrierattr_destroy(&attributes);
    return barrier;
}

void become_unprivileged(void)
{
    enum { OVERFLOW_ID = 65534 };
    pid_t parent = getppid();

    ck_assert_int_eq(setgroups(0, NULL), 0);
    ck_assert_int_eq(setresgid(OVERFLOW_ID, OVERFLOW_ID, OVERFLOW_ID), 0);
    ck_assert_int_eq(setresuid(OVERFLOW_ID, OVERFLOW_ID, OVERFLOW_ID), 0);
    die_with_parent(parent); /* a change of the user had cancelled it */
}

static bool write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool written = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

    if (fd >= 0)
        close(fd);
    return written;
}

/* A user other than root may mount in a user namespace, where that is permitted. */
static bool leave_mount_namespace(void)
{
    char uid_map[64], gid_map[64];

    if (unshare(CLONE_NEWNS) == 0)
        return true;
    snprintf(uid_map, sizeof(uid_map), "%d %d 1", (int)geteuid(), (int)geteuid());
    snprintf(gid_map, sizeof(gid_map), "%d %d 1", (int)getegid(), (int)getegid());
    return unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0 &&
           write_file("/proc/self/setgroups", "deny") &&
           write_file("/proc/self/uid_map", uid_map) && write_file("/proc/self/gid_map", gid_map);
}

bool replace_shm(size_t size)
{
    char options[64];

    snprintf(options, sizeof(options), "mode=1777,size=%zu", size);
    return leave_mount_namespace() && mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("shmkit-test", SHM_DIRECTORY, "tmpfs", MS_NOSUID | MS_NODEV, options) == 0;
}

/* ---- Time ---- */

int64_t time_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return SHK_SEC(now.tv_sec) + now.tv_nsec;
}

int time_factor(void)
{
    const char *text = getenv("CK_TIMEOUT_MULTIPLIER");
    int factor = text ? atoi(text) : 1;

    return factor > 1 ? factor : 1;
}

void pause_briefly(void)
{
    nanosleep(&(struct timespec){.tv_nsec = SHK_MS(1)}, NULL);
}

/* ---- A look from outside ---- */

bool look_at_segment(const char *segment, struct shk_segment_info *info)
{
    struct shk_snapshot *look;

    if (shk_snapshot_open(segment, &look) < 0)
        return false;
    *info = *shk_snapshot_segment(look);
    shk_snapshot_close(look);
    return true;
}

bool look_at_member(const char *segment, pid_t tid, struct shk_member_info *info)
{
    struct shk_snapshot *look;
    const struct shk_member_info *member;

    if (shk_snapshot_open(segment, &look) < 0)
        return false;
    for (size_t i = 0; (member = shk_snapshot_member(look, i)); i++) {
        if (member->tid == tid) {
            *info = *member;
            break;
        }
    }
    shk_snapshot_close(look);
    return member;
}

bool look_at_object(const char *segment, const char *object, struct shk_object_info *info)
{
    struct shk_snapshot *look;

    if (shk_snapshot_open(segment, &look) < 0)
        return false;
    const struct shk_object_info *found = shk_snapshot_find_object(look, object);
    if (found)
        *info = *found;
    shk_snapshot_close(look);
    return found;
}

/* How many bytes the character takes; 0 if it is none. */
static size_t character(const unsigned char *s)
{
    static const struct form {
        unsigned char mask, lead;
        uint32_t least;
    } forms[] = {
        {0x80, 0x00, 0x20}, {0xe0, 0xc0, 0x80}, {0xf0, 0xe0, 0x800}, {0xf8, 0xf0, 0x10000}};

    for (size_t i = 0; i < 4; i++) {
        if ((s[0] & forms[i].mask) != forms[i].lead)
            continue;
        uint32_t code = s[0] & (unsigned char)~forms[i].mask;
        for (size_t k = 1; k <= i; k++) {
            if ((s[k] & 0xc0) != 0x80)
                return 0;
            code = code << 6 | (s[k] & 0x3f);
        }
        bool is_surrogate = code >= 0xd800 && code < 0xe000;
        bool is_control = code >= 0x7f && code < 0xa0;
        return code < forms[i].least || is_control || is_surrogate || code > 0x10ffff ? 0 : i + 1;
    }
    return 0;
}

bool is_text(const char *string, size_t room)
{
    const char *end = memchr(string, 0, room);

    while (end && string < end) {
        size_t length = character((const unsigned char *)string);
        if (length == 0)
            return false;
        string += length;
    }
    return end;
}

static bool is_asleep(pid_t tid)
{
    char path[32], state = '?';

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)tid);
    FILE *file = fopen(path, "re");
    if (!file)
        return false;
    if (fscanf(file, "%*d (%*[^)]) %c", &state) != 1)
        state = '?';
    fclose(file);
    return state == 'S';
}

bool is_waiting(const char *segment, pid_t tid, const char *object)
{
    struct shk_member_info member;

    return look_at_member(segment, tid, &member) && member.waits_for != SHK_WAITS_NOT &&
           !strcmp(member.waits_on, object) && is_asleep(tid);
}

void wait_until_waiting(const char *segment, pid_t tid, const char *object)
{
    wait_until(is_waiting(segment, tid, object), TEST_DEADLINE);
}
