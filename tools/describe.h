/* What <shmkit/inspect.h> says, in words. */
#ifndef SHMCTL_DESCRIBE_H
#define SHMCTL_DESCRIBE_H

#include "common.h"

/* Every buffer below has this many bytes. */
#define DESCRIPTION_MAX 256

/* Of the readers of a rwlock, and the owners of a semaphore's permits, only so many are known. */
#define READERS_MAX (sizeof(((struct shk_object_info *)0)->as.rwlock.reader) / sizeof(uint64_t))
#define OWNERS_MAX                                                 \
    (sizeof(((struct shk_object_info *)0)->as.semaphore.holders) / \
     sizeof(((struct shk_object_info *)0)->as.semaphore.holders[0]))

/* The i-th of an array of names, for an i that may be anything. */
#define NAME_OF(names, i) \
    ((i) < sizeof(names) / sizeof(*(names)) && (names)[i] ? (names)[i] : "unknown")

/* "queue"; as in 'shmctl create queue'. */
const char *kind_name(uint32_t kind);

/* "good", "corrupt" */
const char *segment_state_name(uint32_t state);

/* "put jobs", "" if it does not wait. */
const char *describe_wait(char *buffer, const struct shk_member_info *);

/* "存款者甲 (1234)"; a thread other than the main one: "(1234/1240)". */
const char *describe_member(char *buffer, const struct shk_snapshot *,
                            const struct shk_member_info *);

/* The same by id, for a member that may have died or gone meanwhile, and then it says so. */
const char *describe_member_id(char *buffer, const struct shk_snapshot *, uint64_t id);

/* "3/4 items", "held by 存款者甲 (1234)", "set" */
const char *describe_object(char *buffer, const struct shk_snapshot *,
                            const struct shk_object_info *);

/* The object's waiters, in order of arrival. malloc'ed; how many. */
size_t list_waiters(const struct shk_snapshot *, const char *object,
                    const struct shk_member_info ***out);

/* "root", or the number of a user or group that has no name. */
const char *user_name(char *buffer, uint32_t uid);
const char *group_name(char *buffer, uint32_t gid);

#endif
