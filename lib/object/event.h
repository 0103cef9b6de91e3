/* An event in shared memory. */
#ifndef SHKI_EVENT_H
#define SHKI_EVENT_H

#include "object/broadcast.h"

/* An event has no waitlist, since a set releases all waiters. A set is a broadcast. */
enum { SHKI_EVENT_SET = SHKI_BROADCAST_OBJECT };

struct shki_event_shared {
    struct shki_repairs repairs;
    /* set: SHKI_EVENT_SET, and then never NEED_WAKEUP; counted: sets of an event that was clear */
    struct shki_broadcast_shared sets;
};

extern const struct shki_kind shki_event_kind;

#endif
