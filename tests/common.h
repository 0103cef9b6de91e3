/*
 * What the tests have in common: a run that leaves nothing behind, children, waiting for a state, a
 * look from outside.
 *
 *     START_TEST(test_lock_reports_a_dead_holder)
 *     {
 *         pid_t holder = child_start(hold_for_ever, NULL);
 *         wait_until(is_held("till"));
 *         child_kill(holder);
 *         …
 *     }
 *     END_TEST
 *
 *     int main(void)
 *     {
 *         Suite *suite = suite_create("lock");
 *         TCase *deaths = test_case(suite, "deaths");
 *         tcase_add_test(deaths, test_lock_reports_a_dead_holder);
 *         return run_tests(suite);
 *     }
 *
 * libcheck runs each test in a process of its own. A ck_assert in a child of it works as well: the
 * child ends with status 1, and its message is the one that is reported. In hot loops use a plain
 * if: each ck_assert writes to a file.
 */
#ifndef TESTS_COMMON_H
#define TESTS_COMMON_H

#include <check.h>
#include <pthread.h>
#include <shmkit.h>
#include <stdatomic.h>
#include <stdbool.h>

/* ---- The run ---- */

/*
 * The result is main()'s. Whatever happens to the tests, their children and segments are gone
 * afterwards.
 */
int run_tests(Suite *);

/*
 * A case whose tests have a generous timeout, and fail when they leave a child, a descriptor or a
 * segment behind. $CK_TIMEOUT_MULTIPLIER stretches all deadlines, for valgrind and the like.
 */
TCase *test_case(Suite *, const char *name);

/* Leave the test, with the reason on the terminal even under make check. */
#define skip_test(...)                        \
    do {                                      \
        print_skipped(__func__, __VA_ARGS__); \
        return;                               \
    } while (0)
void print_skipped(const char *test, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- Return codes ---- */

/*
 * The call returns just this: 0 or a number, and has left the last sentence alone, or -errno, and
 * then there is a sentence about it.
 */
#define assert_code(call, expected)                                                              \
    do {                                                                                         \
        remember_sentence();                                                                     \
        long long got_ = (call), expected_ = (expected);                                         \
        ck_assert_msg(code_is(got_, expected_), "%s gave %s, not %s; last error: \"%s\"", #call, \
                      code_name(got_), code_name(expected_), shk_last_error());                  \
        ck_assert_msg(got_ < 0 || sentence_was_kept(),                                           \
                      "%s succeeded and changed the last error to \"%s\"", #call,                \
                      shk_last_error());                                                         \
    } while (0)
void remember_sentence(void);
bool sentence_was_kept(void);
bool code_is(long long got, long long expected);
const char *code_name(long long code); /* "-EAGAIN", "3" */

/* The same about a code that another thread or process was given, which had the sentence. */
#define assert_result(result, expected)                                                \
    do {                                                                               \
        long long got_ = (result), expected_ = (expected);                             \
        ck_assert_msg(got_ == expected_, "%s is %s, not %s", #result, code_name(got_), \
                      code_name(expected_));                                           \
    } while (0)

/*
 * It returns just this once that time is over, never before; how long after depends on the machine.
 */
#define assert_code_after(nanoseconds, call, expected)                                            \
    do {                                                                                          \
        int64_t start_ = time_now(), least_ = (nanoseconds);                                      \
        assert_code(call, expected);                                                              \
        int64_t lasted_ = time_now() - start_;                                                    \
        ck_assert_msg(lasted_ >= least_ && lasted_ < least_ + TEST_DEADLINE * time_factor(),      \
                      "%s took %lld ns, not %lld", #call, (long long)lasted_, (long long)least_); \
    } while (0)

/* What no object may be called, and the code for it; the last name is NULL. */
extern const struct bad_name {
    const char *name;
    int code;
} bad_object_names[];

/* ---- Segments ---- */

/*
 * "/shmkit-test-…": the same in a test and its children, no other has it. suffix: for a second one;
 * NULL: none.
 */
const char *segment_name(const char *suffix);

/*
 * The segment of this test, segment_name(NULL): made by the first call, closed and unlinked after
 * the test.
 */
struct shk_segment *test_segment(void);
/* … which is made with these options: to be called before the other. */
struct shk_segment *test_segment_with(const struct shk_segment_options *);

/* How many files in /dev/shm have this in their names. */
unsigned shm_files(const char *part_of_name);

/*
 * So many bytes as wished for a test, but no more than a quarter of what is free in /dev/shm, which
 * other tests use, too.
 */
uint64_t shm_room(uint64_t wished);

/* "/dev/shm/shmkit-test-…", for looking at the file itself or spoiling it. */
const char *shm_path(const char *segment);

/* Write over what is in that file, which is created if it is absent. */
void write_shm(const char *segment, off_t at, const void *bytes, size_t size);

/* How many mappings of files in /dev/shm this process has. */
unsigned mappings(void);

/* How many descriptors this process has open. */
unsigned open_descriptors(void);

/* ---- Children ---- */

/*
 * Fork a child that runs body(argument) and ends with its result as status; it dies with the
 * caller. Not from a thread that ends before the child does. Each child is to be reaped with one of
 * the functions below.
 */
pid_t child_start(int (*body)(void *argument), void *argument);

/*
 * The same as a program of its own, which does not have test_segment() from its parent but opened
 * it itself: it is mapped at another address than the caller's.
 */
pid_t stranger_start(int (*body)(void *argument), void *argument);

/*
 * In a child: from now on SIGINT ends the calls that block in test_segment(). Returns the flag that
 * it sets.
 */
volatile sig_atomic_t *interruptible(void);

int child_wait(pid_t);      /* until it has ended: its status, or 128 + the signal that killed it */
void child_succeeds(pid_t); /* it ends, and with status 0 */
void child_kill(pid_t);     /* SIGKILL, and reap it */
void child_stop(pid_t);     /* SIGSTOP, and wait until it has stopped */
void child_continue(pid_t);

/* Memory, zeroed, that the caller shares with the children that it starts from then on. */
void *shared_memory(size_t size);

/* A barrier for that many processes: where the children wait to start all at the same moment. */
pthread_barrier_t *shared_barrier(unsigned count);

/* Become another user for good. Only as root, in a child. */
void become_unprivileged(void);

/*
 * Put a small empty file system over /dev/shm for this process alone. False, with errno, if that is
 * not permitted.
 */
bool replace_shm(size_t size);

/* ---- Time ---- */

#define TEST_DEADLINE SHK_SEC(30) /* for what happens at once if all is well */

/* Wait for a state. nanoseconds: longer than it can take on the slowest machine. */
#define wait_until(condition, nanoseconds)                            \
    do {                                                              \
        int64_t deadline_ = time_now() + (nanoseconds)*time_factor(); \
        while (!(condition)) {                                        \
            if (time_now() >= deadline_)                              \
                ck_abort_msg("waited in vain for: %s", #condition);   \
            pause_briefly();                                          \
        }                                                             \
    } while (0)
int64_t time_now(void); /* nanoseconds of CLOCK_MONOTONIC */
int time_factor(void);
void pause_briefly(void);

/* ---- A look from outside ---- */

/*
 * Copies; false if there is no such segment, member or object. A member is found by thread id: a
 * child's is its pid.
 */
bool look_at_segment(const char *segment, struct shk_segment_info *);
bool look_at_member(const char *segment, pid_t tid, struct shk_member_info *);
bool look_at_object(const char *segment, const char *object, struct shk_object_info *);

/* It ends within the room, and is UTF-8 without control characters. */
bool is_text(const char *string, size_t room);

/* The thread is shown as waiting on that object, and sleeps. */
bool is_waiting(const char *segment, pid_t tid, const char *object);
void wait_until_waiting(const char *segment, pid_t tid, const char *object);

#endif
