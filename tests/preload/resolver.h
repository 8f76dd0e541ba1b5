/*
 * A resolver that a test can switch while it runs. See resolver.c.
 */
#ifndef CHIMP_TESTS_PRELOAD_RESOLVER_H
#define CHIMP_TESTS_PRELOAD_RESOLVER_H

#include <stdatomic.h>

extern atomic_int resolver_asked;  /* calls for names of the file */
extern atomic_int resolver_inside; /* of those, not returned yet */

#endif
