/*
 * Listen addresses. See address.h.
 */
#include "common/base/address.h"
#include "common/base/err.h"

#include <stdlib.h>
#include <string.h>

/* Copy `length` bytes of text; -1 if there are none or too many. */
static int
address_copy(char *to, size_t size, const char *text, size_t length)
{
	if (length == 0 || length >= size)
		return -1;
	memcpy(to, text, length);
	to[length] = '\0';
	return 0;
}

/* Octal, three digits or four: 660 and 0660, but nobody means 66. */
static int
address_parse_mode(const char *text, size_t length, struct address *address)
{
	if (length == 4 && *text == '0') {
		text++;
		length--;
	}
	if (length != 3 || strspn(text, "01234567") < length)
		return -1;
	address->mode = (unsigned)strtoul(text, NULL, 8);
	return 0;
}

/* One "name=value" of `length` bytes. */
static int
address_parse_option(
    const char *text, size_t length, struct address *address, struct err *err)
{
	int rc;

	if (length == 3 && strncmp(text, "tls", 3) == 0) {
		address->tls = true;
		return 0;
	}
	if (address->unix_path[0] == '\0') {
		err_set(err, "\"%.*s\" is no option of a TCP socket",
		    (int)length, text);
		return err_hint(err,
		    "its only option is tls; only a Unix socket "
		    "has others");
	}
	if (strncmp(text, "mode=", 5) == 0)
		rc = address_parse_mode(text + 5, length - 5, address);
	else if (strncmp(text, "owner=", 6) == 0)
		rc = address_copy(address->owner, sizeof(address->owner),
		    text + 6, length - 6);
	else if (strncmp(text, "group=", 6) == 0)
		rc = address_copy(address->group, sizeof(address->group),
		    text + 6, length - 6);
	else
		rc = 1;
	if (rc == 0)
		return 0;
	err_set(err,
	    rc > 0 ? "\"%.*s\" is no option of a socket"
		   : "\"%.*s\" has no good value",
	    (int)length, text);
	return err_hint(err, "the options of a Unix socket are tls, "
			     "mode=0660, owner=NAME and group=NAME");
}

static int
address_parse_options(
    const char *text, struct address *address, struct err *err)
{
	for (;;) {
		size_t length;

		text += strspn(text, " \t");
		length = strcspn(text, " \t");
		if (length == 0)
			return 0;
		if (address_parse_option(text, length, address, err) != 0)
			return -1;
		text += length;
	}
}

static int
address_parse_unix(const char *path, struct address *address, struct err *err)
{
	size_t length = strcspn(path, " \t");

	if (path[0] != '/')
		return err_set(err, "the path of a socket must be absolute");
	if (address_copy(address->unix_path, sizeof(address->unix_path), path,
		length) != 0)
		return err_set(err, "the path of a socket ends at %zu bytes",
		    sizeof(address->unix_path) - 1);
	return address_parse_options(path + length, address, err);
}

/* Digits only, at most 65535; then options. */
static int
address_parse_port(const char *text, struct address *address, struct err *err)
{
	size_t length = strcspn(text, " \t");

	if (strspn(text, "0123456789") == length && atol(text) <= 65535 &&
	    address_copy(address->port, sizeof(address->port), text, length) ==
		0)
		return address_parse_options(text + length, address, err);
	return err_set(err, "the port must be from 1 to 65535");
}

static int
address_parse_host(
    const char *text, size_t length, struct address *address, struct err *err)
{
	if (length >= 2 && text[0] == '[' && text[length - 1] == ']') {
		text++;
		length -= 2;
	} else if (memchr(text, ':', length) != NULL) {
		/* Which colon is the port's? */
		return err_set(err, "an IPv6 address stands in brackets: "
				    "\"[::1]:3000\"");
	}
	if (length == 1 && *text == '*')
		return 0;
	if (address_copy(address->host, sizeof(address->host), text, length) !=
	    0)
		return err_set(err, "the host is empty or too long");
	return 0;
}

static int
address_parse_tcp(const char *text, struct address *address, struct err *err)
{
	const char *colon = strrchr(text, ':');

	if (colon == NULL || colon == text)
		return err_set(err, "must be \"host:port\", \"[v6]:port\" or "
				    "\"unix:/path\"");
	if (address_parse_host(text, (size_t)(colon - text), address, err) != 0)
		return -1;
	return address_parse_port(colon + 1, address, err);
}

int
address_parse(const char *text, struct address *address, struct err *err)
{
	int rc;

	memset(address, 0, sizeof(*address));
	address->mode = ADDRESS_MODE;
	if (strncmp(text, "unix:", 5) == 0)
		rc = address_parse_unix(text + 5, address, err);
	else
		rc = address_parse_tcp(text, address, err);
	return rc == 0 ? 0 : err_prefix(err, "\"%s\"", text);
}

bool
address_same_place(const struct address *a, const struct address *b)
{
	return strcmp(a->host, b->host) == 0 && strcmp(a->port, b->port) == 0 &&
	       strcmp(a->unix_path, b->unix_path) == 0;
}

bool
address_same_rights(const struct address *a, const struct address *b)
{
	return a->mode == b->mode && strcmp(a->owner, b->owner) == 0 &&
	       strcmp(a->group, b->group) == 0;
}
