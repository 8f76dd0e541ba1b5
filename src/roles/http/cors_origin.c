/*
 * Which origins are listed. See cors_origin.h.
 */
#include "roles/http/cors_origin.h"

#include <string.h>

#include "common/conf/conf.h"

bool
cors_allows(const struct conf_cors *cors, const char *origin, size_t length)
{
	for (int i = 0; i < cors->origins.count; i++) {
		const char *listed = cors->origins.items[i];

		if (strcmp(listed, "*") == 0 ||
		    (strlen(listed) == length &&
			memcmp(listed, origin, length) == 0))
			return true;
	}
	return false;
}
