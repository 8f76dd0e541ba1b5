/*
 * Secrets: the values of keys that may hold one (CONF_SECRET). They can stand
 * elsewhere than in the file, which then only names them: `secret:NAME`.
 */
#ifndef CHIMP_CONF_CONF_SECRET_H
#define CHIMP_CONF_CONF_SECRET_H

#include "common/conf/conf_node.h"

/* Warn of files that everybody may read and that hold a password themselves.
 * Before anything is laid over what they say. */
void conf_secret_warn(struct arena *arena, const struct conf_node *root,
    struct conf_strings *warnings);

/*
 * Put values in the place of `secret:NAME`: the content of the file NAME in
 * secrets_dir, else in the folder of CREDENTIALS_DIRECTORY (systemd), else the
 * environment variable NAME. A file's last newline does not count. No error
 * and no warning ever has the value.
 */
int conf_secret_resolve(struct arena *arena, const struct conf_node *root,
    struct conf_strings *warnings, struct err *err);

#endif
