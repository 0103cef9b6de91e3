#include "etcd/client.h"

#include "etcd/channel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <unistd.h>

#define ENDPOINTS_MAX 16
#define CONNECT_MS    1000L
#define REPLY_MAX     (256u << 20) /* bytes: a queue of 10,000 items comes in several replies */

struct shke_client {
    char *endpoints[ENDPOINTS_MAX];
    unsigned n_endpoints;
    char *all; /* for sentences */
    char *ca, *certificate, *key, *user, *password;
    _Atomic unsigned current; /* the server that answered last; relaxed: a guess */

    pthread_mutex_t lock; /* protects the following */
    struct shke_channel *free_channels;
    char *token;
    uint64_t tokens; /* that have been asked for */
};

/* ---- What the environment says ---- */

/* A copy of the variable; NULL: unset or empty. */
static char *variable(const char *name)
{
    const char *value = secure_getenv(name);

    return value && *value ? strdup(value) : NULL;
}

static int add_endpoint(struct shke_client *c, const char *text, size_t length)
{
    struct shke_buffer b = {0};

    while (length > 0 && (*text == ' ' || *text == '\t'))
        text++, length--;
    while (length > 0 && strchr(" \t/", text[length - 1]))
        length--;
    if (length == 0)
        return 0;
    if (c->n_endpoints == ENDPOINTS_MAX)
        return shke_fail(-EINVAL, "ETCDCTL_ENDPOINTS has more than %d endpoints", ENDPOINTS_MAX);
    if (memmem(text, length, "://", 3) == NULL)
        shke_add_string(&b, "http://");
    shke_add(&b, text, length);
    if (b.failed)
        return -ENOMEM;
    c->endpoints[c->n_endpoints++] = b.bytes;
    return 0;
}

static int read_endpoints(struct shke_client *c)
{
    const char *list = secure_getenv("ETCDCTL_ENDPOINTS"), *end;
    struct shke_buffer all = {0};
    int r = 0;

    if (list == NULL || *list == '\0')
        list = "http://127.0.0.1:2379";
    for (; r == 0 && *list; list = *end ? end + 1 : end) {
        end = strchrnul(list, ',');
        r = add_endpoint(c, list, (size_t)(end - list));
    }
    if (r == 0 && c->n_endpoints == 0)
        return shke_fail(-EINVAL, "ETCDCTL_ENDPOINTS has no endpoint in it");
    for (unsigned i = 0; i < c->n_endpoints; i++) {
        shke_add_string(&all, i ? ", " : "");
        shke_add_string(&all, c->endpoints[i]);
    }
    c->all = all.bytes;
    return all.failed ? -ENOMEM : r;
}

/* ETCDCTL_USER may be "user:password", as with etcdctl. */
static void read_user(struct shke_client *c)
{
    char *colon;

    c->user = variable("ETCDCTL_USER");
    c->password = variable("ETCDCTL_PASSWORD");
    colon = c->user ? strchr(c->user, ':') : NULL;
    if (colon && c->password == NULL) {
        *colon = '\0';
        c->password = strdup(colon + 1);
    }
}

static void at_first(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

int shke_client_new(struct shke_client **out)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct shke_client *c = calloc(1, sizeof(*c));
    int r;

    pthread_once(&once, at_first);
    if (c == NULL)
        return shke_fail(-ENOMEM, "out of memory");
    pthread_mutex_init(&c->lock, NULL);
    c->ca = variable("ETCDCTL_CACERT");
    c->certificate = variable("ETCDCTL_CERT");
    c->key = variable("ETCDCTL_KEY");
    read_user(c);
    r = read_endpoints(c);
    if (r < 0)
        shke_client_free(c);
    else
        *out = c;
    return r == -ENOMEM ? shke_fail(r, "out of memory") : r;
}

void shke_client_free(struct shke_client *c)
{
    struct shke_channel *ch;

    while ((ch = c->free_channels) != NULL) {
        c->free_channels = ch->next;
        shke_channel_free(ch);
    }
    for (unsigned i = 0; i < c->n_endpoints; i++)
        free(c->endpoints[i]);
    free(c->all);
    free(c->ca);
    free(c->certificate);
    free(c->key);
    free(c->user);
    free(c->password);
    free(c->token);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

const char *shke_endpoints(const struct shke_client *c)
{
    return c->all;
}

/* ---- Transfers ---- */

static size_t receive(char *bytes, size_t size, size_t n, void *arg)
{
    struct shke_buffer *reply = arg;

    if (reply->length + size * n > REPLY_MAX)
        return 0;
    shke_add(reply, bytes, size * n);
    return reply->failed ? 0 : size * n;
}

/* What all transfers have in common. The headers are to be freed after it. */
static struct curl_slist *prepare(struct shke_client *c, CURL *curl, unsigned n, const char *path,
                                  const struct shke_buffer *request)
{
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    struct shke_buffer text = {0};

    shke_add_string(&text, c->endpoints[n % c->n_endpoints]);
    shke_add_string(&text, *path == '/' ? "" : "/v3/");
    shke_add_string(&text, path);
    if (headers == NULL || text.failed)
        goto done;
    curl_easy_setopt(curl, CURLOPT_URL, text.bytes);
    text.length = 0;
    shke_add_string(&text, "Authorization: ");
    pthread_mutex_lock(&c->lock);
    if (c->token) {
        shke_add_string(&text, c->token);
        curl_slist_append(headers, text.bytes);
    }
    pthread_mutex_unlock(&c->lock);
    curl_slist_append(headers, "Expect:"); /* the request at once, however long */
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request->bytes);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->length);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
    curl_easy_setopt(curl, CURLOPT_TCP_KEEPALIVE, 1L);
    if (c->ca)
        curl_easy_setopt(curl, CURLOPT_CAINFO, c->ca);
    if (c->certificate)
        curl_easy_setopt(curl, CURLOPT_SSLCERT, c->certificate);
    if (c->key)
        curl_easy_setopt(curl, CURLOPT_SSLKEY, c->key);
done:
    shke_buffer_free(&text);
    return headers;
}

CURL *shke_stream(struct shke_client *c, unsigned n, const char *path,
                  const struct shke_buffer *request, curl_write_callback take, void *arg,
                  struct curl_slist **headers)
{
    CURL *curl = curl_easy_init();

    if (curl == NULL)
        return NULL;
    *headers = prepare(c, curl, n, path, request);
    /* A server that has lost its leader ends the stream, and does not fall silent. */
    if (*headers)
        curl_slist_append(*headers, "Grpc-Metadata-Hasleader: true");
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, arg);
    curl_easy_setopt(curl, CURLOPT_TCP_KEEPIDLE, 5L);
    curl_easy_setopt(curl, CURLOPT_TCP_KEEPINTVL, 2L);
    return curl;
}

static int take_channel(struct shke_client *c, struct shke_channel **out)
{
    struct shke_channel *ch;

    pthread_mutex_lock(&c->lock);
    ch = c->free_channels;
    if (ch)
        c->free_channels = ch->next;
    pthread_mutex_unlock(&c->lock);
    *out = ch;
    return ch ? 0 : shke_channel_new(out);
}

static void give_channel(struct shke_client *c, struct shke_channel *ch)
{
    pthread_mutex_lock(&c->lock);
    ch->next = c->free_channels;
    c->free_channels = ch;
    pthread_mutex_unlock(&c->lock);
}

/* One transfer to one server: what curl says, and the reply in the channel. */
static CURLcode transfer(struct shke_client *c, struct shke_channel *ch, unsigned n,
                         const char *path, const struct shke_buffer *request, long ms)
{
    struct curl_slist *headers;
    CURLcode r;

    ch->reply.length = 0;
    headers = prepare(c, ch->curl, n, path, request);
    if (headers == NULL)
        return CURLE_OUT_OF_MEMORY;
    curl_easy_setopt(ch->curl, CURLOPT_WRITEFUNCTION, receive);
    curl_easy_setopt(ch->curl, CURLOPT_WRITEDATA, &ch->reply);
    curl_easy_setopt(ch->curl, CURLOPT_TIMEOUT_MS, ms);
    r = shke_channel_perform(ch);
    curl_slist_free_all(headers);
    return ch->reply.failed ? CURLE_OUT_OF_MEMORY : r;
}

/* ---- Replies ---- */

/* Whether a failure of that kind is the same for every server, and for ever. */
static bool is_refusal(CURLcode r)
{
    return r == CURLE_PEER_FAILED_VERIFICATION || r == CURLE_SSL_CACERT_BADFILE ||
           r == CURLE_SSL_CERTPROBLEM || r == CURLE_SSL_ISSUER_ERROR;
}

/* The variables that it may be about. */
static const char *variables_of(CURLcode r)
{
    return r == CURLE_SSL_CERTPROBLEM ? "ETCDCTL_CERT, ETCDCTL_KEY" : "ETCDCTL_CACERT";
}

/* What has come of a transfer: 0 and *reply; an error; SHKE_ASK_ANOTHER; SHKE_NEW_TOKEN. */
static int read_reply(struct shke_client *c, unsigned n, struct shke_channel *ch, CURLcode result,
                      json_object **reply)
{
    const char *endpoint = c->endpoints[n % c->n_endpoints];
    long status = 0;
    int r = 0;

    if (result == CURLE_OUT_OF_MEMORY)
        return shke_fail(-ENOMEM, "out of memory");
    if (is_refusal(result))
        return shke_fail(-EACCES, "etcd at %s: %s (%s)", endpoint, curl_easy_strerror(result),
                         variables_of(result));
    if (result != CURLE_OK) {
        shke_fail(-EHOSTUNREACH, "no majority of etcd answers: %s: %s%s", endpoint,
                  curl_easy_strerror(result), shke_hint(endpoint, c->certificate, result));
        return SHKE_ASK_ANOTHER;
    }
    curl_easy_getinfo(ch->curl, CURLINFO_RESPONSE_CODE, &status);
    shke_add(&ch->reply, "", 0);
    *reply = ch->reply.length ? json_tokener_parse(ch->reply.bytes) : NULL;
    if (!json_object_is_type(*reply, json_type_object)) {
        shke_fail(-EHOSTUNREACH, "%s does not answer as etcd does (HTTP %ld)", endpoint, status);
        r = SHKE_ASK_ANOTHER;
    } else if (status != 200) {
        r = shke_judge(endpoint, c->user != NULL, *reply);
    }
    if (r != 0) {
        json_object_put(*reply);
        *reply = NULL;
    }
    return r;
}

/* ---- Being admitted ---- */

static int authenticate(struct shke_client *c, struct shke_channel *ch, unsigned n)
{
    struct shke_buffer request = {0};
    json_object *reply = NULL, *token;
    CURLcode result;
    int r;

    shke_add_string(&request, "{\"name\":");
    shke_add_json_string(&request, c->user);
    shke_add_string(&request, ",\"password\":");
    shke_add_json_string(&request, c->password ? c->password : "");
    shke_add_string(&request, "}");
    result = transfer(c, ch, n, "auth/authenticate", &request, SHKE_REPLY_MS);
    r = request.failed ? -ENOMEM : read_reply(c, n, ch, result, &reply);
    if (r == 0) {
        json_object_object_get_ex(reply, "token", &token);
        pthread_mutex_lock(&c->lock);
        free(c->token);
        c->token = token ? strdup(json_object_get_string(token)) : NULL;
        c->tokens++;
        pthread_mutex_unlock(&c->lock);
        json_object_put(reply);
    }
    shke_buffer_free(&request);
    return r == SHKE_NEW_TOKEN ? shke_fail(-EACCES, "etcd gives no token to %s", c->user) : r;
}

static bool wants_token(struct shke_client *c)
{
    bool wants;

    pthread_mutex_lock(&c->lock);
    wants = c->user && c->token == NULL;
    pthread_mutex_unlock(&c->lock);
    return wants;
}

void shke_renew_token(struct shke_client *c)
{
    pthread_mutex_lock(&c->lock);
    free(c->token);
    c->token = NULL;
    pthread_mutex_unlock(&c->lock);
}

/* ---- A call ---- */

static int64_t now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return SHK_SEC((int64_t)t.tv_sec) + t.tv_nsec;
}

struct shke_trial shke_brief(const struct shke_trial *t)
{
    return (struct shke_trial){.limit = t->limit ? t->limit : SHKE_GRACE};
}

bool shke_again(const struct shke_trial *t, int result)
{
    if (result != -EHOSTUNREACH || t->deadline == NULL)
        return false;
    shke_host->deadline_slept(t->deadline);
    return !shke_host->deadline_has_passed(t->deadline);
}

/* Whether the time for tries is over; *since: when the deadline was found to have passed. */
static bool is_over(const struct shke_trial *t, int64_t begun, int64_t *since)
{
    int64_t limit = t->limit ? t->limit : SHKE_GRACE;

    if (t->deadline == NULL)
        return now() - begun >= limit;
    if (!shke_host->deadline_has_passed(t->deadline))
        return false;
    if (*since == 0)
        *since = t->deadline->nowait ? begun : now();
    return now() - *since >= limit;
}

static int try_once(struct shke_client *c, struct shke_channel *ch, unsigned n, const char *path,
                    const struct shke_buffer *request, long ms, json_object **reply, unsigned *sent)
{
    int r = wants_token(c) ? authenticate(c, ch, n) : 0;
    CURLcode result;

    if (r != 0)
        return r;
    result = transfer(c, ch, n, path, request, ms);
    *sent += shke_channel_sendings(ch);
    return read_reply(c, n, ch, result, reply);
}

#define PAUSE_FIRST_US 20000 /* after all servers have failed; doubled each time */
#define PAUSE_MOST_US  500000

int shke_call(struct shke_client *c, const char *path, const struct shke_buffer *request,
              const struct shke_trial *trial, json_object **reply, unsigned *sent)
{
    unsigned n = load_relaxed(&c->current), tried = 0, renewed = 0, times = 0;
    useconds_t pause = PAUSE_FIRST_US;
    long ms = SHKE_REPLY_MS;
    int64_t begun = now(), since = 0;
    struct shki_saved_error saved;
    struct shke_channel *ch = NULL;
    int r = request->failed ? shke_fail(-ENOMEM, "out of memory") : take_channel(c, &ch);

    if (r < 0)
        return r;
    r = SHKE_ASK_ANOTHER;
    shke_host->error_save(&saved);
    while (r == SHKE_ASK_ANOTHER || r == SHKE_NEW_TOKEN) {
        r = try_once(c, ch, n, path, request, ms, reply, &times);
        if (r == SHKE_NEW_TOKEN) {
            if (renewed++ > 2)
                r = shke_fail(-EACCES, "etcd refuses the token that it has just given to %s",
                              c->user);
            shke_renew_token(c);
        } else if (r == SHKE_ASK_ANOTHER) {
            n = (n + 1) % c->n_endpoints;
            if (trial->deadline)
                shke_host->deadline_slept(trial->deadline);
            if (is_over(trial, begun, &since)) {
                r = -EHOSTUNREACH; /* with the sentence of the last failure */
            } else if (++tried % c->n_endpoints == 0) {
                usleep(pause);
                ms = ms * 2 < SHKE_REPLY_MOST_MS ? ms * 2 : SHKE_REPLY_MOST_MS;
                pause = pause * 2 < PAUSE_MOST_US ? pause * 2 : PAUSE_MOST_US;
            }
        }
    }
    if (r == 0)
        store_relaxed(&c->current, n);
    if (sent)
        *sent = times;
    give_channel(c, ch);
    return shke_host->error_settle(r, &saved);
}

/* ---- One server ---- */

unsigned shke_n_endpoints(const struct shke_client *c)
{
    return c->n_endpoints;
}

const char *shke_endpoint(const struct shke_client *c, unsigned n)
{
    return c->endpoints[n];
}

static size_t see_header(char *line, size_t size, size_t n, void *date)
{
    char text[80];

    if (size * n < sizeof(text) && strncasecmp(line, "Date: ", 6) == 0) {
        snprintf(text, sizeof(text), "%.*s", (int)(size * n) - 6, line + 6);
        *(time_t *)date = curl_getdate(text, NULL);
    }
    return size * n;
}

int shke_ask_server(struct shke_client *c, unsigned n, const char *path,
                    const struct shke_buffer *request, struct shke_answer *a)
{
    struct shke_channel *ch;
    int64_t begun = now();
    CURLcode result;
    int r = take_channel(c, &ch);

    *a = (struct shke_answer){0};
    if (r < 0)
        return r;
    curl_easy_setopt(ch->curl, CURLOPT_HEADERFUNCTION, see_header);
    curl_easy_setopt(ch->curl, CURLOPT_HEADERDATA, &a->date);
    result = transfer(c, ch, n, path, request, SHKE_REPLY_MS);
    a->delay = now() - begun;
    if (result != CURLE_OK)
        r = shke_fail(is_refusal(result) ? -EACCES : -EHOSTUNREACH, "%s%s",
                      curl_easy_strerror(result),
                      shke_hint(c->endpoints[n], c->certificate, result));
    else if ((a->text = strdup(ch->reply.length ? ch->reply.bytes : "")) == NULL)
        r = shke_fail(-ENOMEM, "out of memory");
    curl_easy_setopt(ch->curl, CURLOPT_HEADERFUNCTION, NULL);
    curl_easy_setopt(ch->curl, CURLOPT_HEADERDATA, NULL);
    give_channel(c, ch);
    return r;
}
