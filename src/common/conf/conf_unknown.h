/*
 * What to say about a key that its section does not know: the section
 * that it belongs to, else the nearest right name; and all names as a hint.
 */
#ifndef CHIMP_CONF_CONF_UNKNOWN_H
#define CHIMP_CONF_CONF_UNKNOWN_H

#include "common/conf/conf_keys.h"

struct err;

void conf_unknown_key(const struct conf_section *section, const char *name,
    const char *where, struct err *err);

#endif
