// Boost.Interprocess: message_queue, and a ring with interprocess_condition, as its documentation
// shows them.
#include "boost.h"

#include <boost/interprocess/ipc/message_queue.hpp>
#include <boost/interprocess/sync/interprocess_condition.hpp>
#include <boost/interprocess/sync/interprocess_mutex.hpp>
#include <boost/interprocess/sync/scoped_lock.hpp>
#include <cstring>
#include <new>
#include <string>

using namespace boost::interprocess;

static std::string trouble;

const char *boost_trouble(void)
{
    return trouble.c_str();
}

void *boost_queue_create(const char *name, unsigned capacity, size_t item)
{
    try {
        message_queue *queue =
            new message_queue(create_only, name, capacity, item, permissions(0600));
        message_queue::remove(name);
        return queue;
    } catch (std::exception &e) {
        trouble = e.what();
        message_queue::remove(name);
        return nullptr;
    }
}

bool boost_queue_send(void *queue, const void *item, size_t size)
{
    try {
        static_cast<message_queue *>(queue)->send(item, size, 0);
        return true;
    } catch (std::exception &e) {
        trouble = e.what();
        return false;
    }
}

bool boost_queue_receive(void *queue, void *item, size_t size)
{
    message_queue::size_type received;
    unsigned priority;

    try {
        static_cast<message_queue *>(queue)->receive(item, size, received, priority);
        return received == size;
    } catch (std::exception &e) {
        trouble = e.what();
        return false;
    }
}

void boost_queue_destroy(void *queue)
{
    delete static_cast<message_queue *>(queue);
}

struct ring {
    interprocess_mutex mutex;
    interprocess_condition not_full, not_empty;
    unsigned head = 0, tail = 0, count = 0, capacity;
    size_t item;

    char *slot(unsigned i)
    {
        return reinterpret_cast<char *>(this + 1) + i * item;
    }
};

size_t boost_ring_size(unsigned capacity, size_t item)
{
    return sizeof(ring) + capacity * item;
}

void boost_ring_create(void *memory, unsigned capacity, size_t item)
{
    ring *r = new (memory) ring;

    r->capacity = capacity;
    r->item = item;
}

void boost_ring_send(void *memory, const void *item)
{
    ring *r = static_cast<ring *>(memory);
    scoped_lock<interprocess_mutex> lock(r->mutex);

    while (r->count == r->capacity)
        r->not_full.wait(lock);
    std::memcpy(r->slot(r->head), item, r->item);
    r->head = (r->head + 1) % r->capacity;
    r->count++;
    r->not_empty.notify_one();
}

void boost_ring_receive(void *memory, void *item)
{
    ring *r = static_cast<ring *>(memory);
    scoped_lock<interprocess_mutex> lock(r->mutex);

    while (r->count == 0)
        r->not_empty.wait(lock);
    std::memcpy(item, r->slot(r->tail), r->item);
    r->tail = (r->tail + 1) % r->capacity;
    r->count--;
    r->not_full.notify_one();
}
