/*
 * Whether a thread of this pid namespace, known by its thread id, is still there, and the same.
 *
 * The kernel marks the robust mutexes of a dead thread. It cannot do so
 *   - where the thread's memory went before its robust list was walked: the OOM reaper,
 *     process_mrelease(2);
 *   - where that list leads through memory that has been unmapped, or beyond 2048 entries;
 *   - where a thread other than the first one calls exec, which changes its thread id.
 * These functions find such a death: see segment/recover.h.
 */
#ifndef SHKI_THREAD_H
#define SHKI_THREAD_H

#include <stdbool.h>
#include <stdint.h>

/* When the calling thread was started, for comparisons only; 0: /proc does not tell. */
uint64_t shki_thread_start(void);

/*
 * Whether the kernel will mark nothing more for the thread with that id:
 *   - there is none, or it is a zombie;
 *   - its robust list has been walked. An exec does that, too: the program that runs under the id
 *     then holds nothing of what was in the list.
 * False where it cannot be known. One system call for a thread that is there.
 */
bool shki_thread_is_gone(int32_t tid);

/*
 * Whether the thread with that id is not the one that was started at that time: the id has been
 * used again. False where it cannot be known. Reads a file of /proc.
 */
bool shki_thread_is_another(int32_t tid, uint64_t start);

/* When the calling process was started, likewise; reads a file of /proc. */
uint64_t shki_process_start(void);

/* Whether all threads of the process with that pid have ended, reaped or not. */
bool shki_process_has_ended(int32_t pid);

/* Whether the thread is stopped, by a signal or a debugger, as far as /proc tells. */
bool shki_thread_is_stopped(int32_t tid);

#endif
