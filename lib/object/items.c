#include "object/items.h"

#include "base/error.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define BLOCK_OF_STAT 512u /* bytes, see stat(2) */

void shki_items_begin(struct shki_items *l)
{
    struct stat st;

    l->n = l->used = 0;
    l->limit = fstat(l->image->fd, &st) == 0 ? (size_t)st.st_blocks * BLOCK_OF_STAT : 0;
}

/* Room for one more element, in an array that grows. NULL: there is no memory. */
static void *grow(void *array, size_t *room, size_t wanted, size_t size)
{
    size_t more = *room ? *room : 64;
    void *larger;

    if (wanted <= *room)
        return array;
    while (more < wanted)
        more *= 2;
    larger = realloc(array, more * size);
    if (larger)
        *room = more;
    return larger;
}

bool shki_items_add(struct shki_items *l, uint64_t offset, size_t length, int64_t priority)
{
    void *list, *bytes;

    if (length > l->limit - l->used || l->n >= l->limit / SHKI_ITEM_LEAST)
        return false;
    list = grow(l->list, &l->room, l->n + 1, sizeof(*l->list));
    l->list = list ? list : l->list;
    bytes = grow(l->bytes, &l->bytes_room, l->used + length + 1, 1);
    l->bytes = bytes ? bytes : l->bytes;
    l->no_memory = list == NULL || bytes == NULL;
    if (l->no_memory || !shki_image_read(l->image, offset, l->bytes + l->used, length))
        return false;
    l->list[l->n] = (struct shk_item_info){.priority = priority, .length = length};
    l->n++;
    l->used += length;
    return true;
}

void shki_items_drop(struct shki_items *l, size_t n)
{
    size_t bytes = 0;

    n = n < l->n ? n : l->n;
    for (size_t i = 0; i < n; i++)
        bytes += l->list[i].length;
    if (n > 0 && n < l->n) {
        memmove(l->list, l->list + n, (l->n - n) * sizeof(*l->list));
        memmove(l->bytes, l->bytes + bytes, l->used - bytes);
    }
    l->n -= n;
    l->used -= bytes;
}

ssize_t shki_items_end(struct shki_items *l, struct shk_item_info **out)
{
    size_t table = l->n * sizeof(*l->list);
    unsigned char *block = malloc(table + l->used + 1), *bytes;

    if (block == NULL) {
        shki_items_give_up(l);
        return shki_say(-ENOMEM, "out of memory");
    }
    bytes = block + table;
    *out = (struct shk_item_info *)(void *)block;
    if (l->n > 0) {
        memcpy(block, l->list, table);
        memcpy(bytes, l->bytes, l->used);
    }
    for (size_t i = 0; i < l->n; i++) {
        (*out)[i].bytes = bytes;
        bytes += (*out)[i].length;
    }
    shki_items_give_up(l);
    return (ssize_t)l->n;
}

void shki_items_give_up(struct shki_items *l)
{
    free(l->list);
    free(l->bytes);
    l->list = NULL;
    l->bytes = NULL;
}
