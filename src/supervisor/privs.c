/*
 * Dropping root. See privs.h.
 */
#include "supervisor/privs.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/conf/conf.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PRIVS_CAPS_MAX = 64 }; /* the kernel knows fewer, as they are bits */

/* --- capabilities --- */

/*
 * Those in `keep`, a bit each, stay permitted, effective and inheritable; all
 * others go, and for good: nothing that is run later gets them back. By the
 * system call, whose two functions in libcap are not worth the dependency.
 */
static int
privs_keep_caps(uint64_t keep)
{
	struct __user_cap_header_struct head = {
	    .version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2];

	for (int i = 0; i < 2; i++) {
		data[i].permitted = (uint32_t)(keep >> 32 * i);
		data[i].effective = data[i].permitted;
		data[i].inheritable = data[i].permitted;
	}
	/* Also takes what is not permitted out of the ambient set. */
	return (int)syscall(SYS_capset, &head, data);
}

static uint64_t
privs_ambient_caps(void)
{
	uint64_t caps = 0;

	for (unsigned long i = 0; i < PRIVS_CAPS_MAX; i++)
		if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, i, 0, 0) == 1)
			caps |= UINT64_C(1) << i;
	return caps;
}

/* While root: not even a program of root's with all capabilities has any when
 * it is run from here. A container may have forbidden it already. */
static void
privs_drop_bounding_caps(void)
{
	for (unsigned long i = 0; i < PRIVS_CAPS_MAX; i++)
		prctl(PR_CAPBSET_DROP, i, 0, 0, 0);
}

void
privs_child(void)
{
	/* Of root's own nothing would really be gone: it owns the files. */
	if (geteuid() != 0 && privs_keep_caps(0) != 0)
		abort(); /* rights can always be given up */
}

/* --- users --- */

static int
privs_stay_root(const struct conf *conf, struct err *err)
{
	if (strcmp(conf->database.mode, "embedded") == 0) {
		err_set(err, "started as root, but PostgreSQL refuses to run "
			     "as root");
		return err_hint(err,
		    "set user = \"NAME\" in %s, or start chimpd as an ordinary "
		    "user",
		    conf->path);
	}
	log_warn(
	    "everything runs as root; set user = \"NAME\" in %s", conf->path);
	return 0;
}

static int
privs_stay_user(const struct conf *conf)
{
	const struct passwd *pw = getpwuid(geteuid());

	if (conf->user[0] != '\0' &&
	    (pw == NULL || strcmp(pw->pw_name, conf->user) != 0))
		log_warn("user = \"%s\" has no effect: not started as root",
		    conf->user);
	return 0;
}

/* True if root cannot be had back. */
static int
privs_verify(const struct passwd *pw)
{
	uid_t ru, eu, su;
	gid_t rg, eg, sg;

	if (getresuid(&ru, &eu, &su) != 0 || getresgid(&rg, &eg, &sg) != 0)
		return 0;
	if (ru != pw->pw_uid || eu != pw->pw_uid || su != pw->pw_uid ||
	    rg != pw->pw_gid || eg != pw->pw_gid || sg != pw->pw_gid)
		return 0;
	return setuid(0) != 0;
}

static int
privs_become(const struct passwd *pw, struct err *err)
{
	privs_drop_bounding_caps();
	if (initgroups(pw->pw_name, pw->pw_gid) != 0 ||
	    setgid(pw->pw_gid) != 0 || setuid(pw->pw_uid) != 0)
		return err_set(err, "cannot become user \"%s\": %s",
		    pw->pw_name, strerror(errno));
	if (!privs_verify(pw))
		return err_set(err,
		    "became user \"%s\", but root's rights are not gone",
		    pw->pw_name);
	/* The kernel forbade core dumps with the change of user; a child that
	 * the watchdog aborts should leave one. */
	prctl(PR_SET_DUMPABLE, 1);
	if (setenv("HOME", pw->pw_dir, 1) != 0 ||
	    setenv("USER", pw->pw_name, 1) != 0 ||
	    setenv("LOGNAME", pw->pw_name, 1) != 0)
		return err_set(err, "cannot set HOME: %s", strerror(errno));
	log_info("running as user %s", pw->pw_name);
	return 0;
}

static int
privs_choose_user(const struct conf *conf, struct err *err)
{
	const struct passwd *pw;

	if (geteuid() != 0)
		return privs_stay_user(conf);
	if (conf->user[0] == '\0')
		return privs_stay_root(conf, err);
	errno = 0;
	pw = getpwnam(conf->user);
	if (pw == NULL) {
		err_set(err, "user \"%s\" does not exist%s%s", conf->user,
		    errno ? ": " : "", errno ? strerror(errno) : "");
		return err_hint(err,
		    "create it (adduser --system --group %s), or change user "
		    "in %s",
		    conf->user, conf->path);
	}
	if (pw->pw_uid == 0)
		return privs_stay_root(conf, err);
	return privs_become(pw, err);
}

int
privs_drop(const struct conf *conf, struct err *err)
{
	if (privs_choose_user(conf, err) != 0)
		return -1;
	if (geteuid() != 0 && privs_keep_caps(privs_ambient_caps()) != 0)
		return err_set(
		    err, "cannot give up capabilities: %s", strerror(errno));
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return err_set(
		    err, "cannot forbid new privileges: %s", strerror(errno));
	return 0;
}
