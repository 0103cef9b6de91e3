/* What is seen of a queue on etcd from outside. */
#include "etcd/queue.h"

#include "etcd/sight.h"

#include <string.h>

void shke_queue_look_from_outside(struct shke_txn *t, const char *prefix)
{
    char key[SHKE_KEY_MAX];

    shke_then_get(t, shke_part(key, prefix, ".state"));
    shke_then_count(t, shke_part(key, prefix, "slot/"));
    shke_then_count(t, shke_part(key, prefix, "slot.claim/"));
    shke_then_keys(t, shke_part(key, prefix, "slot.claim/"), 1);
    shke_roles_look(t, prefix);
}

/* How many have been put and taken is counted nowhere: each put would have to write it. */
int shke_queue_tell(struct shke_sight *s, struct shk_object_info *info)
{
    json_object *record = shke_sight_record(s);
    struct shke_kv state, claim = {0};
    int r = shke_sight_kv(s, 0, 0, &state);

    if (r == 0)
        r = shke_sight_kv(s, 3, 0, &claim);
    if (r == 0)
        r = shke_roles_tell(s, 4, info);
    info->as.queue.order = (uint32_t)shke_number(record, "order");
    info->as.queue.capacity = (uint64_t)shke_number(record, "capacity");
    info->as.queue.item_size = (uint64_t)shke_number(record, "item_size");
    info->as.queue.size = (uint64_t)shke_sight_count(s, 1);
    info->as.queue.shut_down =
        state.value && state.length == 4 && memcmp(state.value, "shut", 4) == 0;
    info->as.queue.consumer = shke_sight_member(s, &claim);
    shke_kv_free(&state);
    shke_kv_free(&claim);
    return r;
}
