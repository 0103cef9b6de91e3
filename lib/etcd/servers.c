/* The servers, as they say themselves that they are: what shmctl doctor tells of etcd. */
#include "etcd/inspect.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SERVERS_MOST 64
#define LEASE_TTL    5 /* seconds, as a process asks by default */

/* A look at a cluster. */
struct cluster {
    struct shke_client *client;
    struct shk_cluster_info *info;
    struct shk_server_info *servers;
    char ids[SERVERS_MOST][24]; /* of each: as text: they are larger than a signed number */
    size_t n;
    bool has_list; /* of members */
};

static int64_t now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return SHK_SEC((int64_t)t.tv_sec) + t.tv_nsec;
}

static const char *text_of(json_object *o, const char *key)
{
    json_object *value;

    return o && json_object_object_get_ex(o, key, &value) ? json_object_get_string(value) : "";
}

/* The reply to a request; NULL: none, and there is a sentence. *a is not to be freed. */
static json_object *ask(struct cluster *c, unsigned n, const char *path, const char *body,
                        struct shke_answer *a, int *r)
{
    struct shke_buffer request = {0};
    json_object *reply = NULL;

    shke_add_string(&request, body);
    *r = shke_ask_server(c->client, n, path, &request, a);
    shke_buffer_free(&request);
    if (*r == 0)
        reply = json_tokener_parse(a->text);
    if (*r == 0 && !json_object_is_type(reply, json_type_object))
        *r = shke_fail(-EHOSTUNREACH, "it does not answer as etcd does");
    else if (*r == 0 && *text_of(reply, "error"))
        *r = shke_fail(-EACCES, "%s", text_of(reply, "error"));
    free(a->text);
    a->text = NULL;
    if (*r < 0) {
        json_object_put(reply);
        reply = NULL;
    }
    return reply;
}

/* ---- Each server ---- */

/* A figure of /metrics; 0: it is not there. */
static uint64_t metric(const char *text, const char *name)
{
    const char *at = strstr(text, name);

    return at ? (uint64_t)strtod(at + strlen(name), NULL) : 0;
}

static void read_metrics(struct cluster *c, unsigned n, struct shk_server_info *s)
{
    struct shke_buffer request = {0};
    struct shke_answer a;

    shke_add_string(&request, "{}");
    if (shke_ask_server(c->client, n, "/metrics", &request, &a) == 0) {
        s->quota = metric(a.text, "\netcd_server_quota_backend_bytes ");
        free(a.text);
    }
    shke_buffer_free(&request);
}

static void describe_endpoint(struct cluster *c, unsigned n)
{
    struct shk_server_info *s = &c->servers[c->n];
    json_object *reply, *header = NULL;
    const char *leader;
    struct shke_answer a;
    time_t asked = time(NULL);
    int r;

    *s = (struct shk_server_info){0};
    snprintf(s->endpoint, sizeof(s->endpoint), "%s", shke_endpoint(c->client, n));
    reply = ask(c, n, "/v3/maintenance/status", "{}", &a, &r);
    c->ids[c->n++][0] = '\0';
    if (reply == NULL) {
        s->state = r == -EACCES ? SHK_SERVER_REFUSES : SHK_SERVER_AWAY;
        shke_host->copy_label(s->problem, sizeof(s->problem), shke_host->last_error(),
                              strlen(shke_host->last_error()));
        return;
    }
    leader = text_of(reply, "leader");
    json_object_object_get_ex(reply, "header", &header);
    snprintf(c->ids[c->n - 1], sizeof(c->ids[0]), "%s", text_of(header, "member_id"));
    shke_copy_text(s->version, sizeof(s->version), reply, "version");
    s->size = (uint64_t)shke_number(reply, "dbSize");
    s->in_use = (uint64_t)shke_number(reply, "dbSizeInUse");
    s->delay = a.delay;
    s->ahead = a.date ? a.date - asked : 0;
    s->leads = *leader && strcmp(leader, c->ids[c->n - 1]) == 0;
    if (*leader == '\0' || strcmp(leader, "0") == 0) {
        s->state = SHK_SERVER_NO_LEADER;
        snprintf(s->problem, sizeof(s->problem), "it knows no leader");
    }
    json_object_put(reply);
    read_metrics(c, n, s);
}

/* ---- The members of the cluster ---- */

static void describe_member(struct cluster *c, json_object *member)
{
    const char *id = text_of(member, "ID");
    json_object *urls, *learner;
    struct shk_server_info *s;

    if (!json_object_object_get_ex(member, "isLearner", &learner) ||
        !json_object_get_boolean(learner))
        c->info->members++;
    for (size_t i = 0; i < c->n; i++)
        if (strcmp(c->ids[i], id) == 0) {
            shke_copy_text(c->servers[i].name, sizeof(c->servers[i].name), member, "name");
            return;
        }
    if (!json_object_object_get_ex(member, "clientURLs", &urls) ||
        !json_object_is_type(urls, json_type_array) || json_object_array_length(urls) == 0 ||
        c->n == SERVERS_MOST)
        return;
    for (size_t i = 0; i < c->n; i++) /* an endpoint that does not answer */
        for (size_t k = 0; k < json_object_array_length(urls); k++)
            if (strcmp(c->servers[i].endpoint,
                       json_object_get_string(json_object_array_get_idx(urls, k))) == 0) {
                shke_copy_text(c->servers[i].name, sizeof(c->servers[i].name), member, "name");
                return;
            }
    s = &c->servers[c->n];
    *s = (struct shk_server_info){.state = SHK_SERVER_UNLISTED};
    snprintf(s->endpoint, sizeof(s->endpoint), "%s",
             json_object_get_string(json_object_array_get_idx(urls, 0)));
    shke_copy_text(s->name, sizeof(s->name), member, "name");
    snprintf(s->problem, sizeof(s->problem), "it is not among the endpoints");
    c->ids[c->n++][0] = '\0';
}

static void list_members(struct cluster *c, unsigned n)
{
    struct shke_answer a;
    json_object *members;
    int r;
    json_object *reply = ask(c, n, "/v3/cluster/member/list", "{}", &a, &r);

    if (reply && json_object_object_get_ex(reply, "members", &members) &&
        json_object_is_type(members, json_type_array)) {
        c->has_list = true;
        for (size_t i = 0; i < json_object_array_length(members); i++)
            describe_member(c, json_object_array_get_idx(members, i));
    }
    json_object_put(reply);
}

static void list_alarms(struct cluster *c, unsigned n)
{
    struct shke_answer a;
    json_object *alarms;
    int r;
    json_object *reply = ask(c, n, "/v3/maintenance/alarm", "{\"action\":\"GET\"}", &a, &r);

    if (reply && json_object_object_get_ex(reply, "alarms", &alarms) &&
        json_object_is_type(alarms, json_type_array))
        for (size_t i = 0; i < json_object_array_length(alarms); i++) {
            const char *alarm = text_of(json_object_array_get_idx(alarms, i), "alarm");

            c->info->no_space = c->info->no_space || strcmp(alarm, "NOSPACE") == 0;
            c->info->corrupt = c->info->corrupt || strcmp(alarm, "CORRUPT") == 0;
        }
    json_object_put(reply);
}

/* ---- All together ---- */

static bool can_read_at(struct cluster *c, int64_t revision)
{
    const struct shke_range range = {
        .prefix = SHKE_ROOT, .revision = revision, .limit = 1, .keys_only = true};
    struct shke_reply reply;

    if (shke_range(c->client, &range, &shke_looking, &reply) < 0)
        return false;
    shke_reply_free(&reply);
    return true;
}

/* The oldest revision that has not been compacted: half as many are left with each read. */
static int64_t find_oldest(struct cluster *c, int64_t revision)
{
    int64_t low = 1, high = revision; /* `high` can be read */

    while (low < high) {
        int64_t middle = low + (high - low) / 2;

        if (can_read_at(c, middle))
            high = middle;
        else
            low = middle + 1;
    }
    return high;
}

static bool is_answered(const struct cluster *c)
{
    bool is = false;

    for (size_t i = 0; i < c->n; i++)
        is = is || c->servers[i].state == SHK_SERVER_GOOD;
    return is;
}

/* Rights are checked when a majority has answered: a read that is refused has one, too. */
static int try_read(struct cluster *c)
{
    const struct shke_range range = {.prefix = SHKE_ROOT, .limit = 1, .keys_only = true};
    struct shke_reply reply;
    int64_t begun = now();
    int r = shke_range(c->client, &range, &shke_looking, &reply);

    if (r < 0 && (r != -EACCES || !is_answered(c)))
        return r;
    c->info->has_majority = 1;
    c->info->read_time = now() - begun;
    if (r < 0)
        return r;
    c->info->revision = (uint64_t)reply.revision;
    c->info->oldest = (uint64_t)find_oldest(c, reply.revision);
    shke_reply_free(&reply);
    return 0;
}

/* A lease that is granted is on the disks of a majority, as any change is. */
static int try_write(struct cluster *c)
{
    struct shke_buffer request = {0};
    int64_t begun = now(), id;
    json_object *reply;
    int r;

    shke_addf(&request, "{\"TTL\":\"%d\"}", LEASE_TTL);
    r = shke_call(c->client, "lease/grant", &request, &shke_looking, &reply, NULL);
    shke_buffer_free(&request);
    if (r < 0)
        return r;
    c->info->write_time = now() - begun;
    c->info->lease_ttl = (uint32_t)shke_number(reply, "TTL");
    id = shke_number(reply, "ID");
    json_object_put(reply);
    shke_addf(&request, "{\"ID\":\"%lld\"}", (long long)id);
    if (shke_call(c->client, "lease/revoke", &request, &shke_looking, &reply, NULL) == 0)
        json_object_put(reply);
    shke_buffer_free(&request);
    return 0;
}

/* A transaction that never holds: whether it may is checked all the same. */
static int try_rights(struct cluster *c)
{
    struct shke_reply reply;
    struct shke_txn t = {0};
    int r;

    shke_if_created(&t, SHKE_ROOT, -1);
    shke_then_delete_all(&t, SHKE_ROOT);
    r = shke_txn_run(c->client, &t, &shke_looking, &reply);
    if (r < 0)
        return r;
    c->info->may_write = 1;
    shke_reply_free(&reply);
    return 0;
}

/* The first thing that fails. */
static void note_problem(struct cluster *c, int r)
{
    if (r < 0 && *c->info->problem == '\0')
        shke_host->copy_label(c->info->problem, sizeof(c->info->problem), shke_host->last_error(),
                              strlen(shke_host->last_error()));
}

static void describe_cluster(struct cluster *c)
{
    note_problem(c, try_read(c));
    if (!c->info->has_majority)
        return;
    note_problem(c, try_write(c));
    note_problem(c, try_rights(c));
}

ssize_t shke_server_list(struct shk_cluster_info *info, struct shk_server_info **list)
{
    struct cluster c = {.info = info};
    struct shki_saved_error saved;
    int r = shke_client_new(&c.client);

    if (r < 0)
        return r;
    c.servers = calloc(SERVERS_MOST, sizeof(*c.servers));
    if (c.servers == NULL) {
        shke_client_free(c.client);
        return shke_fail(-ENOMEM, "out of memory");
    }
    shke_host->error_save(&saved);
    for (unsigned n = 0; n < shke_n_endpoints(c.client); n++)
        describe_endpoint(&c, n);
    for (unsigned n = 0; n < shke_n_endpoints(c.client) && !c.has_list; n++)
        if (c.servers[n].state != SHK_SERVER_AWAY) {
            list_members(&c, n);
            list_alarms(&c, n);
        }
    describe_cluster(&c);
    shke_client_free(c.client);
    *list = c.servers;
    shke_host->error_settle(0, &saved);
    return (ssize_t)c.n;
}
