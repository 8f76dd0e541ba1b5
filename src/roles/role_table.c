/*
 * The table of roles: the one place that knows them all.
 */
#include "roles/role.h"

#include <string.h>

#ifdef CHIMP_TEST_ROLE
extern const struct role role_fake; /* tests/fake/ */
#endif

const struct role *const role_table[] = {
    &role_http,
    &role_worker,
    &role_cron,
    &role_subscriber,
#ifdef CHIMP_TEST_ROLE
    &role_fake,
#endif
    NULL,
};

const struct role *
role_find(const char *name)
{
	for (const struct role *const *r = role_table; *r != NULL; r++)
		if (strcmp((*r)->name, name) == 0)
			return *r;
	return NULL;
}
