/* What a process knows of the producers and consumers of an object on etcd. See roles.h. */
#include "etcd/roles.h"

#include <stdio.h>
#include <string.h>

static const char letters[SHKI_SIDES] = {'p', 'c'};

/* ---- Asking ---- */

void shke_roles_ask(struct shke_txn *t, const char *prefix, bool otherwise)
{
    char line[SHKE_KEY_MAX], living[SHKE_KEY_MAX], had[SHKE_KEY_MAX];

    for (unsigned side = 0; side < SHKI_SIDES; side++) {
        snprintf(line, sizeof(line), "%s.role.line/%c", prefix, letters[side]);
        snprintf(living, sizeof(living), "%s.role/%c/", prefix, letters[side]);
        snprintf(had, sizeof(had), "%s.role.had/%c/", prefix, letters[side]);
        if (otherwise) {
            shke_else_get_key(t, line);
            shke_else_count(t, living);
            shke_else_count(t, had);
        } else {
            shke_then_get_key(t, line);
            shke_then_count(t, living);
            shke_then_count(t, had);
        }
    }
}

int shke_roles_read(const struct shke_reply *reply, unsigned first,
                    struct shke_side sides[SHKI_SIDES])
{
    struct shke_kv line;
    int r = 0;

    for (unsigned side = 0; r == 0 && side < SHKI_SIDES; side++, first += 3) {
        r = shke_reply_kv(reply, first, &line);
        if (r == 0)
            sides[side] = (struct shke_side){.begun = line.mod,
                                             .living = shke_reply_count(reply, first + 1),
                                             .had = shke_reply_count(reply, first + 2)};
        shke_kv_free(&line);
    }
    return r;
}

/* ---- What is known ---- */

void shke_roles_learn(struct shke_object *o, struct shke_roles *r,
                      const struct shke_side sides[SHKI_SIDES], int64_t revision)
{
    if (revision < r->known || revision < r->told)
        return;
    r->known = revision;
    memcpy(r->sides, sides, sizeof(r->sides));
    pthread_cond_broadcast(&o->changed);
}

/* The part of such a key that follows: "p/…"; NULL: it is another key. */
static const char *part_of(const char *key, const char *name)
{
    size_t length = strlen(name);

    return strncmp(key, name, length) == 0 && (key[length] == 'p' || key[length] == 'c')
               ? key + length
               : NULL;
}

bool shke_roles_event(struct shke_object *o, struct shke_roles *r, const struct shke_kv *kv,
                      bool deleted)
{
    const char *key = kv->key + strlen(o->prefix), *part;
    bool is_new = kv->create == kv->mod;
    struct shke_side *side;

    if (strncmp(key, ".role", 5) != 0)
        return false;
    if (kv->mod <= r->known)
        return true;
    r->told = kv->mod;
    if ((part = part_of(key, ".role/")) != NULL) {
        side = &r->sides[*part == 'p' ? SHKI_PRODUCERS : SHKI_CONSUMERS];
        side->living += deleted ? -1 : is_new;
    } else if ((part = part_of(key, ".role.had/")) != NULL) {
        side = &r->sides[*part == 'p' ? SHKI_PRODUCERS : SHKI_CONSUMERS];
        side->had += deleted ? -1 : is_new;
    } else if ((part = part_of(key, ".role.line/")) != NULL) {
        side = &r->sides[*part == 'p' ? SHKI_PRODUCERS : SHKI_CONSUMERS];
        side->begun = deleted ? 0 : kv->mod;
    }
    pthread_cond_broadcast(&o->changed);
    return true;
}

/* ---- What is said ---- */

int shke_roles_say_ended(const struct shki_object *handle, const struct shke_side *producers,
                         _Atomic uint64_t *told, const char *drained, const char *died)
{
    uint64_t line = (uint64_t)producers->begun;

    /* Relaxed: one thread of the process is told, whichever. */
    if (producers->had > 0 && exchange_relaxed(told, line) != line)
        return shke_host->object_say(handle, -EOWNERDEAD, died);
    return shke_host->object_say(handle, -EPIPE, drained);
}

int shke_roles_say_alone(const struct shki_object *handle)
{
    return shke_host->object_say(handle, -EPIPE, "the last consumer has gone");
}

/* ---- What a put compares ---- */

static void own_key(char key[SHKE_KEY_MAX], const struct shke_object *o, const struct shke_roles *r)
{
    shke_key(key, o, ".role/p/%s", r->own[SHKI_PRODUCERS].name);
}

void shke_roles_compare(struct shke_txn *t, const struct shke_object *o, const struct shke_roles *r,
                        const struct shki_roles *handle)
{
    const struct shke_side *consumers = &r->sides[SHKI_CONSUMERS];
    char key[SHKE_KEY_MAX];

    if (handle->roles & SHK_PRODUCER) {
        own_key(key, o, r);
        shke_if_written_after(t, key, 0);
    }
    if (handle->minds && consumers->living > 0) {
        shke_key(key, o, ".role/c/");
        shke_if_all_created_after(t, key, 0);
    } else if (handle->minds) {
        shke_key(key, o, ".role.line/c");
        shke_if_written(t, key, consumers->begun);
    }
}

unsigned shke_roles_ask_why(struct shke_txn *t, const struct shke_object *o,
                            const struct shke_roles *r, const struct shki_roles *handle,
                            bool otherwise)
{
    char key[SHKE_KEY_MAX];

    if (!(handle->roles & SHK_PRODUCER))
        return 0;
    own_key(key, o, r);
    shke_roles_ask(t, o->prefix, otherwise);
    if (otherwise)
        shke_else_get_key(t, key);
    else
        shke_then_get_key(t, key);
    return SHKE_ROLES_LOOKS + 1;
}

/* Another thread may have begun anew meanwhile: then its name is another one. */
int shke_roles_learn_why(struct shke_object *o, struct shke_roles *r,
                         const struct shki_roles *handle, const struct shke_reply *reply,
                         unsigned first)
{
    struct shke_role *own = &r->own[SHKI_PRODUCERS];
    struct shke_side sides[SHKI_SIDES];
    int e;

    if (!(handle->roles & SHK_PRODUCER))
        return 0;
    e = shke_roles_read(reply, first, sides);
    if (e < 0)
        return e;
    shke_roles_learn(o, r, sides, reply->revision);
    if (shke_reply_count(reply, first + SHKE_ROLES_LOOKS) == 0)
        store_relaxed(&own->lease, 0);
    return 0;
}
