/*
 * The log: one line per fact, to stderr. See log.h.
 */
#include "common/base/log.h"
#include "common/base/err.h"

#include <jansson.h>

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Longer than any err; a longer message is cut. */
#define LOG_LINE_BYTES 4096

static enum log_level log_level_now = LOG_LEVEL_INFO;
static enum log_format log_format_now = LOG_FORMAT_TEXT;
static bool log_to_journal;
static char log_process_name[64] = "master";

static const struct {
	const char *name;
	int priority; /* of syslog(3) */
} log_levels[] = {
    [LOG_LEVEL_ERROR] = {"error", 3},
    [LOG_LEVEL_WARN] = {"warn", 4},
    [LOG_LEVEL_INFO] = {"info", 6},
    [LOG_LEVEL_DEBUG] = {"debug", 7},
};

/*
 * JOURNAL_STREAM is "DEVICE:INODE" of what systemd connected to the journal.
 * A redirected stderr is another file, and a program that systemd started
 * long ago leaves the variable to all below it.
 */
static bool
log_is_journal(int fd)
{
	const char *stream = getenv("JOURNAL_STREAM");
	char ours[64];
	struct stat st;

	if (stream == NULL || fstat(fd, &st) != 0)
		return false;
	snprintf(ours, sizeof(ours), "%ju:%ju", (uintmax_t)st.st_dev,
	    (uintmax_t)st.st_ino);
	return strcmp(stream, ours) == 0;
}

void
log_init(enum log_level level, enum log_format format)
{
	log_level_now = level;
	log_format_now = format;
	log_to_journal = log_is_journal(STDERR_FILENO);
}

void
log_set_level(enum log_level level)
{
	log_level_now = level;
}

enum log_level
log_level(void)
{
	return log_level_now;
}

void
log_set_process(const char *name)
{
	snprintf(log_process_name, sizeof(log_process_name), "%s", name);
}

bool
log_level_parse(const char *name, enum log_level *level)
{
	for (int i = LOG_LEVEL_ERROR; i <= LOG_LEVEL_DEBUG; i++) {
		if (strcmp(name, log_levels[i].name) == 0) {
			*level = (enum log_level)i;
			return true;
		}
	}
	return false;
}

bool
log_journal(void)
{
	return log_to_journal;
}

const char *
log_process(void)
{
	return log_process_name;
}

void
log_time(char buf[LOG_TIME_BYTES])
{
	/* Many lines are of the same second. */
	static char second[LOG_TIME_BYTES];
	static time_t known = -1;
	struct timespec ts;
	struct tm tm;
	int ms;

	clock_gettime(CLOCK_REALTIME, &ts);
	if (ts.tv_sec != known) {
		gmtime_r(&ts.tv_sec, &tm);
		strftime(second, sizeof(second), "%Y-%m-%dT%H:%M:%S.000Z", &tm);
		known = ts.tv_sec;
	}
	memcpy(buf, second, LOG_TIME_BYTES);
	ms = (int)(ts.tv_nsec / 1000000);
	buf[20] = (char)('0' + ms / 100);
	buf[21] = (char)('0' + ms / 10 % 10);
	buf[22] = (char)('0' + ms % 10);
}

static int
log_text_line(
    char *line, size_t size, enum log_level level, const char *message)
{
	char when[LOG_TIME_BYTES];

	if (log_to_journal)
		return snprintf(
		    line, size, "%s: %s", log_process_name, message);
	log_time(when);
	return snprintf(line, size, "%s chimpd[%d] %s %s: %s", when,
	    (int)getpid(), log_levels[level].name, log_process_name, message);
}

/* Cut a text, at the beginning of a character. */
static void
log_cut(char *text, size_t length)
{
	while (length > 0 && ((unsigned char)text[length] & 0xc0) == 0x80)
		length--;
	text[length] = '\0';
}

static size_t
log_json_dump(
    char *line, size_t size, enum log_level level, const char *message)
{
	char when[LOG_TIME_BYTES];
	json_t *o;
	size_t n;

	log_time(when);
	/* NULL when the message is not UTF-8. */
	o = json_pack("{s:s, s:i, s:s, s:s, s:s}", "time", when, "pid",
	    (int)getpid(), "level", log_levels[level].name, "process",
	    log_process_name, "message", message);
	if (o == NULL)
		return (size_t)snprintf(line, size,
		    "{\"level\":\"error\",\"message\":\"a message that is not "
		    "UTF-8 was left out\"}");
	n = json_dumpb(o, line, size, JSON_COMPACT);
	json_decref(o);
	return n;
}

static int
log_json_line(char *line, size_t size, enum log_level level, char *message)
{
	size_t n = log_json_dump(line, size - 1, level, message);

	/* As much of it as fits, by what its bytes have taken. */
	while (n > size - 1 && message[0] != '\0') {
		log_cut(message, (strlen(message) - 1) * (size - 1) / n);
		n = log_json_dump(line, size - 1, level, message);
	}
	line[n] = '\0';
	return (int)n;
}

static void
log_write(enum log_level level, char *message)
{
	char line[LOG_LINE_BYTES + 256];
	const size_t size = sizeof(line) - 1; /* the line break */
	ssize_t done;
	int n = 0;

	/* The journal takes it off, also in front of JSON. */
	if (log_to_journal)
		n = snprintf(line, size, "<%d>", log_levels[level].priority);
	if (log_format_now == LOG_FORMAT_JSON)
		n += log_json_line(line + n, size - n, level, message);
	else
		n += log_text_line(line + n, size - n, level, message);
	if (n > (int)size - 1)
		n = (int)size - 1;
	/* A line break inside a message must not forge a line. */
	for (int i = 0; i < n; i++)
		if ((unsigned char)line[i] < ' ' && line[i] != '\t')
			line[i] = ' ';
	line[n++] = '\n';
	/* Where stderr is full or closed there is nobody left to tell. */
	done = write(STDERR_FILENO, line, (size_t)n);
	(void)done;
}

static void
log_vprintf(enum log_level level, const char *fmt, va_list ap)
{
	char message[LOG_LINE_BYTES];

	if (level > log_level_now)
		return;
	if (vsnprintf(message, sizeof(message), fmt, ap) >=
	    (int)sizeof(message))
		log_cut(message, sizeof(message) - 2);
	log_write(level, message);
}

#define LOG_FUNCTION(name, level)            \
	void name(const char *fmt, ...)      \
	{                                    \
		va_list ap;                  \
		va_start(ap, fmt);           \
		log_vprintf(level, fmt, ap); \
		va_end(ap);                  \
	}

LOG_FUNCTION(log_error, LOG_LEVEL_ERROR)
LOG_FUNCTION(log_warn, LOG_LEVEL_WARN)
LOG_FUNCTION(log_info, LOG_LEVEL_INFO)
LOG_FUNCTION(log_debug, LOG_LEVEL_DEBUG)

void
log_at(enum log_level level, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_vprintf(level, fmt, ap);
	va_end(ap);
}

void
log_err(enum log_level level, const struct err *err)
{
	char message[LOG_LINE_BYTES];

	if (level > log_level_now)
		return;
	snprintf(message, sizeof(message), "%s%s%s", err->message,
	    err->hint[0] ? "; " : "", err->hint);
	log_write(level, message);
}
