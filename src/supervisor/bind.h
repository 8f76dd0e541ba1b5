/*
 * Opening one listening socket, for listen.c.
 */
#ifndef CHIMP_SUPERVISOR_BIND_H
#define CHIMP_SUPERVISOR_BIND_H

#include <netdb.h>
#include <sys/stat.h>

struct address;
struct err;

/* The descriptor, not blocking and closed on exec; -1 with errno. */
int bind_tcp(const struct addrinfo *ai);

/*
 * The same of a Unix socket, -1 with an error. What a killed chimpd left there
 * is replaced, nothing else. Nobody can connect before the rights are set. The
 * file as it was made, before that, is in *made.
 */
int bind_unix(
    const struct address *address, struct stat *made, struct err *err);

/* Give a Unix socket's file the address's mode, owner and group, or those that
 * it was made with. */
int bind_unix_rights(
    const struct address *address, const struct stat *made, struct err *err);

/* "cannot listen on NAME: ..." of errno, with what to do; returns -1. */
int bind_refused(const char *name, struct err *err);

#endif
