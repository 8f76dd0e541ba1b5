/*
 * How many connections this node may open at once, for the check against the
 * server's max_connections (roles/prepare.c) and for -T.
 */
#ifndef CHIMP_CONF_CONF_BUDGET_H
#define CHIMP_CONF_CONF_BUDGET_H

#include <stddef.h>
#include <stdint.h>

#include "common/conf/conf_classes.h"

struct conf_budget {
	/* Those that have processes here; the names are the configurations'. */
	struct conf_class *classes;
	size_t n_classes;
	int64_t replacing;   /* one process more of each worker class, and one
			      * more, the largest, of all other roles together:
			      * what supervisor/replace.h keeps to */
	int64_t leaving;     /* drains since an earlier reload */
	int64_t short_lived; /* the children that prepare and reload */
	int64_t total;
};

/* What `conf` may need, processes that replace others included. Free with
 * conf_budget_done. */
void conf_budget(const struct conf *conf, struct conf_budget *budget);

/*
 * The peak on the way from `now` to `next`: what `next` does not want any more
 * stays until everything new serves, and a class that differs counts with the
 * larger number of processes and of connections. Never less than conf_budget
 * of either.
 */
void conf_budget_of_reload(const struct conf *now, const struct conf *next,
    struct conf_budget *budget);
int64_t conf_budget_reload(const struct conf *now, const struct conf *next);

/* Count what drains since an earlier reload, too. */
void conf_budget_leaving(struct conf_budget *budget, int64_t connections);

void conf_budget_done(struct conf_budget *budget);

/* "http 2 x 9 + worker/default 2 x 18 + ... = 95"; the caller frees it. */
char *conf_budget_text(const struct conf_budget *budget);

/* "http", "worker/default"; the caller frees it. */
char *conf_class_label(const struct conf_class *class);

#endif
