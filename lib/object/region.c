#include "object/region.h"

#include <shmkit/inspect.h>
#include <shmkit/region.h>

#define ALIGN_DEFAULT 64u

struct shk_region {
    struct shki_object object;
    unsigned char *data;
    size_t size;
};

static int build(struct shki_object *o, const struct shki_plan *plan)
{
    const struct shk_region_options *options = plan->options;
    struct shki_region_shared *shared = (void *)o->shared;

    shared->size = options->size;
    shared->align = options->align ? options->align : ALIGN_DEFAULT;
    shared->data_offset = shki_round_up(sizeof(*shared), shared->align);
    return 0;
}

static int check(struct shki_object *o, const struct shki_plan *plan)
{
    const struct shk_region_options *options = plan->options;
    const struct shki_region_shared *shared = (void *)o->shared;
    struct shk_region *region = (struct shk_region *)o;
    uint64_t size = shared->size, align = shared->align, data_offset = shared->data_offset;

    if (data_offset < sizeof(*shared) || data_offset > o->size || size > o->size - data_offset)
        return shki_fail(-EPROTO, "%s/%s is damaged: its size", o->segment->name, o->name);
    if (options->size && options->size != size)
        return shki_fail(-EPROTOTYPE, "%s/%s has %llu bytes, not %zu", o->segment->name, o->name,
                         (unsigned long long)size, options->size);
    if (options->align > align)
        return shki_fail(-EPROTOTYPE, "%s/%s is aligned to %llu bytes, not %zu", o->segment->name,
                         o->name, (unsigned long long)align, options->align);
    region->data = o->shared + data_offset;
    region->size = (size_t)size;
    return 0;
}

int shk_region_open(struct shk_segment *segment, const char *name, unsigned flags,
                    const struct shk_region_options *options, struct shk_region **out)
{
    static const struct shk_region_options defaults;
    struct shki_plan plan = {.kind = &shki_region_kind};
    size_t align;
    int r;

    if (out == NULL)
        return SHKI_NO_HANDLE;
    *out = NULL;
    plan.options = options = options ? options : &defaults;
    align = options->align ? options->align : ALIGN_DEFAULT;
    if (align & (align - 1) || align > SHKI_PAGE)
        return shki_say(-EINVAL, "the alignment is not a power of two up to 4096");
    r = shki_check_reserved(options->reserved, 8);
    if (r < 0)
        return r;
    if (options->size == 0) {
        plan.cannot_create = -EINVAL;
        plan.why = "a new region needs a size";
    } else if (segment && options->size > segment->size) {
        plan.cannot_create = -ENOSPC;
        plan.why = "the region is larger than its segment";
    }
    plan.size = shki_round_up(sizeof(struct shki_region_shared), align) + options->size;
    if (align > SHKI_SMALL_UNIT && plan.size <= SHKI_SMALL)
        plan.size = SHKI_PAGE; /* then it begins at a page */
    *out = shki_handle_open(segment, name, flags, &plan, sizeof(**out), &r);
    return r;
}

int shk_region_close(struct shk_region *region)
{
    if (region == NULL)
        return 0;
    shki_handle_close(&region->object);
    return 0;
}

int shk_region_data(struct shk_region *region, void **data, size_t *size)
{
    struct shki_member *m;
    int r = region ? shki_enter(&region->object, &m) : SHKI_NO_HANDLE;

    if (r < 0)
        return r;
    if (data)
        *data = region->data;
    if (size)
        *size = region->size;
    return 0;
}

static void describe(const struct shki_image *image, const struct shki_entry *e, const void *shared,
                     struct shk_object_info *info)
{
    const struct shki_region_shared *region = shared;

    (void)image;
    (void)e;
    info->as.region.size = region->size;
    info->as.region.align = region->align;
}

const struct shki_kind shki_region_kind = {
    .number = SHK_KIND_REGION,
    .name = "a region",
    .size = sizeof(struct shki_region_shared),
    .build = build,
    .check = check,
    .describe = describe,
};
