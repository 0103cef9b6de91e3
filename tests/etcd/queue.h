/* A queue of short texts on etcd, for tests. */
#ifndef TESTS_ETCD_QUEUE_H
#define TESTS_ETCD_QUEUE_H

#include <shmkit.h>

/* The queue "jobs", which is made if it is absent. Items have up to 64 bytes. */
struct shk_queue *queue_open(struct shk_segment *, uint32_t order, size_t capacity);
/* With its segment, which is unlinked. */
void queue_close(struct shk_segment *, struct shk_queue *);

void queue_put(struct shk_queue *, const char *item);
/* That item comes. */
void queue_get(struct shk_queue *, const char *expected);

#endif
