/*
 * Tables for people: aligned columns under a head line.
 *
 * Cells may hold what users stored: control characters are shown as "?", so
 * that a job's error cannot send commands to the operator's terminal.
 */
#ifndef CHIMP_CHIMPCTL_TABLE_H
#define CHIMP_CHIMPCTL_TABLE_H

#include <stdio.h>

struct table;

struct table_column {
	const char *title;
	enum { TABLE_LEFT, TABLE_RIGHT } align;
	int width_max; /* characters; longer cells end in "..."; 0 = any */
};

/* `columns` must outlive the table. */
struct table *table_new(const struct table_column *columns, int n_columns);

/* The next cell, row by row. */
void table_cell(struct table *table, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Print head and rows; every row must be complete. */
void table_print(const struct table *table, FILE *out);

void table_free(struct table **table);

/* Print text that may hold anything but keeps its newlines and tabs. */
void table_print_text(const char *text, FILE *out);

#endif
