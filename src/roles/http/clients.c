/*
 * How many connections and requests each client has. See clients.h.
 */
#include "roles/http/clients.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"

/* As many clients as a process has connections (max_connections) by default
 * make chains of about ten. */
enum { CLIENTS_BUCKETS = 1024 };

struct client {
	struct client *next;
	struct peer site;
	int64_t counts[2]; /* by enum clients_what */
};

struct clients {
	uint32_t seed; /* nobody can choose addresses of one bucket */
	int n;
	struct client *buckets[CLIENTS_BUCKETS];
};

struct clients *
clients_new(void)
{
	struct clients *clients = mem_zalloc(sizeof(*clients));

	clients->seed = clock_jitter(UINT32_MAX);
	return clients;
}

void
clients_free(struct clients **clients)
{
	assert((*clients)->n == 0);
	mem_free(clients);
}

/* FNV-1a (Fowler, Noll, Vo), from a seed. */
static struct client **
clients_bucket(struct clients *clients, const struct peer *site)
{
	uint32_t h = UINT32_C(2166136261) ^ clients->seed;

	for (int i = 0; i < PEER_IP_BYTES; i++)
		h = (h ^ site->ip[i]) * UINT32_C(16777619);
	return &clients->buckets[h % CLIENTS_BUCKETS];
}

/* The place that points to the client, or to NULL behind the last one. */
static struct client **
clients_find(struct clients *clients, const struct peer *site)
{
	struct client **at = clients_bucket(clients, site);

	while (*at != NULL &&
	       ((*at)->site.local != site->local ||
		   memcmp((*at)->site.ip, site->ip, PEER_IP_BYTES) != 0))
		at = &(*at)->next;
	return at;
}

bool
clients_enter(struct clients *clients, const struct peer *peer,
    enum clients_what what, int64_t max)
{
	struct peer site;
	struct client **at;

	peer_site(peer, &site);
	at = clients_find(clients, &site);
	if (max > 0 && *at != NULL && (*at)->counts[what] >= max)
		return false;
	if (*at == NULL) {
		*at = mem_zalloc(sizeof(**at));
		(*at)->site = site;
		clients->n++;
	}
	(*at)->counts[what]++;
	return true;
}

void
clients_leave(
    struct clients *clients, const struct peer *peer, enum clients_what what)
{
	struct peer site;
	struct client **at, *client;

	peer_site(peer, &site);
	at = clients_find(clients, &site);
	client = *at;
	assert(client != NULL && client->counts[what] > 0);
	client->counts[what]--;
	if (client->counts[CLIENTS_CONNECTIONS] +
		client->counts[CLIENTS_REQUESTS] >
	    0)
		return;
	*at = client->next;
	free(client);
	clients->n--;
}
