#include "etcd/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#define TTL_DEFAULT 5 /* seconds */
#define TTL_LEAST   2
#define TTL_MOST    600

struct shke_session {
    struct shke_client *client;
    struct shke_watches *watches;
    struct shke_waits *waits;
    pid_t pid;
    char process[SHKE_PROCESS_SIZE];
    unsigned refs; /* with `sessions` */
    int64_t ttl;   /* ns */

    pthread_mutex_t lock; /* protects the following */
    pthread_cond_t changed;
    int64_t lease;      /* 0: none */
    int64_t sent;       /* CLOCK_BOOTTIME: of the last keep-alive that was answered */
    int64_t tried;      /* … of the last keep-alive */
    int64_t tell_at;    /* … when waits are to be told */
    bool is_being_made; /* a thread asks for a lease */
    bool ends;
    pthread_t thread;
};

/* Guards `current`; also held over fork(2), so that a child finds it free. */
static pthread_mutex_t sessions = PTHREAD_MUTEX_INITIALIZER;
static struct shke_session *current;

static int64_t now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_BOOTTIME, &t);
    return SHK_SEC((int64_t)t.tv_sec) + t.tv_nsec;
}

/* ---- The lease ---- */

/* With the lock. */
static bool is_good(const struct shke_session *s)
{
    return s->lease && now() < s->sent + s->ttl;
}

bool shke_session_has(struct shke_session *s, int64_t lease)
{
    bool has;

    pthread_mutex_lock(&s->lock);
    has = s->lease == lease && is_good(s);
    pthread_mutex_unlock(&s->lock);
    return has;
}

void shke_session_lost(struct shke_session *s, int64_t lease)
{
    pthread_mutex_lock(&s->lock);
    if (s->lease == lease)
        s->lease = 0;
    pthread_mutex_unlock(&s->lock);
}

/* Ask for something about a lease: the reply. */
static int ask(struct shke_session *s, const char *path, const char *field, int64_t value,
               const struct shke_trial *trial, json_object **reply)
{
    struct shke_buffer request = {0};
    int r;

    shke_addf(&request, "{\"%s\":\"%lld\"}", field, (long long)value);
    r = shke_call(s->client, path, &request, trial, reply, NULL);
    shke_buffer_free(&request);
    return r;
}

static int grant(struct shke_session *s, const struct shke_trial *trial, int64_t *lease)
{
    json_object *reply;
    int r = ask(s, "lease/grant", "TTL", s->ttl / SHK_SEC(1), trial, &reply);

    if (r < 0)
        return r;
    *lease = shke_number(reply, "ID");
    json_object_put(reply);
    return *lease ? 0 : shke_fail(-EPROTO, "etcd grants no lease");
}

/* A lease that was granted and not told to this process ends by itself. */
static int find_lease(struct shke_session *s, const struct shke_trial *trial, int64_t *lease)
{
    int64_t sent;
    int r = 0;

    pthread_mutex_lock(&s->lock);
    while (s->is_being_made)
        pthread_cond_wait(&s->changed, &s->lock); /* bounded by that thread's trial */
    if (is_good(s)) {
        *lease = s->lease;
        pthread_mutex_unlock(&s->lock);
        return 0;
    }
    s->is_being_made = true;
    pthread_mutex_unlock(&s->lock);
    sent = now();
    r = grant(s, trial, lease);
    pthread_mutex_lock(&s->lock);
    s->is_being_made = false;
    if (r == 0) {
        s->lease = *lease;
        s->sent = s->tried = sent;
    }
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    return r;
}

/* Other threads wait for the one that asks, so it runs no interrupt call meanwhile. */
int shke_session_lease(struct shke_session *s, const struct shke_trial *trial, int64_t *lease)
{
    const struct shke_trial brief = shke_brief(trial);
    int r;

    do
        r = find_lease(s, &brief, lease);
    while (shke_again(trial, r));
    return r;
}

/* ---- Keeping it alive ---- */

/* The lease is alive for another TTL from `sent`, or gone. */
static void keep_alive(struct shke_session *s, int64_t lease)
{
    const struct shke_trial trial = {.limit = s->ttl / 6};
    json_object *reply = NULL, *result = NULL;
    int64_t sent = now();
    int r = ask(s, "lease/keepalive", "ID", lease, &trial, &reply);
    bool is_alive = r == 0 && json_object_object_get_ex(reply, "result", &result) &&
                    shke_number(result, "TTL") > 0;

    json_object_put(reply);
    pthread_mutex_lock(&s->lock);
    if (s->lease == lease) {
        s->tried = sent;
        if (is_alive)
            s->sent = sent;
        else if (r == 0 || r == -ESTALE || !is_good(s))
            s->lease = 0;
    }
    pthread_mutex_unlock(&s->lock);
}

static void sleep_until(struct shke_session *s, int64_t at)
{
    int64_t left = at - now();
    struct timespec t;

    if (left <= 0)
        return;
    clock_gettime(CLOCK_MONOTONIC, &t);
    left += t.tv_nsec;
    t.tv_sec += (time_t)(left / SHK_SEC(1));
    t.tv_nsec = (long)(left % SHK_SEC(1));
    pthread_cond_timedwait(&s->changed, &s->lock, &t);
}

/* With the lock, which is not held over the requests. */
static void tell_waits(struct shke_session *s, int64_t lease)
{
    int64_t next, at;

    s->tell_at = INT64_MAX;
    pthread_mutex_unlock(&s->lock);
    next = shke_waits_tell(s->waits, s->client, lease, s->ttl / 6);
    pthread_mutex_lock(&s->lock);
    at = next == INT64_MAX ? next : now() + next;
    s->tell_at = at < s->tell_at ? at : s->tell_at;
}

static void wake_to_tell(void *arg)
{
    struct shke_session *s = arg;

    pthread_mutex_lock(&s->lock);
    s->tell_at = now();
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

static void *keep(void *arg)
{
    struct shke_session *s = arg;

    pthread_mutex_lock(&s->lock);
    while (!s->ends) {
        int64_t lease = s->lease, due = s->tried + s->ttl / 3, at = now();

        if (lease == 0) {
            pthread_cond_wait(&s->changed, &s->lock);
        } else if (at >= due) {
            pthread_mutex_unlock(&s->lock);
            keep_alive(s, lease);
            pthread_mutex_lock(&s->lock);
        } else if (at >= s->tell_at) {
            tell_waits(s, lease);
        } else {
            sleep_until(s, due < s->tell_at ? due : s->tell_at);
        }
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* ---- The session ---- */

static int64_t read_ttl(void)
{
    const char *text = secure_getenv("SHMKIT_ETCD_TTL");
    long ttl = text ? strtol(text, NULL, 10) : 0;

    if (ttl <= 0)
        ttl = TTL_DEFAULT;
    return SHK_SEC((int64_t)(ttl < TTL_LEAST ? TTL_LEAST : ttl > TTL_MOST ? TTL_MOST : ttl));
}

/* With `sessions`. */
static void name_process(struct shke_session *s)
{
    static uint64_t count;
    uint64_t id;

    if (getrandom(&id, sizeof(id), 0) != (ssize_t)sizeof(id))
        id = (uint64_t)now() ^ (uint64_t)s->pid << 40 ^ ++count << 56;
    snprintf(s->process, sizeof(s->process), "%016llx", (unsigned long long)id);
}

static int make(struct shke_session **out)
{
    struct shke_session *s = calloc(1, sizeof(*s));
    pthread_condattr_t monotonic;
    int r = s ? shke_client_new(&s->client) : shke_fail(-ENOMEM, "out of memory");

    if (r < 0)
        goto fail;
    s->pid = getpid();
    name_process(s);
    s->ttl = read_ttl();
    s->tell_at = INT64_MAX;
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&s->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    s->waits = shke_waits_new(wake_to_tell, s);
    r = s->waits ? shke_watches_new(s->client, &s->watches) : -ENOMEM;
    if (r == 0)
        r = shke_thread(&s->thread, keep, s);
    if (r < 0)
        goto fail_started;
    *out = s;
    return 0;
fail_started:
    if (s->watches)
        shke_watches_free(s->watches);
    shke_waits_free(s->waits);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    shke_client_free(s->client);
fail:
    free(s);
    return r;
}

static void lock_sessions(void)
{
    pthread_mutex_lock(&sessions);
}

static void unlock_sessions(void)
{
    pthread_mutex_unlock(&sessions);
}

/* What the parent has of it stays allocated: its threads are not in the child. */
static void forget_parent(void)
{
    current = NULL;
    pthread_mutex_unlock(&sessions);
}

static void at_first(void)
{
    pthread_atfork(lock_sessions, unlock_sessions, forget_parent);
}

int shke_session_ref(struct shke_session **out)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    int r = 0;

    pthread_once(&once, at_first);
    pthread_mutex_lock(&sessions);
    if (current == NULL)
        r = make(&current);
    if (r == 0) {
        current->refs++;
        *out = current;
    }
    pthread_mutex_unlock(&sessions);
    return r;
}

static void end(struct shke_session *s)
{
    const struct shke_trial trial = {.limit = SHK_SEC(1)};
    struct shki_saved_error saved;
    json_object *reply = NULL;

    pthread_mutex_lock(&s->lock);
    s->ends = true;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->thread, NULL);
    shke_watches_free(s->watches);
    shke_waits_free(s->waits);
    shke_host->error_save(&saved);
    if (is_good(s) && ask(s, "lease/revoke", "ID", s->lease, &trial, &reply) == 0)
        json_object_put(reply);
    shke_host->error_settle(0, &saved);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    shke_client_free(s->client);
    free(s);
}

void shke_session_unref(struct shke_session *s)
{
    bool last;

    if (!shke_session_is_own(s))
        return;
    pthread_mutex_lock(&sessions);
    last = --s->refs == 0;
    if (last)
        current = NULL;
    pthread_mutex_unlock(&sessions);
    if (last)
        end(s);
}

bool shke_session_is_own(const struct shke_session *s)
{
    return s->pid == getpid();
}

const char *shke_session_process(const struct shke_session *s)
{
    return s->process;
}

struct shke_client *shke_session_client(struct shke_session *s)
{
    return s->client;
}

struct shke_watches *shke_session_watches(struct shke_session *s)
{
    return s->watches;
}

struct shke_waits *shke_session_waits(struct shke_session *s)
{
    return s->waits;
}
