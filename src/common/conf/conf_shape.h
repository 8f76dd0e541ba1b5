/*
 * What must hold before libConfuse may see a text.
 *
 * Its scanner accepts silently what people mistype: a missing `}`, an open
 * string, a bare `*`, an unset ${VARIABLE}; it also miscounts lines at
 * comments. This pass refuses the former and blanks the latter.
 */
#ifndef CHIMP_CONF_CONF_SHAPE_H
#define CHIMP_CONF_CONF_SHAPE_H

#include <stddef.h>

struct err;

/*
 * Checks a terminated text and overwrites its comments with blanks. The error
 * begins with "PATH:LINE: ". Unsets environment variables that are empty
 * where the text has a default for them, so that ${VAR:-default} means what it
 * means in a shell.
 */
int conf_shape_check(
    char *text, size_t length, const char *path, struct err *err);

#endif
