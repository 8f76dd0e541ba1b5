/*
 * A set of listeners in a temporary folder. See listen_set.h.
 */
#include "listen_set.h"
#include "common/base/fd.h"
#include "common/conf/conf.h"

#include <check.h>

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

char set_folder[] = "/tmp/chimp-test-XXXXXX";
char set_path[128];  /* FOLDER/thing */
char set_unix[200];  /* unix:FOLDER/thing */
char set_other[200]; /* unix:FOLDER/other */
struct err set_err;
struct listeners set;

void
set_setup(void)
{
	strcpy(set_folder + strlen(set_folder) - 6, "XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(set_folder));
	snprintf(set_path, sizeof(set_path), "%s/thing", set_folder);
	snprintf(set_unix, sizeof(set_unix), "unix:%s", set_path);
	snprintf(set_other, sizeof(set_other), "unix:%s/other", set_folder);
	memset(&set, 0, sizeof(set));
}

static int
remove_one(const char *name, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(name);
}

void
set_teardown(void)
{
	listen_close(&set);
	nftw(set_folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* Change to at most three addresses. */
int
set_change(struct listeners *s, const char *a, const char *b, const char *c)
{
	char texts[3][200];
	char *items[] = {texts[0], texts[1], texts[2], NULL};
	struct conf_strings addresses = {
	    items, (a != NULL) + (b != NULL) + (c != NULL)};

	snprintf(texts[0], sizeof(texts[0]), "%s", a != NULL ? a : "");
	snprintf(texts[1], sizeof(texts[1]), "%s", b != NULL ? b : "");
	snprintf(texts[2], sizeof(texts[2]), "%s", c != NULL ? c : "");
	return listen_change(s, &addresses, &set_err);
}

/* A s that listens on up to two addresses. */
void
set_open(struct listeners *s, const char *a, const char *b)
{
	ck_assert_int_eq(set_change(s, a, b, NULL), 0);
	listen_commit(s);
}

const char *
set_names(void)
{
	static char buf[200];

	listen_names(&set, buf, sizeof(buf));
	return buf;
}

/* 0 if a connection to the Unix socket is taken. */
int
set_connect(const char *name)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0), rc;

	snprintf(sun.sun_path, sizeof(sun.sun_path), "%.100s", name);
	rc = connect(fd, (struct sockaddr *)&sun, sizeof(sun));
	fd_close(&fd);
	return rc;
}

mode_t
set_mode_of(const char *name)
{
	struct stat st;

	ck_assert_int_eq(stat(name, &st), 0);
	return st.st_mode & 07777;
}

bool
set_is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}
