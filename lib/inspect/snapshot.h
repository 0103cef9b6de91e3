/*
 * A snapshot in the making: what the files of lib/inspect/ read of a segment, through a descriptor,
 * table by table. Each table is read once, whatever is in it: damage must not cost members times
 * objects.
 */
#ifndef SHKI_SNAPSHOT_H
#define SHKI_SNAPSHOT_H

#include "segment/image.h"

#include <shmkit/inspect.h>

/*
 * What the ids of all members of one process have in common, of a segment that lies elsewhere.
 * Below that they have the thread's, of which Linux has fewer than 2^22.
 */
#define SHKI_MEMBER_PROCESS(id) ((id) >> 22)

struct shk_snapshot {
    struct shk_segment_info segment;
    struct shk_object_info *objects; /* by entry at first, without gaps and by name at last */
    struct shk_member_info *members; /* in the order of the records at first, of joining at last */
    size_t n_objects, n_members;
    /* which processes are producers, or consumers, of which objects, or have permits of them */
    struct shki_snapshot_role {
        int32_t pid;
        unsigned role;    /* SHK_PRODUCER or SHK_CONSUMER; or 0: it has permits */
        uint64_t serial;  /* of the object */
        uint64_t process; /* of a segment that lies elsewhere: see SHKI_MEMBER_PROCESS() */
        uint32_t permits;
    } * roles;
    size_t n_roles;
    /* of a segment that lies elsewhere: where each member is, n_members of them; else NULL */
    struct shki_snapshot_machine {
        uint64_t id; /* of the member */
        char name[SHK_NAME_MAX + 1];
    } * machines;
};

/* ---- segments.c: what a file is ---- */

void shki_snapshot_file(struct shk_segment_info *, const char *name, const struct stat *);
void shki_snapshot_header(const struct shki_image *, struct shk_segment_info *);

/* ---- members.c ---- */

/*
 * All members, alive and dead, and what each living one waits for. `records` and s->members have
 * room for members_ready.
 */
void shki_snapshot_members(const struct shki_image *, struct shki_member_shared *records,
                           struct shk_snapshot *);

/* Whether the member sleeps in this segment. (A thread notes its wait in all its records.) */
bool shki_snapshot_sleeps(const struct shki_image *, const struct shki_member_shared *);

/* ---- objects.c ---- */

/* No living object has the serial 0. */
static inline bool shki_snapshot_is_live(const struct shki_entry *e)
{
    return load_relaxed(&e->state) == SHKI_ENTRY_LIVE && e->serial != 0;
}

/* All objects: s->objects[i] is that of entry i, and none if its serial is 0. 0 or -ENOMEM. */
int shki_snapshot_objects(const struct shki_image *, struct shk_snapshot *);

/* ---- uses.c: which members have which objects open, or sleep on them ---- */

/*
 * Count the users and the waiters of each object, and find its dead giver and taker. `records` are
 * those of s->members. 0 or -ENOMEM.
 */
int shki_snapshot_uses(const struct shki_image *, const struct shki_member_shared *records,
                       struct shk_snapshot *);

#endif
