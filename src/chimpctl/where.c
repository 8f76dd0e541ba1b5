/*
 * Which database. See where.h.
 */
#include "chimpctl/where.h"

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/conf/conf.h"

#include <stdlib.h>
#include <unistd.h>

#define WHERE_CONF SYSCONFDIR "/chimpd/chimpd.conf"

/* The variables that chimpd itself obeys, the stronger one first. */
static const char *const where_variables[] = {
    "CHIMPBASE_DATABASE_URL",
    "DATABASE_URL",
    NULL,
};

static int
where_set(struct where *where, const char *url, const char *named_by)
{
	where->url = mem_strdup(url);
	where->named_by = named_by;
	return 0;
}

static int
where_read_conf(struct where *where, const char *path, struct err *err)
{
	where->conf = conf_load(path, err);
	if (where->conf == NULL)
		return -1;
	return where_set(where, where->conf->database.url, path);
}

int
where_find(struct where *where, struct err *err)
{
	if (where->url != NULL)
		return 0; /* by where_conf */
	if (where->arg_url != NULL)
		return where_set(where, where->arg_url, "-d");
	if (where->arg_conf != NULL)
		return where_read_conf(where, where->arg_conf, err);
	for (const char *const *v = where_variables; *v != NULL; v++) {
		const char *url = getenv(*v);

		if (url != NULL && *url != '\0')
			return where_set(where, url, *v);
	}
	if (access(WHERE_CONF, F_OK) == 0)
		return where_read_conf(where, WHERE_CONF, err);
	err_set(err, "no database is named: neither -d nor -c is given, "
		     "DATABASE_URL is empty, and there is no " WHERE_CONF);
	return err_hint(err, "Say chimpctl -c chimpd.conf with the file that "
			     "chimpd runs with, or chimpctl -d URL.");
}

int
where_conf(struct where *where, struct err *err)
{
	const char *path =
	    where->arg_conf != NULL ? where->arg_conf : WHERE_CONF;

	return where_read_conf(where, path, err);
}

void
where_done(struct where *where)
{
	mem_free(&where->url);
	if (where->conf != NULL)
		conf_free(&where->conf);
}
