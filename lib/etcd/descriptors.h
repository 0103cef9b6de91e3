/*
 * Threads with descriptors of their own.
 *
 * The program's descriptors are the program's: it may start with 0, 1 and 2 closed and give them to
 * files of its own, or close all numbers that it does not know. So this library keeps no descriptor
 * among them. curl, which opens sockets, pairs to wake itself, files of certificates, and what the
 * resolver needs, runs in threads of this library, each of which has a table of descriptors of its
 * own. Nothing of the program's can be written to or closed there, and nothing of curl's here; a
 * child of fork(2) has a copy of the program's table only, and so no connection of its parent.
 *
 * A thread in its table cannot be woken by a descriptor that the program holds. It has a pipe,
 * whose writing end another thread opens for a moment, by its name in /proc.
 */
#ifndef SHKE_DESCRIPTORS_H
#define SHKE_DESCRIPTORS_H

#include "etcd/host.h"

/*
 * The calling thread, and those that it starts, share the program's descriptors no more: they have
 * none but 0, 1 and 2, which are /dev/null, for what a library prints. 0, or an error, of which the
 * thread that has started this one says the sentence.
 */
int shke_own_descriptors(void);
int shke_say_no_descriptors(int error);

/* What wakes a thread that polls. The thread's own, but for shke_waker_wake(). */
struct shke_waker {
    int in, out;   /* a pipe of the thread's table; -1: there is none */
    char name[64]; /* of `out`, for other threads */
};

/* 0 or an error, without a sentence. */
int shke_waker_open(struct shke_waker *);
void shke_waker_close(struct shke_waker *);
/* By another thread: false: it could not be, and the thread learns at the end of its wait. */
bool shke_waker_wake(const struct shke_waker *);
/* What has been written is read. */
void shke_waker_drain(const struct shke_waker *);

#endif
