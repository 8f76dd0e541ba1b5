/*
 * PostgreSQL's own programs: how chimpd calls initdb and postgres.
 */
#ifndef CHIMP_SUPERVISOR_PGEXEC_H
#define CHIMP_SUPERVISOR_PGEXEC_H

struct conf;
struct err;

/* The major version of the programs in PG_BINDIR; -1 with an error. */
int pgexec_major(struct err *err);

/*
 * In a child: make a cluster in `dir`, after removing what an interrupted try
 * left there. What initdb says goes to output_fd. Never returns.
 */
void pgexec_initdb(const char *dir, int output_fd) __attribute__((noreturn));

/* In a child: become the postmaster of the cluster. Never returns. */
void pgexec_postgres(const struct conf *conf, const char *socket_dir)
    __attribute__((noreturn));

#endif
