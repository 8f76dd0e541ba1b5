/*
 * What chimpctl tells its user on stderr, in the form of PostgreSQL's own
 * clients: "chimpctl: error: ...", then detail and hint on their own lines.
 */
#ifndef CHIMP_CHIMPCTL_SAY_H
#define CHIMP_CHIMPCTL_SAY_H

struct err;

/* Any but `message` may be NULL or "". Trailing newlines are dropped. */
void say_error(const char *message, const char *detail, const char *hint);
void say_err(const struct err *err);

/* An error of usage; `hint` may be NULL. Returns CTL_USAGE. */
int say_usage(const char *hint, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif
