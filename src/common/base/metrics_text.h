/*
 * Prometheus' text format, version 0.0.4: the figures of chimpd, their lines,
 * and the page that is made of the lines of many processes.
 *
 * A process writes lines "name{labels} value" without comments, of itself only.
 * The page brings those of one name together below its HELP and TYPE.
 */
#ifndef CHIMP_BASE_METRICS_TEXT_H
#define CHIMP_BASE_METRICS_TEXT_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/strbuf.h"

/* Append `name="value"`, behind a comma unless `labels` is empty. Bytes that
 * are not UTF-8 become "?", as the format has nothing else. */
void metrics_label(struct strbuf *labels, const char *name, const char *value);

/* Append a line. `labels` is without braces, "" if there are none. */
void metrics_count(
    struct strbuf *out, const char *name, const char *labels, uint64_t value);
void metrics_value(
    struct strbuf *out, const char *name, const char *labels, double value);

/* How long things took: from 1 ms to 10 s, and longer. */
enum { METRICS_BUCKETS = 13 };
struct metrics_histogram {
	uint64_t counts[METRICS_BUCKETS + 1]; /* of each; the last: longer */
	uint64_t sum_us;
};
void metrics_observe(struct metrics_histogram *h, int64_t us);

/* Its lines: name_bucket, name_sum (seconds), name_count. */
void metrics_histogram(struct strbuf *out, const char *name, const char *labels,
    const struct metrics_histogram *h);

/*
 * Append the page of all lines in `texts`. What is no line, or of a name that
 * this version does not know, is left out.
 */
void metrics_page(const char *const *texts, size_t n, struct strbuf *out);

#endif
