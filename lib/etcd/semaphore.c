/* The semaphore on etcd: the kind, what its watch tells, and the calls. See semaphore.h. */
#include "etcd/semaphore.h"

#include <shmkit/inspect.h>
#include <shmkit/semaphore.h>
#include <stdlib.h>
#include <string.h>

#define VALUE_MAX ((uint32_t)INT32_MAX)

struct shk_semaphore {
    struct shki_object object;
    struct shke_semaphore *semaphore;
};

/* ---- What the servers tell ---- */

static void see_event(void *arg, const struct shke_kv *kv, bool deleted)
{
    struct shke_semaphore *s = arg;

    pthread_mutex_lock(&s->object.lock);
    if (shke_is_record(&s->object, kv) && deleted)
        shke_object_is_gone(&s->object);
    else if (!shke_semaphore_event(s, kv, deleted) && !shke_line_event(&s->line, kv, deleted) &&
             s->owners)
        shke_line_event(&s->held, kv, deleted);
    pthread_mutex_unlock(&s->object.lock);
}

static int64_t reload(void *arg)
{
    const struct shke_trial trial = {.limit = SHK_SEC(1)};
    int64_t revision = shke_semaphore_look(arg, &trial);

    return revision == -ESTALE ? INT64_MAX - 1 : revision; /* nothing comes any more */
}

static bool mend(void *arg)
{
    const struct shke_trial trial = {.limit = SHK_MS(500)};
    struct shke_semaphore *s = arg;
    int r = 0;

    pthread_mutex_lock(&s->object.lock);
    if (shke_semaphore_has_stray(s) && !load_relaxed(&s->object.is_gone))
        r = shke_semaphore_give_back_stray(s, &trial);
    pthread_mutex_unlock(&s->object.lock);
    return shke_line_mend(&s->line) && r == 0;
}

static const struct shke_watcher watcher = {see_event, shke_object_told, reload, mend};

/* ---- The kind ---- */

static void describe(struct shke_buffer *b, const void *options)
{
    const struct shk_semaphore_options *o = options;
    uint32_t max = o->owners ? o->value : o->max ? o->max : VALUE_MAX;

    shke_addf(b, ",\"value\":%u,\"max\":%u,\"owners\":%u", o->value, max, o->owners);
}

static const char *refuse(const void *options)
{
    const struct shk_semaphore_options *o = options;

    return o->owners && (o->value == 0 || (o->max && o->max != o->value))
               ? "with owners the value is the number of all permits, at least 1, and the maximum "
                 "is the same, or 0"
               : NULL;
}

static int check(struct shke_object *o, json_object *record, const void *options)
{
    const struct shk_semaphore_options *wanted = options;
    struct shke_semaphore *s = (struct shke_semaphore *)o;
    int64_t max = shke_number(record, "max");

    s->initial = s->value = shke_number(record, "value");
    s->owners = shke_number(record, "owners") != 0;
    if (max < 1 || max > VALUE_MAX || s->initial < 0 || s->initial > max)
        return shke_fail(-EPROTO, "%s/%s is damaged: its maximum", o->segment->segment.name,
                         o->name);
    s->max = (uint32_t)max;
    if (wanted->max && wanted->max != s->max)
        return shke_fail(-EPROTOTYPE, "%s/%s is a semaphore of at most %u permits",
                         o->segment->segment.name, o->name, s->max);
    if (wanted->owners && !s->owners)
        return shke_fail(-EPROTOTYPE, "%s/%s is a semaphore without owners",
                         o->segment->segment.name, o->name);
    return 0;
}

/* What there was before is read at once: a semaphore may be old, and nothing be told for long. */
static int start(struct shke_object *o)
{
    const struct shke_trial trial = {.limit = SHKE_LIMIT};
    struct shke_semaphore *s = (struct shke_semaphore *)o;
    int64_t revision;

    shke_line_init(&s->line, o, "wait/");
    shke_line_init(&s->held, o, "held/");
    revision = shke_semaphore_look(s, &trial);
    if (revision >= 0)
        s->watch = shke_watch_start(shke_session_watches(o->segment->session), o->prefix, revision,
                                    false, &watcher, s);
    if (s->watch)
        return 0;
    shke_line_free(&s->line);
    shke_line_free(&s->held);
    return revision < 0 ? (int)revision : -ENOMEM;
}

static void stop(struct shke_object *o)
{
    const struct shke_trial trial = {.limit = SHK_SEC(1)};
    struct shke_semaphore *s = (struct shke_semaphore *)o;
    struct shki_saved_error saved;

    shke_watch_stop(s->watch);
    if (s->own_mod && shke_session_is_own(o->segment->session)) {
        shke_host->error_save(&saved);
        shke_semaphore_forget(s, &trial); /* else it stays, as after a death */
        shke_host->error_settle(0, &saved);
    }
    shke_line_free(&s->line);
    shke_line_free(&s->held);
}

/* What the process holds comes back with the segment. */
static void leave(struct shke_object *o)
{
    const struct shke_trial trial = {.limit = SHK_SEC(1)};
    struct shke_semaphore *s = (struct shke_semaphore *)o;
    struct shki_saved_error saved;
    bool was_pinned, holds;

    pthread_mutex_lock(&o->lock);
    was_pinned = s->is_pinned;
    holds = s->owners && s->mine > 0;
    s->is_pinned = false;
    s->mine = 0;
    pthread_mutex_unlock(&o->lock);
    shke_host->error_save(&saved);
    if (holds)
        shke_semaphore_forget(s, &trial); /* else with the lease */
    s->own_mod = 0;
    shke_host->error_settle(0, &saved);
    if (was_pinned)
        shke_object_unref(o);
}

const struct shke_kind shke_semaphore_kind = {.number = SHK_KIND_SEMAPHORE,
                                              .name = "semaphore",
                                              .size = sizeof(struct shke_semaphore),
                                              .describe = describe,
                                              .refuse = refuse,
                                              .check = check,
                                              .leave = leave,
                                              .start = start,
                                              .stop = stop,
                                              .watch = shke_semaphore_begin_watch,
                                              .looks = 2,
                                              .look = shke_semaphore_sight_look,
                                              .tell = shke_semaphore_sight_tell};

static int semaphore_open(struct shk_segment *segment, const char *name, unsigned flags,
                          const struct shk_semaphore_options *options, struct shk_semaphore **out)
{
    struct shk_semaphore *handle = calloc(1, sizeof(*handle));
    struct shke_object *o;
    int r = handle ? shke_object_open(segment, name, flags, &shke_semaphore_kind, options, &o)
                   : shke_fail(-ENOMEM, "out of memory");

    if (r < 0) {
        free(handle);
        return r;
    }
    shke_object_bind(&handle->object, o);
    handle->semaphore = (struct shke_semaphore *)o;
    *out = handle;
    return 0;
}

/* A handle gives nothing back: the object stays in this process as long as that has permits. */
static int semaphore_close(struct shk_semaphore *handle)
{
    struct shke_semaphore *s = handle->semaphore;
    bool stays;

    pthread_mutex_lock(&s->object.lock);
    stays = s->owners && shke_semaphore_has_lease(s) && !s->is_pinned &&
            load_relaxed(&handle->object.segment->openness.opens) > 0;
    s->is_pinned = s->is_pinned || stays;
    pthread_mutex_unlock(&s->object.lock);
    if (!stays)
        shke_object_unref(&s->object);
    free(handle);
    return 0;
}

/* ---- Acquiring ---- */

enum { CHANGED = 1 }; /* it was not as had been known */

/* With the lock. */
static int try_to_take(struct shke_semaphore *s, const struct shke_ticket *ticket, int64_t n,
                       const struct shke_trial *trial)
{
    struct shke_permits p = {.take = n, .ticket = ticket};
    int r = 0;

    shke_nonce(p.nonce);
    s->is_trying = true;
    if (s->owners) {
        pthread_mutex_unlock(&s->object.lock);
        r = shke_segment_lease(s->object.segment, trial, &p.lease);
        pthread_mutex_lock(&s->object.lock);
        shke_semaphore_has_lease(s);
        p.n = s->mine + n;
    }
    if (r == 0)
        r = shke_permits_try(s, &p, trial);
    if (r == 0)
        s->lease = p.lease;
    s->is_trying = false;
    pthread_cond_broadcast(&s->object.changed);
    if (r == -ESTALE && !load_relaxed(&s->object.is_gone)) {
        shke_session_lost(s->object.segment->session, p.lease);
        return CHANGED; /* the next try is given another lease */
    }
    return r;
}

/* With the lock: whether a try might succeed, as far as is known. */
static bool may_take(const struct shke_semaphore *s, const struct shke_ticket *ticket, int64_t n)
{
    const struct shke_spot *first = s->line.head;

    if (s->is_trying || shke_semaphore_free(s) < n)
        return false;
    return ticket ? first == NULL || first->create >= ticket->created : first == NULL;
}

/* With the lock, which is not held over the request. */
static int look(struct shke_semaphore *s, const struct shke_trial *trial)
{
    int64_t revision;

    pthread_mutex_unlock(&s->object.lock);
    revision = shke_semaphore_look(s, trial);
    pthread_mutex_lock(&s->object.lock);
    return revision < 0 ? (int)revision : 0;
}

static int enter_line(struct shke_semaphore *s, struct shke_ticket *ticket, int64_t n,
                      const struct shke_trial *trial)
{
    char more[40];
    int r;

    snprintf(more, sizeof(more), ",\"n\":%lld}", (long long)n);
    pthread_mutex_unlock(&s->object.lock);
    r = shke_line_enter(&s->line, ticket, more, trial);
    pthread_mutex_lock(&s->object.lock);
    return r == -ESTALE && !load_relaxed(&s->object.is_gone) ? 0 : r; /* once more, then */
}

#define TRIES 2 /* as long as each finds that things have changed; then news are waited for */

/*
 * With the lock. A try comes first if it may succeed; else the line is entered. A caller that does
 * not wait, or not any longer, asks the servers once: what is known may be old.
 */
static int take(struct shke_semaphore *s, struct shke_ticket *ticket, int64_t n,
                const struct shki_deadline *deadline)
{
    const struct shke_trial trial = {.deadline = deadline};
    bool has_looked = false, is_over;
    const struct shke_ticket *place;
    unsigned tries = 0;
    int r = 0;

    while (r == 0) {
        if (load_relaxed(&s->object.is_gone))
            return shke_stale(&s->object);
        if (shke_line_has_lost(&s->line, ticket))
            ticket->created = 0;
        place = ticket->created ? ticket : NULL;
        is_over = shke_host->deadline_has_passed(deadline);
        if (shke_semaphore_has_stray(s)) {
            r = shke_semaphore_give_back_stray(s, &trial);
            r = r < 0 ? r : 0;
        } else if (tries < TRIES && may_take(s, place, n)) {
            r = try_to_take(s, place, n, &trial);
            if (r != CHANGED)
                return r;
            r = 0;
            tries++;
        } else if (is_over && !has_looked) {
            r = look(s, &trial);
            has_looked = true;
            tries = 0;
        } else if (!is_over && place == NULL) {
            r = enter_line(s, ticket, n, &trial);
            tries = 0;
        } else {
            r = shke_object_wait(&s->object, deadline);
            tries = 0;
        }
    }
    return r;
}

/* With the lock: the thread's key is deleted, unless the permits were taken with it. */
static void leave_line(struct shke_semaphore *s, struct shke_ticket *ticket, int result)
{
    const struct shke_trial trial = {.limit = SHKE_GRACE};
    struct shki_saved_error saved;
    int r = 0;

    if (result < 0 && ticket->created) {
        shke_host->error_save(&saved);
        pthread_mutex_unlock(&s->object.lock);
        r = shke_line_leave(&s->line, ticket->name, ticket->created, &trial);
        pthread_mutex_lock(&s->object.lock);
        shke_host->error_settle(0, &saved);
    }
    if (shke_ticket_give(&s->line, ticket) || r < 0 || result < 0)
        shke_watch_mend(s->watch);
}

static int acquire_many(struct shk_semaphore *handle, unsigned n, int64_t timeout)
{
    struct shke_semaphore *s = handle->semaphore;
    struct shki_deadline deadline;
    struct shki_saved_error saved;
    struct shke_waiting waiting;
    struct shke_ticket ticket;
    int r = shke_enter(&handle->object, &s->object);

    if (r < 0)
        return r;
    if (n == 0 || n > s->max)
        return shke_fail(-EINVAL, "%s/%s has at most %u permits, and %u cannot be acquired",
                         handle->object.segment->name, handle->object.name, s->max, n);
    shke_host->error_save(&saved);
    deadline = shke_host->deadline(&handle->object, timeout,
                                   n == 1 ? "no permit is free" : "not so many permits are free");
    shke_waiting_begin(&waiting, &s->object, SHK_WAITS_FOR_PERMIT, &deadline);
    pthread_mutex_lock(&s->object.lock);
    shke_ticket_take(&s->line, &ticket, "");
    r = take(s, &ticket, n, &deadline);
    leave_line(s, &ticket, r);
    pthread_mutex_unlock(&s->object.lock);
    shke_waiting_end(&waiting);
    return shke_host->error_settle(r, &saved);
}

/* ---- Releasing ---- */

static int say_held(const struct shke_semaphore *s, unsigned n)
{
    return shke_fail(-EPERM, "%s/%s: this process holds %lld permit%s, and cannot release %u",
                     s->object.segment->segment.name, s->object.name, (long long)s->mine,
                     s->mine == 1 ? "" : "s", n);
}

static int say_lost(struct shke_semaphore *s)
{
    s->lost = 0; /* told once */
    return shke_fail(-ESTALE,
                     "%s/%s: the lease of this process has ended, and its permits have come back",
                     s->object.segment->segment.name, s->object.name);
}

/* With the lock: whether n can be given; of what is known, which may be old. */
static int check_release(struct shke_semaphore *s, unsigned n)
{
    if (s->owners && (shke_semaphore_has_lease(s) ? n > s->mine : true))
        return s->lost ? say_lost(s) : say_held(s, n);
    if (!s->owners && (n > s->max || s->value > s->max - n))
        return shke_fail(-EOVERFLOW, "%s/%s has at most %u permits",
                         s->object.segment->segment.name, s->object.name, s->max);
    return 0;
}

/* With the lock. Tried as long as the lease lasts, with owners: then they come back anyway. */
static int give(struct shke_semaphore *s, unsigned n)
{
    const struct shke_trial trial = {.limit = s->owners ? SHKE_GRACE : SHKE_LIMIT};
    struct shke_permits p = {.take = -(int64_t)n};
    bool has_looked = false;
    int r;

    shke_nonce(p.nonce);
    for (;;) {
        while (s->is_trying)
            pthread_cond_wait(&s->object.changed, &s->object.lock); /* bounded by its trial */
        /* what this writes would hide it; with owners it says how many are left */
        if (!s->owners && shke_semaphore_has_stray(s)) {
            r = shke_semaphore_give_back_stray(s, &trial);
            if (r >= 0)
                continue;
            return r;
        }
        r = check_release(s, n);
        if (r == -EOVERFLOW && !has_looked) {
            has_looked = true;
            r = look(s, &trial);
            if (r == 0)
                continue;
        }
        if (r < 0)
            return r;
        p.n = s->owners ? s->mine - n : 0;
        p.lease = s->lease;
        s->is_trying = true;
        r = shke_permits_try(s, &p, &trial);
        s->is_trying = false;
        pthread_cond_broadcast(&s->object.changed);
        if (s->owners && r == -ESTALE && !load_relaxed(&s->object.is_gone))
            shke_session_lost(s->object.segment->session, s->lease);
        else if (r <= 0 && !(s->owners && r == -EHOSTUNREACH))
            return r;
    }
}

static int release(struct shk_semaphore *handle, unsigned n)
{
    struct shke_semaphore *s = handle->semaphore;
    struct shki_saved_error saved;
    int r = shke_enter(&handle->object, &s->object);

    if (r < 0)
        return r;
    if (n == 0)
        return shke_fail(-EINVAL, "the number of permits is 0");
    shke_host->error_save(&saved);
    pthread_mutex_lock(&s->object.lock);
    r = give(s, n);
    pthread_mutex_unlock(&s->object.lock);
    return shke_host->error_settle(r, &saved);
}

/* ---- Looking ---- */

static int value(struct shk_semaphore *handle)
{
    const struct shke_trial trial = {.limit = SHKE_LIMIT};
    struct shke_semaphore *s = handle->semaphore;
    struct shki_saved_error saved;
    int r = shke_enter(&handle->object, &s->object);
    int64_t revision;

    if (r < 0)
        return r;
    shke_host->error_save(&saved);
    revision = shke_semaphore_look(s, &trial);
    pthread_mutex_lock(&s->object.lock);
    r = revision < 0 ? (int)revision : (int)shke_semaphore_free(s);
    pthread_mutex_unlock(&s->object.lock);
    return shke_host->error_settle(r, &saved);
}

static int held(struct shk_semaphore *handle)
{
    struct shke_semaphore *s = handle->semaphore;
    int r = shke_enter(&handle->object, &s->object);

    if (r < 0)
        return r;
    if (!s->owners)
        return shke_host->object_say(&handle->object, -ENOTSUP, "the semaphore has no owners");
    pthread_mutex_lock(&s->object.lock);
    r = shke_semaphore_has_lease(s) ? (int)s->mine : 0;
    pthread_mutex_unlock(&s->object.lock);
    return r;
}

const struct shki_semaphore_calls shke_semaphore_calls = {.open = semaphore_open,
                                                          .close = semaphore_close,
                                                          .acquire_many = acquire_many,
                                                          .release = release,
                                                          .value = value,
                                                          .held = held};
