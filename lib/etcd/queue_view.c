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
    /* one that comes back is the oldest anyway, but in a LIFO queue */
    if (q->order == SHK_LIFO && a->was_leased != b->was_leased)
        return b->was_leased;
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

/* Out of the order, but not out of the table. */
static void remove_from_order(struct shke_queue *q, struct shke_item *i)
{
    *(i->next ? &i->next->previous : &q->tail) = i->previous;
    *(i->previous ? &i->previous->next : &q->head) = i->next;
}

void shke_view_drop(struct shke_queue *q, struct shke_item *i)
{
    struct shke_item **place;

    if (!i->is_there)
        return;
    i->is_there = false;
    place = place_of(q, i->slot);
    *place = i->chain;
    remove_from_order(q, i);
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

bool shke_item_is_due(const struct shke_item *i)
{
    return shke_now() >= i->due;
}

/* With the object's lock. The order of a LIFO queue depends on it. */
static void set_tries(struct shke_queue *q, struct shke_item *i, bool was_leased, unsigned tries,
                      int64_t delay)
{
    bool moves = i->is_there && i->was_leased != was_leased;

    if (moves)
        remove_from_order(q, i);
    i->was_leased = was_leased;
    i->tries = tries;
    i->due = delay > 0 ? shke_now() + delay : 0;
    if (moves)
        insert(q, i);
}

void shke_item_learn_tries(struct shke_queue *q, struct shke_item *i, const struct shke_kv *kv,
                           int64_t revision)
{
    long long mod, delay;
    bool was_leased;
    unsigned tries;

    if (revision < i->tries_known)
        return;
    i->tries_known = revision;
    if (kv->mod == i->tries_mod)
        return;
    i->tries_mod = kv->mod;
    was_leased = kv->value &&
                 sscanf((const char *)kv->value, "%lld %u %lld", &mod, &tries, &delay) == 3 &&
                 mod == i->mod; /* and not of an earlier item in that place */
    set_tries(q, i, was_leased, was_leased ? tries : 0, was_leased ? delay : 0);
}

void shke_item_set_tries(struct shke_queue *q, struct shke_item *i, unsigned tries, int64_t delay,
                         int64_t revision)
{
    i->tries_known = i->tries_mod = revision;
    set_tries(q, i, true, tries, delay);
}

/* ---- The watch ---- */

enum part { SLOT, CLAIM, TRIES, OTHER };

/* What a key is, and the name of its slot. */
static enum part part_of(const struct shke_queue *q, const char *key, const char **slot)
{
    static const char *const names[] = {"slot/", "slot.claim/", "slot.tries/"};
    const char *part = key + strlen(q->object.prefix);

    for (enum part p = SLOT; p < OTHER; p++)
        if (strncmp(part, names[p], strlen(names[p])) == 0) {
            *slot = part + strlen(names[p]);
            return p;
        }
    return OTHER;
}

static void apply_slot(struct shke_queue *q, const char *slot, const struct shke_kv *kv,
                       bool deleted)
{
    struct shke_item *i = find(q, slot);

    if (!deleted)
        add(q, slot, kv);
    else if (i && i->mod <= kv->mod)
        shke_view_drop(q, i);
}

static void apply(struct shke_queue *q, const struct shke_kv *kv, bool deleted)
{
    const char *slot = NULL;
    enum part part = part_of(q, kv->key, &slot);
    struct shke_item *i = slot ? find(q, slot) : NULL;

    if (part == SLOT)
        apply_slot(q, slot, kv, deleted);
    else if (part == CLAIM && i)
        shke_item_learn_claim(i, deleted ? 0 : kv->create, deleted ? 0 : kv->lease, kv->mod);
    else if (part == TRIES && i)
        shke_item_learn_tries(q, i, deleted ? &(struct shke_kv){0} : kv, kv->mod);
    if (part == CLAIM && !deleted) {
        q->may_have_stray = true;
        q->claimed_at = shke_now();
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

    shke_object_told(&q->object);
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
    const char *slot;

    for (struct shke_item *i = q->head; i; i = i->next) {
        i->is_found = false;
        shke_item_learn_claim(i, 0, 0, revision - 1);
    }
    for (size_t k = 0; k < n; k++) {
        struct shke_item *i = part_of(q, all[k].key, &slot) == SLOT ? find(q, slot) : NULL;

        if (i && i->mod == all[k].mod)
            i->is_found = true;
        else if (part_of(q, all[k].key, &slot) == SLOT)
            apply(q, &all[k], false);
    }
    for (size_t k = 0; k < n; k++) { /* once its item is there */
        enum part part = part_of(q, all[k].key, &slot);
        struct shke_item *i = part == CLAIM || part == TRIES ? find(q, slot) : NULL;

        if (part == CLAIM)
            q->claimed_at = shke_now();
        if (i && part == CLAIM)
            shke_item_learn_claim(i, all[k].create, all[k].lease, revision);
        else if (i)
            shke_item_learn_tries(q, i, &all[k], revision);
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

static int begin(struct shke_queue *q, const struct shke_trial *trial)
{
    static const struct shke_watcher watcher = {.event = see_event, .told = told, .reload = reload};
    int64_t revision;

    if (q->view)
        return 0;
    revision = read_all(q, trial);
    return revision < 0 ? (int)revision
                        : shke_queue_watch(q, &q->view, "slot", revision, false, &watcher);
}

int shke_view_start(struct shke_queue *q, const struct shke_trial *trial)
{
    return shke_queue_begin(q, begin, trial);
}

void shke_view_free(struct shke_queue *q)
{
    shke_watch_stop(q->view);
    while (q->head)
        shke_view_drop(q, q->head);
    free(q->table);
}
