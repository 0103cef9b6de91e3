/*
 * Text of doubtful origin: UTF-8 characters, and copies that can be shown. Source: RFC 3629.
 */
#ifndef SHKI_UTF8_H
#define SHKI_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/*
 * The length of the character at s, where n bytes are left, at least one; 0: not valid (overlong,
 * surrogate, beyond U+10FFFF).
 */
size_t shki_utf8_length(const unsigned char *s, size_t n);

/* Whether it is C0, DEL, or C1 (U+0080 to U+009F, which some terminals obey). */
bool shki_utf8_is_control(const unsigned char *s, size_t length);

/*
 * Copy a label, terminated or `length` bytes long: at most `size` - 1 bytes of it, with '?' for
 * each byte that is no character and for each control character.
 */
void shki_copy_label(char *to, size_t size, const char *from, size_t length);

#endif
