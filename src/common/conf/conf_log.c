/*
 * The log as the configuration wants it: at the start and at a reload.
 */
#include "common/conf/conf.h"

#include <assert.h>
#include <string.h>

void
conf_apply_log(const struct conf *conf)
{
	bool json = strcmp(conf->log.format, "json") == 0;
	enum log_level level;
	bool known = log_level_parse(conf->log.level, &level);

	assert(known); /* the parser has checked it */
	log_init(level, json ? LOG_FORMAT_JSON : LOG_FORMAT_TEXT);
}
