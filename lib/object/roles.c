#include "object/roles.h"

#include <time.h>

#define ROLES_SHIFT  8
#define ROLES_MASK   SHK_AS(0xfu)
#define CHECKED_EACH SHK_MS(10) /* a check reads rows of processes, and may make system calls */

int shki_roles_parse(struct shki_roles *r, unsigned *flags)
{
    r->roles = (*flags & ROLES_MASK) >> ROLES_SHIFT;
    r->minds = *flags & SHK_EPIPE;
    *flags &= ~(ROLES_MASK | SHK_EPIPE);
    if (r->roles & ~(SHK_PRODUCER | SHK_CONSUMER))
        return shki_say(-EINVAL, "the roles are SHK_PRODUCER, SHK_CONSUMER or both");
    if (r->minds && !(r->roles & SHK_PRODUCER))
        return shki_say(-EINVAL, "SHK_EPIPE is for a producer: SHK_AS(SHK_PRODUCER)");
    return 0;
}

int shki_roles_open(struct shki_object *o, struct shki_roles *r, bool drained,
                    void (*tell)(void *object))
{
    int error = 0;

    r->tell = tell;
    for (unsigned side = drained ? SHKI_PRODUCERS : SHKI_CONSUMERS; side < SHKI_SIDES; side++) {
        uint64_t line = shki_presence(o->entry, side);

        if (line & SHKI_PRESENCE_ENDED)
            r->ended_before[side] = line | SHKI_PRESENCE_FLAGS;
    }
    if (r->roles)
        error = shki_presence_begin(o->segment, o->index, r->roles);
    if (error < 0)
        r->roles = 0;
    return error;
}

void shki_roles_close(struct shki_object *o, struct shki_roles *r)
{
    if (r->roles)
        shki_presence_end(o->segment, o->index, r->roles, r->tell, o);
}

/* Coarse: cheap, and exact to some ms. */
static int64_t coarse_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    return (int64_t)t.tv_sec * SHK_SEC(1) + t.tv_nsec;
}

bool shki_roles_check_slow(struct shki_object *o, struct shki_roles *r, unsigned side)
{
    int64_t now, last;

    if (shki_roles_has_ended(o, r, side))
        return true;
    now = coarse_now();
    last = load_relaxed(&r->checked_at);
    if (last <= now && now - last < CHECKED_EACH)
        return false;
    store_relaxed(&r->checked_at, now);
    if (shki_presence_check(o->segment, o->index, side))
        r->tell(o);
    return shki_roles_has_ended(o, r, side);
}

int shki_roles_say_ended(const struct shki_object *o, _Atomic uint64_t *told, const char *drained,
                         const char *died)
{
    uint64_t line = shki_presence(o->entry, SHKI_PRODUCERS);

    /* Relaxed: one thread of the process is told, whichever. */
    if (line & SHKI_PRESENCE_DIED && exchange_relaxed(told, line) != line)
        return shki_object_say(o, -EOWNERDEAD, died);
    return shki_object_say(o, -EPIPE, drained);
}

int shki_roles_say_alone(const struct shki_object *o)
{
    return shki_object_say(o, -EPIPE, "the last consumer has gone");
}
