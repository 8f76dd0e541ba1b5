/*
 * The master: owns sockets, slots, signals and time-outs; never runs SQL or
 * user code.
 */
#ifndef CHIMP_SUPERVISOR_MASTER_H
#define CHIMP_SUPERVISOR_MASTER_H

struct conf;
struct inherit;

struct master_opts {
	const char *conf_path; /* absolute */
	int ready_fd; /* "READY\n" is written there and it is closed when every
		       * role is ready; -1 = none */
	struct inherit *inherit; /* sockets of systemd; the master takes them */
};

/* Runs until a stop; returns the exit status. Takes ownership of conf. */
int master_run(struct conf *conf, const struct master_opts *opts);

#endif
