/*
 * Who a client is. See peer.h.
 */
#include "roles/http/peer.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/err.h"
#include "common/base/mem.h"

enum { PEER_V4_BITS = 96 /* of the prefix ::ffff:0:0 */ };

static const unsigned char peer_v4[12] = {[10] = 0xff, [11] = 0xff};

/* --- addresses --- */

bool
peer_is_v4(const struct peer *peer)
{
	return !peer->local && memcmp(peer->ip, peer_v4, sizeof(peer_v4)) == 0;
}

void
peer_of_sockaddr(const struct sockaddr *sa, struct peer *peer)
{
	memset(peer, 0, sizeof(*peer));
	if (sa->sa_family == AF_INET) {
		struct sockaddr_in in;

		memcpy(&in, sa, sizeof(in));
		memcpy(peer->ip, peer_v4, sizeof(peer_v4));
		memcpy(peer->ip + 12, &in.sin_addr, 4);
	} else if (sa->sa_family == AF_INET6) {
		struct sockaddr_in6 in6;

		memcpy(&in6, sa, sizeof(in6));
		memcpy(peer->ip, &in6.sin6_addr, PEER_IP_BYTES);
	} else {
		peer->local = true;
	}
}

/* An address without a port. */
static bool
peer_ip(const char *text, size_t length, struct peer *peer)
{
	char copy[PEER_TEXT_BYTES];

	if (length == 0 || length >= sizeof(copy) ||
	    memchr(text, '\0', length) != NULL)
		return false;
	memcpy(copy, text, length);
	copy[length] = '\0';
	memset(peer, 0, sizeof(*peer));
	if (inet_pton(AF_INET6, copy, peer->ip) == 1)
		return true;
	memcpy(peer->ip, peer_v4, sizeof(peer_v4));
	return inet_pton(AF_INET, copy, peer->ip + 12) == 1;
}

/* RFC 7239, 6.3: digits, or a name that begins with "_". Empty: no port. */
static bool
peer_port(const char *text, size_t length)
{
	if (length == 0)
		return true;
	if (text[0] != ':' || length < 2)
		return false;
	for (size_t i = 1; i < length; i++)
		if (!isalnum((unsigned char)text[i]) &&
		    strchr("._-", text[i]) == NULL)
			return false;
	return isdigit((unsigned char)text[1]) || text[1] == '_';
}

bool
peer_parse(const char *text, size_t length, struct peer *peer)
{
	const char *end;

	if (length > 0 && text[0] == '[') {
		end = memchr(text, ']', length);
		return end != NULL &&
		       memchr(text, ':', (size_t)(end - text)) != NULL &&
		       peer_ip(text + 1, (size_t)(end - text) - 1, peer) &&
		       peer_port(end + 1, length - (size_t)(end - text) - 1);
	}
	end = memchr(text, ':', length);
	if (peer_ip(text, length, peer))
		return true;
	return end != NULL && memchr(text, '.', (size_t)(end - text)) != NULL &&
	       peer_ip(text, (size_t)(end - text), peer) &&
	       peer_port(end, length - (size_t)(end - text));
}

void
peer_text(const struct peer *peer, char out[PEER_TEXT_BYTES])
{
	if (peer->local)
		strcpy(out, "unix");
	else if (peer_is_v4(peer))
		inet_ntop(AF_INET, peer->ip + 12, out, PEER_TEXT_BYTES);
	else
		inet_ntop(AF_INET6, peer->ip, out, PEER_TEXT_BYTES);
}

void
peer_site(const struct peer *peer, struct peer *site)
{
	*site = *peer;
	if (!peer_is_v4(peer))
		memset(site->ip + 8, 0, 8);
}

/* --- networks --- */

struct peer_net {
	struct peer base;
	unsigned bits;
};

struct peer_nets {
	bool local;
	size_t n;
	struct peer_net items[];
};

static bool
peer_in_net(const struct peer_net *net, const struct peer *peer)
{
	unsigned bytes = net->bits / 8, rest = net->bits % 8;

	if (peer->local || (net->bits < PEER_V4_BITS && peer_is_v4(peer)))
		return false;
	if (memcmp(net->base.ip, peer->ip, bytes) != 0)
		return false;
	return rest == 0 ||
	       (net->base.ip[bytes] ^ peer->ip[bytes]) >> (8 - rest) == 0;
}

/* Whether anything is set behind the prefix. */
static bool
peer_net_exact(const struct peer_net *net)
{
	for (unsigned bit = net->bits; bit < 8 * PEER_IP_BYTES; bit++)
		if ((net->base.ip[bit / 8] & (0x80 >> bit % 8)) != 0)
			return false;
	return true;
}

/* The prefix's length behind "/"; -1 if it is none. */
static int
peer_prefix(const char *text, int max)
{
	size_t digits = strspn(text, "0123456789");
	int bits;

	if (digits == 0 || digits > 3 || text[digits] != '\0' ||
	    (text[0] == '0' && digits > 1))
		return -1;
	bits = atoi(text);
	return bits <= max ? bits : -1;
}

static int
peer_net_parse(const char *text, struct peer_net *net, struct err *err)
{
	size_t length = strcspn(text, "/");
	bool v4 = memchr(text, ':', length) == NULL;
	int bits = v4 ? 32 : 128;

	if (!peer_ip(text, length, &net->base))
		return err_set(err,
		    "\"%s\" is neither an address nor a network like "
		    "\"10.0.0.0/8\" nor \"unix\"",
		    text);
	if (text[length] == '/')
		bits = peer_prefix(text + length + 1, bits);
	if (bits < 0)
		return err_set(err, "\"%s\": behind the / stands 0 to %d", text,
		    v4 ? 32 : 128);
	net->bits = (unsigned)bits + (v4 ? PEER_V4_BITS : 0);
	if (!peer_net_exact(net)) {
		err_set(err, "\"%s\" has bits behind its first %d", text, bits);
		return err_hint(err, "write a network by its first address");
	}
	return 0;
}

struct peer_nets *
peer_nets_new(const char *const *texts, size_t n, struct err *err)
{
	struct peer_nets *nets =
	    mem_zalloc(sizeof(*nets) + n * sizeof(nets->items[0]));

	for (size_t i = 0; i < n; i++) {
		if (strcmp(texts[i], "unix") == 0) {
			nets->local = true;
		} else if (peer_net_parse(
			       texts[i], &nets->items[nets->n++], err) != 0) {
			free(nets);
			return NULL;
		}
	}
	return nets;
}

void
peer_nets_free(struct peer_nets **nets)
{
	mem_free(nets);
}

bool
peer_trusted(const struct peer_nets *nets, const struct peer *peer)
{
	if (peer->local)
		return nets->local;
	for (size_t i = 0; i < nets->n; i++)
		if (peer_in_net(&nets->items[i], peer))
			return true;
	return false;
}

/* --- chains --- */

void
peer_chain_start(struct peer_chain *chain, const struct peer_nets *nets)
{
	memset(chain, 0, sizeof(*chain));
	chain->nets = nets;
}

/* One more, nearer than those before; NULL: no address. To keep the last that
 * is not trusted is the same as to go from the right until there is one. */
static void
peer_chain_add(
    struct peer_chain *chain, const struct peer *peer, enum scheme scheme)
{
	if (peer != NULL && chain->known && peer_trusted(chain->nets, peer)) {
		chain->behind++;
		return;
	}
	chain->known = peer != NULL;
	if (peer != NULL)
		chain->client = *peer;
	chain->scheme = scheme;
	chain->behind = 0;
}

void
peer_chain_end(const struct peer_chain *chain, const struct peer *proxy,
    struct peer *client)
{
	*client = chain->known ? chain->client : *proxy;
}

enum scheme
peer_scheme(const struct peer_chain *chain, const struct scheme_list *protos)
{
	return protos->n > 0 ? scheme_list_at(protos, chain->behind)
			     : chain->scheme;
}

static bool
peer_is_blank(char c)
{
	return c == ' ' || c == '\t';
}

void
peer_chain_forwarded_for(
    struct peer_chain *chain, const char *value, size_t length)
{
	const char *end = value + length;

	while (value < end) {
		const char *comma = memchr(value, ',', (size_t)(end - value));
		const char *stop = comma != NULL ? comma : end;
		const char *next = comma != NULL ? comma + 1 : end;
		struct peer peer;

		while (value < stop && peer_is_blank(*value))
			value++;
		while (stop > value && peer_is_blank(stop[-1]))
			stop--;
		/* RFC 9110, 5.6.1: a list may have empty elements. */
		if (stop > value)
			peer_chain_add(chain,
			    peer_parse(value, (size_t)(stop - value), &peer)
				? &peer
				: NULL,
			    SCHEME_UNKNOWN);
		value = next;
	}
}

/* --- Forwarded --- */

struct peer_reader {
	const char *at;
	const char *end;
};

static void
peer_skip_blanks(struct peer_reader *r)
{
	while (r->at < r->end && peer_is_blank(*r->at))
		r->at++;
}

static bool
peer_accept(struct peer_reader *r, char c)
{
	if (r->at == r->end || *r->at != c)
		return false;
	r->at++;
	return true;
}

/* RFC 9110, 5.6.2, and what addresses have that should have been quoted. */
static size_t
peer_token(struct peer_reader *r)
{
	const char *start = r->at;

	while (r->at < r->end && (unsigned char)*r->at > ' ' &&
	       strchr(",;=\"\x7f", *r->at) == NULL)
		r->at++;
	return (size_t)(r->at - start);
}

/* The longest value that can be an address fits; others are cut, and none. */
struct peer_value {
	char text[64];
	size_t length;
};

static void
peer_value_add(struct peer_value *value, char c)
{
	if (value->length < sizeof(value->text))
		value->text[value->length++] = c;
}

static bool
peer_quoted(struct peer_reader *r, struct peer_value *value)
{
	while (r->at < r->end && *r->at != '"') {
		if (*r->at == '\\' && ++r->at == r->end)
			return false;
		peer_value_add(value, *r->at++);
	}
	return peer_accept(r, '"');
}

/* What one proxy says of one client. */
struct peer_element {
	int n_for;
	bool known; /* for= is an address */
	struct peer peer;
	int n_proto;
	enum scheme scheme;
};

/* Of one name; of what stands twice nobody knows which is meant. */
static void
peer_element_add(struct peer_element *element, const char *name, size_t n,
    const char *text, size_t length)
{
	if (n == 3 && strncasecmp(name, "for", 3) == 0) {
		bool good = peer_parse(text, length, &element->peer);

		element->known = element->n_for++ == 0 && good;
	} else if (n == 5 && strncasecmp(name, "proto", 5) == 0) {
		element->scheme = element->n_proto++ == 0
				      ? scheme_parse(text, length)
				      : SCHEME_UNKNOWN;
	}
}

/* name=value: false if it is none. */
static bool
peer_pair(struct peer_reader *r, struct peer_element *element)
{
	struct peer_value value = {.length = 0};
	const char *name = r->at, *text;
	size_t n = peer_token(r), length;

	if (n == 0 || !peer_accept(r, '='))
		return false;
	text = r->at;
	if (peer_accept(r, '"')) {
		if (!peer_quoted(r, &value))
			return false;
		text = value.text;
		length = value.length;
	} else {
		length = peer_token(r);
	}
	peer_element_add(element, name, n, text, length);
	return true;
}

/* False if it is malformed. */
static bool
peer_element_read(struct peer_reader *r, struct peer_element *element)
{
	do {
		peer_skip_blanks(r);
		if (!peer_pair(r, element))
			return false;
		peer_skip_blanks(r);
	} while (peer_accept(r, ';'));
	return true;
}

void
peer_chain_forwarded(struct peer_chain *chain, const char *value, size_t length)
{
	struct peer_reader r = {value, value + length};

	for (;;) {
		struct peer_element element = {.known = false};
		bool good;

		peer_skip_blanks(&r);
		if (peer_accept(&r, ','))
			continue;
		if (r.at == r.end)
			return;
		good = peer_element_read(&r, &element);
		peer_chain_add(chain,
		    good && element.known ? &element.peer : NULL,
		    good ? element.scheme : SCHEME_UNKNOWN);
		if (r.at == r.end || peer_accept(&r, ','))
			continue;
		/* Not even where the next one begins is sure: a client's quote
		 * may have swallowed what a proxy added. A proxy's own list may
		 * be in a header of its own, which is read afresh. */
		peer_chain_add(chain, NULL, SCHEME_UNKNOWN);
		return;
	}
}
