/* The live plot in a terminal. */
#ifndef DEMOS_SCREEN_H
#define DEMOS_SCREEN_H

#include "window.h"

/* Show it until a key says that it is enough. Returns an exit code. */
int show_on_screen(struct plot *);

#endif
