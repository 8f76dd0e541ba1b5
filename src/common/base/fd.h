/*
 * File descriptors.
 */
#ifndef CHIMP_BASE_FD_H
#define CHIMP_BASE_FD_H

#include <stdbool.h>
#include <stddef.h>

struct err;

/* Close *fd and leave -1 there; accepts -1. */
void fd_close(int *fd);

/* Set or clear FD_CLOEXEC; cannot fail on a valid descriptor. */
void fd_set_cloexec(int fd, bool on);

/* In a forked child: close all but 0 to 2 and `keep`, which is above. */
void fd_close_others(int keep);

/* Write everything to a blocking descriptor; -1 with errno set. */
int fd_write_all(int fd, const void *data, size_t size_bytes);

/*
 * Read until end of file or `max_bytes` from a blocking descriptor. Returns a
 * terminated buffer that the caller frees, its length in *size_bytes; NULL
 * with errno set (EFBIG when there was more).
 */
char *fd_read_all(int fd, size_t max_bytes, size_t *size_bytes);

/* The whole of a file, as fd_read_all; the error names the path. */
char *fd_read_file(
    const char *path, size_t max_bytes, size_t *size_bytes, struct err *err);

#endif
