/* A semaphore on etcd as it is seen from outside: its permits, and what holds them. */
#include "etcd/semaphore.h"
#include "etcd/sight.h"

#include <stdlib.h>

void shke_semaphore_sight_look(struct shke_txn *t, const char *prefix)
{
    char key[SHKE_KEY_MAX];

    shke_then_get(t, shke_part(key, prefix, "value"));
    shke_then_get_all(t, shke_part(key, prefix, "held/"));
}

static int tell_holder(struct shke_sight *s, size_t i, int64_t *left, struct shk_object_info *info)
{
    const size_t most = sizeof(info->as.semaphore.holders) / sizeof(info->as.semaphore.holders[0]);
    struct shke_kv held;
    json_object *value;
    int64_t n = 0, pid = 0;
    int r = shke_sight_kv(s, 1, i, &held);

    value = r == 0 ? shke_parse(&held, json_type_object) : NULL;
    if (value) {
        n = shke_number(value, "n");
        pid = shke_number(value, "pid");
    }
    json_object_put(value);
    if (n > 0 && n <= INT32_MAX) {
        *left -= n;
        if (info->as.semaphore.n_holders < most) {
            info->as.semaphore.holders[info->as.semaphore.n_holders].pid = (int32_t)pid;
            info->as.semaphore.holders[info->as.semaphore.n_holders].permits = (uint32_t)n;
        }
        info->as.semaphore.n_holders++;
        r = shke_sight_add_role(s, &held, info->serial, 0, (uint32_t)n);
    }
    shke_kv_free(&held);
    return r;
}

int shke_semaphore_sight_tell(struct shke_sight *s, struct shk_object_info *info)
{
    json_object *record = shke_sight_record(s);
    int64_t left = shke_number(record, "value"), max = shke_number(record, "max");
    bool owners = shke_number(record, "owners") != 0;
    struct shke_kv value;
    int r = shke_sight_kv(s, 0, 0, &value);

    if (r == 0 && !owners && value.value)
        left = strtoll((const char *)value.value, NULL, 10);
    shke_kv_free(&value);
    for (size_t i = 0; r == 0 && owners && i < shke_sight_n(s, 1); i++)
        r = tell_holder(s, i, &left, info);
    info->as.semaphore.value = left < 0 || left > INT32_MAX ? 0 : (uint32_t)left;
    info->as.semaphore.max = max < 1 || max > INT32_MAX ? INT32_MAX : (uint32_t)max;
    info->as.semaphore.owners = owners;
    return r;
}
