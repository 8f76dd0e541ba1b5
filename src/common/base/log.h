/*
 * The log: one line per fact, to stderr.
 *
 * text:  2026-11-23T10:00:00.123Z chimpd[4711] info worker/default/0: ...
 * json:  {"time":"...","pid":4711,"level":"info","process":"...","message":..}
 *
 * Where stderr is the journal (JOURNAL_STREAM names it), both begin with "<N>",
 * the priority of syslog, which the journal takes off; text lines leave out
 * what the journal adds itself, time and pid.
 *
 * A line is one write(2), so that lines of many processes do not mix.
 */
#ifndef CHIMP_BASE_LOG_H
#define CHIMP_BASE_LOG_H

#include <stdbool.h>

struct err;

enum log_level {
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARN,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG
};
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

void log_init(enum log_level level, enum log_format format);
void log_set_level(enum log_level level);
enum log_level log_level(void);

/* Who speaks: "master", "worker/default/0"; copied, cut at 63 bytes. */
void log_set_process(const char *name);

void log_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

void log_at(enum log_level level, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Log an error's message, and its hint behind "; ". */
void log_err(enum log_level level, const struct err *err);

/*
 * For lines that are written beside the log's own. log_journal: each begins
 * with "<N>", and needs no time and no pid. log_time: now, as in the log.
 */
enum { LOG_TIME_BYTES = 25 }; /* with the terminator */
bool log_journal(void);
void log_time(char buf[LOG_TIME_BYTES]);
const char *log_process(void);

/* "error", "warn", "info", "debug"; false if it is none. */
bool log_level_parse(const char *name, enum log_level *level);

#endif
