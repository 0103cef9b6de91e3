/* Where a process runs: its machine, and its pid namespace there. */
#ifndef SHKE_MACHINE_H
#define SHKE_MACHINE_H

#include "etcd/buffer.h"

#include <json-c/json.h>

struct shke_machine {
    char host[65];       /* $SHMKIT_ETCD_MACHINE, or the host's name */
    char boot[40];       /* tells two machines of one name apart */
    uint64_t namespace_; /* inode of the pid namespace */
};

void shke_machine_here(struct shke_machine *);

/* Add ,"boot":"...","ns":4026531836 to a record, behind "host". */
void shke_machine_write(const struct shke_machine *, struct shke_buffer *);

/*
 * Where a record was written: the inode of the pid namespace if that is on this machine, else a
 * number that is none. 0: it does not say.
 */
uint64_t shke_machine_number(const struct shke_machine *here, json_object *record);

#endif
