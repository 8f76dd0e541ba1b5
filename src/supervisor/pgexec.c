/*
 * PostgreSQL's own programs. See pgexec.h.
 */
#include "supervisor/pgexec.h"
#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/conf/conf.h"

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PGEXEC_INITDB   PG_BINDIR "/initdb"
#define PGEXEC_POSTGRES PG_BINDIR "/postgres"

enum { PGEXEC_REMOVE_TRIES = 20, PGEXEC_REMOVE_PAUSE_US = 50000 };

int
pgexec_major(struct err *err)
{
	char line[128] = "";
	int major = 0;
	FILE *f = NULL;

	if (access(PGEXEC_INITDB, X_OK) == 0)
		f = popen("cd / && exec '" PGEXEC_POSTGRES "' -V", "re");
	if (f != NULL) {
		if (fgets(line, sizeof(line), f) != NULL)
			sscanf(line, "postgres (PostgreSQL) %d", &major);
		pclose(f);
	}
	if (major > 0)
		return major;
	err_set(
	    err, "PostgreSQL's programs cannot be run from \"%s\"", PG_BINDIR);
	return err_hint(err, "install postgresql-15, or build chimpd with "
			     "--with-pg-bindir=DIR");
}

/* The environment of whoever started chimpd is meant for other servers. */
static void
pgexec_clean_environment(void)
{
	char name[64];

	for (int i = 0; environ[i] != NULL;) {
		size_t length = strcspn(environ[i], "=");

		if (strncmp(environ[i], "PG", 2) != 0 ||
		    length >= sizeof(name)) {
			i++;
			continue;
		}
		memcpy(name, environ[i], length);
		name[length] = '\0';
		unsetenv(name); /* moves the others up */
	}
}

static void __attribute__((noreturn)) pgexec_run(char **argv)
{
	int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	pgexec_clean_environment();
	if (null_fd >= 0)
		dup2(null_fd, STDIN_FILENO);
	/* PostgreSQL's programs ask for their working folder, which may be
	 * closed to the user that we have become. */
	if (chdir("/") == 0)
		execv(argv[0], argv);
	log_error("cannot run %s: %s", argv[0], strerror(errno));
	_exit(1);
}

static int
pgexec_remove(
    const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

/*
 * What an interrupted initdb left. The backend that it ran may outlive it by
 * a moment and add files while we remove them.
 */
static void
pgexec_remove_tree(const char *dir)
{
	for (int i = 0; i < PGEXEC_REMOVE_TRIES; i++) {
		if (nftw(dir, pgexec_remove, 16, FTW_DEPTH | FTW_PHYS) == 0 ||
		    access(dir, F_OK) != 0)
			return;
		usleep(PGEXEC_REMOVE_PAUSE_US);
	}
	log_error("cannot remove \"%s\": %s", dir, strerror(errno));
	_exit(1);
}

/* Not every system has C.UTF-8. */
static const char *
pgexec_locale(void)
{
	locale_t found = newlocale(LC_ALL_MASK, "C.UTF-8", (locale_t)0);

	if (found == (locale_t)0)
		return "--locale=C";
	freelocale(found);
	return "--locale=C.UTF-8";
}

void
pgexec_initdb(const char *dir, int output_fd)
{
	char *argv[16];
	int n = 0;

	dup2(output_fd, STDOUT_FILENO);
	dup2(output_fd, STDERR_FILENO);
	pgexec_remove_tree(dir);
	argv[n++] = mem_strdup(PGEXEC_INITDB);
	argv[n++] = mem_printf("--pgdata=%s", dir);
	argv[n++] = mem_strdup("--username=chimp");
	/* The socket's folder is 0700: who can reach it is already us. */
	argv[n++] = mem_strdup("--auth-local=trust");
	argv[n++] = mem_strdup("--auth-host=reject");
	argv[n++] = mem_strdup("--encoding=UTF8");
	argv[n++] = mem_strdup(pgexec_locale());
	argv[n++] = mem_strdup("--data-checksums");
	argv[n++] = mem_strdup("--no-instructions");
	argv[n] = NULL;
	pgexec_run(argv);
}

/* clang-format off */
static const char *const pgexec_settings[] = {
	"listen_addresses=",
	"unix_socket_permissions=0700",
	"jit=off",
	/* To chimpd's own stderr, whatever postgresql.conf says. */
	"logging_collector=off",
	"log_destination=stderr",
	"log_line_prefix=%m postgres[%p] ",
	"cluster_name=chimpd",
};
/* clang-format on */
enum { PGEXEC_SETTINGS = sizeof(pgexec_settings) / sizeof(char *) };

static int
pgexec_add(char **argv, int n, const char *option, char *value)
{
	argv[n++] = mem_strdup(option);
	argv[n++] = value;
	return n;
}

void
pgexec_postgres(const struct conf *conf, const char *socket_dir)
{
	const struct conf_database *db = &conf->database;
	char **argv = mem_zalloc(
	    (size_t)(2 * (PGEXEC_SETTINGS + db->settings.count) + 16) *
	    sizeof(*argv));
	int n = 0;

	argv[n++] = mem_strdup(PGEXEC_POSTGRES);
	n = pgexec_add(argv, n, "-D", mem_strdup(db->data_dir));
	n = pgexec_add(argv, n, "-k", mem_strdup(socket_dir));
	n = pgexec_add(argv, n, "-p", mem_strdup("5432"));
	for (int i = 0; i < PGEXEC_SETTINGS; i++)
		n = pgexec_add(argv, n, "-c", mem_strdup(pgexec_settings[i]));
	n = pgexec_add(argv, n, "-c",
	    mem_printf("max_connections=%" PRId64, db->max_connections));
	n = pgexec_add(argv, n, "-c",
	    mem_printf("shared_buffers=%" PRId64 "kB",
		db->shared_buffers_bytes / 1024));
	for (int i = 0; i < db->settings.count; i++)
		n = pgexec_add(
		    argv, n, "-c", mem_strdup(db->settings.items[i]));
	argv[n] = NULL;
	/* stdout is the user's, who may have sent it to a file. */
	dup2(STDERR_FILENO, STDOUT_FILENO);
	pgexec_run(argv);
}
