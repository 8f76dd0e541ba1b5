/*
 * Fuzzes the whole way of a configuration file: text, values, rules, JSON and
 * -T. What is accepted must survive the hand-over unchanged.
 *
 * libConfuse itself is not instrumented, but its crashes count: what it cannot
 * bear is conf_shape.c's to refuse.
 */
#include "common/conf/conf.h"
#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/base/mem.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
hand_over(const struct conf *conf)
{
	char *one = conf_to_json(conf), *other, *text;
	struct err err;
	struct conf *copy = conf_from_json(one, &err);

	if (copy == NULL)
		abort();
	other = conf_to_json(copy);
	if (strcmp(one, other) != 0)
		abort();
	text = conf_print(copy);
	mem_free(&text);
	text = conf_apps_json(copy);
	mem_free(&text);
	mem_free(&one);
	mem_free(&other);
	conf_free(&copy);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int fd = memfd_create("conf", MFD_CLOEXEC);
	struct conf *conf;
	struct err err;
	char path[64];

	if (fd < 0 || fd_write_all(fd, data, size) != 0)
		abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	conf = conf_parse(path, &err);
	if (conf != NULL)
		hand_over(conf);
	conf_free(&conf);
	fd_close(&fd);
	return 0;
}
