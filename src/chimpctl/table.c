/*
 * Tables for people. See table.h.
 */
#include "chimpctl/table.h"

#include "common/base/mem.h"
#include "common/base/strbuf.h"

#include <assert.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { TABLE_GAP = 2 }; /* spaces between columns */

struct table {
	const struct table_column *columns;
	int n_columns;
	char **cells; /* row by row */
	int n_cells;
	int room;
};

/*
 * How many bytes of a control character begin here; 0 = none. Besides those of
 * ASCII these are U+0080 to U+009F, which some terminals obey as well.
 */
static int
table_control(const char *text)
{
	unsigned char c = (unsigned char)text[0];

	if (c < 0x20 || c == 0x7f)
		return c != '\0';
	return c == 0xc2 && ((unsigned char)text[1] & 0xe0) == 0x80 ? 2 : 0;
}

/* Replace control characters in place, but for those in `keep`. */
static void
table_clean(char *text, const char *keep)
{
	char *to = text;

	while (*text != '\0') {
		int n = table_control(text);

		if (n > 0 && strchr(keep, *text) == NULL) {
			*to++ = '?';
			text += n;
		} else
			*to++ = *text++;
	}
	*to = '\0';
}

/* Bytes that begin a character of UTF-8: all but 10xxxxxx. */
static bool
table_begins(char c)
{
	return ((unsigned char)c & 0xc0) != 0x80;
}

static int
table_length(const char *text)
{
	int n = 0;

	for (; *text != '\0'; text++)
		n += table_begins(*text);
	return n;
}

/* Cut to `width` characters, the last three of them dots. */
static void
table_cut(char *text, int width)
{
	int n = 0;

	if (width == 0 || table_length(text) <= width)
		return;
	for (; *text != '\0'; text++) {
		if (table_begins(*text) && n++ == width - 3)
			break;
	}
	/* At least four bytes follow: three characters and one too many. */
	memcpy(text, "...", 4);
}

struct table *
table_new(const struct table_column *columns, int n_columns)
{
	struct table *table = mem_zalloc(sizeof(*table));

	assert(n_columns > 0);
	table->columns = columns;
	table->n_columns = n_columns;
	return table;
}

static void
table_add(struct table *table, char *text)
{
	if (table->n_cells == table->room) {
		table->room = table->room > 0 ? table->room * 2 : 64;
		table->cells = mem_realloc(
		    table->cells, (size_t)table->room * sizeof(*table->cells));
	}
	table->cells[table->n_cells++] = text;
}

void
table_cell(struct table *table, const char *fmt, ...)
{
	const struct table_column *column =
	    &table->columns[table->n_cells % table->n_columns];
	char *text;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		abort();
	va_end(ap);
	table_clean(text, "");
	table_cut(text, column->width_max);
	table_add(table, text);
}

static int
table_width(const struct table *table, int column)
{
	int width = table_length(table->columns[column].title);

	for (int i = column; i < table->n_cells; i += table->n_columns) {
		int n = table_length(table->cells[i]);

		if (n > width)
			width = n;
	}
	return width;
}

/* No blanks at the end of a line: the last column is never padded. */
static void
table_print_cell(const struct table *table, int column, const char *text,
    int width, FILE *out)
{
	bool last = column == table->n_columns - 1;
	int pad = width - table_length(text);

	if (table->columns[column].align == TABLE_RIGHT)
		fprintf(out, "%*s%s", pad, "", text);
	else if (last)
		fputs(text, out);
	else
		fprintf(out, "%s%*s", text, pad, "");
	fprintf(out, last ? "\n" : "%*s", TABLE_GAP, "");
}

void
table_print(const struct table *table, FILE *out)
{
	int n = table->n_columns;
	int *widths = mem_alloc((size_t)n * sizeof(*widths));

	assert(table->n_cells % n == 0);
	for (int i = 0; i < n; i++)
		widths[i] = table_width(table, i);
	for (int i = 0; i < n; i++)
		table_print_cell(
		    table, i, table->columns[i].title, widths[i], out);
	for (int i = 0; i < table->n_cells; i++)
		table_print_cell(
		    table, i % n, table->cells[i], widths[i % n], out);
	free(widths);
}

void
table_free(struct table **table)
{
	if (*table == NULL)
		return;
	for (int i = 0; i < (*table)->n_cells; i++)
		free((*table)->cells[i]);
	free((*table)->cells);
	mem_free(table);
}

void
table_print_text(const char *text, FILE *out)
{
	char *clean = mem_strdup(text);

	table_clean(clean, "\n\t");
	fprintf(out, "%s\n", clean);
	free(clean);
}
