/*
 * Process titles. See title.h.
 *
 * Linux shows the bytes where the kernel put the arguments at exec. There are
 * few of them, so the environment, which lies right behind, is moved away and
 * its room used too, as PostgreSQL, nginx and others do it.
 */
#include "supervisor/title.h"
#include "common/base/mem.h"

#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

static char *title_area; /* NULL: not initialized */
static size_t title_bytes;

/* The end of a run of strings that lie one behind the other. */
static char *
title_area_end(char *end, int n, char **strings)
{
	for (int i = 0; i < n; i++)
		if (strings[i] == end)
			end += strlen(end) + 1;
	return end;
}

/*
 * Move the environment's `n` strings, which lie in `size` bytes, away: all in
 * one block, behind the pointers to them, since setenv(3) forgets what it
 * replaces.
 */
static void
title_move_environment(int n, size_t size)
{
	size_t head = (size_t)(n + 1) * sizeof(char *);
	char **pointers = mem_zalloc(head + size);
	char *to = (char *)pointers + head;

	for (int i = 0; i < n; i++) {
		pointers[i] = to;
		to = stpcpy(to, environ[i]) + 1;
	}
	environ = pointers;
}

void
title_init(int argc, char **argv)
{
	size_t environ_bytes = 0;
	char *end;
	int n;

	if (argc == 0 || title_area != NULL)
		return;
	for (n = 0; environ[n] != NULL; n++)
		environ_bytes += strlen(environ[n]) + 1;
	end = title_area_end(argv[0], argc, argv);
	end = title_area_end(end, n, environ);
	title_move_environment(n, environ_bytes);
	title_area = argv[0];
	title_bytes = (size_t)(end - argv[0]);
	argv[1] = NULL;
}

void
title_set(const char *name)
{
	char title[128];

	snprintf(title, sizeof(title), "chimpd: %s", name);
	prctl(PR_SET_NAME, title);
	if (title_area == NULL)
		return;
	memset(title_area, 0, title_bytes);
	snprintf(title_area, title_bytes, "%s", title);
}
