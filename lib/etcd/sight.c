/* What is seen of a segment on etcd by others than its members: the members, and the answers. */
#include "etcd/sight.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

const struct shke_trial shke_looking = {.limit = SHK_SEC(5)};

/* A look has a client, and no lease: it is no member of anything. */
int shke_look_begin(const char *name, const char **bare, struct shke_client **c)
{
    int r = name ? shke_segment_name(name, bare) : 0;

    return r < 0 ? r : shke_client_new(c);
}

/* ---- JSON of any origin ---- */

json_object *shke_parse(const struct shke_kv *kv, json_type type)
{
    json_object *o = kv->value ? json_tokener_parse((const char *)kv->value) : NULL;

    if (json_object_is_type(o, type))
        return o;
    json_object_put(o);
    return NULL;
}

void shke_copy_text(char *to, size_t size, json_object *from, const char *key)
{
    json_object *text = NULL;
    const char *s = json_object_object_get_ex(from, key, &text) ? json_object_get_string(text) : "";

    shke_host->copy_label(to, size, s ? s : "", s ? strlen(s) : 0);
}

const char *shke_last_part(const char *key)
{
    const char *slash = strrchr(key, '/');

    return slash ? slash + 1 : key;
}

/* ---- Members ---- */

/* Linux has fewer than 2^22 threads. */
uint64_t shke_member_id(int64_t created, int32_t tid)
{
    return (uint64_t)created << 22 | ((uint32_t)tid & (SHKE_TID_MAX - 1)); /* SHKI_MEMBER_PROCESS */
}

static struct shk_member_info *add_member(struct shke_snapshot *l)
{
    struct shk_snapshot *s = l->out;
    struct shk_member_info *more = s->members;
    struct shki_snapshot_machine *machines = s->machines;

    if (s->n_members == l->members_room) {
        l->members_room = l->members_room ? 2 * l->members_room : 16;
        more = realloc(s->members, l->members_room * sizeof(*more));
        if (more)
            s->members = more;
        machines = realloc(s->machines, l->members_room * sizeof(*machines));
        if (machines)
            s->machines = machines;
    }
    if (more == NULL || machines == NULL)
        return NULL;
    memset(&s->members[s->n_members], 0, sizeof(*more));
    memset(&s->machines[s->n_members], 0, sizeof(*machines));
    return &s->members[s->n_members++];
}

int shke_snapshot_add_process(struct shke_snapshot *l, const struct shke_kv *kv)
{
    const char *name = shke_last_part(kv->key);
    json_object *record = shke_parse(kv, json_type_object);
    struct shke_process *p = &l->processes[l->n_processes];
    struct shki_snapshot_machine *machine;
    struct shk_member_info *m;

    if (record == NULL)
        return 0; /* foreign: no process of shmkit */
    m = add_member(l);
    if (m == NULL) {
        json_object_put(record);
        return shke_fail(-ENOMEM, "out of memory");
    }
    machine = &l->out->machines[l->out->n_members - 1];
    m->pid = m->tid = (int32_t)shke_number(record, "pid");
    m->id = machine->id = shke_member_id(kv->create, m->tid);
    m->alive = 1;
    m->joined = shke_number(record, "at");
    shke_copy_text(m->command, sizeof(m->command), record, "comm");
    shke_copy_text(m->name, sizeof(m->name), record, "name");
    shke_copy_text(machine->name, sizeof(machine->name), record, "host");
    m->namespace_ = shke_machine_number(&l->here, record);
    *p = (struct shke_process){.lease = (int64_t)strtoull(name, NULL, 16),
                               .created = kv->create,
                               .main = l->out->n_members - 1};
    l->n_processes++;
    json_object_put(record);
    return 0;
}

const struct shke_process *shke_snapshot_process(const struct shke_snapshot *l, int64_t lease)
{
    for (size_t i = 0; i < l->n_processes; i++)
        if (l->processes[i].lease == lease)
            return &l->processes[i];
    return NULL;
}

/* As its main thread, but for its number. */
struct shk_member_info *shke_snapshot_thread(struct shke_snapshot *l, const struct shke_process *p,
                                             int32_t tid)
{
    struct shk_snapshot *s = l->out;
    uint64_t id = shke_member_id(p->created, tid);
    struct shk_member_info *m;

    for (size_t i = p->main; i < s->n_members; i++)
        if (s->members[i].id == id)
            return &s->members[i];
    m = add_member(l);
    if (m == NULL)
        return NULL;
    *m = s->members[p->main];
    s->machines[s->n_members - 1] = s->machines[p->main];
    m->tid = tid;
    m->id = s->machines[s->n_members - 1].id = id;
    m->waits_for = SHK_WAITS_NOT;
    m->waits_on[0] = '\0';
    m->waiting = 0;
    m->has_deadline = 0;
    return m;
}

uint64_t shke_sight_member(struct shke_sight *sight, const struct shke_kv *kv)
{
    const struct shke_process *p =
        kv->create ? shke_snapshot_process(sight->snapshot, kv->lease) : NULL;
    const struct shk_member_info *m;
    json_object *value;
    int64_t tid = 0;

    if (p == NULL)
        return 0;
    m = &sight->snapshot->out->members[p->main];
    value = shke_parse(kv, json_type_object);
    if (value)
        tid = shke_number(value, "tid");
    json_object_put(value);
    if (tid > 0 && tid < SHKE_TID_MAX)
        m = shke_snapshot_thread(sight->snapshot, p, (int32_t)tid);
    return m ? m->id : 0;
}

int shke_sight_add_role(struct shke_sight *sight, const struct shke_kv *kv, uint64_t serial,
                        unsigned role, uint32_t permits)
{
    const struct shke_process *p = shke_snapshot_process(sight->snapshot, kv->lease);
    struct shk_snapshot *s = sight->snapshot->out;
    struct shki_snapshot_role *more = s->roles;

    if (p == NULL)
        return 0;                             /* its lease has ended since */
    if ((s->n_roles & (s->n_roles - 1)) == 0) /* as many as a power of two: room for twice that */
        more = realloc(s->roles, (2 * s->n_roles + 1) * sizeof(*s->roles));
    if (more == NULL)
        return shke_fail(-ENOMEM, "out of memory");
    s->roles = more;
    s->roles[s->n_roles++] =
        (struct shki_snapshot_role){.pid = s->members[p->main].pid,
                                    .role = role,
                                    .serial = serial,
                                    .process = SHKI_MEMBER_PROCESS(s->members[p->main].id),
                                    .permits = permits};
    return 0;
}

int64_t shke_time_since(int64_t ms)
{
    struct timespec t;
    int64_t now;

    clock_gettime(CLOCK_REALTIME, &t);
    now = SHK_SEC((int64_t)t.tv_sec) + t.tv_nsec;
    return ms > 0 && ms < now / SHK_MS(1) ? now - SHK_MS(ms) : 0;
}

int64_t shke_sight_held(const struct shke_kv *holder)
{
    json_object *value = shke_parse(holder, json_type_object);
    int64_t held = value ? shke_time_since(shke_number(value, "since")) : 0;

    json_object_put(value);
    return held;
}

/* ---- Answers ---- */

json_object *shke_sight_record(const struct shke_sight *s)
{
    return s->record;
}

int shke_sight_kv(const struct shke_sight *s, unsigned n, size_t i, struct shke_kv *kv)
{
    return shke_reply_kv_at(s->reply, s->first + n, i, kv);
}

size_t shke_sight_n(const struct shke_sight *s, unsigned n)
{
    return shke_reply_n(s->reply, s->first + n);
}

int64_t shke_sight_count(const struct shke_sight *s, unsigned n)
{
    return shke_reply_count(s->reply, s->first + n);
}

const char *shke_part(char key[SHKE_KEY_MAX], const char *prefix, const char *part)
{
    snprintf(key, SHKE_KEY_MAX, "%s%s", prefix, part);
    return key;
}
