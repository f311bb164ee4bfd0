import { beforeEach, expect, test } from "bun:test"
import { AppError } from "../../core/errors.ts"
import type { Diversion, DiversionOptions, Interceptor } from "../../core/interceptor.ts"
import { silentLogger } from "../../core/log.ts"
import type { AgentContext } from "../feature.ts"
import type { AgentSettings } from "../settings.ts"
import { readSettings } from "../settings.ts"
import type { ClientChannel } from "./client-channel.ts"
import type { CompiledFilter } from "./filter/filter.ts"
import { type Interest, Ports } from "./ports.ts"

/* Which way the connections of a port take, by who is interested in it. */

const tlsPort = 443
const takenPort = 99

/** What the kernel was asked for. */
let asked: string[]
let canCopy: boolean
let options: DiversionOptions
let told: string[]
let ports: Ports

beforeEach(() => {
  asked = []
  told = []
  canCopy = true
  ports = make()
})

function make(settings: Partial<AgentSettings> = {}): Ports {
  const refuse = (numbers: readonly number[]) => {
    if (numbers.includes(takenPort)) throw new AppError("port-taken", "taken")
  }
  const diversion = {
    backend: "none",
    async add(numbers) {
      refuse(numbers)
      asked.push(`divert ${numbers}`)
    },
    async copy(numbers) {
      if (!canCopy) return false
      refuse(numbers)
      asked.push(`copy ${numbers}`)
      return true
    },
    async remove(numbers) {
      asked.push(`remove ${numbers}`)
    },
  } as Diversion
  const interceptor = {
    async open(given) {
      options = given
      return diversion
    },
  } as Interceptor
  const context = {
    target: undefined,
    settings: { ...readSettings({}, silentLogger), ...settings },
    log: silentLogger,
    fail: (error: Error) => {
      throw error
    },
  } as unknown as AgentContext
  return new Ports(context, interceptor, {
    serve: () => {
      throw new Error("no connection here")
    },
    mayCopy: (port) => port !== tlsPort,
    copy: (_, port) => ({ ...tap, over: port.mirrors.length === 0 }),
  })
}

const tap = { onData() {}, onEnd() {}, onClose() {}, onLost() {} }
const channelOf = (name: string) =>
  ({ client: { tell: (_, text) => void told.push(`${name}: ${text}`) } }) as ClientChannel
const [one, two] = [channelOf("one"), channelOf("two")]
const filter = {} as CompiledFilter

const join = (interest: Interest, number: number, channel: ClientChannel) =>
  ports.subscribe(number, interest, (port) => {
    if (interest === "look") port.mirror(channel, undefined)
    else port.stealMatching(channel, filter, "")
  })
const leave = (number: number, channel: ClientChannel) =>
  ports.unsubscribe(number, (port) => {
    port.stopStealing(channel)
    port.stopMirroring(channel)
  })

test("a port that is only mirrored is copied, for any number of clients", async () => {
  await join("look", 80, one)
  await join("look", 80, two)
  await leave(80, one)
  await leave(80, two)
  expect(asked).toEqual(["copy 80", "remove 80"])
})

test("a port somebody takes from is diverted, also for those who look on, until the last who takes is gone", async () => {
  await join("take", 80, one)
  await join("look", 80, two)
  expect(asked).toEqual(["divert 80"])
  await leave(80, one)
  expect(asked).toEqual(["divert 80", "copy 80"])
  await join("take", 80, one)
  expect(asked.slice(2)).toEqual(["divert 80"])
  await ports.forget(two)
  expect(asked.length).toBe(3)
  await ports.forget(one)
  expect(asked.slice(3)).toEqual(["remove 80"])
})

test("a client's end makes room as its unsubscription does", async () => {
  await join("look", 80, two)
  await join("take", 80, one)
  await ports.forget(one)
  expect(asked).toEqual(["copy 80", "divert 80", "copy 80"])
})

test("what is asked for together is done together, and one taken port is in nobody else's way", async () => {
  const joins = [
    join("look", 1, one),
    join("take", 2, one),
    join("look", 3, one),
    join("take", 3, two),
    join("look", 4, two),
  ]
  await Promise.all(joins)
  expect(asked).toEqual(["copy 1,4", "divert 2,3"])
  asked = []
  const mixed = await Promise.allSettled([join("look", 5, one), join("look", takenPort, one), join("take", 6, one)])
  expect(mixed.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"])
  expect(asked).toEqual(["copy 5", "divert 6"])
})

test("a port whose TLS the agent ends is diverted", async () => {
  await Promise.all([join("look", tlsPort, one), join("look", 80, one)])
  expect(asked).toEqual(["copy 80", `divert ${tlsPort}`])
})

test("where the kernel cannot copy, mirrored ports are diverted", async () => {
  canCopy = false
  await Promise.all([join("look", 80, one), join("take", 81, one)])
  canCopy = true
  await join("look", 81, two)
  await leave(81, one)
  expect(asked).toEqual(["divert 80,81"])
})

test.each([
  ["copies are not wished", { copyMirrored: false }],
  ["connections from before are to be cut", { flushConnections: true }],
] as const)("where %s, mirrored ports are diverted", async (_, settings) => {
  ports = make(settings)
  await join("look", 80, one)
  expect(asked).toEqual(["divert 80"])
})

test("a port that lingers is taken up the way the next one needs it", async () => {
  ports = make({ unusedPortLingerSeconds: 3600 })
  await join("take", 80, one)
  await leave(80, one)
  await join("look", 80, two)
  await leave(80, two)
  await join("look", 80, two)
  expect(asked).toEqual(["divert 80", "copy 80"])
  await ports.stopDiverting()
})

test("a port whose packets are too large is diverted from then on, and its clients are told once", async () => {
  await Promise.all([join("look", 80, one), join("look", 81, two)])
  for (let packet = 0; packet < 3; packet++) options.onTooLargeToCopy(80)
  await leave(80, two)
  expect(asked).toEqual(["copy 80,81", "divert 80"])
  expect(told).toEqual(["one: packets to port 80 are too large to be copied: new connections pass through the agent"])
  await join("take", 80, two)
  await leave(80, two)
  await leave(80, one)
  await join("look", 80, one)
  expect(asked.slice(2)).toEqual(["remove 80", "divert 80"])
})

test("copied connections come to those who look on; what may be missing is told to them alone", async () => {
  await join("look", 80, one)
  await join("take", 81, two)
  const route = { source: { ip: "10.0.0.1", port: 1 }, destination: { ip: "10.0.0.2", port: 80 } }
  expect(options.onCopied(route)?.over).toBe(false)
  expect(options.onCopied({ ...route, destination: { ip: "10.0.0.2", port: 82 } })).toBeUndefined()
  options.onCopiesMissed("a reason")
  expect(told).toEqual(["one: mirrored connections may be missing: a reason"])
})
