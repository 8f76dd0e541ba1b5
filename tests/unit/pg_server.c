/*
 * A PostgreSQL of the test's own. See pg_server.h.
 */
#include "config.h"
#include "pg_server.h"

#include "common/base/mem.h"

#include <libpq-fe.h>

#include <err.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PG_SERVER_START_MS = 30000 };

static void
pg_server_become_user(void)
{
	const struct passwd *pw;

	if (geteuid() != 0)
		return;
	pw = getpwnam("postgres");
	if (pw == NULL)
		errx(1, "as root the tests need the user \"postgres\"");
	if (initgroups(pw->pw_name, pw->pw_gid) != 0 ||
	    setgid(pw->pw_gid) != 0 || setuid(pw->pw_uid) != 0)
		err(1, "cannot become postgres");
}

/* Run a program as the server's user, its output into `log`. */
static pid_t
pg_server_spawn(const struct pg_server *server, char *const argv[])
{
	char *log = mem_printf("%s/log", server->dir);
	pid_t pid = fork();

	if (pid < 0)
		err(1, "fork");
	if (pid == 0) {
		pg_server_become_user();
		/* No server outlives a test that was killed. */
		prctl(PR_SET_PDEATHSIG, SIGINT);
		if (freopen(log, "a", stdout) == NULL ||
		    dup2(STDOUT_FILENO, STDERR_FILENO) < 0)
			err(1, "%s", log);
		execv(argv[0], argv);
		err(1, "%s", argv[0]);
	}
	free(log);
	return pid;
}

static void
pg_server_initdb(struct pg_server *server)
{
	char *data = mem_printf("%s/data", server->dir);
	char *argv[] = {PG_BINDIR "/initdb", "-D", data, "-A", "trust", "-U",
	    "postgres", "-E", "UTF8", "--locale=C", "--no-sync", NULL};
	pid_t pid = pg_server_spawn(server, argv);
	int status;

	if (waitpid(pid, &status, 0) != pid || status != 0)
		errx(1, "initdb failed: see %s/log", server->dir);
	free(data);
}

static void
pg_server_wait(const struct pg_server *server)
{
	for (int ms = 0; ms < PG_SERVER_START_MS; ms += 20) {
		if (PQping(server->conninfo) == PQPING_OK)
			return;
		usleep(20000);
	}
	errx(1, "PostgreSQL does not start: see %s/log", server->dir);
}

void
pg_server_start(struct pg_server *server)
{
	char *data = mem_printf("%s/data", server->dir);
	char *sockets = mem_printf("unix_socket_directories=%s", server->dir);
	char *argv[] = {PG_BINDIR "/postgres", "-D", data, "-c", sockets, "-c",
	    "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=30",
	    "-c", "shared_buffers=16MB", NULL};

	server->pid = pg_server_spawn(server, argv);
	pg_server_wait(server);
	free(sockets);
	free(data);
}

void
pg_server_stop(struct pg_server *server)
{
	int status;

	if (server->pid == 0)
		return;
	kill(server->pid, SIGINT);
	waitpid(server->pid, &status, 0);
	server->pid = 0;
}

void
pg_server_create(struct pg_server *server)
{
	const struct passwd *pw = getpwnam("postgres");

	snprintf(server->dir, sizeof(server->dir), "/tmp/chimp-pg-XXXXXX");
	if (mkdtemp(server->dir) == NULL)
		err(1, "%s", server->dir);
	if (geteuid() == 0 && pw != NULL &&
	    chown(server->dir, pw->pw_uid, pw->pw_gid) != 0)
		err(1, "%s", server->dir);
	snprintf(server->conninfo, sizeof(server->conninfo),
	    "host=%s user=postgres dbname=postgres", server->dir);
	pg_server_initdb(server);
	pg_server_start(server);
}

void
pg_server_destroy(struct pg_server *server)
{
	char *argv[] = {"/bin/rm", "-rf", server->dir, NULL};
	int status;
	pid_t pid;

	pg_server_stop(server);
	pid = fork();
	if (pid == 0) {
		execv(argv[0], argv);
		_exit(1);
	}
	waitpid(pid, &status, 0);
}
