/* The roles of this process: they begin, end, and begin anew when they were lost. See roles.h. */
#include "etcd/roles.h"

#include <stdio.h>
#include <string.h>

#define ROLES_SHIFT 8 /* SHK_AS() */
#define ROLES_MASK  SHK_AS(0xfu)

enum { TRY_AGAIN = 1 };

static const char letters[SHKI_SIDES] = {'p', 'c'};
static const struct shke_trial opening = {.limit = SHKE_LIMIT};

/* ---- Transactions ---- */

/*
 * A watch tells of one key after the other. So what is put, and deleted, has an order in which no
 * part of it says that a line has ended which goes on, or that a process has died which has not.
 */

/* The keys of a name on a side. */
struct keys {
    char role[SHKE_KEY_MAX], had[SHKE_KEY_MAX];
};

static struct keys keys_of(const struct shke_object *o, unsigned side, const char *name)
{
    struct keys k;

    shke_key(k.role, o, ".role/%c/%s", letters[side], name);
    shke_key(k.had, o, ".role.had/%c/%s", letters[side], name);
    return k;
}

static void delete_name(struct shke_txn *t, const struct shke_object *o, unsigned side,
                        const char *name)
{
    struct keys k = keys_of(o, side, name);
    struct shke_txn inner = {0};

    shke_if_written_after(&inner, k.role, 0); /* else it has died */
    shke_then_delete(&inner, k.had);
    shke_then_delete(&inner, k.role);
    shke_then_txn(t, &inner);
}

/* The first of a line deletes what is known of the dead of the one before. */
static void put_name(struct shke_txn *t, const struct shke_object *o, unsigned side,
                     const char *name, int64_t lease)
{
    char all[SHKE_KEY_MAX], had[SHKE_KEY_MAX], behind[SHKE_KEY_MAX], end[SHKE_KEY_MAX],
        line[SHKE_KEY_MAX];
    struct keys k = keys_of(o, side, name);
    struct shke_txn first = {0}, other = {0};

    shke_key(all, o, ".role/%c/", letters[side]);
    shke_key(had, o, ".role.had/%c/", letters[side]);
    shke_key(behind, o, ".role.had/%c/%s\x01", letters[side], name);
    shke_key(end, o, ".role.had/%c0", letters[side]); /* behind the last that begins with "p/" */
    shke_key(line, o, ".role.line/%c", letters[side]);
    shke_if_none(&first, all);
    shke_then_put(&first, k.role, NULL, 0, lease);
    shke_then_put(&first, k.had, NULL, 0, 0);
    /* one transaction may not both delete and put a key */
    shke_then_delete_below(&first, had, k.had);
    shke_then_delete_below(&first, behind, end);
    shke_then_put(&first, line, name, strlen(name), 0);
    shke_then_put(&other, k.role, NULL, 0, lease);
    shke_then_put(&other, k.had, NULL, 0, 0);
    shke_else_txn(&first, &other);
    shke_then_txn(t, &first);
}

/*
 * The process's key was not as it had left it: an earlier sending of this request has written it,
 * 0; or an earlier request, which was given up, and then that is what has to be undone: TRY_AGAIN.
 */
static int read_mine(struct shke_object *o, struct shke_role *own, const char *written,
                     const struct shke_reply *reply)
{
    struct shke_kv mine = {0};
    int r = shke_check_there(o, reply);

    if (r == 0)
        r = shke_reply_kv(reply, 1, &mine);
    if (r == 0) {
        own->mine = mine.mod;
        r = mine.value && strcmp((char *)mine.value, written) == 0 ? 0 : TRY_AGAIN;
        own->stray[0] = '\0';
        if (r == TRY_AGAIN && mine.value && mine.value[0] != '-')
            snprintf(own->stray, sizeof(own->stray), "%s", (char *)mine.value);
    }
    shke_kv_free(&mine);
    return r;
}

/* With the segment's lock. `begins`: that name; else it ends. 0, TRY_AGAIN, or an error. */
static int send_role(struct shke_object *o, struct shke_role *own, unsigned side, const char *name,
                     bool begins, int64_t lease, const struct shke_trial *trial)
{
    char mine[SHKE_KEY_MAX], written[SHKE_OWN_SIZE + 1];
    struct shke_reply reply;
    struct shke_txn t = {0};
    int r;

    shke_key(mine, o, ".role.mine/%c/%s", letters[side], shke_session_process(o->segment->session));
    snprintf(written, sizeof(written), "%s%s", begins ? "" : "-", name);
    shke_if_there(&t, o);
    shke_if_written(&t, mine, own->mine);
    shke_then_put(&t, mine, written, strlen(written), lease);
    if (begins)
        put_name(&t, o, side, name, lease);
    else
        delete_name(&t, o, side, name);
    if (*own->stray)
        delete_name(&t, o, side, own->stray);
    shke_else_get(&t, mine);
    r = shke_txn_run(shke_object_client(o), &t, trial, &reply);
    if (r < 0)
        return r;
    if (reply.succeeded) {
        own->mine = reply.revision;
        own->stray[0] = '\0';
    } else {
        r = read_mine(o, own, written, &reply);
    }
    shke_reply_free(&reply);
    return r;
}

/* ---- One side; with the segment's lock, which is held over the request ---- */

/* It is there already, if it was lost for a moment only: then its own name is the stray. */
static int begin(struct shke_object *o, struct shke_role *own, unsigned side, int64_t lease,
                 const struct shke_trial *trial)
{
    char name[SHKE_OWN_SIZE];
    int r;

    if (own->mine_lease != lease) { /* what hung on the other one has gone with it */
        own->mine = 0;
        own->mine_lease = lease;
        own->stray[0] = '\0';
    } else if (*own->name) {
        memcpy(own->stray, own->name, sizeof(own->stray));
    }
    shke_own_name(o, name);
    do
        r = send_role(o, own, side, name, true, lease, trial);
    while (r == TRY_AGAIN);
    if (r < 0)
        return r;
    pthread_mutex_lock(&o->lock);
    memcpy(own->name, name, sizeof(own->name));
    pthread_mutex_unlock(&o->lock);
    store_relaxed(&own->lease, lease);
    return 0;
}

/* If the lease is lost, so is the role. And if it is not known whether it has: it begins anew. */
static int end(struct shke_object *o, struct shke_role *own, unsigned side,
               const struct shke_trial *trial)
{
    int64_t lease = load_relaxed(&own->lease);
    int r = 0;

    if (*own->name && lease == 0)
        lease = own->mine_lease;
    if (lease && shke_session_has(o->segment->session, lease)) {
        do
            r = send_role(o, own, side, own->name, false, lease, trial);
        while (r == TRY_AGAIN);
        if (r == -ESTALE) /* the object is gone, or the lease */
            r = 0;
    }
    store_relaxed(&own->lease, 0);
    if (r < 0)
        return r;
    pthread_mutex_lock(&o->lock);
    own->name[0] = '\0';
    pthread_mutex_unlock(&o->lock);
    return 0;
}

/* ---- All that handles have ---- */

static bool is_lost(const struct shke_object *o, const struct shke_role *own)
{
    return !shke_session_has(o->segment->session, load_relaxed(&own->lease));
}

bool shke_roles_are_lost(const struct shke_object *o, const struct shke_roles *r)
{
    for (unsigned side = 0; side < SHKI_SIDES; side++)
        if (load_relaxed(&r->own[side].handles) > 0 && is_lost(o, &r->own[side]))
            return true;
    return false;
}

/* None begins in a segment that has been closed: shke_roles_leave() comes after that. */
static int keep_now(struct shke_object *o, struct shke_roles *r, int64_t lease,
                    const struct shke_trial *trial)
{
    const struct shke_trial brief = shke_brief(trial);
    int e;

    do {
        pthread_mutex_lock(&o->segment->lock);
        e = shke_enter(&o->self, o);
        for (unsigned side = 0; e == 0 && side < SHKI_SIDES; side++)
            if (load_relaxed(&r->own[side].handles) > 0 &&
                load_relaxed(&r->own[side].lease) != lease)
                e = begin(o, &r->own[side], side, lease, &brief);
        pthread_mutex_unlock(&o->segment->lock);
    } while (shke_again(trial, e));
    return e;
}

int shke_roles_keep(struct shke_object *o, struct shke_roles *r, const struct shke_trial *trial)
{
    int64_t lease;
    int e = 0;

    for (unsigned tries = 0; e == 0 && shke_roles_are_lost(o, r) && tries < 3; tries++) {
        e = shke_segment_lease(o->segment, trial, &lease);
        if (e == 0)
            e = keep_now(o, r, lease, trial);
        if (e == -ESTALE && !load_relaxed(&o->is_gone)) { /* the lease has just ended */
            shke_session_lost(o->segment->session, lease);
            e = 0;
        }
    }
    return e;
}

/* A wait that cannot do it does it again. */
static void keep_for(struct shke_object *o, struct shke_roles *r, int64_t limit)
{
    const struct shke_trial trial = {.limit = limit};
    struct shki_saved_error saved;

    shke_host->error_save(&saved);
    shke_roles_keep(o, r, &trial);
    shke_host->error_settle(0, &saved);
}

void shke_roles_keep_waiting(struct shke_object *o, struct shke_roles *r)
{
    if (!shke_roles_are_lost(o, r))
        return;
    pthread_mutex_unlock(&o->lock);
    keep_for(o, r, SHKE_GRACE);
    pthread_mutex_lock(&o->lock);
}

/* For a moment only: other objects of the set may become ready. */
void shke_roles_keep_set(struct shke_object *o, struct shke_roles *r)
{
    if (shke_roles_are_lost(o, r))
        keep_for(o, r, SHK_MS(500));
}

void shke_roles_leave(struct shke_object *o, struct shke_roles *r)
{
    const struct shke_trial trial = {.limit = SHK_SEC(1)};
    struct shki_saved_error saved;

    shke_host->error_save(&saved);
    pthread_mutex_lock(&o->segment->lock);
    for (unsigned side = 0; side < SHKI_SIDES; side++)
        if (load_relaxed(&r->own[side].handles) > 0)
            end(o, &r->own[side], side, &trial); /* else it ends with the lease, soon */
    pthread_mutex_unlock(&o->segment->lock);
    shke_host->error_settle(0, &saved);
}

/* ---- Handles ---- */

/*
 * The lines as they are, and which of them had ended before. 0; TRY_AGAIN: a later event has been
 * told before the answer came, so it is not known yet what that has changed.
 */
static int look(struct shke_object *o, struct shke_roles *r, struct shki_roles *handle,
                const char *items, int64_t *revision)
{
    char key[SHKE_KEY_MAX];
    struct shke_side sides[SHKI_SIDES];
    struct shke_reply reply;
    struct shke_txn t = {0};
    bool is_drained;
    int e;

    shke_if_there(&t, o);
    shke_roles_ask(&t, o->prefix, false);
    shke_key(key, o, "%s", items ? items : ".role.none/");
    shke_then_count(&t, key);
    e = shke_txn_run(shke_object_client(o), &t, &opening, &reply);
    if (e < 0)
        return e;
    e = reply.succeeded ? shke_roles_read(&reply, 0, sides) : shke_stale(o);
    if (e == 0) {
        *revision = reply.revision;
        is_drained = shke_reply_count(&reply, SHKE_ROLES_LOOKS) == 0;
        for (unsigned side = is_drained ? SHKI_PRODUCERS : SHKI_CONSUMERS; side < SHKI_SIDES;
             side++)
            if (sides[side].begun && sides[side].living == 0)
                handle->ended_before[side] = (uint64_t)sides[side].begun;
        pthread_mutex_lock(&o->lock);
        shke_roles_learn(o, r, sides, reply.revision);
        e = r->known ? 0 : TRY_AGAIN;
        pthread_mutex_unlock(&o->lock);
    }
    shke_reply_free(&reply);
    return e;
}

/* The handle has the roles that it had, without those that have ended: 0 or an error. */
static int end_handle(struct shke_object *o, struct shke_roles *r, struct shki_roles *handle,
                      const struct shke_trial *trial)
{
    const struct shke_trial brief = shke_brief(trial);
    int e = 0;

    do {
        pthread_mutex_lock(&o->segment->lock);
        for (unsigned side = 0; side < SHKI_SIDES; side++) {
            if (!(handle->roles >> side & 1))
                continue;
            if (load_relaxed(&r->own[side].handles) == 1)
                e = end(o, &r->own[side], side, &brief);
            if (e < 0)
                break;
            fetch_sub_relaxed(&r->own[side].handles, 1);
            handle->roles &= ~(1u << side);
        }
        pthread_mutex_unlock(&o->segment->lock);
    } while (shke_again(trial, e));
    return e;
}

/* Its request may still be carried out: the next one of this process undoes that. */
static void forget_handle(struct shke_object *o, struct shke_roles *r, struct shki_roles *handle)
{
    pthread_mutex_lock(&o->segment->lock);
    for (unsigned side = 0; side < SHKI_SIDES; side++)
        if (handle->roles >> side & 1)
            fetch_sub_relaxed(&r->own[side].handles, 1);
    pthread_mutex_unlock(&o->segment->lock);
    handle->roles = 0;
}

int shke_roles_open(struct shke_object *o, struct shke_roles *r, struct shki_roles *handle,
                    unsigned flags, const char *items, int64_t *revision)
{
    const struct shke_trial trial = {.limit = SHK_SEC(1)};
    struct shki_saved_error saved, why;
    int e;

    handle->minds = flags & SHK_EPIPE;
    shke_host->error_save(&saved);
    do
        e = look(o, r, handle, items, revision);
    while (e == TRY_AGAIN);
    if (e < 0 || !(flags & ROLES_MASK))
        return shke_host->error_settle(e, &saved);
    handle->roles = (flags & ROLES_MASK) >> ROLES_SHIFT;
    pthread_mutex_lock(&o->segment->lock);
    for (unsigned side = 0; side < SHKI_SIDES; side++)
        if (handle->roles >> side & 1)
            fetch_add_relaxed(&r->own[side].handles, 1);
    pthread_mutex_unlock(&o->segment->lock);
    e = shke_roles_keep(o, r, &opening);
    if (e < 0) {
        shke_host->error_save(&why);
        if (end_handle(o, r, handle, &trial) < 0)
            forget_handle(o, r, handle);
        shke_host->error_settle(0, &why);
        return e;
    }
    return shke_host->error_settle(0, &saved);
}

int shke_roles_close(struct shke_object *o, struct shke_roles *r, struct shki_roles *handle)
{
    if (handle->roles == 0 || !shke_session_is_own(o->segment->session))
        return 0;
    return end_handle(o, r, handle, &opening);
}
