/*
 * What the tests of links share: a loop that stops at every callback, so that
 * a test can look at what it awaits, and callbacks that count.
 */
#ifndef CHIMP_TESTS_LINK_BENCH_H
#define CHIMP_TESTS_LINK_BENCH_H

#include "common/base/loop.h"
#include "common/pg/link.h"
#include "pg_server.h"

#include <check.h>

enum { TEST_PATIENCE_MS = 10000 };

extern struct pg_server server;
extern struct loop *loop;
extern struct loop_timer patience;
extern bool impatient;
extern int n_ready, n_lost, n_notified;
extern char notified[256]; /* CHANNEL:PAYLOAD of the last one */

/* What a unit came to, kept beyond its callback. */
struct outcome {
	int calls;
	bool ok;
	bool lost;
	char sqlstate[6];
	char message[256];
	int n_results;
	char value[256]; /* of the last result, row 0, column 0 */
};

#define AWAIT(condition)                                                      \
	do {                                                                  \
		loop_timer_start(&patience, TEST_PATIENCE_MS);                \
		while (!(condition)) {                                        \
			loop_run(loop);                                       \
			ck_assert_msg(                                        \
			    !impatient, "waited in vain for %s", #condition); \
		}                                                             \
		loop_timer_stop(&patience);                                   \
	} while (0)

/* arg: a struct outcome. */
void on_done(struct pg_link *link, struct pg_reply *reply, void *arg);

struct pg_link *link_to(const char *conninfo, const char *const *channels);
/* Gives up an attempt after connect_timeout_ms. */
struct pg_link *link_within(const char *conninfo, const char *const *channels,
    int64_t connect_timeout_ms);
struct pg_link *link_ready(void); /* to the server, and waits for it */

/* Run one statement and wait for its outcome. */
void run(struct pg_link *link, const struct pg_stmt *stmt,
    const char *const *values, struct outcome *o);

void link_setup(void);
void link_teardown(void);

/* Run a suite in this process, with a server; the exit status. */
int link_main(Suite *suite);

#endif
