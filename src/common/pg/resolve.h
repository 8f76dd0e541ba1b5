/*
 * Looking up the hosts of a connection without blocking the loop (G38).
 *
 * libpq resolves names inside its asynchronous connect and blocks for as long
 * as the resolver does, with every timer and heartbeat of the process. So
 * link.c has the names looked up here first and gives libpq addresses.
 *
 * getaddrinfo runs in a detached thread per name; a name that is on its way
 * already is waited for and not asked again, so that a resolver that hangs
 * costs a process one thread per name of its URL. Nothing is cached.
 */
#ifndef CHIMP_PG_RESOLVE_H
#define CHIMP_PG_RESOLVE_H

#include <stdbool.h>

#include "common/pg/hosts.h"

struct err;
struct loop;
struct pg_resolve;

/*
 * Begin with what libpq would make of `conninfo` and the environment. If
 * there is nothing to wait for (pg_resolve_pending says it), `done` is never
 * called; else it is, from the loop, once, when all names have their answer.
 */
struct pg_resolve *pg_resolve_new(struct loop *loop, const char *conninfo,
    void (*done)(void *arg), void *arg);
bool pg_resolve_pending(const struct pg_resolve *r);

/* No callback comes after it. Look-ups under way end by themselves. Accepts
 * NULL; safe in any callback. */
void pg_resolve_free(struct pg_resolve **r);

/*
 * What to give libpq: all that is known by now, also while some names are
 * pending. The caller frees it with pg_hosts_text_done; NULL texts mean that
 * libpq needs none. -1 if no host is left; the error says of each name why.
 */
int pg_resolve_answer(
    const struct pg_resolve *r, struct pg_hosts_text *text, struct err *err);

#endif
