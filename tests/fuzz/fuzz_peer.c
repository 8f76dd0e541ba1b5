/*
 * Fuzzes networks and what proxies say: the first line is a network, the rest
 * the value of a header.
 *
 * Whatever a header says, what a trusted proxy adds behind it in a header of
 * its own is the client.
 */
#include "common/base/err.h"
#include "common/base/mem.h"
#include "roles/http/peer.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
fuzz_nets(const char *text)
{
	struct err err = {"", ""};
	struct peer_nets *nets = peer_nets_new(&text, 1, &err);
	struct peer peer;

	assert(nets != NULL || err.message[0] != '\0');
	/* An address alone trusts itself. */
	if (nets != NULL && strchr(text, '/') == NULL &&
	    peer_parse(text, strlen(text), &peer))
		assert(peer_trusted(nets, &peer));
	peer_nets_free(&nets);
}

static void
fuzz_address(const char *value, size_t length)
{
	char text[PEER_TEXT_BYTES];
	struct peer peer, again;

	if (!peer_parse(value, length, &peer))
		return;
	peer_text(&peer, text);
	assert(peer_parse(text, strlen(text), &again));
	assert(memcmp(&peer, &again, sizeof(peer)) == 0);
}

static void
fuzz_chain(
    void (*read)(struct peer_chain *chain, const char *value, size_t length),
    const char *value, size_t length, const char *added)
{
	static const char *const trusted[] = {"10.0.0.0/8", "unix"};
	struct err err;
	struct peer_nets *nets = peer_nets_new(trusted, 2, &err);
	struct peer proxy = {.local = true}, client;
	struct peer_chain chain;
	char text[PEER_TEXT_BYTES];

	peer_chain_start(&chain, nets);
	read(&chain, value, length);
	peer_chain_end(&chain, &proxy, &client);
	read(&chain, added, strlen(added));
	peer_chain_end(&chain, &proxy, &client);
	peer_text(&client, text);
	assert(strcmp(text, "192.0.2.1") == 0);
	peer_nets_free(&nets);
}

/* Whatever a client says, what its proxy adds counts. */
static void
fuzz_scheme(const char *value, size_t length)
{
	struct scheme_list list = {0};

	scheme_list_add(&list, value, length);
	for (int behind = 0; behind < 40; behind++)
		assert(scheme_list_at(&list, behind) <= SCHEME_HTTPS);
	scheme_list_add(&list, "https, http", 11);
	assert(scheme_list_at(&list, 1) == SCHEME_HTTPS);
	assert(scheme_list_at(&list, 0) == SCHEME_HTTP);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *value = (const char *)data;
	const char *line = size > 0 ? memchr(data, '\n', size) : NULL;
	size_t n = line != NULL ? (size_t)(line - value) : 0;
	char *net;

	if (line == NULL)
		return 0;
	net = mem_strndup(value, n);
	fuzz_nets(net);
	free(net);
	fuzz_address(value, n);
	value += n + 1;
	size -= n + 1;
	fuzz_scheme(value, size);
	fuzz_chain(
	    peer_chain_forwarded_for, value, size, "192.0.2.1, 10.0.0.7");
	fuzz_chain(
	    peer_chain_forwarded, value, size, "for=192.0.2.1, for=10.0.0.7");
	return 0;
}
