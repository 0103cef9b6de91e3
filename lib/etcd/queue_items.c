/* The items that wait in a queue on etcd, listed from outside. */
#include "etcd/inspect.h"
#include "etcd/queue.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE 500 /* keys of one reply */

struct found {
    int64_t create, priority;
    unsigned number; /* in its batch */
    size_t length;
    unsigned char *bytes;
};

/* A list in the making. */
struct listing {
    struct shke_client *client;
    char object[SHKE_KEY_MAX]; /* "/shmkit/bank/jobs/" */
    int64_t order;
    struct found *items;
    size_t n, room;
};

static int64_t read_priority(const uint8_t bytes[8])
{
    uint64_t priority = 0;

    for (unsigned i = 0; i < 8; i++)
        priority = priority << 8 | bytes[i];
    return (int64_t)(priority ^ UINT64_C(1) << 63);
}

/* A key that is no item of shmkit's is left out. */
static int add(struct listing *l, const struct shke_kv *kv)
{
    struct shke_header header;
    struct found *more, *item;

    if (kv->length < sizeof(header))
        return 0;
    memcpy(&header, kv->value, sizeof(header));
    if (header.version != 1)
        return 0;
    if (l->n == l->room) {
        l->room = l->room ? 2 * l->room : 64;
        more = realloc(l->items, l->room * sizeof(*more));
        if (more == NULL)
            return shke_fail(-ENOMEM, "out of memory");
        l->items = more;
    }
    item = &l->items[l->n];
    *item = (struct found){.create = kv->create,
                           .priority = read_priority(header.priority),
                           .number = (unsigned)header.number[0] << 8 | header.number[1],
                           .length = kv->length - sizeof(header)};
    item->bytes = malloc(item->length ? item->length : 1);
    if (item->bytes == NULL)
        return shke_fail(-ENOMEM, "out of memory");
    if (item->length > 0)
        memcpy(item->bytes, kv->value + sizeof(header), item->length);
    l->n++;
    return 0;
}

/* One page, as of the revision; *more: another one is left, from `from` on. */
static int read_page(struct listing *l, char from[SHKE_KEY_MAX], int64_t *revision, bool *more)
{
    char prefix[SHKE_KEY_MAX];
    const struct shke_range range = {.prefix = shke_part(prefix, l->object, "slot/"),
                                     .from = *from ? from : NULL,
                                     .revision = *revision,
                                     .limit = PAGE};
    struct shke_reply reply;
    struct shke_kv kv;
    int r = shke_range(l->client, &range, &shke_looking, &reply);
    size_t there;

    if (r < 0)
        return r;
    if (*revision == 0)
        *revision = reply.revision;
    there = shke_range_n(&reply);
    for (size_t i = 0; r == 0 && i < there; i++) {
        r = shke_range_kv(&reply, i, &kv);
        if (r == 0)
            r = add(l, &kv);
        if (r == 0 && i + 1 == there) /* the first key behind the last one */
            snprintf(from, SHKE_KEY_MAX, "%s\x01", kv.key);
        shke_kv_free(&kv);
    }
    *more = there > 0 && shke_range_has_more(&reply);
    shke_reply_free(&reply);
    return r;
}

/* The queue's order: 0, -ENOENT, -EPROTOTYPE. */
static int read_order(struct listing *l, const char *segment, const char *queue)
{
    char key[SHKE_KEY_MAX];
    json_object *record, *kind;
    struct shke_reply reply;
    struct shke_kv kv;
    int r = shke_get(l->client, shke_part(key, l->object, ".object"), &shke_looking, &reply);

    if (r < 0)
        return r;
    r = shke_range_kv(&reply, 0, &kv);
    shke_reply_free(&reply);
    if (r < 0)
        return r;
    record = shke_parse(&kv, json_type_object);
    if (kv.create == 0)
        r = shke_fail(-ENOENT, "there is no object %s in segment %s", queue, segment);
    else if (record == NULL || !json_object_object_get_ex(record, "kind", &kind) ||
             strcmp(json_object_get_string(kind), "queue") != 0)
        r = shke_fail(-EPROTOTYPE, "%s/%s is no queue, and has no items", segment, queue);
    l->order = record ? shke_number(record, "order") : 0;
    json_object_put(record);
    shke_kv_free(&kv);
    return r;
}

static int by_arrival(const void *a, const void *b)
{
    const struct found *x = a, *y = b;

    return x->create != y->create ? (x->create > y->create) - (x->create < y->create)
                                  : (x->number > y->number) - (x->number < y->number);
}

static int by_arrival_last(const void *a, const void *b)
{
    return by_arrival(b, a);
}

static int by_priority(const void *a, const void *b)
{
    const struct found *x = a, *y = b;

    return x->priority != y->priority ? (x->priority > y->priority) - (x->priority < y->priority)
                                      : by_arrival(a, b);
}

/* One piece of memory: the structs, and behind them the bytes. */
static ssize_t finish(const struct listing *l, size_t n, struct shk_item_info **list)
{
    size_t bytes = 0;
    unsigned char *to;

    for (size_t i = 0; i < n; i++)
        bytes += l->items[i].length;
    *list = calloc(1, n * sizeof(**list) + bytes + 1);
    if (*list == NULL)
        return shke_fail(-ENOMEM, "out of memory");
    to = (unsigned char *)(*list + n);
    for (size_t i = 0; i < n; i++) {
        const struct found *item = &l->items[i];

        (*list)[i].priority = l->order == SHK_PRIORITY ? item->priority : 0;
        (*list)[i].length = item->length;
        (*list)[i].bytes = to;
        memcpy(to, item->bytes, item->length);
        to += item->length;
    }
    return (ssize_t)n;
}

ssize_t shke_item_list(const char *segment, const char *queue, size_t max,
                       struct shk_item_info **list)
{
    char from[SHKE_KEY_MAX] = "";
    struct listing l = {0};
    int64_t revision = 0;
    bool more = true;
    const char *bare;
    ssize_t r = shke_look_begin(segment, &bare, &l.client);

    if (r < 0)
        return r;
    snprintf(l.object, sizeof(l.object), SHKE_ROOT "%s/%s/", bare, queue);
    r = read_order(&l, segment, queue);
    while (r == 0 && more)
        r = read_page(&l, from, &revision, &more);
    if (r == 0 && l.n > 0)
        qsort(l.items, l.n, sizeof(*l.items),
              l.order == SHK_PRIORITY ? by_priority
              : l.order == SHK_LIFO   ? by_arrival_last
                                      : by_arrival);
    if (r == 0)
        r = finish(&l, l.n < max ? l.n : max, list);
    for (size_t i = 0; i < l.n; i++)
        free(l.items[i].bytes);
    free(l.items);
    shke_client_free(l.client);
    return r;
}
