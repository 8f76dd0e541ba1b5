/*
 * Who else may write or read a file. See conf_perm.h.
 */
#include "common/conf/conf_perm.h"
#include "common/base/err.h"
#include "common/base/mem.h"

#include <libgen.h>
#include <stdlib.h>
#include <unistd.h>

/* `path` is in `dir`. In a sticky folder nobody replaces another's file. */
static int
perm_check_folder(const char *path, const char *dir, struct err *err)
{
	struct stat st;

	if (stat(dir, &st) != 0 || (st.st_mode & S_IWOTH) == 0 ||
	    (st.st_mode & S_ISVTX) != 0)
		return 0;
	err_set(err,
	    "\"%s\" is not safe: everybody may write to its folder \"%s\"",
	    path, dir);
	return err_hint(err, "run: chmod o-w %s", dir);
}

static int
perm_check_folder_of(const char *path, const char *name, struct err *err)
{
	char *copy = mem_strdup(name);
	int rc = perm_check_folder(path, dirname(copy), err);

	mem_free(&copy);
	return rc;
}

/* The folders of the name and, behind symbolic links, of the file itself. */
static int
perm_check_folders(const char *path, struct err *err)
{
	char *real = realpath(path, NULL);
	int rc = perm_check_folder_of(path, path, err);

	if (rc == 0 && real != NULL)
		rc = perm_check_folder_of(path, real, err);
	mem_free(&real);
	return rc;
}

static int
perm_check_others(const char *path, const struct stat *st, struct err *err)
{
	if ((st->st_mode & S_IWOTH) == 0)
		return perm_check_folders(path, err);
	err_set(err, "\"%s\" is not safe: everybody may write to it", path);
	return err_hint(err, "run: chmod o-w %s", path);
}

int
conf_perm_check(const char *path, struct err *err)
{
	struct stat st;

	return stat(path, &st) == 0 ? perm_check_others(path, &st, err) : 0;
}

int
conf_perm_check_secret(const char *path, const struct stat *st, struct err *err)
{
	if (perm_check_others(path, st, err) != 0)
		return -1;
	if ((st->st_mode & S_IWGRP) == 0 || st->st_gid == 0 ||
	    st->st_gid == getegid())
		return 0;
	err_set(err, "\"%s\" is not safe: its group %d may write to it", path,
	    (int)st->st_gid);
	return err_hint(err, "run: chmod g-w %s", path);
}

bool
conf_perm_public(const struct stat *st)
{
	return (st->st_mode & S_IROTH) != 0;
}
