/*
 * Commands: nouns and their verbs, as tables. The parser of arguments and
 * every help text are made from them (command.c); a noun is a file that
 * exports one struct ctl_noun.
 */
#ifndef CHIMP_CHIMPCTL_COMMAND_H
#define CHIMP_CHIMPCTL_COMMAND_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdio.h>

#include "chimpctl/where.h"

/* Exit statuses. */
enum { CTL_OK = 0, CTL_FAILED = 1, CTL_USAGE = 2 };

struct ctl_option {
	const char *name;  /* the long one, "queue" for --queue */
	char letter;       /* 'n' for -n; '\0' = none */
	const char *value; /* what help calls its value; NULL = a flag */
	const char *help;
};

enum { CTL_OPTIONS_MAX = 12 };

/* One run of one verb. */
struct ctl_call {
	struct where where; /* which database */
	PGconn *db;         /* its connection; NULL until db_run */
	bool json;
	/* By index in the verb's options; NULL = not given, "" for a flag. */
	const char *values[CTL_OPTIONS_MAX];
	char **args; /* what is left after the options */
	int n_args;
};

struct ctl_verb {
	const char *name; /* NULL: the noun alone is the command */
	const char *args; /* for help: "QUEUE [PAYLOAD|-]"; "" = none */
	const char *help;
	int min_args;
	int max_args;
	const struct ctl_option *options;  /* ends with {0}; NULL = none */
	int (*run)(struct ctl_call *call); /* returns an exit status, the
					    * error has been told */
};

struct ctl_noun {
	const char *name;
	const char *help;
	const struct ctl_verb *verbs; /* ends with a NULL run */
};

/* Ends with NULL. */
extern const struct ctl_noun *const ctl_nouns[];
extern const struct ctl_noun noun_cron, noun_dead, noun_event, noun_job,
    noun_kv, noun_migrate, noun_node, noun_queue, noun_status,
    noun_subscription, noun_why, noun_workflow;

/* Parse argv, run the verb that it names; returns an exit status. */
int command_run(int argc, char **argv);

#endif
