/* The kinds of objects that can be on etcd. */
#include "etcd/object.h"

const struct shke_kind *const shke_kinds[] = {
    &shke_lock_kind,      &shke_event_kind,  &shke_queue_kind,
    &shke_semaphore_kind, &shke_rwlock_kind, &shke_barrier_kind,
    &shke_cond_kind,      &shke_stream_kind, NULL};
