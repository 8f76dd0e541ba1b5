/*
 * Where the lines of the access log go: stderr or a file. Lines are kept until
 * the loop's next turn and written together, each at most 4096 bytes of them at
 * once, ending with a line, so that those of several processes do not mix.
 *
 * Nothing here waits: while nobody takes what is written, lines are kept up to
 * a bound and then dropped and counted (G40).
 */
#ifndef CHIMP_HTTP_ACCESS_OUT_H
#define CHIMP_HTTP_ACCESS_OUT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/loop.h"
#include "common/base/strbuf.h"

struct err;

struct access_out {
	const char *path; /* "" = stderr; lives with the configuration */
	int fd;
	bool said_trouble;   /* the log knows */
	struct strbuf lines; /* not written yet */
	struct loop_timer timer;
	uint64_t dropped; /* lines, since birth */
};

/* -1 when the file cannot be opened. */
int access_out_open(struct access_out *out, const char *path, struct loop *loop,
    struct err *err);

/* Open the file anew; the old one stays when that fails. */
void access_out_reopen(struct access_out *out);

/* To append a line to, with its end; NULL: it is dropped, and counted. */
struct strbuf *access_out_line(struct access_out *out);

/* Write what can be written without waiting, and close. */
void access_out_close(struct access_out *out);

#endif
