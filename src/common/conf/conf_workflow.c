/*
 * The rules of workflows: names and versions, what a step does and which keys
 * go with it, and that what a step names is there. Sets the kind of each step.
 * What a document or a predicate yields is the database's to judge.
 */
#include "common/conf/conf_draft.h"
#include "common/conf/conf_nearest.h"
#include "common/conf/conf_value.h"
#include "common/base/err.h"
#include "common/base/mem.h"

#include <string.h>

#include <jansson.h>

enum { NAME_MAX_BYTES = 128, STEP_MAX_BYTES = 100 };

#define DIGITS  "0123456789"
#define LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

/* The keys that say what a step does, of which it has one. */
static const char *const kinds[] = {
    "action", "signal", "sleep", "goto", "workflow"};

/* The kinds that a key goes with; others go with all. */
static const struct {
	const char *key, *kinds;
} fits[] = {
    {"input", "action or workflow"},
    {"result", "action, signal or workflow"},
    {"timeout", "action, signal or workflow"},
    {"on_timeout", "signal or workflow"},
    {"max_attempts", "action"},
    {"retry_delay", "action"},
    {"retry_delay_max", "action"},
    {"backoff", "action"},
    {"compensate", "action"},
    {"compensate_input", "action"},
};

/* Where what is looked at stands. */
struct place {
	const struct conf_draft *draft;
	const struct conf_app *app;
	const struct conf_workflow *workflow;
	const struct conf_step *step; /* NULL: the workflow itself */
	struct err *err;
};

/* ---------------------------------------------------- what a step names */

static int
not_found(const struct place *p, const char *key, const char *what,
    const char *name, const char *near)
{
	conf_draft_err(p->draft, p->step, key, p->err,
	    "there is no %s \"%s\" in this %s", what, name,
	    strcmp(what, "action") == 0 ? "app" : "workflow");
	if (near != NULL)
		err_hint(p->err, "did you mean \"%s\"?", near);
	return -1;
}

static int
check_action(const struct place *p, const char *key, const char *name)
{
	struct conf_nearest near = {.wrong = name};

	if (*name == '\0')
		return 0;
	for (size_t i = 0; i < p->app->n_actions; i++) {
		if (strcmp(p->app->actions[i].name, name) == 0)
			return 0;
		conf_nearest_try(&near, p->app->actions[i].name);
	}
	return not_found(p, key, "action", name, near.best);
}

static int
check_target(const struct place *p, const char *key, const char *name)
{
	struct conf_nearest near = {.wrong = name};

	for (size_t i = 0; i < p->workflow->n_steps; i++) {
		if (strcmp(p->workflow->steps[i].name, name) == 0)
			return 0;
		conf_nearest_try(&near, p->workflow->steps[i].name);
	}
	return not_found(p, key, "step", name, near.best);
}

static int
check_goto(const struct place *p, const char *name)
{
	if (*name == '\0' || strcmp(name, "end") == 0)
		return 0;
	return check_target(p, "goto", name);
}

static int
check_on_timeout(const struct place *p, const char *what)
{
	static const char step[] = "step:";

	if (*what == '\0' || strcmp(what, "fail") == 0 ||
	    strcmp(what, "continue") == 0)
		return 0;
	if (strncmp(what, step, sizeof(step) - 1) == 0)
		return check_target(p, "on_timeout", what + sizeof(step) - 1);
	return conf_draft_err(p->draft, p->step, "on_timeout", p->err,
	    "must be \"fail\", \"continue\" or \"step:NAME\", not \"%s\"",
	    what);
}

/* A signal or a workflow, which may come later or be another app's. */
static int
check_other(const struct place *p, const char *key, const char *name)
{
	if (*name == '\0' || conf_name_valid(name, NAME_MAX_BYTES))
		return 0;
	return conf_draft_err(p->draft, p->step, key, p->err,
	    "\"%s\" is no name: letters, digits, _ and -, with dots between, "
	    "at most %d bytes",
	    name, (int)NAME_MAX_BYTES);
}

static int
check_result(const struct place *p, const char *name)
{
	if (strspn(name, LETTERS DIGITS "_") == strlen(name) &&
	    strspn(name, DIGITS) == 0)
		return 0;
	return conf_draft_err(p->draft, p->step, "result", p->err,
	    "must be letters, digits and _, and begin with no digit, "
	    "not \"%s\"",
	    name);
}

/* ------------------------------------------------ functions, documents */

static int
check_function(const struct place *p, const char *key, const char *sql)
{
	if (*sql == '\0' || conf_function_valid(sql))
		return 0;
	return conf_draft_err(p->draft, p->workflow, key, p->err,
	    "must be \"schema.function\" of letters, digits, _ and $, "
	    "not \"%s\"",
	    sql);
}

/* Numbers of any length are well with PostgreSQL, hence as reals here. */
static int
check_json(const struct place *p, const char *key, const char *text)
{
	const size_t flags = JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL;
	json_error_t why;
	json_t *value = json_loads(text, flags, &why);

	if (value == NULL) {
		conf_draft_err(p->draft, p->step, key, p->err,
		    "is no JSON: %s, at byte %d", why.text, why.position);
		return err_hint(p->err, "write it in single quotes, like "
					"'{\"id\": \"$.input.id\"}'");
	}
	json_decref(value);
	return 0;
}

static int
check_document(const struct place *p, const char *key, const char *text)
{
	if (*text == '{' || *text == '[')
		return check_json(p, key, text);
	if (*text == '\0' || strcmp(text, "$") == 0 ||
	    strncmp(text, "$.", 2) == 0 || conf_function_valid(text))
		return 0;
	return conf_draft_err(p->draft, p->step, key, p->err,
	    "must be \"$.path\", JSON that begins with { or [, or "
	    "\"schema.function\", not \"%s\"",
	    text);
}

/* ---------------------------------------------------------------- steps */

static int
check_step_name(const struct place *p, const char *name)
{
	size_t length = strlen(name);

	if (length == 0 || length > STEP_MAX_BYTES ||
	    strspn(name, LETTERS DIGITS "_.-") != length)
		return conf_draft_err(p->draft, p->step, NULL, p->err,
		    "a step's name is made of letters, digits, _, . and -, "
		    "at most %d bytes",
		    (int)STEP_MAX_BYTES);
	if (strcmp(name, "end") == 0)
		return conf_draft_err(p->draft, p->step, NULL, p->err,
		    "the name means the end of the workflow; give another");
	return 0;
}

static int
set_kind(const struct place *p, struct conf_step *s)
{
	const struct conf_section *section =
	    conf_draft_node(p->draft, s)->section;

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (!conf_value_is_set(conf_key_find(section, kinds[i]), s))
			continue;
		if (*s->kind != '\0')
			return conf_draft_err(p->draft, s, kinds[i], p->err,
			    "a step has either %s or %s, not both", s->kind,
			    kinds[i]);
		s->kind = arena_strdup(p->draft->conf->arena, kinds[i]);
	}
	if (*s->kind != '\0')
		return 0;
	conf_draft_err(p->draft, s, NULL, p->err, "does nothing");
	return err_hint(
	    p->err, "give one of action, signal, sleep, workflow and goto");
}

static int
check_fits(const struct place *p)
{
	const struct conf_node *node = conf_draft_node(p->draft, p->step);

	for (size_t i = 0; i < sizeof(fits) / sizeof(fits[0]); i++)
		if (conf_node_given(node, fits[i].key)->where != NULL &&
		    strstr(fits[i].kinds, p->step->kind) == NULL)
			return conf_draft_err(p->draft, p->step, fits[i].key,
			    p->err, "belongs to a step with %s, not with %s",
			    fits[i].kinds, p->step->kind);
	if (*p->step->compensate_input != '\0' && *p->step->compensate == '\0')
		return conf_draft_err(p->draft, p->step, "compensate_input",
		    p->err, "needs compensate, the action that gets it");
	return 0;
}

/* What a step does not say is the workflow's. */
static int
check_retry(const struct place *p)
{
	const struct conf_retry *own = &p->step->retry;
	const struct conf_retry *all = &p->workflow->retry;
	int64_t delay_ms = own->retry_delay_ms;
	int64_t max_ms = own->retry_delay_max_ms;

	if (delay_ms == CONF_UNSET)
		delay_ms = all->retry_delay_ms;
	if (max_ms == CONF_UNSET)
		max_ms = all->retry_delay_max_ms;
	if (delay_ms <= max_ms)
		return 0;
	if (own->retry_delay_ms == CONF_UNSET)
		return conf_draft_err(p->draft, p->step, "retry_delay_max",
		    p->err,
		    "must not be shorter than the workflow's retry_delay");
	return conf_draft_err(p->draft, p->step, "retry_delay", p->err,
	    "must not be longer than retry_delay_max, the step's or else the "
	    "workflow's");
}

static int
check_step(struct place *p, struct conf_step *s)
{
	p->step = s;
	if (check_step_name(p, s->name) < 0 || set_kind(p, s) < 0 ||
	    check_fits(p) < 0)
		return -1;
	if (check_action(p, "action", s->action) < 0 ||
	    check_action(p, "compensate", s->compensate) < 0 ||
	    check_other(p, "signal", s->signal) < 0 ||
	    check_other(p, "workflow", s->workflow) < 0 ||
	    check_goto(p, s->go_to) < 0 ||
	    check_on_timeout(p, s->on_timeout) < 0)
		return -1;
	if (check_result(p, s->result) < 0 ||
	    check_document(p, "input", s->input) < 0 ||
	    check_document(p, "state", s->state) < 0 ||
	    check_document(p, "compensate_input", s->compensate_input) < 0 ||
	    check_retry(p) < 0)
		return -1;
	if (*s->on_timeout == '\0' &&
	    (*s->signal != '\0' || *s->workflow != '\0'))
		s->on_timeout = arena_strdup(p->draft->conf->arena, "fail");
	return 0;
}

/* ------------------------------------------------------------ workflows */

/* A name is one app's, each of its versions stands once. */
static int
check_taken(const struct place *p, const struct conf_app *app,
    const struct conf_workflow *other)
{
	const struct conf_workflow *w = p->workflow;
	const char *where = conf_draft_node(p->draft, other)->where;

	if (strcmp(other->name, w->name) != 0)
		return 0;
	if (app != p->app)
		return conf_draft_err(p->draft, w, NULL, p->err,
		    "the name is taken already by app \"%s\" at %s", app->name,
		    where);
	if (other->version != w->version)
		return 0;
	conf_draft_err(p->draft, w, "version", p->err,
	    "version %lld is there already, at %s", (long long)w->version,
	    where);
	return err_hint(p->err, "give each its own version");
}

static int
check_name(const struct place *p)
{
	const struct conf *conf = p->draft->conf;
	const struct conf_workflow *w = p->workflow;

	if (!conf_name_valid(w->name, NAME_MAX_BYTES))
		return conf_draft_err(p->draft, w, NULL, p->err,
		    "a name is made of letters, digits, _ and -, with dots "
		    "between, at most %d bytes",
		    (int)NAME_MAX_BYTES);
	for (size_t a = 0; a < conf->n_apps; a++)
		for (size_t i = 0; i < conf->apps[a].n_workflows; i++) {
			const struct conf_app *app = &conf->apps[a];

			if (&app->workflows[i] == w)
				return 0; /* each pair once */
			if (check_taken(p, app, &app->workflows[i]) < 0)
				return -1;
		}
	return 0;
}

static int
check_form(const struct place *p)
{
	const struct conf_workflow *w = p->workflow;

	if (*w->sql != '\0' && w->n_steps > 0)
		return conf_draft_err(p->draft, w, "sql", p->err,
		    "a workflow has either sql or steps, not both");
	if (*w->sql != '\0' || w->n_steps > 0)
		return 0;
	conf_draft_err(p->draft, w, NULL, p->err, "has neither sql nor steps");
	return err_hint(p->err, "give sql = \"schema.function\" or at least "
				"one step \"NAME\" { ... }");
}

static int
check_workflow(struct place *p)
{
	const struct conf_workflow *w = p->workflow;

	if (check_name(p) < 0 || check_form(p) < 0 ||
	    check_function(p, "initial", w->initial) < 0 ||
	    check_function(p, "sql", w->sql) < 0)
		return -1;
	if (w->retry.retry_delay_ms > w->retry.retry_delay_max_ms)
		return conf_draft_err(p->draft, w, "retry_delay", p->err,
		    "must not be longer than retry_delay_max");
	for (size_t i = 0; i < w->n_steps; i++)
		if (check_step(p, &w->steps[i]) < 0)
			return -1;
	return 0;
}

int
conf_check_workflows(struct conf_draft *d, struct err *err)
{
	for (size_t a = 0; a < d->conf->n_apps; a++)
		for (size_t i = 0; i < d->conf->apps[a].n_workflows; i++) {
			const struct conf_app *app = &d->conf->apps[a];
			struct place p = {.draft = d,
			    .app = app,
			    .workflow = &app->workflows[i],
			    .err = err};

			if (check_workflow(&p) < 0)
				return -1;
		}
	return 0;
}
