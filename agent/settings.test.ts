import { expect, test } from "bun:test"
import { createLogger, silentLogger } from "../core/log.ts"
import { readSettings } from "./settings.ts"

/* Names and defaults: mirrord's agent, but for what its rules do not need here. */

const given = {
  RUST_LOG: "info,mirrord=trace",
  MIRRORD_AGENT_JSON_LOG: "true",
  AGENT_OPERATOR_CERT_ENV: "PEM",
  MIRRORD_AGENT_METRICS: "0.0.0.0:9000",
  MIRRORD_AGENT_IN_SERVICE_MESH: "true",
  MIRRORD_AGENT_ISTIO_CNI: "true",
  MIRRORD_AGENT_EXCLUDE_FROM_MESH: "true",
  MIRRORD_AGENT_STEALER_FLUSH_CONNECTIONS: "true",
  MIRRORD_AGENT_STEALER_FLUSH_CONNECTIONS_CONNTRACK: "false",
  MIRRORD_AGENT_NFTABLES: "false",
  MIRRORD_AGENT_CLEAN_IPTABLES_ON_START: "true",
  MIRRORD_AGENT_EXTERNAL_IP_FIX: "false",
  MIRRORD_AGENT_UNUSED_PORT_LINGER_SECS: "11",
  MIRRORD_AGENT_HTTP_DETECTION_TIMEOUT: "12",
  MIRRORD_MAX_BODY_BUFFER_SIZE: "13",
  MIRRORD_MAX_BODY_BUFFER_TIMEOUT: "14",
  MIRRORD_AGENT_INJECT_HEADERS: "true",
  MIRRORD_AGENT_OVERRIDE_CACHE_CONTROL: "false",
  MIRRORD_AGENT_STEAL_TLS_CONFIG: "W10",
  MIRRORD_AGENT_DNS_TIMEOUT: "15",
  MIRRORD_AGENT_DNS_ATTEMPTS: "16",
  MIRRORD_AGENT_EPHEMERAL_TARGET_CONTAINER_ID: "abc",
  MIRRORD_AGENT_IDLE_TTL: "17",
  PODSIDE_AGENT_RULES: "iptables-nft",
  PODSIDE_AGENT_REQUIRE_TLS: "true",
  PODSIDE_AGENT_KEEP_CALLERS: "false",
  PODSIDE_AGENT_COPY_MIRRORED: "false",
  PODSIDE_AGENT_KEEP_NAMES: "false",
}

const defaults = {
  logLevel: "info",
  jsonLog: false,
  operatorCertificate: undefined,
  metricsAddress: undefined,
  inServiceMesh: false,
  istioCni: false,
  excludeFromMesh: false,
  flushConnections: false,
  flushConntrack: true,
  nftables: undefined,
  cleanRulesOnStart: false,
  externalIpFix: true,
  unusedPortLingerSeconds: 0,
  httpDetectionTimeoutSeconds: 2,
  maxBodyBufferBytes: 65536,
  maxBodyBufferMilliseconds: 1000,
  injectHeaders: false,
  overrideCacheControl: true,
  stealTlsConfig: undefined,
  dnsTimeoutSeconds: undefined,
  dnsAttempts: undefined,
  ephemeralTargetContainerId: "",
  idleSeconds: 0,
  rules: undefined,
  requireTls: false,
  keepCallers: true,
  copyMirrored: true,
  keepNames: true,
} as const

test("every variable sets what it stands for", () => {
  expect(readSettings(given, silentLogger)).toMatchObject({
    logLevel: "debug",
    jsonLog: true,
    operatorCertificate: "PEM",
    metricsAddress: "0.0.0.0:9000",
    inServiceMesh: true,
    istioCni: true,
    excludeFromMesh: true,
    flushConnections: true,
    flushConntrack: false,
    nftables: false,
    cleanRulesOnStart: true,
    externalIpFix: false,
    unusedPortLingerSeconds: 11,
    httpDetectionTimeoutSeconds: 12,
    maxBodyBufferBytes: 13,
    maxBodyBufferMilliseconds: 14,
    injectHeaders: true,
    overrideCacheControl: false,
    stealTlsConfig: "W10",
    dnsTimeoutSeconds: 15,
    dnsAttempts: 16,
    ephemeralTargetContainerId: "abc",
    idleSeconds: 17,
    rules: "iptables-nft",
    requireTls: true,
    keepCallers: false,
    copyMirrored: false,
    keepNames: false,
  })
})

test("without them there are mirrord's defaults", () => {
  expect(readSettings({}, silentLogger)).toMatchObject(defaults)
})

test("one that cannot be read counts as absent and is named, its value is not", () => {
  const lines: string[] = []
  const log = createLogger({ format: "json", write: (line) => void lines.push(line) })
  const texts = ["RUST_LOG", "AGENT_OPERATOR_CERT_ENV", "MIRRORD_AGENT_STEAL_TLS_CONFIG"]
  const strict = Object.keys(given).filter((name) => !texts.includes(name) && !name.endsWith("CONTAINER_ID"))
  expect(readSettings(Object.fromEntries(strict.map((name) => [name, "9x9"])), log)).toMatchObject(defaults)
  expect(lines.map((line) => JSON.parse(line).variable).sort()).toEqual(strict.sort())
  expect(lines.join("")).not.toContain("9x9")
})

test("an empty text is none", () => {
  const lines: string[] = []
  const log = createLogger({ write: (line) => void lines.push(line) })
  const empty = { AGENT_OPERATOR_CERT_ENV: "", MIRRORD_AGENT_STEAL_TLS_CONFIG: "", RUST_LOG: "" }
  expect(readSettings(empty, log)).toMatchObject(defaults)
  expect(lines).toEqual([])
})

test("a time no timer can wait for is the longest one that it can, not none", () => {
  const forEver = "18446744073709551615"
  const settings = readSettings(
    {
      MIRRORD_AGENT_IDLE_TTL: forEver,
      MIRRORD_AGENT_UNUSED_PORT_LINGER_SECS: "2592000",
      MIRRORD_AGENT_HTTP_DETECTION_TIMEOUT: forEver,
      MIRRORD_MAX_BODY_BUFFER_TIMEOUT: "4294967295",
      MIRRORD_AGENT_DNS_TIMEOUT: "4294967295",
    },
    silentLogger,
  )
  const days = 24 * 24 * 3600
  for (const seconds of [
    settings.idleSeconds,
    settings.unusedPortLingerSeconds,
    settings.httpDetectionTimeoutSeconds,
    settings.dnsTimeoutSeconds,
    settings.maxBodyBufferMilliseconds / 1000,
  ]) {
    expect(seconds).toBeWithin(days, 2 ** 31 / 1000)
  }
})
