/*
 * What a producer of a queue with a limit knows of its places.
 *
 * A watch tells which places consumers have made free, another one which places other producers
 * have taken: each put writes them to the producer's key, in the same transaction. So what is known
 * is late by milliseconds, and exact. (The items themselves are not watched: a producer is not told
 * what it does not need.)
 *
 * Producers of a full queue would all try the place that a consumer has just made free, and all but
 * one of them would have asked for nothing. So each has a region of the places of its own, by its
 * rank among the producers that have put in the last second. While half of the places are free it
 * takes any; else those of its region, and one of another only when that has been free for a while,
 * which becomes longer when another producer had it, and shorter when not.
 */
#include "etcd/queue.h"

#include <stdlib.h>
#include <string.h>

#define ACTIVE      SHK_SEC(1) /* a producer that has put since has a region */
#define STEAL_FIRST SHK_MS(4)  /* a transaction takes about as long */
#define STEAL_MOST  SHK_MS(64)

/* ---- What is known ---- */

/* The number of a place, from its key; -1: another key. */
static long place_of(const struct shke_queue *q, const char *key)
{
    const char *part = key + strlen(q->object.prefix);
    char *end;
    long n;

    if (strncmp(part, "slot/", 5) != 0)
        return -1;
    n = strtol(part + 5, &end, 10);
    return *end == '\0' && end > part + 5 && n >= 0 && (size_t)n < q->capacity ? n : -1;
}

void shke_place_learn(struct shke_queue *q, long n, bool is_taken, int64_t revision)
{
    struct shke_place *p = &q->places[n];

    if (revision < p->known)
        return;
    p->known = revision;
    if (p->is_taken != is_taken) {
        is_taken ? q->n_free-- : q->n_free++;
        p->free_since = shke_now();
    }
    p->is_taken = is_taken;
}

/* With the object's lock: another producer, or this one, has put. */
static void note_producer(struct shke_queue *q, const char *id)
{
    struct shke_rival *oldest = &q->rivals[0];

    for (unsigned i = 0; i < SHKE_RIVALS; i++) {
        struct shke_rival *r = &q->rivals[i];

        if (strncmp(r->id, id, sizeof(r->id) - 1) == 0) {
            r->put_at = shke_now();
            return;
        }
        if (r->put_at < oldest->put_at)
            oldest = r;
    }
    strncpy(oldest->id, id, sizeof(oldest->id) - 1);
    oldest->put_at = shke_now();
}

/* The places behind the colon in the value of a producer's key. */
static void learn_cursor(struct shke_queue *q, const struct shke_kv *kv)
{
    const char *id = kv->key + strlen(q->object.prefix) + strlen("cursor/"),
               *at = kv->value ? strchr((const char *)kv->value, ':') : NULL;
    char *end;
    long n;

    note_producer(q, id);
    for (; at && *at; at = *end == ',' ? end : "") {
        n = strtol(at + 1, &end, 10);
        if (end > at + 1 && n >= 0 && (size_t)n < q->capacity)
            shke_place_learn(q, n, true, kv->mod);
    }
}

static void see_event(void *arg, const struct shke_kv *kv, bool deleted)
{
    struct shke_queue *q = arg;
    long n;

    pthread_mutex_lock(&q->object.lock);
    if (strncmp(kv->key + strlen(q->object.prefix), "cursor/", 7) == 0) {
        if (!deleted)
            learn_cursor(q, kv);
    } else if ((n = place_of(q, kv->key)) >= 0) {
        shke_place_learn(q, n, !deleted, kv->mod);
    }
    pthread_mutex_unlock(&q->object.lock);
}

int64_t shke_places_read(struct shke_queue *q, const struct shke_trial *trial)
{
    char prefix[SHKE_KEY_MAX];
    const struct shke_range range = {.prefix = prefix, .keys_only = true};
    struct shke_reply reply;
    struct shke_kv kv;
    int64_t revision;
    bool *is_taken;
    long n;
    int r;

    shke_key(prefix, &q->object, "slot/");
    r = shke_range(shke_object_client(&q->object), &range, trial, &reply);
    if (r < 0)
        return r;
    revision = reply.revision;
    is_taken = calloc(q->capacity, sizeof(*is_taken));
    if (is_taken == NULL)
        r = shke_fail(-ENOMEM, "out of memory");
    for (size_t i = 0; r == 0 && i < shke_range_n(&reply); i++) {
        r = shke_range_kv(&reply, i, &kv);
        n = r == 0 ? place_of(q, kv.key) : -1;
        if (n >= 0)
            is_taken[n] = true;
        shke_kv_free(&kv);
    }
    pthread_mutex_lock(&q->object.lock);
    for (n = 0; r == 0 && (size_t)n < q->capacity; n++)
        shke_place_learn(q, n, is_taken[n], revision);
    pthread_mutex_unlock(&q->object.lock);
    free(is_taken);
    shke_reply_free(&reply);
    return r < 0 ? r : revision;
}

static int64_t reload(void *arg)
{
    const struct shke_trial trial = {.limit = SHK_SEC(2)};

    return shke_places_read(arg, &trial);
}

static int begin(struct shke_queue *q, const struct shke_trial *trial)
{
    static const struct shke_watcher watcher = {
        .event = see_event, .told = shke_object_told, .reload = reload};
    int64_t revision;
    int r;

    if (q->capacity == 0 || (q->deletes && q->cursors))
        return 0;
    if (q->places == NULL) {
        q->places = calloc(q->capacity, sizeof(*q->places));
        q->n_free = q->places ? q->capacity : 0;
    }
    revision = q->places ? shke_places_read(q, trial) : shke_fail(-ENOMEM, "out of memory");
    r = revision < 0 ? (int)revision
                     : shke_queue_watch(q, &q->deletes, "slot/", revision, true, &watcher);
    return r < 0 ? r : shke_queue_watch(q, &q->cursors, "cursor/", revision, false, &watcher);
}

int shke_places_start(struct shke_queue *q, const struct shke_trial *trial)
{
    return shke_queue_begin(q, begin, trial);
}

void shke_places_free(struct shke_queue *q)
{
    shke_watch_stop(q->deletes);
    shke_watch_stop(q->cursors);
    free(q->places);
}

/* ---- Choosing ---- */

/* With the object's lock: the producer's region: from its first place to that behind its last. */
static void region_of(const struct shke_queue *q, const struct shke_actor *producer, size_t *from,
                      size_t *to)
{
    const char *own = strrchr(producer->key, '/') + 1;
    size_t rank = 0, all = 1;
    int64_t since = shke_now() - ACTIVE;

    for (unsigned i = 0; i < SHKE_RIVALS; i++) {
        const struct shke_rival *r = &q->rivals[i];
        int order = r->put_at > since ? strncmp(r->id, own, sizeof(r->id) - 1) : 0;

        all += order != 0;
        rank += order < 0;
    }
    *from = q->capacity * rank / all;
    *to = q->capacity * (rank + 1) / all;
}

/* Add places that have been free since then, beginning somewhere among them: up to n of them. */
static unsigned add_places(struct shke_queue *q, size_t from, size_t to, int64_t since,
                           long *places, unsigned found, unsigned n)
{
    static _Thread_local unsigned seed;
    size_t at;

    if (seed == 0)
        seed = (unsigned)shke_tid() ^ (unsigned)(uintptr_t)&seed;
    at = from + (size_t)rand_r(&seed) % (to - from);
    for (size_t i = from; i < to && found < n; i++, at = at + 1 < to ? at + 1 : from) {
        struct shke_place *p = &q->places[at];

        if (p->is_taken || p->is_tried || p->free_since > since)
            continue;
        p->is_tried = true;
        places[found++] = (long)at;
    }
    return found;
}

int64_t shke_places_wait(const struct shke_queue *q)
{
    return q->steal_delay > STEAL_FIRST ? q->steal_delay : STEAL_FIRST;
}

unsigned shke_places_choose(struct shke_queue *q, const struct shke_actor *producer, bool any,
                            long *places, unsigned n, bool *has_stolen)
{
    unsigned found = 0;
    size_t from, to;

    *has_stolen = false;
    if (q->n_free == 0)
        return 0;
    region_of(q, producer, &from, &to);
    if (from < to)
        found = add_places(q, from, to, INT64_MAX, places, found, n);
    if (q->n_free * 2 > q->capacity || any) {
        found = add_places(q, 0, q->capacity, INT64_MAX, places, found, n);
    } else if (found == 0) {
        found = add_places(q, 0, q->capacity, shke_now() - shke_places_wait(q), places, found, n);
        *has_stolen = found > 0;
    }
    return found;
}

void shke_places_adjust(struct shke_queue *q, bool was_taken)
{
    if (!was_taken)
        q->steal_delay /= 2;
    else if (q->steal_delay < STEAL_FIRST)
        q->steal_delay = STEAL_FIRST;
    else if (q->steal_delay < STEAL_MOST)
        q->steal_delay *= 2;
}
