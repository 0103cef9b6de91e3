/*
 * A way to the servers that a test can cut: what is sent stays on the way, as when a cable is
 * pulled, and arrives when the way is whole again.
 */
#ifndef TESTS_ETCD_PROXY_H
#define TESTS_ETCD_PROXY_H

#include "../common.h"

struct proxy;

/*
 * One for each server of $ETCDCTL_ENDPOINTS, in a thread of the test. *endpoints: where they are,
 * for the environment of a child.
 */
struct proxy *proxy_start(const char **endpoints);
void proxy_stop(struct proxy *);

void proxy_cut(struct proxy *);
void proxy_mend(struct proxy *);

#endif
