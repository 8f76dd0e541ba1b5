/*
 * Values: from the texts of a file to a member of a struct, and back. See
 * conf_value.h.
 */
#include "common/conf/conf_value.h"
#include "common/conf/conf_node.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/strbuf.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

struct unit {
	const char *name;
	int64_t factor;
};

/* The largest first: printing takes the first that divides. */
static const struct unit durations[] = {{"d", 86400000}, {"h", 3600000},
    {"m", 60000}, {"s", 1000}, {"ms", 1}, {NULL, 0}};
static const struct unit sizes[] = {{"TiB", INT64_C(1) << 40}, {"GiB", 1 << 30},
    {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}, {NULL, 0}};

static int
with_unit(const char *text, const struct unit *units, int64_t *value)
{
	char *end;
	int64_t n;

	if (!isdigit((unsigned char)*text))
		return -1;
	errno = 0;
	n = strtoll(text, &end, 10);
	if (errno != 0)
		return -1;
	if (n == 0 && *end == '\0') {
		*value = 0;
		return 0;
	}
	for (const struct unit *u = units; u->name != NULL; u++)
		if (strcmp(end, u->name) == 0)
			return __builtin_mul_overflow(n, u->factor, value) ? -1
									   : 0;
	return -1;
}

int
conf_duration_parse(const char *text, int64_t *ms)
{
	return with_unit(text, durations, ms);
}

int
conf_size_parse(const char *text, int64_t *bytes)
{
	return with_unit(text, sizes, bytes);
}

static int
integer(const char *text, int64_t *value)
{
	char *end;

	if (!isdigit((unsigned char)text[*text == '-' ? 1 : 0]))
		return -1;
	errno = 0;
	*value = strtoll(text, &end, 10);
	return errno == 0 && *end == '\0' ? 0 : -1;
}

static void
print_unit(int64_t value, const struct unit *units, struct strbuf *out)
{
	while (
	    units[1].name != NULL && (value % units->factor != 0 || value == 0))
		units++;
	if (value == 0 && units->factor == 1)
		strbuf_puts(out, strcmp(units->name, "B") == 0 ? "0B" : "0s");
	else
		strbuf_printf(
		    out, "%" PRId64 "%s", value / units->factor, units->name);
}

/* ---------------------------------------------------------------- rates */

#define RATE_FORM "must be COUNT/DURATION like \"100/1m\""

static int
rate_count(const char *digits, size_t length, int64_t *count)
{
	char *text = mem_strndup(digits, length);
	int rc = integer(text, count);

	mem_free(&text);
	if (rc < 0 || *count < CONF_RATE_COUNT_MIN ||
	    *count > CONF_RATE_COUNT_MAX)
		return -1;
	return 0;
}

static int
rate_window(const char *text, int64_t *window_ms)
{
	if (conf_duration_parse(text, window_ms) < 0 ||
	    *window_ms < CONF_RATE_WINDOW_MIN_MS ||
	    *window_ms > CONF_RATE_WINDOW_MAX_MS)
		return -1;
	return 0;
}

static int
bad_window(const char *text, struct err *err)
{
	struct strbuf range = STRBUF_EMPTY;

	print_unit(CONF_RATE_WINDOW_MIN_MS, durations, &range);
	strbuf_puts(&range, " to ");
	print_unit(CONF_RATE_WINDOW_MAX_MS, durations, &range);
	err_set(err,
	    RATE_FORM " with a duration from %s and its unit "
		      "(ms, s, m, h, d), not \"%s\"",
	    strbuf_str(&range), text);
	strbuf_done(&range);
	return -1;
}

int
conf_rate_parse(const char *text, struct conf_rate *rate, struct err *err)
{
	size_t digits = strcspn(text, "/");

	*rate = (struct conf_rate){0, 0};
	if (*text == '\0')
		return 0;
	if (text[digits] != '/')
		return err_set(err, RATE_FORM ", not \"%s\"", text);
	if (rate_count(text, digits, &rate->count) < 0)
		return err_set(err,
		    RATE_FORM " with a count from %d to %d, not \"%s\"",
		    CONF_RATE_COUNT_MIN, CONF_RATE_COUNT_MAX, text);
	if (rate_window(text + digits + 1, &rate->window_ms) < 0)
		return bad_window(text, err);
	return 0;
}

void
conf_rate_print(const struct conf_rate *rate, struct strbuf *out)
{
	if (rate->count == 0)
		return;
	strbuf_printf(out, "%" PRId64 "/", rate->count);
	print_unit(rate->window_ms, durations, out);
}

/* --------------------------------------------------------- by the tables */

static void
print_number(const struct conf_key *key, int64_t value, struct strbuf *out)
{
	if (key->type == CONF_DURATION)
		print_unit(value, durations, out);
	else if (key->type == CONF_SIZE)
		print_unit(value, sizes, out);
	else
		strbuf_printf(out, "%" PRId64, value);
}

/* "must be from 0 to 1024, not "x"" */
static int
bad_number(const struct conf_key *key, const char *text, struct err *err)
{
	struct strbuf range = STRBUF_EMPTY;

	print_number(key, key->min, &range);
	strbuf_puts(&range, " to ");
	print_number(key, key->max, &range);
	if (key->type == CONF_DURATION)
		strbuf_puts(&range, " with its unit (ms, s, m, h, d)");
	if (key->type == CONF_SIZE)
		strbuf_puts(&range, " with its unit (B, KiB, MiB, GiB)");
	err_set(err, "must be from %s, not \"%s\"", strbuf_str(&range), text);
	strbuf_done(&range);
	return -1;
}

static int
set_number(const struct conf_key *key, const char *text, int64_t *value,
    struct err *err)
{
	int rc;

	if (key->type == CONF_DURATION)
		rc = conf_duration_parse(text, value);
	else if (key->type == CONF_SIZE)
		rc = conf_size_parse(text, value);
	else
		rc = integer(text, value);
	if (rc < 0 || *value < key->min || *value > key->max)
		return bad_number(key, text, err);
	return 0;
}

static int
set_bool(const char *text, bool *value, struct err *err)
{
	*value = strcmp(text, "true") == 0;
	if (!*value && strcmp(text, "false") != 0)
		return err_set(err, "must be true or false, not \"%s\"", text);
	return 0;
}

static bool
is_choice(const char *choices, const char *text)
{
	size_t length = strlen(text);

	for (const char *p = choices; *p != '\0';) {
		size_t n = strcspn(p, "|");

		if (n == length && memcmp(p, text, n) == 0)
			return true;
		p += n + (p[n] == '|' ? 1 : 0);
	}
	return false;
}

static int
bad_choice(const char *choices, const char *text, struct err *err)
{
	struct strbuf list = STRBUF_EMPTY;

	for (const char *p = choices; *p != '\0';) {
		int n = (int)strcspn(p, "|");
		bool last = p[n] == '\0';

		strbuf_printf(&list, "%s\"%.*s\"",
		    list.length == 0 ? ""
		    : last           ? " or "
				     : ", ",
		    n, p);
		p += n + (last ? 0 : 1);
	}
	err_set(err, "must be %s, not \"%s\"", strbuf_str(&list), text);
	strbuf_done(&list);
	return -1;
}

/* JSON to the master and everything in PostgreSQL is UTF-8. */
static int
check_utf8(const struct conf_strings *texts, struct err *err)
{
	for (int i = 0; i < texts->count; i++) {
		json_t *s = json_string(texts->items[i]);

		if (s == NULL)
			return err_set(err, "must be UTF-8");
		json_decref(s);
	}
	return 0;
}

static int
set_strings(const struct conf_key *key, const struct conf_strings *texts,
    struct conf_strings *value, struct arena *arena, struct err *err)
{
	if (texts->count < key->min || texts->count > key->max)
		return err_set(err,
		    "must have %" PRId64 " to %" PRId64 " items, not %d",
		    key->min, key->max, texts->count);
	value->items = arena_alloc(arena, sizeof(char *));
	value->count = 0;
	for (int i = 0; i < texts->count; i++)
		conf_strings_add(value, arena, texts->items[i]);
	return 0;
}

static int
set_one(const struct conf_key *key, void *base, const char *text,
    const char *dir, struct arena *arena, struct err *err)
{
	char **string = conf_field_string(base, key->offset);

	switch (key->type) {
	case CONF_STRING:
		*string = arena_strdup(arena, text);
		return 0;
	case CONF_PATH:
		*string = *text != '\0' ? conf_path_join(arena, dir, text)
					: arena_strdup(arena, "");
		return 0;
	case CONF_CHOICE:
		if (!is_choice(key->choices, text))
			return bad_choice(key->choices, text, err);
		*string = arena_strdup(arena, text);
		return 0;
	case CONF_BOOL:
		return set_bool(text, conf_field_bool(base, key->offset), err);
	case CONF_INT:
	case CONF_DURATION:
	case CONF_SIZE:
		return set_number(
		    key, text, conf_field_int(base, key->offset), err);
	case CONF_RATE:
		return conf_rate_parse(
		    text, conf_field_rate(base, key->offset), err);
	case CONF_STRINGS:
	case CONF_LATER:
		break;
	}
	abort(); /* conf_value_set deals with these */
}

int
conf_value_set(const struct conf_key *key, void *base,
    const struct conf_strings *texts, const char *dir, struct arena *arena,
    struct err *err)
{
	err->hint[0] = '\0';
	if (key->type == CONF_LATER)
		return err_set(err, "is not in this version of chimpd");
	if (check_utf8(texts, err) < 0)
		return -1;
	if (key->type == CONF_STRINGS)
		return set_strings(key, texts,
		    conf_field_strings(base, key->offset), arena, err);
	if (texts->count != 1)
		return err_set(
		    err, "takes one value, not a list of %d", texts->count);
	return set_one(key, base, texts->items[0], dir, arena, err);
}

static bool
is_number(const struct conf_key *key)
{
	return key->type == CONF_INT || key->type == CONF_DURATION ||
	       key->type == CONF_SIZE;
}

bool
conf_value_is_set(const struct conf_key *key, void *base)
{
	if (is_number(key))
		return *conf_field_int(base, key->offset) != CONF_UNSET;
	return **conf_field_string(base, key->offset) != '\0';
}

static void
set_none(const struct conf_key *key, void *base, struct arena *arena)
{
	if (is_number(key))
		*conf_field_int(base, key->offset) = CONF_UNSET;
	else
		*conf_field_string(base, key->offset) = arena_strdup(arena, "");
}

void
conf_value_default(const struct conf_key *key, void *base, struct arena *arena)
{
	struct conf_strings texts = {NULL, 0};
	struct err err;
	int rc;

	if (key->type == CONF_LATER)
		return;
	if ((key->flags & CONF_OPTIONAL) && key->def == NULL) {
		set_none(key, base, arena);
		return;
	}
	if (key->def != NULL || key->type != CONF_STRINGS)
		conf_strings_add(
		    &texts, arena, key->def != NULL ? key->def : "");
	rc = conf_value_set(key, base, &texts, "/", arena, &err);
	assert(rc == 0);
}

void
conf_quote(const char *text, struct strbuf *out)
{
	strbuf_putc(out, '"');
	for (; *text != '\0'; text++) {
		if (*text == '\n') {
			strbuf_puts(out, "\\n");
			continue;
		}
		if (*text == '"' || *text == '\\' || *text == '$')
			strbuf_putc(out, '\\');
		strbuf_putc(out, *text);
	}
	strbuf_putc(out, '"');
}

static void
print_strings(const struct conf_strings *list, struct strbuf *out)
{
	strbuf_puts(out, "{");
	for (int i = 0; i < list->count; i++) {
		strbuf_puts(out, i > 0 ? ", " : " ");
		conf_quote(list->items[i], out);
	}
	strbuf_puts(out, list->count > 0 ? " }" : "}");
}

static void
print_secret(const char *text, struct strbuf *out)
{
	char *masked = conf_mask_url(text);

	conf_quote(masked, out);
	mem_free(&masked);
}

void
conf_value_print(const struct conf_key *key, void *base, struct strbuf *out)
{
	switch (key->type) {
	case CONF_STRING:
	case CONF_PATH:
	case CONF_CHOICE:
		if (key->flags & CONF_SECRET)
			print_secret(
			    *conf_field_string(base, key->offset), out);
		else
			conf_quote(*conf_field_string(base, key->offset), out);
		break;
	case CONF_STRINGS:
		print_strings(conf_field_strings(base, key->offset), out);
		break;
	case CONF_BOOL:
		strbuf_puts(out,
		    *conf_field_bool(base, key->offset) ? "true" : "false");
		break;
	case CONF_DURATION:
	case CONF_SIZE:
		strbuf_putc(out, '"');
		print_number(key, *conf_field_int(base, key->offset), out);
		strbuf_putc(out, '"');
		break;
	case CONF_INT:
		print_number(key, *conf_field_int(base, key->offset), out);
		break;
	case CONF_RATE:
		strbuf_putc(out, '"');
		conf_rate_print(conf_field_rate(base, key->offset), out);
		strbuf_putc(out, '"');
		break;
	case CONF_LATER:
		break;
	}
}
