/* The producers and consumers of an object on etcd as they are seen from outside. */
#include "etcd/roles.h"
#include "etcd/sight.h"

#include <stdio.h>

void shke_roles_look(struct shke_txn *t, const char *prefix)
{
    char key[SHKE_KEY_MAX], part[16];

    for (unsigned side = 0; side < SHKI_SIDES; side++) {
        char letter = side == SHKI_PRODUCERS ? 'p' : 'c';

        snprintf(part, sizeof(part), ".role.line/%c", letter);
        shke_then_get_key(t, shke_part(key, prefix, part));
        snprintf(part, sizeof(part), ".role/%c/", letter);
        shke_then_get_all(t, shke_part(key, prefix, part));
        snprintf(part, sizeof(part), ".role.had/%c/", letter);
        shke_then_count(t, shke_part(key, prefix, part));
    }
}

static int tell_side(struct shke_sight *s, unsigned n, unsigned role, struct shk_object_info *info,
                     uint32_t *count, uint32_t *state)
{
    size_t living = shke_sight_n(s, n + 1);
    struct shke_kv kv;
    int r = shke_sight_kv(s, n, 0, &kv);

    *count = (uint32_t)living;
    *state = kv.create == 0                   ? SHK_LINE_NONE
             : living > 0                     ? SHK_LINE_OPEN
             : shke_sight_count(s, n + 2) > 0 ? SHK_LINE_BROKEN
                                              : SHK_LINE_CLOSED;
    shke_kv_free(&kv);
    for (size_t i = 0; r == 0 && i < living; i++) {
        r = shke_sight_kv(s, n + 1, i, &kv);
        if (r == 0)
            r = shke_sight_add_role(s, &kv, info->serial, role, 0);
        shke_kv_free(&kv);
    }
    return r;
}

int shke_roles_tell(struct shke_sight *s, unsigned n, struct shk_object_info *info)
{
    int r = tell_side(s, n, SHK_PRODUCER, info, &info->producers, &info->producer_line);

    return r < 0 ? r
                 : tell_side(s, n + SHKE_ROLES_LOOKS / 2, SHK_CONSUMER, info, &info->consumers,
                             &info->consumer_line);
}
