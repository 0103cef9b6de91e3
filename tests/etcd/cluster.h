/*
 * The three servers of servers.h for a suite of tests, whose processes kill one and start it again.
 *
 *     int main(void)
 *     {
 *         Suite *suite = suite_create("lock on etcd");
 *         ...
 *         return run_with_cluster(suite);
 *     }
 */
#ifndef TESTS_ETCD_CLUSTER_H
#define TESTS_ETCD_CLUSTER_H

#include "../common.h"
#include "servers.h"

/* As run_tests(), with the servers; 77, with a sentence, where there is no etcd. */
int run_with_cluster(Suite *);

/* The number of the server that leads; waits until there is one. */
int cluster_leader(void);

/* SIGKILL; and start it again with what it had on its disk, until it answers. */
void cluster_kill(int server);
void cluster_start(int server);
/* … without waiting for an answer, which comes only with a majority. */
void cluster_start_one(int server);
/* All of them, and until one leads again. */
void cluster_restart(void);
/*
 * So many times: kill the leader, wait until count(argument) has grown by so many, and start it
 * again. count() gives COUNT_FAILED when the processes that count have failed.
 */
#define COUNT_FAILED INT64_MAX
void cluster_kill_leaders(int times, int64_t (*count)(void *argument), void *argument, int64_t by);
/* SIGSTOP and SIGCONT. */
void cluster_stop(int server);
void cluster_continue(int server);

/* How many requests the servers have answered, without those for watches and metrics. */
unsigned long cluster_requests(void);

/* Delete the history: a watch that is behind misses some of it. */
void cluster_compact(void);

/* Put a key of its own among those of shmkit. */
void cluster_put(const char *key, const char *value);
/* How many keys begin so. */
int cluster_count(const char *prefix);

/* "etcd:test-…", and a segment of that name, as segment_name() and test_segment() in common.h. */
const char *etcd_name(void);
struct shk_segment *etcd_segment(void);

#endif
