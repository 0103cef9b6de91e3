/*
 * task_done and join.
 *
 * What always holds: the transaction that takes an item also raises the tasks in the key
 * last/CONSUMER. So at any revision each item that was put is in slot/, or counted, or done. A
 * count that falls is written when it becomes 0, or with what the consumer writes next: until then
 * it is too high.
 *
 * A count is not waited for when its process is no member any more, as of the lease that the value
 * names. The next join is told so, once: it notes the revision of the value in told/CONSUMER, with
 * a nonce, in a transaction that compares what was there. Twice: the second finds the nonce of the
 * first. Late, after the join was given up: the next join of this process finds it, and is told.
 *
 * A join reads all of it as of one revision, and then watches: what consumers write, and members
 * that go. It reads again, ten times a second at most, when a count has become 0 or a member has
 * gone. So does a set with SHK_ALL_DONE, by the thread that waits for the set.
 *
 * Killed in task_done: the task has ended, or it ends with the process.
 */
#include "etcd/queue.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOOKS_EVERY SHK_MS(100)

/* ---- Whose tasks ---- */

struct shke_worker *shke_worker(struct shke_queue *q)
{
    struct shke_worker *w = q->workers, *idle = NULL;

    for (; w && w->tid != shke_tid(); w = w->next)
        if (w->tasks == 0)
            idle = w;
    if (w)
        return w;
    w = idle;
    if (w == NULL) {
        w = calloc(1, sizeof(*w));
        if (w == NULL) {
            shke_fail(-ENOMEM, "out of memory");
            return NULL;
        }
        w->next = q->workers;
        q->workers = w;
    }
    w->tid = shke_tid();
    return w;
}

void shke_workers_free(struct shke_queue *q)
{
    struct shke_worker *w;

    shke_watch_stop(q->lasts);
    shke_watch_stop(q->members);
    while ((w = q->workers) != NULL) {
        q->workers = w->next;
        free(w);
    }
}

/* ---- What there is ---- */

struct snapshot {
    int64_t revision;
    uint64_t items, tasks;   /* in the queue; of members */
    struct shke_txn orphans; /* notes that those of others have been told, */
    bool has_orphans;
    char nonce[SHKE_NONCE_SIZE];  /* … by this join */
    char untold[SHKE_NONCE_SIZE]; /* … by one that was given up; "": none */
    bool is_untold;               /* it has come through */
};

/* Whether the process with that lease is a member, by the keys of a reply. */
static bool is_member(const struct shke_reply *reply, unsigned answer, int64_t lease)
{
    char wanted[20];
    bool is = false;

    snprintf(wanted, sizeof(wanted), "/%016llx", (unsigned long long)lease);
    for (size_t i = 0; !is && i < shke_reply_n(reply, answer); i++) {
        struct shke_kv kv;
        const char *name =
            shke_reply_kv_at(reply, answer, i, &kv) == 0 ? strrchr(kv.key, '/') : NULL;

        is = name && strcmp(name, wanted) == 0;
        shke_kv_free(&kv);
    }
    return is;
}

#define TOLD_MAX 40 /* orphans; the rest by a later join */

/* A count of a process that has gone: note that it has been told, unless it was. */
static int add_orphan(struct shke_queue *q, struct snapshot *s, const struct shke_reply *reply,
                      unsigned answer, const struct shke_kv *last, unsigned *n)
{
    char told[SHKE_KEY_MAX], value[24 + SHKE_NONCE_SIZE];
    const char *nonce = NULL;
    int64_t mod = 0;
    bool is_told = false;

    shke_key(told, &q->object, "told/%s", strrchr(last->key, '/') + 1);
    snprintf(value, sizeof(value), "%lld %s", (long long)last->mod, s->nonce);
    for (size_t i = 0; mod == 0 && i < shke_reply_n(reply, answer); i++) {
        struct shke_kv kv;
        int r = shke_reply_kv_at(reply, answer, i, &kv);

        if (r < 0)
            return r;
        if (strcmp(kv.key, told) == 0) {
            mod = kv.mod;
            is_told = kv.value && strtoll((char *)kv.value, NULL, 10) == last->mod;
            nonce = is_told ? strchr((char *)kv.value, ' ') : NULL;
            s->is_untold = s->is_untold || (nonce && strcmp(nonce + 1, s->untold) == 0);
        }
        shke_kv_free(&kv);
    }
    if (is_told || (*n)++ >= TOLD_MAX)
        return 0;
    shke_if_written(&s->orphans, told, mod);
    shke_then_put(&s->orphans, told, value, strlen(value), 0);
    if (!s->has_orphans)
        shke_else_get(&s->orphans, told);
    s->has_orphans = true;
    return 0;
}

enum { ITEMS, LASTS, MEMBERS, TOLD }; /* the answers */

static int read_tasks(struct shke_queue *q, const struct shke_reply *reply, struct snapshot *s)
{
    unsigned n = 0;
    int r = 0;

    for (size_t i = 0; r == 0 && i < shke_reply_n(reply, LASTS); i++) {
        struct shke_last last;
        struct shke_kv kv;

        r = shke_reply_kv_at(reply, LASTS, i, &kv);
        if (r == 0 && shke_last_read(&kv, &last) && last.tasks > 0) {
            if (is_member(reply, MEMBERS, last.lease))
                s->tasks += last.tasks;
            else
                r = add_orphan(q, s, reply, TOLD, &kv, &n);
        }
        shke_kv_free(&kv);
    }
    return r;
}

/* Without the object's lock. The transaction in *s is to be freed. */
static int look(struct shke_queue *q, const struct shke_trial *trial, struct snapshot *s)
{
    char slots[SHKE_KEY_MAX], lasts[SHKE_KEY_MAX], members[SHKE_KEY_MAX], told[SHKE_KEY_MAX];
    struct shke_reply reply;
    struct shke_txn t = {0};
    int r;

    *s = (struct snapshot){0};
    shke_nonce(s->nonce);
    pthread_mutex_lock(&q->object.lock);
    memcpy(s->untold, q->untold, sizeof(s->untold));
    pthread_mutex_unlock(&q->object.lock);
    shke_key(slots, &q->object, "slot/");
    shke_key(lasts, &q->object, "last/");
    shke_key(told, &q->object, "told/");
    snprintf(members, sizeof(members), "%s.members/", q->object.segment->prefix);
    shke_if_there(&t, &q->object);
    shke_then_count(&t, slots);
    shke_then_get_all(&t, lasts);
    shke_then_keys(&t, members, 0);
    shke_then_get_all(&t, told);
    r = shke_txn_run(shke_object_client(&q->object), &t, trial, &reply);
    if (r < 0)
        return r;
    s->revision = reply.revision;
    s->items = (uint64_t)shke_reply_count(&reply, ITEMS);
    r = reply.succeeded ? read_tasks(q, &reply, s) : shke_stale(&q->object);
    shke_reply_free(&reply);
    return r;
}

ssize_t shke_queue_unfinished(struct shk_queue *base)
{
    const struct shke_trial trial = {.limit = SHKE_LIMIT};
    struct shke_queue *q = shke_queue_of(base);
    struct shki_saved_error saved;
    struct snapshot s;
    int r = shke_enter(&base->object, &q->object);

    if (r < 0)
        return r;
    shke_host->error_save(&saved);
    r = look(q, &trial, &s);
    shke_txn_free(&s.orphans);
    r = shke_host->error_settle(r, &saved);
    return r < 0 ? r : (ssize_t)(s.items + s.tasks);
}

/* ---- task_done ---- */

/* With the object's lock: a consumer that has a task, which may be in use for a moment. */
static int take_busy(struct shke_queue *q, const struct shki_deadline *deadline,
                     struct shke_actor **out)
{
    int r = 0;

    while (r == 0 && (*out = shke_consumer_take_busy(q)) == NULL)
        r = shke_object_wait(&q->object, deadline);
    return r;
}

static int end_task(struct shke_queue *q, const struct shki_deadline *deadline)
{
    const struct shke_trial trial = {.limit = SHKE_LIMIT};
    struct shke_actor *c = NULL;
    int r = take_busy(q, deadline, &c);

    if (r < 0)
        return r;
    if (*c->doubtful) {
        pthread_mutex_unlock(&q->object.lock);
        r = shke_consumer_settle(q, c, &trial);
        pthread_mutex_lock(&q->object.lock);
    }
    if (r == 0 && c->tasks > 0 && --c->tasks == 0) {
        pthread_mutex_unlock(&q->object.lock);
        r = shke_consumer_note(q, c, &trial);
        pthread_mutex_lock(&q->object.lock);
    }
    shke_actor_give(q, c, false);
    return r;
}

int shke_queue_task_done(struct shk_queue *base)
{
    struct shke_queue *q = shke_queue_of(base);
    struct shki_deadline deadline;
    struct shki_saved_error saved;
    struct shke_worker *w;
    int r = shke_enter(&base->object, &q->object);

    if (r < 0)
        return r;
    shke_host->error_save(&saved);
    deadline = shke_host->deadline(&base->object, SHKE_LIMIT, "its consumers are in use");
    pthread_mutex_lock(&q->object.lock);
    w = shke_worker(q);
    if (w == NULL) {
        r = -ENOMEM;
    } else if (w->tasks == 0) {
        r = shke_host->object_say(
            &base->object, -EINVAL,
            "the calling thread has no unfinished task: each item that it took is done");
    } else {
        w->tasks--;
        r = end_task(q, &deadline);
    }
    pthread_mutex_unlock(&q->object.lock);
    return shke_host->error_settle(r, &saved);
}

/* ---- join ---- */

static void may_be_done(struct shke_queue *q)
{
    q->endings++;
    pthread_cond_broadcast(&q->object.changed);
}

/* A count that is 0 now, or a key that is deleted; of members it is told only that they go. */
static void see_event(void *arg, const struct shke_kv *kv, bool deleted)
{
    struct shke_queue *q = arg;
    struct shke_last last;

    if (!deleted && (!shke_last_read(kv, &last) || last.tasks > 0))
        return;
    pthread_mutex_lock(&q->object.lock);
    may_be_done(q);
    pthread_mutex_unlock(&q->object.lock);
}

static void told(void *arg)
{
    (void)arg; /* each event has woken what waits for it */
}

/* The join looks itself; from which revision on the watch goes on is read here. */
static int64_t reload(void *arg)
{
    const struct shke_trial trial = {.limit = SHK_SEC(1)};
    struct shke_queue *q = arg;
    struct shke_look there;
    int r = shke_queue_look(q, &trial, &there);

    pthread_mutex_lock(&q->object.lock);
    may_be_done(q);
    pthread_mutex_unlock(&q->object.lock);
    return r == -ESTALE ? INT64_MAX - 1 : r < 0 ? r : there.revision;
}

/* From the first join on. */
static int start_watches(struct shke_queue *q, int64_t revision)
{
    static const struct shke_watcher watcher = {.event = see_event, .told = told, .reload = reload};
    char members[SHKE_KEY_MAX];
    int r;

    snprintf(members, sizeof(members), "%s.members/", q->object.segment->prefix);
    pthread_mutex_lock(&q->starting);
    r = shke_queue_watch(q, &q->lasts, "last/", revision, false, &watcher);
    if (r == 0 && q->members == NULL) {
        q->members = shke_watch_start(shke_session_watches(q->object.segment->session), members,
                                      revision, true, &watcher, q);
        r = q->members ? 0 : -ENOMEM;
    }
    pthread_mutex_unlock(&q->starting);
    return r;
}

static void note_untold(struct shke_queue *q, const char *nonce)
{
    pthread_mutex_lock(&q->object.lock);
    snprintf(q->untold, sizeof(q->untold), "%s", nonce);
    pthread_mutex_unlock(&q->object.lock);
}

/* Nothing is left: whether this join is the one that tells of orphans. */
static int tell_orphans(struct shke_queue *q, struct snapshot *s, const struct shke_trial *trial)
{
    struct shke_kv told = {0};
    struct shke_reply reply;
    const char *nonce;
    int r;

    if (s->is_untold) {
        shke_txn_free(&s->orphans); /* by the next join */
        note_untold(q, "");
        return SHK_ORPHANED;
    }
    if (!s->has_orphans)
        return 0;
    r = shke_txn_run(shke_object_client(&q->object), &s->orphans, trial, &reply);
    if (r < 0)
        note_untold(q, s->nonce);
    if (r == 0 && !reply.succeeded)
        r = shke_reply_kv(&reply, 0, &told);
    if (r == 0) {
        nonce = told.value ? strchr((char *)told.value, ' ') : NULL;
        r = reply.succeeded || (nonce && strcmp(nonce + 1, s->nonce) == 0) ? SHK_ORPHANED : 0;
    }
    shke_kv_free(&told);
    shke_reply_free(&reply);
    return r;
}

/* With the object's lock: until it may be done. */
static int wait_until_it_may_be(struct shke_queue *q, unsigned endings,
                                const struct shki_deadline *deadline)
{
    int r = 0;

    while (r == 0 && q->endings == endings) {
        shke_roles_keep_waiting(&q->object, &q->roles);
        r = load_relaxed(&q->object.is_gone) ? shke_stale(&q->object)
                                             : shke_object_wait(&q->object, deadline);
    }
    return r;
}

/* Not sooner than a moment after the look before: counts may become 0 many times a second. */
static void pause_since(int64_t looked)
{
    int64_t left = looked + LOOKS_EVERY - shke_now();
    struct timespec t = {.tv_nsec = left};

    if (left > 0)
        nanosleep(&t, NULL);
}

static int join(struct shke_queue *q, const struct shki_deadline *deadline)
{
    const struct shke_trial trial = {.deadline = deadline};
    struct snapshot s;
    unsigned endings;
    int64_t looked;
    int r;

    for (;;) {
        pthread_mutex_lock(&q->object.lock);
        endings = q->endings;
        pthread_mutex_unlock(&q->object.lock);
        looked = shke_now();
        r = look(q, &trial, &s);
        if (r == 0 && s.items == 0 && s.tasks == 0)
            return tell_orphans(q, &s, &trial);
        shke_txn_free(&s.orphans);
        if (r == 0 && !deadline->nowait)
            r = start_watches(q, s.revision);
        if (r == 0) {
            pthread_mutex_lock(&q->object.lock);
            r = wait_until_it_may_be(q, endings, deadline);
            pthread_mutex_unlock(&q->object.lock);
        }
        if (r < 0)
            return r;
        pause_since(looked);
    }
}

int shke_queue_join(struct shk_queue *base, int64_t timeout)
{
    struct shke_queue *q = shke_queue_of(base);
    struct shki_deadline deadline;
    struct shki_saved_error saved;
    struct shke_waiting waiting;
    int r = shke_enter(&base->object, &q->object);

    if (r < 0)
        return r;
    shke_host->error_save(&saved);
    deadline = shke_host->deadline(&base->object, timeout, "tasks are left");
    shke_waiting_begin(&waiting, &q->object, SHK_WAITS_TO_JOIN, &deadline);
    r = join(q, &deadline);
    shke_waiting_end(&waiting);
    return shke_host->error_settle(r, &saved);
}

/* ---- In a set ---- */

int shke_tasks_look(struct shke_queue *q, const struct shke_trial *trial)
{
    struct snapshot s;
    unsigned endings;
    int r;

    pthread_mutex_lock(&q->object.lock);
    endings = q->endings;
    q->wants_look = false;
    pthread_mutex_unlock(&q->object.lock);
    r = look(q, trial, &s);
    shke_txn_free(&s.orphans); /* the join tells of them that comes then */
    if (r == 0)
        r = start_watches(q, s.revision);
    pthread_mutex_lock(&q->object.lock);
    q->looked_at = shke_now();
    q->wants_look = q->wants_look || r < 0;
    if (r == 0) {
        q->looks++;
        q->looked_endings = endings;
    }
    if (r == 0 && s.revision >= q->done_known) {
        q->done_known = s.revision;
        q->is_done = s.items == 0 && s.tasks == 0;
    }
    pthread_mutex_unlock(&q->object.lock);
    return r;
}

void shke_tasks_check(void *queue)
{
    const struct shke_trial trial = {.limit = SHK_MS(500)};
    struct shke_queue *q = queue;
    struct shki_saved_error saved;
    bool is_due;

    pthread_mutex_lock(&q->object.lock);
    is_due = (q->wants_look || q->endings != q->looked_endings) &&
             shke_now() - q->looked_at >= LOOKS_EVERY;
    pthread_mutex_unlock(&q->object.lock);
    if (!is_due)
        return;
    shke_host->error_save(&saved);
    shke_tasks_look(q, &trial); /* what it cannot learn now it asks for again */
    shke_host->error_settle(0, &saved);
}
