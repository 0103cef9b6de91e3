#include "stub.h"

#include <arpa/inet.h>
#include <json-c/json.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECTIONS  64
#define REQUEST_MAX  ((size_t)4 << 20)
#define DELAYED_MOST 16
#define FAULTS_MAX   16
#define RIVALS_MOST  16

struct entry {
    char *key, *value; /* the value as it came: base64 */
    int64_t create, mod, version, lease;
    struct entry *next; /* by key */
};

struct connection {
    int fd; /* -1: none */
    char *bytes;
    size_t length;
    char *from, *to; /* what it watches; NULL: nothing */
};

struct stub {
    int listener, wake;
    pthread_t thread;
    _Atomic bool ends;
    struct connection connections[CONNECTIONS];

    pthread_mutex_t lock; /* protects the following */
    struct entry *first;
    int64_t revision, lease;
    enum stub_fault faults[FAULTS_MAX];
    unsigned n_faults, next_fault;
    char *delayed[DELAYED_MOST];
    unsigned n_delayed;
    char *rivals[RIVALS_MOST]; /* keys of another process, as long as requests are held */
    unsigned n_rivals;
    char *part, *rival, *rival_value; /* of stub_mind(); the value in base64 */
    bool tells;
    FILE *events[CONNECTIONS]; /* of the revision that is being made; NULL: none */
    char *texts[CONNECTIONS];
    size_t sizes[CONNECTIONS];
    unsigned count[STUB_REFUSES + 1];
    _Atomic unsigned requests;
};

/* ---- Base64 ---- */

static int digit(char c)
{
    return c >= 'A' && c <= 'Z'   ? c - 'A'
           : c >= 'a' && c <= 'z' ? c - 'a' + 26
           : c >= '0' && c <= '9' ? c - '0' + 52
           : c == '+'             ? 62
           : c == '/'             ? 63
                                  : -1;
}

/* Bytes, with a zero behind them; to be freed. */
static char *decode(const char *text, size_t *length)
{
    char *out = malloc(strlen(text) + 4);
    unsigned bits = 0, n = 0;

    *length = 0;
    for (; digit(*text) >= 0; text++) {
        bits = bits << 6 | (unsigned)digit(*text);
        n += 6;
        if (n >= 8) {
            n -= 8;
            out[(*length)++] = (char)(bits >> n);
        }
    }
    out[*length] = '\0';
    return out;
}

static void print_base64(FILE *to, const char *bytes)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t n = strlen(bytes);

    for (size_t i = 0; i < n; i += 3) {
        unsigned a = (unsigned char)bytes[i], b = i + 1 < n ? (unsigned char)bytes[i + 1] : 0,
                 c = i + 2 < n ? (unsigned char)bytes[i + 2] : 0;

        fprintf(to, "%c%c%c%c", digits[a >> 2], digits[(a & 3) << 4 | b >> 4],
                i + 1 < n ? digits[(b & 15) << 2 | c >> 6] : '=', i + 2 < n ? digits[c & 63] : '=');
    }
}

/* ---- JSON ---- */

static json_object *member(json_object *o, const char *name)
{
    json_object *found = NULL;

    return o && json_object_object_get_ex(o, name, &found) ? found : NULL;
}

static const char *text_of(json_object *o, const char *name)
{
    json_object *found = member(o, name);

    return found ? json_object_get_string(found) : "";
}

static int64_t number_of(json_object *o, const char *name)
{
    json_object *found = member(o, name);

    return found ? json_object_get_int64(found) : 0;
}

static bool flag_of(json_object *o, const char *name)
{
    json_object *found = member(o, name);

    return found && json_object_get_boolean(found);
}

/* The keys that a request is about: to be freed, both; to NULL: one key. */
static void range_of(json_object *o, char **from, char **to)
{
    size_t length;
    const char *end = text_of(o, "range_end");

    *from = decode(text_of(o, "key"), &length);
    *to = *end ? decode(end, &length) : NULL;
}

static bool is_in(const char *key, const char *from, const char *to)
{
    return to ? strcmp(key, from) >= 0 && strcmp(key, to) < 0 : strcmp(key, from) == 0;
}

/* ---- Watches; with the lock ---- */

static void print_key(FILE *out, const struct entry *e, bool keys_only)
{
    fputs("{\"key\":\"", out);
    print_base64(out, e->key);
    fprintf(out,
            "\",\"create_revision\":\"%lld\",\"mod_revision\":\"%lld\",\"version\":\"%lld\","
            "\"lease\":\"%lld\",\"value\":\"%s\"}",
            (long long)e->create, (long long)e->mod, (long long)e->version, (long long)e->lease,
            keys_only ? "" : e->value);
}

static void note_event(struct stub *s, const struct entry *e, bool deleted)
{
    const struct entry gone = {.key = e->key, .value = (char *)(uintptr_t) "", .mod = s->revision};

    for (int i = 0; s->tells && i < CONNECTIONS; i++) {
        struct connection *c = &s->connections[i];

        if (c->from == NULL || !is_in(e->key, c->from, c->to))
            continue;
        if (s->events[i] == NULL)
            s->events[i] = open_memstream(&s->texts[i], &s->sizes[i]);
        else
            fputs(",", s->events[i]);
        fprintf(s->events[i], "{\"type\":\"%s\",\"kv\":", deleted ? "DELETE" : "PUT");
        print_key(s->events[i], deleted ? &gone : e, false);
        fputs("}", s->events[i]);
    }
}

static void tell_events(struct stub *s)
{
    static const char head[] = "{\"result\":{\"events\":[", tail[] = "]}}\n";

    for (int i = 0; i < CONNECTIONS; i++)
        if (s->events[i]) {
            fclose(s->events[i]);
            s->events[i] = NULL;
            if (s->connections[i].from)
                dprintf(s->connections[i].fd, "%zx\r\n%s%s%s\r\n",
                        strlen(head) + s->sizes[i] + strlen(tail), head, s->texts[i], tail);
            free(s->texts[i]);
        }
}

static void begin_watch(struct stub *s, struct connection *c, const char *body)
{
    json_object *request = json_tokener_parse(body);

    pthread_mutex_lock(&s->lock);
    range_of(member(request, "create_request"), &c->from, &c->to);
    pthread_mutex_unlock(&s->lock);
    json_object_put(request);
}

/* ---- The store; with the lock ---- */

static void put(struct stub *s, const char *key, const char *value, int64_t lease)
{
    struct entry **link = &s->first, *e;

    while (*link && strcmp((*link)->key, key) < 0)
        link = &(*link)->next;
    e = *link;
    if (e == NULL || strcmp(e->key, key) != 0) {
        e = calloc(1, sizeof(*e));
        e->key = strdup(key);
        e->create = s->revision;
        e->next = *link;
        *link = e;
    }
    free(e->value);
    e->value = strdup(value);
    e->mod = s->revision;
    e->version++;
    e->lease = lease;
    note_event(s, e, false);
}

static void put_asked(struct stub *s, json_object *o)
{
    size_t length;
    char *key = decode(text_of(o, "key"), &length);

    put(s, key, text_of(o, "value"), number_of(o, "lease"));
    free(key);
}

static void delete_entry(struct stub *s, struct entry **link)
{
    struct entry *e = *link;

    note_event(s, e, true);
    *link = e->next;
    free(e->key);
    free(e->value);
    free(e);
}

static unsigned delete (struct stub *s, json_object *o)
{
    struct entry **link = &s->first;
    unsigned n = 0;
    char *from, *to;

    range_of(o, &from, &to);
    while (*link) {
        if (is_in((*link)->key, from, to)) {
            delete_entry(s, link);
            n++;
        } else {
            link = &(*link)->next;
        }
    }
    free(from);
    free(to);
    return n;
}

static void print_range(struct stub *s, json_object *o, FILE *out)
{
    int64_t limit = number_of(o, "limit"), count = 0;
    bool keys_only = flag_of(o, "keys_only"), count_only = flag_of(o, "count_only");
    char *from, *to;

    range_of(o, &from, &to);
    fputs("\"kvs\":[", out);
    for (struct entry *e = s->first; e; e = e->next) {
        if (!is_in(e->key, from, to) || count_only || (limit && count >= limit)) {
            count += is_in(e->key, from, to);
            continue;
        }
        fputs(count++ ? "," : "", out);
        print_key(out, e, keys_only);
    }
    fprintf(out, "],\"more\":%s,\"count\":\"%lld\"", limit && count > limit ? "true" : "false",
            (long long)count);
    free(from);
    free(to);
}

static bool holds_for(json_object *compare, const struct entry *e)
{
    const char *target = text_of(compare, "target"), *how = text_of(compare, "result");
    bool is_create = strcmp(target, "CREATE") == 0;
    int64_t is, wanted;

    if (is_create || strcmp(target, "MOD") == 0) {
        is = e == NULL ? 0 : is_create ? e->create : e->mod;
        wanted = number_of(compare, is_create ? "create_revision" : "mod_revision");
        return strcmp(how, "GREATER") == 0 ? is > wanted
               : strcmp(how, "LESS") == 0  ? is < wanted
                                           : is == wanted;
    }
    ck_assert_str_eq(target, "VALUE");
    return e && strcmp(e->value, text_of(compare, "value")) == 0;
}

/* Of a range: for each key that there is. */
static bool holds(struct stub *s, json_object *compare)
{
    bool all = true, any = false;
    char *from, *to;

    range_of(compare, &from, &to);
    for (struct entry *e = s->first; e; e = e->next)
        if (is_in(e->key, from, to)) {
            all = all && holds_for(compare, e);
            any = true;
        }
    if (!any && !to)
        all = holds_for(compare, NULL);
    free(from);
    free(to);
    return all;
}

static void print_branch(struct stub *s, json_object *txn, FILE *out);

static void print_operation(struct stub *s, json_object *operation, FILE *out)
{
    json_object *o;

    if ((o = member(operation, "request_txn")) != NULL) {
        fputs("{\"response_txn\":{", out);
        print_branch(s, o, out);
        fputs("}}", out);
    } else if ((o = member(operation, "request_put")) != NULL) {
        put_asked(s, o);
        fputs("{\"response_put\":{}}", out);
    } else if ((o = member(operation, "request_delete_range")) != NULL) {
        fprintf(out, "{\"response_delete_range\":{\"deleted\":\"%u\"}}", delete (s, o));
    } else {
        fputs("{\"response_range\":{", out);
        print_range(s, member(operation, "request_range"), out);
        fputs("}}", out);
    }
}

static void print_header(struct stub *s, FILE *out)
{
    fprintf(out, "{\"header\":{\"revision\":\"%lld\"}", (long long)s->revision);
}

/* Which branch it is, and the answers. */
static void print_branch(struct stub *s, json_object *txn, FILE *out)
{
    json_object *compare = member(txn, "compare"), *operations;
    bool succeeded = true;

    for (size_t i = 0; compare && i < json_object_array_length(compare); i++)
        succeeded = succeeded && holds(s, json_object_array_get_idx(compare, i));
    operations = member(txn, succeeded ? "success" : "failure");
    fprintf(out, "\"succeeded\":%s,\"responses\":[", succeeded ? "true" : "false");
    for (size_t i = 0; operations && i < json_object_array_length(operations); i++) {
        fputs(i ? "," : "", out);
        print_operation(s, json_object_array_get_idx(operations, i), out);
    }
    fputs("]", out);
}

/* Each has a revision of its own, also if it changes nothing. */
static void print_txn(struct stub *s, json_object *txn, FILE *out)
{
    s->revision++;
    print_header(s, out);
    fputs(",", out);
    print_branch(s, txn, out);
    fputs("}", out);
    tell_events(s);
}

/* The body of the reply; to be freed. With the lock. */
static char *answer(struct stub *s, const char *path, const char *body)
{
    json_object *request = json_tokener_parse(body);
    char *reply;
    size_t size;
    FILE *out = open_memstream(&reply, &size);

    if (strcmp(path, "/v3/kv/txn") == 0) {
        print_txn(s, request, out);
    } else if (strcmp(path, "/v3/kv/range") == 0) {
        print_header(s, out);
        fputs(",", out);
        print_range(s, request, out);
        fputs("}", out);
    } else if (strcmp(path, "/v3/lease/grant") == 0) {
        fprintf(out, "{\"ID\":\"%lld\",\"TTL\":\"%lld\"}", (long long)++s->lease,
                (long long)number_of(request, "TTL"));
    } else if (strcmp(path, "/v3/lease/keepalive") == 0) {
        fprintf(out, "{\"result\":{\"ID\":\"%lld\",\"TTL\":\"5\"}}",
                (long long)number_of(request, "ID"));
    } else {
        print_header(s, out);
        fputs("}", out);
    }
    fclose(out);
    json_object_put(request);
    return reply;
}

/* ---- Faults; with the lock ---- */

/*
 * The key of an item or a claim that it puts; or, of an item that it deletes, the claim that keeps
 * it from that. To be freed; NULL: neither.
 */
static char *key_of_rival(json_object *operation)
{
    json_object *put = member(operation, "request_put"),
                *gone = member(operation, "request_delete_range");
    size_t length;
    char *key = decode(text_of(put ? put : gone, "key"), &length), *slot = strstr(key, "/slot/"),
         *rival = NULL;

    if (put && (slot || strstr(key, "/slot.claim/")))
        return key;
    if (slot) {
        *slot = '\0';
        ck_assert_int_gt(asprintf(&rival, "%s/slot.claim/%s", key, slot + strlen("/slot/")), 0);
    }
    free(key);
    return rival;
}

/* Whether any puts or deletes a key of stub_mind(). */
static bool is_minded(const struct stub *s, json_object *operations)
{
    json_object *operation, *o;
    bool is = false;
    size_t length;
    char *key;

    for (size_t i = 0; !is && operations && i < json_object_array_length(operations); i++) {
        operation = json_object_array_get_idx(operations, i);
        o = member(operation, "request_put");
        o = o ? o : member(operation, "request_delete_range");
        key = decode(text_of(o, "key"), &length);
        is = o && strstr(key, s->part);
        free(key);
    }
    return is;
}

/* Whether any is about items; with `s`, their rivals come. */
static bool move_items(json_object *operations, struct stub *s)
{
    json_object *operation, *inner;
    bool move = false;
    char *rival;

    for (size_t i = 0; operations && i < json_object_array_length(operations); i++) {
        operation = json_object_array_get_idx(operations, i);
        inner = member(operation, "request_txn");
        rival = key_of_rival(operation);
        move = move || rival;
        if (rival && s) {
            ck_assert_uint_lt(s->n_rivals, RIVALS_MOST);
            put(s, rival, "", 0);
            s->rivals[s->n_rivals++] = rival;
        } else {
            free(rival);
        }
        move = move_items(member(inner, "success"), s) || move;
        move = move_items(member(inner, "failure"), s) || move;
    }
    return move;
}

static bool is_about_items(const struct stub *s, const char *path, const char *body)
{
    json_object *request;
    bool is;

    if (strcmp(path, "/v3/kv/txn") != 0)
        return false;
    request = json_tokener_parse(body);
    is = s->part ? is_minded(s, member(request, "success"))
                 : move_items(member(request, "success"), NULL);
    json_object_put(request);
    return is;
}

static void hold(struct stub *s, const char *body)
{
    json_object *request = json_tokener_parse(body);

    s->revision++;
    if (s->part == NULL) {
        move_items(member(request, "success"), s);
    } else if (s->rival) {
        put(s, s->rival, s->rival_value, 0);
        s->rivals[s->n_rivals++] = strdup(s->rival);
    }
    tell_events(s);
    json_object_put(request);
}

static void delete_key(struct stub *s, const char *key)
{
    struct entry **link = &s->first;

    while (*link && strcmp((*link)->key, key) != 0)
        link = &(*link)->next;
    ck_assert_msg(*link != NULL, "%s is not there", key);
    delete_entry(s, link);
}

static unsigned release_delayed(struct stub *s)
{
    unsigned n = s->n_delayed;

    s->revision += s->n_rivals > 0;
    while (s->n_rivals > 0) {
        delete_key(s, s->rivals[--s->n_rivals]);
        free(s->rivals[s->n_rivals]);
    }
    for (unsigned i = 0; i < n; i++) {
        free(answer(s, "/v3/kv/txn", s->delayed[i]));
        free(s->delayed[i]);
    }
    s->n_delayed = 0;
    tell_events(s); /* with those of the first: watches learn of both at once */
    return n;
}

/* The reply, to be freed; NULL: the connection ends. */
static char *serve(struct stub *s, const char *path, const char *body)
{
    enum stub_fault fault = STUB_ANSWERS;
    bool counts = is_about_items(s, path, body);
    char *reply;

    s->requests++;
    if (counts && s->n_faults)
        fault = s->faults[s->next_fault++ % s->n_faults];
    if ((fault == STUB_DELAYS || fault == STUB_HOLDS) && s->n_delayed == DELAYED_MOST)
        fault = STUB_LOSES_REQUEST;
    if (counts)
        s->count[fault]++;
    if (fault == STUB_LOSES_REQUEST)
        return NULL;
    if (fault == STUB_REFUSES)
        return strdup("{\"error\":\"etcdserver: mvcc: database space exceeded\",\"code\":8}");
    if (fault == STUB_DELAYS || fault == STUB_HOLDS) {
        if (fault == STUB_HOLDS)
            hold(s, body);
        s->delayed[s->n_delayed++] = strdup(body);
        return NULL;
    }
    if (fault == STUB_RELEASES)
        release_delayed(s);
    reply = answer(s, path, body);
    if (counts && fault == STUB_ANSWERS && s->n_rivals == 0)
        release_delayed(s);
    if (fault == STUB_LOSES_REPLY) {
        free(reply);
        return NULL;
    }
    return reply;
}

/* ---- HTTP ---- */

static void drop(struct stub *s, struct connection *c)
{
    pthread_mutex_lock(&s->lock);
    close(c->fd);
    free(c->bytes);
    free(c->from);
    free(c->to);
    *c = (struct connection){.fd = -1};
    pthread_mutex_unlock(&s->lock);
}

static void reply_to(struct stub *s, struct connection *c, const char *path, const char *body)
{
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n",
                      refusal[] = "HTTP/1.1 429 Too Many Requests\r\n", error[] = "{\"error\"";
    char *reply;

    if (strcmp(path, "/v3/watch") == 0) { /* and it never ends */
        dprintf(c->fd, "%sTransfer-Encoding: chunked\r\n\r\n", head);
        if (s->tells)
            begin_watch(s, c, body);
        return;
    }
    pthread_mutex_lock(&s->lock);
    reply = serve(s, path, body);
    pthread_mutex_unlock(&s->lock);
    if (reply)
        dprintf(c->fd, "%sContent-Length: %zu\r\n\r\n%s",
                strncmp(reply, error, strlen(error)) == 0 ? refusal : head, strlen(reply), reply);
    else
        drop(s, c);
    free(reply);
}

/* A whole request, if there is one; whether there was. */
static bool take_request(struct stub *s, struct connection *c)
{
    char *end = strstr(c->bytes, "\r\n\r\n"), *at, path[64], *body;
    size_t head, length = 0, rest;

    if (end == NULL)
        return false;
    head = (size_t)(end - c->bytes) + 4;
    at = strcasestr(c->bytes, "\r\ncontent-length:");
    if (at && at < end)
        length = strtoul(at + 17, NULL, 10);
    if (c->length < head + length || sscanf(c->bytes, "%*s %63s", path) != 1)
        return false;
    body = strndup(c->bytes + head, length);
    rest = c->length - head - length;
    memmove(c->bytes, c->bytes + head + length, rest + 1);
    c->length = rest;
    reply_to(s, c, path, body);
    free(body);
    return c->fd >= 0;
}

static void receive(struct stub *s, struct connection *c)
{
    ssize_t n;

    if (c->bytes == NULL)
        c->bytes = calloc(1, REQUEST_MAX + 1);
    n = read(c->fd, c->bytes + c->length, REQUEST_MAX - c->length);
    if (n <= 0) {
        drop(s, c);
        return;
    }
    c->length += (size_t)n;
    c->bytes[c->length] = '\0';
    while (take_request(s, c))
        continue;
}

static void welcome(struct stub *s)
{
    int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC);

    for (int i = 0; i < CONNECTIONS; i++)
        if (s->connections[i].fd < 0) {
            s->connections[i].fd = fd;
            return;
        }
    close(fd);
}

static void *run(void *arg)
{
    struct stub *s = arg;
    struct pollfd polled[CONNECTIONS + 2];

    while (!s->ends) {
        polled[0] = (struct pollfd){s->listener, POLLIN, 0};
        polled[1] = (struct pollfd){s->wake, POLLIN, 0};
        for (int i = 0; i < CONNECTIONS; i++)
            polled[i + 2] = (struct pollfd){s->connections[i].fd, POLLIN, 0};
        poll(polled, CONNECTIONS + 2, -1);
        for (int i = 0; i < CONNECTIONS; i++)
            if (polled[i + 2].revents && s->connections[i].fd >= 0)
                receive(s, &s->connections[i]);
        if (polled[0].revents)
            welcome(s);
    }
    return NULL;
}

struct stub *stub_start(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct stub *s = calloc(1, sizeof(*s));
    socklen_t size = sizeof(address);
    char endpoint[64];

    signal(SIGPIPE, SIG_IGN); /* a client that is killed reads no reply */
    pthread_mutex_init(&s->lock, NULL);
    s->revision = 1;
    for (int i = 0; i < CONNECTIONS; i++)
        s->connections[i].fd = -1;
    s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    s->wake = eventfd(0, EFD_CLOEXEC);
    ck_assert_int_eq(bind(s->listener, (struct sockaddr *)&address, size), 0);
    ck_assert_int_eq(listen(s->listener, 64), 0);
    ck_assert_int_eq(getsockname(s->listener, (struct sockaddr *)&address, &size), 0);
    snprintf(endpoint, sizeof(endpoint), "http://127.0.0.1:%d", ntohs(address.sin_port));
    setenv("ETCDCTL_ENDPOINTS", endpoint, 1);
    ck_assert_int_eq(pthread_create(&s->thread, NULL, run, s), 0);
    return s;
}

void stub_stop(struct stub *s)
{
    s->ends = true;
    eventfd_write(s->wake, 1);
    pthread_join(s->thread, NULL);
    for (int i = 0; i < CONNECTIONS; i++)
        if (s->connections[i].fd >= 0)
            drop(s, &s->connections[i]);
    close(s->listener);
    close(s->wake);
    while (s->first)
        delete_entry(s, &s->first);
    free(s->part);
    free(s->rival);
    free(s->rival_value);
    for (unsigned i = 0; i < s->n_delayed; i++)
        free(s->delayed[i]);
    for (unsigned i = 0; i < s->n_rivals; i++)
        free(s->rivals[i]);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

/* ---- What tests ask ---- */

void stub_tell(struct stub *s)
{
    s->tells = true;
}

bool stub_is_watched(struct stub *s, const char *key)
{
    bool is = false;

    pthread_mutex_lock(&s->lock);
    for (int i = 0; i < CONNECTIONS; i++)
        is = is ||
             (s->connections[i].from && is_in(key, s->connections[i].from, s->connections[i].to));
    pthread_mutex_unlock(&s->lock);
    return is;
}

static char *in_base64(const char *text)
{
    char *out;
    size_t size;
    FILE *f = open_memstream(&out, &size);

    print_base64(f, text);
    fclose(f);
    return out;
}

void stub_mind(struct stub *s, const char *part, const char *rival, const char *value)
{
    pthread_mutex_lock(&s->lock);
    free(s->part);
    free(s->rival);
    free(s->rival_value);
    s->part = strdup(part);
    s->rival = rival ? strdup(rival) : NULL;
    s->rival_value = in_base64(value ? value : "");
    s->next_fault = 0;
    pthread_mutex_unlock(&s->lock);
}

void stub_put(struct stub *s, const char *key, const char *value)
{
    char *text = in_base64(value);

    pthread_mutex_lock(&s->lock);
    s->revision++;
    put(s, key, text, 0);
    tell_events(s);
    pthread_mutex_unlock(&s->lock);
    free(text);
}

void stub_delete(struct stub *s, const char *key)
{
    pthread_mutex_lock(&s->lock);
    s->revision++;
    delete_key(s, key);
    tell_events(s);
    pthread_mutex_unlock(&s->lock);
}

void stub_set_faults(struct stub *s, const enum stub_fault *faults, unsigned n)
{
    pthread_mutex_lock(&s->lock);
    ck_assert_uint_le(n, FAULTS_MAX);
    memcpy(s->faults, faults, n * sizeof(*faults));
    s->n_faults = n;
    pthread_mutex_unlock(&s->lock);
}

unsigned stub_release(struct stub *s)
{
    unsigned n;

    pthread_mutex_lock(&s->lock);
    n = release_delayed(s);
    pthread_mutex_unlock(&s->lock);
    return n;
}

unsigned stub_keys(struct stub *s, const char *part)
{
    unsigned n = 0;

    pthread_mutex_lock(&s->lock);
    for (struct entry *e = s->first; e; e = e->next)
        n += strstr(e->key, part) != NULL;
    pthread_mutex_unlock(&s->lock);
    return n;
}

unsigned stub_keys_without_lease(struct stub *s, const char *part)
{
    unsigned n = 0;

    pthread_mutex_lock(&s->lock);
    for (struct entry *e = s->first; e; e = e->next)
        n += e->lease == 0 && strstr(e->key, part) != NULL;
    pthread_mutex_unlock(&s->lock);
    return n;
}

unsigned stub_count(const struct stub *s, enum stub_fault fault)
{
    return s->count[fault];
}

unsigned stub_requests(const struct stub *s)
{
    return s->requests;
}

/* By revision, then by the number in the batch, which is the item's third and fourth byte. */
static bool is_before(const struct entry *a, const struct entry *b, const char *x, const char *y)
{
    return a->create != b->create ? a->create < b->create : memcmp(x + 2, y + 2, 2) < 0;
}

unsigned stub_take_items(struct stub *s, void (*see)(void *arg, const char *item, size_t length),
                         void *arg)
{
    struct entry **first, **link;
    char *item = NULL, *other;
    unsigned n = 0;
    size_t length = 0, size;

    pthread_mutex_lock(&s->lock);
    do {
        first = NULL;
        for (link = &s->first; *link; link = &(*link)->next) {
            if (!strstr((*link)->key, "/slot/"))
                continue;
            other = decode((*link)->value, &size);
            if (first == NULL || is_before(*link, *first, other, item)) {
                free(item);
                item = other;
                length = size;
                first = link;
            } else {
                free(other);
            }
        }
        if (first) {
            see(arg, item + 12, length - 12);
            delete_entry(s, first);
            n++;
        }
        free(item);
        item = NULL;
    } while (first);
    pthread_mutex_unlock(&s->lock);
    return n;
}
