/*
 * The memory behind a mapping of a segment: given so that no store faults, and taken back. Both go
 * through the mapping; see memory.c.
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
    bool keeps; /* the kernel cannot give memory through a mapping: a descriptor is kept */
    int kept;   /* that; -1: none */
};

/* open(2) with O_CLOEXEC, whose descriptor is never standard input, output or error. */
int shki_open(const char *path, int flags, mode_t mode);

/*
 * Map a file shared, readable and writable. No page is given memory: not by mlockall(2), and not
 * by a core dump. NULL with errno as mmap(2).
 */
void *shki_map(int fd, uint64_t size);

/* `base` has been set. The descriptor stays the caller's. */
void shki_memory_open(struct shki_memory *, int fd, const struct stat *);
void shki_memory_close(struct shki_memory *);

/*
 * Give memory to [at, at + size), so that a store there never faults: 0; -ENOSPC, -ENOMEM; -EBADF
 * where the descriptor has to be kept and the program has closed it. What is there already is left
 * alone. If `undo` nothing is left after a failure.
 */
int shki_memory_allocate(struct shki_memory *, uint64_t at, uint64_t size, bool undo);

/*
 * Memory for the first `first` bytes of [at, at + size), all of it zero; nothing is left after a
 * failure.
 */
int shki_memory_allocate_zeroed(struct shki_memory *, uint64_t at, uint64_t size, uint64_t first);

/* shki_memory_allocate() for a file that is not mapped yet. */
int shki_allocate_file(int fd, uint64_t at, uint64_t size);

/*
 * Take back the whole pages in [at, at + size); what is read there afterwards is zero. The parts of
 * pages at both ends are left as they are. False where the file system cannot do it.
 */
bool shki_memory_punch(struct shki_memory *, uint64_t at, uint64_t size);

#endif
