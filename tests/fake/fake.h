/*
 * The fake role: a process that misbehaves on order, for tests of the master.
 *
 * It is in chimpd-test only, a chimpd with one role more. Its section of the
 * configuration:
 *
 *	fake { processes = 2  behaviour = "say hello"  control = "/folder" }
 *
 * `behaviour` is orders for every process at birth; then come those of the
 * files "birth" and "birth-INDEX" in the folder, which stay. A file "PID" is
 * taken away by that process, and obeyed, within FAKE_POLL_MS.
 *
 * Orders stand on lines, or with ";" between them. "@3 exit 1" is for the third
 * process of its slot alone. order.c has the table of them.
 */
#ifndef CHIMP_TESTS_FAKE_H
#define CHIMP_TESTS_FAKE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/loop.h"
#include "roles/role.h"

enum { FAKE_POLL_MS = 20 };

struct fake {
	struct child *child;
	struct loop_timer poll;  /* looks for orders */
	struct loop_timer ready; /* ends the wait for ready_after_ms */
	struct loop_timer drain; /* ends a drain */
	bool starting;           /* in fake_start */
	int64_t ready_after_ms;  /* before READY is sent; -1 = never */
	int64_t drain_ms;        /* busy so long while draining; -1 = ever */
	char on_drain[128];      /* an order for that moment; "" = none */
	uint32_t busy;           /* as heartbeats say them */
	uint64_t done;
	char said[128];
};

/* order.c: obey all orders of a text; -1 at the first that is none. */
int fake_obey(struct fake *fake, const char *text, struct err *err);

/* fake.c: what the common birth would send now. */
void fake_heartbeat(const struct fake *fake, struct msg *msg);

/*
 * messages.c, ends.c, resources.c: the orders. `args` is what follows the
 * name; -1 if it makes no sense.
 */
int fake_send(struct fake *fake, const char *args);
int fake_flood(struct fake *fake, const char *args);
int fake_close(struct fake *fake, const char *args);

int fake_exit(struct fake *fake, const char *args);
int fake_die(struct fake *fake, const char *args);
int fake_spin(struct fake *fake, const char *args);
int fake_block(struct fake *fake, const char *args);
int fake_deaf(struct fake *fake, const char *args);
int fake_on_abrt(struct fake *fake, const char *args);

int fake_leak(struct fake *fake, const char *args);
int fake_fork(struct fake *fake, const char *args);

#endif
