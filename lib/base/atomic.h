/*
 * C11 atomics with their order in the name, as Linux and Concurrency Kit write them. An operation
 * that orders something has a label, which its partner repeats. A relaxed one says why that is
 * enough. The name of a compare-exchange says the order of its success. Its failure is relaxed;
 * with acq_rel the failure is an acquire.
 */
#ifndef SHKI_ATOMIC_H
#define SHKI_ATOMIC_H

#include <stdatomic.h>

#define load_relaxed(at) atomic_load_explicit(at, memory_order_relaxed)
#define load_acquire(at) atomic_load_explicit(at, memory_order_acquire)
#define load_seq_cst(at) atomic_load_explicit(at, memory_order_seq_cst)

#define store_relaxed(at, value) atomic_store_explicit(at, value, memory_order_relaxed)
#define store_release(at, value) atomic_store_explicit(at, value, memory_order_release)

#define exchange_relaxed(at, value) atomic_exchange_explicit(at, value, memory_order_relaxed)

#define fetch_add_relaxed(at, n) atomic_fetch_add_explicit(at, n, memory_order_relaxed)
#define fetch_add_release(at, n) atomic_fetch_add_explicit(at, n, memory_order_release)
#define fetch_add_seq_cst(at, n) atomic_fetch_add_explicit(at, n, memory_order_seq_cst)
#define fetch_sub_relaxed(at, n) atomic_fetch_sub_explicit(at, n, memory_order_relaxed)
#define fetch_sub_acq_rel(at, n) atomic_fetch_sub_explicit(at, n, memory_order_acq_rel)

#define fetch_or_relaxed(at, bits)  atomic_fetch_or_explicit(at, bits, memory_order_relaxed)
#define fetch_or_acquire(at, bits)  atomic_fetch_or_explicit(at, bits, memory_order_acquire)
#define fetch_or_release(at, bits)  atomic_fetch_or_explicit(at, bits, memory_order_release)
#define fetch_and_acquire(at, bits) atomic_fetch_and_explicit(at, bits, memory_order_acquire)
#define fetch_and_release(at, bits) atomic_fetch_and_explicit(at, bits, memory_order_release)

#define compare_exchange(at, expected, value, order, failure) \
    atomic_compare_exchange_strong_explicit(at, expected, value, order, failure)
#define compare_exchange_weak(at, expected, value, order) \
    atomic_compare_exchange_weak_explicit(at, expected, value, order, memory_order_relaxed)

#define compare_exchange_relaxed(at, expected, value) \
    compare_exchange(at, expected, value, memory_order_relaxed, memory_order_relaxed)
#define compare_exchange_acq_rel(at, expected, value) \
    compare_exchange(at, expected, value, memory_order_acq_rel, memory_order_acquire)
#define compare_exchange_seq_cst(at, expected, value) \
    compare_exchange(at, expected, value, memory_order_seq_cst, memory_order_relaxed)
#define compare_exchange_weak_relaxed(at, expected, value) \
    compare_exchange_weak(at, expected, value, memory_order_relaxed)
#define compare_exchange_weak_release(at, expected, value) \
    compare_exchange_weak(at, expected, value, memory_order_release)

#define likely(condition)   __builtin_expect(!!(condition), 1)
#define unlikely(condition) __builtin_expect(!!(condition), 0)

#endif
