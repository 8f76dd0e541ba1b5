/*
 * The input of a collection's handlers (sql/functions/59_collections_rest.sql):
 * what a request brings, each part by itself, so that no query parameter
 * becomes a member of a document. Pure.
 */
#ifndef CHIMP_HTTP_PARTS_H
#define CHIMP_HTTP_PARTS_H

struct input;
struct strbuf;

/*
 * Append {"collection": as given, "body": the object or null, "path": {name:
 * text}, "query": [[name, text], ...] in the order of the request}.
 */
void parts_json(
    const char *collection, const struct input *input, struct strbuf *out);

#endif
