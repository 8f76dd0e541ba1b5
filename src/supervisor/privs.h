/*
 * Who the processes run as, and what they may. Started as root, the master
 * binds its sockets and then becomes `user` for good, before it forks anything.
 */
#ifndef CHIMP_SUPERVISOR_PRIVS_H
#define CHIMP_SUPERVISOR_PRIVS_H

struct conf;
struct err;

/*
 * Drop to conf->user, if root; also sets HOME, which libpq looks into. In any
 * case nothing that is run from now on gains rights by its file (setuid), and
 * of the capabilities only those stay that an ordinary user was given as
 * ambient ones: with CAP_NET_BIND_SERVICE, which systemd gives by
 * AmbientCapabilities, the master opens low ports at a reload too.
 */
int privs_drop(const struct conf *conf, struct err *err);

/* In a forked child: no capability is left, unless all runs as root. */
void privs_child(void);

#endif
