/*
 * A region: plain shared bytes, zero at first. What they mean, and which lock protects them, is the
 * programs' affair.
 *
 *     struct account { int64_t balance; int32_t paid_in; } *account;
 *     struct shk_region *region;
 *     shk_region_open(bank, "account", SHK_CREATE, &(struct shk_region_options){ .size =
 *     sizeof(*account) }, &region);
 *     shk_region_data(region, (void **)&account, NULL);
 *
 * Illegal: to store pointers in it; each process maps it elsewhere.
 */
#ifndef SHMKIT_REGION_H
#define SHMKIT_REGION_H

#include <shmkit/segment.h>

#ifdef __cplusplus
extern "C" {
#endif

struct shk_region;

struct shk_region_options {
    size_t size;          /* bytes, at least 1 to create; 0 when opening: whatever is there */
    size_t align;         /* of the first byte: a power of two up to 4096; 0: 64 */
    uint64_t reserved[8]; /* zero */
};

/*
 * Open a region, or with SHK_CREATE create it, zeroed, if it is absent. Returns 0, or -EPROTOTYPE
 * (present, but no region, of another size, or aligned to less), -EINVAL (to create: size 0;
 * align), -ENOENT, -EEXIST, -ENOSPC, -EPROTO, -ENAMETOOLONG, -EILSEQ as shk_lock_open(). Killed: it
 * has been created whole or not at all.
 */
SHK_PUBLIC int shk_region_open(struct shk_segment *, const char *name, unsigned flags,
                               const struct shk_region_options *options, struct shk_region **out);

/*
 * Give the handle back; the region stays. The pointer from shk_region_data() is not to be used any
 * more. NULL is allowed. Returns 0.
 */
SHK_PUBLIC int shk_region_close(struct shk_region *);

/*
 * Where the bytes are in this process and how many; either may be NULL. Valid until the handle is
 * closed. Returns 0.
 */
SHK_PUBLIC int shk_region_data(struct shk_region *, void **data, size_t *size);

#ifdef __cplusplus
}
#endif

#endif
