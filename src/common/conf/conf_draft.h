/*
 * A struct conf in the making, which still knows where everything stood.
 * Built by conf_build.c, judged and completed by conf_check*.c.
 */
#ifndef CHIMP_CONF_CONF_DRAFT_H
#define CHIMP_CONF_CONF_DRAFT_H

#include "common/conf/conf.h"
#include "common/conf/conf_node.h"

struct conf_mark {
	const void *base; /* a struct of conf.h */
	const struct conf_node *node;
};

struct conf_draft {
	struct conf *conf;
	struct conf_mark *marks;
	size_t n_marks;
};

/* Values of the texts; each is checked on its own. */
int conf_build(struct conf_draft *draft, struct arena *arena,
    const struct conf_node *root, struct err *err);

/* The rules between values; resolves mode, url, handlers and the kinds of steps
 * in place. */
int conf_check(struct conf_draft *draft, struct err *err);
int conf_check_database(struct conf_draft *draft, struct err *err);
int conf_check_routes(struct conf_draft *draft, struct err *err);
int conf_check_collections(const struct conf_draft *draft, struct err *err);
int conf_check_handlers(struct conf_draft *draft, struct err *err);
int conf_check_workflows(struct conf_draft *draft, struct err *err);
int conf_check_tls(struct conf_draft *draft, struct err *err);
int conf_check_statics(const struct conf_draft *draft, struct err *err);
int conf_check_cors(const struct conf_draft *draft, struct err *err);

/* The node that a struct was made of. */
const struct conf_node *conf_draft_node(
    const struct conf_draft *draft, const void *base);

/* As conf_node_err, for a struct of the draft. Always returns -1. */
int conf_draft_err(const struct conf_draft *draft, const void *base,
    const char *key, struct err *err, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));

/* Letters, digits, _ and - in segments with dots between, at most `max`
 * bytes. */
bool conf_name_valid(const char *name, size_t max);

/* "schema.function" of letters, digits, _ and $. */
bool conf_function_valid(const char *sql);

/* A name, or "*", or a name whose last segment is "*". */
bool conf_pattern_valid(const char *pattern);

/*
 * "METHOD /path/{param}". Writes the shape, where every parameter is {}, to
 * `shape` (a buffer as large as the pattern + 1) or sets a reason.
 */
int conf_route_shape(const char *pattern, char *shape, struct err *err);

#endif
