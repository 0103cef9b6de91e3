/* The barrier on etcd: the kind, what its watch tells, and the calls. See barrier.h. */
#include "etcd/barrier.h"

#include <shmkit/barrier.h>
#include <shmkit/inspect.h>
#include <stdlib.h>
#include <string.h>

#define PARTIES_MAX 65535

struct shk_barrier {
    struct shki_object object;
    struct shke_barrier *barrier;
};

/* ---- What the servers tell ---- */

static void see_event(void *arg, const struct shke_kv *kv, bool deleted)
{
    struct shke_barrier *b = arg;

    pthread_mutex_lock(&b->object.lock);
    if (shke_is_record(&b->object, kv) && deleted)
        shke_object_is_gone(&b->object);
    else
        shke_barrier_event(b, kv, deleted);
    pthread_mutex_unlock(&b->object.lock);
}

/* A party of a round is told its end with all that happened in the same revision. */
static int64_t reload(void *arg)
{
    const struct shke_trial trial = {.limit = SHK_SEC(1)};
    int64_t revision = shke_barrier_look(arg, &trial);

    return revision == -ESTALE ? INT64_MAX - 1 : revision; /* nothing comes any more */
}

/* With the lock: a party of this process that no thread is. */
static bool has_stray(const struct shke_barrier *b)
{
    const char *own;

    for (const struct shke_spot *s = b->arrived.head; s; s = s->next) {
        own = strchr(s->name, '/');
        if (own && shke_is_own_name(&b->object, own + 1) &&
            strtoll(s->name, NULL, 10) == b->round && !shke_line_has_ticket(&b->arrived, s->name))
            return true;
    }
    return false;
}

static bool mend(void *arg)
{
    const struct shke_trial trial = {.limit = SHK_MS(500)};
    struct shke_barrier *b = arg;
    int r = 0;

    pthread_mutex_lock(&b->object.lock);
    if (has_stray(b) && !load_relaxed(&b->object.is_gone))
        r = shke_barrier_end(b, SHKE_BROKEN, &trial);
    pthread_mutex_unlock(&b->object.lock);
    return r >= 0 || r == -ESTALE;
}

static const struct shke_watcher watcher = {see_event, shke_object_told, reload, mend};

/* ---- The kind ---- */

static void describe(struct shke_buffer *b, const void *options)
{
    shke_addf(b, ",\"parties\":%u", ((const struct shk_barrier_options *)options)->parties);
}

static const char *refuse(const void *options)
{
    return ((const struct shk_barrier_options *)options)->parties == 0
               ? "a new barrier needs a number of parties"
               : NULL;
}

static int check(struct shke_object *o, json_object *record, const void *options)
{
    uint32_t wanted = ((const struct shk_barrier_options *)options)->parties;
    struct shke_barrier *b = (struct shke_barrier *)o;
    int64_t parties = shke_number(record, "parties");

    if (parties < 1 || parties > PARTIES_MAX)
        return shke_fail(-EPROTO, "%s/%s is damaged: its number of parties",
                         o->segment->segment.name, o->name);
    b->parties = (uint32_t)parties;
    if (wanted && wanted != b->parties)
        return shke_fail(-EPROTOTYPE, "%s/%s is a barrier for %u", o->segment->segment.name,
                         o->name, b->parties);
    return 0;
}

static int start(struct shke_object *o)
{
    const struct shke_trial trial = {.limit = SHKE_LIMIT};
    struct shke_barrier *b = (struct shke_barrier *)o;
    int64_t revision;

    shke_line_init(&b->arrived, o, "party/");
    revision = shke_barrier_look(b, &trial);
    if (revision >= 0)
        b->watch = shke_watch_start(shke_session_watches(o->segment->session), o->prefix, revision,
                                    false, &watcher, b);
    if (b->watch)
        return 0;
    shke_line_free(&b->arrived);
    return revision < 0 ? (int)revision : -ENOMEM;
}

static void stop(struct shke_object *o)
{
    struct shke_barrier *b = (struct shke_barrier *)o;

    shke_watch_stop(b->watch);
    shke_line_free(&b->arrived);
}

const struct shke_kind shke_barrier_kind = {.number = SHK_KIND_BARRIER,
                                            .name = "barrier",
                                            .size = sizeof(struct shke_barrier),
                                            .describe = describe,
                                            .refuse = refuse,
                                            .check = check,
                                            .start = start,
                                            .stop = stop,
                                            .looks = 2,
                                            .look = shke_barrier_sight_look,
                                            .tell = shke_barrier_sight_tell};

static int barrier_open(struct shk_segment *s, const char *name, unsigned flags,
                        const struct shk_barrier_options *options, struct shk_barrier **out)
{
    struct shk_barrier *handle = calloc(1, sizeof(*handle));
    struct shke_object *o;
    int r = handle ? shke_object_open(s, name, flags, &shke_barrier_kind, options, &o)
                   : shke_fail(-ENOMEM, "out of memory");

    if (r < 0) {
        free(handle);
        return r;
    }
    shke_object_bind(&handle->object, o);
    handle->barrier = (struct shke_barrier *)o;
    *out = handle;
    return 0;
}

static int barrier_close(struct shk_barrier *handle)
{
    shke_object_unref(&handle->barrier->object);
    free(handle);
    return 0;
}

/* ---- Waiting ---- */

enum { CHANGED = 1 }; /* the round was not as it had been known */

static int say_broken(const struct shke_barrier *b)
{
    return shke_fail(
        -EPIPE,
        "%s/%s: the barrier is broken: a member gave up or died, or it was aborted or reset",
        b->object.segment->segment.name, b->object.name);
}

/* With the lock, which is not held over the request. */
static int look(struct shke_barrier *b, const struct shke_trial *trial)
{
    int64_t revision;

    pthread_mutex_unlock(&b->object.lock);
    revision = shke_barrier_look(b, trial);
    pthread_mutex_lock(&b->object.lock);
    return revision < 0 ? (int)revision : 0;
}

/* With the lock. One thread of a process at a time: 0, CHANGED, or an error. */
static int end_round(struct shke_barrier *b, enum shke_round_end how,
                     const struct shke_trial *trial)
{
    int r;

    b->is_trying = true;
    r = shke_barrier_end(b, how, trial);
    b->is_trying = false;
    pthread_cond_broadcast(&b->object.changed);
    return r;
}

/*
 * With the lock, by a party that gives up for that reason: the round is broken, unless it has ended
 * before: then its end counts, 0.
 */
static int give_up(struct shke_barrier *b, int64_t round, int reason)
{
    const struct shke_trial trial = {.limit = SHKE_GRACE};
    struct shki_saved_error saved;
    int r = 0;

    shke_host->error_save(&saved);
    if (b->round == round && !load_relaxed(&b->object.is_gone))
        r = shke_barrier_end(b, SHKE_BROKEN, &trial);
    else
        r = CHANGED;
    if (r < 0)
        shke_watch_mend(b->watch);
    shke_host->error_settle(0, &saved); /* the sentence of the reason */
    return r == CHANGED && b->round != round ? 0 : reason;
}

/* With the lock, having arrived in that round: 0: the parties have met. */
static int wait_for_end(struct shke_barrier *b, int64_t round, const struct shki_deadline *deadline)
{
    const struct shke_trial trial = {.deadline = deadline};
    int r = 0;

    while (r >= 0 && b->round == round) {
        if (load_relaxed(&b->object.is_gone))
            return shke_stale(&b->object);
        if (!b->is_trying && b->death == round)
            r = end_round(b, SHKE_BROKEN, &trial);
        else if (!b->is_trying && shke_barrier_count(b) >= b->parties)
            r = end_round(b, SHKE_MET, &trial);
        else
            r = shke_object_wait(&b->object, deadline);
        if (r < 0)
            r = give_up(b, round, r);
    }
    if (r < 0)
        return r;
    return round > b->failed ? 0 : say_broken(b);
}

/* With the lock. 0: it has arrived; CHANGED: not. */
static int arrive(struct shke_barrier *b, struct shke_ticket *ticket, bool last, uint32_t *index,
                  const struct shke_trial *trial)
{
    int r;

    pthread_mutex_unlock(&b->object.lock);
    r = shke_segment_lease(b->object.segment, trial, &ticket->lease);
    pthread_mutex_lock(&b->object.lock);
    if (r == 0)
        r = shke_barrier_arrive(b, ticket, last, index, trial);
    if (r == -ESTALE && !load_relaxed(&b->object.is_gone)) {
        shke_session_lost(b->object.segment->session, ticket->lease);
        return CHANGED; /* the next try is given another lease */
    }
    return r;
}

/*
 * With the lock. What is known may be old: the servers are asked once before a party is turned
 * away. A party that gives up before it has arrived breaks the barrier all the same, unless it
 * would not have waited at all.
 *
 * There may be more threads than parties. Of those that arrive at once, and know nothing of each
 * other, one too many is of the next round: its index tells it so. Its key stays until that round
 * has ended, as the others do.
 */
static int meet(struct shke_barrier *b, struct shke_ticket *ticket, uint32_t *index,
                const struct shki_deadline *deadline)
{
    const struct shke_trial trial = {.deadline = deadline};
    bool has_looked = false, is_over, last;
    uint32_t arrived;
    int64_t round;
    int r;

    for (;;) {
        if (load_relaxed(&b->object.is_gone))
            return shke_stale(&b->object);
        is_over = shke_host->deadline_has_passed(deadline);
        arrived = shke_barrier_count(b);
        last = arrived + 1 >= b->parties;
        round = b->round;
        if (!has_looked && (b->is_broken || (is_over && !last))) {
            r = look(b, &trial);
            has_looked = true;
        } else if (b->is_broken) {
            return say_broken(b);
        } else if (is_over && !last) {
            r = shke_host->deadline_check(deadline);
            r = r == -EAGAIN ? r : give_up(b, round, r);
        } else if (arrived >= b->parties) {
            r = end_round(b, SHKE_MET, &trial);
        } else {
            r = arrive(b, ticket, last, index, &trial);
            if (r == 0 && !last)
                r = wait_for_end(b, round, deadline);
            if (r == 0 && *index < b->parties)
                return 0;
        }
        if (r < 0)
            return r;
    }
}

static int barrier_wait(struct shk_barrier *handle, int64_t timeout)
{
    struct shke_barrier *b = handle->barrier;
    struct shki_deadline deadline;
    struct shki_saved_error saved;
    struct shke_waiting waiting;
    struct shke_ticket ticket;
    uint32_t index = 0;
    int r = shke_enter(&handle->object, &b->object);

    if (r < 0)
        return r;
    shke_host->error_save(&saved);
    deadline = shke_host->deadline(&handle->object, timeout, "not all parties have arrived");
    shke_waiting_begin(&waiting, &b->object, SHK_WAITS_FOR_PARTIES, &deadline);
    pthread_mutex_lock(&b->object.lock);
    shke_ticket_take(&b->arrived, &ticket, "");
    r = meet(b, &ticket, &index, &deadline);
    if (shke_ticket_give(&b->arrived, &ticket) || r < 0) /* its key may be there, or come yet */
        shke_watch_mend(b->watch);
    pthread_mutex_unlock(&b->object.lock);
    shke_waiting_end(&waiting);
    return shke_host->error_settle(r < 0 ? r : (int)index, &saved);
}

/* ---- Ending it from outside ---- */

/*
 * With the lock. A round that has failed since the call began has been ended by it, or by another
 * that wanted the same.
 */
static int end_from_outside(struct shke_barrier *b, enum shke_round_end how)
{
    const struct shke_trial trial = {.limit = SHKE_LIMIT};
    int64_t begun;
    int r = look(b, &trial);

    begun = b->round;
    while (r >= 0) {
        if (how == SHKE_BROKEN ? b->is_broken || b->failed >= begun
                               : !b->is_broken && b->failed >= begun)
            return 0;
        r = shke_barrier_end(b, how, &trial);
        if (r == 0)
            return 0;
    }
    return r;
}

static int end_it(struct shk_barrier *handle, enum shke_round_end how)
{
    struct shke_barrier *b = handle->barrier;
    struct shki_saved_error saved;
    int r = shke_enter(&handle->object, &b->object);

    if (r < 0)
        return r;
    shke_host->error_save(&saved);
    pthread_mutex_lock(&b->object.lock);
    r = end_from_outside(b, how);
    pthread_cond_broadcast(&b->object.changed);
    pthread_mutex_unlock(&b->object.lock);
    return shke_host->error_settle(r, &saved);
}

static int barrier_reset(struct shk_barrier *handle)
{
    return end_it(handle, SHKE_RESET);
}

static int barrier_abort(struct shk_barrier *handle)
{
    return end_it(handle, SHKE_BROKEN);
}

/* ---- Looking ---- */

static int ask(struct shk_barrier *handle, bool broken)
{
    const struct shke_trial trial = {.limit = SHKE_LIMIT};
    struct shke_barrier *b = handle->barrier;
    struct shki_saved_error saved;
    int r = shke_enter(&handle->object, &b->object);

    if (r < 0)
        return r;
    shke_host->error_save(&saved);
    pthread_mutex_lock(&b->object.lock);
    r = look(b, &trial);
    if (r == 0)
        r = broken ? b->is_broken : (int)shke_barrier_count(b);
    pthread_mutex_unlock(&b->object.lock);
    return shke_host->error_settle(r, &saved);
}

static int barrier_waiting(struct shk_barrier *handle)
{
    return ask(handle, false);
}

static int barrier_broken(struct shk_barrier *handle)
{
    return ask(handle, true);
}

static int barrier_parties(struct shk_barrier *handle)
{
    int r = shke_enter(&handle->object, &handle->barrier->object);

    return r < 0 ? r : (int)handle->barrier->parties;
}

const struct shki_barrier_calls shke_barrier_calls = {.open = barrier_open,
                                                      .close = barrier_close,
                                                      .wait = barrier_wait,
                                                      .reset = barrier_reset,
                                                      .abort = barrier_abort,
                                                      .waiting = barrier_waiting,
                                                      .parties = barrier_parties,
                                                      .broken = barrier_broken};
