/*
 * The parser of cron expressions. See cron_expr.h.
 */
#include "common/cron/cron_expr.h"

#include "common/base/err.h"
#include "common/cron/cron_civil.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

static const char *const cron_month_names[] = {"JAN", "FEB", "MAR", "APR",
    "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC", NULL};
static const char *const cron_weekday_names[] = {
    "SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT", NULL};

/* clang-format off */
static const struct cron_field_info {
	const char *name;
	const char *period; /* after which the field starts anew */
	int min;
	int max;
	const char *const *names; /* the first one means min */
} cron_fields[CRON_FIELDS] = {
	[CRON_SECOND]  = { "second", "minute", 0, 59, NULL },
	[CRON_MINUTE]  = { "minute", "hour", 0, 59, NULL },
	[CRON_HOUR]    = { "hour", "day", 0, 23, NULL },
	[CRON_DAY]     = { "day of month", "month", 1, 31, NULL },
	[CRON_MONTH]   = { "month", "year", 1, 12, cron_month_names },
	[CRON_WEEKDAY] = { "day of week", "week", 0,  7, cron_weekday_names },
};

static const struct {
	const char *name;
	const char *meaning;
} cron_macros[] = {
	{ "@yearly",   "0 0 1 1 *" },
	{ "@annually", "0 0 1 1 *" },
	{ "@monthly",  "0 0 1 * *" },
	{ "@weekly",   "0 0 * * 0" },
	{ "@daily",    "0 0 * * *" },
	{ "@midnight", "0 0 * * *" },
	{ "@hourly",   "0 * * * *" },
};
/* clang-format on */

/* One field's text while it is read. */
struct cron_cursor {
	const char *at;
	enum cron_field field;
	const struct cron_field_info *info;
};

/* One piece of a list: what stands before the step. */
struct cron_range {
	int from;
	int to;
	bool single; /* one number: a step makes it run to the end */
};

static int
cron_read_number(struct cron_cursor *c, int *value, struct err *err)
{
	const char *start = c->at;
	int n = 0;

	while (isdigit((unsigned char)*c->at)) {
		/* More digits than any field needs: stop before overflow. */
		if (n < 100000)
			n = n * 10 + (*c->at - '0');
		c->at++;
	}
	if (n < c->info->min || n > c->info->max)
		return err_set(err, "%s: %.*s is outside %d-%d", c->info->name,
		    (int)(c->at - start), start, c->info->min, c->info->max);
	*value = n;
	return 0;
}

static int
cron_read_name(struct cron_cursor *c, int *value, struct err *err)
{
	const char *start = c->at;
	size_t length = 0;

	while (isalpha((unsigned char)start[length]))
		length++;
	c->at += length;
	for (int i = 0; c->info->names != NULL && c->info->names[i]; i++) {
		if (length == 3 &&
		    strncasecmp(start, c->info->names[i], 3) == 0) {
			*value = c->info->min + i;
			return 0;
		}
	}
	err_set(err, "%s: unknown name \"%.*s\"", c->info->name, (int)length,
	    start);
	if (c->info->names != NULL)
		return err_hint(err, "names have three letters, %s to %s",
		    c->info->names[0], c->field == CRON_MONTH ? "DEC" : "SAT");
	return err_hint(err, "this field takes numbers from %d to %d",
	    c->info->min, c->info->max);
}

static int
cron_read_value(struct cron_cursor *c, int *value, struct err *err)
{
	if (isdigit((unsigned char)*c->at))
		return cron_read_number(c, value, err);
	if (isalpha((unsigned char)*c->at))
		return cron_read_name(c, value, err);
	if (*c->at == '\0' || *c->at == ',')
		return err_set(
		    err, "%s: a value is missing in the list", c->info->name);
	return err_set(
	    err, "%s: a value is expected at \"%.20s\"", c->info->name, c->at);
}

/* `*`, `a` or `a-b`. */
static int
cron_read_range(
    struct cron_cursor *c, struct cron_range *range, struct err *err)
{
	bool day = c->field == CRON_DAY || c->field == CRON_WEEKDAY;

	range->single = false;
	if (*c->at == '*' || (day && *c->at == '?')) {
		c->at++;
		range->from = c->info->min;
		range->to = c->field == CRON_WEEKDAY ? 6 : c->info->max;
		return 0;
	}
	if (cron_read_value(c, &range->from, err) != 0)
		return -1;
	range->to = range->from;
	range->single = *c->at != '-';
	if (range->single)
		return 0;
	c->at++;
	if (cron_read_value(c, &range->to, err) != 0)
		return -1;
	/* People write SAT-SUN: a week may also end with its Sunday. */
	if (c->field == CRON_WEEKDAY && range->to == 0 && range->from > 0)
		range->to = 7;
	if (range->to < range->from) {
		err_set(err, "%s: the range %d-%d runs backwards",
		    c->info->name, range->from, range->to);
		return err_hint(err, "write %d-%d,%d-%d", range->from,
		    c->field == CRON_WEEKDAY ? 6 : c->info->max, c->info->min,
		    range->to);
	}
	return 0;
}

static int
cron_read_step(
    struct cron_cursor *c, struct cron_range *range, int *step, struct err *err)
{
	int values = c->info->max - c->info->min + 1;
	const char *start;
	int n = 0;

	*step = 1;
	if (*c->at != '/')
		return 0;
	start = ++c->at;
	while (isdigit((unsigned char)*c->at) && n < 100000)
		n = n * 10 + (*c->at++ - '0');
	if (c->at == start)
		return err_set(
		    err, "%s: a number is expected after \"/\"", c->info->name);
	if (n == 0)
		return err_set(
		    err, "%s: a step of 0 never moves", c->info->name);
	if (n > values) {
		err_set(err, "%s: the step %d is longer than the field (%d-%d)",
		    c->info->name, n, c->info->min, c->info->max);
		return err_hint(
		    err, "steps start anew with every %s", c->info->period);
	}
	*step = n;
	if (range->single && c->field == CRON_WEEKDAY) {
		range->from %= 7;
		range->to = 6;
	} else if (range->single) {
		range->to = c->info->max;
	}
	return 0;
}

static bool
cron_is_last_day(const struct cron_cursor *c)
{
	return c->field == CRON_DAY && (*c->at == 'L' || *c->at == 'l') &&
	       (c->at[1] == '\0' || c->at[1] == ',');
}

/* One piece of the list. */
static int
cron_read_item(struct cron_cursor *c, struct cron_expr *expr, struct err *err)
{
	struct cron_range range;
	int step;

	if (cron_is_last_day(c)) {
		c->at++;
		expr->last_day = true;
		return 0;
	}
	if (cron_read_range(c, &range, err) != 0 ||
	    cron_read_step(c, &range, &step, err) != 0)
		return -1;
	for (int i = range.from; i <= range.to; i += step)
		expr->set[c->field] |=
		    UINT64_C(1) << (c->field == CRON_WEEKDAY ? i % 7 : i);
	return 0;
}

static int
cron_read_field(const char *text, enum cron_field field, struct cron_expr *expr,
    struct err *err)
{
	struct cron_cursor c = {text, field, &cron_fields[field]};

	for (;;) {
		if (cron_read_item(&c, expr, err) != 0)
			return -1;
		if (*c.at == '\0')
			return 0;
		if (*c.at != ',')
			return err_set(err,
			    "%s: unexpected \"%.20s\" in "
			    "\"%.60s\"",
			    c.info->name, c.at, text);
		c.at++;
	}
}

/*
 * Cut `text` at white space into words, in place. Returns their number, which
 * may be more than CRON_FIELDS; only that many are stored.
 */
static int
cron_split(char *text, char *words[CRON_FIELDS])
{
	char *save = NULL;
	int n = 0;

	for (char *word = strtok_r(text, " \t\r\n", &save); word != NULL;
	     word = strtok_r(NULL, " \t\r\n", &save)) {
		if (n < CRON_FIELDS)
			words[n] = word;
		n++;
	}
	return n;
}

/* Put the meaning of @daily and the like in the place of the text. */
static int
cron_expand_macro(char text[CRON_EXPR_MAX_BYTES + 1], struct err *err)
{
	char word[CRON_EXPR_MAX_BYTES + 1];
	char *words[CRON_FIELDS];
	int n;

	strcpy(word, text);
	n = cron_split(word, words);
	if (n == 0 || words[0][0] != '@')
		return 0;
	if (n > 1)
		return err_set(err, "nothing may stand behind %.40s", words[0]);
	for (size_t i = 0; i < sizeof(cron_macros) / sizeof(cron_macros[0]);
	     i++) {
		if (strcasecmp(words[0], cron_macros[i].name) == 0) {
			strcpy(text, cron_macros[i].meaning);
			return 0;
		}
	}
	err_set(err, "unknown name %.40s", words[0]);
	return err_hint(err, "there are @hourly, @daily, @midnight, @weekly, "
			     "@monthly, @yearly and @annually");
}

static bool
cron_restricted(const char *day_field)
{
	return day_field[0] != '*' && day_field[0] != '?';
}

/*
 * Every date falls on every weekday in some year, so only the day of the
 * month can be impossible.
 */
static int
cron_check_possible(const struct cron_expr *expr, const char *day,
    const char *month, struct err *err)
{
	if (expr->last_day || expr->either_day)
		return 0;
	for (int m = 1; m <= 12; m++)
		for (int d = 1; d <= civil_month_days(2000, m); d++)
			if (expr->set[CRON_MONTH] >> m & 1 &&
			    expr->set[CRON_DAY] >> d & 1)
				return 0;
	return err_set(
	    err, "day of month: %.40s never comes in month %.40s", day, month);
}

static int
cron_parse_words(char *const words[CRON_FIELDS], int n_words,
    struct cron_expr *expr, struct err *err)
{
	char *const *field = words;

	memset(expr, 0, sizeof(*expr));
	if (n_words == CRON_FIELDS)
		field++;
	else
		expr->set[CRON_SECOND] = 1;
	for (int i = 0; i < n_words; i++)
		if (cron_read_field(words[i],
			(enum cron_field)(i + CRON_FIELDS - n_words), expr,
			err) != 0)
			return -1;
	expr->fixed_hours = strpbrk(field[1], "*/") == NULL;
	expr->either_day =
	    cron_restricted(field[2]) && cron_restricted(field[4]);
	return cron_check_possible(expr, field[2], field[3], err);
}

static int
cron_parse_text(const char *text, struct cron_expr *expr, struct err *err)
{
	char copy[CRON_EXPR_MAX_BYTES + 1];
	char *words[CRON_FIELDS];
	int n;

	if (strlen(text) > CRON_EXPR_MAX_BYTES)
		return err_set(
		    err, "longer than %d bytes", CRON_EXPR_MAX_BYTES);
	strcpy(copy, text);
	if (cron_expand_macro(copy, err) != 0)
		return -1;
	n = cron_split(copy, words);
	if (n == CRON_FIELDS || n == CRON_FIELDS - 1)
		return cron_parse_words(words, n, expr, err);
	err_set(err, "%d %s where 5 or 6 are expected", n,
	    n == 1 ? "field stands" : "fields stand");
	return err_hint(err, "write: minute hour day-of-month month "
			     "day-of-week, with seconds before them if wanted");
}

int
cron_expr_parse(const char *text, struct cron_expr *expr, struct err *err)
{
	if (cron_parse_text(text, expr, err) == 0)
		return 0;
	return err_prefix(err, "cron expression \"%.100s\"", text);
}

bool
cron_expr_matches_day(
    const struct cron_expr *expr, int64_t year, int month, int day, int weekday)
{
	bool in_day = (expr->set[CRON_DAY] >> day & 1) != 0 ||
		      (expr->last_day && day == civil_month_days(year, month));
	bool in_weekday = (expr->set[CRON_WEEKDAY] >> weekday & 1) != 0;

	if ((expr->set[CRON_MONTH] >> month & 1) == 0)
		return false;
	if (expr->either_day)
		return in_day || in_weekday;
	return in_day && in_weekday;
}
