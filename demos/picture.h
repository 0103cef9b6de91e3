/* Pictures, and plots in a window of the window system: both are made by gnuplot. */
#ifndef DEMOS_PICTURE_H
#define DEMOS_PICTURE_H

#include "window.h"

/* Show it in a window of gnuplot's, until that is closed. Returns an exit code. */
int show_in_window(struct plot *);

/*
 * Have gnuplot make a picture of the window. The file appears whole or not at all; it is a .png,
 * .svg or .pdf. Returns whether it is there; if not, message says why.
 */
bool make_picture(const struct plot *, const char *file, char *message, size_t size);

/* Is it the name of a file that make_picture() can make? */
bool is_picture(const char *file);

#endif
