/*
 * For golden.sh: what `chimpd -T` prints for a file, or the error, as the
 * master gets it (by way of the child and its JSON).
 */
#include "common/conf/conf.h"
#include "common/base/err.h"
#include "common/base/mem.h"

#include <stdio.h>
#include <stdlib.h>

int
main(int argc, char **argv)
{
	struct conf *conf;
	struct err err;
	char *text;

	if (argc != 2) {
		fputs("usage: confdump FILE\n", stderr);
		return 2;
	}
	conf = conf_load(argv[1], &err);
	if (conf == NULL) {
		printf("error: %s\n", err.message);
		if (err.hint[0] != '\0')
			printf("hint: %s\n", err.hint);
		return 1;
	}
	text = conf_print(conf);
	fputs(text, stdout);
	mem_free(&text);
	conf_free(&conf);
	return 0;
}
