/*
 * Resource limits. See limits.h.
 */
#include "supervisor/limits.h"
#include "common/base/log.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>

/* Enough for any http.max_connections; far below what some containers set,
 * since programs that close every possible descriptor take their time then. */
#define LIMITS_FILES 65536

void
limits_raise_files(void)
{
	struct rlimit rl;

	if (getrlimit(RLIMIT_NOFILE, &rl) != 0 || rl.rlim_cur >= LIMITS_FILES)
		return;
	rl.rlim_cur = rl.rlim_max < LIMITS_FILES ? rl.rlim_max : LIMITS_FILES;
	if (setrlimit(RLIMIT_NOFILE, &rl) != 0)
		log_warn("cannot raise the limit of open files: %s",
		    strerror(errno));
}
