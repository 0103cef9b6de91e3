/*
 * shmkit: what threads have, between processes.
 *
 * Locks, conditions, events, queues and shared data in POSIX shared memory, for programs that were
 * started separately. A process may be killed at any instruction: the others carry on.
 *
 * This header includes all the others; each may be included alone.
 */
#ifndef SHMKIT_H
#define SHMKIT_H

#include <shmkit/barrier.h>
#include <shmkit/common.h>
#include <shmkit/cond.h>
#include <shmkit/event.h>
#include <shmkit/inspect.h>
#include <shmkit/lock.h>
#include <shmkit/member.h>
#include <shmkit/once.h>
#include <shmkit/queue.h>
#include <shmkit/ready.h>
#include <shmkit/region.h>
#include <shmkit/rwlock.h>
#include <shmkit/segment.h>
#include <shmkit/semaphore.h>
#include <shmkit/stream.h>
#include <shmkit/value.h>

#endif
