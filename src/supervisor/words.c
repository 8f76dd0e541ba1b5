/*
 * Durations and ends of processes in words. See words.h.
 */
#include "supervisor/words.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

const char *
words_duration(int64_t ms, char buf[WORDS_BYTES])
{
	const int64_t s = ms / 1000, min = s / 60, h = min / 60;

	if (ms < 1000)
		snprintf(buf, WORDS_BYTES, "%" PRId64 " ms", ms);
	else if (s < 10)
		snprintf(buf, WORDS_BYTES, "%" PRId64 ".%" PRId64 " s", s,
		    ms / 100 % 10);
	else if (min < 2)
		snprintf(buf, WORDS_BYTES, "%" PRId64 " s", s);
	else if (h < 2)
		snprintf(buf, WORDS_BYTES, "%" PRId64 " min", min);
	else if (h < 48)
		snprintf(buf, WORDS_BYTES, "%" PRId64 " h", h);
	else
		snprintf(buf, WORDS_BYTES, "%" PRId64 " days", h / 24);
	return buf;
}

const char *
words_exit(int status, char buf[WORDS_BYTES])
{
	if (WIFSIGNALED(status))
		snprintf(buf, WORDS_BYTES, "killed by signal %d (%s)%s",
		    WTERMSIG(status), strsignal(WTERMSIG(status)),
		    WCOREDUMP(status) ? ", core dumped" : "");
	else
		snprintf(buf, WORDS_BYTES, "exited with status %d",
		    WEXITSTATUS(status));
	return buf;
}
