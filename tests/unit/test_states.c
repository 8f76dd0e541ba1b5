/*
 * supervisor/states: the two tables, and that slot_set_state and
 * master_set_state abort on every pair that is not in them.
 */
#include "supervisor/states.h"
#include "common/base/log.h"
#include "common/conf/conf_classes.h"
#include "supervisor/master_state.h"
#include "supervisor/slot.h"
#include "supervisor/slot_table.h"

#include <check.h>
#include <event2/event.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* What slot_set_state needs of a master. */
static void
fixture(struct master *m, struct conf *conf)
{
	memset(conf, 0, sizeof(*conf));
	memset(m, 0, sizeof(*m));
	conf->watchdog_ms = 10000;
	m->conf = conf;
	m->base = event_base_new();
	ck_assert_ptr_nonnull(m->base);
	list_init(&m->slots);
	for (int i = 0; i < SLOT_STATES; i++)
		list_init(&m->slots_in[i]);
}

/* A slot that is in `state`, however it got there. */
static struct slot *
slot_in(struct master *m, enum slot_state state)
{
	const struct conf_class class = {.role = "cron", .name = ""};
	struct slot *slot = slot_add(m, &class, 0);

	list_remove(&slot->node);
	m->slot_count[slot->state]--;
	slot->state = state;
	list_append(&m->slots_in[state], &slot->node);
	m->slot_count[state]++;
	return slot;
}

static void
change_slot(int from, int to)
{
	struct conf conf;
	struct master m;
	struct slot *slot;

	fixture(&m, &conf);
	slot = slot_in(&m, (enum slot_state)from);
	slot_set_state(slot, (enum slot_state)to, LOG_LEVEL_DEBUG, "changes");
	ck_assert_int_eq((int)slot->state, to);
	for (int i = 0; i < SLOT_STATES; i++) {
		ck_assert_int_eq(m.slot_count[i], i == to ? 1 : 0);
		ck_assert_int_eq(list_empty(&m.slots_in[i]), i != to);
	}
	slot_table_done(&m);
	event_base_free(m.base);
}

static void
change_master(int from, int to)
{
	struct conf conf;
	struct master m;

	fixture(&m, &conf);
	m.state = (enum master_state)from;
	master_set_state(&m, (enum master_state)to);
	ck_assert_int_eq((int)m.state, to);
	event_base_free(m.base);
}

/* The status of a process that makes the change. */
static int
status_of(void (*change)(int from, int to), int from, int to)
{
	const struct rlimit none = {0, 0};
	int status = 0, fd;
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		/* No core file, and nothing of what assert says. */
		setrlimit(RLIMIT_CORE, &none);
		fd = open("/dev/null", O_WRONLY);
		dup2(fd, STDERR_FILENO);
		change(from, to);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return status;
}

static bool
slot_allowed(int from, int to)
{
	return slot_state_allowed((enum slot_state)from, (enum slot_state)to);
}

static bool
master_allowed(int from, int to)
{
	return master_state_allowed(
	    (enum master_state)from, (enum master_state)to);
}

/* Every pair of states; returns how many are allowed. */
static size_t
try_all(int states, bool (*allowed)(int from, int to),
    void (*change)(int from, int to))
{
	size_t n = 0;

	for (int from = 0; from < states; from++)
		for (int to = 0; to < states; to++) {
			int status = status_of(change, from, to);

			if (allowed(from, to)) {
				n++;
				ck_assert_msg(WIFEXITED(status) &&
						  WEXITSTATUS(status) == 0,
				    "%d to %d: status %x", from, to, status);
			} else {
				ck_assert_msg(WIFSIGNALED(status) &&
						  WTERMSIG(status) == SIGABRT,
				    "%d to %d: status %x, not aborted", from,
				    to, status);
			}
		}
	return n;
}

START_TEST(test_a_slot_changes_by_the_table_or_aborts)
{
	size_t rows;

	slot_state_rows(&rows);
	ck_assert_uint_eq(
	    try_all(SLOT_STATES, slot_allowed, change_slot), rows);
}
END_TEST

START_TEST(test_the_master_changes_by_the_table_or_aborts)
{
	size_t rows;

	master_state_rows(&rows);
	ck_assert_uint_eq(
	    try_all(MASTER_STATES, master_allowed, change_master), rows);
}
END_TEST

/* No row twice, none that goes nowhere, each with a reason. */
static void
check_rows(const struct state_row *rows, size_t n, int states)
{
	for (size_t i = 0; i < n; i++) {
		ck_assert_int_lt(rows[i].from, states);
		ck_assert_int_lt(rows[i].to, states);
		ck_assert_int_ne(rows[i].from, rows[i].to);
		ck_assert_str_ne(rows[i].why, "");
		for (size_t j = 0; j < i; j++)
			ck_assert(rows[i].from != rows[j].from ||
				  rows[i].to != rows[j].to);
	}
}

/* From `first` every state can be reached. */
static void
check_reach(const struct state_row *rows, size_t n, int states, int first)
{
	unsigned reached = 1U << first, before;

	do {
		before = reached;
		for (size_t i = 0; i < n; i++)
			if (reached & (1U << rows[i].from))
				reached |= 1U << rows[i].to;
	} while (reached != before);
	ck_assert_uint_eq(reached, (1U << states) - 1);
}

START_TEST(test_the_tables_make_sense)
{
	const struct state_row *rows;
	size_t n;

	rows = slot_state_rows(&n);
	check_rows(rows, n, SLOT_STATES);
	check_reach(rows, n, SLOT_STATES, SLOT_EMPTY);
	rows = master_state_rows(&n);
	check_rows(rows, n, MASTER_STATES);
	check_reach(rows, n, MASTER_STATES, MASTER_STARTING);
	/* Nothing comes after the end. */
	for (size_t i = 0; i < n; i++)
		ck_assert_int_ne(rows[i].from, MASTER_ENDED);
}
END_TEST

START_TEST(test_names_differ)
{
	for (int i = 0; i < SLOT_STATES; i++)
		for (int j = 0; j < i; j++)
			ck_assert_str_ne(slot_state_name((enum slot_state)i),
			    slot_state_name((enum slot_state)j));
	for (int i = 0; i < MASTER_STATES; i++)
		for (int j = 0; j < i; j++)
			ck_assert_str_ne(
			    master_state_name((enum master_state)i),
			    master_state_name((enum master_state)j));
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("states");
	TCase *tc = tcase_create("states");
	SRunner *runner;
	int failed;

	log_init(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_a_slot_changes_by_the_table_or_aborts);
	tcase_add_test(tc, test_the_master_changes_by_the_table_or_aborts);
	tcase_add_test(tc, test_the_tables_make_sense);
	tcase_add_test(tc, test_names_differ);
	suite_add_tcase(s, tc);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
