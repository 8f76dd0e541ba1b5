/*
 * The tables of configuration keys.
 *
 * A section describes one struct of conf.h, a key one of its members. The
 * parser, its checks, the defaults, -T and the hand-over to the master read
 * nothing else, so that a new key is one new line in conf_keys.c or
 * conf_keys_app.c.
 */
#ifndef CHIMP_CONF_CONF_KEYS_H
#define CHIMP_CONF_CONF_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum conf_type {
	CONF_STRING,   /* char * */
	CONF_PATH,     /* char *, absolute; relative ones go by the file */
	CONF_CHOICE,   /* char *, one of choices */
	CONF_STRINGS,  /* struct conf_strings */
	CONF_BOOL,     /* bool */
	CONF_INT,      /* int64_t */
	CONF_DURATION, /* int64_t, milliseconds */
	CONF_SIZE,     /* int64_t, bytes */
	CONF_RATE,     /* struct conf_rate; its limits: conf_value.h */
	CONF_LATER     /* no member: refused as not in this version */
};

enum conf_key_flag {
	CONF_SECRET = 1 << 0,   /* may hold a password: masked by -T */
	CONF_INTERNAL = 1 << 1, /* handed to the master, no key of the file */
	CONF_OPTIONAL = 1 << 2, /* may be none, which -T leaves out: "", of a
				 * number CONF_UNSET; without a def it is */
	CONF_FIXED = 1 << 3     /* a reload does not change it */
};

struct conf_key {
	const char *name;
	enum conf_type type;
	size_t offset;   /* of the member in the section's struct */
	const char *def; /* as the file would say it; NULL = empty; of a
			  * list the only item */
	int64_t min;     /* of the value; of a list: of its length */
	int64_t max;
	const char *choices; /* "a|b|c" */
	unsigned flags;      /* enum conf_key_flag */
	size_t unless;       /* -T leaves the key out when the char * at this
			      * offset is not empty; 0 = always there */
	const char *help;    /* one line */
};

enum conf_shape {
	CONF_ONE,  /* a struct inside its parent, always there */
	CONF_ROLE, /* the same, beginning with `bool present` */
	CONF_MANY  /* an array of structs, each beginning with its title */
};

struct conf_section {
	const char *name;
	enum conf_shape shape;
	size_t size;         /* of the struct */
	size_t offset;       /* in the parent: of the struct or the array */
	size_t count_offset; /* CONF_MANY: of the number, a size_t */
	const struct conf_key *keys;
	size_t n_keys;
	const struct conf_section *subs;
	size_t n_subs;
	bool repeats; /* CONF_MANY: a title may stand more than once */
};

/* struct conf itself. */
extern const struct conf_section conf_root;

/* Of struct conf_app. */
#define CONF_APP_SECTIONS 8
extern const struct conf_section conf_app_sections[CONF_APP_SECTIONS];

/* Members by the tables: conf_field.c. */
char **conf_field_string(void *base, size_t offset);
int64_t *conf_field_int(void *base, size_t offset);
bool *conf_field_bool(void *base, size_t offset);
struct conf_strings *conf_field_strings(void *base, size_t offset);
struct conf_rate *conf_field_rate(void *base, size_t offset);
size_t *conf_field_count(void *base, const struct conf_section *section);

/* Element `i` of a section's array, or the one struct (i = 0). */
void *conf_section_at(
    void *parent, const struct conf_section *section, size_t i);

/* How many there are; a role that is not present is none. */
size_t conf_section_count(
    const void *parent, const struct conf_section *section);

/* Whether it may stand in a file. */
bool conf_key_in_file(const struct conf_key *key);

/* The key of that name, or NULL. */
const struct conf_key *conf_key_find(
    const struct conf_section *section, const char *name);

#endif
