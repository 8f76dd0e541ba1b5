/*
 * Who a client is: addresses, networks of trusted proxies, and what these say
 * of whom they speak for (X-Forwarded-For; Forwarded, RFC 7239). Pure.
 */
#ifndef CHIMP_HTTP_PEER_H
#define CHIMP_HTTP_PEER_H

#include <stdbool.h>
#include <stddef.h>

#include "roles/http/scheme.h"

struct err;
struct sockaddr;

#define PEER_IP_BYTES   16
#define PEER_TEXT_BYTES 46 /* INET6_ADDRSTRLEN */

/* An address; IPv4 is kept as ::ffff:a.b.c.d, so that both spellings of one
 * are the same. */
struct peer {
	bool local; /* over a Unix socket: no address, ip is zero */
	unsigned char ip[PEER_IP_BYTES];
};

/* The peer of a socket; what is neither IPv4 nor IPv6 is local. */
void peer_of_sockaddr(const struct sockaddr *sa, struct peer *peer);

/* "192.0.2.1", "2001:db8::1", either with a port ("[2001:db8::1]:80"). */
bool peer_parse(const char *text, size_t length, struct peer *peer);

/* As peer_parse reads it, "unix" for local ones. */
void peer_text(const struct peer *peer, char out[PEER_TEXT_BYTES]);

bool peer_is_v4(const struct peer *peer);

/*
 * Whom a bound counts as one: an IPv4 address, or a /64 of IPv6, which is what
 * a single line of a provider gets. The rest of the address becomes zero.
 */
void peer_site(const struct peer *peer, struct peer *site);

/* --- trusted proxies --- */

struct peer_nets;

/*
 * Of `n` texts: "10.0.0.0/8", "::1" (as with /128), "unix". NULL with an error
 * that quotes what is wrong and why. An IPv6 network shorter than /96 has no
 * IPv4 in it.
 */
struct peer_nets *peer_nets_new(
    const char *const *texts, size_t n, struct err *err);
void peer_nets_free(struct peer_nets **nets);
bool peer_trusted(const struct peer_nets *nets, const struct peer *peer);

/* --- whom they speak for --- */

/* The chain of addresses, from the farthest to the nearest. */
struct peer_chain {
	const struct peer_nets *nets;
	struct peer client;
	bool known;
	enum scheme scheme; /* what Forwarded says with that client, or with
			     * one that it does not name */
	int behind;         /* addresses behind that client's */
};

void peer_chain_start(struct peer_chain *chain, const struct peer_nets *nets);

/* A header's value; call it for each of them in their order. */
void peer_chain_forwarded_for(
    struct peer_chain *chain, const char *value, size_t length);
void peer_chain_forwarded(
    struct peer_chain *chain, const char *value, size_t length);

/*
 * The client of a trusted `proxy`: the last address in the chain that is not
 * trusted; the first if all are. What stands before something that is no
 * address is not believed: then it is whoever passed that on.
 */
void peer_chain_end(const struct peer_chain *chain, const struct peer *proxy,
    struct peer *client);

/*
 * How that client came: X-Forwarded-Proto, if there is any, else what Forwarded
 * says, if that was read. UNKNOWN: nothing, or nothing that can be believed.
 */
enum scheme peer_scheme(
    const struct peer_chain *chain, const struct scheme_list *protos);

#endif
