/* shmctl bridge as a child of a test, which may kill it at any of its system calls. */
#ifndef TESTS_ETCD_BRIDGE_H
#define TESTS_ETCD_BRIDGE_H

#include "../common.h"

/* Start "shmctl bridge OPTION... FROM TO"; options: until NULL, at most 6. */
pid_t bridge_start(const char *from, const char *to, const char *const *options);

/*
 * Run it to its end: its exit status. Or kill it as it begins its n-th system call, of whatever
 * thread, counted from 1: -1; n 0: it is not killed. The first is its first connect(2): what comes
 * before has no end but its own.
 */
int bridge_run(const char *from, const char *to, const char *const *options, unsigned n);

#endif
