/*
 * Static files: where no route is, an app's folders are looked at.
 */
#ifndef CHIMP_HTTP_STATIC_H
#define CHIMP_HTTP_STATIC_H

#include "roles/http/request.h"

/* Answer from the folder whose prefix is the longest that fits. False: there
 * is no such file, nor a page that stands for it. */
bool static_answer(struct request *r);

/* Add types that h2o's table does not know, and browsers insist on. */
void static_types(h2o_mimemap_t *types);

#endif
