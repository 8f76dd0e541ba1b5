/*
 * A file of a folder, open and on its way to a client.
 */
#ifndef CHIMP_HTTP_STATIC_FILE_H
#define CHIMP_HTTP_STATIC_FILE_H

#include "roles/http/http.h"

struct static_file {
	int fd;
	uint64_t size;
	struct timespec modified;
};

enum static_open {
	STATIC_OPEN,
	STATIC_FOLDER, /* the name is one of a folder */
	STATIC_NONE,   /* nothing that may be served */
	STATIC_DENIED, /* the process may not read it */
	STATIC_TROUBLE /* no descriptor, an error of the disk */
};

/*
 * Open a regular file below `dir`. What a symbolic link leads to must lie in
 * `dir` too; `dir` itself may be a link, and is looked up anew each time, so
 * that a deployment can swap it.
 */
enum static_open static_file_open(
    const char *dir, const char *name, struct static_file *file);
void static_file_close(struct static_file *file);

/* Send `count` bytes from `first` on; takes the file. The headers and the
 * status are set. */
void static_file_send(
    h2o_req_t *req, struct static_file *file, uint64_t first, uint64_t count);

#endif
