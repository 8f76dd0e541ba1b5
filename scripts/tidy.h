/*
 * What clang-tidy, which sees one file at a time, must know of the others: the
 * setters of errors always return -1. Used by scripts/lint only.
 */
#include "common/base/err.h"
#define err_set(...)    (err_set(__VA_ARGS__), -1)
#define err_hint(...)   (err_hint(__VA_ARGS__), -1)
#define err_prefix(...) (err_prefix(__VA_ARGS__), -1)
