/*
 * What boost.cc, which is C++, gives to boost.c. Each returns false, with a reason, when it fails.
 */
#ifndef BENCH_BOOST_H
#define BENCH_BOOST_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

const char *boost_trouble(void);

/* message_queue. It loses its name at once, and is owner_died. NULL: failed. */
void *boost_queue_create(const char *name, unsigned capacity, size_t item);
bool boost_queue_send(void *queue, const void *item, size_t size);
bool boost_queue_receive(void *queue, void *item, size_t size);
void boost_queue_destroy(void *queue);

/* interprocess_mutex and two interprocess_condition around a ring. */
size_t boost_ring_size(unsigned capacity, size_t item);
void boost_ring_create(void *memory, unsigned capacity, size_t item);
void boost_ring_send(void *ring, const void *item);
void boost_ring_receive(void *ring, void *item);

#ifdef __cplusplus
}
#endif

#endif
