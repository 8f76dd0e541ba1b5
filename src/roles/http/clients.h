/*
 * How many connections and requests each client has: a hash table by address,
 * in which only those are that have any.
 */
#ifndef CHIMP_HTTP_CLIENTS_H
#define CHIMP_HTTP_CLIENTS_H

#include <stdint.h>

#include "roles/http/peer.h"

enum clients_what { CLIENTS_CONNECTIONS, CLIENTS_REQUESTS };

struct clients;

struct clients *clients_new(void);
void clients_free(struct clients **clients); /* nobody is in it */

/* Count one more of the peer's site (peer_site), unless it has `max`: false
 * then. 0: any number. Each that was counted is taken off once. */
bool clients_enter(struct clients *clients, const struct peer *peer,
    enum clients_what what, int64_t max);
void clients_leave(
    struct clients *clients, const struct peer *peer, enum clients_what what);

#endif
