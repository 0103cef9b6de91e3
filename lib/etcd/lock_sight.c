/* A lock on etcd as it is seen from outside. */
#include "etcd/lock.h"
#include "etcd/sight.h"

void shke_lock_sight_look(struct shke_txn *t, const char *prefix)
{
    char key[SHKE_KEY_MAX];

    shke_then_get(t, shke_part(key, prefix, "holder"));
    shke_then_get(t, shke_part(key, prefix, "held"));
}

/* How often its holder has acquired it is known to that thread alone. */
int shke_lock_sight_tell(struct shke_sight *s, struct shk_object_info *info)
{
    struct shke_kv holder, held = {0};
    int r = shke_sight_kv(s, 0, 0, &holder);

    if (r == 0)
        r = shke_sight_kv(s, 1, 0, &held);
    info->holder = shke_sight_member(s, &holder);
    info->held = info->holder ? shke_sight_held(&holder) : 0;
    info->as.lock.recursive = shke_number(shke_sight_record(s), "recursive") != 0;
    info->as.lock.depth = holder.create != 0;
    info->as.lock.orphaned = held.create != 0 && holder.create == 0;
    info->as.lock.no_deadlock_check = 1;
    shke_kv_free(&holder);
    shke_kv_free(&held);
    return r;
}
