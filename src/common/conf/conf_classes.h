/*
 * Which processes a configuration asks for: a flat list of roles and worker
 * classes, for the supervisor, the connection budget and -T.
 */
#ifndef CHIMP_CONF_CONF_CLASSES_H
#define CHIMP_CONF_CONF_CLASSES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/conf/conf.h"

struct conf_class {
	const char *role;    /* "http", "worker", "cron", "subscriber" */
	const char *name;    /* of a worker class; "" = other roles */
	int64_t processes;   /* on this node; 0 = none */
	int64_t connections; /* that one process may open */
	struct conf_recycle recycle;
	const struct conf_worker *worker; /* NULL = other roles */
};

/*
 * The class with number `i`, from 0: http, the worker classes in the order of
 * the file, cron, subscriber. False when there are no more.
 */
bool conf_class_at(const struct conf *conf, size_t i, struct conf_class *class);

#endif
