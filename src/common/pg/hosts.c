/*
 * The hosts of a connection, before and after their names are looked up. See
 * hosts.h.
 */
#include "common/pg/hosts.h"

#include <netdb.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/strbuf.h"

static size_t
list_length(const char *list)
{
	size_t n = 1;

	while ((list = strchr(list, ',')) != NULL) {
		list++;
		n++;
	}
	return n;
}

/* A copy of the i-th entry; of the only one, whatever i is; "" behind the
 * end. */
static char *
list_entry(const char *list, size_t i)
{
	if (strchr(list, ',') != NULL)
		while (i-- > 0)
			list = strchr(list, ',') + 1;
	return mem_strndup(list, strcspn(list, ","));
}

static bool
list_is_empty(const char *list)
{
	return list == NULL || list[0] == '\0';
}

void
pg_hosts_init(struct pg_hosts *hosts, const char *host, const char *hostaddr,
    const char *port)
{
	/* As libpq counts: hostaddr before host. */
	bool by_addr = !list_is_empty(hostaddr), by_host = !list_is_empty(host);
	const char *counted = by_addr ? hostaddr : by_host ? host : "";
	size_t n = list_length(counted), n_ports;

	memset(hosts, 0, sizeof(*hosts));
	n_ports = list_is_empty(port) ? 1 : list_length(port);
	if ((by_host && list_length(host) != n) ||
	    (n_ports != 1 && n_ports != n))
		return;
	hosts->n = n;
	hosts->at = mem_zalloc(n * sizeof(*hosts->at));
	for (size_t i = 0; i < n; i++) {
		struct pg_host *h = &hosts->at[i];

		h->host = list_entry(by_host ? host : "", i);
		h->addr = list_entry(by_addr ? hostaddr : "", i);
		h->port = list_entry(list_is_empty(port) ? "" : port, i);
	}
}

void
pg_hosts_done(struct pg_hosts *hosts)
{
	for (size_t i = 0; i < hosts->n; i++) {
		free(hosts->at[i].host);
		free(hosts->at[i].addr);
		free(hosts->at[i].port);
		free(hosts->at[i].found);
	}
	mem_free(&hosts->at);
	hosts->n = 0;
}

/* As libpq will read it; AI_NUMERICHOST asks nobody. */
static bool
host_is_number(const char *host)
{
	struct addrinfo hints = {.ai_flags = AI_NUMERICHOST}, *found = NULL;

	if (getaddrinfo(host, NULL, &hints, &found) != 0)
		return false;
	freeaddrinfo(found);
	return true;
}

bool
pg_host_is_name(const struct pg_host *h)
{
	/* '@' is a socket in the abstract namespace. */
	return h->addr[0] == '\0' && h->host[0] != '\0' && h->host[0] != '/' &&
	       h->host[0] != '@' && !host_is_number(h->host);
}

static void
text_add(struct strbuf text[3], const char *const entry[3], bool first)
{
	for (int i = 0; i < 3; i++) {
		if (!first)
			strbuf_putc(&text[i], ',');
		strbuf_puts(&text[i], entry[i]);
	}
}

bool
pg_hosts_expand(const struct pg_hosts *hosts, struct pg_hosts_text *out)
{
	struct strbuf text[3] = {STRBUF_EMPTY, STRBUF_EMPTY, STRBUF_EMPTY};
	size_t n = 0;

	for (size_t i = 0; i < hosts->n; i++) {
		const struct pg_host *h = &hosts->at[i];
		const char *addrs = h->found != NULL ? h->found : h->addr;
		size_t n_addrs = list_length(addrs);

		if (h->found == NULL && pg_host_is_name(h))
			continue;
		for (size_t j = 0; j < n_addrs; j++) {
			char *addr = list_entry(addrs, j);
			const char *entry[3] = {h->host, addr, h->port};

			text_add(text, entry, n++ == 0);
			free(addr);
		}
	}
	if (n == 0)
		return false;
	out->host = strbuf_take(&text[0]);
	out->hostaddr = strbuf_take(&text[1]);
	out->port = strbuf_take(&text[2]);
	return true;
}

void
pg_hosts_text_done(struct pg_hosts_text *text)
{
	mem_free(&text->host);
	mem_free(&text->hostaddr);
	mem_free(&text->port);
}
