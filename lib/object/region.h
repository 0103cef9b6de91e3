/* A region in shared memory. */
#ifndef SHKI_REGION_H
#define SHKI_REGION_H

#include "object/object.h"

/* Written before the region was published; it never changes. */
struct shki_region_shared {
    struct shki_repairs repairs;
    uint64_t size, align;
    uint64_t data_offset; /* from the start of the extent */
    uint64_t reserved;
};

extern const struct shki_kind shki_region_kind;

#endif
