/*
 * A file that one process holds locked for its life: the pid file, and the
 * lock beside the embedded PostgreSQL's data. The process must not open the
 * file in another way as well: closing that would drop the lock (fcntl(2)).
 */
#ifndef CHIMP_SUPERVISOR_LOCKFILE_H
#define CHIMP_SUPERVISOR_LOCKFILE_H

struct err;

struct lockfile {
	int fd;     /* -1 = not held */
	char *path; /* NULL = not held */
};

#define LOCKFILE_NONE    \
	{                \
		-1, NULL \
	}

/*
 * Create `path` if needed, lock it and write this process's id into it. 0; -1
 * with an error; 1 with an error that names the process that holds it.
 */
int lockfile_take(struct lockfile *lock, const char *path, struct err *err);

/* Empty and remove the file; accepts one that is not held. */
void lockfile_release(struct lockfile *lock);

/* In a forked child: the lock stays the parent's. */
void lockfile_forget(struct lockfile *lock);

#endif
