/* This process as a member of a segment: its record, its lease, and what it has open there. */
#include "etcd/object.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const struct shke_trial opening = {.limit = SHKE_LIMIT};

#define USES_AT_A_TIME 100 /* of the 128 operations of a transaction */

void shke_segment_describe_thread(const struct shke_segment *s, struct shke_buffer *b)
{
    shke_add_string(b, "{\"name\":");
    shke_add_json_string(b, s->member);
    shke_add_string(b, ",\"host\":");
    shke_add_json_string(b, s->machine.host);
    shke_addf(b, ",\"pid\":%d,\"tid\":%d", (int)getpid(), (int)gettid());
}

void shke_read_thread(const struct shke_kv *kv, char name[SHK_NAME_MAX + 1], int32_t *pid)
{
    json_object *thread = kv->value ? json_tokener_parse((const char *)kv->value) : NULL, *found;

    *pid = 0;
    memset(name, 0, SHK_NAME_MAX + 1);
    if (json_object_is_type(thread, json_type_object) &&
        json_object_object_get_ex(thread, "name", &found)) {
        strncpy(name, json_object_get_string(found), SHK_NAME_MAX);
        *pid = (int32_t)shke_number(thread, "pid");
    }
    json_object_put(thread);
}

void shke_read_nonce(const struct shke_kv *kv, char *nonce, size_t size)
{
    json_object *value = kv->value ? json_tokener_parse((const char *)kv->value) : NULL, *found;
    bool has = json_object_is_type(value, json_type_object) &&
               json_object_object_get_ex(value, "nonce", &found);

    snprintf(nonce, size, "%s", has ? json_object_get_string(found) : "");
    json_object_put(value);
}

static void use_key(char *key, size_t size, const struct shke_object *o, int64_t lease)
{
    snprintf(key, size, "%s.uses/%016llx", o->prefix, (unsigned long long)lease);
}

/* If the object is still there. */
static void add_use(const struct shke_object *o, int64_t lease, struct shke_txn *t)
{
    char record[SHKE_KEY_MAX + 8], use[SHKE_KEY_MAX + 24];
    struct shke_txn inner = {0};

    snprintf(record, sizeof(record), "%s.object", o->prefix);
    use_key(use, sizeof(use), o, lease);
    shke_if_created(&inner, record, o->created);
    shke_then_put(&inner, use, NULL, 0, lease);
    shke_then_txn(t, &inner);
}

/* With the segment's lock. */
static int put_member(struct shke_segment *s, int64_t lease, const struct shke_trial *trial)
{
    struct shke_buffer value = {0};
    struct shke_reply reply;
    struct shke_txn t = {0};
    char key[SHKE_KEY_MAX];
    unsigned n = 0;
    int r;

    snprintf(key, sizeof(key), "%s.members/%016llx", s->prefix, (unsigned long long)lease);
    shke_segment_describe_thread(s, &value);
    shke_machine_write(&s->machine, &value);
    shke_addf(&value, ",\"at\":%lld,\"comm\":", (long long)s->joined);
    shke_add_json_string(&value, s->command);
    shke_add_string(&value, "}");
    shke_then_put(&t, key, value.bytes, value.length, lease);
    for (const struct shke_object *o = s->used; o && n++ < USES_AT_A_TIME; o = o->next_used)
        add_use(o, lease, &t);
    r = value.failed ? -ENOMEM : 0;
    shke_buffer_free(&value);
    if (r < 0) {
        shke_txn_free(&t);
        return shke_fail(r, "out of memory");
    }
    r = shke_txn_run(shke_session_client(s->session), &t, trial, &reply);
    if (r == 0) {
        s->member_lease = lease;
        shke_reply_free(&reply);
    } else if (r == -ESTALE) {
        shke_session_lost(s->session, lease);
    }
    return r;
}

int shke_segment_lease(struct shke_segment *s, const struct shke_trial *trial, int64_t *lease)
{
    const struct shke_trial brief = shke_brief(trial);
    unsigned ended = 0;
    int r;

    do {
        r = shke_session_lease(s->session, trial, lease);
        if (r < 0)
            return r;
        pthread_mutex_lock(&s->lock);
        if (s->member_lease != *lease)
            r = put_member(s, *lease, &brief);
        pthread_mutex_unlock(&s->lock);
        /* once more if the lease ends just then */
    } while ((r == -ESTALE && ++ended < 3) || shke_again(trial, r));
    return r;
}

int shke_segment_use(struct shke_object *o)
{
    struct shke_segment *s = o->segment;
    struct shke_reply reply;
    struct shke_txn t = {0};
    int64_t lease;
    int r = shke_segment_lease(s, &opening, &lease);

    if (r < 0)
        return r;
    add_use(o, lease, &t);
    pthread_mutex_lock(&s->lock);
    o->next_used = s->used;
    s->used = o;
    pthread_mutex_unlock(&s->lock);
    r = shke_txn_run(shke_session_client(s->session), &t, &opening, &reply);
    shke_reply_free(&reply);
    return r == -ESTALE ? 0 : r; /* the lease has just ended: the key comes with the next one */
}

void shke_segment_unuse(struct shke_object *o)
{
    const struct shke_trial trial = {.limit = SHK_SEC(1)};
    struct shke_segment *s = o->segment;
    struct shke_object **link = &s->used;
    struct shki_saved_error saved;
    struct shke_reply reply;
    struct shke_txn t = {0};
    char key[SHKE_KEY_MAX + 24];
    int64_t lease;

    pthread_mutex_lock(&s->lock);
    while (*link && *link != o)
        link = &(*link)->next_used;
    if (*link)
        *link = o->next_used;
    lease = s->member_lease;
    pthread_mutex_unlock(&s->lock);
    shke_host->error_save(&saved);
    use_key(key, sizeof(key), o, lease);
    shke_then_delete(&t, key);
    if (shke_txn_run(shke_session_client(s->session), &t, &trial, &reply) == 0)
        shke_reply_free(&reply);
    shke_host->error_settle(0, &saved);
}

int shke_segment_rename(struct shk_segment *segment, const char *utf8)
{
    struct shke_segment *s = shke_segment_of(segment);
    int64_t lease;
    int r;

    pthread_mutex_lock(&s->lock);
    snprintf(s->member, sizeof(s->member), "%s", utf8);
    s->member_lease = 0; /* its record is to be written again */
    pthread_mutex_unlock(&s->lock);
    r = shke_segment_lease(s, &opening, &lease);
    return r;
}

/* As the kernel has it: /proc/self/comm. */
void shke_member_take_name(struct shke_segment *s)
{
    FILE *comm = fopen("/proc/self/comm", "re");

    if (comm && fgets(s->command, sizeof(s->command), comm))
        s->command[strcspn(s->command, "\n")] = '\0';
    snprintf(s->member, sizeof(s->member), "%s", s->command);
    if (shke_host->check_label("the member's name", s->member, SHK_NAME_MAX) < 0)
        snprintf(s->member, sizeof(s->member), "pid %d", (int)getpid());
    if (comm)
        fclose(comm);
}
