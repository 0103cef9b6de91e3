/*
 * Producers and consumers of an object that has lines (segment/presence.h): a queue, a stream. Each
 * handle has one of these.
 */
#ifndef SHKI_ROLES_H
#define SHKI_ROLES_H

#include "object/object.h"
#include "segment/presence.h"

struct shki_roles {
    unsigned roles;             /* SHK_PRODUCER | SHK_CONSUMER */
    bool minds;                 /* SHK_EPIPE: its puts end with the line of the consumers */
    void (*tell)(void *object); /* wake all that wait at the object, a struct shki_object */
    /* ns: when a thread of the process last checked; threads race on it harmlessly */
    _Atomic int64_t checked_at;
    /*
     * The words of lines that had ended when the handle was opened, with all flags; 0: none. Their
     * end is not told: the handle waits for those that come.
     */
    uint64_t ended_before[SHKI_SIDES];
    /* the word of the line of whose deaths this handle has told */
    _Atomic uint64_t told;
};

/* Take the flags of roles out of those of an open: 0 or -EINVAL. */
int shki_roles_parse(struct shki_roles *, unsigned *flags);

/*
 * The object has been opened: 0; -EUSERS, and it is to be closed. `drained`: nothing is left of
 * what producers that have gone have put.
 */
int shki_roles_open(struct shki_object *, struct shki_roles *, bool drained,
                    void (*tell)(void *object));
/* Before it is closed. */
void shki_roles_close(struct shki_object *, struct shki_roles *);

/* Whether the line has ended, since the handle was opened. Loads only. */
static inline bool shki_roles_has_ended(const struct shki_object *o, const struct shki_roles *r,
                                        unsigned side)
{
    uint64_t line = shki_presence(o->entry, side);

    return unlikely(line & SHKI_PRESENCE_ENDED) &&
           (line | SHKI_PRESENCE_FLAGS) != r->ended_before[side];
}

/*
 * Whether the line has ended; a death that has ended it is found, unless it was searched for less
 * than 10 ms ago. Without a lock. A load where there have never been such roles.
 */
bool shki_roles_check_slow(struct shki_object *, struct shki_roles *, unsigned side);
static inline bool shki_roles_check(struct shki_object *o, struct shki_roles *r, unsigned side)
{
    return unlikely(shki_presence(o->entry, side) & SHKI_PRESENCE_HAD) &&
           shki_roles_check_slow(o, r, side);
}

/*
 * What a consumer is told that finds nothing left, with the sentence: -EOWNERDEAD once for each
 * line and each `told`, if a producer of that line has died; else -EPIPE. `kind` as "queue".
 */
int shki_roles_say_ended(const struct shki_object *, _Atomic uint64_t *told, const char *drained,
                         const char *died);

/* -EPIPE of a producer that minds that there is no consumer. */
int shki_roles_say_alone(const struct shki_object *);

/* Whether puts are to end with -EPIPE. Loads only. */
static inline bool shki_roles_is_alone(const struct shki_object *o, const struct shki_roles *r)
{
    return unlikely(r->minds) && shki_roles_has_ended(o, r, SHKI_CONSUMERS);
}

#endif
