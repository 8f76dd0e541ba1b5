/*
 * Parsing signatures. The grammar is in args.h.
 */
#include "roles/http/args.h"

#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "roles/http/arg.h"
#include "roles/http/url.h"

/* clang-format off */
static const struct {
	const char *name;
	enum arg_type type;
	bool range;   /* takes (min..max) */
	bool bare;    /* its default may be a bare word */
} signature_types[] = {
	{ "string",    ARG_STRING,    true,  true },
	{ "integer",   ARG_INTEGER,   true,  false },
	{ "number",    ARG_NUMBER,    true,  false },
	{ "boolean",   ARG_BOOLEAN,   false, false },
	{ "object",    ARG_OBJECT,    false, false },
	{ "array",     ARG_ARRAY,     true,  false },
	{ "any",       ARG_ANY,       false, true },
	{ "date-time", ARG_DATE_TIME, false, true },
	{ "uuid",      ARG_UUID,      false, true },
	{ "enum",      ARG_ENUM,      false, true },
};
/* clang-format on */

struct signature {
	const char *text;
	const char *at;
	struct args *args;
	struct arg *arg; /* being parsed */
	size_t type;     /* its row in signature_types */
	struct err *err;
};

/* --- reading --- */

static void
signature_space(struct signature *s)
{
	s->at += strspn(s->at, " \t\r\n");
}

static bool
signature_take(struct signature *s, const char *token)
{
	signature_space(s);
	if (strncmp(s->at, token, strlen(token)) != 0)
		return false;
	s->at += strlen(token);
	return true;
}

/* Always -1: "args "a: strng": at column 4: ...". */
static int
signature_fail(struct signature *s)
{
	return err_prefix(s->err, "args \"%s\": at column %d", s->text,
	    (int)(s->at - s->text) + 1);
}

static size_t
signature_word(const char *at)
{
	size_t n = 0;

	while (isalnum((unsigned char)at[n]) || at[n] == '_' || at[n] == '-')
		n++;
	return n;
}

/* --- types --- */

static int
signature_choice(struct signature *s)
{
	struct arg *arg = s->arg;
	size_t n;

	signature_space(s);
	n = strcspn(s->at, "|), \t\r\n");
	if (n == 0)
		return err_set(s->err, "an enum needs values: enum(a|b)");
	arg->choices = mem_realloc(
	    arg->choices, (arg->n_choices + 1) * sizeof(*arg->choices));
	arg->choices[arg->n_choices++] = mem_strndup(s->at, n);
	s->at += n;
	return 0;
}

static int
signature_choices(struct signature *s)
{
	if (!signature_take(s, "("))
		return err_set(s->err, "an enum needs values: enum(a|b)");
	do {
		if (signature_choice(s) != 0)
			return -1;
	} while (signature_take(s, "|"));
	if (!signature_take(s, ")"))
		return err_set(s->err, "\")\" is missing behind the values");
	return 0;
}

static int
signature_type(struct signature *s)
{
	size_t n;

	signature_space(s);
	n = signature_word(s->at);
	for (size_t i = 0;
	     i < sizeof(signature_types) / sizeof(signature_types[0]); i++) {
		const char *name = signature_types[i].name;

		if (strlen(name) != n || strncmp(name, s->at, n) != 0)
			continue;
		s->at += n;
		s->type = i;
		s->arg->type = signature_types[i].type;
		return s->arg->type == ARG_ENUM ? signature_choices(s) : 0;
	}
	err_set(s->err, "\"%.*s\" is not a type", (int)n, s->at);
	return err_hint(s->err, "types are string, integer, number, boolean, "
				"object, array, any, date-time, uuid and "
				"enum(a|b)");
}

/* --- (min..max) --- */

/* Length of a number, which must not swallow the first dot of "..". */
static size_t
signature_number(const char *at)
{
	size_t n = at[0] == '-';

	while (isdigit((unsigned char)at[n]) ||
	       (at[n] == '.' && isdigit((unsigned char)at[n + 1])))
		n++;
	return n;
}

static int
signature_bound(struct signature *s, bool *has, int64_t *whole, double *real)
{
	size_t n;
	char *digits;
	bool well;

	signature_space(s);
	n = signature_number(s->at);
	*has = n > 0;
	if (n == 0)
		return 0;
	digits = mem_strndup(s->at, n);
	errno = 0;
	*whole = strtoll(digits, NULL, 10);
	*real = strtod(digits, NULL);
	well = errno == 0 &&
	       (s->arg->type == ARG_NUMBER
		       ? span_is_number(digits, n)
		       : span_is_integer(digits, n) &&
			     (*whole >= 0 || s->arg->type == ARG_INTEGER));
	free(digits);
	if (!well)
		return err_set(s->err, "\"%.*s\" is not a bound of %s", (int)n,
		    s->at, arg_type_noun(s->arg->type));
	s->at += n;
	return 0;
}

static int
signature_range(struct signature *s)
{
	struct arg *arg = s->arg;

	if (!signature_take(s, "("))
		return 0;
	if (!signature_types[s->type].range)
		return err_set(s->err, "%s has no (min..max)",
		    signature_types[s->type].name);
	if (signature_bound(s, &arg->has_min, &arg->min, &arg->low) != 0)
		return -1;
	if (!signature_take(s, ".."))
		return err_set(s->err, "a range is written (min..max)");
	if (signature_bound(s, &arg->has_max, &arg->max, &arg->high) != 0)
		return -1;
	if (!signature_take(s, ")"))
		return err_set(s->err, "\")\" is missing behind the range");
	if (!arg->has_min && !arg->has_max)
		return err_set(s->err, "a range needs a bound");
	if (arg->has_min && arg->has_max &&
	    (arg->type == ARG_NUMBER ? arg->low > arg->high
				     : arg->min > arg->max))
		return err_set(s->err, "the range is empty");
	return 0;
}

/* --- default and pattern --- */

/* The JSON value that begins at s->at; NULL if there is none. */
static char *
signature_json(struct signature *s)
{
	json_error_t end;
	json_t *json;
	char *text;

	json = json_loads(s->at,
	    JSON_DECODE_ANY | JSON_DISABLE_EOF_CHECK | JSON_DECODE_INT_AS_REAL |
		JSON_REJECT_DUPLICATES,
	    &end);
	if (json == NULL)
		return NULL;
	json_decref(json);
	text = mem_strndup(s->at, (size_t)end.position);
	s->at += end.position;
	return text;
}

static char *
signature_bare(struct signature *s)
{
	size_t n = strcspn(s->at, ", \t\r\n");
	struct strbuf json = STRBUF_EMPTY;

	if (n == 0)
		return NULL;
	strbuf_json(&json, s->at, n);
	s->at += n;
	return strbuf_take(&json);
}

static bool
signature_default_fits(const struct arg *arg, struct strbuf *why)
{
	struct span value = span_of(arg->fallback, strlen(arg->fallback));
	struct span_walk walk;
	struct span key, element;

	if (!arg->list)
		return arg_check_json(arg, value, why);
	if (value.text[0] != '[') {
		strbuf_puts(why, "must be an array");
		return false;
	}
	span_walk_start(&walk, value);
	while (span_walk_next(&walk, &key, &element))
		if (!arg_check_json(arg, element, why))
			return false;
	return true;
}

static int
signature_default(struct signature *s)
{
	if (!signature_take(s, "="))
		return 0;
	signature_space(s);
	if (signature_types[s->type].bare && !s->arg->list &&
	    strchr("\"[{", *s->at) == NULL)
		s->arg->fallback = signature_bare(s);
	else
		s->arg->fallback = signature_json(s);
	if (s->arg->fallback == NULL)
		return err_set(s->err, "the default is not valid JSON");
	return 0;
}

/* "a++": undefined in POSIX, and in glibc each one doubles the automaton. */
static bool
signature_repeats_twice(const char *pattern)
{
	for (const char *c = pattern; *c != '\0'; c++) {
		if (*c == '\\' && c[1] != '\0')
			c++;
		else if (*c == '[' && strchr(c, ']') != NULL)
			c = strchr(c, ']');
		else if (strchr("*+?", c[0]) != NULL && c[1] != '\0' &&
			 strchr("*+?{", c[1]) != NULL)
			return true;
	}
	return false;
}

static int
signature_compile(struct signature *s)
{
	regex_t *regex = mem_zalloc(sizeof(*regex));
	int rc = regcomp(regex, s->arg->pattern, REG_EXTENDED | REG_NOSUB);
	char why[200];

	if (rc == 0) {
		s->arg->regex = regex;
		return 0;
	}
	regerror(rc, regex, why, sizeof(why));
	free(regex);
	return err_set(s->err, "the pattern is wrong: %s", why);
}

static int
signature_pattern(struct signature *s)
{
	struct strbuf pattern = STRBUF_EMPTY;

	if (!signature_take(s, "/"))
		return 0;
	if (s->arg->type != ARG_STRING)
		return err_set(s->err, "only a string has a /pattern/");
	for (; *s->at != '/' && *s->at != '\0'; s->at++) {
		if (s->at[0] == '\\' && s->at[1] == '/')
			s->at++;
		strbuf_putc(&pattern, *s->at);
	}
	s->arg->pattern = strbuf_take(&pattern);
	if (*s->at++ != '/') {
		s->at--;
		return err_set(s->err, "\"/\" is missing behind the pattern");
	}
	if (signature_repeats_twice(s->arg->pattern))
		return err_set(s->err, "the pattern is wrong: \"*\", \"+\" "
				       "and \"?\" cannot stand next to each "
				       "other");
	return signature_compile(s);
}

/* --- arguments --- */

static int
signature_name(struct signature *s)
{
	size_t n = signature_word(s->at);

	if (n == 0 || !(isalpha((unsigned char)s->at[0]) || s->at[0] == '_'))
		return err_set(s->err, "a name is missing");
	for (size_t i = 0; i + 1 < s->args->n; i++)
		if (s->args->items[i].name_length == n &&
		    memcmp(s->args->items[i].name, s->at, n) == 0)
			return err_set(
			    s->err, "\"%.*s\" stands twice", (int)n, s->at);
	s->arg->name = mem_strndup(s->at, n);
	s->arg->name_length = n;
	s->at += n;
	if (!signature_take(s, ":"))
		return err_set(s->err, "\": type\" is missing behind \"%s\"",
		    s->arg->name);
	return 0;
}

static int
signature_fits(struct signature *s)
{
	struct strbuf why = STRBUF_EMPTY;
	int rc = 0;

	if (s->arg->fallback != NULL && !signature_default_fits(s->arg, &why))
		rc = err_set(s->err, "the default of \"%s\" %s", s->arg->name,
		    strbuf_str(&why));
	strbuf_done(&why);
	return rc;
}

static int
signature_arg(struct signature *s)
{
	struct args *args = s->args;

	args->items =
	    mem_realloc(args->items, (args->n + 1) * sizeof(*args->items));
	s->arg = &args->items[args->n++];
	memset(s->arg, 0, sizeof(*s->arg));
	if (signature_name(s) != 0 || signature_type(s) != 0 ||
	    signature_range(s) != 0)
		return -1;
	s->arg->list = signature_take(s, "[]");
	s->arg->optional = signature_take(s, "?");
	if (signature_default(s) != 0 || signature_pattern(s) != 0)
		return -1;
	return signature_fits(s);
}

static int
signature_list(struct signature *s)
{
	/* Names and defaults become JSON. */
	if (!url_utf8_valid(s->text, strlen(s->text))) {
		err_set(s->err, "it is not UTF-8");
		return signature_fail(s);
	}
	signature_space(s);
	if (*s->at == '\0')
		return 0;
	do {
		signature_space(s);
		if (signature_arg(s) != 0)
			return signature_fail(s);
	} while (signature_take(s, ","));
	if (*s->at == '\0')
		return 0;
	err_set(s->err, "\"%.20s\" is not understood", s->at);
	err_hint(s->err, "behind the type come, in this order: (min..max), [], "
			 "?, = default, /pattern/; then a comma");
	return signature_fail(s);
}

struct args *
args_parse(const char *signature, struct err *err)
{
	struct signature s = {.text = signature, .at = signature, .err = err};

	s.args = mem_zalloc(sizeof(*s.args));
	if (signature_list(&s) != 0)
		args_free(&s.args);
	return s.args;
}

void
args_free(struct args **args)
{
	if (*args == NULL)
		return;
	for (size_t i = 0; i < (*args)->n; i++) {
		struct arg *arg = &(*args)->items[i];

		for (size_t j = 0; j < arg->n_choices; j++)
			free(arg->choices[j]);
		free(arg->choices);
		if (arg->regex != NULL)
			regfree(arg->regex);
		free(arg->regex);
		free(arg->pattern);
		free(arg->fallback);
		free(arg->name);
	}
	free((*args)->items);
	mem_free(args);
}

int
args_check(const char *signature, struct err *err)
{
	struct args *args = args_parse(signature, err);

	if (args == NULL)
		return -1;
	args_free(&args);
	return 0;
}
