/*
 * Writes chimpd.conf.5: copies the page's text from standard input and puts the
 * keys of each section, as the tables of conf_keys*.c have them, where a line
 * says "@KEYS section". Run by make; the manual cannot forget a key.
 */
#include "common/base/mem.h"
#include "common/base/strbuf.h"
#include "common/conf/conf_keys.h"
#include "common/conf/conf_value.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A backslash begins an escape of roff. */
static void
put_text(const char *text)
{
	for (; *text != '\0'; text++) {
		if (*text == '\\')
			fputs("\\e", stdout);
		else
			putchar(*text);
	}
}

/* A limit as the file would say it: "100ms", "4MiB". */
static void
put_limit(const struct conf_key *key, int64_t value)
{
	struct conf_key at_zero = *key;
	struct strbuf out = STRBUF_EMPTY;

	at_zero.offset = 0;
	at_zero.flags = 0;
	conf_value_print(&at_zero, &value, &out);
	put_text(strbuf_str(&out));
	strbuf_done(&out);
}

static void
put_rate_limits(void)
{
	static const struct conf_key window = {.type = CONF_DURATION};

	printf("The count is from %d to %d, the time from ",
	    CONF_RATE_COUNT_MIN, CONF_RATE_COUNT_MAX);
	put_limit(&window, CONF_RATE_WINDOW_MIN_MS);
	printf(" to ");
	put_limit(&window, CONF_RATE_WINDOW_MAX_MS);
	puts(".");
}

static void
put_choices(const struct conf_key *key)
{
	char *choices = mem_strdup(key->choices);
	char *rest = choices, *choice;

	printf("One of ");
	for (bool first = true; (choice = strsep(&rest, "|")) != NULL;
	     first = false)
		printf("%s%s", first ? "" : ", ", choice);
	puts(".");
	free(choices);
}

static const char *
type_name(enum conf_type type)
{
	switch (type) {
	case CONF_STRING:
	case CONF_CHOICE:
		return "text";
	case CONF_PATH:
		return "path";
	case CONF_STRINGS:
		return "list";
	case CONF_BOOL:
		return "true | false";
	case CONF_INT:
		return "number";
	case CONF_DURATION:
		return "time";
	case CONF_SIZE:
		return "size";
	case CONF_RATE:
		return "count/time";
	case CONF_LATER:
		break;
	}
	return "";
}

static void
put_key(const struct conf_key *key)
{
	printf(".It Ic %s No = Ar %s\n", key->name, type_name(key->type));
	put_text(key->help);
	puts(".");
	if (key->choices != NULL)
		put_choices(key);
	if (key->type == CONF_INT || key->type == CONF_DURATION ||
	    key->type == CONF_SIZE) {
		printf("From ");
		put_limit(key, key->min);
		printf(" to ");
		put_limit(key, key->max);
		puts(".");
	}
	if (key->type == CONF_RATE)
		put_rate_limits();
	if (key->def != NULL) {
		printf("Default: ");
		put_text(key->def);
		puts(".");
	}
}

static void
put_later(const struct conf_section *section)
{
	int n = 0;

	for (size_t i = 0; i < section->n_keys; i++) {
		const struct conf_key *key = &section->keys[i];

		if (key->type != CONF_LATER)
			continue;
		if (n++ == 0)
			puts(".Pp\nKnown, but refused by this version:");
		printf("%s.Ic %s", n > 1 ? " ,\n" : "", key->name);
	}
	if (n > 0)
		puts(" .");
}

static void
put_section(const struct conf_section *section)
{
	puts(".Bl -tag -width Ds");
	for (size_t i = 0; i < section->n_keys; i++) {
		const struct conf_key *key = &section->keys[i];

		if (key->type != CONF_LATER && !(key->flags & CONF_INTERNAL))
			put_key(key);
	}
	puts(".El");
	put_later(section);
}

/* "app.queue" is section queue of section app; "" is the top of the file. */
static const struct conf_section *
find(const struct conf_section *in, const char *path)
{
	size_t n = strcspn(path, ".");

	if (*path == '\0')
		return in;
	for (size_t i = 0; i < in->n_subs; i++) {
		const struct conf_section *sub = &in->subs[i];

		if (strlen(sub->name) == n && strncmp(sub->name, path, n) == 0)
			return find(sub, path + n + (path[n] == '.'));
	}
	return NULL;
}

int
main(void)
{
	static const char mark[] = "@KEYS";
	char line[1024];

	while (fgets(line, sizeof(line), stdin) != NULL) {
		const struct conf_section *section;
		char *path = line + sizeof(mark) - 1;

		if (strncmp(line, mark, sizeof(mark) - 1) != 0) {
			fputs(line, stdout);
			continue;
		}
		path += strspn(path, " ");
		path[strcspn(path, "\n")] = '\0';
		section = find(&conf_root, path);
		if (section == NULL) {
			fprintf(stderr, "confman: no section \"%s\"\n", path);
			return 1;
		}
		put_section(section);
	}
	return ferror(stdin) || fflush(stdout) != 0 ? 1 : 0;
}
