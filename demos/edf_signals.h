/* Which signals of a recording are played. For edf.c alone. */
#ifndef DEMOS_EDF_SIGNALS_H
#define DEMOS_EDF_SIGNALS_H

#include "edf_field.h"

/* Choose the signals, and find their scales: see edf_begin(). Returns an exit code. */
int edf_take_signals(struct edf *, const char *names);

#endif
