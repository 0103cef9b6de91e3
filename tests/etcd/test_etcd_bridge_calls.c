/*
 * The bridge, killed at every system call, while requests and replies are lost, and requests
 * carried out late: each item comes once, and in order.
 */
#include "bridge.h"
#include "stub.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BACKLOG 70 /* items that wait when the bridge starts: two batches */

static const char *const once[] = {"--once", "-q", NULL};

struct account {
    struct stub *stub;
    struct shk_queue *queue;
    char from[160], to[160];
    unsigned put, got, lost, doubled; /* the next item has the number got + lost */
};

static void begin(struct account *a)
{
    const struct shk_queue_options options = {.capacity = 2 * BACKLOG, .item_size = 16};

    *a = (struct account){.stub = stub_start()};
    snprintf(a->from, sizeof(a->from), "%s/spool", segment_name(NULL));
    snprintf(a->to, sizeof(a->to), "etcd:%s/jobs", segment_name(NULL) + 1);
    assert_code(shk_queue_open(test_segment(), "spool", SHK_CREATE, &options, &a->queue), 0);
}

static void put_backlog(struct account *a)
{
    char item[16];

    for (ssize_t n = shk_queue_size(a->queue); n < BACKLOG; n++, a->put++) {
        snprintf(item, sizeof(item), "%u", a->put);
        assert_code(shk_queue_put(a->queue, item, strlen(item), SHK_FOREVER), 0);
    }
}

static void see_item(void *arg, const char *item, size_t length)
{
    struct account *a = arg;
    char text[17] = "";
    unsigned number, next = a->got + a->lost;

    memcpy(text, item, length < 16 ? length : 16);
    number = (unsigned)atoi(text);
    if (number < next) {
        a->doubled++;
        return;
    }
    a->lost += number - next;
    a->got++;
}

static void check(struct account *a, unsigned n)
{
    stub_take_items(a->stub, see_item, a);
    ck_assert_msg(a->lost == 0 && a->doubled == 0, "call %u: %u lost, %u doubled, of %u", n,
                  a->lost, a->doubled, a->put);
}

/* What is left comes with a bridge that is not killed, and a server that loses nothing. */
static void end(struct account *a, const char *what, unsigned kills)
{
    static const enum stub_fault none[] = {STUB_ANSWERS};

    stub_set_faults(a->stub, none, 1);
    stub_release(a->stub);
    ck_assert_int_eq(bridge_run(a->from, a->to, once, 0), 0);
    check(a, 0);
    printf("%s: killed %u times; %u requests lost, %u replies lost, %u requests carried out late; "
           "%u items put, %u got, %u lost, %u doubled\n",
           what, kills, stub_count(a->stub, STUB_LOSES_REQUEST),
           stub_count(a->stub, STUB_LOSES_REPLY), stub_count(a->stub, STUB_DELAYS), a->put, a->got,
           a->lost, a->doubled);
    ck_assert_uint_eq(a->got, a->put);
    assert_code(shk_queue_size(a->queue), 0);
    assert_code(shk_queue_close(a->queue), 0);
    stub_stop(a->stub);
}

/*
 * Each run begins with what the one before has left. What was delayed is carried out before the
 * next bridge starts, or after its first put.
 */
static void kill_at_every_call(const enum stub_fault *faults, unsigned n_faults, const char *what)
{
    struct account a;
    unsigned n = 0;
    int status;

    begin(&a);
    stub_set_faults(a.stub, faults, n_faults);
    do {
        put_backlog(&a);
        status = bridge_run(a.from, a.to, once, ++n);
        if (n % 2)
            stub_release(a.stub);
        check(&a, n);
    } while (status == -1);
    ck_assert_int_eq(status, 0);
    ck_assert_uint_gt(n, 100);
    end(&a, what, n - 1);
}

START_TEST(test_etcd_bridge_killed_at_every_call_carries_each_item_once)
{
    static const enum stub_fault none[] = {STUB_ANSWERS};

    kill_at_every_call(none, 1, "all is answered");
}
END_TEST

START_TEST(test_etcd_bridge_killed_at_every_call_with_losses_carries_each_item_once)
{
    static const enum stub_fault faults[] = {STUB_LOSES_REPLY, STUB_ANSWERS,       STUB_DELAYS,
                                             STUB_ANSWERS,     STUB_LOSES_REQUEST, STUB_ANSWERS,
                                             STUB_DELAYS,      STUB_LOSES_REPLY,   STUB_ANSWERS};

    kill_at_every_call(faults, sizeof(faults) / sizeof(*faults), "with losses");
}
END_TEST

START_TEST(test_etcd_bridge_with_losses_carries_each_item_once)
{
    static const enum stub_fault faults[] = {
        STUB_LOSES_REPLY, STUB_DELAYS, STUB_ANSWERS, STUB_LOSES_REQUEST, STUB_LOSES_REPLY,
        STUB_ANSWERS,     STUB_DELAYS, STUB_DELAYS,  STUB_LOSES_REPLY,   STUB_ANSWERS};
    struct account a;

    begin(&a);
    stub_set_faults(a.stub, faults, sizeof(faults) / sizeof(*faults));
    for (int i = 0; i < 20; i++) {
        put_backlog(&a);
        ck_assert_int_eq(bridge_run(a.from, a.to, once, 0), 0);
        check(&a, 0);
    }
    end(&a, "not killed, with losses", 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("bridge at system calls");
    TCase *calls = test_case(suite, "calls");

    tcase_add_test(calls, test_etcd_bridge_with_losses_carries_each_item_once);
    tcase_add_test(calls, test_etcd_bridge_killed_at_every_call_carries_each_item_once);
    tcase_add_test(calls, test_etcd_bridge_killed_at_every_call_with_losses_carries_each_item_once);
    return run_tests(suite);
}
