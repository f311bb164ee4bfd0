import { expect, test } from "bun:test"
import { branch, load, problems, queue, type Rule, url } from "./rule-kit.ts"

const generic = (text: string, params = "host: HOST, port: PORT") =>
  branch(`type: generic, port: 1, image: x, connection: { params: { ${params} } }, ${text}`)

const errors: Rule[] = [
  ["queue: type", queue("queue_type: Fax"), "queue_type", queue("queue_type: SQS")],
  [
    "queue: RMQ has a message filter",
    queue("queue_type: RMQ"),
    "message_filter",
    queue("queue_type: RMQ, message_filter: { a: b }"),
  ],
  [
    "queue: RMQ has no jq",
    queue('queue_type: RMQ, message_filter: { a: b }, jq_filter: "."'),
    "jq_filter",
    queue('queue_type: SQS, jq_filter: "."'),
  ],
  [
    "queue: pattern",
    queue('queue_type: SQS, message_filter: { a: "*b" }'),
    "nothing to repeat",
    queue('queue_type: SQS, message_filter: { a: "b*" }'),
  ],
  [
    "queue: jq",
    queue('queue_type: SQS, jq_filter: ".a |"'),
    'q.jq_filter": ".a |"',
    queue('queue_type: SQS, jq_filter: ".a | reduce .[] as $x (0; . + $x) > 3"'),
  ],
  [
    "queue: protobuf is Kafka's",
    queue('queue_type: SQS, jq_filter: ".", payload_protobuf: { message_type: a, schema_file: b }'),
    "Kafka",
    queue('queue_type: Kafka, jq_filter: ".", payload_protobuf: { message_type: a, schema_file: b }'),
  ],
  [
    "queue: protobuf needs jq",
    queue("queue_type: Kafka, payload_protobuf: { message_type: a, schema_file: b }"),
    "jq_filter",
    queue('queue_type: Kafka, jq_filter: ".", payload_protobuf: { message_type: a, descriptor_base64: b }'),
  ],
  [
    "queue: protobuf needs a schema",
    queue('queue_type: Kafka, jq_filter: ".", payload_protobuf: { message_type: a }'),
    "schema_file",
    queue('queue_type: Kafka, jq_filter: ".", payload_protobuf: { message_type: a, schema_file: b }'),
  ],
  ["database: connection", branch("type: pg"), "connection", branch(`type: pg, ${url}`)],
  [
    "database: one ttl",
    branch(`type: pg, ${url}, ttl_secs: 1, ttl_mins: 1`),
    "cannot stand together",
    branch(`type: pg, ${url}, ttl_secs: 1`),
  ],
  [
    "database: version or image",
    branch(`type: pg, ${url}, version: a, image: b`),
    "cannot stand together",
    branch(`type: pg, ${url}, image: b`),
  ],
  [
    "database: overridden variable",
    `feature: { env: { override: { DB_URL: x } }, db_branches: [{ type: pg, ${url} }] }`,
    "DB_URL",
    `feature: { env: { override: { OTHER: x } }, db_branches: [{ type: pg, ${url} }] }`,
  ],
  [
    "database: overridden parameter",
    "feature: { env: { override: { PW: x } }, db_branches: [{ type: pg, connection: { params: { password: [{ env_var_name: PW }] } } }] }",
    "PW",
    "feature: { env: { override: { password: x } }, db_branches: [{ type: pg, connection: { params: { password: [{ env_var_name: PW }] } } }] }",
  ],
  [
    "database: Redis has numbers",
    branch(`type: redis, ${url}, name: shop`),
    "number",
    branch(`type: redis, ${url}, name: "3"`),
  ],
  [
    "database: migrations need a name",
    branch(`type: pg, ${url}, migrations: { flavor: flyway, path: a }`),
    '"name"',
    branch(`type: pg, name: n, ${url}, migrations: { flavor: flyway, path: a }`),
  ],
  [
    "database: flyway's path or locations",
    branch(`type: pg, name: n, ${url}, migrations: { flavor: flyway, path: a, locations: [b], image: c }`),
    "exactly one",
    branch(`type: pg, name: n, ${url}, migrations: { flavor: flyway, locations: [b], image: c }`),
  ],
  [
    "database: flyway's locations need an image",
    branch(`type: pg, name: n, ${url}, migrations: { flavor: flyway, locations: [b] }`),
    "image",
    branch(`type: pg, name: n, ${url}, migrations: { flavor: container, image: c }`),
  ],
  ["generic: image", branch("type: generic, port: 1, connection: { params: { host: A } }"), "image", generic("id: a")],
  ["generic: no version", generic("version: a"), "version", generic("id: a")],
  [
    "generic: connection by params",
    branch("type: generic, port: 1, image: x, connection: { url: A }"),
    "params",
    generic("id: a"),
  ],
  [
    "generic: no Google secrets",
    generic("id: a", "host: { gcp_secret_manager: s }"),
    "Google",
    generic("id: a", "host: { secret: s, key: k }"),
  ],
  ["generic: parameter's name", generic("id: a", "host: A, a-b: B"), "identifier", generic("id: a", "host: A, a_b: B")],
  [
    "generic: parameter in two spellings",
    generic("id: a", "host: A, tls: B, TLS: C"),
    "another spelling",
    generic("id: a", "host: A, tls: B"),
  ],
  [
    "generic: unknown reference",
    generic('args: ["$(NOPE)"]'),
    "$(NOPE)",
    generic('args: ["$$(NOPE) $(MIRRORD_PARAM_HOST) $(MIRRORD_BRANCH_ID) $(OWN)"], env: { OWN: x }'),
  ],
  [
    "generic: database's name",
    generic('args: ["$(MIRRORD_DATABASE_NAME)"]'),
    '"name"',
    generic('name: n, args: ["$(MIRRORD_DATABASE_NAME)"]'),
  ],
  [
    "generic: injected variable",
    generic("env: { MIRRORD_PARAM_HOST: x }"),
    "set by the operator",
    generic("env: { OWN: x }"),
  ],
  [
    "readiness by a command",
    generic("readiness: { type: exec }"),
    "command",
    generic("readiness: { type: exec, command: [a] }"),
  ],
  [
    "readiness by a request",
    generic("readiness: { type: http_get }"),
    "path",
    generic("readiness: { type: http_get, path: / }"),
  ],
  [
    "preview: one ttl",
    "feature: { preview: { ttl_mins: 1, ttl_secs: infinite } }",
    "cannot stand together",
    "feature: { preview: { ttl_secs: infinite } }",
  ],
  [
    "preview: labels",
    "feature: { preview: { labels: { include: a, exclude: b } } }",
    "cannot stand together",
    "feature: { preview: { labels: { exclude: b } } }",
  ],
  [
    "preview: shortest sleep",
    "feature: { preview: { idle: { sleep_after_secs: 29 } } }",
    "sleep_after_secs",
    "feature: { preview: { idle: { sleep_after_secs: 30 } } }",
  ],
  [
    "preview: waking takes time",
    "feature: { preview: { idle: { wake_timeout_secs: 0 } } }",
    "wake_timeout_secs",
    "feature: { preview: { idle: { wake_timeout_secs: 1 } } }",
  ],
  ["preview: replicas", "feature: { preview: { replicas: -1 } }", "replicas", "feature: { preview: { replicas: 0 } }"],
  [
    "preview: a mount's content",
    "feature: { preview: { config_mounts: [{ mount_at: /a }] } }",
    "exactly one",
    "feature: { preview: { config_mounts: [{ mount_at: /a, from_file: b }] } }",
  ],
  [
    "preview: a payload's type",
    "feature: { preview: { secret_mounts: [{ mount_at: /a, payload: b }] } }",
    '"type"',
    "feature: { preview: { secret_mounts: [{ mount_at: /a, payload: b, type: text }] } }",
  ],
]

test.each(errors)("%s", async (_rule, breaks, said, keeps) => {
  expect(await problems(breaks)).toContain(said)
  expect(await problems(keeps)).toBe("")
})

/** The same for what is only worth a line: both files load. */
const warnings: Rule[] = [
  [
    "longest life of a database",
    branch(`type: pg, ${url}, ttl_mins: 16`),
    "15 minutes",
    branch(`type: pg, ${url}, ttl_mins: 15`),
  ],
  ["generic: nowhere to lead to", generic("id: a", "user: U"), "neither", generic("id: a")],
  [
    "generic: unused parameter",
    generic("id: a", "host: H, user: U"),
    "never used",
    generic('args: ["$(MIRRORD_PARAM_USER)"]', "host: H, user: U"),
  ],
]

test.each(warnings)("hint: %s", async (_rule, spoken, said, silent) => {
  expect((await load(spoken)).warnings.join("\n")).toContain(said)
  expect((await load(silent)).warnings.join("\n")).not.toContain(said)
})
