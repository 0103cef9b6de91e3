#include "etcd/txn.h"

#include <stdlib.h>
#include <string.h>

/* ---- Writing ---- */

static void add_key(struct shke_buffer *b, const char *name, const char *key)
{
    shke_addf(b, "\"%s\":\"", name);
    shke_add_base64(b, key, strlen(key));
    shke_add(b, "\"", 1);
}

void shke_add_prefix_range(struct shke_buffer *b, const char *from, const char *prefix)
{
    size_t length = strlen(prefix);
    char *end = strdup(prefix);

    add_key(b, "key", from ? from : prefix);
    if (end == NULL) {
        b->failed = true;
        return;
    }
    end[length - 1]++; /* '/' or '.', or a letter: the first key that does not begin so */
    shke_add(b, ",", 1);
    add_key(b, "range_end", end);
    free(end);
}

/* The next one of a list. */
static struct shke_buffer *next(struct shke_buffer *b)
{
    if (b->length > 0)
        shke_add(b, ",", 1);
    return b;
}

void shke_if_created(struct shke_txn *t, const char *key, int64_t revision)
{
    struct shke_buffer *b = next(&t->compare);

    shke_addf(b, "{\"target\":\"CREATE\",\"create_revision\":\"%lld\",", (long long)revision);
    add_key(b, "key", key);
    shke_add(b, "}", 1);
}

void shke_if_written(struct shke_txn *t, const char *key, int64_t revision)
{
    struct shke_buffer *b = next(&t->compare);

    shke_addf(b, "{\"target\":\"MOD\",\"mod_revision\":\"%lld\",", (long long)revision);
    add_key(b, "key", key);
    shke_add(b, "}", 1);
}

void shke_if_written_after(struct shke_txn *t, const char *key, int64_t revision)
{
    struct shke_buffer *b = next(&t->compare);

    shke_addf(b, "{\"result\":\"GREATER\",\"target\":\"MOD\",\"mod_revision\":\"%lld\",",
              (long long)revision);
    add_key(b, "key", key);
    shke_add(b, "}", 1);
}

void shke_if_value(struct shke_txn *t, const char *key, const void *value, size_t length)
{
    struct shke_buffer *b = next(&t->compare);

    shke_add_string(b, "{\"target\":\"VALUE\",\"value\":\"");
    shke_add_base64(b, value, length);
    shke_add_string(b, "\",");
    add_key(b, "key", key);
    shke_add(b, "}", 1);
}

void shke_if_none(struct shke_txn *t, const char *prefix)
{
    struct shke_buffer *b = next(&t->compare);

    shke_add_string(b, "{\"target\":\"CREATE\",\"create_revision\":\"0\",");
    shke_add_prefix_range(b, NULL, prefix);
    shke_add(b, "}", 1);
}

/* Of all keys that begin so; where there is none, etcd compares as if one had 0. */
static void add_range_comparison(struct shke_txn *t, const char *prefix, const char *comparison,
                                 int64_t revision)
{
    struct shke_buffer *b = next(&t->compare);

    shke_addf(b, "{%s:\"%lld\",", comparison, (long long)revision);
    shke_add_prefix_range(b, NULL, prefix);
    shke_add(b, "}", 1);
}

void shke_if_none_written_after(struct shke_txn *t, const char *prefix, int64_t revision)
{
    add_range_comparison(t, prefix, "\"result\":\"LESS\",\"target\":\"MOD\",\"mod_revision\"",
                         revision + 1);
}

void shke_if_all_created_after(struct shke_txn *t, const char *prefix, int64_t revision)
{
    add_range_comparison(
        t, prefix, "\"result\":\"GREATER\",\"target\":\"CREATE\",\"create_revision\"", revision);
}

void shke_then_put(struct shke_txn *t, const char *key, const void *value, size_t length,
                   int64_t lease)
{
    struct shke_buffer *b = next(&t->success);

    shke_addf(b, "{\"request_put\":{\"lease\":\"%lld\",", (long long)lease);
    add_key(b, "key", key);
    shke_add_string(b, ",\"value\":\"");
    shke_add_base64(b, value, length);
    shke_add_string(b, "\"}}");
}

void shke_then_delete(struct shke_txn *t, const char *key)
{
    struct shke_buffer *b = next(&t->success);

    shke_add_string(b, "{\"request_delete_range\":{");
    add_key(b, "key", key);
    shke_add_string(b, "}}");
}

void shke_then_delete_all(struct shke_txn *t, const char *prefix)
{
    struct shke_buffer *b = next(&t->success);

    shke_add_string(b, "{\"request_delete_range\":{");
    shke_add_prefix_range(b, NULL, prefix);
    shke_add_string(b, "}}");
}

void shke_then_delete_below(struct shke_txn *t, const char *prefix, const char *end)
{
    struct shke_buffer *b = next(&t->success);

    shke_add_string(b, "{\"request_delete_range\":{");
    add_key(b, "key", prefix);
    shke_add(b, ",", 1);
    add_key(b, "range_end", end);
    shke_add_string(b, "}}");
}

static void add_get(struct shke_buffer *b, const char *key)
{
    shke_add_string(next(b), "{\"request_range\":{");
    add_key(b, "key", key);
    shke_add_string(b, "}}");
}

void shke_then_get(struct shke_txn *t, const char *key)
{
    add_get(&t->success, key);
}

void shke_else_get(struct shke_txn *t, const char *key)
{
    add_get(&t->failure, key);
}

static void add_count(struct shke_buffer *b, const char *prefix)
{
    shke_add_string(next(b), "{\"request_range\":{\"count_only\":true,");
    shke_add_prefix_range(b, NULL, prefix);
    shke_add_string(b, "}}");
}

static void add_get_key(struct shke_buffer *b, const char *key)
{
    shke_add_string(next(b), "{\"request_range\":{\"keys_only\":true,");
    add_key(b, "key", key);
    shke_add_string(b, "}}");
}

void shke_then_get_key(struct shke_txn *t, const char *key)
{
    add_get_key(&t->success, key);
}

void shke_else_get_key(struct shke_txn *t, const char *key)
{
    add_get_key(&t->failure, key);
}

static void add_keys(struct shke_buffer *b, const char *prefix, unsigned limit)
{
    shke_addf(next(b), "{\"request_range\":{\"keys_only\":true,\"limit\":\"%u\",", limit);
    shke_add_prefix_range(b, NULL, prefix);
    shke_add_string(b, "}}");
}

void shke_else_keys(struct shke_txn *t, const char *prefix, unsigned limit)
{
    add_keys(&t->failure, prefix, limit);
}

void shke_then_keys(struct shke_txn *t, const char *prefix, unsigned limit)
{
    add_keys(&t->success, prefix, limit);
}

void shke_then_get_all(struct shke_txn *t, const char *prefix)
{
    shke_add_string(next(&t->success), "{\"request_range\":{");
    shke_add_prefix_range(&t->success, NULL, prefix);
    shke_add_string(&t->success, "}}");
}

void shke_then_count(struct shke_txn *t, const char *prefix)
{
    add_count(&t->success, prefix);
}

void shke_else_count(struct shke_txn *t, const char *prefix)
{
    add_count(&t->failure, prefix);
}

void shke_else_get_all(struct shke_txn *t, const char *prefix)
{
    struct shke_buffer *b = next(&t->failure);

    shke_add_string(b, "{\"request_range\":{");
    shke_add_prefix_range(b, NULL, prefix);
    shke_add_string(b, "}}");
}

static void add_list(struct shke_buffer *b, const char *name, const struct shke_buffer *list)
{
    shke_addf(b, "%c\"%s\":[", b->length ? ',' : '{', name);
    shke_add(b, list->bytes, list->length);
    shke_add(b, "]", 1);
    b->failed = b->failed || list->failed;
}

static void add_txn(struct shke_buffer *b, struct shke_txn *t)
{
    add_list(b, "compare", &t->compare);
    add_list(b, "success", &t->success);
    add_list(b, "failure", &t->failure);
    shke_add(b, "}", 1);
    shke_txn_free(t);
}

static void add_inner(struct shke_buffer *b, struct shke_txn *inner)
{
    struct shke_buffer text = {0};

    add_txn(&text, inner);
    shke_add_string(next(b), "{\"request_txn\":");
    shke_add(b, text.bytes, text.length);
    shke_add(b, "}", 1);
    b->failed = b->failed || text.failed;
    shke_buffer_free(&text);
}

void shke_then_txn(struct shke_txn *t, struct shke_txn *inner)
{
    add_inner(&t->success, inner);
}

void shke_else_txn(struct shke_txn *t, struct shke_txn *inner)
{
    add_inner(&t->failure, inner);
}

/* ---- Running ---- */

void shke_txn_free(struct shke_txn *t)
{
    shke_buffer_free(&t->compare);
    shke_buffer_free(&t->success);
    shke_buffer_free(&t->failure);
}

static bool has_succeeded(json_object *reply)
{
    json_object *succeeded;

    return json_object_object_get_ex(reply, "succeeded", &succeeded) &&
           json_object_get_boolean(succeeded);
}

/* What a request has come to, with the revision. */
static int call(struct shke_client *c, const char *path, struct shke_buffer *request,
                const struct shke_trial *trial, struct shke_reply *reply)
{
    json_object *header;
    int r;

    *reply = (struct shke_reply){0};
    r = shke_call(c, path, request, trial, &reply->root, &reply->sent);
    shke_buffer_free(request);
    if (r < 0)
        return r;
    if (json_object_object_get_ex(reply->root, "header", &header))
        reply->revision = shke_number(header, "revision");
    reply->succeeded = has_succeeded(reply->root);
    if (reply->revision > 0)
        return 0;
    shke_reply_free(reply);
    return shke_fail(-EPROTO, "etcd gives a reply without a revision");
}

int shke_txn_run(struct shke_client *c, struct shke_txn *t, const struct shke_trial *trial,
                 struct shke_reply *reply)
{
    struct shke_buffer request = {0};

    add_txn(&request, t);
    return call(c, "kv/txn", &request, trial, reply);
}

int shke_range(struct shke_client *c, const struct shke_range *range,
               const struct shke_trial *trial, struct shke_reply *reply)
{
    struct shke_buffer request = {0};

    shke_add(&request, "{", 1);
    shke_add_prefix_range(&request, range->from, range->prefix);
    if (range->limit)
        shke_addf(&request, ",\"limit\":\"%lld\"", (long long)range->limit);
    if (range->revision)
        shke_addf(&request, ",\"revision\":\"%lld\"", (long long)range->revision);
    shke_add_string(&request, range->keys_only ? ",\"keys_only\":true" : "");
    shke_add_string(&request, range->count_only ? ",\"count_only\":true}" : "}");
    return call(c, "kv/range", &request, trial, reply);
}

int shke_get(struct shke_client *c, const char *key, const struct shke_trial *trial,
             struct shke_reply *reply)
{
    struct shke_buffer request = {0};

    shke_add(&request, "{", 1);
    add_key(&request, "key", key);
    shke_add(&request, "}", 1);
    return call(c, "kv/range", &request, trial, reply);
}

/* ---- Reading ---- */

void shke_reply_free(struct shke_reply *reply)
{
    json_object_put(reply->root);
    *reply = (struct shke_reply){0};
}

void shke_kv_free(struct shke_kv *kv)
{
    free(kv->key);
    free(kv->value);
    *kv = (struct shke_kv){0};
}

/* The bytes of a string in base64, with a zero behind them; none if it is absent. */
static int read_bytes(json_object *o, const char *name, unsigned char **bytes, size_t *length)
{
    json_object *value;
    size_t coded = 0;
    ptrdiff_t n;

    if (json_object_object_get_ex(o, name, &value))
        coded = (size_t)json_object_get_string_len(value);
    *bytes = malloc(SHKE_DECODED_MAX(coded) + 1);
    if (*bytes == NULL)
        return shke_fail(-ENOMEM, "out of memory");
    n = coded ? shke_decode_base64(*bytes, json_object_get_string(value), coded) : 0;
    if (n < 0)
        return shke_fail(-EPROTO, "etcd gives what is no base64");
    (*bytes)[n] = '\0';
    *length = (size_t)n;
    return 0;
}

int shke_kv_read(json_object *o, struct shke_kv *kv)
{
    unsigned char *key = NULL;
    int r;

    *kv = (struct shke_kv){.create = shke_number(o, "create_revision"),
                           .mod = shke_number(o, "mod_revision"),
                           .version = shke_number(o, "version"),
                           .lease = shke_number(o, "lease")};
    r = read_bytes(o, "key", &key, &kv->key_length);
    kv->key = (char *)key;
    if (r == 0)
        r = read_bytes(o, "value", &kv->value, &kv->length);
    if (r < 0)
        shke_kv_free(kv);
    return r;
}

/* The n-th operation's answer, whatever operation it was; NULL: there is none. */
static json_object *answer(const struct shke_reply *reply, unsigned n)
{
    static const char *const kinds[] = {"response_range", "response_put", "response_delete_range",
                                        "response_txn"};
    json_object *list, *one, *found;

    if (!json_object_object_get_ex(reply->root, "responses", &list) ||
        !json_object_is_type(list, json_type_array))
        return NULL;
    one = json_object_array_get_idx(list, n);
    for (size_t i = 0; one && i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (json_object_object_get_ex(one, kinds[i], &found))
            return found;
    return NULL;
}

void shke_reply_inner(const struct shke_reply *reply, unsigned n, struct shke_reply *inner)
{
    *inner = (struct shke_reply){.root = answer(reply, n), .revision = reply->revision};
    inner->succeeded = inner->root && has_succeeded(inner->root);
}

static json_object *kv_of(json_object *range, size_t i)
{
    json_object *list;

    if (range == NULL || !json_object_object_get_ex(range, "kvs", &list) ||
        !json_object_is_type(list, json_type_array))
        return NULL;
    return json_object_array_get_idx(list, i);
}

int shke_reply_kv_at(const struct shke_reply *reply, unsigned n, size_t i, struct shke_kv *kv)
{
    json_object *one = kv_of(answer(reply, n), i);

    *kv = (struct shke_kv){0};
    return one ? shke_kv_read(one, kv) : 0;
}

int shke_reply_kv(const struct shke_reply *reply, unsigned n, struct shke_kv *kv)
{
    return shke_reply_kv_at(reply, n, 0, kv);
}

/* Of a range. */
static size_t length_of(json_object *range)
{
    json_object *list;

    return range && json_object_object_get_ex(range, "kvs", &list) &&
                   json_object_is_type(list, json_type_array)
               ? json_object_array_length(list)
               : 0;
}

size_t shke_reply_n(const struct shke_reply *reply, unsigned n)
{
    return length_of(answer(reply, n));
}

int64_t shke_reply_count(const struct shke_reply *reply, unsigned n)
{
    json_object *a = answer(reply, n), *deleted;

    if (a && json_object_object_get_ex(a, "deleted", &deleted))
        return json_object_get_int64(deleted);
    return a ? shke_number(a, "count") : 0;
}

size_t shke_range_n(const struct shke_reply *reply)
{
    return length_of(reply->root);
}

int shke_range_kv(const struct shke_reply *reply, size_t i, struct shke_kv *kv)
{
    json_object *one = kv_of(reply->root, i);

    *kv = (struct shke_kv){0};
    return one ? shke_kv_read(one, kv) : 0;
}

int64_t shke_range_count(const struct shke_reply *reply)
{
    return shke_number(reply->root, "count");
}

bool shke_range_has_more(const struct shke_reply *reply)
{
    json_object *more;

    return json_object_object_get_ex(reply->root, "more", &more) && json_object_get_boolean(more);
}
