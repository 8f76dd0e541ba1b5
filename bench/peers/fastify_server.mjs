// One process of Fastify: the same SQL functions by the same routes as chimpd.
// Answers are serialized by schema, statements are prepared (pg names them),
// connections pooled and opened before the first request.

import Fastify from "fastify";
import pg from "pg";

const { host, port, pool: max } = JSON.parse(process.argv[2]);
const pool = new pg.Pool({
  host,
  database: "bench",
  user: "bench",
  max,
  idleTimeoutMillis: 0,
});
const app = Fastify({ logger: false });

const object = (properties, required = Object.keys(properties)) => ({
  type: "object",
  properties,
  required,
});
const integer = { type: "integer" };

const call = async (name, input) => {
  const { rows } = await pool.query({
    name,
    text: `select bench.${name}($1) as answer`,
    values: [input],
  });
  return rows[0].answer;
};

const item = object({ id: integer, name: { type: "string" }, price: integer });
app.get(
  "/items/:id",
  { schema: { params: object({ id: integer }), response: { 200: item } } },
  (request) => call("get_item", { id: request.params.id }),
);

const note = object({
  n: integer,
  text: { type: "string", minLength: 1, maxLength: 200 },
});
app.post(
  "/notes",
  { schema: { body: note, response: { 201: object({ n: integer }) } } },
  (request, reply) => {
    reply.code(201);
    return call("create_note", request.body);
  },
);

app.get(
  "/wait",
  { schema: { response: { 200: object({ waited: { type: "boolean" } }) } } },
  () => call("wait", {}),
);

const clients = await Promise.all(
  Array.from({ length: max }, () => pool.connect()),
);
clients.forEach((client) => client.release());
await app.listen({ host: "127.0.0.1", port });
