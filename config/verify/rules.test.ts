import { expect, test } from "bun:test"
import { branch, load, problems, queue, type Rule, url } from "./rule-kit.ts"

const incoming = (text: string) => `feature: { network: { incoming: ${text} } }`
const filter = (text: string) => incoming(`{ http_filter: ${text} }`)

const errors: Rule[] = [
  [
    "startup_retry: max above zero",
    "startup_retry: { min_ms: 0, max_ms: 0 }",
    "max_ms",
    "startup_retry: { min_ms: 0, max_ms: 1 }",
  ],
  [
    "startup_retry: max not below min",
    "startup_retry: { min_ms: 9, max_ms: 8 }",
    "max_ms",
    "startup_retry: { min_ms: 9, max_ms: 9 }",
  ],
  ["baggage is a header's value", 'baggage: "a\\nb"', "no HTTP header", 'baggage: "a=b, c"'],
  ["a target has a kind", "target: api", "pod/api", "target: pod/api"],
  ["a label once", "target: label/a=b,a=c", "Cannot read target", "target: label/a=b,c=d"],
  ["label target, copy", "target: label/a=b\nfeature: { copy_target: true }", "label target", "target: label/a=b"],
  [
    "label target, several clusters",
    "target: label/a=b\nmulti_cluster: true",
    "label",
    "target: label/a=b\nmulti_cluster: false",
  ],
  [
    "label target, queues",
    `target: label/a=b\n${queue("queue_type: SQS")}`,
    "label",
    `target: pod/a\n${queue("queue_type: SQS")}`,
  ],
  [
    "label target, databases",
    `target: label/a=b\n${branch(`type: pg, ${url}`)}`,
    "label",
    `target: pod/a\n${branch(`type: pg, ${url}`)}`,
  ],
  [
    "targetless steal",
    `target: targetless\n${incoming("steal")}`,
    "steal",
    `target: targetless\n${incoming("mirror")}`,
  ],
  [
    "targetless ephemeral",
    "target: targetless\nagent: { ephemeral: true }",
    "ephemeral",
    "target: pod/a\nagent: { ephemeral: true }",
  ],
  [
    "copy without operator",
    "target: pod/a\noperator: false\nfeature: { copy_target: true }",
    "operator",
    "target: pod/a\nfeature: { copy_target: true }",
  ],
  [
    "copy without target",
    "feature: { copy_target: true }",
    "without a target",
    "target: pod/a\nfeature: { copy_target: true }",
  ],
  [
    "copy of a service",
    "target: service/a\nfeature: { copy_target: true }",
    "service",
    "target: deployment/a\nfeature: { copy_target: true }",
  ],
  [
    "operator's targets",
    "target: statefulset/a\noperator: false",
    "statefulset",
    "target: deployment/a\noperator: false",
  ],
  [
    "env: include or exclude",
    "feature: { env: { include: A, exclude: B } }",
    "cannot stand together",
    "feature: { env: { include: A } }",
  ],
  [
    "env: mapping's patterns",
    'feature: { env: { mapping: { "A(": x } } }',
    "cannot be read",
    'feature: { env: { mapping: { "A(B)": x } } }',
  ],
  [
    "fs: read-ahead",
    "feature: { fs: { readonly_file_buffer: 15728641 } }",
    "15 MiB",
    "feature: { fs: { readonly_file_buffer: 15728640 } }",
  ],
  ["fs: patterns", 'feature: { fs: { local: "[a" } }', "cannot be read", 'feature: { fs: { local: "[a]" } }'],
  [
    "ports or ignore_ports",
    incoming("{ ports: [1], ignore_ports: [2] }"),
    "cannot stand together",
    incoming("{ ports: [1] }"),
  ],
  [
    "port mapping, left",
    incoming("{ port_mapping: [[1, 2], [1, 3]] }"),
    "twice",
    incoming("{ port_mapping: [[1, 2], [3, 4]] }"),
  ],
  [
    "listen ports, right",
    incoming("{ listen_ports: [[1, 2], [3, 2]] }"),
    "twice",
    incoming("{ listen_ports: [[1, 2], [3, 1]] }"),
  ],
  [
    "tls_delivery and its old name",
    incoming("{ tls_delivery: { protocol: tls }, https_delivery: { protocol: tls } }"),
    "old name",
    incoming("{ tls_delivery: { protocol: tls } }"),
  ],
  [
    "trust_roots not empty",
    incoming("{ tls_delivery: { protocol: tls, trust_roots: [] } }"),
    "empty",
    incoming("{ tls_delivery: { protocol: tls, trust_roots: [a] } }"),
  ],
  [
    "trust_roots or server_cert",
    incoming("{ tls_delivery: { protocol: tls, trust_roots: [a], server_cert: b } }"),
    "cannot stand",
    incoming("{ tls_delivery: { protocol: tcp, server_cert: b } }"),
  ],
  [
    "one kind of filter",
    filter("{ header_filter: a, path_filter: b }"),
    "use one of them",
    filter("{ header_filter: a }"),
  ],
  [
    "method beside another kind",
    filter("{ header_filter: a, method_filter: GET }"),
    "use one of them",
    filter("{ method_filter: GET }"),
  ],
  ["an empty filter", filter('{ path_filter: "" }'), "must not be empty", filter("{ path_filter: a }")],
  ["no parts", filter("{ all_of: [] }"), "must not be empty", filter("{ all_of: [{ header: a }] }")],
  ["an empty part", filter('{ any_of: [{ path: "" }] }'), "must not be empty", filter("{ any_of: [{ path: a }] }")],
  [
    "JSONPath",
    filter('{ body_filter: { body: json, query: "$.a[", matches: x } }'),
    'body_filter.query": "$.a["',
    filter('{ body_filter: { body: json, query: "$.a[0]", matches: x } }'),
  ],
  [
    "JSONPath of a part",
    filter('{ all_of: [{ body: json, query: "a.b", matches: x }] }'),
    "all_of.0.query",
    filter('{ all_of: [{ body: json, query: "$..b", matches: x }] }'),
  ],
  ["header pattern", filter('{ header_filter: "a(" }'), "never closed", filter('{ header_filter: "a()" }')],
  [
    "outgoing filter has one side",
    "feature: { network: { outgoing: { filter: { remote: a, local: b } } } }",
    "exactly one",
    "feature: { network: { outgoing: { filter: { remote: a } } } }",
  ],
  [
    "outgoing filter entry",
    'feature: { network: { outgoing: { filter: { remote: "tcp://a:b" } } } }',
    "Cannot read",
    'feature: { network: { outgoing: { filter: { remote: "TCP://a:1" } } } }',
  ],
  [
    "a prefix is an address's",
    'feature: { network: { outgoing: { filter: { local: "a.b/8" } } } }',
    "IP address",
    'feature: { network: { outgoing: { filter: { local: "10.0.0.0/8" } } } }',
  ],
  [
    "DNS filter entry",
    'feature: { network: { dns: { filter: { local: "tcp://a" } } } }',
    "Cannot read",
    'feature: { network: { dns: { filter: { local: "a:1" } } } }',
  ],
  [
    "capabilities",
    "agent: { disabled_capabilities: [CHOWN] }",
    "disabled_capabilities",
    "agent: { disabled_capabilities: [NET_ADMIN] }",
  ],
  ["addresses", "external_proxy: { host_ip: here }", "host_ip", "external_proxy: { host_ip: 127.0.0.1 }"],
]

test.each(errors)("%s", async (_rule, breaks, said, keeps) => {
  expect(await problems(breaks)).toContain(said)
  expect(await problems(keeps)).toBe("")
})

test("only where an absent target means none, stealing needs one", async () => {
  expect(await problems(incoming("steal"), true)).toContain("steal")
  expect(await problems(incoming("steal"))).toBe("")
})

/** The same for what is only worth a line: both files load. */
const warnings: Rule[] = [
  [
    "agent's namespace, ephemeral",
    "agent: { namespace: a, ephemeral: true }",
    "agent.namespace",
    "agent: { namespace: a }",
  ],
  [
    "agent's namespace, targetless",
    "target: targetless\nagent: { namespace: a }",
    "agent.namespace",
    "target: pod/a\nagent: { namespace: a }",
  ],
  [
    "names without DNS",
    "feature: { network: { dns: false, outgoing: { filter: { remote: a } } } }",
    "resolves locally",
    "feature: { network: { outgoing: { filter: { remote: a } } } }",
  ],
  [
    "old name",
    incoming("{ https_delivery: { protocol: tls } }"),
    "deprecated",
    incoming("{ tls_delivery: { protocol: tls } }"),
  ],
  [
    "copy without steal",
    "target: pod/a\nfeature: { copy_target: true }",
    "without stealing",
    "target: pod/a\nfeature: { copy_target: true, network: { incoming: steal } }",
  ],
  ["port to itself", incoming("{ port_mapping: [[1, 1]] }"), "to itself", incoming("{ port_mapping: [[1, 2]] }")],
  [
    "DNS filter without DNS",
    "feature: { network: { dns: { enabled: false, filter: { local: a } } } }",
    "no effect",
    "feature: { network: { dns: { filter: { local: a } } } }",
  ],
  [
    "empty DNS filter, local",
    "feature: { network: { dns: { filter: { local: [] } } } }",
    "all names are resolved remotely",
    "feature: { network: { dns: { filter: { local: a } } } }",
  ],
  [
    "empty DNS filter, remote",
    "feature: { network: { dns: { filter: { remote: [] } } } }",
    "all names are resolved locally",
    "feature: { network: { dns: { filter: { remote: a } } } }",
  ],
  [
    "read-ahead",
    "feature: { fs: { readonly_file_buffer: 1048577 } }",
    "1 MiB",
    "feature: { fs: { readonly_file_buffer: 1048576 } }",
  ],
  [
    "jq of requests",
    filter('{ header_filter_jq: ". ==" }'),
    "header_filter_jq",
    filter('{ header_filter_jq: ". == 1" }'),
  ],
  ["jq of a part", filter('{ all_of: [{ query: "[" }] }'), "all_of.0.query", filter('{ all_of: [{ query: "[.]" }] }')],
  [
    "pattern of a part",
    filter('{ any_of: [{ header: "a)" }] }'),
    "any_of.0.header",
    filter('{ any_of: [{ header: "a" }] }'),
  ],
  [
    "pattern of a body",
    filter('{ body_filter: { body: json, query: "$", matches: "(" } }'),
    "body_filter.matches",
    filter('{ body_filter: { body: json, query: "$", matches: "()" } }'),
  ],
]

test.each(warnings)("hint: %s", async (_rule, spoken, said, silent) => {
  expect((await load(spoken)).warnings.join("\n")).toContain(said)
  expect((await load(silent)).warnings.join("\n")).not.toContain(said)
})
