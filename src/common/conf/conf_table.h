/*
 * Shorthands of the tables of keys, for conf_keys*.c alone.
 */
#ifndef CHIMP_CONF_CONF_TABLE_H
#define CHIMP_CONF_CONF_TABLE_H

#include "common/conf/conf_keys.h"

#define MS     INT64_C(1)
#define SECOND (1000 * MS)
#define MINUTE (60 * SECOND)
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)
#define KIB    INT64_C(1024)
#define MIB    (1024 * KIB)
#define GIB    (1024 * MIB)

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* clang-format off */

#define AT(type, member) .offset = offsetof(struct type, member)
#define LATER(key)	 { .name = key, .type = CONF_LATER }

#define MANY(name, type, parent, at, keys, subs, n_subs)                      \
	{ name, CONF_MANY, sizeof(struct type), offsetof(struct parent, at),  \
	  offsetof(struct parent, n_##at), keys, COUNT(keys), subs, n_subs,   \
	  false }

/* Titles may stand more than once. */
#define REPEATED(name, type, parent, at, keys, subs, n_subs)                  \
	{ name, CONF_MANY, sizeof(struct type), offsetof(struct parent, at),  \
	  offsetof(struct parent, n_##at), keys, COUNT(keys), subs, n_subs,   \
	  true }

/* clang-format on */

#endif
