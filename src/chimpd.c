/*
 * chimpd: arguments, then the master.
 */
#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/conf/conf.h"
#include "roles/role.h"
#include "supervisor/inherit.h"
#include "supervisor/master.h"
#include "supervisor/title.h"

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum chimpd_task {
	CHIMPD_RUN,
	CHIMPD_TEST,  /* -t */
	CHIMPD_PRINT, /* -T */
	CHIMPD_VERSION,
	CHIMPD_HELP
};

struct chimpd_args {
	enum chimpd_task task;
	const char *conf_path;
	int ready_fd; /* -1 = none */
};

static const char chimpd_usage[] =
    "usage: chimpd [-c FILE] [-t | -T] [--ready-fd N]\n"
    "       chimpd -V | -h\n"
    "\n"
    "  -c FILE        configuration (default " SYSCONFDIR
    "/chimpd/chimpd.conf)\n"
    "  -t             test the configuration and exit\n"
    "  -T             print the effective configuration, passwords masked, "
    "and exit\n"
    "  --ready-fd N   write \"READY\" to descriptor N when every process is "
    "ready\n"
    "  -V             print the version and how it was built, and exit\n"
    "  -h             print this help, and exit\n"
    "\n"
    "Runs in the foreground. TERM, INT: stop, running work gets stop_timeout;\n"
    "QUIT: stop when running work has ended; HUP: reload; USR1: reopen logs.\n";

static void
chimpd_print_version(void)
{
	printf("chimpd %s\n"
	       "configure arguments: %s\n"
	       "libpq %s, libh2o-evloop %s, openssl %s, libevent %s, "
	       "libConfuse %s, jansson %s\n"
	       "PostgreSQL's programs: %s\n",
	    PACKAGE_VERSION, BUILD_ARGS[0] ? BUILD_ARGS : "(none)", BUILD_LIBPQ,
	    BUILD_LIBH2O, BUILD_LIBSSL, BUILD_LIBEVENT, BUILD_LIBCONFUSE,
	    BUILD_JANSSON, PG_BINDIR);
}

/* Descriptors 0 to 2 are open: else the first socket would become stderr and
 * get the log lines. */
static void
chimpd_open_standard(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	fd_close(&fd);
}

static int
chimpd_parse_fd(const char *text, int *fd)
{
	char *end;
	long n;

	errno = 0;
	n = strtol(text, &end, 10);
	if (end == text || *end != '\0' || errno != 0 || n < 0 || n > INT_MAX ||
	    fcntl((int)n, F_GETFD) < 0) {
		fprintf(stderr,
		    "chimpd: --ready-fd %s: not the number of an open "
		    "descriptor\n",
		    text);
		return -1;
	}
	*fd = (int)n;
	fd_set_cloexec(*fd, true);
	return 0;
}

static int
chimpd_parse_args(int argc, char **argv, struct chimpd_args *args)
{
	static const struct option options[] = {
	    {"help", no_argument, NULL, 'h'},
	    {"version", no_argument, NULL, 'V'},
	    {"ready-fd", required_argument, NULL, 'r'},
	    {NULL, 0, NULL, 0},
	};
	int c;

	*args = (struct chimpd_args){.task = CHIMPD_RUN,
	    .conf_path = SYSCONFDIR "/chimpd/chimpd.conf",
	    .ready_fd = -1};
	while ((c = getopt_long(argc, argv, "c:tTVh", options, NULL)) != -1) {
		if (c == 'c')
			args->conf_path = optarg;
		else if (c == 't')
			args->task = CHIMPD_TEST;
		else if (c == 'T')
			args->task = CHIMPD_PRINT;
		else if (c == 'V')
			args->task = CHIMPD_VERSION;
		else if (c == 'h')
			args->task = CHIMPD_HELP;
		else if (c != 'r' ||
			 chimpd_parse_fd(optarg, &args->ready_fd) != 0)
			return -1;
	}
	if (optind == argc)
		return 0;
	fprintf(stderr, "chimpd: unexpected argument \"%s\"\n", argv[optind]);
	return -1;
}

static void
chimpd_print_err(const struct err *err)
{
	fprintf(stderr, "chimpd: %s%s%s\n", err->message,
	    err->hint[0] ? "; " : "", err->hint);
}

/* The configuration, or NULL after printing why not. */
static struct conf *
chimpd_load(const char *path)
{
	struct err err;
	struct conf *conf = conf_load(path, &err);

	if (conf == NULL)
		chimpd_print_err(&err);
	for (int i = 0; conf != NULL && i < conf->warnings.count; i++)
		fprintf(
		    stderr, "chimpd: warning: %s\n", conf->warnings.items[i]);
	return conf;
}

/* Signatures and cron expressions are for the roles to judge. A start leaves
 * that to the child that prepares the database, out of the master. */
static int
chimpd_check_roles(const struct conf *conf)
{
	struct err err;

	for (const struct role *const *r = role_table; *r != NULL; r++) {
		if ((*r)->check == NULL || (*r)->check(conf, &err) == 0)
			continue;
		err_prefix(&err, "%s", conf->path);
		chimpd_print_err(&err);
		return -1;
	}
	return 0;
}

static int
chimpd_test(const char *path)
{
	struct conf *conf = chimpd_load(path);
	int rc;

	if (conf == NULL)
		return 1;
	rc = chimpd_check_roles(conf);
	if (rc == 0)
		printf("configuration %s is fine\n", path);
	conf_free(&conf);
	return rc == 0 ? 0 : 1;
}

static int
chimpd_print(const char *path)
{
	struct conf *conf = chimpd_load(path);
	char *text;

	if (conf == NULL)
		return 1;
	text = conf_print(conf);
	fputs(text, stdout);
	free(text);
	conf_free(&conf);
	return fflush(stdout) == 0 ? 0 : 1;
}

/* Symbolic links stay: a reload is to follow them again. */
static char *
chimpd_absolute(const char *name)
{
	char *dir = name[0] == '/' ? NULL : getcwd(NULL, 0);
	char *path =
	    dir == NULL ? mem_strdup(name) : mem_printf("%s/%s", dir, name);

	free(dir);
	return path;
}

static int
chimpd_run(int argc, char **argv, const struct chimpd_args *args)
{
	/* Static: the master's for as long as the process lives. */
	static struct master_opts opts;
	static struct inherit inherit;
	struct conf *conf;
	struct err err;

	opts.conf_path = chimpd_absolute(args->conf_path);
	opts.ready_fd = args->ready_fd;
	opts.inherit = &inherit;
	log_init(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	inherit_take(&inherit);
	conf = conf_load(args->conf_path, &err);
	if (conf == NULL) {
		log_err(LOG_LEVEL_ERROR, &err);
		return 1;
	}
	conf_apply_log(conf);
	conf_warn(conf);
	/* After this the arguments are gone. */
	title_init(argc, argv);
	title_set("master");
	return master_run(conf, &opts);
}

int
main(int argc, char **argv)
{
	struct chimpd_args args;

	chimpd_open_standard();
	if (chimpd_parse_args(argc, argv, &args) != 0) {
		fputs(chimpd_usage, stderr);
		return 1;
	}
	switch (args.task) {
	case CHIMPD_RUN:
		return chimpd_run(argc, argv, &args);
	case CHIMPD_TEST:
		return chimpd_test(args.conf_path);
	case CHIMPD_PRINT:
		return chimpd_print(args.conf_path);
	case CHIMPD_VERSION:
		chimpd_print_version();
		return 0;
	case CHIMPD_HELP:
		fputs(chimpd_usage, stdout);
		return 0;
	}
	abort();
}
