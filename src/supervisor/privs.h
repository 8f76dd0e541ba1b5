/*
 * Who the processes run as: started as root, the master binds its sockets and
 * then becomes `user` for good, before it forks anything.
 */
#ifndef CHIMP_SUPERVISOR_PRIVS_H
#define CHIMP_SUPERVISOR_PRIVS_H

struct conf;
struct err;

/* Drop to conf->user, if root. Also sets HOME, which libpq looks into. */
int privs_drop(const struct conf *conf, struct err *err);

#endif
