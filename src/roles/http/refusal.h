/*
 * What h2o refuses by itself, before a handler sees it (a body over body_max,
 * a broken length), in the form of all other errors: problem+json.
 */
#ifndef CHIMP_HTTP_REFUSAL_H
#define CHIMP_HTTP_REFUSAL_H

#include <h2o.h>

/* `fallback` is where h2o sends requests that have met no handler. */
void refusal_register(h2o_pathconf_t *fallback);

#endif
