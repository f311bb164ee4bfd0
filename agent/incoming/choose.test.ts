import { expect, test } from "bun:test"
import type { ProtocolFeature } from "../../core/protocol/index.ts"
import type { AgentClient } from "../feature.ts"
import { chooseSubscription } from "./choose.ts"
import type { ClientChannel } from "./client-channel.ts"
import { isForClients } from "./client-uri.ts"
import { compileFilter } from "./filter/filter.ts"
import type { FilteredSubscription } from "./port.ts"

/** A client that steals paths with `source` in them, and what it was told. */
function subscription(source: string, lacks: ProtocolFeature[] = []) {
  const told: string[] = []
  const client = {
    supports: (feature) => !lacks.includes(feature),
    tell: (level, message) => void told.push(`${level} ${message}`),
  } as AgentClient
  const filter = compileFilter({ kind: "Path", value: source })
  const wish: FilteredSubscription = { channel: { client } as ClientChannel, filter, source }
  return { told, wish }
}

const request = (target: string) => ({ method: "GET", target, headers: [], body: undefined })
const needsNothing = { upgrade: false, tls: false }

test("the first that matches gets a request; others whose filters match are told, and nobody else", () => {
  const [other, first, second] = [subscription("shop"), subscription("api"), subscription("ap")]
  const all = [other.wish, first.wish, second.wish]
  expect(chooseSubscription(all, request("/api/1"), needsNothing)).toBe(first.wish)
  expect([other.told, first.told]).toEqual([[], []])
  expect(second.told).toEqual(["Warn another user's filter took a request that matches yours: GET /api/1"])
  expect(chooseSubscription(all, request("/nothing"), needsNothing)).toBeUndefined()
  expect([other.told.length, first.told.length, second.told.length]).toEqual([0, 0, 1])
})

test("a request whose URI no client could read is the application's, and nobody is told", () => {
  const [first, second] = [subscription("a"), subscription("a")]
  expect(chooseSubscription([first.wish, second.wish], request("/a<b>"), needsNothing)).toBeUndefined()
  expect([first.told, second.told]).toEqual([[], []])
})

test.each<[string, ProtocolFeature, { upgrade: boolean; tls: boolean }]>([
  ["with an upgrade", "httpUpgrade", { upgrade: true, tls: false }],
  ["over TLS", "httpChunkedRequestV2", { upgrade: false, tls: true }],
])(
  "a request %s goes to a client that knows of it, and passes one that is too old, which is told",
  (what, feature, needs) => {
    const [able, old] = [subscription("a"), subscription("a", [feature])]
    expect(chooseSubscription([able.wish], request("/a"), needs)).toBe(able.wish)
    expect(able.told).toEqual([])
    expect(chooseSubscription([old.wish], request("/a"), needs)).toBeUndefined()
    expect(old.told).toEqual([
      expect.stringMatching(new RegExp(`^Error a request .*${what.split(" ").at(-1)}.* too old`)),
    ])
    expect(chooseSubscription([old.wish], request("/a"), needsNothing)).toBe(old.wish)
  },
)

test.each([
  ["/", true],
  ["*", true],
  ["/a?b=c%20d", true],
  ["http://host:80/a", true],
  ["http://user@host", true],
  ["http://[::1]:80/", true],
  [`/${"a".repeat(65_533)}`, true],
  [`/${"a".repeat(65_534)}`, false],
  ["", false],
  ["*a", false],
  ["host:443", false],
  ["a/b", false],
  ["http://", false],
  ["http://a@b@host/", false],
  ["http://host:80:80/", false],
  ["http://host:x/", false],
  ["/a b", false],
  ["/a#b", false],
  ["/ä", false],
  ["/a\0", false],
])("of the URI %p clients may hear: %p", (uri, isOne) => {
  expect(isForClients(uri)).toBe(isOne)
})
