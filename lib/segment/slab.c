#include "segment/slab.h"

#include <pthread.h>
#include <stdalign.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif
#define PART_SIZE (UINT64_C(16) << 10) /* bytes that are mapped at a time */

struct slot {
    alignas(64) unsigned char used[SHKI_SLAB_SLOT];
    struct slot *next; /* while it is free */
};

struct part {
    struct part *next;
    struct slot *slots;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* of the following; acquired last */
static struct part *parts;
static struct slot *free_slots;

static void free_part(struct part *p)
{
    for (size_t i = 0; i < PART_SIZE / sizeof(struct slot); i++) {
        p->slots[i].next = free_slots;
        free_slots = &p->slots[i];
    }
}

/* With the mutex. */
static bool add_part(void)
{
    struct part *p = malloc(sizeof(*p));
    void *slots;

    if (p == NULL)
        return false;
    slots = mmap(NULL, PART_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (slots == MAP_FAILED) {
        free(p);
        return false;
    }
    madvise(slots, PART_SIZE, MADV_WIPEONFORK); /* kernels before 4.14 do without */
    *p = (struct part){parts, slots};
    parts = p;
    free_part(p);
    return true;
}

void *shki_slab_allocate(void)
{
    struct slot *slot = NULL;

    pthread_mutex_lock(&mutex);
    if (free_slots || add_part()) {
        slot = free_slots;
        free_slots = slot->next;
        memset(slot, 0, sizeof(*slot));
    }
    pthread_mutex_unlock(&mutex);
    return slot ? slot->used : NULL;
}

void shki_slab_free(void *used)
{
    struct slot *slot = used;

    pthread_mutex_lock(&mutex);
    slot->next = free_slots;
    free_slots = slot;
    pthread_mutex_unlock(&mutex);
}

void shki_slab_before_fork(void)
{
    pthread_mutex_lock(&mutex);
}

void shki_slab_after_fork_in_parent(void)
{
    pthread_mutex_unlock(&mutex);
}

void shki_slab_after_fork_in_child(void)
{
    free_slots = NULL;
    for (struct part *p = parts; p; p = p->next)
        free_part(p);
    pthread_mutex_unlock(&mutex);
}
