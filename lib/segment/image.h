/*
 * A segment seen from outside, through a descriptor: pread(2) only. So nothing faults, no page is
 * allocated and no member is disturbed. Nothing is believed: the header has been checked against
 * the file, and every offset is checked against the header.
 */
#ifndef SHKI_IMAGE_H
#define SHKI_IMAGE_H

#include "segment/map.h"

struct shki_image {
    int fd;
    const unsigned char *base; /* if not NULL, the mapping in this process, instead of fd */
    struct stat stat;
    struct shki_header header;
    struct shki_geometry geometry;
    uint32_t members_ready, processes_ready; /* bounded */
};

/*
 * By name, or with a descriptor, which stays the caller's: 0; -EPROTO and the codes of open(2),
 * with a sentence.
 */
int shki_image_open(struct shki_image *, const char *name);
int shki_image_use(struct shki_image *, const char *name, int fd);
void shki_image_close(struct shki_image *);

/*
 * What this process has mapped, and keeps mapped meanwhile: needs no descriptor. To be closed
 * likewise.
 */
void shki_image_use_mapped(struct shki_image *, const struct shk_segment *);

/*
 * The segment with that inode and random id; 0, or -ENOENT if there is none that the caller may
 * read.
 */
int shki_image_find(struct shki_image *, uint64_t inode, uint64_t id);

/* Read: true if all of it lies in the file and could be read. */
bool shki_image_read(const struct shki_image *, uint64_t offset, void *to, size_t size);
bool shki_image_entry(const struct shki_image *, uint32_t index, struct shki_entry *);
bool shki_image_member(const struct shki_image *, uint32_t index, struct shki_member_shared *);

/* Read a table, several records at a time, from `first` on: how many; 0: no more. */
#define SHKI_IMAGE_BATCH 32
uint32_t shki_image_entries(const struct shki_image *, uint32_t first,
                            struct shki_entry entries[SHKI_IMAGE_BATCH]);
uint32_t shki_image_members(const struct shki_image *, uint32_t first,
                            struct shki_member_shared members[SHKI_IMAGE_BATCH]);

/* Whether an entry has an extent in the heap that holds a struct of that size. */
bool shki_image_has(const struct shki_image *, const struct shki_entry *, size_t size);

#endif
