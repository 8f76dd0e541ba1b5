/*
 * Which database: -d URL, -c chimpd.conf, or what the environment and the
 * installed configuration say, in this order.
 */
#ifndef CHIMP_CHIMPCTL_WHERE_H
#define CHIMP_CHIMPCTL_WHERE_H

struct conf;
struct err;

struct where {
	const char *arg_url;  /* -d; NULL = not given */
	const char *arg_conf; /* -c; NULL = not given */
	/* Filled by where_find. */
	char *url;            /* for libpq */
	struct conf *conf;    /* NULL when a URL was given without a file */
	const char *named_by; /* for messages: "-d", "DATABASE_URL", a path */
};

/* Find the URL, and read the configuration if that names it; what where_conf
 * has found stays. */
int where_find(struct where *where, struct err *err);

/*
 * The configuration alone, of -c or the installed one: for what concerns the
 * node. What names a database does not matter.
 */
int where_conf(struct where *where, struct err *err);

void where_done(struct where *where);

#endif
