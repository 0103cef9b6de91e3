/*
 * A lock that is held over a part of a script, as with "flock 9": by a descriptor of the script.
 *
 * shmctl ends as soon as the lock is held. A child of it stays, the holder, and holds the lock
 * until the script and all that it has started have closed the descriptor. Then the lock is
 *   - released, if the script lives: it has closed the descriptor, or called 'shmctl lock -u';
 *   - left to the next holder as orphaned, if the script has ended with the descriptor open.
 *
 * The mark. The holder locks a byte of the descriptor's open file (F_OFD_SETLK), which is one and
 * the same for all copies of the descriptor. It then closes its own copy, and waits for the byte
 * through a file that it has opened anew. The kernel frees the byte when the last copy is closed,
 * however that happens. Each holder has a byte of its own, found by hashing its process and the
 * path of the lock, so one file serves any number of them, and it may be /dev/null.
 *
 *     killed here: shmctl, before the lock is held: the holder ends by its PR_SET_PDEATHSIG
 *                  shmctl, later: the script is not told, and its descriptor keeps the lock
 *                  the holder: the next holder of the lock is told
 *                  the script: as above; its children go on, and the lock is held for so long
 */
#ifndef SHMCTL_HOLD_H
#define SHMCTL_HOLD_H

#include "common.h"

#include <fcntl.h>
#include <stdint.h>

/* What the holder's process is called. */
#define HOLDER_NAME "shmctl-holder"

struct holder {
    int descriptor; /* the script's, as the shell passed it on */
    int file;       /* the same file, opened anew */
    int line;       /* to shmctl */
    pid_t shmctl;
    pid_t script;
    uint64_t script_start;
    struct flock byte;
};

/*
 * Start the holder, before anything of the library is open. Returns true in the holder; false in
 * shmctl, when the lock is held or cannot be had, with *status to end with.
 */
bool holder_begin(struct holder *, int descriptor, const struct path *, int *status);

/*
 * In the holder, with the lock held: mark the descriptor and let shmctl end with that status.
 * Returns false after a complaint, or if shmctl has ended: the lock is to be released.
 */
bool holder_tell(struct holder *, int status);

/*
 * In the holder: wait until the descriptor has been closed. Returns whether the script has done
 * that.
 */
bool holder_wait(struct holder *);

/*
 * Unlock the lock of that path that is held by that descriptor, and wait until its holder has
 * ended. Returns an exit status.
 */
int holder_unlock(int descriptor, const struct path *);

/* The byte of the file that is locked as long as that process holds the lock of that path. */
off_t holder_byte(pid_t holder, const char *path);

#endif
