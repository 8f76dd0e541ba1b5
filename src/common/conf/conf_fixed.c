/*
 * What a reload cannot change. Called by the child that checks a new
 * configuration, before it hands it to the master.
 */
#include "common/conf/conf.h"
#include "common/conf/conf_keys.h"
#include "common/conf/conf_value.h"
#include "common/base/mem.h"
#include "common/base/strbuf.h"

#include <stdlib.h>
#include <string.h>

static bool
fixed_equal(const struct conf_key *key, void *next, void *now)
{
	struct strbuf a = STRBUF_EMPTY, b = STRBUF_EMPTY;
	bool equal;

	conf_value_print(key, next, &a);
	conf_value_print(key, now, &b);
	equal = strcmp(strbuf_str(&a), strbuf_str(&b)) == 0;
	strbuf_done(&a);
	strbuf_done(&b);
	return equal;
}

/* `now` lives as long as `next`: the process ends with both. */
static void
fixed_copy(const struct conf_key *key, void *next, void *now)
{
	switch (key->type) {
	case CONF_STRING:
	case CONF_PATH:
	case CONF_CHOICE:
		*conf_field_string(next, key->offset) =
		    *conf_field_string(now, key->offset);
		break;
	case CONF_STRINGS:
		*conf_field_strings(next, key->offset) =
		    *conf_field_strings(now, key->offset);
		break;
	case CONF_BOOL:
		*conf_field_bool(next, key->offset) =
		    *conf_field_bool(now, key->offset);
		break;
	case CONF_INT:
	case CONF_DURATION:
	case CONF_SIZE:
		*conf_field_int(next, key->offset) =
		    *conf_field_int(now, key->offset);
		break;
	case CONF_RATE:
		*conf_field_rate(next, key->offset) =
		    *conf_field_rate(now, key->offset);
		break;
	case CONF_LATER:
		abort(); /* it has no member */
	}
}

static void
fixed_section(const struct conf_section *s, void *next, void *now)
{
	for (size_t i = 0; i < s->n_keys; i++) {
		const struct conf_key *key = &s->keys[i];

		if ((key->flags & CONF_FIXED) == 0 ||
		    fixed_equal(key, next, now))
			continue;
		log_warn("%s%s%s has changed; that takes effect when chimpd "
			 "is started the next time",
		    s->name, s->name[0] ? "." : "", key->name);
		fixed_copy(key, next, now);
	}
}

void
conf_keep_fixed(struct conf *next, const struct conf *now)
{
	/* The tables' accessors serve writers too; nothing of it is written. */
	struct conf *old = (void *)(uintptr_t)now;
	bool embedded = strcmp(now->database.mode, "embedded") == 0 ||
			strcmp(next->database.mode, "embedded") == 0;

	fixed_section(&conf_root, next, old);
	for (size_t i = 0; i < conf_root.n_subs; i++)
		if (conf_root.subs[i].shape == CONF_ONE)
			fixed_section(&conf_root.subs[i],
			    conf_section_at(next, &conf_root.subs[i], 0),
			    conf_section_at(old, &conf_root.subs[i], 0));
	/* Made from data_dir, or of another mode. */
	if (embedded)
		next->database.url = old->database.url;
}
