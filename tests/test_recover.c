/*
 * Deaths that the kernel does not mark: of processes whose memory went first, as by the OOM reaper
 * (process_mrelease(2) here), of threads with a robust list that leads nowhere, of threads that
 * call exec; and numbers of threads that are used again.
 */
#include "common.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SYS_process_mrelease
#define SYS_process_mrelease 448
#endif

#define SOON SHK_SEC(5) /* for what takes a recheck interval or two */

/* ---- Dying ---- */

/* In shared memory: what a holder has got to. */
static struct board {
    _Atomic int holds;
    _Atomic int tid;
} * board;

static struct board *new_board(void)
{
    return board = shared_memory(sizeof(*board));
}

static bool can_release(void)
{
    return syscall(SYS_process_mrelease, -1, 0) == 0 || errno != ENOSYS;
}

/* SIGKILL, and its memory is gone before it exits; reaped unless it is to stay a zombie. */
static void kill_as_if_out_of_memory(pid_t pid, bool zombie)
{
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0), status;
    siginfo_t info;

    ck_assert_int_ge(pidfd, 0);
    /* So it stops in its exit, while it still has its memory. */
    ck_assert_int_eq(ptrace(PTRACE_SEIZE, pid, NULL, PTRACE_O_TRACEEXIT), 0);
    kill(pid, SIGKILL);
    ck_assert_int_eq(waitpid(pid, &status, __WALL), pid);
    ck_assert(WIFSTOPPED(status));
    ck_assert_int_eq(syscall(SYS_process_mrelease, pidfd, 0), 0);
    ck_assert_int_eq(ptrace(PTRACE_DETACH, pid, NULL, NULL), 0);
    if (zombie)
        ck_assert_int_eq(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    else
        ck_assert_int_eq(waitpid(pid, &status, __WALL), pid);
    close(pidfd);
}

/* Handles that a test, or what it has started, leaves open at its end: they are not lost. */
static const void *left_open[64];

static void leave_open(const void *handle)
{
    static unsigned n;

    ck_assert_uint_lt(n, sizeof(left_open) / sizeof(left_open[0]));
    left_open[n++] = handle;
}

static struct shk_lock *lock_open(const char *name)
{
    struct shk_lock *lock;

    assert_code(shk_lock_open(test_segment(), name, SHK_CREATE, NULL, &lock), 0);
    leave_open(lock);
    return lock;
}

static struct shk_rwlock *rwlock_open(void)
{
    struct shk_rwlock *lock;

    assert_code(shk_rwlock_open(test_segment(), "rwlock", SHK_CREATE, NULL, &lock), 0);
    leave_open(lock);
    return lock;
}

static struct shk_queue *queue_open(uint32_t order)
{
    struct shk_queue_options options = {.order = order, .capacity = 8, .item_size = 8};
    struct shk_queue *queue;

    assert_code(shk_queue_open(test_segment(), "queue", SHK_CREATE, &options, &queue), 0);
    leave_open(queue);
    return queue;
}

static int hold_for_ever(void *unused)
{
    (void)unused;
    assert_code(shk_lock_acquire(lock_open("lock"), SHK_FOREVER), 0);
    board->tid = gettid();
    board->holds = 1;
    while (pause() < 0)
        ;
    return 0;
}

static pid_t holder_start(void)
{
    pid_t pid;

    new_board();
    pid = child_start(hold_for_ever, NULL);
    wait_until(board->holds, TEST_DEADLINE);
    return pid;
}

/* ---- Locks ---- */

START_TEST(test_lock_of_a_holder_out_of_memory_is_reported_to_a_waiter)
{
    struct shk_lock *lock = lock_open("lock");

    if (!can_release())
        skip_test("no process_mrelease(2)");
    kill_as_if_out_of_memory(holder_start(), false);
    assert_code(shk_lock_is_held(lock), 0);
    assert_code(shk_lock_acquire(lock, SOON), SHK_ORPHANED);
    assert_code(shk_lock_release(lock), 0);
    assert_code(shk_lock_acquire(lock, SHK_NOWAIT), 0);
    assert_code(shk_lock_release(lock), 0);
}
END_TEST

START_TEST(test_lock_of_a_zombie_out_of_memory_is_reported)
{
    struct shk_lock *lock = lock_open("lock");
    pid_t holder;

    if (!can_release())
        skip_test("no process_mrelease(2)");
    holder = holder_start();
    kill_as_if_out_of_memory(holder, true);
    assert_code(shk_lock_acquire(lock, SOON), SHK_ORPHANED);
    assert_code(shk_lock_release(lock), 0);
    child_wait(holder);
}
END_TEST

/* A waiter that never waits for as long as a recheck interval finds out, too. */
START_TEST(test_lock_of_a_holder_out_of_memory_is_reported_to_one_that_polls)
{
    const int64_t timeouts[] = {SHK_NOWAIT, SHK_MS(1), SHK_MS(10)};
    struct shk_lock *lock = lock_open("lock");
    int r;

    if (!can_release())
        skip_test("no process_mrelease(2)");
    for (size_t i = 0; i < sizeof(timeouts) / sizeof(timeouts[0]); i++) {
        kill_as_if_out_of_memory(holder_start(), false);
        wait_until((r = shk_lock_acquire(lock, timeouts[i])) >= 0, SOON);
        assert_result(r, SHK_ORPHANED);
        assert_code(shk_lock_release(lock), 0);
    }
}
END_TEST

START_TEST(test_lock_of_a_stopped_holder_stays_its_own)
{
    struct shk_lock *lock = lock_open("lock");
    pid_t holder = holder_start();

    child_stop(holder);
    assert_code_after(SHK_MS(700), shk_lock_acquire(lock, SHK_MS(700)), -ETIMEDOUT);
    child_kill(holder);
    assert_code(shk_lock_acquire(lock, SOON), SHK_ORPHANED);
    assert_code(shk_lock_release(lock), 0);
}
END_TEST

static int cycle_and_sleep(void *unused)
{
    (void)unused;
    assert_code(shk_lock_acquire(lock_open("lock"), SHK_FOREVER), 0);
    board->holds = 1;
    return shk_lock_acquire(lock_open("other"), SHK_FOREVER);
}

/* A dead member is in no circle, though its record says that it sleeps. */
START_TEST(test_no_deadlock_with_a_waiter_out_of_memory)
{
    struct shk_lock *lock = lock_open("lock"), *other = lock_open("other");
    pid_t pid;

    if (!can_release())
        skip_test("no process_mrelease(2)");
    assert_code(shk_lock_acquire(other, SHK_NOWAIT), 0);
    new_board();
    pid = child_start(cycle_and_sleep, NULL);
    wait_until(board->holds, TEST_DEADLINE);
    wait_until_waiting(segment_name(NULL), pid, "other");
    kill_as_if_out_of_memory(pid, false);
    assert_code(shk_lock_acquire(lock, SHK_FOREVER), SHK_ORPHANED);
    assert_code(shk_lock_release(lock), 0);
    assert_code(shk_lock_release(other), 0);
}
END_TEST

/* ---- Other ways not to be marked ---- */

/* The list of a thread leads through a mutex that has been unmapped: the kernel gives up there. */
static int cut_the_list_and_die(void *unused)
{
    pthread_mutexattr_t robust;
    pthread_mutex_t *own =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    (void)unused;
    assert_code(shk_lock_acquire(lock_open("lock"), SHK_FOREVER), 0);
    pthread_mutexattr_init(&robust);
    pthread_mutexattr_setrobust(&robust, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(own, &robust);
    pthread_mutex_lock(own);
    munmap(own, 4096);
    raise(SIGKILL);
    return 0;
}

START_TEST(test_lock_behind_a_cut_robust_list_is_reported)
{
    struct shk_lock *lock = lock_open("lock");

    ck_assert_int_eq(child_wait(child_start(cut_the_list_and_die, NULL)), 128 + SIGKILL);
    assert_code(shk_lock_acquire(lock, SOON), SHK_ORPHANED);
    assert_code(shk_lock_release(lock), 0);
}
END_TEST

/* Beyond the 2048 that the kernel walks. */
static int hold_many_and_die(void *unused)
{
    pthread_mutexattr_t robust;
    static pthread_mutex_t many[2500];

    (void)unused;
    assert_code(shk_lock_acquire(lock_open("lock"), SHK_FOREVER), 0);
    pthread_mutexattr_init(&robust);
    pthread_mutexattr_setrobust(&robust, PTHREAD_MUTEX_ROBUST);
    for (size_t i = 0; i < sizeof(many) / sizeof(many[0]); i++) {
        pthread_mutex_init(&many[i], &robust);
        pthread_mutex_lock(&many[i]);
    }
    raise(SIGKILL);
    return 0;
}

START_TEST(test_lock_beyond_what_the_kernel_walks_is_reported)
{
    struct shk_lock *lock = lock_open("lock");

    ck_assert_int_eq(child_wait(child_start(hold_many_and_die, NULL)), 128 + SIGKILL);
    assert_code(shk_lock_acquire(lock, SOON), SHK_ORPHANED);
    assert_code(shk_lock_release(lock), 0);
}
END_TEST

static void *hold_and_exec(void *unused)
{
    (void)unused;
    assert_code(shk_lock_acquire(lock_open("lock"), SHK_FOREVER), 0);
    board->holds = 1;
    execl("/bin/sleep", "sleep", "1000", NULL);
    return NULL;
}

static int exec_in_a_thread(void *unused)
{
    pthread_t thread;

    (void)unused;
    pthread_create(&thread, NULL, hold_and_exec, NULL);
    while (pause() < 0)
        ;
    return 0;
}

/*
 * The program lives on, under its first thread's number: the one that held the lock does not exist
 * any more.
 */
START_TEST(test_lock_of_a_thread_that_calls_exec_is_reported)
{
    struct shk_lock *lock = lock_open("lock");
    pid_t pid;

    new_board();
    pid = child_start(exec_in_a_thread, NULL);
    wait_until(board->holds, TEST_DEADLINE);
    assert_code(shk_lock_acquire(lock, SOON), SHK_ORPHANED);
    assert_code(shk_lock_release(lock), 0);
    child_kill(pid);
}
END_TEST

/* ---- Numbers ---- */

static int stay(void *unused)
{
    (void)unused;
    board->holds = 1;
    while (pause() < 0)
        ;
    return 0;
}

static int join_and_stay(void *unused)
{
    struct shk_lock *lock;

    (void)unused;
    assert_code(shk_lock_open(test_segment(), "another", SHK_CREATE, NULL, &lock), 0);
    /* SHK_ORPHANED: a child before, with another number, was killed with it */
    ck_assert_int_ge(shk_lock_acquire(lock, SHK_FOREVER), 0);
    return stay(NULL);
}

/* A child with that number: 0, or errno. */
static int start_numbered(pid_t pid, int (*body)(void *))
{
    char number[16];
    int fd = open("/proc/sys/kernel/ns_last_pid", O_WRONLY | O_CLOEXEC), n;
    pid_t child;

    if (fd < 0)
        return errno;
    n = snprintf(number, sizeof(number), "%d", (int)pid - 1);
    if (write(fd, number, (size_t)n) != n) {
        n = errno;
        close(fd);
        return n;
    }
    close(fd);
    board->holds = 0;
    child = child_start(body, NULL);
    if (child == pid)
        return 0;
    child_kill(child);
    return EAGAIN;
}

static void number_is_used_again(int (*body)(void *))
{
    struct shk_lock *lock = lock_open("lock");
    pid_t pid = 0;
    int r = EAGAIN;

    if (!can_release())
        skip_test("no process_mrelease(2)");
    for (int i = 0; r == EAGAIN && i < 20; i++) {
        if (pid != 0) {
            assert_code(shk_lock_acquire(lock, SOON), SHK_ORPHANED);
            assert_code(shk_lock_release(lock), 0);
        }
        pid = holder_start();
        kill_as_if_out_of_memory(pid, false);
        usleep(30000); /* start times are in ticks of 10 ms */
        r = start_numbered(pid, body);
    }
    if (r != 0)
        skip_test("cannot choose the number of a process: %s", strerror(r));
    wait_until(board->holds, TEST_DEADLINE);
    assert_code(shk_lock_acquire(lock, SOON), SHK_ORPHANED);
    assert_code(shk_lock_release(lock), 0);
    child_kill(pid);
}

START_TEST(test_lock_of_the_dead_is_reported_though_its_number_is_used_again)
{
    number_is_used_again(stay);
}
END_TEST

START_TEST(test_lock_of_the_dead_is_reported_though_a_member_has_its_number)
{
    number_is_used_again(join_and_stay);
}
END_TEST

/* ---- What else a dead member holds ---- */

static int claim_and_stay(void *unused)
{
    (void)unused;
    assert_code(shk_queue_claim(queue_open(SHK_FIFO), SHK_PRODUCER | SHK_CONSUMER, SHK_FOREVER), 0);
    return stay(NULL);
}

static pid_t member_start(int (*body)(void *))
{
    pid_t pid;

    new_board();
    pid = child_start(body, NULL);
    wait_until(board->holds, TEST_DEADLINE);
    return pid;
}

START_TEST(test_queue_claimed_by_a_member_out_of_memory_is_free)
{
    struct shk_queue *queue = queue_open(SHK_FIFO);
    char item;

    if (!can_release())
        skip_test("no process_mrelease(2)");
    kill_as_if_out_of_memory(member_start(claim_and_stay), false);
    assert_code(shk_queue_put(queue, "a", 1, SOON), 0);
    assert_code(shk_queue_get(queue, &item, 1, SOON), 1);
    kill_as_if_out_of_memory(member_start(claim_and_stay), false);
    wait_until(shk_queue_put(queue, "a", 1, SHK_NOWAIT) == 0, SOON);
    wait_until(shk_queue_get(queue, &item, 1, SHK_NOWAIT) == 1, SOON);
    kill_as_if_out_of_memory(member_start(claim_and_stay), false);
    assert_code(shk_queue_claim(queue, SHK_PRODUCER | SHK_CONSUMER, SOON), 0);
    assert_code(shk_queue_unclaim(queue, SHK_PRODUCER | SHK_CONSUMER), 0);
}
END_TEST

static int reserve_and_stay(void *unused)
{
    void *slot;

    (void)unused;
    assert_code(shk_queue_reserve(queue_open(SHK_FIFO), 1, &slot, SHK_FOREVER), 0);
    return stay(NULL);
}

/* A consumer that sleeps must be told that nothing comes any more. */
START_TEST(test_queue_shut_down_is_over_when_its_producer_is_out_of_memory)
{
    struct shk_queue *queue = queue_open(SHK_FIFO);
    char item;

    if (!can_release())
        skip_test("no process_mrelease(2)");
    pid_t pid = member_start(reserve_and_stay);
    assert_code(shk_queue_shutdown(queue), 0);
    assert_code(shk_queue_get(queue, &item, 1, SHK_MS(50)), -ETIMEDOUT);
    kill_as_if_out_of_memory(pid, false);
    assert_code(shk_queue_get(queue, &item, 1, SOON), -EPIPE);
}
END_TEST

static int take_and_stay(void *unused)
{
    char item;

    (void)unused;
    assert_code(shk_queue_get(queue_open(SHK_FIFO), &item, 1, SHK_FOREVER), 1);
    return stay(NULL);
}

START_TEST(test_join_does_not_wait_for_a_member_out_of_memory)
{
    struct shk_queue *queue = queue_open(SHK_FIFO);

    if (!can_release())
        skip_test("no process_mrelease(2)");
    assert_code(shk_queue_put(queue, "a", 1, SHK_NOWAIT), 0);
    kill_as_if_out_of_memory(member_start(take_and_stay), false);
    assert_code(shk_queue_join(queue, SOON), SHK_ORPHANED);
}
END_TEST

static struct shk_barrier *barrier_open(void)
{
    struct shk_barrier *barrier;

    assert_code(shk_barrier_open(test_segment(), "barrier", SHK_CREATE,
                                 &(struct shk_barrier_options){.parties = 3}, &barrier),
                0);
    leave_open(barrier);
    return barrier;
}

static int meet(void *unused)
{
    (void)unused;
    return shk_barrier_wait(barrier_open(), SHK_FOREVER);
}

START_TEST(test_barrier_breaks_when_a_waiter_is_out_of_memory)
{
    struct shk_barrier *barrier = barrier_open();
    pid_t pid;

    if (!can_release())
        skip_test("no process_mrelease(2)");
    pid = child_start(meet, NULL);
    wait_until(shk_barrier_waiting(barrier) == 1, TEST_DEADLINE);
    kill_as_if_out_of_memory(pid, false);
    assert_code(shk_barrier_wait(barrier, SOON), -EPIPE);
}
END_TEST

static int acquire_permit(void *semaphore)
{
    return shk_semaphore_acquire(semaphore, SHK_FOREVER);
}

/* It is first in line, and gets what the living one behind it waits for. */
START_TEST(test_permit_of_a_waiter_out_of_memory_goes_to_the_next)
{
    struct shk_semaphore *semaphore;
    pid_t dead, living;

    if (!can_release())
        skip_test("no process_mrelease(2)");
    assert_code(shk_semaphore_open(test_segment(), "semaphore", SHK_CREATE,
                                   &(struct shk_semaphore_options){.value = 0, .max = 9},
                                   &semaphore),
                0);
    leave_open(semaphore);
    dead = child_start(acquire_permit, semaphore);
    wait_until_waiting(segment_name(NULL), dead, "semaphore");
    living = child_start(acquire_permit, semaphore);
    wait_until_waiting(segment_name(NULL), living, "semaphore");
    kill_as_if_out_of_memory(dead, false);
    assert_code(shk_semaphore_release(semaphore, 1), 0);
    child_succeeds(living);
}
END_TEST

static int hold_rwlock(void *shared)
{
    if (shared)
        assert_code(shk_rwlock_acquire_shared(rwlock_open(), SHK_FOREVER), 0);
    else
        assert_code(shk_rwlock_acquire(rwlock_open(), SHK_FOREVER), 0);
    board->holds = 1;
    return stay(NULL);
}

static void kill_rwlock_holder(bool shared)
{
    pid_t pid;

    new_board();
    pid = child_start(hold_rwlock, shared ? board : NULL);
    wait_until(board->holds, TEST_DEADLINE);
    kill_as_if_out_of_memory(pid, false);
}

START_TEST(test_share_of_a_reader_out_of_memory_is_free)
{
    struct shk_rwlock *lock = rwlock_open();

    if (!can_release())
        skip_test("no process_mrelease(2)");
    kill_rwlock_holder(true);
    assert_code(shk_rwlock_acquire(lock, SOON), 0);
    assert_code(shk_rwlock_release(lock), 0);
}
END_TEST

START_TEST(test_rwlock_of_a_writer_out_of_memory_is_reported)
{
    struct shk_rwlock *lock = rwlock_open();
    bool shared = _i;

    if (!can_release())
        skip_test("no process_mrelease(2)");
    kill_rwlock_holder(false);
    assert_code(shared ? shk_rwlock_acquire_shared(lock, SOON) : shk_rwlock_acquire(lock, SOON),
                SHK_ORPHANED);
    assert_code(shk_rwlock_release(lock), 0);
    assert_code(shk_rwlock_acquire(lock, SHK_NOWAIT), SHK_ORPHANED); /* until it is mended */
    assert_code(shk_rwlock_recover(lock), 0);
    assert_code(shk_rwlock_release(lock), 0);
    assert_code(shk_rwlock_acquire_shared(lock, SHK_NOWAIT), 0);
    assert_code(shk_rwlock_release(lock), 0);
}
END_TEST

static int wait_for_rwlock(void *unused)
{
    (void)unused;
    return shk_rwlock_acquire(rwlock_open(), SHK_FOREVER);
}

/* It is first in line, and the reader behind it waits because of it. */
START_TEST(test_writer_that_waited_out_of_memory_lets_readers_in)
{
    struct shk_rwlock *lock = rwlock_open();
    pid_t pid;

    if (!can_release())
        skip_test("no process_mrelease(2)");
    assert_code(shk_rwlock_acquire_shared(lock, SHK_NOWAIT), 0);
    pid = child_start(wait_for_rwlock, NULL);
    wait_until_waiting(segment_name(NULL), pid, "rwlock");
    kill_as_if_out_of_memory(pid, false);
    assert_code(shk_rwlock_release(lock), 0);
    assert_code(shk_rwlock_acquire_shared(lock, SOON), 0);
    assert_code(shk_rwlock_release(lock), 0);
}
END_TEST

/* What it had leased comes back. */
static int lease_and_stay(void *queue)
{
    uint64_t ticket;
    char item[8];

    assert_code(shk_queue_lease(queue, item, sizeof(item), SHK_NOWAIT, &ticket), 4);
    board->holds = 1;
    return stay(NULL);
}

START_TEST(test_lease_of_a_member_out_of_memory_comes_back)
{
    struct shk_queue *queue = queue_open(SHK_FIFO);
    uint64_t ticket;
    char item[8];
    pid_t pid;

    if (!can_release())
        skip_test("no process_mrelease(2)");
    assert_code(shk_queue_put(queue, "item", 4, SHK_NOWAIT), 0);
    new_board();
    pid = child_start(lease_and_stay, queue);
    wait_until(board->holds, TEST_DEADLINE);
    kill_as_if_out_of_memory(pid, false);
    assert_code(shk_queue_lease(queue, item, sizeof(item), SOON, &ticket), 4);
    assert_code(shk_queue_ack(queue, ticket), 0);
}
END_TEST

static int attach(void *unused)
{
    (void)unused;
    lock_open("lock");
    return stay(NULL);
}

START_TEST(test_place_of_a_member_out_of_memory_is_used_again)
{
    struct shk_segment_options few = {.size = 16 << 20, .max_members = 2};

    if (!can_release())
        skip_test("no process_mrelease(2)");
    test_segment_with(&few);
    lock_open("lock");
    for (int i = 0; i < 3; i++)
        kill_as_if_out_of_memory(member_start(attach), false);
}
END_TEST

static int use_alone(void *name)
{
    struct shk_segment *segment;

    assert_code(shk_segment_open(name, SHK_CREATE, NULL, &segment), 0);
    return stay(NULL);
}

START_TEST(test_segment_of_a_member_out_of_memory_is_unused)
{
    const char *name = segment_name("alone");
    pid_t pid;

    if (!can_release())
        skip_test("no process_mrelease(2)");
    new_board();
    pid = child_start(use_alone, (void *)(uintptr_t)name);
    wait_until(board->holds, TEST_DEADLINE);
    assert_code(shk_segment_unlink_unused(name, 0), -EBUSY);
    kill_as_if_out_of_memory(pid, false);
    assert_code(shk_segment_unlink_unused(name, 0), 0);
}
END_TEST

/* ---- With little to go by ---- */

/* A look that a process of another user can have: /proc hides the others. */
static int acquire_with_hidden_proc(void *unused)
{
    struct shk_lock *lock = lock_open("lock");

    (void)unused;
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("proc", "/proc", "proc", 0, "hidepid=2") != 0)
        return 77;
    become_unprivileged();
    return shk_lock_acquire(lock, SOON) == SHK_ORPHANED ? 0 : 1;
}

static int wait_with_hidden_proc(void *unused)
{
    struct shk_lock *lock = lock_open("lock");

    (void)unused;
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("proc", "/proc", "proc", 0, "hidepid=2") != 0)
        return 77;
    become_unprivileged();
    return shk_lock_acquire(lock, SHK_MS(700)) == -ETIMEDOUT ? 0 : 1;
}

START_TEST(test_lock_of_a_zombie_out_of_memory_is_reported_where_proc_hides_it)
{
    pid_t holder;
    int r;

    if (!can_release())
        skip_test("no process_mrelease(2)");
    lock_open("lock");
    holder = holder_start();
    r = child_wait(child_start(wait_with_hidden_proc, NULL)); /* it lives */
    if (r != 77) {
        ck_assert_int_eq(r, 0);
        kill_as_if_out_of_memory(holder, true);
        r = child_wait(child_start(acquire_with_hidden_proc, NULL));
    } else {
        kill(holder, SIGKILL);
    }
    child_wait(holder);
    if (r == 77)
        skip_test("not permitted to mount /proc");
    ck_assert_int_eq(r, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("recover");
    TCase *locks = test_case(suite, "locks"), *ways = test_case(suite, "ways to die"),
          *numbers = test_case(suite, "numbers");
    TCase *held = test_case(suite, "what is held"), *little = test_case(suite, "hidden");

    tcase_add_test(locks, test_lock_of_a_holder_out_of_memory_is_reported_to_a_waiter);
    tcase_add_test(locks, test_lock_of_a_zombie_out_of_memory_is_reported);
    tcase_add_test(locks, test_lock_of_a_holder_out_of_memory_is_reported_to_one_that_polls);
    tcase_add_test(locks, test_lock_of_a_stopped_holder_stays_its_own);
    tcase_add_test(locks, test_no_deadlock_with_a_waiter_out_of_memory);
    tcase_add_test(ways, test_lock_behind_a_cut_robust_list_is_reported);
    tcase_add_test(ways, test_lock_beyond_what_the_kernel_walks_is_reported);
    tcase_add_test(ways, test_lock_of_a_thread_that_calls_exec_is_reported);
    tcase_add_test(numbers, test_lock_of_the_dead_is_reported_though_its_number_is_used_again);
    tcase_add_test(numbers, test_lock_of_the_dead_is_reported_though_a_member_has_its_number);
    tcase_add_test(held, test_queue_claimed_by_a_member_out_of_memory_is_free);
    tcase_add_test(held, test_queue_shut_down_is_over_when_its_producer_is_out_of_memory);
    tcase_add_test(held, test_join_does_not_wait_for_a_member_out_of_memory);
    tcase_add_test(held, test_barrier_breaks_when_a_waiter_is_out_of_memory);
    tcase_add_test(held, test_permit_of_a_waiter_out_of_memory_goes_to_the_next);
    tcase_add_test(held, test_share_of_a_reader_out_of_memory_is_free);
    tcase_add_loop_test(held, test_rwlock_of_a_writer_out_of_memory_is_reported, 0, 2);
    tcase_add_test(held, test_writer_that_waited_out_of_memory_lets_readers_in);
    tcase_add_test(held, test_lease_of_a_member_out_of_memory_comes_back);
    tcase_add_test(held, test_place_of_a_member_out_of_memory_is_used_again);
    tcase_add_test(held, test_segment_of_a_member_out_of_memory_is_unused);
    tcase_add_test(little, test_lock_of_a_zombie_out_of_memory_is_reported_where_proc_hides_it);
    return run_tests(suite);
}
