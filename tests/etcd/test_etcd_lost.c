/*
 * Requests or replies are lost, or carried out late. Peeks and leases claim each item once, in
 * order; a get that was refused takes nothing later, and a put that was refused puts nothing. What
 * a call has acquired that says that it has not is given back.
 */
#include "stub.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { ITEMS = 24 };

static const enum stub_fault faults[] = {STUB_LOSES_REPLY,   STUB_DELAYS,  STUB_ANSWERS,
                                         STUB_LOSES_REQUEST, STUB_ANSWERS, STUB_LOSES_REPLY,
                                         STUB_LOSES_REPLY,   STUB_ANSWERS, STUB_DELAYS},
                             none[] = {STUB_ANSWERS};

/* The first reply is lost, and then each request; or a reply once; or a request is held once. */
enum { FAULTS = 16 };
static const enum stub_fault given_up[FAULTS] = {STUB_LOSES_REPLY,
                                                 [1 ... FAULTS - 1] = STUB_LOSES_REQUEST},
                             lost_once[FAULTS] = {STUB_LOSES_REPLY},
                             held_once[FAULTS] = {STUB_HOLDS};

/* A key of the segment: valid until four others have been asked for. */
static const char *key_of(const char *part)
{
    static char keys[4][200];
    static unsigned n;
    char *key = keys[n++ % 4];

    snprintf(key, sizeof(keys[0]), "/shmkit/%s/%s", segment_name(NULL) + 1, part);
    return key;
}

static struct shk_segment *open_segment(void)
{
    struct shk_segment *s;
    char name[160];

    snprintf(name, sizeof(name), "etcd:%s", segment_name(NULL) + 1);
    assert_code(shk_segment_open(name, SHK_CREATE, NULL, &s), 0);
    return s;
}

/* The items are their numbers. */
static struct shk_queue *open_queue(struct shk_segment *s, int n)
{
    const struct shk_queue_options options = {.capacity = 2 * ITEMS, .item_size = 64};
    struct shk_queue *queue;
    char number[8];

    assert_code(shk_queue_open(s, "jobs", SHK_CREATE, &options, &queue), 0);
    for (int i = 0; i < n; i++) {
        int length = snprintf(number, sizeof(number), "%d", i);

        assert_code(shk_queue_put(queue, number, (size_t)length, SHK_FOREVER), 0);
    }
    return queue;
}

static void check_number(const char *item, ssize_t n, int number)
{
    char expected[8];
    int length = snprintf(expected, sizeof(expected), "%d", number);

    ck_assert_msg(n == length && memcmp(item, expected, (size_t)n) == 0,
                  "\"%.*s\" instead of %d: %s", n > 0 ? (int)n : 0, item, number,
                  n < 0 ? shk_last_error() : "");
}

static void print_losses(const struct stub *stub)
{
    printf("%d items: %u requests lost, %u replies lost, %u requests carried out late\n", ITEMS,
           stub_count(stub, STUB_LOSES_REQUEST), stub_count(stub, STUB_LOSES_REPLY),
           stub_count(stub, STUB_DELAYS));
    ck_assert_uint_gt(stub_count(stub, STUB_LOSES_REPLY), 2);
    ck_assert_uint_gt(stub_count(stub, STUB_DELAYS), 1);
}

START_TEST(test_etcd_lost_replies_of_leases_lease_each_item_once)
{
    struct stub *stub = stub_start();
    struct shk_segment *s = open_segment();
    struct shk_queue *queue = open_queue(s, ITEMS);
    struct shk_lease_info info;
    uint64_t tickets[ITEMS];
    char item[64];
    ssize_t n;

    stub_set_faults(stub, faults, sizeof(faults) / sizeof(*faults));
    for (int i = 0; i < ITEMS; i++) {
        n = shk_queue_lease(queue, item, sizeof(item), TEST_DEADLINE, &tickets[i]);
        check_number(item, n, i);
    }
    stub_set_faults(stub, none, 1);
    stub_release(stub);
    for (int i = 0; i < ITEMS; i++) {
        assert_code(shk_queue_lease_info(queue, tickets[i], &info), 0);
        ck_assert_uint_eq(info.attempts, 1);
        assert_code(shk_queue_ack(queue, tickets[i]), 0);
    }
    assert_code(shk_queue_size(queue), 0);
    print_losses(stub);
    assert_code(shk_queue_close(queue), 0);
    assert_code(shk_segment_close(s), 0);
    stub_stop(stub);
}
END_TEST

START_TEST(test_etcd_lost_replies_of_peeks_peek_at_each_item_once)
{
    struct stub *stub = stub_start();
    struct shk_segment *s = open_segment();
    struct shk_queue *queue = open_queue(s, ITEMS);
    const void *item;
    ssize_t n;

    stub_set_faults(stub, faults, sizeof(faults) / sizeof(*faults));
    for (int i = 0; i < ITEMS; i++) {
        n = shk_queue_peek(queue, &item, TEST_DEADLINE);
        check_number(item, n, i);
        assert_code(shk_queue_consume(queue), 0);
    }
    stub_set_faults(stub, none, 1);
    stub_release(stub);
    assert_code(shk_queue_size(queue), 0);
    assert_code(shk_queue_unfinished(queue), ITEMS);
    print_losses(stub);
    assert_code(shk_queue_close(queue), 0);
    assert_code(shk_segment_close(s), 0);
    stub_stop(stub);
}
END_TEST

/* ---- The first sending is carried out after the last one was refused ---- */

static void close_all(struct shk_queue *queue, struct shk_segment *s, struct stub *stub)
{
    assert_code(shk_queue_close(queue), 0);
    assert_code(shk_segment_close(s), 0);
    stub_stop(stub);
}

/* Another process has claimed the items, and gives them back. */
START_TEST(test_etcd_a_get_that_was_refused_takes_no_item_later)
{
    static const enum stub_fault held[] = {STUB_HOLDS, STUB_ANSWERS};
    struct stub *stub = stub_start();
    struct shk_segment *s = open_segment();
    struct shk_queue *queue = open_queue(s, _i);
    char items[3][64];
    struct iovec bufs[] = {{items[0], 64}, {items[1], 64}, {items[2], 64}};

    stub_set_faults(stub, held, 2);
    assert_code(shk_queue_get_many(queue, bufs, (unsigned)_i, SHK_NOWAIT), -EBUSY);
    ck_assert_uint_eq(stub_count(stub, STUB_HOLDS), 1);
    stub_set_faults(stub, none, 1);
    assert_code(stub_release(stub), 1);
    assert_code(shk_queue_size(queue), _i);
    close_all(queue, s, stub);
}
END_TEST

/* … and a lease of one is counted as one. */
START_TEST(test_etcd_a_lease_that_was_refused_is_no_attempt_later)
{
    static const enum stub_fault held[] = {STUB_HOLDS, STUB_ANSWERS};
    struct stub *stub = stub_start();
    struct shk_segment *s = open_segment();
    struct shk_queue *queue = open_queue(s, 1);
    uint64_t ticket;
    char item[64];

    stub_set_faults(stub, held, 2);
    assert_code(shk_queue_lease(queue, item, sizeof(item), SHK_MS(100), &ticket), -ETIMEDOUT);
    ck_assert_uint_eq(stub_count(stub, STUB_HOLDS), 1);
    stub_set_faults(stub, none, 1);
    assert_code(stub_release(stub), 1);
    ck_assert_uint_eq(stub_keys(stub, "/slot.claim/") + stub_keys(stub, "/slot.tries/"), 0);
    close_all(queue, s, stub);
}
END_TEST

/* An empty queue, whose places this process knows. */
static struct shk_queue *open_places(struct shk_segment *s, unsigned capacity)
{
    const struct shk_queue_options options = {.capacity = capacity, .item_size = 64};
    struct shk_queue *queue;

    assert_code(shk_queue_open(s, "jobs", SHK_CREATE, &options, &queue), 0);
    assert_code(shk_queue_size(queue), 0);
    return queue;
}

/* Another process has put an item into the only place, and takes it out. */
START_TEST(test_etcd_a_put_that_was_refused_puts_no_item_later)
{
    static const enum stub_fault held[] = {STUB_HOLDS, STUB_ANSWERS};
    struct stub *stub = stub_start();
    struct shk_segment *s = open_segment();
    struct shk_queue *queue = open_places(s, 1);

    stub_set_faults(stub, held, 2);
    assert_code(shk_queue_put(queue, "1", 1, SHK_NOWAIT), -EAGAIN);
    ck_assert_uint_eq(stub_count(stub, STUB_HOLDS), 1);
    stub_set_faults(stub, none, 1);
    assert_code(stub_release(stub), 1);
    assert_code(shk_queue_size(queue), 0);
    close_all(queue, s, stub);
}
END_TEST

/* … when the put is about to use another one. */
START_TEST(test_etcd_a_put_that_tries_another_place_puts_its_item_once)
{
    static const enum stub_fault late[] = {STUB_HOLDS, STUB_ANSWERS, STUB_RELEASES, STUB_ANSWERS};
    struct stub *stub = stub_start();
    struct shk_segment *s = open_segment();
    struct shk_queue *queue = open_places(s, 2);

    stub_set_faults(stub, late, 4);
    assert_code(shk_queue_put(queue, "1", 1, SHK_NOWAIT), 0);
    ck_assert_uint_eq(stub_count(stub, STUB_RELEASES), 1);
    stub_set_faults(stub, none, 1);
    assert_code(shk_queue_size(queue), 1);
    close_all(queue, s, stub);
}
END_TEST

/* The reply is lost, and then etcd is full. */
static const enum stub_fault refused[] = {STUB_LOSES_REPLY, STUB_REFUSES};

START_TEST(test_etcd_a_put_that_a_full_etcd_refuses_has_put_its_item_if_it_did_before)
{
    struct stub *stub = stub_start();
    struct shk_segment *s = open_segment();
    struct shk_queue *queue = open_places(s, _i ? 2 : 0);

    stub_set_faults(stub, refused, 2);
    assert_code(shk_queue_put(queue, "1", 1, SHK_NOWAIT), 0);
    ck_assert_uint_eq(stub_count(stub, STUB_REFUSES), 1);
    stub_set_faults(stub, refused + 1, 1);
    assert_code(shk_queue_put(queue, "2", 1, SHK_NOWAIT), -ENOSPC);
    stub_set_faults(stub, none, 1);
    assert_code(shk_queue_size(queue), 1);
    assert_code(shk_queue_put(queue, "2", 1, SHK_NOWAIT), 0);
    assert_code(shk_queue_size(queue), 2);
    close_all(queue, s, stub);
}
END_TEST

/* A consumer has died with a task. One join is told, also by its second try. */
START_TEST(test_etcd_a_join_whose_reply_is_lost_is_told_of_a_death)
{
    struct stub *stub = stub_start();
    struct shk_segment *s = open_segment();
    struct shk_queue *queue = open_places(s, 2);

    stub_put(stub, key_of("jobs/last/dead"), "0123 0 1 77");
    stub_mind(stub, "/told/", NULL, NULL);
    stub_set_faults(stub, _i ? given_up : lost_once, FAULTS);
    assert_code(shk_queue_join(queue, SHK_NOWAIT), _i ? -EHOSTUNREACH : SHK_ORPHANED);
    ck_assert_uint_eq(stub_keys(stub, "/told/dead"), 1);
    stub_set_faults(stub, none, 1);
    if (_i)
        assert_code(shk_queue_join(queue, SHK_NOWAIT), SHK_ORPHANED);
    assert_code(shk_queue_join(queue, SHK_NOWAIT), 0);
    close_all(queue, s, stub);
}
END_TEST

/* ---- What a call has acquired that says that it has not ---- */

static void close_stub(struct shk_segment *s, struct stub *stub)
{
    assert_code(shk_segment_close(s), 0);
    stub_stop(stub);
}

/* A holder has died, and no other one has been told. */
START_TEST(test_etcd_an_acquire_that_was_given_up_leaves_the_death_to_the_next)
{
    struct stub *stub = stub_start();
    struct shk_segment *s = open_segment();
    struct shk_lock *lock;

    assert_code(shk_lock_open(s, "till", SHK_CREATE, NULL, &lock), 0);
    stub_put(stub, key_of("till/held"), "");
    stub_mind(stub, "/holder", NULL, NULL);
    stub_set_faults(stub, given_up, FAULTS);
    assert_code(shk_lock_acquire(lock, SHK_NOWAIT), -EHOSTUNREACH);
    ck_assert_uint_eq(stub_keys(stub, "/holder"), 1);
    stub_set_faults(stub, none, 1);
    assert_code(shk_lock_acquire(lock, SHK_NOWAIT), SHK_ORPHANED);
    assert_code(shk_lock_release(lock), 0);
    ck_assert_uint_eq(stub_keys(stub, "/till/hol") + stub_keys(stub, "/till/held"), 0);
    assert_code(shk_lock_close(lock), 0);
    close_stub(s, stub);
}
END_TEST

static struct shk_lock *open_watched_lock(struct stub *stub, struct shk_segment **s)
{
    struct shk_lock *lock;

    stub_tell(stub);
    *s = open_segment();
    assert_code(shk_lock_open(*s, "till", SHK_CREATE, NULL, &lock), 0);
    wait_until(stub_is_watched(stub, key_of("till/holder")), TEST_DEADLINE);
    return lock;
}

/* The watch tells of it while the call goes on. */
START_TEST(test_etcd_an_acquire_that_was_given_up_is_given_back)
{
    struct stub *stub = stub_start();
    struct shk_segment *s;
    struct shk_lock *lock = open_watched_lock(stub, &s);

    stub_mind(stub, "/holder", NULL, NULL);
    stub_set_faults(stub, given_up, FAULTS);
    assert_code(shk_lock_acquire(lock, SHK_NOWAIT), -EHOSTUNREACH);
    stub_set_faults(stub, none, 1);
    wait_until(stub_keys(stub, "/holder") == 0, TEST_DEADLINE);
    assert_code(shk_lock_close(lock), 0);
    close_stub(s, stub);
}
END_TEST

/* … and so is one that was refused because another process had the lock. */
START_TEST(test_etcd_an_acquire_that_was_refused_is_given_back)
{
    struct stub *stub = stub_start();
    struct shk_segment *s;
    struct shk_lock *lock = open_watched_lock(stub, &s);

    stub_mind(stub, "/holder", key_of("till/holder"), "{}");
    stub_set_faults(stub, held_once, FAULTS);
    assert_code(shk_lock_acquire(lock, SHK_NOWAIT), -EAGAIN);
    assert_code(stub_release(stub), 1);
    wait_until(stub_keys(stub, "/holder") == 0, TEST_DEADLINE);
    assert_code(shk_lock_close(lock), 0);
    close_stub(s, stub);
}
END_TEST

static struct shk_semaphore *open_semaphore(struct shk_segment *s, unsigned owners)
{
    const struct shk_semaphore_options options = {.value = 2, .owners = owners};
    struct shk_semaphore *semaphore;

    assert_code(shk_semaphore_open(s, "seats", SHK_CREATE, &options, &semaphore), 0);
    return semaphore;
}

START_TEST(test_etcd_a_permit_of_an_acquire_that_was_given_up_survives_a_release)
{
    struct stub *stub = stub_start();
    struct shk_segment *s = open_segment();
    struct shk_semaphore *semaphore = open_semaphore(s, 0);

    stub_mind(stub, "/did/", NULL, NULL);
    stub_set_faults(stub, given_up, FAULTS);
    assert_code(shk_semaphore_acquire(semaphore, SHK_NOWAIT), -EHOSTUNREACH);
    stub_set_faults(stub, none, 1);
    assert_code(shk_semaphore_release(semaphore, 1), 0);
    assert_code(shk_semaphore_value(semaphore), 3);
    assert_code(shk_semaphore_close(semaphore), 0);
    close_stub(s, stub);
}
END_TEST

/* What is given back goes with the lease of the process, as what it takes. */
START_TEST(test_etcd_a_permit_that_is_given_back_leaves_a_key_with_a_lease)
{
    struct stub *stub = stub_start();
    struct shk_segment *s = open_segment();
    struct shk_semaphore *semaphore = open_semaphore(s, 1);

    stub_mind(stub, "/held/", NULL, NULL);
    stub_set_faults(stub, given_up, FAULTS);
    assert_code(shk_semaphore_acquire(semaphore, SHK_NOWAIT), -EHOSTUNREACH);
    stub_set_faults(stub, none, 1);
    stub_put(stub, key_of("seats/held/other"), "{\"n\":1}");
    assert_code(shk_semaphore_acquire_many(semaphore, 2, SHK_NOWAIT), -EAGAIN);
    assert_code(shk_semaphore_value(semaphore), 1);
    ck_assert_uint_eq(stub_keys_without_lease(stub, "/held/"), 1);
    assert_code(shk_semaphore_close(semaphore), 0);
    close_stub(s, stub);
}
END_TEST

START_TEST(test_etcd_permits_that_a_full_etcd_refuses_have_changed_if_they_did_before)
{
    struct stub *stub = stub_start();
    struct shk_segment *s = open_segment();
    struct shk_semaphore *semaphore = open_semaphore(s, 0);

    stub_mind(stub, "/did/", NULL, NULL);
    stub_set_faults(stub, refused, 2);
    assert_code(shk_semaphore_release(semaphore, 1), 0);
    assert_code(shk_semaphore_value(semaphore), 3);
    assert_code(shk_semaphore_acquire(semaphore, SHK_NOWAIT), 0);
    assert_code(shk_semaphore_value(semaphore), 2);
    assert_code(shk_semaphore_close(semaphore), 0);
    close_stub(s, stub);
}
END_TEST

/* A thread of this process. */
struct party {
    pthread_t thread;
    struct shk_rwlock *lock;
    struct shk_cond *cond;
    _Atomic bool is_over;
    int result;
};

static void *read_late(void *argument)
{
    struct party *p = argument;

    p->result = shk_rwlock_acquire_shared(p->lock, TEST_DEADLINE);
    p->is_over = true;
    wait_until(!p->is_over, TEST_DEADLINE);
    assert_code(shk_rwlock_release(p->lock), 0);
    return NULL;
}

static void *write_late(void *argument)
{
    struct party *p = argument;

    p->result = shk_rwlock_acquire(p->lock, TEST_DEADLINE / 3);
    if (p->result == 0)
        assert_code(shk_rwlock_release(p->lock), 0);
    return NULL;
}

static void start_party(struct party *p, void *(*run)(void *))
{
    ck_assert_int_eq(pthread_create(&p->thread, NULL, run, p), 0);
}

static struct shk_rwlock *open_rwlock(struct stub *stub, struct shk_segment *s)
{
    struct shk_rwlock *lock;

    assert_code(shk_rwlock_open(s, "book", SHK_CREATE, NULL, &lock), 0);
    wait_until(stub_is_watched(stub, key_of("book/writer")), TEST_DEADLINE);
    return lock;
}

/* A reader waits because another process writes: its first request lets it in. */
START_TEST(test_etcd_a_reader_that_an_earlier_sending_lets_in_leaves_the_line)
{
    struct stub *stub = stub_start();
    struct party reader = {0};
    struct shk_segment *s;

    stub_tell(stub);
    s = open_segment();
    reader.lock = open_rwlock(stub, s);
    stub_mind(stub, "/reader/", key_of("book/writer"), "{}");
    stub_set_faults(stub, held_once, FAULTS);
    start_party(&reader, read_late);
    wait_until(stub_keys(stub, "/wait/") == 1, TEST_DEADLINE);
    assert_code(stub_release(stub), 1);
    wait_until(reader.is_over, TEST_DEADLINE);
    assert_result(reader.result, 0);
    wait_until(stub_keys(stub, "/wait/") == 0, TEST_DEADLINE);
    reader.is_over = false;
    ck_assert_int_eq(pthread_join(reader.thread, NULL), 0);
    assert_code(shk_rwlock_close(reader.lock), 0);
    close_stub(s, stub);
}
END_TEST

/* A writer is the first of the line, but another process reads: likewise. */
START_TEST(test_etcd_a_writer_that_an_earlier_sending_lets_in_does_not_wait_for_itself)
{
    struct stub *stub = stub_start();
    struct party writer = {0};
    struct shk_segment *s;
    unsigned answers;

    stub_tell(stub);
    s = open_segment();
    writer.lock = open_rwlock(stub, s);
    stub_put(stub, key_of("book/writer"), "{}");
    start_party(&writer, write_late);
    wait_until(stub_keys(stub, "/wait/") == 1, TEST_DEADLINE);
    stub_mind(stub, "/writer", key_of("book/reader/x"), "{}");
    stub_set_faults(stub, held_once, FAULTS);
    answers = stub_count(stub, STUB_ANSWERS);
    stub_delete(stub, key_of("book/writer"));
    wait_until(stub_count(stub, STUB_ANSWERS) > answers, TEST_DEADLINE);
    assert_code(stub_release(stub), 1);
    ck_assert_int_eq(pthread_join(writer.thread, NULL), 0);
    assert_result(writer.result, 0);
    wait_until(stub_keys(stub, "/wait/") + stub_keys(stub, "/writer") == 0, TEST_DEADLINE);
    assert_code(shk_rwlock_close(writer.lock), 0);
    close_stub(s, stub);
}
END_TEST

START_TEST(test_etcd_a_party_that_was_refused_but_has_arrived_breaks_the_barrier)
{
    const struct shk_barrier_options options = {.parties = 2};
    struct stub *stub = stub_start();
    struct shk_barrier *barrier;
    struct shk_segment *s;

    stub_tell(stub);
    s = open_segment();
    assert_code(shk_barrier_open(s, "meet", SHK_CREATE, &options, &barrier), 0);
    wait_until(stub_is_watched(stub, key_of("meet/round")), TEST_DEADLINE);
    stub_mind(stub, "/party/", NULL, NULL);
    stub_set_faults(stub, refused, 2);
    assert_code(shk_barrier_wait(barrier, TEST_DEADLINE), -ENOSPC);
    stub_set_faults(stub, none, 1);
    wait_until(shk_barrier_broken(barrier) == 1, TEST_DEADLINE);
    assert_code(shk_barrier_close(barrier), 0);
    close_stub(s, stub);
}
END_TEST

static struct shk_cond *open_cond(struct shk_segment *s)
{
    struct shk_cond *cond;

    assert_code(shk_cond_open(s, "turn", SHK_CREATE, NULL, &cond), 0);
    return cond;
}

/* The lock is free: another process may have it. */
START_TEST(test_etcd_a_wait_that_was_refused_but_has_given_up_the_lock_says_so)
{
    struct stub *stub = stub_start();
    struct shk_segment *s = open_segment();
    struct shk_cond *cond = open_cond(s);

    assert_code(shk_cond_acquire(cond, SHK_NOWAIT), 0);
    stub_mind(stub, "/wait/", NULL, NULL);
    stub_set_faults(stub, refused, 2);
    assert_code(shk_cond_wait(cond, SHK_MS(100)), -ESTALE);
    ck_assert_uint_eq(stub_keys(stub, "/holder"), 0);
    stub_set_faults(stub, none, 1);
    assert_code(shk_cond_release(cond), -EPERM);
    assert_code(shk_cond_close(cond), 0);
    close_stub(s, stub);
}
END_TEST

static void *wait_once(void *argument)
{
    struct party *p = argument;

    assert_code(shk_cond_acquire(p->cond, TEST_DEADLINE), 0);
    p->result = shk_cond_wait(p->cond, SHK_SEC(4));
    assert_code(shk_cond_release(p->cond), 0);
    return NULL;
}

/* No watch tells the waiter, whose time is over, and the reply is lost when it leaves the line. */
START_TEST(test_etcd_a_waiter_whose_reply_is_lost_has_been_notified)
{
    struct stub *stub = stub_start();
    struct shk_segment *s = open_segment();
    struct party waiter = {.cond = open_cond(s)};

    start_party(&waiter, wait_once);
    wait_until(stub_keys(stub, "/wait/") == 1, TEST_DEADLINE);
    assert_code(shk_cond_acquire(waiter.cond, TEST_DEADLINE), 0);
    assert_code(shk_cond_notify(waiter.cond, 1), 1);
    stub_mind(stub, "/wait/", NULL, NULL);
    stub_set_faults(stub, lost_once, FAULTS);
    assert_code(shk_cond_release(waiter.cond), 0);
    ck_assert_int_eq(pthread_join(waiter.thread, NULL), 0);
    ck_assert_uint_eq(stub_count(stub, STUB_LOSES_REPLY), 1);
    assert_result(waiter.result, 0);
    assert_code(shk_cond_close(waiter.cond), 0);
    close_stub(s, stub);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("lost requests and replies");
    TCase *claims = test_case(suite, "claims"), *late = test_case(suite, "late"),
          *acquired = test_case(suite, "acquired");

    tcase_add_test(acquired, test_etcd_an_acquire_that_was_given_up_leaves_the_death_to_the_next);
    tcase_add_test(acquired, test_etcd_an_acquire_that_was_given_up_is_given_back);
    tcase_add_test(acquired, test_etcd_an_acquire_that_was_refused_is_given_back);
    tcase_add_test(acquired, test_etcd_a_permit_of_an_acquire_that_was_given_up_survives_a_release);
    tcase_add_test(acquired, test_etcd_a_permit_that_is_given_back_leaves_a_key_with_a_lease);
    tcase_add_test(acquired,
                   test_etcd_permits_that_a_full_etcd_refuses_have_changed_if_they_did_before);
    tcase_add_test(acquired, test_etcd_a_reader_that_an_earlier_sending_lets_in_leaves_the_line);
    tcase_add_test(acquired,
                   test_etcd_a_writer_that_an_earlier_sending_lets_in_does_not_wait_for_itself);
    tcase_add_test(acquired, test_etcd_a_party_that_was_refused_but_has_arrived_breaks_the_barrier);
    tcase_add_test(acquired, test_etcd_a_wait_that_was_refused_but_has_given_up_the_lock_says_so);
    tcase_add_test(acquired, test_etcd_a_waiter_whose_reply_is_lost_has_been_notified);

    tcase_add_loop_test(late, test_etcd_a_get_that_was_refused_takes_no_item_later, 1, 4);
    tcase_add_test(late, test_etcd_a_lease_that_was_refused_is_no_attempt_later);
    tcase_add_test(late, test_etcd_a_put_that_was_refused_puts_no_item_later);
    tcase_add_test(late, test_etcd_a_put_that_tries_another_place_puts_its_item_once);
    tcase_add_loop_test(
        late, test_etcd_a_put_that_a_full_etcd_refuses_has_put_its_item_if_it_did_before, 0, 2);
    tcase_add_loop_test(late, test_etcd_a_join_whose_reply_is_lost_is_told_of_a_death, 0, 2);

    tcase_add_test(claims, test_etcd_lost_replies_of_leases_lease_each_item_once);
    tcase_add_test(claims, test_etcd_lost_replies_of_peeks_peek_at_each_item_once);
    return run_tests(suite);
}
