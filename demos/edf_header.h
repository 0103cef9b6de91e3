/* The header of a recording, and how much there is of it. For edf.c alone. */
#ifndef DEMOS_EDF_HEADER_H
#define DEMOS_EDF_HEADER_H

#include "edf_field.h"

/* Where the header says how many records there are: 8 bytes. */
enum { EDF_RECORDS = 236 };

/* Read the header of the file that is open. False after a complaint. */
bool edf_read_recording(struct edf *);

/* Read up to size bytes: *got. False after a complaint. */
bool edf_read_at(const struct edf *, void *to, size_t size, size_t at, size_t *got);

/* The number of records: as the field says, -1 if it does not; whole ones in the file. */
int64_t edf_records_said(const unsigned char *field);
int64_t edf_records_there(const struct edf *);

/* What is not as the header says is played as far as it goes, and said. */
void edf_tell_length(const struct edf *);

#endif
