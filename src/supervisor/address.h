/*
 * Listen addresses as the configuration writes them. Pure.
 */
#ifndef CHIMP_SUPERVISOR_ADDRESS_H
#define CHIMP_SUPERVISOR_ADDRESS_H

struct err;

struct address {
	char host[256];      /* name or number; "" = all addresses */
	char port[6];        /* "0" to "65535" */
	char unix_path[108]; /* not "": a Unix socket, host and port unused */
};

/*
 * "host:port", "[v6]:port", "*:port" or "unix:/path". 0, or -1 with an error
 * that quotes the text.
 */
int address_parse(const char *text, struct address *address, struct err *err);

#endif
