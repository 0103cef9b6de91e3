/*
 * W14: objects on etcd: one client, and five of a queue, against three servers on loopback, beside
 * bare transactions: the same keys compared and written, by the same HTTP client (libcurl) in a
 * loop, with nothing else in the request, and of the reply only whether it succeeded.
 */
#include "channel.h"
#include "common.h"

#include "../etcd/servers.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/uio.h>

#define ITEM     64
#define BATCH    60
#define CAPACITY 1000
#define TIME     10      /* a transaction takes milliseconds: so many times as long as other rows */
#define RATE     1000.0  /* more than one client takes in a second, singly … */
#define RATE_60  30000.0 /* … and 60 at a time */

/* ---- Bare transactions ---- */

struct bare {
    CURL *curl;
    char url[160], reply[1 << 14], *request;
    size_t length; /* of the reply, as far as it is kept */
};

static size_t receive(char *bytes, size_t size, size_t n, void *arg)
{
    struct bare *b = arg;
    size_t room = sizeof(b->reply) - 1 - b->length, length = size * n;

    memcpy(b->reply + b->length, bytes, length < room ? length : room);
    b->length += length < room ? length : room;
    return length;
}

static struct bare *bare_open(void)
{
    struct bare *b = calloc(1, sizeof(*b));
    const char *endpoints = getenv("ETCDCTL_ENDPOINTS");

    b->request = malloc(1 << 16);
    b->curl = curl_easy_init();
    snprintf(b->url, sizeof(b->url), "%.*s/v3/kv/txn", (int)strcspn(endpoints, ","), endpoints);
    curl_easy_setopt(b->curl, CURLOPT_URL, b->url);
    curl_easy_setopt(b->curl, CURLOPT_WRITEFUNCTION, receive);
    curl_easy_setopt(b->curl, CURLOPT_WRITEDATA, b);
    curl_easy_setopt(
        b->curl, CURLOPT_HTTPHEADER,
        curl_slist_append(curl_slist_append(NULL, "Content-Type: application/json"), "Expect:"));
    return b;
}

static void bare_run(struct bare *b)
{
    CURLcode r;

    curl_easy_setopt(b->curl, CURLOPT_POSTFIELDS, b->request);
    b->length = 0;
    r = curl_easy_perform(b->curl);
    if (r != CURLE_OK)
        give_up("etcd: %s", curl_easy_strerror(r));
    b->reply[b->length] = '\0';
    if (!strstr(b->reply, "\"succeeded\":true"))
        give_up("etcd: %.100s", b->reply);
}

static char *base64(char *to, const void *bytes, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *from = bytes;

    for (size_t i = 0; i < n; i += 3) {
        unsigned a = from[i], c = i + 1 < n ? from[i + 1] : 0, d = i + 2 < n ? from[i + 2] : 0;

        *to++ = digits[a >> 2];
        *to++ = digits[(a & 3) << 4 | c >> 4];
        *to++ = i + 1 < n ? digits[(c & 15) << 2 | d >> 6] : '=';
        *to++ = i + 2 < n ? digits[d & 63] : '=';
    }
    *to = '\0';
    return to;
}

/* "key":"…" of the n-th item, or of what its client did last. */
static char *add_key(char *to, const char *part, uint64_t n)
{
    char key[120];
    int length = snprintf(key, sizeof(key), "/bare/%s/%s/%08llu", unique_name(), part,
                          (unsigned long long)n);

    to += sprintf(to, "\"key\":\"");
    to = base64(to, key, (size_t)length);
    return to + sprintf(to, "\"");
}

static char *add_absent(char *to, const char *part, uint64_t n)
{
    to += sprintf(to, "%s{\"target\":\"CREATE\",\"create_revision\":\"0\",",
                  to[-1] == '[' ? "" : ",");
    to = add_key(to, part, n);
    return to + sprintf(to, "}");
}

static char *add_put(char *to, const char *part, uint64_t n, size_t size)
{
    char item[ITEM];

    item_make(item, sizeof(item), n);
    to += sprintf(to, "%s{\"request_put\":{", to[-1] == '[' ? "" : ",");
    to = add_key(to, part, n);
    to += sprintf(to, ",\"value\":\"");
    to = base64(to, item, size);
    return to + sprintf(to, "\"}}");
}

static char *add_delete(char *to, const char *part, uint64_t n)
{
    to += sprintf(to, "%s{\"request_delete_range\":{", to[-1] == '[' ? "" : ",");
    to = add_key(to, part, n);
    return to + sprintf(to, "}}");
}

/* n items from the number on: each is absent, and put; and so is what the client notes. */
static void bare_put(struct bare *b, uint64_t from, unsigned n)
{
    char *to = b->request + sprintf(b->request, "{\"compare\":[");

    for (unsigned i = 0; i < n; i++)
        to = add_absent(to, "item", from + i);
    to = add_absent(to, "never", 0);
    to += sprintf(to, "],\"success\":[");
    for (unsigned i = 0; i < n; i++)
        to = add_put(to, "item", from + i, ITEM);
    to = add_put(to, "last", 0, 32);
    sprintf(to, "]}");
    bare_run(b);
}

/* … and deleted. */
static void bare_take(struct bare *b, uint64_t from, unsigned n)
{
    char *to = b->request + sprintf(b->request, "{\"compare\":[");

    for (unsigned i = 0; i < n; i++)
        to = add_absent(to, "claim", from + i);
    to = add_absent(to, "never", 0);
    to += sprintf(to, "],\"success\":[");
    for (unsigned i = 0; i < n; i++)
        to = add_delete(to, "item", from + i);
    to = add_put(to, "last", 0, 32);
    sprintf(to, "]}");
    bare_run(b);
}

static void bare_lock(struct bare *b, uint64_t n)
{
    char *to = b->request + sprintf(b->request, "{\"compare\":[");

    (void)n;
    to = add_absent(to, "holder", 0);
    to += sprintf(to, "],\"success\":[");
    to = add_put(to, "holder", 0, ITEM);
    to = add_put(to, "held", 0, 32);
    sprintf(to, "]}");
    bare_run(b);
    to = b->request + sprintf(b->request, "{\"compare\":[");
    to = add_absent(to, "never", 0);
    to += sprintf(to, "],\"success\":[");
    to = add_delete(to, "holder", 0);
    to = add_delete(to, "held", 0);
    sprintf(to, "]}");
    bare_run(b);
}

/* ---- Ours ---- */

static const char *segment_name(void)
{
    static char name[60];

    snprintf(name, sizeof(name), "etcd:%s", unique_name());
    return name;
}

static struct shk_segment *open_segment(void)
{
    struct shk_segment *s;

    must(shk_segment_open(segment_name(), SHK_CREATE, NULL, &s));
    return s;
}

static struct shk_queue *open_queue(size_t capacity)
{
    const struct shk_queue_options options = {.capacity = capacity, .item_size = ITEM};
    struct shk_queue *queue;

    must(shk_queue_open(open_segment(), "jobs", SHK_CREATE, &options, &queue));
    return queue;
}

static void put_some(struct shk_queue *queue, uint64_t from, unsigned n)
{
    char items[BATCH][ITEM];
    struct iovec all[BATCH];
    int done = 0, r;

    for (unsigned i = 0; i < n; i++) {
        item_make(items[i], ITEM, from + i);
        all[i] = (struct iovec){items[i], ITEM};
    }
    for (; done < (int)n; done += r) {
        r = n == 1 ? shk_queue_put(queue, items[0], ITEM, SHK_FOREVER)
                   : shk_queue_put_many(queue, all + done, n - (unsigned)done, SHK_FOREVER);
        must(r);
        r += n == 1;
    }
}

/* How many: n at most. */
static int take_some(struct shk_queue *queue, unsigned n, int64_t timeout)
{
    char items[BATCH][ITEM];
    struct iovec all[BATCH];

    for (unsigned i = 0; i < n; i++)
        all[i] = (struct iovec){items[i], ITEM};
    if (n == 1)
        return shk_queue_get(queue, items[0], ITEM, timeout) < 0 ? -1 : 1;
    return shk_queue_get_many(queue, all, n, timeout);
}

/* ---- The servers: from the first measurement on ---- */

bool w14_is_there(void)
{
    return servers_are_there();
}

static bool start_servers(void)
{
    if (servers)
        return true;
    servers_begin();
    return servers_wait(INT64_C(30000000000)) || team_fails("three servers of etcd do not start");
}

/* ---- One client ---- */

enum call { PUT, TAKE, LOCK };

/* What a measurement does. */
struct task {
    enum call call;
    unsigned batch;
    double seconds;
    bool is_bare;
};

/* What is taken has been put before. */
static uint64_t prefilled(const struct task *t)
{
    double rate = t->batch == 1 ? RATE : RATE_60;

    return t->call == TAKE ? (uint64_t)(rate * t->seconds) + 2 * BATCH : 0;
}

static void run_bare(struct task *t, unsigned role)
{
    uint64_t n = 0, there = prefilled(t);
    struct bare *b = bare_open();
    int64_t begin;

    for (uint64_t i = 0; i < there; i += BATCH)
        bare_put(b, i, BATCH);
    stage_ready();
    begin = now();
    do {
        if (t->call == PUT)
            bare_put(b, n, t->batch);
        else if (t->call == TAKE)
            bare_take(b, n, t->batch);
        else
            bare_lock(b, n);
        n += t->batch;
    } while (!stopped() && (t->call != TAKE || n < there));
    stage->role[role].figure[0] = (double)(now() - begin) / (double)n;
}

static void run_ours(struct task *t, unsigned role)
{
    struct shk_queue *queue = t->call == LOCK ? NULL : open_queue(0);
    uint64_t n = 0, there = prefilled(t);
    struct shk_lock *lock = NULL;
    int64_t begin;
    int r;

    if (t->call == LOCK)
        must(shk_lock_open(open_segment(), "till", SHK_CREATE, NULL, &lock));
    for (uint64_t i = 0; i < there; i += BATCH)
        put_some(queue, i, BATCH);
    if (t->call == TAKE)
        must(take_some(queue, BATCH, SHK_FOREVER)); /* the consumer has its view then */
    stage_ready();
    begin = now();
    do {
        r = (int)t->batch;
        if (t->call == PUT) {
            put_some(queue, n, t->batch);
        } else if (t->call == TAKE) {
            r = take_some(queue, t->batch, SHK_FOREVER);
            must(r);
        } else {
            must(shk_lock_acquire(lock, SHK_FOREVER));
            must(shk_lock_release(lock));
        }
        n += (uint64_t)r;
    } while (!stopped() && (t->call != TAKE || n + 2 * BATCH < there));
    stage->role[role].figure[0] = (double)(now() - begin) / (double)n;
}

static void run_client(void *task, unsigned role)
{
    struct task *t = task;

    t->is_bare ? run_bare(t, role) : run_ours(t, role);
}

static void unlink_all(void *unused)
{
    (void)unused;
    shk_segment_unlink(segment_name());
}

static void delete_bare(void *unused)
{
    struct bare *b = bare_open();
    char key[80],
        *to = b->request + sprintf(b->request, "{\"success\":[{\"request_delete_range\":{");
    int length = snprintf(key, sizeof(key), "/bare/%s/", unique_name());

    (void)unused;
    to = base64(to + sprintf(to, "\"key\":\""), key, (size_t)length);
    key[length - 1]++;
    to = base64(to + sprintf(to, "\",\"range_end\":\""), key, (size_t)length);
    sprintf(to, "\"}}]}");
    bare_run(b);
}

static bool measure_client(const struct contest *contest, const struct subject *subject,
                           double figures[FIGURES])
{
    struct task task = *(const struct task *)subject->what;
    bool well;

    task.batch = contest->n;
    task.seconds = contest_seconds(contest);
    task.call = (enum call)contest->capacity;
    team_start();
    if (!start_servers())
        return false;
    team_add(run_client, &task, ANY_CPU);
    well = team_run(contest_seconds(contest));
    figures[0] = stage->role[0].figure[0];
    if (contest->unit->more_is_better)
        figures[0] = 1e9 / figures[0];
    in_child(task.is_bare ? delete_bare : unlink_all, NULL);
    return well;
}

/* ---- A queue with three producers and two consumers ---- */

enum { PRODUCERS = 3, CONSUMERS = 2 };

static void fill(void *capacity)
{
    struct shk_queue *queue = open_queue(*(size_t *)capacity);

    for (uint64_t n = 0; n < CAPACITY; n += 50)
        put_some(queue, n, 50);
}

static void work(void *capacity, unsigned role)
{
    struct shk_queue *queue = open_queue(*(size_t *)capacity);
    uint64_t n = 0;

    stage_ready();
    for (; !stopped(); n++) {
        if (role >= PRODUCERS) {
            must(take_some(queue, 1, SHK_FOREVER));
            continue;
        }
        int r = shk_queue_put(queue, &(char[ITEM]){0}, ITEM, SHK_MS(500));
        if (r != -ETIMEDOUT)
            must(r);
        else
            n--;
    }
    stage->role[role].count = n;
}

static bool measure_queue(const struct contest *contest, const struct subject *subject,
                          double figures[FIGURES])
{
    size_t capacity = *(const size_t *)subject->what;
    double seconds = contest_seconds(contest);
    uint64_t put = 0, got = 0;
    unsigned long before;
    bool well;

    team_start();
    if (!start_servers() || !in_child(fill, &capacity))
        return false;
    for (unsigned i = 0; i < PRODUCERS + CONSUMERS; i++)
        team_add(work, &capacity, ANY_CPU);
    before = servers_requests();
    well = team_run(seconds);
    for (unsigned i = 0; i < PRODUCERS + CONSUMERS; i++)
        *(i < PRODUCERS ? &put : &got) += stage->role[i].count;
    figures[0] = (double)got / seconds;
    figures[1] = (double)(servers_requests() - before) / (double)got;
    figures[2] = (double)put / seconds;
    in_child(unlink_all, NULL);
    return well;
}

/* ---- Rows ---- */

static void one_client(void)
{
    static const struct unit time = {.name = "ms", .scale = 1e6},
                             rate = {.name = "items/s", .more_is_better = true, .scale = 1};
    static const struct task ours = {.is_bare = false}, bare = {.is_bare = true};
    static const struct subject subjects[] = {{"shmkit", OURS, &ours},
                                              {"bare transactions", PEER, &bare}};
    static const struct {
        const char *name;
        enum call call;
        unsigned batch;
    } rows[] = {{"put", PUT, 1},
                {"get", TAKE, 1},
                {"lock and release", LOCK, 1},
                {"put 60 at a time", PUT, BATCH},
                {"get 60 at a time", TAKE, BATCH}};

    for (size_t i = 0; i < COUNT(rows); i++) {
        const struct contest contest = {.workload = "W14",
                                        .row = rows[i].name,
                                        .place = "etcd",
                                        .unit = rows[i].batch == 1 ? &time : &rate,
                                        .measure = measure_client,
                                        .item = ITEM,
                                        .n = rows[i].batch,
                                        .capacity = rows[i].call,
                                        .seconds = TIME * bench.seconds};

        contest_run(&contest, subjects, COUNT(subjects));
    }
}

static void five_clients(void)
{
    static const struct unit rate = {
        .name = "items/s", .more_is_better = true, .scale = 1, .also = {"requests/item", "puts/s"}};
    static const size_t limits[] = {CAPACITY, 0};
    static const struct subject subjects[] = {{"shmkit, full at 1000", OURS, &limits[0]},
                                              {"shmkit, no limit", OURS, &limits[1]}};
    const struct contest contest = {.workload = "W14",
                                    .row = "3 producers, 2 consumers",
                                    .place = "etcd",
                                    .unit = &rate,
                                    .measure = measure_queue,
                                    .item = ITEM,
                                    .seconds = 2 * TIME * bench.seconds};

    contest_run(&contest, subjects, COUNT(subjects));
}

void run_w14(void)
{
    if (!w14_is_there())
        return;
    one_client();
    five_clients();
    if (servers)
        servers_end();
}
