/* What a consumer sees of a queue: its items in their order, kept up to date by a watch. */
#include "etcd/queue.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE 500 /* keys of one reply to the first read */

/* ---- Items ---- */

void shke_item_unref(struct shke_item *i)
{
    if (--i->refs > 0)
        return;
    free(i->bytes);
    free(i);
}

void shke_item_release(struct shke_item *i)
{
    i->is_tried = false;
    shke_item_unref(i);
}

static size_t hash(const char *slot)
{
    size_t h = 14695981039346656037u;

    for (; *slot; slot++)
        h = (h ^ (unsigned char)*slot) * 1099511628211u;
    return h;
}

static struct shke_item **place_of(const struct shke_queue *q, const char *slot)
{
    struct shke_item **place = &q->table[hash(slot) & (q->table_size - 1)];

    while (*place && strcmp((*place)->slot, slot) != 0)
        place = &(*place)->chain;
    return place;
}

static struct shke_item *find(const struct shke_queue *q, const char *slot)
{
    return q->table ? *place_of(q, slot) : NULL;
}

static bool grow(struct shke_queue *q)
{
    size_t size = q->table_size ? q->table_size * 2 : 256;
    struct shke_item **table, **old = q->table;

    if (q->n_items < q->table_size)
        return true;
    table = calloc(size, sizeof(*table));
    if (table == NULL)
        return q->table != NULL;
    q->table = table;
    q->table_size = size;
    for (struct shke_item *i = q->head; i; i = i->next) {
        struct shke_item **place = &table[hash(i->slot) & (size - 1)];

        i->chain = *place;
        *place = i;
    }
    free(old);
    return true;
}

/* Whether a is to be taken before b. FIFO and LIFO: in order of arrival, taken from either end. */
static bool is_before(const struct shke_queue *q, const struct shke_item *a,
                      const struct shke_item *b)
{
    if (q->order == SHK_PRIORITY && a->priority != b->priority)
        return a->priority < b->priority;
    return a->create != b->create ? a->create < b->create : a->number < b->number;
}

/* Most belong at the end. */
static void insert(struct shke_queue *q, struct shke_item *i)
{
    struct shke_item *before = q->tail;

    while (before && is_before(q, i, before))
        before = before->previous;
    i->previous = before;
    i->next = before ? before->next : q->head;
    *(i->next ? &i->next->previous : &q->tail) = i;
    *(before ? &before->next : &q->head) = i;
}

void shke_view_drop(struct shke_queue *q, struct shke_item *i)
{
    struct shke_item **place;

    if (!i->is_there)
        return;
    i->is_there = false;
    place = place_of(q, i->slot);
    *place = i->chain;
    *(i->next ? &i->next->previous : &q->tail) = i->previous;
    *(i->previous ? &i->previous->next : &q->head) = i->next;
    q->n_items--;
    shke_item_unref(i);
}

static int64_t read_priority(const uint8_t bytes[8])
{
    uint64_t priority = 0;

    for (unsigned i = 0; i < 8; i++)
        priority = priority << 8 | bytes[i];
    return (int64_t)(priority ^ UINT64_C(1) << 63);
}

/* NULL: no memory. */
static struct shke_item *read_item(const char *slot, const struct shke_kv *kv)
{
    struct shke_header header = {0};
    struct shke_item *i = calloc(1, sizeof(*i));

    if (i == NULL)
        return NULL;
    if (kv->length >= sizeof(header))
        memcpy(&header, kv->value, sizeof(header));
    i->is_foreign = header.version != 1 || strlen(slot) >= SHKE_SLOT_MAX;
    i->length = kv->length >= sizeof(header) ? kv->length - sizeof(header) : 0;
    i->bytes = malloc(i->length ? i->length : 1);
    if (i->bytes == NULL) {
        free(i);
        return NULL;
    }
    if (i->length > 0)
        memcpy(i->bytes, kv->value + sizeof(header), i->length);
    snprintf(i->slot, sizeof(i->slot), "%s", slot);
    i->create = kv->create;
    i->mod = kv->mod;
    i->number = (unsigned)header.number[0] << 8 | header.number[1];
    i->priority = read_priority(header.priority);
    i->refs = 1;
    i->is_there = i->is_found = true;
    return i;
}

/* With the object's lock. */
static void add(struct shke_queue *q, const char *slot, const struct shke_kv *kv)
{
    struct shke_item *i, *old = find(q, slot), **place;

    if (old && old->mod >= kv->mod)
        return;
    if (old)
        shke_view_drop(q, old);
    i = grow(q) ? read_item(slot, kv) : NULL;
    if (i == NULL)
        return;
    place = place_of(q, slot);
    i->chain = *place;
    *place = i;
    insert(q, i);
    q->n_items++;
}

void shke_item_learn_claim(struct shke_item *i, int64_t created, int64_t lease, int64_t revision)
{
    if (revision < i->claim_known)
        return;
    i->claim_known = revision;
    i->claim = created;
    i->claim_lease = lease;
}

static void claim(struct shke_queue *q, const char *slot, const struct shke_kv *kv, bool deleted)
{
    struct shke_item *i = find(q, slot);

    if (i)
        shke_item_learn_claim(i, deleted ? 0 : kv->create, deleted ? 0 : kv->lease, kv->mod);
    q->may_have_stray = q->may_have_stray || !deleted;
}

/* ---- The watch ---- */

/* The name of a slot, behind the prefix; NULL: another key. */
static const char *slot_of(const char *part, bool *is_claim)
{
    *is_claim = strncmp(part, "slot.claim/", 11) == 0;
    return *is_claim ? part + 11 : strncmp(part, "slot/", 5) == 0 ? part + 5 : NULL;
}

static void apply(struct shke_queue *q, const struct shke_kv *kv, bool deleted)
{
    bool is_claim;
    const char *slot = slot_of(kv->key + strlen(q->object.prefix), &is_claim);
    struct shke_item *i;

    if (slot == NULL)
        return;
    if (is_claim) {
        claim(q, slot, kv, deleted);
    } else if (!deleted) {
        add(q, slot, kv);
    } else {
        i = find(q, slot);
        if (i && i->mod <= kv->mod)
            shke_view_drop(q, i);
    }
}

static void see_event(void *arg, const struct shke_kv *kv, bool deleted)
{
    struct shke_queue *q = arg;

    pthread_mutex_lock(&q->object.lock);
    apply(q, kv, deleted);
    pthread_mutex_unlock(&q->object.lock);
}

static void told(void *arg)
{
    struct shke_queue *q = arg;

    pthread_mutex_lock(&q->object.lock);
    pthread_cond_broadcast(&q->object.changed);
    pthread_mutex_unlock(&q->object.lock);
    q->told(q);
}

/* ---- Reading all ---- */

/* One page, into `seen`: what is there as of that revision. */
static int read_page(struct shke_queue *q, const struct shke_trial *trial, char from[SHKE_KEY_MAX],
                     int64_t *revision, struct shke_kv **all, size_t *n, bool *more)
{
    char prefix[SHKE_KEY_MAX];
    struct shke_range range = {.prefix = prefix, .revision = *revision, .limit = PAGE};
    struct shke_reply reply;
    struct shke_kv *grown;
    size_t there;
    int r;

    shke_key(prefix, &q->object, "slot");
    range.from = *from ? from : NULL;
    r = shke_range(shke_object_client(&q->object), &range, trial, &reply);
    if (r < 0)
        return r;
    if (*revision == 0)
        *revision = reply.revision;
    there = shke_range_n(&reply);
    grown = realloc(*all, (*n + there + 1) * sizeof(**all));
    if (grown == NULL)
        r = shke_fail(-ENOMEM, "out of memory");
    else
        *all = grown;
    for (size_t i = 0; r == 0 && i < there; i++) {
        r = shke_range_kv(&reply, i, &(*all)[*n]);
        *n += r == 0;
    }
    *more = r == 0 && shke_range_has_more(&reply) && there > 0;
    if (*more) /* the first key behind the last one */
        snprintf(from, SHKE_KEY_MAX, "%s\x01", (*all)[*n - 1].key);
    shke_reply_free(&reply);
    return r;
}

/* In place of what was known; with the object's lock. */
static void replace(struct shke_queue *q, const struct shke_kv *all, size_t n, int64_t revision)
{
    struct shke_item *next;

    for (struct shke_item *i = q->head; i; i = i->next) {
        i->is_found = false;
        shke_item_learn_claim(i, 0, 0, revision - 1);
    }
    for (int claims = 0; claims < 2; claims++) /* a claim comes behind its item */
        for (size_t k = 0; k < n; k++) {
            bool is_claim;
            const char *slot = slot_of(all[k].key + strlen(q->object.prefix), &is_claim);
            struct shke_item *i = slot ? find(q, slot) : NULL;

            if (slot == NULL || is_claim != (claims == 1))
                continue;
            if (!is_claim && i && i->mod == all[k].mod)
                i->is_found = true;
            else if (is_claim && i)
                shke_item_learn_claim(i, all[k].create, all[k].lease, revision);
            else if (!is_claim)
                apply(q, &all[k], false);
        }
    for (struct shke_item *i = q->head; i; i = next) {
        next = i->next;
        if (!i->is_found)
            shke_view_drop(q, i);
    }
}

/* While no watch tells of changes. The revision as of which it was read. */
static int64_t read_all(struct shke_queue *q, const struct shke_trial *trial)
{
    char from[SHKE_KEY_MAX] = "";
    struct shke_kv *all = NULL;
    int64_t revision = 0;
    bool more = true;
    size_t n = 0;
    int r = 0;

    while (r == 0 && more)
        r = read_page(q, trial, from, &revision, &all, &n, &more);
    if (r == 0) {
        pthread_mutex_lock(&q->object.lock);
        replace(q, all, n, revision);
        pthread_mutex_unlock(&q->object.lock);
    }
    while (n > 0)
        shke_kv_free(&all[--n]);
    free(all);
    return r < 0 ? r : revision;
}

static int64_t reload(void *arg)
{
    const struct shke_trial trial = {.limit = SHK_SEC(2)};

    return read_all(arg, &trial);
}

int shke_view_start(struct shke_queue *q, const struct shke_trial *trial)
{
    static const struct shke_watcher watcher = {see_event, told, reload};
    char prefix[SHKE_KEY_MAX];
    int64_t revision = 0;

    pthread_mutex_lock(&q->starting);
    if (q->view == NULL)
        revision = read_all(q, trial);
    if (revision > 0) {
        shke_key(prefix, &q->object, "slot");
        q->view = shke_watch_start(shke_session_watches(q->object.segment->session), prefix,
                                   revision, false, &watcher, q);
        revision = q->view ? 0 : -ENOMEM;
    }
    pthread_mutex_unlock(&q->starting);
    return (int)revision;
}

void shke_view_free(struct shke_queue *q)
{
    shke_watch_stop(q->view);
    while (q->head)
        shke_view_drop(q, q->head);
    free(q->table);
}

/* ---- Taking ---- */

unsigned shke_view_take(struct shke_queue *q, struct shke_item **items, unsigned n)
{
    struct shke_item *i = q->order == SHK_LIFO ? q->tail : q->head;
    size_t bytes = 0;
    unsigned found = 0;

    for (; i && found < n && found < SHKE_BATCH; i = q->order == SHK_LIFO ? i->previous : i->next) {
        if (!shke_item_is_free(i))
            continue;
        bytes += i->length;
        if (found > 0 && bytes > SHKE_BATCH_BYTES)
            break;
        i->is_tried = true;
        i->refs++;
        items[found++] = i;
    }
    return found;
}

/* ---- The state ---- */

void shke_queue_learn_state(struct shke_queue *q, const struct shke_kv *kv, int64_t revision)
{
    bool is_shut = kv->value && kv->length == 4 && memcmp(kv->value, "shut", 4) == 0;

    if (revision < q->state_known)
        return;
    q->state_known = revision;
    if (is_shut && !q->is_shut)
        q->shutdowns++;
    q->is_shut = is_shut;
    pthread_cond_broadcast(&q->object.changed);
}

int shke_queue_look(struct shke_queue *q, const struct shke_trial *trial, struct shke_look *look)
{
    char state[SHKE_KEY_MAX], slots[SHKE_KEY_MAX], claims[SHKE_KEY_MAX];
    struct shke_reply reply;
    struct shke_txn t = {0};
    struct shke_kv kv;
    int r;

    shke_key(state, &q->object, ".state");
    shke_key(slots, &q->object, "slot/");
    shke_key(claims, &q->object, "slot.claim/");
    shke_if_there(&t, &q->object);
    shke_then_get(&t, state);
    shke_then_count(&t, slots);
    shke_then_count(&t, claims);
    r = shke_txn_run(shke_object_client(&q->object), &t, trial, &reply);
    if (r < 0)
        return r;
    r = reply.succeeded ? shke_reply_kv(&reply, 0, &kv) : shke_stale(&q->object);
    if (r == 0) {
        pthread_mutex_lock(&q->object.lock);
        shke_queue_learn_state(q, &kv, reply.revision);
        look->is_shut = q->is_shut;
        pthread_mutex_unlock(&q->object.lock);
        look->items = shke_reply_count(&reply, 1);
        look->claims = shke_reply_count(&reply, 2);
        shke_kv_free(&kv);
    }
    shke_reply_free(&reply);
    return r;
}

/* ---- Actors ---- */

struct shke_actor *shke_actor_take(struct shke_queue *q, bool producer)
{
    struct shke_actor **link = producer ? &q->producers : &q->consumers, *a;

    while (*link && (*(*link)->doubtful || (*link)->n_items > 0))
        link = &(*link)->next;
    a = *link;
    if (a) {
        *link = a->next;
        return a;
    }
    a = calloc(1, sizeof(*a));
    if (a == NULL) {
        shke_fail(-ENOMEM, "out of memory");
        return NULL;
    }
    shke_nonce(a->id);
    shke_key(a->key, &q->object, "%s/%s", producer ? "cursor" : "last", a->id);
    return a;
}

void shke_actor_give(struct shke_queue *q, struct shke_actor *a, bool producer)
{
    struct shke_actor **list = producer ? &q->producers : &q->consumers;

    a->next = *list;
    *list = a;
}
