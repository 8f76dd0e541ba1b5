/*
 * A worker process as the master would bear it. See role_process.h.
 */
#include "role_process.h"
#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/pg/conn.h"
#include "common/pg/migrate.h"

#include <check.h>

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TEST_PATIENCE_MS = 15000 };

struct pg_server server;
struct conf_worker class;

static struct pg_conn *conn;
static char *patterns[] = {"*", NULL};
static struct conf conf;

/* --- the database --- */

static char *
ask(const char *sql)
{
	struct pg_result *r = NULL;
	struct err err = {"", ""};
	char *value;

	if (pg_conn_query(conn, sql, 0, NULL, &r, &err) != 0)
		ck_abort_msg("%s: %s", sql, err.message);
	if (pg_rows(r) == 0 || pg_is_null(r, 0, 0))
		value = mem_strdup("");
	else
		value = mem_strdup(pg_value(r, 0, 0));
	pg_result_free(&r);
	return value;
}

void
run(const char *sql)
{
	free(ask(sql));
}

bool
says(const char *sql, const char *expected)
{
	char *value = ask(sql);
	bool same = strcmp(value, expected) == 0;

	free(value);
	return same;
}

int64_t
await(const char *sql, const char *expected)
{
	int64_t since_ms = clock_mono_ms();

	while (!says(sql, expected)) {
		if (clock_mono_ms() - since_ms > TEST_PATIENCE_MS)
			ck_abort_msg(
			    "%s: %s instead of %s", sql, ask(sql), expected);
		usleep(2000);
	}
	return clock_mono_ms() - since_ms;
}

void
db_connect(void)
{
	struct err err = {"", ""};

	conn = pg_conn_open(server.conninfo, "test", 10000, &err);
	if (conn == NULL) {
		fprintf(stderr, "%s\n", err.message);
		exit(1);
	}
}

/* --- processes --- */

static void
process_child(struct process *p, int fd)
{
	close(p->fd);
	p->birth.master_fd = fd;
	p->birth.master_pid = getppid();
	log_init(getenv("TEST_LOG") ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR,
	    LOG_FORMAT_TEXT);
	role_main(&p->birth);
}

void
process_start(struct process *p)
{
	int fds[2];

	memset(p, 0, sizeof(*p));
	p->birth.conf = &conf;
	p->birth.role = &role_worker;
	p->birth.worker = &class;
	p->birth.slot = 7;
	p->birth.generation = 3;
	p->birth.listen_fds = NULL;
	uuid_random(p->birth.id);
	uuid_random(p->birth.node_id);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds), 0);
	p->fd = fds[0];
	p->pid = fork();
	ck_assert_int_ge(p->pid, 0);
	if (p->pid == 0)
		process_child(p, fds[1]);
	close(fds[1]);
}

struct msg
process_hear(struct process *p, enum msg_type type)
{
	struct pollfd pfd = {.fd = p->fd, .events = POLLIN};
	struct msg msg;

	do {
		ck_assert_int_eq(poll(&pfd, 1, TEST_PATIENCE_MS), 1);
		ck_assert_int_eq(msg_receive(p->fd, &msg), 1);
		ck_assert_uint_eq(msg.slot, 7);
		ck_assert_uint_eq(msg.generation, 3);
	} while (msg.type != type);
	return msg;
}

void
process_born(struct process *p)
{
	process_start(p);
	process_hear(p, MSG_READY);
}

void
process_tell(struct process *p, enum msg_type type, int64_t deadline_ms,
    const char *birth)
{
	struct msg msg = {
	    .type = type,
	    .slot = 7,
	    .generation = 3,
	    .deadline_ms = deadline_ms,
	};

	snprintf(msg.birth, sizeof(msg.birth), "%s", birth);
	ck_assert(msg_send(p->fd, &msg));
}

int
process_end(struct process *p)
{
	int status;

	ck_assert_int_eq(waitpid(p->pid, &status, 0), p->pid);
	close(p->fd);
	p->pid = 0;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void
process_stop(struct process *p)
{
	process_tell(p, MSG_DRAIN, 5000, "");
	ck_assert_int_eq(process_end(p), 0);
	ck_assert(says("select count(*) from chimp.process", "0"));
	ck_assert(says("select count(*) from chimp.job_claim", "0"));
}

void
process_kill(struct process *p)
{
	kill(p->pid, SIGKILL);
	ck_assert_int_eq(process_end(p), -1);
}

void
db_close(void)
{
	pg_conn_close(&conn);
}

static void
configure(void)
{
	conf.node = "here";
	conf.stop_timeout_ms = 5000;
	conf.watchdog_ms = 10000;
	conf.database.url = server.conninfo;
	conf.database.connect_timeout_ms = 5000;
	conf.database.pool_idle_ms = 60000;
	conf.database.pool_life_ms = 60000;
	class.name = "default";
	class.queues.items = patterns;
	class.queues.count = 1;
}

void
role_process_init(const char *script)
{
	struct err err = {"", ""};

	pg_server_create(&server);
	configure();
	db_connect();
	if (migrate_run(conn, NULL, 0, &err) != 0 ||
	    pg_conn_script(conn, script, &err) != 0) {
		fprintf(stderr, "%s\n", err.message);
		exit(1);
	}
	db_close();
}

void
role_process_done(void)
{
	pg_server_destroy(&server);
}
