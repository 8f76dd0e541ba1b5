/*
 * Values: from the texts of a file to a member of a struct, and back.
 */
#ifndef CHIMP_CONF_CONF_VALUE_H
#define CHIMP_CONF_CONF_VALUE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/conf/conf.h"
#include "common/conf/conf_keys.h"

struct err;
struct strbuf;

/*
 * Convert, check against the key's limits, and set the member in `base`.
 * The error is the reason alone: "must be ..., not ...". `dir` completes
 * relative paths.
 */
int conf_value_set(const struct conf_key *key, void *base,
    const struct conf_strings *texts, const char *dir, struct arena *arena,
    struct err *err);

/* Set the key's default. */
void conf_value_default(
    const struct conf_key *key, void *base, struct arena *arena);

/* Whether a key with CONF_OPTIONAL has a value. */
bool conf_value_is_set(const struct conf_key *key, void *base);

/* Append the value as a file would say it; a secret is masked. */
void conf_value_print(
    const struct conf_key *key, void *base, struct strbuf *out);

/* Append a string in quotes, safe from libConfuse's expansions. */
void conf_quote(const char *text, struct strbuf *out);

/* "250ms" "30s" "5m" "1h" "7d" "0"; "100B" "512KiB" "4MiB" "1GiB" "0". */
int conf_duration_parse(const char *text, int64_t *ms);
int conf_size_parse(const char *text, int64_t *bytes);

/* The limits of a rate: of its count and its duration. */
enum {
	CONF_RATE_COUNT_MIN = 1,
	CONF_RATE_COUNT_MAX = 1000000,
	CONF_RATE_WINDOW_MIN_MS = 100,
	CONF_RATE_WINDOW_MAX_MS = 24 * 60 * 60 * 1000
};

/*
 * "100/1m": a decimal count, a slash and a duration, without spaces; "" is
 * none. The error is the reason alone, with an example.
 */
int conf_rate_parse(const char *text, struct conf_rate *rate, struct err *err);
void conf_rate_print(const struct conf_rate *rate, struct strbuf *out);

#endif
