/*
 * The h2o backend of common/base/loop.h: libpq and h2o share one loop.
 */
#ifndef CHIMP_HTTP_LOOP_H2O_H
#define CHIMP_HTTP_LOOP_H2O_H

#include <h2o.h>

#include "common/base/loop.h"

/* Made after fork; the http role's loop_new. */
struct loop *loop_h2o_new(void);

/* h2o's own loop inside, for its contexts and sockets. */
h2o_loop_t *loop_h2o_base(struct loop *loop);

#endif
