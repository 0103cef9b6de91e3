/*
 * What consumers and producers do in the slow loop when items may be leased, with the lock. The
 * records and the protocol: lease_records.h.
 */
#ifndef SHKI_LEASE_H
#define SHKI_LEASE_H

#include "queue/order.h"

/*
 * As the order's get and put. An item that has come back goes before the others (PRIORITY: if its
 * priority is not worse than theirs); what is leased counts for the capacity.
 */
shki_act shki_lease_get, shki_lease_put;

/* For a peek: as shki_next_item(), and then the order's consume. */
int shki_lease_next_item(struct shk_queue *, struct shki_slot **);
void shki_lease_consume(struct shk_queue *);

#endif
