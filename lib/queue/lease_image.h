/* Leased items, seen from outside: lease_records.h. No member notices, and nothing is believed. */
#ifndef SHKI_LEASE_IMAGE_H
#define SHKI_LEASE_IMAGE_H

#include "queue/layout.h"
#include "segment/image.h"

#include <shmkit/inspect.h>

/*
 * The figures of leases, of the queue `shared`, which is a copy; size, gets and bytes, which are
 * those of the store, are corrected by them.
 */
void shki_lease_describe(const struct shki_image *, const struct shki_entry *,
                         const struct shki_queue_shared *shared, struct shk_object_info *);

/* To the members, what each of them has leased. */
void shki_lease_add(const struct shki_image *, const struct shki_entry *,
                    const struct shki_queue_shared *shared, struct shk_member_info *, size_t n);

#endif
