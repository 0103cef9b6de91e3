/*
 * What the library that is linked to programs does for this one, which is loaded by it: sentences
 * of errors, deadlines, names. There is one of it in a process.
 */
#ifndef SHKE_HOST_H
#define SHKE_HOST_H

#include "object/remote.h"

extern const struct shki_remote_host *shke_host;

/* Note the sentence, return the code. */
#define shke_fail(...) shke_host->fail(__VA_ARGS__)

/* Nanoseconds of CLOCK_MONOTONIC. */
int64_t shke_now(void);

/* Start a thread that no signal is handled in: 0, or an error with its sentence. */
int shke_thread(pthread_t *, void *(*)(void *), void *arg);

#endif
