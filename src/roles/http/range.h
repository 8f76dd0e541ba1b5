/*
 * A Range header (RFC 9110, 14): which bytes of a file a client wants. Pure.
 */
#ifndef CHIMP_HTTP_RANGE_H
#define CHIMP_HTTP_RANGE_H

#include <stddef.h>
#include <stdint.h>

enum range_answer {
	RANGE_WHOLE, /* not a range that we know: the file, 200 */
	RANGE_PART,  /* 206 */
	RANGE_BEYOND /* 416 */
};

/*
 * Several ranges count as none: the standard allows that, and many small ones
 * would make long answers of short requests. With RANGE_PART `first` is below
 * `size` and `count` at least 1.
 */
enum range_answer range_parse(const char *value, size_t length, uint64_t size,
    uint64_t *first, uint64_t *count);

#endif
