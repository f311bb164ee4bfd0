import { AppError } from "../core/errors.ts"

/** Which addresses an entry of an outgoing or DNS filter is about. */
export interface AddressFilter {
  protocol: "any" | "tcp" | "udp"
  /** `any` also for 0.0.0.0; `network` holds a plain address too (its full prefix length). */
  address: { kind: "any" } | { kind: "name"; name: string } | { kind: "network"; ip: string; prefix: number }
  /** 0 = every port. */
  port: number
}

/**
 * `[protocol://][address][:port]`, e.g. `tcp://db.example:5432`, `10.0.0.0/8`, `[::1]:80`, `:443`.
 * @throws AppError "config-bad-filter"
 */
export function parseOutgoingFilter(entry: string): AddressFilter {
  const scheme = /^([a-z]+):\/\//i.exec(entry)
  const protocol = scheme?.[1]?.toLowerCase() ?? "any"
  if (protocol !== "any" && protocol !== "tcp" && protocol !== "udp") throw bad(entry, `"${protocol}" is no protocol`)
  const rest = entry.slice(scheme?.[0].length ?? 0)
  if (rest === "" && scheme === null) throw bad(entry, "it is empty")
  return { protocol, ...parsePlace(entry, rest) }
}

/** The same without a protocol. @throws AppError "config-bad-filter" */
export function parseDnsFilter(entry: string): AddressFilter {
  if (entry === "") throw bad(entry, "it is empty")
  return { protocol: "any", ...parsePlace(entry, entry) }
}

function parsePlace(entry: string, text: string): Pick<AddressFilter, "address" | "port"> {
  const match = /^(\[[0-9a-fA-F:.]+\]|[^[\]:/]*)(?:\/(\d{1,3}))?(?::(\d{1,5}))?$/.exec(text)
  if (match === null) throw bad(entry, "it is not [protocol://][address][:port]")
  const [, host = "", prefixText, portText = "0"] = match
  const port = Number(portText)
  if (port > 65535) throw bad(entry, `${portText} is no port`)
  return { address: parseAddress(entry, host, prefixText), port }
}

function parseAddress(entry: string, host: string, prefixText: string | undefined): AddressFilter["address"] {
  const bracketed = host.startsWith("[")
  const ip = bracketed ? host.slice(1, -1) : host
  const isV4 = /^(\d{1,3}\.){3}\d{1,3}$/.test(host) && host.split(".").every((part) => Number(part) < 256)
  if (bracketed ? URL.canParse(`http://${host}/`) : isV4) {
    if (prefixText === undefined && (ip === "0.0.0.0" || /^[0:]+$/.test(ip))) return { kind: "any" }
    const longest = bracketed ? 128 : 32
    const prefix = prefixText === undefined ? longest : Number(prefixText)
    if (prefix > longest) throw bad(entry, `a prefix of ${prefix} bits is too long`)
    return { kind: "network", ip, prefix }
  }
  if (prefixText !== undefined) throw bad(entry, "only an IP address may have a prefix length")
  if (host === "") return { kind: "any" }
  if (!/^[A-Za-z0-9._-]+$/.test(host)) throw bad(entry, `"${host}" is no address`)
  return { kind: "name", name: host }
}

function bad(entry: string, why: string): AppError {
  return new AppError("config-bad-filter", `Cannot read the filter "${entry}": ${why}`)
}
