/*
 * Damage to the bytes of a segment: what an accident or an attacker would write, rather than noise.
 */
#ifndef TESTS_FUZZ_DAMAGE_H
#define TESTS_FUZZ_DAMAGE_H

#include <stddef.h>
#include <stdint.h>

/*
 * Change some bytes in place, always the same for a seed; seldom cut it short. Returns the size,
 * which is never more than before.
 */
size_t damage(uint8_t *bytes, size_t size, uint64_t seed);

/*
 * How long the file is that begins with these bytes: as the header says it, where that can be; the
 * rest of it is zero.
 */
uint64_t file_size(const uint8_t *bytes, size_t size);

#endif
