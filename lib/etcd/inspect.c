/* A snapshot of a segment on etcd: its members, its objects, and what each kind says of its own. */
#include "etcd/inspect.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define THREADS_MOST 1000                               /* of a process that wait: more is damage */
#define BATCH        (SHKE_OPERATIONS_MAX / SHKE_LOOKS) /* objects of one transaction */

/* ---- What they wait for ---- */

static struct shk_object_info *find_object(const struct shk_snapshot *s, const char *name)
{
    for (size_t i = 0; i < s->n_objects; i++)
        if (strcmp(s->objects[i].name, name) == 0)
            return &s->objects[i];
    return NULL;
}

static int read_wait(struct shke_snapshot *l, const struct shke_process *p, json_object *wait)
{
    int64_t tid = shke_number(wait, "tid"), waits_for = shke_number(wait, "for");
    struct shk_object_info *o;
    struct shk_member_info *m;

    if (!json_object_is_type(wait, json_type_object) || tid <= 0 || tid >= SHKE_TID_MAX ||
        waits_for <= SHK_WAITS_NOT || waits_for > SHK_WAITS_FOR_VERSION)
        return 0;
    m = shke_snapshot_thread(l, p, (int32_t)tid);
    if (m == NULL)
        return shke_fail(-ENOMEM, "out of memory");
    m->waits_for = (uint32_t)waits_for;
    m->has_deadline = shke_number(wait, "deadline") != 0;
    m->waiting = shke_time_since(shke_number(wait, "since"));
    shke_copy_text(m->waits_on, sizeof(m->waits_on), wait, "on");
    o = find_object(l->out, m->waits_on);
    if (o)
        o->waiters++;
    else
        m->waits_on[0] = '\0'; /* it has been removed */
    return 0;
}

static int read_waits(struct shke_snapshot *l, const struct shke_kv *kv)
{
    const struct shke_process *p =
        shke_snapshot_process(l, (int64_t)strtoull(shke_last_part(kv->key), NULL, 16));
    json_object *list = p ? shke_parse(kv, json_type_array) : NULL;
    int r = 0;

    for (size_t i = 0; r == 0 && list && i < json_object_array_length(list) && i < THREADS_MOST;
         i++)
        r = read_wait(l, p, json_object_array_get_idx(list, i));
    json_object_put(list);
    return r;
}

/* ---- Objects ---- */

static const struct shke_kind *kind_of(json_object *record)
{
    json_object *name;

    if (!json_object_object_get_ex(record, "kind", &name) ||
        !json_object_is_type(name, json_type_string))
        return NULL;
    for (const struct shke_kind *const *k = shke_kinds; *k; k++)
        if (strcmp((*k)->name, json_object_get_string(name)) == 0)
            return *k;
    return NULL;
}

/* An object of the list: what its record says. Of a kind that is not known: its name alone. */
static void read_record(const struct shke_kv *kv, json_object *record, struct shk_object_info *info)
{
    const struct shke_kind *kind = kind_of(record);
    const char *name = shke_last_part(kv->key);

    shke_host->copy_label(info->name, sizeof(info->name), name, strlen(name));
    info->kind = kind ? kind->number : 0;
    info->serial = (uint64_t)kv->create;
    info->created = shke_number(record, "at");
    info->creator = (int32_t)shke_number(record, "pid");
}

/* The n objects from the first on: what each kind asks for, in one transaction. */
static int look_at(struct shke_snapshot *l, json_object **records, size_t first, size_t n)
{
    struct shk_object_info *objects = l->out->objects;
    struct shke_sight sight = {.snapshot = l};
    char prefix[SHKE_KEY_MAX];
    struct shke_reply reply;
    struct shke_txn t = {0};
    int r;

    for (size_t i = first; i < first + n; i++) {
        const struct shke_kind *kind = kind_of(records[i]);

        snprintf(prefix, sizeof(prefix), "%s%s/", l->prefix, objects[i].name);
        if (kind && kind->look)
            kind->look(&t, prefix);
    }
    r = shke_txn_run(l->client, &t, &shke_looking, &reply);
    if (r < 0)
        return r;
    sight.reply = &reply;
    for (size_t i = first; r == 0 && i < first + n; i++) {
        const struct shke_kind *kind = kind_of(records[i]);

        sight.record = records[i];
        if (kind && kind->look) {
            r = kind->tell(&sight, &objects[i]);
            sight.first += kind->looks;
        }
    }
    shke_reply_free(&reply);
    return r;
}

static int read_objects(struct shke_snapshot *l, const struct shke_reply *reply, unsigned n_th)
{
    size_t n = shke_reply_n(reply, n_th), there = 0;
    json_object **records = calloc(n + 1, sizeof(*records));
    struct shk_snapshot *s = l->out;
    struct shke_kv kv;
    int r = 0;

    s->objects = calloc(n + 1, sizeof(*s->objects));
    if (records == NULL || s->objects == NULL)
        r = shke_fail(-ENOMEM, "out of memory");
    for (size_t i = 0; r == 0 && i < n; i++) {
        r = shke_reply_kv_at(reply, n_th, i, &kv);
        if (r < 0)
            break;
        records[there] = shke_parse(&kv, json_type_object);
        if (records[there]) /* else it is foreign */
            read_record(&kv, records[there], &s->objects[there]);
        there += records[there] != NULL;
        shke_kv_free(&kv);
    }
    s->n_objects = there;
    s->segment.objects = (uint32_t)there;
    for (size_t i = 0; r == 0 && i < there; i += BATCH)
        r = look_at(l, records, i, there - i < BATCH ? there - i : BATCH);
    for (size_t i = 0; i < there; i++)
        json_object_put(records[i]);
    free(records);
    return r;
}

/* ---- The segment ---- */

/* Of each key of the n-th operation. */
static int for_each(struct shke_snapshot *l, const struct shke_reply *reply, unsigned n,
                    int (*read)(struct shke_snapshot *, const struct shke_kv *))
{
    struct shke_kv kv;
    int r = 0;

    for (size_t i = 0; r == 0 && i < shke_reply_n(reply, n); i++) {
        r = shke_reply_kv_at(reply, n, i, &kv);
        if (r == 0)
            r = read(l, &kv);
        shke_kv_free(&kv);
    }
    return r;
}

int shke_segment_describe(const char *name, const struct shke_kv *kv, int64_t revision,
                          struct shk_segment_info *info)
{
    json_object *record = shke_parse(kv, json_type_object);

    shke_host->copy_label(info->name, sizeof(info->name), name, strlen(name));
    info->revision = (uint64_t)revision;
    info->state = SHK_SEGMENT_FOREIGN;
    if (record && shke_number(record, "shmkit") == 1) {
        info->state = SHK_SEGMENT_GOOD;
        info->id = (uint64_t)kv->create;
        info->created = shke_number(record, "at");
        info->creator = (int32_t)shke_number(record, "pid");
    } else {
        snprintf(info->problem, sizeof(info->problem), "its key in etcd is no record of shmkit");
    }
    json_object_put(record);
    return info->state == SHK_SEGMENT_GOOD
               ? 0
               : shke_fail(-EPROTO, "%s is no segment of shmkit: its key in etcd is %s%s", name,
                           SHKE_ROOT, name + strlen(SHKI_REMOTE_SCHEME));
}

/* What is asked of a segment, in this order. */
enum { RECORD, OBJECTS, MEMBERS, WAITS };

static int ask(struct shke_snapshot *l, const char *bare, struct shke_reply *reply)
{
    char key[SHKE_KEY_MAX];
    struct shke_txn t = {0};

    snprintf(l->prefix, sizeof(l->prefix), SHKE_ROOT "%s/", bare);
    shke_then_get(&t, shke_part(key, SHKE_ROOT, bare));
    shke_then_get_all(&t, shke_part(key, l->prefix, ".objects/"));
    shke_then_get_all(&t, shke_part(key, l->prefix, ".members/"));
    shke_then_get_all(&t, shke_part(key, l->prefix, ".waits/"));
    return shke_txn_run(l->client, &t, &shke_looking, reply);
}

static int read_all(struct shke_snapshot *l, const char *name, const struct shke_reply *reply)
{
    struct shk_snapshot *s = l->out;
    struct shke_kv record;
    int r = shke_reply_kv(reply, RECORD, &record);

    if (r < 0)
        return r;
    r = record.create ? shke_segment_describe(name, &record, reply->revision, &s->segment)
                      : shke_fail(-ENOENT, "there is no segment %s", name);
    shke_kv_free(&record);
    l->processes = calloc(shke_reply_n(reply, MEMBERS) + 1, sizeof(*l->processes));
    if (r == 0 && l->processes == NULL)
        r = shke_fail(-ENOMEM, "out of memory");
    if (r == 0)
        r = for_each(l, reply, MEMBERS, shke_snapshot_add_process);
    s->segment.members_alive = (uint32_t)l->n_processes;
    if (r == 0)
        r = read_objects(l, reply, OBJECTS);
    if (r == 0)
        r = for_each(l, reply, WAITS, read_waits);
    /* which of them have an object open is not known */
    for (size_t i = 0; i < s->n_objects; i++)
        s->objects[i].users = l->n_processes;
    free(l->processes);
    return r;
}

int shke_snapshot_read(const char *name, struct shk_snapshot *s)
{
    struct shke_snapshot l = {.out = s};
    struct shke_reply reply;
    const char *bare;
    int r = shke_look_begin(name, &bare, &l.client);

    if (r < 0)
        return r;
    shke_machine_here(&l.here);
    r = ask(&l, bare, &reply);
    if (r == 0) {
        r = read_all(&l, name, &reply);
        shke_reply_free(&reply);
    }
    shke_client_free(l.client);
    return r;
}
