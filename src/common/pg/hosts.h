/*
 * The hosts of a connection: which names must be looked up before libpq may
 * have them, and the lists that it gets instead. Pure. Used by resolve.c.
 */
#ifndef CHIMP_PG_HOSTS_H
#define CHIMP_PG_HOSTS_H

#include <stdbool.h>
#include <stddef.h>

struct pg_host {
	char *host;  /* a name, a number, a socket's folder; "" = default */
	char *addr;  /* of hostaddr; "" = none */
	char *port;  /* "" = default */
	char *found; /* what a look-up of `host` brought: numeric addresses
		      * with commas between; NULL = nothing so far */
};

struct pg_hosts {
	size_t n; /* 0 = not for us: libpq has words for what is wrong */
	struct pg_host *at;
};

/*
 * From the options host, hostaddr and port as libpq has them: lists with
 * commas, NULL or "" if not given; one port serves all hosts. Lists whose
 * lengths do not fit make n = 0. Free with pg_hosts_done.
 */
void pg_hosts_init(struct pg_hosts *hosts, const char *host,
    const char *hostaddr, const char *port);
void pg_hosts_done(struct pg_hosts *hosts);

/* Is it a name without an address? Socket folders and numbers are not. */
bool pg_host_is_name(const struct pg_host *host);

struct pg_hosts_text {
	char *host;
	char *hostaddr;
	char *port;
};

/*
 * The options again, in the same order: a name with several addresses becomes
 * as many entries, and one that was not found is left out. False, and nothing
 * to free, if no entry is left. Free with pg_hosts_text_done.
 */
bool pg_hosts_expand(const struct pg_hosts *hosts, struct pg_hosts_text *text);
void pg_hosts_text_done(struct pg_hosts_text *text);

#endif
