/* The items that wait in an object, read from outside. */
#include "object/items.h"

#include "base/error.h"
#include "base/name.h"
#include "inspect/snapshot.h"
#include "kinds.h"
#include "object/remote.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool is_named(const struct shki_entry *e, const char *name)
{
    return shki_snapshot_is_live(e) && strnlen(e->name, sizeof(e->name)) == strlen(name) &&
           memcmp(e->name, name, strlen(name)) == 0;
}

/* The entry of that name: its index, or -1. */
static int64_t find_entry(const struct shki_image *r, const char *name, struct shki_entry *e)
{
    struct shki_entry entries[SHKI_IMAGE_BATCH];

    for (uint32_t i = 0, n; (n = shki_image_entries(r, i, entries)) > 0; i += n)
        for (uint32_t k = 0; k < n; k++)
            if (is_named(&entries[k], name)) {
                *e = entries[k];
                return i + k;
            }
    return -1;
}

/* The object was there all the time: so what was read is its own, and not that of its successor. */
static bool is_still_there(const struct shki_image *r, uint32_t index, const struct shki_entry *e)
{
    struct shki_entry now;

    return shki_image_entry(r, index, &now) && shki_snapshot_is_live(&now) &&
           now.serial == e->serial;
}

static int read_items(const struct shki_image *r, const char *segment, const char *name,
                      struct shki_items *items)
{
    const struct shki_kind *kind;
    struct shki_entry e;
    int64_t index = find_entry(r, name, &e);
    void *shared;
    int error;

    if (index < 0)
        return shki_fail(-ENOENT, "there is no object %s in segment /%s", name, segment);
    kind = shki_kind(e.kind);
    if (kind == NULL || kind->items == NULL)
        return shki_fail(-EPROTOTYPE, "%s/%s is %s, and has no items", segment, name,
                         shki_kind_name(kind));
    shared = aligned_alloc(64, shki_round_up(kind->size, 64));
    if (shared == NULL)
        return shki_say(-ENOMEM, "out of memory");
    if (!shki_image_has(r, &e, kind->size) || !shki_image_read(r, e.offset, shared, kind->size))
        error = shki_fail(-EPROTO, "%s/%s is damaged: it lies outside its segment", segment, name);
    else
        error = kind->items(r, &e, shared, items);
    if (error != -ENOMEM && !is_still_there(r, (uint32_t)index, &e))
        error = shki_fail(-ENOENT, "%s/%s has been removed", segment, name);
    free(shared);
    return error;
}

static ssize_t list_elsewhere(const char *segment, const char *queue, size_t max,
                              struct shk_item_info **list)
{
    const struct shki_remote_library *library;
    int r = shki_remote_load(&library);

    return r < 0 ? r : library->list_items(segment, queue, max, list);
}

ssize_t shk_item_list(const char *segment, const char *queue, size_t max,
                      struct shk_item_info **list)
{
    struct shki_items items = {.max = max};
    struct shki_image r;
    ssize_t n;

    if (list == NULL)
        return shki_say(-EINVAL, "the pointer to the list is NULL");
    *list = NULL;
    n = shki_check_name("the object's name", queue, SHK_NAME_MAX);
    if (n == 0 && shki_remote_is_name(segment))
        return list_elsewhere(segment, queue, max, list);
    if (n == 0)
        n = shki_segment_name(segment, &segment);
    if (n == 0)
        n = shki_image_open(&r, segment);
    if (n < 0)
        return n;
    items.image = &r;
    n = read_items(&r, segment, queue, &items);
    if (n < 0)
        shki_items_give_up(&items);
    else
        n = shki_items_end(&items, list);
    shki_image_close(&r);
    return n;
}
