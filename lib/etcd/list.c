/* The segments that there are on etcd. */
#include "etcd/inspect.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct list {
    struct shke_client *client;
    struct shk_segment_info *infos;
    size_t n, room;
};

/*
 * The first key from `from` on, in its place, or "" if there is none; "/shmkit/bank" lies before
 * "/shmkit/bank/...", and others, as "/shmkit/bank-2", may lie between.
 */
static int next_key(struct list *l, char from[SHKE_KEY_MAX])
{
    const struct shke_range range = {
        .prefix = SHKE_ROOT, .from = from, .limit = 1, .keys_only = true};
    struct shke_reply reply;
    struct shke_kv kv = {0};
    int r = shke_range(l->client, &range, &shke_looking, &reply);

    if (r < 0)
        return r;
    r = shke_range_kv(&reply, 0, &kv);
    snprintf(from, SHKE_KEY_MAX, "%s", r == 0 && kv.key ? kv.key : "");
    shke_kv_free(&kv);
    shke_reply_free(&reply);
    return r;
}

/* A segment: its record, how many members and objects it has. */
static int describe(struct list *l, const char *key, struct shk_segment_info *info)
{
    char name[SHKE_KEY_MAX + sizeof(SHKI_REMOTE_SCHEME)], part[SHKE_KEY_MAX];
    struct shke_reply reply;
    struct shke_txn t = {0};
    struct shke_kv record;
    int r;

    snprintf(name, sizeof(name), SHKI_REMOTE_SCHEME "%s", key + strlen(SHKE_ROOT));
    shke_then_get(&t, key);
    shke_then_count(&t, shke_part(part, key, "/.members/"));
    shke_then_count(&t, shke_part(part, key, "/.objects/"));
    r = shke_txn_run(l->client, &t, &shke_looking, &reply);
    if (r < 0)
        return r;
    r = shke_reply_kv(&reply, 0, &record);
    if (r == 0)
        shke_segment_describe(name, &record, reply.revision, info); /* or says why not */
    info->members_alive = (uint32_t)shke_reply_count(&reply, 1);
    info->objects = (uint32_t)shke_reply_count(&reply, 2);
    shke_kv_free(&record);
    shke_reply_free(&reply);
    return r;
}

static int add(struct list *l, const char *key, unsigned flags)
{
    struct shk_segment_info *more;
    int r;

    if (l->n == l->room) {
        l->room = l->room ? 2 * l->room : 16;
        more = realloc(l->infos, l->room * sizeof(*more));
        if (more == NULL)
            return shke_fail(-ENOMEM, "out of memory");
        l->infos = more;
    }
    memset(&l->infos[l->n], 0, sizeof(*l->infos));
    r = describe(l, key, &l->infos[l->n]);
    if (r == 0 && (l->infos[l->n].state == SHK_SEGMENT_GOOD || flags & SHK_LIST_FOREIGN))
        l->n++;
    return r;
}

/* Its keys are skipped: so this takes three requests a segment, however much is in it. */
static int find_all(struct list *l, unsigned flags)
{
    char from[SHKE_KEY_MAX] = SHKE_ROOT;
    int r = next_key(l, from);

    while (r == 0 && *from) {
        char *slash = strchr(from + strlen(SHKE_ROOT), '/');

        if (slash) {
            slash[0]++; /* behind all that is in the segment */
            slash[1] = '\0';
        } else {
            r = add(l, from, flags);
            if (strlen(from) + 1 < sizeof(from))
                strcat(from, "\x01"); /* behind this key */
        }
        if (r == 0)
            r = next_key(l, from);
    }
    return r;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct shk_segment_info *)a)->name,
                  ((const struct shk_segment_info *)b)->name);
}

ssize_t shke_segment_list(unsigned flags, struct shk_segment_info **list)
{
    struct list l = {0};
    int r = shke_look_begin(NULL, NULL, &l.client);

    if (r < 0)
        return r;
    r = find_all(&l, flags);
    shke_client_free(l.client);
    if (r < 0) {
        free(l.infos);
        return r;
    }
    if (l.n > 0)
        qsort(l.infos, l.n, sizeof(*l.infos), by_name);
    *list = l.infos;
    return (ssize_t)l.n;
}
