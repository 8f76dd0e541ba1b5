/*
 * The members of the structs of conf.h, as the tables of conf_keys*.c place
 * them. See conf_keys.h.
 */
#include "common/conf/conf_keys.h"

#include <assert.h>
#include <stdlib.h>

static void *
field(void *base, size_t offset)
{
	return (char *)base + offset;
}

char **
conf_field_string(void *base, size_t offset)
{
	return field(base, offset);
}

int64_t *
conf_field_int(void *base, size_t offset)
{
	return field(base, offset);
}

bool *
conf_field_bool(void *base, size_t offset)
{
	return field(base, offset);
}

struct conf_strings *
conf_field_strings(void *base, size_t offset)
{
	return field(base, offset);
}

struct conf_rate *
conf_field_rate(void *base, size_t offset)
{
	return field(base, offset);
}

size_t *
conf_field_count(void *base, const struct conf_section *section)
{
	assert(section->shape == CONF_MANY);
	return field(base, section->count_offset);
}

void *
conf_section_at(void *parent, const struct conf_section *section, size_t i)
{
	void **array = field(parent, section->offset);

	if (section->shape != CONF_MANY)
		return array;
	return (char *)*array + i * section->size;
}

size_t
conf_section_count(const void *parent, const struct conf_section *section)
{
	const char *base = parent;

	switch (section->shape) {
	case CONF_ONE:
		return 1;
	case CONF_ROLE:
		return *(const bool *)(base + section->offset) ? 1 : 0;
	case CONF_MANY:
		return *(
		    const size_t *)(const void *)(base + section->count_offset);
	}
	abort(); /* no other shape */
}
