/*
 * What must hold before libConfuse may see a text. See conf_shape.h.
 */
#include "common/conf/conf_shape.h"
#include "common/base/err.h"
#include "common/base/mem.h"

#include <stdlib.h>
#include <string.h>

enum { DEPTH_MAX = 16 };

struct shape {
	const char *path;
	char *p; /* what is looked at; the text is terminated */
	int line;
	int open[DEPTH_MAX]; /* lines of the braces that are open */
	int depth;
	struct err *err;
};

static int
unset(struct shape *s, const char *name)
{
	err_set(s->err, "%s:%d: ${%s}: the environment variable is not set",
	    s->path, s->line, name);
	return err_hint(
	    s->err, "write ${%s:-default} if it may be missing", name);
}

/* At "${": libConfuse would take an unset variable for an empty one. */
static int
variable(struct shape *s)
{
	size_t length = strcspn(s->p, "}\n");
	char *name, *def;
	int rc = 0;

	if (s->p[length] != '}')
		return err_set(
		    s->err, "%s:%d: \"${\" without \"}\"", s->path, s->line);
	name = mem_strndup(s->p + 2, length - 2);
	def = strstr(name, ":-");
	if (def != NULL) {
		const char *value;

		*def = '\0';
		value = getenv(name);
		if (value != NULL && *value == '\0')
			unsetenv(name);
	} else if (getenv(name) == NULL) {
		rc = unset(s, name);
	}
	mem_free(&name);
	s->p += length + 1;
	return rc;
}

static int
string(struct shape *s)
{
	const char quote = *s->p++;
	const int begin = s->line;

	while (*s->p != quote) {
		if (*s->p == '\\' && s->p[1] != '\0')
			s->p++;
		else if (quote == '"' && strncmp(s->p, "${", 2) == 0) {
			if (variable(s) < 0)
				return -1;
			continue;
		}
		if (*s->p == '\0')
			return err_set(s->err,
			    "%s:%d: the string that begins here never ends",
			    s->path, begin);
		if (*s->p == '\n')
			s->line++;
		s->p++;
	}
	s->p++;
	return 0;
}

static int
open_brace(struct shape *s)
{
	if (s->depth == DEPTH_MAX)
		return err_set(s->err, "%s:%d: braces are nested too deeply",
		    s->path, s->line);
	s->open[s->depth++] = s->line;
	s->p++;
	return 0;
}

static int
close_brace(struct shape *s)
{
	if (s->depth == 0)
		return err_set(
		    s->err, "%s:%d: \"}\" closes nothing", s->path, s->line);
	s->depth--;
	s->p++;
	return 0;
}

static void
blank_comment(struct shape *s)
{
	while (*s->p != '\0' && *s->p != '\n')
		*s->p++ = ' ';
}

/* A character that libConfuse would drop without a word. */
static int
stray(struct shape *s)
{
	if (s->p[0] == '+' && s->p[1] == '=') {
		err_set(s->err, "%s:%d: \"+=\" is not known here", s->path,
		    s->line);
		return err_hint(s->err, "write the whole list in one place");
	}
	if (s->p[0] == '/') {
		err_set(s->err, "%s:%d: \"%.2s\" begins no comment here",
		    s->path, s->line, s->p);
		return err_hint(s->err, "comments begin with #");
	}
	return err_set(s->err, "%s:%d: \"%c\" must stand in quotes", s->path,
	    s->line, *s->p);
}

static int
word(struct shape *s)
{
	static const char ends[] = " #\"'\t\n\r={}()+,*";
	size_t length = strcspn(s->p, ends);

	if (length == 0 || strncmp(s->p, "//", 2) == 0 ||
	    strncmp(s->p, "/*", 2) == 0)
		return stray(s);
	s->p += length;
	return 0;
}

static int
token(struct shape *s)
{
	switch (*s->p) {
	case '\n':
		s->line++;
		s->p++;
		return 0;
	case ' ':
	case '\t':
	case '\r':
	case '=':
	case ',':
	case '(':
	case ')':
		s->p++;
		return 0;
	case '#':
		blank_comment(s);
		return 0;
	case '"':
	case '\'':
		return string(s);
	case '{':
		return open_brace(s);
	case '}':
		return close_brace(s);
	case '$':
		return s->p[1] == '{' ? variable(s) : word(s);
	default:
		return word(s);
	}
}

int
conf_shape_check(char *text, size_t length, const char *path, struct err *err)
{
	struct shape s = {.path = path, .p = text, .line = 1, .err = err};

	if (strlen(text) != length)
		return err_set(err, "%s: holds a zero byte: is it text?", path);
	while (*s.p != '\0')
		if (token(&s) < 0)
			return -1;
	if (s.depth > 0)
		return err_set(err, "%s:%d: \"{\" is never closed", path,
		    s.open[s.depth - 1]);
	return 0;
}
