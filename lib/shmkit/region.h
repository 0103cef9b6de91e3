/*
 * A region: plain shared bytes, zero at first. The programs decide what they mean and which lock
 * protects them.
 *
 *     struct account { int64_t balance; int32_t paid_in; } *account;
 *     struct shk_region_options size = { .size = sizeof(*account) };
 *     struct shk_region *region;
 *     shk_region_open(bank, "account", SHK_CREATE, &size, &region);
 *     shk_region_data(region, (void **)&account, NULL);
 *
 * Illegal: to store pointers in it; each process maps it at another address.
 */
#ifndef SHMKIT_REGION_H
#define SHMKIT_REGION_H

#include <shmkit/segment.h>

#ifdef __cplusplus
extern "C" {
#endif

struct shk_region;

struct shk_region_options {
    size_t size;          /* bytes, at least 1 to create; 0 when opening: any size */
    size_t align;         /* of the first byte: a power of two up to 4096; 0: 64 */
    uint64_t reserved[8]; /* zero */
};

/*
 * Open a region, or with SHK_CREATE create it, zeroed, if it is absent. options: NULL for the
 * region as it is.
 * Returns 0, or
 *   -EPROTOTYPE  present, but no region, or of another size, or aligned to less
 *   -EINVAL      to create, the size is 0; or the alignment is no power of two up to 4096
 *   -ENOENT, -EEXIST, -ENOSPC, -EPROTO, -ENAMETOOLONG, -EILSEQ as shk_lock_open()
 * The handle is the caller's, which closes it.
 * Killed: the region has been created whole or not at all.
 */
SHK_PUBLIC int shk_region_open(struct shk_segment *, const char *name, unsigned flags,
                               const struct shk_region_options *options, struct shk_region **out);

/*
 * Give the handle back; the region stays. The pointer that shk_region_data() gave is no longer
 * valid. NULL is allowed. Returns 0.
 */
SHK_PUBLIC int shk_region_close(struct shk_region *);

/*
 * Tell where the bytes are in this process and how many there are; either pointer may be NULL.
 * Valid until the handle is closed. Returns 0.
 * Killed while it writes into the region: the bytes stay as they were at that moment. A lock around
 * the change reports it with SHK_ORPHANED.
 */
SHK_PUBLIC int shk_region_data(struct shk_region *, void **data, size_t *size);

#ifdef __cplusplus
}
#endif

#endif
