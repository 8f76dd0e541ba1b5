/*
 * Listen addresses. See address.h.
 */
#include "supervisor/address.h"
#include "common/base/err.h"

#include <stdlib.h>
#include <string.h>

static int
address_parse_unix(const char *path, struct address *address, struct err *err)
{
	if (path[0] != '/')
		return err_set(err,
		    "listen address \"unix:%s\": the path must be absolute",
		    path);
	if (strlen(path) >= sizeof(address->unix_path))
		return err_set(err,
		    "listen address \"unix:%s\": the path is longer than %zu "
		    "bytes, the most that a socket can have",
		    path, sizeof(address->unix_path) - 1);
	memcpy(address->unix_path, path, strlen(path) + 1);
	return 0;
}

/* Digits only, at most 65535. */
static int
address_parse_port(const char *text, struct address *address)
{
	size_t length = strlen(text);

	if (length == 0 || length >= sizeof(address->port) ||
	    strspn(text, "0123456789") != length || atol(text) > 65535)
		return -1;
	memcpy(address->port, text, length + 1);
	return 0;
}

static int
address_parse_host(const char *text, size_t length, struct address *address)
{
	if (length >= 2 && text[0] == '[' && text[length - 1] == ']') {
		text++;
		length -= 2;
	} else if (memchr(text, ':', length) != NULL) {
		return -1; /* a bare v6 address: which colon is the port's? */
	}
	if (length == 0 || length >= sizeof(address->host))
		return -1;
	if (length == 1 && text[0] == '*')
		length = 0;
	memcpy(address->host, text, length);
	address->host[length] = '\0';
	return 0;
}

int
address_parse(const char *text, struct address *address, struct err *err)
{
	const char *colon = strrchr(text, ':');

	memset(address, 0, sizeof(*address));
	if (strncmp(text, "unix:", 5) == 0)
		return address_parse_unix(text + 5, address, err);
	if (colon != NULL && address_parse_port(colon + 1, address) == 0 &&
	    address_parse_host(text, (size_t)(colon - text), address) == 0)
		return 0;
	err_set(err, "listen address \"%s\" cannot be understood", text);
	return err_hint(err, "write \"host:port\", \"[v6]:port\", \"*:port\" "
			     "or \"unix:/path\"");
}
