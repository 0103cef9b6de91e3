/*
 * Which script has the lock that is held by a descriptor ('shmctl lock --fd', hold.h): the kernel
 * tells in /proc/PID/fdinfo which open files have which locks. Only of processes in the caller's
 * pid namespace, and as far as it may read.
 */
#ifndef SHMCTL_DESCRIPTOR_H
#define SHMCTL_DESCRIPTOR_H

#include "process.h"

/* One that has it open. */
struct opener {
    int32_t pid;
    int descriptor;
    char command[16];
};

/*
 * All processes that keep the lock of that path held for its holder, each once: the script, and
 * what it has started meanwhile. malloc'ed, in order of pid; how many.
 */
size_t list_openers(const struct processes *, int32_t holder, const char *path,
                    struct opener **out);

#endif
