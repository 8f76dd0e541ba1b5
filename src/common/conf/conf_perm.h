/*
 * Who else may write or read what the configuration is made of. Whoever can
 * write to it decides what the node runs and whom it trusts.
 */
#ifndef CHIMP_CONF_CONF_PERM_H
#define CHIMP_CONF_CONF_PERM_H

#include <stdbool.h>
#include <sys/stat.h>

struct err;

/*
 * Refuse a configuration file that everybody may write to, or replace: that
 * is in a folder that everybody may write to and that is not sticky. A file
 * that cannot be looked at is left to whoever reads it.
 */
int conf_perm_check(const char *path, struct err *err);

/*
 * The same for the file of a secret, which is open. Its group may write to it
 * only if that is root's or the process's own: as /etc and a user's own files
 * often are, with umask 002.
 */
int conf_perm_check_secret(
    const char *path, const struct stat *st, struct err *err);

/* True if everybody may read it. */
bool conf_perm_public(const struct stat *st);

#endif
