/*
 * Time zones: the reader of TZif files and the table of spans. See
 * cron_zone.h; the rule at a file's end is read by cron_rule.c.
 */
#include "common/cron/cron_zone.h"

#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/cron/cron_civil.h"
#include "common/cron/cron_rule.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CRON_ZONE_DIR "/usr/share/zoneinfo"
/* Real ones have less than 4 KiB. */
#define CRON_ZONE_MAX_BYTES      (256 * 1024)
#define CRON_ZONE_NAME_MAX_BYTES 128
#define CRON_ZONE_LAST_YEAR      2500

/* RFC 8536, section 3.1. */
#define TZIF_HEADER_BYTES 44
#define TZIF_TYPE_BYTES   6
/* Section 3.2: offsets lie within these, in seconds. */
#define TZIF_OFFSET_MIN (-89999)
#define TZIF_OFFSET_MAX 93599

struct cron_transition {
	int64_t at_s;
	int64_t offset_s; /* from then on */
};

struct cron_zone {
	int64_t first_offset_s;              /* before any transition */
	struct cron_transition *transitions; /* ascending, offsets differ */
	size_t n;
	size_t room;
};

/* One data block of a file; all pointers into the file's bytes. */
struct tzif {
	const uint8_t *times;   /* n_times of 8 bytes */
	const uint8_t *indexes; /* n_times of 1 byte */
	const uint8_t *types;   /* n_types of 6 bytes */
	const char *footer;     /* rule, not terminated */
	size_t n_times;
	size_t n_types;
	size_t n_leaps;
	size_t footer_length;
};

static uint32_t
tzif_u32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 |
	       (uint32_t)p[2] << 8 | p[3];
}

static int64_t
tzif_i64(const uint8_t *p)
{
	return (int64_t)((uint64_t)tzif_u32(p) << 32 | tzif_u32(p + 4));
}

/*
 * Check the header at `p` and return the size of it with its data block, 0 if
 * it is wrong or longer than `size`. `time_bytes` is 4 in the first block and
 * 8 in the second.
 */
static size_t
tzif_block(const uint8_t *p, size_t size, size_t time_bytes, struct tzif *t)
{
	size_t utc, standard, chars, total;

	if (size < TZIF_HEADER_BYTES || memcmp(p, "TZif", 4) != 0)
		return 0;
	utc = tzif_u32(p + 20);
	standard = tzif_u32(p + 24);
	t->n_leaps = tzif_u32(p + 28);
	t->n_times = tzif_u32(p + 32);
	t->n_types = tzif_u32(p + 36);
	chars = tzif_u32(p + 40);
	/* 32-bit counts times small factors cannot overflow 64 bits. */
	total = TZIF_HEADER_BYTES + t->n_times * (time_bytes + 1) +
		t->n_types * TZIF_TYPE_BYTES + chars +
		t->n_leaps * (time_bytes + 4) + standard + utc;
	if (total > size || t->n_types == 0 || t->n_types > 256)
		return 0;
	t->times = p + TZIF_HEADER_BYTES;
	t->indexes = t->times + t->n_times * time_bytes;
	t->types = t->indexes + t->n_times;
	return total;
}

/* Find the 64-bit block and the footer. */
static int
tzif_open(const uint8_t *data, size_t size, struct tzif *t, struct err *err)
{
	const char *footer, *end;
	size_t first, second;

	first = tzif_block(data, size, 4, t);
	if (first == 0)
		return err_set(err, "not a time zone file (TZif)");
	if (data[4] < '2')
		return err_set(err, "a time zone file of version 1, which ends "
				    "in 2037");
	second = tzif_block(data + first, size - first, 8, t);
	if (second == 0)
		return err_set(err, "a damaged time zone file");
	if (t->n_leaps != 0)
		return err_set(err, "this zone counts leap seconds, which "
				    "PostgreSQL's clock does not");
	footer = (const char *)data + first + second;
	size -= first + second;
	end = size < 2 || *footer != '\n' ? NULL
					  : memchr(footer + 1, '\n', size - 1);
	if (end == NULL)
		return err_set(err, "a damaged time zone file: no rule at its "
				    "end");
	t->footer = footer + 1;
	t->footer_length = (size_t)(end - t->footer);
	return 0;
}

static int
tzif_offset(const struct tzif *t, size_t type, int64_t *offset, struct err *err)
{
	if (type >= t->n_types)
		return err_set(
		    err, "a damaged time zone file: no type %zu", type);
	*offset = (int32_t)tzif_u32(t->types + type * TZIF_TYPE_BYTES);
	if (*offset < TZIF_OFFSET_MIN || *offset > TZIF_OFFSET_MAX)
		return err_set(err, "a damaged time zone file: offset %lld",
		    (long long)*offset);
	return 0;
}

static int64_t
zone_last_offset(const struct cron_zone *zone)
{
	return zone->n == 0 ? zone->first_offset_s
			    : zone->transitions[zone->n - 1].offset_s;
}

/* Append a transition; those that change no offset (only a name) are left
 * out, and one at the same instant as the last takes its place. */
static void
zone_add(struct cron_zone *zone, int64_t at_s, int64_t offset_s)
{
	if (at_s <= CRON_TIME_MIN) {
		zone->first_offset_s = offset_s;
		return;
	}
	if (zone->n > 0 && zone->transitions[zone->n - 1].at_s == at_s)
		zone->n--;
	if (zone_last_offset(zone) == offset_s)
		return;
	if (zone->n == zone->room) {
		zone->room = zone->room * 2 + 64;
		zone->transitions = mem_realloc(
		    zone->transitions, zone->room * sizeof(*zone->transitions));
	}
	zone->transitions[zone->n++] = (struct cron_transition){at_s, offset_s};
}

static int
zone_add_times(struct cron_zone *zone, const struct tzif *t, struct err *err)
{
	int64_t last = INT64_MIN;

	if (tzif_offset(t, 0, &zone->first_offset_s, err) != 0)
		return -1;
	for (size_t i = 0; i < t->n_times; i++) {
		int64_t at = tzif_i64(t->times + i * 8);
		int64_t offset;

		if (i > 0 && at <= last)
			return err_set(err, "a damaged time zone file: its "
					    "times do not rise");
		if (tzif_offset(t, t->indexes[i], &offset, err) != 0)
			return -1;
		if (at < CRON_TIME_MAX)
			zone_add(zone, at, offset);
		last = at;
	}
	return 0;
}

/* Append what the rule says about the years behind the table. */
static void
zone_add_rule(
    struct cron_zone *zone, const struct tzif *t, const struct cron_rule *rule)
{
	int64_t last = CRON_TIME_MIN;
	struct civil civil;

	if (t->n_times > 0)
		last = tzif_i64(t->times + (t->n_times - 1) * 8);
	if (last >= CRON_TIME_MAX)
		return;
	if (last < CRON_TIME_MIN)
		last = CRON_TIME_MIN;
	if (!rule->has_dst) {
		zone_add(zone, last, rule->std_offset_s);
		return;
	}
	civil_from_days(civil_day_of(last), &civil);
	/* A rule's year may begin in the year before, by UTC. */
	for (int64_t y = civil.year; y <= CRON_ZONE_LAST_YEAR; y++) {
		int64_t start = cron_rule_dst_start(rule, y);
		int64_t end = cron_rule_dst_end(rule, y);

		if (start > last && start <= end)
			zone_add(zone, start, rule->dst_offset_s);
		if (end > last)
			zone_add(zone, end, rule->std_offset_s);
		if (start > last && start > end)
			zone_add(zone, start, rule->dst_offset_s);
	}
}

struct cron_zone *
cron_zone_parse(const void *data, size_t size_bytes, struct err *err)
{
	struct cron_zone *zone = mem_zalloc(sizeof(*zone));
	struct cron_rule rule;
	struct tzif t;

	if (tzif_open(data, size_bytes, &t, err) != 0 ||
	    zone_add_times(zone, &t, err) != 0)
		goto out;
	if (t.footer_length == 0)
		return zone; /* the last offset holds for ever */
	if (cron_rule_parse(t.footer, t.footer_length, &rule, err) != 0)
		goto out;
	zone_add_rule(zone, &t, &rule);
	return zone;
out:
	cron_zone_free(&zone);
	return NULL;
}

/* The name becomes a path: only what IANA's names are made of. */
static bool
zone_name_valid(const char *name)
{
	size_t length = strlen(name);

	if (length > CRON_ZONE_NAME_MAX_BYTES || !isalpha((unsigned char)*name))
		return false;
	for (size_t i = 0; i < length; i++)
		if (!isalnum((unsigned char)name[i]) &&
		    strchr("_+-/", name[i]) == NULL)
			return false;
	return true;
}

static struct cron_zone *
zone_unknown(const char *name, struct err *err)
{
	err_set(err, "time zone \"%.100s\" is unknown", name);
	if (access(CRON_ZONE_DIR "/UTC", R_OK) != 0)
		err_hint(err,
		    "%s is missing; on Debian: apt-get install tzdata",
		    CRON_ZONE_DIR);
	else
		err_hint(err, "give a name from the IANA time zone database, "
			      "such as Europe/Berlin, or UTC");
	return NULL;
}

struct cron_zone *
cron_zone_load(const char *name, struct err *err)
{
	char path[sizeof(CRON_ZONE_DIR) + CRON_ZONE_NAME_MAX_BYTES + 1];
	struct cron_zone *zone;
	size_t size_bytes;
	char *data;

	if (*name == '\0' || strcmp(name, "UTC") == 0)
		return mem_zalloc(sizeof(*zone));
	if (!zone_name_valid(name))
		return zone_unknown(name, err);
	snprintf(path, sizeof(path), "%s/%s", CRON_ZONE_DIR, name);
	data = fd_read_file(path, CRON_ZONE_MAX_BYTES, &size_bytes, err);
	if (data == NULL)
		return zone_unknown(name, err);
	zone = cron_zone_parse(data, size_bytes, err);
	free(data);
	if (zone == NULL)
		err_prefix(err, "time zone \"%.100s\" (%s)", name, path);
	return zone;
}

void
cron_zone_free(struct cron_zone **zone)
{
	if (*zone == NULL)
		return;
	free((*zone)->transitions);
	mem_free(zone);
}

/* How many transitions have happened at `at_s`. */
static size_t
zone_count_until(const struct cron_zone *zone, int64_t at_s)
{
	size_t low = 0, high = zone->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (zone->transitions[middle].at_s <= at_s)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* The offset that holds before transition i, from 0. */
static int64_t
zone_offset_before(const struct cron_zone *zone, size_t i)
{
	return i == 0 ? zone->first_offset_s
		      : zone->transitions[i - 1].offset_s;
}

void
cron_zone_span(
    const struct cron_zone *zone, int64_t at_s, struct cron_span *span)
{
	size_t n = zone_count_until(zone, at_s);

	span->offset_s = zone_offset_before(zone, n);
	span->start_s = n == 0 ? CRON_TIME_MIN : zone->transitions[n - 1].at_s;
	span->end_s = n == zone->n ? CRON_TIME_MAX : zone->transitions[n].at_s;
	if (n == 0) {
		span->reached_s = span->start_s + span->offset_s;
		return;
	}
	span->reached_s = INT64_MIN;
	/* More than the last transition counts only where two follow within
	 * the size of an offset; two days hold any. */
	for (size_t i = n; i-- > 0;) {
		int64_t at = zone->transitions[i].at_s;
		int64_t shown = at + zone_offset_before(zone, i);

		if (at < span->start_s - 2 * CIVIL_DAY_S)
			break;
		if (shown > span->reached_s)
			span->reached_s = shown;
	}
}
