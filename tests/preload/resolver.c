/*
 * A getaddrinfo that hangs, fails or answers as a file says, for the names in
 * that file; all others are the real one's. Loaded with LD_PRELOAD into a
 * chimpd by the system tests, linked into the unit tests.
 *
 * CHIMP_TEST_RESOLVER names the file; each line of it is NAME WHAT, with WHAT
 * hang (until the file says something else), fail, or ADDRESS[,ADDRESS ...].
 * Replace the file with rename(2).
 */
#include "resolver.h"

#include <dlfcn.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef int getaddrinfo_fn(
    const char *, const char *, const struct addrinfo *, struct addrinfo **);

enum { WHAT_MAX = 512, LOOK_AGAIN_US = 10000 };

atomic_int resolver_asked, resolver_inside;

/* What the file says of a name; false if nothing. */
static int
resolver_says(const char *name, char what[WHAT_MAX])
{
	const char *path = getenv("CHIMP_TEST_RESOLVER");
	FILE *file = path != NULL ? fopen(path, "re") : NULL;
	char line[WHAT_MAX];
	size_t n = strlen(name);
	int known = 0;

	while (file != NULL && !known && fgets(line, sizeof(line), file)) {
		line[strcspn(line, "\n")] = '\0';
		known = strncmp(line, name, n) == 0 && line[n] == ' ';
		if (known)
			snprintf(what, WHAT_MAX, "%s", line + n + 1);
	}
	if (file != NULL)
		fclose(file);
	return known;
}

static getaddrinfo_fn *
resolver_real(void)
{
	void *found = dlsym(RTLD_NEXT, "getaddrinfo");
	getaddrinfo_fn *real;

	/* ISO C has no conversion between the two kinds of pointers. */
	memcpy(&real, &found, sizeof(real));
	return real;
}

static int
resolver_answer(char *addresses, const char *service,
    const struct addrinfo *hints, struct addrinfo **found)
{
	struct addrinfo numeric = {0};
	char *rest = NULL;
	int rc = 0;

	if (hints != NULL)
		numeric = *hints;
	numeric.ai_flags |= AI_NUMERICHOST;
	*found = NULL;
	for (char *a = strtok_r(addresses, ",", &rest); a != NULL && rc == 0;
	     a = strtok_r(NULL, ",", &rest)) {
		rc = resolver_real()(a, service, &numeric, found);
		while (rc == 0 && *found != NULL)
			found = &(*found)->ai_next;
	}
	return rc;
}

int
getaddrinfo(const char *restrict name, const char *restrict service,
    const struct addrinfo *restrict hints, struct addrinfo **restrict found)
{
	char what[WHAT_MAX];
	int rc = EAI_NONAME;

	if (name == NULL ||
	    (hints != NULL && (hints->ai_flags & AI_NUMERICHOST)) ||
	    !resolver_says(name, what))
		return resolver_real()(name, service, hints, found);
	resolver_asked++;
	resolver_inside++;
	while (strcmp(what, "hang") == 0) {
		usleep(LOOK_AGAIN_US);
		resolver_says(name, what);
	}
	if (strcmp(what, "fail") != 0)
		rc = resolver_answer(what, service, hints, found);
	resolver_inside--;
	return rc;
}
