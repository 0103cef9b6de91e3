/*
 * The thread of all watches: one transfer for each, that never ends, from which events come line by
 * line. A transfer that ends begins again at the next server, from the revision that was seen last,
 * so that no event is missed and none told twice.
 *
 * All that curl opens is in the thread's own table: see descriptors.h.
 */
#include "etcd/watch.h"

#include "etcd/descriptors.h"

#include <semaphore.h>
#include <stdlib.h>
#include <string.h>

#define RETRY_FIRST SHK_MS(50) /* after a transfer that ended; doubled each time */
#define RETRY_MOST  SHK_SEC(1)
#define WAIT_MOST   SHK_SEC(1) /* a waker may fail: no /proc, no descriptor left */
#define MEND_AGAIN  SHK_SEC(1)
#define NEVER       INT64_MAX
#define REPLY_MAX   (64u << 20) /* bytes */

struct shke_watch {
    struct shke_watches *all;
    const struct shke_watcher *watcher;
    void *arg;
    char *prefix;
    bool deletes;
    struct shke_watch *next; /* with all->lock */
    bool *stopped;           /* not NULL: it is to stop, and that to be set; with all->lock */
    bool asks_to_mend;       /* shke_watch_mend(); with all->lock */

    /* ---- The thread's own ---- */
    CURL *curl; /* NULL: no transfer is under way */
    struct curl_slist *headers;
    struct shke_buffer request, line;
    int64_t from; /* the revision of the first event that is wanted */
    unsigned server;
    int64_t retry_at, pause;
    int64_t mend_at; /* NEVER: there is nothing to mend */
    bool has_gap;    /* history is missing */
    bool is_over;    /* the server has ended the watch: so does the transfer */
};

struct shke_watches {
    struct shke_client *client;
    CURLM *multi; /* the thread's own */
    struct shke_waker waker;
    pthread_t thread;
    sem_t began;
    int result;    /* of its beginning */
    bool has_news; /* the thread's own: there may be something to mend */

    pthread_mutex_t lock; /* protects the following */
    pthread_cond_t stopped;
    pthread_cond_t told; /* `news` has become more */
    unsigned news;
    struct shke_watch *first;
    bool ends;
};

static int64_t now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return SHK_SEC((int64_t)t.tv_sec) + t.tv_nsec;
}

/* ---- What comes ---- */

static void tell_event(struct shke_watch *w, json_object *event)
{
    json_object *type = NULL, *kv;
    struct shke_kv one;

    if (!json_object_object_get_ex(event, "kv", &kv) || shke_kv_read(kv, &one) < 0)
        return;
    json_object_object_get_ex(event, "type", &type);
    if (one.mod >= w->from) /* else it has been told */
        w->watcher->event(w->arg, &one,
                          type && strcmp(json_object_get_string(type), "DELETE") == 0);
    shke_kv_free(&one);
}

static void note_news(struct shke_watches *all)
{
    pthread_mutex_lock(&all->lock);
    all->news++;
    pthread_cond_broadcast(&all->told);
    pthread_mutex_unlock(&all->lock);
}

unsigned shke_watches_news(struct shke_watches *all)
{
    unsigned news;

    pthread_mutex_lock(&all->lock);
    news = all->news;
    pthread_mutex_unlock(&all->lock);
    return news;
}

void shke_watches_sleep(struct shke_watches *all, unsigned news, int64_t until)
{
    struct timespec t = {.tv_sec = (time_t)(until / SHK_SEC(1)),
                         .tv_nsec = (long)(until % SHK_SEC(1))};

    pthread_mutex_lock(&all->lock);
    if (all->news == news)
        pthread_cond_timedwait(&all->told, &all->lock, &t);
    pthread_mutex_unlock(&all->lock);
}

/* The events of one reply: of one revision all or none, and in order. */
static void tell(struct shke_watch *w, json_object *events)
{
    size_t n = json_object_array_length(events);
    json_object *kv;
    int64_t last = 0;

    for (size_t i = 0; i < n; i++)
        tell_event(w, json_object_array_get_idx(events, i));
    if (n > 0 && json_object_object_get_ex(json_object_array_get_idx(events, n - 1), "kv", &kv))
        last = shke_number(kv, "mod_revision");
    if (last >= w->from)
        w->from = last + 1;
    w->watcher->told(w->arg);
    w->mend_at = 0;
    w->all->has_news = true;
    note_news(w->all);
}

static void read_line(struct shke_watch *w, const char *line)
{
    json_object *reply = json_tokener_parse(line), *result, *found;

    if (reply == NULL || !json_object_object_get_ex(reply, "result", &result)) {
        w->is_over = true;
    } else {
        w->pause = 0;
        if (json_object_object_get_ex(result, "canceled", &found) &&
            json_object_get_boolean(found)) {
            w->has_gap = shke_number(result, "compact_revision") > 0;
            w->is_over = true;
        } else if (json_object_object_get_ex(result, "events", &found) &&
                   json_object_is_type(found, json_type_array)) {
            tell(w, found);
        }
    }
    json_object_put(reply);
}

static size_t receive(char *bytes, size_t size, size_t n, void *arg)
{
    struct shke_watch *w = arg;
    const char *end;
    size_t left = size * n;

    while (left > 0 && !w->is_over) {
        end = memchr(bytes, '\n', left);
        if (end == NULL) {
            shke_add(&w->line, bytes, left);
            break;
        }
        shke_add(&w->line, bytes, (size_t)(end - bytes));
        left -= (size_t)(end - bytes) + 1;
        bytes += end - bytes + 1;
        if (w->line.failed)
            break;
        if (w->line.length > 0)
            read_line(w, w->line.bytes);
        w->line.length = 0;
    }
    return w->is_over || w->line.failed || w->line.length > REPLY_MAX ? 0 : size * n;
}

/* ---- Transfers ---- */

static void write_request(struct shke_watch *w)
{
    w->request.length = 0;
    shke_add_string(&w->request, "{\"create_request\":{");
    shke_add_prefix_range(&w->request, NULL, w->prefix);
    shke_addf(&w->request, ",\"start_revision\":\"%lld\"%s}}", (long long)w->from,
              w->deletes ? ",\"filters\":[\"NOPUT\"]" : "");
}

static void begin(struct shke_watch *w)
{
    int64_t revision;

    if (w->has_gap) {
        revision = w->watcher->reload(w->arg);
        if (revision <= 0) {
            w->retry_at = now() + RETRY_MOST;
            return;
        }
        w->has_gap = false;
        w->from = revision + 1;
        w->watcher->told(w->arg);
        w->mend_at = 0;
        note_news(w->all);
    }
    w->is_over = false;
    shke_buffer_free(&w->line);
    write_request(w);
    if (!w->request.failed)
        w->curl =
            shke_stream(w->all->client, w->server, "watch", &w->request, receive, w, &w->headers);
    if (w->curl == NULL) {
        w->retry_at = now() + RETRY_MOST;
        return;
    }
    curl_easy_setopt(w->curl, CURLOPT_PRIVATE, (char *)w);
    curl_multi_add_handle(w->all->multi, w->curl);
}

static void end(struct shke_watch *w)
{
    if (w->curl == NULL)
        return;
    curl_multi_remove_handle(w->all->multi, w->curl);
    curl_easy_cleanup(w->curl);
    curl_slist_free_all(w->headers);
    w->curl = NULL;
    w->headers = NULL;
}

/* Transfers that have ended begin again, elsewhere: whether there are any. */
static bool collect(struct shke_watches *all)
{
    struct shke_watch *w;
    long status = 0;
    bool any = false;
    CURLMsg *m;
    int left;

    while ((m = curl_multi_info_read(all->multi, &left)) != NULL) {
        if (m->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&w);
        curl_easy_getinfo(m->easy_handle, CURLINFO_RESPONSE_CODE, &status);
        if (status == 401)
            shke_renew_token(all->client);
        end(w);
        w->server++;
        w->pause = w->pause == 0               ? RETRY_FIRST
                   : w->pause * 2 < RETRY_MOST ? w->pause * 2
                                               : RETRY_MOST;
        w->retry_at = w->has_gap ? 0 : now() + w->pause;
        any = true;
    }
    return any;
}

/* ---- The thread ---- */

static void discard(struct shke_watch *w)
{
    end(w);
    shke_buffer_free(&w->request);
    shke_buffer_free(&w->line);
    free(w->prefix);
    free(w);
}

/* Those that are to stop; with the lock. */
static void stop_some(struct shke_watches *all)
{
    struct shke_watch **link = &all->first, *w;

    while ((w = *link) != NULL) {
        if (w->stopped == NULL) {
            link = &w->next;
            continue;
        }
        *link = w->next;
        *w->stopped = true;
        discard(w);
        pthread_cond_broadcast(&all->stopped);
    }
}

/* Mend what is due: when it is to be called next. */
static int64_t mend(struct shke_watch *w)
{
    bool asks;

    pthread_mutex_lock(&w->all->lock);
    asks = w->asks_to_mend;
    w->asks_to_mend = false;
    pthread_mutex_unlock(&w->all->lock);
    if (w->watcher->mend && (asks || w->mend_at <= now()))
        w->mend_at = w->watcher->mend(w->arg) ? NEVER : now() + MEND_AGAIN;
    return w->watcher->mend ? w->mend_at : NEVER;
}

/*
 * Begin what is due: the time until the next one is, ms. New ones are put in front, and none is
 * taken out but by this thread: so the list is walked without the lock.
 */
static int begin_some(struct shke_watch *first)
{
    int64_t next = WAIT_MOST, left, at;

    for (struct shke_watch *w = first; w; w = w->next) {
        at = mend(w);
        left = at == NEVER ? next : at - now();
        next = left < next ? left : next;
        if (w->curl)
            continue;
        if (w->retry_at <= now())
            begin(w);
        if (w->curl == NULL) {
            left = w->retry_at - now();
            next = left < next ? left : next;
        }
    }
    return next <= 0 ? 0 : (int)(next / SHK_MS(1)) + 1;
}

/* Until something comes, a thread wakes this one, or that time is over. */
static void poll_some(struct shke_watches *all, int milliseconds)
{
    struct curl_waitfd waker = {.fd = all->waker.in, .events = CURL_WAIT_POLLIN};

    curl_multi_poll(all->multi, &waker, 1, milliseconds, NULL);
    if (waker.revents)
        shke_waker_drain(&all->waker);
}

static void work(struct shke_watches *all)
{
    struct shke_watch *first;
    int wait, running;

    pthread_mutex_lock(&all->lock);
    while (!all->ends) {
        stop_some(all);
        first = all->first;
        pthread_mutex_unlock(&all->lock);
        wait = begin_some(first);
        all->has_news = false;
        curl_multi_perform(all->multi, &running);
        if (!collect(all) && !all->has_news)
            poll_some(all, wait);
        pthread_mutex_lock(&all->lock);
    }
    stop_some(all);
    pthread_mutex_unlock(&all->lock);
}

static int begin_thread(struct shke_watches *all)
{
    int r = shke_own_descriptors();

    if (r == 0)
        r = shke_waker_open(&all->waker);
    if (r < 0)
        return r;
    all->multi = curl_multi_init();
    if (all->multi)
        return 0;
    shke_waker_close(&all->waker);
    return -ENOMEM;
}

static void *run(void *arg)
{
    struct shke_watches *all = arg;

    all->result = begin_thread(all);
    sem_post(&all->began);
    if (all->result < 0)
        return NULL;
    work(all);
    curl_multi_cleanup(all->multi);
    shke_waker_close(&all->waker);
    return NULL;
}

static void discard_all(struct shke_watches *all)
{
    sem_destroy(&all->began);
    pthread_cond_destroy(&all->stopped);
    pthread_cond_destroy(&all->told);
    pthread_mutex_destroy(&all->lock);
    free(all);
}

static int start(struct shke_watches *all)
{
    int r = shke_thread(&all->thread, run, all);

    if (r < 0)
        return r;
    while (sem_wait(&all->began) != 0)
        ; /* EINTR */
    if (all->result == 0)
        return 0;
    pthread_join(all->thread, NULL);
    return shke_say_no_descriptors(all->result);
}

int shke_watches_new(struct shke_client *client, struct shke_watches **out)
{
    struct shke_watches *all = calloc(1, sizeof(*all));
    pthread_condattr_t monotonic;
    int r;

    if (all == NULL)
        return shke_fail(-ENOMEM, "out of memory");
    all->client = client;
    sem_init(&all->began, 0, 0);
    pthread_mutex_init(&all->lock, NULL);
    pthread_cond_init(&all->stopped, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&all->told, &monotonic);
    pthread_condattr_destroy(&monotonic);
    r = start(all);
    if (r < 0)
        discard_all(all);
    else
        *out = all;
    return r;
}

void shke_watches_free(struct shke_watches *all)
{
    pthread_mutex_lock(&all->lock);
    all->ends = true;
    pthread_mutex_unlock(&all->lock);
    shke_waker_wake(&all->waker);
    pthread_join(all->thread, NULL);
    discard_all(all);
}

struct shke_watch *shke_watch_start(struct shke_watches *all, const char *prefix, int64_t revision,
                                    bool deletes, const struct shke_watcher *watcher, void *arg)
{
    struct shke_watch *w = calloc(1, sizeof(*w));
    char *copy = strdup(prefix);

    if (w == NULL || copy == NULL) {
        shke_fail(-ENOMEM, "out of memory");
        free(copy);
        free(w);
        return NULL;
    }
    w->all = all;
    w->watcher = watcher;
    w->arg = arg;
    w->prefix = copy;
    w->deletes = deletes;
    w->from = revision + 1;
    w->mend_at = NEVER;
    pthread_mutex_lock(&all->lock);
    w->next = all->first;
    all->first = w;
    pthread_mutex_unlock(&all->lock);
    shke_waker_wake(&all->waker);
    return w;
}

void shke_watch_mend(struct shke_watch *w)
{
    pthread_mutex_lock(&w->all->lock);
    w->asks_to_mend = true;
    pthread_mutex_unlock(&w->all->lock);
    shke_waker_wake(&w->all->waker);
}

void shke_watch_stop(struct shke_watch *w)
{
    struct shke_watches *all;
    bool stopped = false;

    if (w == NULL)
        return;
    all = w->all;
    pthread_mutex_lock(&all->lock);
    w->stopped = &stopped;
    shke_waker_wake(&all->waker);
    while (!stopped)
        pthread_cond_wait(&all->stopped, &all->lock);
    pthread_mutex_unlock(&all->lock);
}
