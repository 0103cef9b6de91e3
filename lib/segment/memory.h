/*
 * The memory behind a mapping of a segment: allocated so that no store faults, and punched out
 * again. Both go through the mapping; see memory.c.
 */
#ifndef SHKI_MEMORY_H
#define SHKI_MEMORY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

struct shki_memory {
    unsigned char *base; /* of the mapping; NULL: unmapped */
    uint64_t device, inode;
    /* true: the kernel cannot allocate through a mapping, so a descriptor is kept open */
    bool needs_descriptor;
    int descriptor; /* that; -1: none */
};

/* open(2) with O_CLOEXEC. The descriptor is never standard input, output or error. */
int shki_open(const char *path, int flags, mode_t mode);

/*
 * Map a file shared, readable and writable. No page is allocated, neither by mlockall(2) nor by a
 * core dump. NULL with errno as mmap(2).
 */
void *shki_map(int fd, uint64_t size);

/* `base` has been set. The descriptor stays the caller's. */
void shki_memory_open(struct shki_memory *, int fd, const struct stat *);
void shki_memory_close(struct shki_memory *);

/*
 * Allocate [offset, offset + size), so that a store there never faults. What is allocated already
 * is left alone. Returns 0; -ENOSPC, -ENOMEM; -EBADF where a descriptor is needed and the program
 * has closed it. With `undo` a failure leaves nothing allocated.
 */
int shki_memory_allocate(struct shki_memory *, uint64_t offset, uint64_t size, bool undo);

/*
 * Allocate the first `first` bytes of [offset, offset + size), all of them zero. A failure leaves
 * nothing allocated.
 */
int shki_memory_allocate_zeroed(struct shki_memory *, uint64_t offset, uint64_t size,
                                uint64_t first);

/* shki_memory_allocate() for a file that is not mapped yet. */
int shki_allocate_file(int fd, uint64_t offset, uint64_t size);

/*
 * Free the whole pages in [offset, offset + size): a read there gives zero afterwards. The parts of
 * pages at both ends are left as they are. False where the file system cannot do it.
 */
bool shki_memory_punch(struct shki_memory *, uint64_t offset, uint64_t size);

#endif
