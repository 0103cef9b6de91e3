/*
 * Requests or replies are lost, or carried out late. Peeks and leases claim each item once, in
 * order; a get that was refused takes nothing later, and a put that was refused puts nothing.
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

int main(void)
{
    Suite *suite = suite_create("lost requests and replies");
    TCase *claims = test_case(suite, "claims"), *late = test_case(suite, "late");

    tcase_add_loop_test(late, test_etcd_a_get_that_was_refused_takes_no_item_later, 1, 4);
    tcase_add_test(late, test_etcd_a_lease_that_was_refused_is_no_attempt_later);
    tcase_add_test(late, test_etcd_a_put_that_was_refused_puts_no_item_later);
    tcase_add_test(late, test_etcd_a_put_that_tries_another_place_puts_its_item_once);

    tcase_add_test(claims, test_etcd_lost_replies_of_leases_lease_each_item_once);
    tcase_add_test(claims, test_etcd_lost_replies_of_peeks_peek_at_each_item_once);
    return run_tests(suite);
}
