/*
 * Listen addresses as the configuration writes them. Pure; for the check of
 * http.listen and for the master, which opens them.
 */
#ifndef CHIMP_BASE_ADDRESS_H
#define CHIMP_BASE_ADDRESS_H

#include <stdbool.h>

struct err;

/* As with nginx, the folder says who may come in, and not the umask of
 * whoever started us. */
#define ADDRESS_MODE 0666

struct address {
	char host[256];      /* name or number; "" = all addresses */
	char port[6];        /* "0" to "65535" */
	char unix_path[108]; /* not "": a Unix socket, host and port unused */
	unsigned mode;       /* of the Unix socket: 0 to 0777 */
	char owner[64];      /* name or number; "" = as it is made */
	char group[64];
	bool tls; /* what comes in speaks TLS */
};

/*
 * "host:port", "[v6]:port", "*:port", or "unix:/path" and then, each behind a
 * blank and optional, "tls" and, of a Unix socket, "mode=0660", "owner=NAME",
 * "group=NAME". 0, or -1 with an error that quotes the text.
 */
int address_parse(const char *text, struct address *address, struct err *err);

/* The same place, whatever the options. */
bool address_same_place(const struct address *a, const struct address *b);

/* The same mode, owner and group. */
bool address_same_rights(const struct address *a, const struct address *b);

#endif
