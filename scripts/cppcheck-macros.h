/*
 * Macros of libraries that cppcheck must know to parse a file; their headers
 * are not searched. Used by scripts/lint only.
 */
#define json_array_foreach(array, i, value) \
	for (i = 0; (value = json_array_get(array, i)) != NULL; i++)
#define json_object_foreach(object, key, value) \
	for (key = json_next(object); (value = json_get(object, key)) != NULL;)
