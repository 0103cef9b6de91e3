#include "wait/park.h"

bool shki_sleep_on(sem_t *s, const struct timespec *until)
{
    return sem_clockwait(s, CLOCK_MONOTONIC, until) == 0;
}

bool shki_park(struct shki_membership *m, const struct timespec *until)
{
    return shki_sleep_on(&m->record->park, until);
}

void shki_unpark(struct shk_segment *s, uint32_t member_index)
{
    struct shki_member *m = shki_member_at(s, member_index);

    if (m)
        sem_post(&m->park);
}
