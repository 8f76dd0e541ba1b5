/*
 * Arguments and help, made from the tables of nouns. See command.h.
 */
#include "chimpctl/command.h"

#include "chimpctl/db.h"
#include "chimpctl/say.h"
#include "common/conf/conf_nearest.h"
#include "config.h"

#include <assert.h>
#include <getopt.h>
#include <stdint.h>
#include <string.h>

/* Options that every command takes, before its noun or after. */
enum { GLOBAL_CONF, GLOBAL_URL, GLOBAL_JSON, GLOBAL_HELP, GLOBAL_VERSION };

static const struct ctl_option global_options[] = {
    [GLOBAL_CONF] = {"config", 'c', "FILE",
	"the database, or the node, of this chimpd.conf"},
    [GLOBAL_URL] = {"database", 'd', "URL",
	"a database by its URL or connection string"},
    [GLOBAL_JSON] = {"json", '\0', NULL,
	"print JSON as PostgreSQL made it, for programs"},
    [GLOBAL_HELP] = {"help", 'h', NULL, "print help and exit"},
    [GLOBAL_VERSION] = {"version", 'V', NULL, "print the version and exit"},
    {0},
};

enum { GLOBAL_COUNT = sizeof(global_options) / sizeof(*global_options) - 1 };

/* What has been understood of argv so far. */
struct command {
	struct ctl_call call;
	const struct ctl_noun *noun;
	const struct ctl_verb *verb;
	bool help;
	bool version;
	/* What is left; argv[0] is the word or program before it. */
	int argc;
	char **argv;
};

/* Help ----------------------------------------------------------------------*/

static void
help_option(const struct ctl_option *option)
{
	char left[64];
	int n = 0;

	if (option->letter != '\0')
		n = snprintf(left, sizeof(left), "-%c, ", option->letter);
	snprintf(left + n, sizeof(left) - (size_t)n, "--%s%s%s", option->name,
	    option->value != NULL ? " " : "",
	    option->value != NULL ? option->value : "");
	printf("  %-24s%s\n", left, option->help);
}

static void
help_options(const char *title, const struct ctl_option *options)
{
	if (options == NULL)
		return;
	printf("\n%s:\n", title);
	for (; options->name != NULL; options++)
		help_option(options);
}

static void
help_usage(const struct ctl_noun *noun, const struct ctl_verb *verb, FILE *out)
{
	fprintf(out, "chimpctl %s%s%s%s%s%s", noun->name,
	    verb->name != NULL ? " " : "", verb->name != NULL ? verb->name : "",
	    verb->options != NULL ? " [OPTION ...]" : "",
	    *verb->args != '\0' ? " " : "", verb->args);
}

static void
help_verb(const struct ctl_noun *noun, const struct ctl_verb *verb)
{
	printf("Usage: ");
	help_usage(noun, verb, stdout);
	printf("\n\n%s\n", verb->help);
	help_options("Options", verb->options);
	help_options("For every command", global_options);
}

static void
help_noun(const struct ctl_noun *noun, FILE *out)
{
	fprintf(out, "chimpctl %s: %s\n\n", noun->name, noun->help);
	for (const struct ctl_verb *v = noun->verbs; v->run != NULL; v++) {
		fprintf(out, "  ");
		help_usage(noun, v, out);
		fprintf(out, "\n");
	}
	fprintf(out, "\nchimpctl %s VERB --help says more.\n", noun->name);
}

static void
help_all(void)
{
	puts(
	    "chimpctl talks to the database that chimpd runs on, and tells the "
	    "node on this\nmachine what to do.\n\n"
	    "Usage: chimpctl [-c FILE | -d URL] [--json] NOUN [VERB] ...\n");
	for (const struct ctl_noun *const *n = ctl_nouns; *n != NULL; n++) {
		const struct ctl_verb *v = (*n)->verbs;

		printf("  %-14s%s\n", (*n)->name, (*n)->help);
		if (v->name == NULL)
			continue;
		for (; v->run != NULL; v++)
			printf("  %-14s  %s %s\n", "", v->name, v->args);
	}
	help_options("For every command", global_options);
	puts("\nWithout -c and -d, the database is the one of DATABASE_URL, "
	     "else that of\n" SYSCONFDIR "/chimpd/chimpd.conf.");
}

static int
help(const struct command *command)
{
	if (command->noun == NULL)
		help_all();
	else if (command->verb == NULL)
		help_noun(command->noun, stdout);
	else
		help_verb(command->noun, command->verb);
	return CTL_OK;
}

/* Arguments -----------------------------------------------------------------*/

/* "Did you mean ...?" for a mistyped word, or where the right ones stand. */
static int
word_unknown(const char *what, const struct conf_nearest *nearest)
{
	char hint[128];

	if (nearest->best != NULL)
		snprintf(
		    hint, sizeof(hint), "Did you mean \"%s\"?", nearest->best);
	else
		snprintf(hint, sizeof(hint), "chimpctl --help lists them.");
	return say_usage(hint, "unknown %s \"%s\"", what, nearest->wrong);
}

static int
noun_unknown(const char *word)
{
	struct conf_nearest nearest = {.wrong = word};

	for (const struct ctl_noun *const *n = ctl_nouns; *n != NULL; n++)
		conf_nearest_try(&nearest, (*n)->name);
	return word_unknown("command", &nearest);
}

static int
verb_unknown(const struct ctl_noun *noun, const char *word)
{
	struct conf_nearest nearest = {.wrong = word};

	for (const struct ctl_verb *v = noun->verbs; v->run != NULL; v++)
		conf_nearest_try(&nearest, v->name);
	return word_unknown("verb", &nearest);
}

static const struct ctl_noun *
noun_find(const char *name)
{
	for (const struct ctl_noun *const *n = ctl_nouns; *n != NULL; n++) {
		if (strcmp((*n)->name, name) == 0)
			return *n;
	}
	return NULL;
}

static const struct ctl_verb *
verb_find(const struct ctl_noun *noun, const char *name)
{
	for (const struct ctl_verb *v = noun->verbs; v->run != NULL; v++) {
		if (strcmp(v->name, name) == 0)
			return v;
	}
	return NULL;
}

/* getopt's tables for a verb's own options and the global ones. */
struct optable {
	struct option longs[GLOBAL_COUNT + CTL_OPTIONS_MAX + 1];
	char shorts[4 + 2 * (GLOBAL_COUNT + CTL_OPTIONS_MAX)];
	int n;
};

enum { OPTABLE_LONG = 256 }; /* + index: what getopt returns for a long one */

/* `index`: of the first option, as command_set takes it. */
static void
optable_add(struct optable *t, const struct ctl_option *options, int index)
{
	size_t used = strlen(t->shorts);

	for (; options != NULL && options->name != NULL; options++) {
		assert(t->n < GLOBAL_COUNT + CTL_OPTIONS_MAX);
		t->longs[t->n].name = options->name;
		t->longs[t->n].has_arg = options->value != NULL;
		t->longs[t->n].val = OPTABLE_LONG + index++;
		t->n++;
		if (options->letter == '\0')
			continue;
		t->shorts[used++] = options->letter;
		if (options->value != NULL)
			t->shorts[used++] = ':';
	}
}

/* The index of an option in the tables: global ones first. */
static int
optable_index(const struct ctl_option *verb_options, int letter)
{
	const struct ctl_option *o;
	int i = 0;

	for (o = global_options; o->name != NULL; o++, i++) {
		if (o->letter == letter)
			return i;
	}
	for (o = verb_options; o != NULL && o->name != NULL; o++, i++) {
		if (o->letter == letter)
			return i;
	}
	return -1;
}

static void
command_set(struct command *command, int index, const char *value)
{
	switch (index) {
	case GLOBAL_CONF:
		command->call.where.arg_conf = value;
		break;
	case GLOBAL_URL:
		command->call.where.arg_url = value;
		break;
	case GLOBAL_JSON:
		command->call.json = true;
		break;
	case GLOBAL_HELP:
		command->help = true;
		break;
	case GLOBAL_VERSION:
		command->version = true;
		break;
	default:
		command->call.values[index - GLOBAL_COUNT] =
		    value != NULL ? value : "";
		break;
	}
}

static int
command_bad_option(const struct command *command, int c)
{
	char name[64];

	/* getopt sets optopt to the letter; for a long one it stands before
	 * optind. */
	if (optopt > 0 && optopt < OPTABLE_LONG)
		snprintf(name, sizeof(name), "-%c", optopt);
	else
		snprintf(name, sizeof(name), "%s", command->argv[optind - 1]);
	say_usage("chimpctl --help lists the options.",
	    c == ':' ? "option %s needs a value" : "unknown option %s", name);
	return -1;
}

/*
 * Take options up to the first word, or (permuting argv) all that are left.
 * Returns the index of the first word left, -1 after an error.
 */
static int
command_options(struct command *command, bool stop_at_word)
{
	const struct ctl_option *own =
	    command->verb != NULL ? command->verb->options : NULL;
	struct optable t = {0};
	int c;

	/* ":" tells a missing value from an unknown option. */
	snprintf(t.shorts, sizeof(t.shorts), stop_at_word ? "+:" : ":");
	/* getopt takes the first of a name: --version may be a verb's own. */
	optable_add(&t, own, GLOBAL_COUNT);
	optable_add(&t, global_options, 0);
	opterr = 0;
	optind = 0; /* glibc: start anew */
	while ((c = getopt_long(command->argc, command->argv, t.shorts, t.longs,
		    NULL)) != -1) {
		if (c == '?' || c == ':')
			return command_bad_option(command, c);
		command_set(command,
		    c >= OPTABLE_LONG ? c - OPTABLE_LONG
				      : optable_index(own, c),
		    optarg);
	}
	return optind;
}

/* The next word, NULL if there is none; -1 after an error. */
static int
command_next(struct command *command, const char **word)
{
	int first = command_options(command, true);

	*word = NULL;
	if (first < 0)
		return -1;
	if (first < command->argc)
		*word = command->argv[first];
	else
		first = command->argc - 1;
	command->argv += first;
	command->argc -= first;
	return 0;
}

static int
command_words(struct command *command)
{
	const struct ctl_call *call = &command->call;
	const struct ctl_verb *verb = command->verb;

	assert(verb != NULL);
	if (call->n_args < verb->min_args)
		return say_usage(NULL, "chimpctl %s %s needs %s",
		    command->noun->name, verb->name, verb->args);
	if (call->n_args > verb->max_args)
		return say_usage("chimpctl --help shows what it takes.",
		    "one argument too many: \"%s\"",
		    call->args[verb->max_args]);
	if (call->where.arg_url != NULL && call->where.arg_conf != NULL)
		return say_usage(NULL, "-c and -d exclude each other");
	return CTL_OK;
}

static int
command_parse_verb(struct command *command)
{
	const struct ctl_noun *noun = command->noun;
	const char *word;

	if (noun->verbs->name == NULL) {
		command->verb = noun->verbs;
		return CTL_OK;
	}
	if (command_next(command, &word) != 0)
		return CTL_USAGE;
	if (word == NULL && command->help)
		return CTL_OK;
	if (word != NULL)
		command->verb = verb_find(noun, word);
	if (command->verb != NULL)
		return CTL_OK;
	if (word != NULL)
		return verb_unknown(noun, word);
	help_noun(noun, stderr);
	return say_usage(NULL, "what to do with a %s is not given", noun->name);
}

/* Fill in noun, verb and arguments; noun or verb stay NULL if help is wanted
 * about all of them. */
static int
command_parse(struct command *command)
{
	const char *word;
	int first, status;

	if (command_next(command, &word) != 0)
		return CTL_USAGE;
	if (word != NULL && strcmp(word, "help") == 0) {
		command->help = true;
		if (command_next(command, &word) != 0)
			return CTL_USAGE;
	}
	if (command->version || (command->help && word == NULL))
		return CTL_OK;
	if (word == NULL)
		return say_usage(
		    "chimpctl --help lists them.", "no command is given");
	command->noun = noun_find(word);
	if (command->noun == NULL)
		return noun_unknown(word);
	status = command_parse_verb(command);
	if (status != CTL_OK)
		return status;
	first = command_options(command, false);
	if (first < 0)
		return CTL_USAGE;
	command->call.args = command->argv + first;
	command->call.n_args = command->argc - first;
	return CTL_OK;
}

int
command_run(int argc, char **argv)
{
	struct command command = {.argc = argc, .argv = argv};
	int status = command_parse(&command);

	if (status != CTL_OK)
		return status;
	if (command.version) {
		puts("chimpctl " PACKAGE_VERSION);
		return CTL_OK;
	}
	if (command.help)
		return help(&command);
	status = command_words(&command);
	if (status == CTL_OK)
		status = command.verb->run(&command.call);
	db_done(&command.call);
	where_done(&command.call.where);
	return status;
}
