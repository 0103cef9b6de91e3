/*
 * The biased lock of a queue's side, as lib/sync/biased.h describes it: entering without the mutex,
 * and revoking the bias.
 */
#include "common.h"

#include "queue/side.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define OFTEN 200 /* visits in a row: more than it takes */

static struct shk_queue *open_jobs(uint32_t order, size_t capacity)
{
    const struct shk_queue_options options = {
        .order = order, .capacity = capacity, .item_size = sizeof(int64_t)};
    struct shk_queue *queue;

    assert_code(shk_queue_open(test_segment(), "jobs", SHK_CREATE, &options, &queue), 0);
    return queue;
}

static int put(struct shk_queue *queue, int64_t number, int64_t timeout)
{
    return shk_queue_put(queue, &number, sizeof(number), timeout);
}

static int64_t get(struct shk_queue *queue, int64_t timeout)
{
    int64_t number;
    ssize_t n = shk_queue_get(queue, &number, sizeof(number), timeout);

    return n < 0 ? n : number;
}

static void move_in(struct shk_queue *queue)
{
    for (int i = 0; i < OFTEN; i++) {
        assert_code(put(queue, i, SHK_NOWAIT), 0);
        ck_assert_int_eq(get(queue, SHK_NOWAIT), i);
    }
}

static uint64_t me(struct shk_queue *queue)
{
    return shki_member_find(queue->object.segment)->id;
}

static uint64_t bias_owner(struct shk_queue *queue)
{
    return atomic_load(&queue->shared->put_lock.bias.owner);
}

#define needs_membarrier()                                                        \
    do {                                                                          \
        if (!test_segment()->asymmetric)                                          \
            skip_test("there is no membarrier(2), so locks have no bias_owners"); \
    } while (0)

/* ---- What the child does ---- */

struct place {
    _Atomic int is_in, may_leave;
};
static struct place *place;

/* Be the bias owner, and do something else. */
static int live_there(void *unused)
{
    struct shk_queue *queue = open_jobs(SHK_FIFO, 4);

    (void)unused;
    move_in(queue);
    ck_assert_uint_eq(bias_owner(queue), me(queue));
    atomic_store(&place->is_in, 1);
    wait_until(atomic_load(&place->may_leave), TEST_DEADLINE);
    assert_code(put(queue, 42, SHK_FOREVER), 0); /* by the mutex, if it has been put out */
    return 0;
}

/* … and be in the middle of an operation. */
static int stay_in_it(void *unused)
{
    struct shk_queue *queue = open_jobs(SHK_FIFO, 4);
    struct shki_member *m;

    (void)unused;
    move_in(queue);
    m = shki_member_find(queue->object.segment);
    ck_assert(shki_side_enter(queue, m, &queue->shared->put_lock));
    atomic_store(&place->is_in, 1);
    wait_until(atomic_load(&place->may_leave), TEST_DEADLINE);
    shki_biased_leave(m);
    return 0;
}

/* … and die in it, with the item in its slot and not yet counted. */
static int die_in_it(void *unused)
{
    struct shk_queue *queue = open_jobs(SHK_FIFO, 4);
    uint64_t tail;
    struct shki_slot *slot;

    (void)unused;
    move_in(queue);
    ck_assert(
        shki_side_enter(queue, shki_member_find(queue->object.segment), &queue->shared->put_lock));
    tail = atomic_load(&queue->shared->tail);
    slot = (struct shki_slot *)(void *)(queue->slots + (tail & queue->mask) * queue->stride);
    memcpy(slot->bytes, &(int64_t){41}, sizeof(int64_t));
    atomic_store(&slot->word, shki_slot_word(tail, sizeof(int64_t)));
    atomic_store(&place->is_in, 1);
    pause();
    return 1;
}

/* A child that has moved in and does that. */
static pid_t start_bias_owner(int (*body)(void *))
{
    pid_t child;

    place = shared_memory(sizeof(*place));
    child = child_start(body, NULL);
    wait_until(atomic_load(&place->is_in), TEST_DEADLINE);
    return child;
}

/* ---- */

START_TEST(test_biased_lock_that_one_member_uses_alone_has_an_owner)
{
    static const uint32_t all[] = {SHK_FIFO, SHK_LIFO, SHK_PRIORITY};
    struct shk_queue *queue = open_jobs(all[_i], 4);

    needs_membarrier();
    ck_assert_uint_eq(bias_owner(queue), 0);
    move_in(queue);
    ck_assert_uint_eq(bias_owner(queue), me(queue));
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

/* Until a consumer looks for dead owners, which one that finds an item does now and then. */
START_TEST(test_biased_lock_has_an_owner_again_after_a_lease_though_the_queue_is_not_empty)
{
    static const uint32_t orders[] = {SHK_FIFO, SHK_LIFO, SHK_PRIORITY};
    struct shk_queue *queue;
    struct shki_side_lock *lock;
    int64_t number, until = time_now() + TEST_DEADLINE * time_factor();
    uint64_t ticket;

    needs_membarrier();
    queue = open_jobs(orders[_i], 4);
    lock = shki_get_lock(queue);
    assert_code(put(queue, 1, SHK_NOWAIT), 0);
    assert_code(put(queue, 1, SHK_NOWAIT), 0);
    assert_code(shk_queue_lease(queue, &number, sizeof(number), SHK_NOWAIT, &ticket), 8);
    ck_assert_uint_eq(atomic_load(&lock->bias.owner), 0);
    assert_code(shk_queue_ack(queue, ticket), 0);
    while (atomic_load(&lock->bias.owner) != me(queue)) {
        ck_assert_int_lt(time_now(), until);
        assert_code(put(queue, 1, SHK_NOWAIT), 0);
        ck_assert_int_eq(get(queue, SHK_NOWAIT), 1);
    }
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

START_TEST(test_biased_lock_revokes_an_owner_that_is_elsewhere)
{
    struct shk_queue *queue = open_jobs(SHK_FIFO, 4);
    pid_t child;

    needs_membarrier();
    child = start_bias_owner(live_there);
    child_stop(child); /* it need not do anything for it */
    assert_code(put(queue, 41, SHK_NOWAIT), 0);
    ck_assert_uint_eq(bias_owner(queue), 0);
    child_continue(child);
    atomic_store(&place->may_leave, 1);
    ck_assert_int_eq(get(queue, SHK_NOWAIT), 41);
    ck_assert_int_eq(get(queue, TEST_DEADLINE), 42);
    child_succeeds(child);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

START_TEST(test_biased_lock_waits_for_an_owner_that_is_in_it)
{
    struct shk_queue *queue = open_jobs(SHK_FIFO, 4);
    pid_t child;

    needs_membarrier();
    child = start_bias_owner(stay_in_it);
    assert_code(put(queue, 1, SHK_NOWAIT), -EBUSY); /* it is not full */
    assert_code_after(SHK_MS(30), put(queue, 1, SHK_MS(30)), -ETIMEDOUT);
    atomic_store(&place->may_leave, 1);
    assert_code(put(queue, 2, SHK_FOREVER), 0);
    ck_assert_int_eq(get(queue, SHK_NOWAIT), 2);
    child_succeeds(child);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

/* ---- SHK_NOWAIT: an item is there, and a member that has lost its CPU holds the get lock ---- */

enum { MOMENT = 60 }; /* ms: longer than any spin */

static int hold_for_a_moment(void *order)
{
    struct shk_queue *queue = open_jobs(*(uint32_t *)order, 4);
    struct shki_side_lock *lock =
        *(uint32_t *)order == SHK_FIFO ? &queue->shared->get_lock : &queue->shared->put_lock;
    struct shki_member *m = shki_member_find(queue->object.segment);

    ck_assert_int_eq(shki_side_trylock_slow(queue, m, lock), 0);
    atomic_store(&place->is_in, 1);
    nanosleep(&(struct timespec){.tv_nsec = MOMENT * 1000000}, NULL);
    wait_until(atomic_load(&place->may_leave), TEST_DEADLINE);
    shki_side_unlock_slow(queue, m, lock);
    return 0;
}

static pid_t start_holder(uint32_t *order)
{
    pid_t child;

    place = shared_memory(sizeof(*place));
    child = child_start(hold_for_a_moment, order);
    wait_until(atomic_load(&place->is_in), TEST_DEADLINE);
    return child;
}

static const uint32_t orders[] = {SHK_FIFO, SHK_LIFO, SHK_PRIORITY};

START_TEST(test_nowait_waits_for_a_lock_that_is_held_for_a_moment)
{
    uint32_t order = orders[_i];
    struct shk_queue *queue = open_jobs(order, 4);
    pid_t child;

    assert_code(put(queue, 41, SHK_NOWAIT), 0);
    child = start_holder(&order);
    atomic_store(&place->may_leave, 1);
    ck_assert_int_eq(get(queue, SHK_NOWAIT), 41);
    child_succeeds(child);
    assert_code(get(queue, SHK_NOWAIT), -EAGAIN);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

START_TEST(test_nowait_does_not_wait_for_a_stopped_holder)
{
    uint32_t order = orders[_i];
    struct shk_queue *queue = open_jobs(order, 4);
    int64_t begun;
    pid_t child;

    assert_code(put(queue, 41, SHK_NOWAIT), 0);
    child = start_holder(&order);
    child_stop(child);
    begun = time_now();
    assert_code(get(queue, SHK_NOWAIT), -EBUSY);
    ck_assert_ptr_nonnull(strstr(shk_last_error(), "stopped"));
    assert_code(shk_queue_claim(queue, SHK_CONSUMER, SHK_NOWAIT),
                order == SHK_FIFO ? -EAGAIN : -ENOTSUP);
    ck_assert_int_lt(time_now() - begun, SHK_SEC(5));
    atomic_store(&place->may_leave, 1);
    child_continue(child);
    child_succeeds(child);
    ck_assert_int_eq(get(queue, SHK_NOWAIT), 41);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

/*
 * Shut down while a member kept the lock, which has given it back since: what is under way still
 * comes.
 */
START_TEST(test_biased_lock_is_not_over_while_its_owner_is_in_it)
{
    struct shk_queue *queue = open_jobs(SHK_FIFO, 4);
    pid_t child;

    needs_membarrier();
    child = start_bias_owner(stay_in_it);
    atomic_store(&queue->shared->shut_down, SHKI_SHUT_WHILE_KEPT);
    assert_code(get(queue, SHK_NOWAIT), -EAGAIN);
    atomic_store(&place->may_leave, 1);
    assert_code(get(queue, SHK_FOREVER), -EPIPE);
    child_succeeds(child);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

START_TEST(test_biased_lock_counts_what_an_owner_had_put_that_died_in_it)
{
    struct shk_queue *queue = open_jobs(SHK_FIFO, 4);
    pid_t child;

    needs_membarrier();
    child = start_bias_owner(die_in_it);
    child_kill(child);
    ck_assert_int_eq(shk_queue_size(queue), 1);
    assert_code(put(queue, 42, SHK_NOWAIT), 0);
    ck_assert_int_eq(shk_queue_size(queue), 2);
    ck_assert_int_eq(get(queue, SHK_NOWAIT), 41);
    ck_assert_int_eq(get(queue, SHK_NOWAIT), 42);
    assert_code(get(queue, SHK_NOWAIT), -EAGAIN);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

/* ---- Without membarrier(2) ---- */

START_TEST(test_biased_lock_has_no_owner_where_membarrier_is_not_wanted)
{
    struct shk_queue *queue;

    setenv("SHK_MEMBARRIER", "0", 1);
    queue = open_jobs(SHK_FIFO, 4);
    ck_assert(!test_segment()->asymmetric);
    move_in(queue);
    ck_assert_uint_eq(bias_owner(queue), 0);
    assert_code(shk_queue_claim(queue, SHK_PRODUCER | SHK_CONSUMER, SHK_NOWAIT), 0);
    move_in(queue);
    assert_code(shk_queue_unclaim(queue, SHK_PRODUCER | SHK_CONSUMER), 0);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

/* From now on the kernel says that it does not know it. */
static void forbid_membarrier(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof(filter) / sizeof(filter[0]), filter};

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        _exit(77);
}

static int is_refused(void *unused)
{
    struct shk_segment *s;

    (void)unused;
    forbid_membarrier();
    assert_code(shk_segment_open(segment_name(NULL), 0, NULL, &s), -ENOSYS);
    ck_assert_ptr_nonnull(strstr(shk_last_error(), "SHK_MEMBARRIER=0"));
    /* What it creates itself does without. */
    assert_code(shk_segment_open(segment_name("own"), SHK_CREATE, NULL, &s), 0);
    ck_assert(!s->asymmetric);
    assert_code(shk_segment_close(s), 0);
    assert_code(shk_segment_unlink(segment_name("own")), 0);
    return 0;
}

START_TEST(test_segment_that_relies_on_membarrier_refuses_members_without)
{
    pid_t child;
    int status;

    needs_membarrier();
    child = child_start(is_refused, NULL);
    status = child_wait(child);
    if (status == 77)
        skip_test("no seccomp filter can be set here");
    ck_assert_int_eq(status, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("lock");
    TCase *bias_owners = test_case(suite, "bias_owners"),
          *without = test_case(suite, "without membarrier");

    tcase_add_loop_test(bias_owners, test_biased_lock_that_one_member_uses_alone_has_an_owner, 0,
                        3);
    tcase_add_loop_test(
        bias_owners,
        test_biased_lock_has_an_owner_again_after_a_lease_though_the_queue_is_not_empty, 0, 3);
    tcase_add_test(bias_owners, test_biased_lock_revokes_an_owner_that_is_elsewhere);
    tcase_add_test(bias_owners, test_biased_lock_waits_for_an_owner_that_is_in_it);
    tcase_add_test(bias_owners, test_biased_lock_is_not_over_while_its_owner_is_in_it);
    tcase_add_test(bias_owners, test_biased_lock_counts_what_an_owner_had_put_that_died_in_it);
    tcase_add_loop_test(without, test_nowait_waits_for_a_lock_that_is_held_for_a_moment, 0, 3);
    tcase_add_loop_test(without, test_nowait_does_not_wait_for_a_stopped_holder, 0, 3);
    tcase_add_test(without, test_biased_lock_has_no_owner_where_membarrier_is_not_wanted);
    tcase_add_test(without, test_segment_that_relies_on_membarrier_refuses_members_without);
    return run_tests(suite);
}
