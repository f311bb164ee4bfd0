import * as v from "valibot"
import { parseDnsFilter, parseOutgoingFilter } from "../address-filter.ts"
import { httpFilter } from "./http-filter.ts"
import { checked, flagOr, listOrOne, maybeText, maybeTexts, noted, short, text, u16 } from "./values.ts"

export const incomingModes = ["mirror", "steal", "off"] as const

/** `[local, remote]` pairs in which no port stands twice on one side. */
const portPairs = v.pipe(
  v.optional(v.array(v.tuple([u16, u16])), []),
  checked((pairs) => {
    for (const side of [0, 1] as const) {
      const ports = pairs.map((pair) => pair[side])
      const twice = ports.find((port, index) => ports.indexOf(port) < index)
      if (twice !== undefined) return `has port ${twice} twice on its ${side === 0 ? "left" : "right"} side`
    }
    return undefined
  }),
)

const tlsDelivery = v.pipe(
  v.strictObject({
    protocol: v.picklist(["tls", "tcp"]),
    trust_roots: v.optional(v.pipe(v.array(text), v.minLength(1, "must not be empty"))),
    server_cert: maybeText(),
    server_name: maybeText(),
  }),
  checked(({ trust_roots, server_cert }) =>
    trust_roots && server_cert ? '"trust_roots" and "server_cert" cannot stand together' : undefined,
  ),
)

const incomingObject = v.pipe(
  v.strictObject({
    mode: noted(v.optional(v.picklist(incomingModes), "mirror"), {
      env: "MIRRORD_AGENT_TCP_STEAL_TRAFFIC",
      envWords: { true: "steal", false: "off" },
    }),
    http_filter: v.optional(httpFilter, {}),
    port_mapping: portPairs,
    ignore_localhost: flagOr(false),
    ignore_ports: v.optional(v.array(u16), []),
    listen_ports: portPairs,
    on_concurrent_steal: noted(v.optional(v.picklist(["abort", "continue", "override"]), "abort"), {
      env: "MIRRORD_OPERATOR_ON_CONCURRENT_STEAL",
      unstable: true,
    }),
    /** Absent: all ports. */
    ports: v.optional(v.array(u16)),
    tls_delivery: v.optional(tlsDelivery),
    https_delivery: noted(v.optional(tlsDelivery), { deprecated: 'use "tls_delivery"' }),
  }),
  checked(({ ignore_ports, ports, tls_delivery, https_delivery }) => {
    if (ports && ignore_ports.length > 0) return '"ports" and "ignore_ports" cannot stand together'
    if (tls_delivery && https_delivery) return '"tls_delivery" and its old name "https_delivery" cannot stand together'
    return undefined
  }),
)

const incoming = short(incomingObject, v.union([v.boolean(), v.picklist(incomingModes)]), (value) => {
  if (value === true) return {}
  if (value === false) return { mode: "off" }
  return typeof value === "string" ? { mode: value } : undefined
})

/** `{remote: entries}` or `{local: entries}`; each entry must pass `parse`. */
function filter(parse: (entry: string) => unknown) {
  const entries = v.optional(
    listOrOne(
      v.pipe(
        text,
        checked((entry) => {
          try {
            parse(entry)
            return undefined
          } catch (thrown) {
            return (thrown as Error).message
          }
        }),
      ),
    ),
  )
  return v.optional(
    v.pipe(
      v.strictObject({ remote: entries, local: entries }),
      checked(({ remote, local }) =>
        (remote === undefined) === (local === undefined) ? 'needs exactly one of "remote" and "local"' : undefined,
      ),
    ),
  )
}

const outgoingObject = v.strictObject({
  tcp: flagOr(true, { env: "MIRRORD_TCP_OUTGOING" }),
  udp: flagOr(true, { env: "MIRRORD_UDP_OUTGOING" }),
  ignore_localhost: flagOr(false),
  filter: filter(parseOutgoingFilter),
  unix_streams: maybeTexts({ env: "MIRRORD_OUTGOING_REMOTE_UNIX_STREAMS", unstable: true }),
})

const outgoing = short(outgoingObject, v.boolean(), (value) =>
  value === true ? {} : value === false ? { tcp: false, udp: false } : undefined,
)

const dns = short(
  v.strictObject({ enabled: flagOr(true, { env: "MIRRORD_REMOTE_DNS" }), filter: filter(parseDnsFilter) }),
  v.boolean(),
  (value) => (typeof value === "boolean" ? { enabled: value } : undefined),
)

const object = v.strictObject({
  ipv6: flagOr(true, { env: "MIRRORD_ENABLE_IPV6" }),
  incoming: v.optional(incoming, {}),
  outgoing: v.optional(outgoing, {}),
  dns: v.optional(dns, {}),
})

export const network = short(object, v.boolean(), (value) =>
  value === true ? {} : value === false ? { incoming: false, outgoing: false, dns: false } : undefined,
)
