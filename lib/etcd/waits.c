#include "etcd/waits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TELL_AFTER SHK_MS(200) /* a wait that is over sooner is not told */
#define TELL_AGAIN SHK_SEC(1)  /* after a request that has failed */
#define TOLD_MOST  64          /* threads of a process in one segment */

/* What has been told of a segment. Touched by the thread that tells. */
struct page {
    char *prefix;
    int64_t created; /* of the segment */
    int64_t lease;
    int64_t mod; /* of the key: -1: not known, 0: it is absent */
    char *told;  /* its value, as far as is known */
    struct page *next;
};

struct shke_waits {
    void (*wake)(void *);
    void *arg;
    struct page *pages;

    pthread_mutex_t lock; /* protects the following */
    struct shke_waiting *first;
    bool is_awake; /* the thread that tells comes by itself */
};

static _Thread_local struct shke_waiting *current;

static int64_t clock_ns(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return SHK_SEC((int64_t)t.tv_sec) + t.tv_nsec;
}

/* ---- The threads that wait ---- */

void shke_waiting_push(struct shke_waiting *w)
{
    w->outer = current;
    current = w;
}

/* With the lock: whether the thread that tells is to be woken, without the lock. */
static bool must_wake(struct shke_waits *waits)
{
    bool must = !waits->is_awake;

    waits->is_awake = true;
    return must;
}

void shke_waiting_sleeps(void)
{
    struct shke_waiting *w = current;
    struct shke_waits *waits;
    bool wakes;

    if (w == NULL || w->is_listed)
        return;
    waits = w->waits;
    w->tid = gettid();
    w->begun = clock_ns(CLOCK_MONOTONIC);
    w->since = clock_ns(CLOCK_REALTIME);
    pthread_mutex_lock(&waits->lock);
    w->next = waits->first;
    w->link = &waits->first;
    if (w->next)
        w->next->link = &w->next;
    waits->first = w;
    w->is_listed = true;
    wakes = must_wake(waits);
    pthread_mutex_unlock(&waits->lock);
    if (wakes)
        waits->wake(waits->arg);
}

void shke_waiting_end(struct shke_waiting *w)
{
    struct shke_waits *waits = w->waits;
    bool wakes;

    current = w->outer;
    if (!w->is_listed)
        return;
    pthread_mutex_lock(&waits->lock);
    *w->link = w->next;
    if (w->next)
        w->next->link = w->link;
    wakes = w->is_told && must_wake(waits);
    pthread_mutex_unlock(&waits->lock);
    if (wakes)
        waits->wake(waits->arg);
}

/* ---- What is to be told ---- */

static struct page *find_page(struct shke_waits *waits, const char *prefix, int64_t created)
{
    struct page *p = waits->pages;

    while (p && (p->created != created || strcmp(p->prefix, prefix) != 0))
        p = p->next;
    return p;
}

/* With the lock. NULL: no memory: the wait is not told. */
static struct page *make_page(struct shke_waits *waits, const struct shke_waiting *w)
{
    struct page *p = calloc(1, sizeof(*p));

    if (p == NULL || (p->prefix = strdup(w->prefix)) == NULL) {
        free(p);
        return NULL;
    }
    p->created = w->created;
    p->next = waits->pages;
    waits->pages = p;
    return p;
}

static bool is_of(const struct shke_waiting *w, const struct page *p)
{
    return w->created == p->created && strcmp(w->prefix, p->prefix) == 0;
}

/* With the lock: what its key is to have, "" if none of its threads has waited for long enough. */
static void write_page(struct shke_waits *waits, const struct page *p, int64_t now,
                       struct shke_buffer *b)
{
    unsigned n = 0;

    for (struct shke_waiting *w = waits->first; w && n < TOLD_MOST; w = w->next) {
        if (now - w->begun < TELL_AFTER || !is_of(w, p))
            continue;
        w->is_told = true;
        shke_addf(
            b, "%s{\"tid\":%d,\"for\":%u,\"since\":%lld,\"deadline\":%d,\"on\":", n++ ? "," : "[",
            (int)w->tid, w->waits_for, (long long)(w->since / SHK_MS(1)), (int)w->has_deadline);
        shke_add_json_string(b, w->object);
        shke_add_string(b, "}");
    }
    shke_add_string(b, n ? "]" : "");
}

/* With the lock: see that each wait has a page. Returns when the next one is to be told. */
static int64_t list_pages(struct shke_waits *waits, int64_t now)
{
    int64_t next = INT64_MAX;

    for (const struct shke_waiting *w = waits->first; w; w = w->next) {
        int64_t left = w->begun + TELL_AFTER - now;

        if (left > 0)
            next = left < next ? left : next;
        else if (find_page(waits, w->prefix, w->created) == NULL)
            make_page(waits, w);
    }
    return next;
}

/* ---- Telling ---- */

/*
 * Each put compares when the key was written last, and the key is never deleted while the process
 * lives: so a put that is carried out late, after its reply was given up, finds another revision
 * and changes nothing.
 */
static int put(struct shke_client *c, struct page *p, const char *text, int64_t limit)
{
    const struct shke_trial trial = {.limit = limit};
    char key[512], segment[512];
    struct shke_reply reply;
    struct shke_txn t = {0};
    struct shke_kv kv = {0};
    int r;

    snprintf(key, sizeof(key), "%s.waits/%016llx", p->prefix, (unsigned long long)p->lease);
    snprintf(segment, sizeof(segment), "%.*s", (int)strlen(p->prefix) - 1, p->prefix);
    shke_if_created(&t, segment, p->created);
    shke_if_written(&t, key, p->mod);
    shke_then_put(&t, key, text, strlen(text), p->lease);
    shke_else_get(&t, segment);
    shke_else_get(&t, key);
    r = shke_txn_run(c, &t, &trial, &reply);
    if (r < 0)
        return r;
    if (reply.succeeded) {
        p->mod = reply.revision;
        r = 0;
    } else {
        r = shke_reply_kv(&reply, 0, &kv);
        if (r == 0 && kv.create != p->created)
            p->created = 0; /* the segment has been unlinked */
        shke_kv_free(&kv);
        if (r == 0)
            r = shke_reply_kv(&reply, 1, &kv);
        if (r == 0)
            p->mod = kv.mod;
        if (r == 0)
            r = kv.value && strcmp((char *)kv.value, text) == 0 ? 0 : -EAGAIN;
        if (r == -EAGAIN && kv.mod == 0 && *text == '\0')
            r = 0; /* absent is as good */
        shke_kv_free(&kv);
    }
    shke_reply_free(&reply);
    return r;
}

/* 0, or an error: then it is to be tried again. */
static int tell_page(struct shke_waits *waits, struct shke_client *c, struct page *p, int64_t lease,
                     int64_t limit)
{
    struct shke_buffer text = {0};
    int r = 0;

    if (p->lease != lease) { /* what has been told is gone with the other lease */
        p->lease = lease;
        p->mod = 0;
        free(p->told);
        p->told = NULL;
    }
    pthread_mutex_lock(&waits->lock);
    write_page(waits, p, clock_ns(CLOCK_MONOTONIC), &text);
    pthread_mutex_unlock(&waits->lock);
    if (text.failed)
        r = -ENOMEM;
    else if (strcmp(text.bytes, p->told ? p->told : "") != 0)
        for (int tries = 0; tries == 0 || (r == -EAGAIN && tries < 3 && p->created); tries++)
            r = put(c, p, text.bytes, limit);
    if (r < 0 || text.failed) {
        shke_buffer_free(&text);
    } else {
        free(p->told);
        p->told = text.bytes;
    }
    return r;
}

static void free_page(struct page *p)
{
    free(p->prefix);
    free(p->told);
    free(p);
}

/* Of segments that are gone. */
static void drop_pages(struct shke_waits *waits)
{
    struct page **link = &waits->pages, *p;

    while ((p = *link) != NULL) {
        if (p->created != 0) {
            link = &p->next;
            continue;
        }
        *link = p->next;
        free_page(p);
    }
}

int64_t shke_waits_tell(struct shke_waits *waits, struct shke_client *c, int64_t lease,
                        int64_t limit)
{
    struct shki_saved_error saved;
    int64_t next;
    int r = 0;

    pthread_mutex_lock(&waits->lock);
    next = list_pages(waits, clock_ns(CLOCK_MONOTONIC));
    waits->is_awake = next != INT64_MAX;
    pthread_mutex_unlock(&waits->lock);
    shke_host->error_save(&saved);
    for (struct page *p = waits->pages; p && r == 0; p = p->next)
        r = tell_page(waits, c, p, lease, limit);
    drop_pages(waits);
    shke_host->error_settle(0, &saved);
    return r < 0 && next > TELL_AGAIN ? TELL_AGAIN : next;
}

/* ---- The waits of a session ---- */

struct shke_waits *shke_waits_new(void (*wake)(void *arg), void *arg)
{
    struct shke_waits *waits = calloc(1, sizeof(*waits));

    if (waits == NULL) {
        shke_fail(-ENOMEM, "out of memory");
        return NULL;
    }
    waits->wake = wake;
    waits->arg = arg;
    pthread_mutex_init(&waits->lock, NULL);
    return waits;
}

void shke_waits_free(struct shke_waits *waits)
{
    struct page *p;

    if (waits == NULL)
        return;
    while ((p = waits->pages) != NULL) {
        waits->pages = p->next;
        free_page(p);
    }
    pthread_mutex_destroy(&waits->lock);
    free(waits);
}
