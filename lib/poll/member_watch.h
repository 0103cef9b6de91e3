/* Members as something to wait for: see shmkit/member.h. */
#ifndef SHKI_MEMBER_WATCH_H
#define SHKI_MEMBER_WATCH_H

#include "object/object.h"

#include <shmkit/member.h>

/* For a set: SHK_KIND_MEMBER is no kind of objects. Only its name and how to watch it are there. */
extern const struct shki_kind shki_member_kind;

/* The next event, which is taken: its kind; 0: there is none. */
uint32_t shki_member_watch_take(struct shk_member_watch *, struct shk_member_event *);

#endif
