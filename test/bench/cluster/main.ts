import { errorText } from "../../../core/errors.ts"
import {
  inTurns,
  latencyForwarded,
  latencyInSession,
  latencyRelayed,
  measureDirect,
  measureForward,
  measureReading,
  measureSession,
  podStart,
  type Reading,
  servedByPod,
  servedHere,
  sessionStart,
  type Way,
} from "./measure.ts"
import { removeAgents, withOperator } from "./operator.ts"
import { type Measured, openStage, type Stage } from "./stage.ts"
import { printTable, type Row } from "./table.ts"

/*
 * npm run bench: what a session costs on a real cluster, against a pod's own start, the direct way and `kubectl port-forward`
 * in the same run. Ratios count; the absolute values are this machine's. `npm run bench -- direct` leaves the operator out,
 * `npm run bench -- operator` what is only about sessions without one; `npm run bench -- direct port-forward` measures such
 * sessions a second time, by port-forward alone.
 */

const say = (line: string) => void process.stderr.write(`${line}\n`)
const ms = (value: number) => `${(value / 1000).toFixed(2)} s`
const us = (value: number | undefined) => `${Math.round(value ?? Number.NaN)} µs`
const whole = (value: number | undefined) => String(Math.round(value ?? Number.NaN))
const [only, also] = process.argv.slice(2)
const byForward = { operator: false, transport: "port-forward" } as const

function bulkRows(way: Way, forwarded: Way, atLeast: number): Row[] {
  const bulk = (name: "download" | "upload"): Row => ({
    name: `${name}, one flow`,
    ratio: way[name] / forwarded[name],
    limit: { atLeast },
    of: "× port-forward",
    seen: `${whole(way[name])} MB/s, port-forward ${whole(forwarded[name])}`,
  })
  return [bulk("download"), bulk("upload")]
}

function speedRows(way: Way, forwarded: Way, bulkAtLeast: number, latencyAtMost: number): Row[] {
  const latency = (name: "p50" | "p99"): Row => ({
    name: `round trip of 1 byte, ${name}`,
    ratio: way.latency[name]! / forwarded.latency[name]!,
    limit: { atMost: latencyAtMost },
    of: "× port-forward",
    seen: `${us(way.latency[name])}, port-forward ${us(forwarded.latency[name])}`,
  })
  return [latency("p50"), latency("p99"), ...bulkRows(way, forwarded, bulkAtLeast)]
}

interface Base {
  pod: number
  forwarded: Way
}

function connectRows(way: Way, forwarded: Way): Row[] {
  const connects = (of: "connect" | "firstConnects", name: string): Row => ({
    name,
    ratio: way[of]["perSecond"]! / forwarded.connect["perSecond"]!,
    limit: { atLeast: 3 },
    of: "× port-forward",
    seen: `${whole(way[of]["perSecond"])} /s, port-forward ${whole(forwarded.connect["perSecond"])}`,
  })
  return [connects("connect", "connect + 1 byte, serial"), connects("firstConnects", "the same, a client's first 300")]
}

const stolenRows = (stolen: Measured, own: Measured): Row[] => [
  {
    name: "stolen HTTP, 16 connections",
    ratio: stolen["perSecond"]! / own["perSecond"]!,
    limit: { atLeast: 0.15 },
    of: "× direct",
    seen: `${whole(stolen["perSecond"])} req/s, direct ${whole(own["perSecond"])}`,
  },
  {
    name: "stolen HTTP, p50 in ms",
    ratio: stolen["p50"]! / 1000,
    limit: { atMost: 3 },
    of: "ms",
    seen: `p99 ${us(stolen["p99"])}, direct p50 ${us(own["p50"])}`,
  },
]

async function directTables(stage: Stage): Promise<Base> {
  const session = { operator: false }
  say("starts of pods and sessions ...")
  const pod = await podStart(stage)
  const start = await sessionStart(stage, session)
  say("the network, direct, forwarded and in a session ...")
  const direct = await measureDirect(stage)
  const forwarded = await measureForward(stage)
  const way = await measureSession(stage, session)
  say("names and files ...")
  const reading = await measureReading(stage, session)
  say("stolen requests ...")
  const own = await servedByPod(stage)
  const stolen = await servedHere(stage, session)
  const trips = (name: keyof Reading, label: string, atMost: number): Row => ({
    name: label,
    ratio: reading[name]["p50"]! / way.latency["p50"]!,
    limit: { atMost },
    of: "round trips",
    seen:
      `${whole(reading[name]["perSecond"])} /s, p50 ${us(reading[name]["p50"])}, ` +
      `${(reading[name]["p50"]! / forwarded.latency["p50"]!).toFixed(2)} × port-forward's round trip`,
  })
  printTable("A session without an operator", [
    {
      name: "session start",
      ratio: start / pod,
      limit: { atMost: 1.1 },
      of: "× pod start",
      seen: `${ms(start)}, pod ${ms(pod)}`,
    },
    ...speedRows(way, forwarded, 1.5, 0.85),
    ...connectRows(way, forwarded),
    trips("dns", "DNS lookup", 1.3),
    trips("newNames", "DNS lookup of a new name", 1.3),
    trips("open", "open, read, close of a small file", 1.5),
    trips("firstOpens", "the same, a client's first 300", 1.5),
    trips("stat", "stat", 1.2),
    ...stolenRows(stolen, own),
  ])
  say(
    `direct, for the record: ${us(direct.latency["p50"])} / ${us(direct.latency["p99"])}, ${whole(direct.connect["perSecond"])} connects/s, ` +
      `${whole(direct.download)} / ${whole(direct.upload)} MB/s`,
  )
  if (also !== "port-forward") return { pod, forwarded }
  say("the same by port-forward ...")
  const slower = await measureSession(stage, byForward)
  printTable("A session without an operator, by port-forward", [
    ...speedRows(slower, forwarded, 1.5, 0.85),
    ...connectRows(slower, forwarded),
    ...stolenRows(await servedHere(stage, byForward), own),
  ])
  return { pod, forwarded }
}

async function baseOnly(stage: Stage): Promise<Base> {
  say("starts of pods ...")
  const pod = await podStart(stage)
  say("the network, forwarded ...")
  return { pod, forwarded: await measureForward(stage) }
}

async function operatorRows(stage: Stage, { pod, forwarded }: Base): Promise<Row[]> {
  const session = { operator: true }
  say("the operator is installed ...")
  return withOperator(stage, async (namespace) => {
    const cold = await sessionStart(stage, session, { times: 3, before: () => removeAgents(stage, namespace) })
    const warm = await sessionStart(stage, session)
    say("the network through the operator ...")
    const way = await measureSession(stage, session)
    say("round trips and stolen requests, in turns with those by port-forward ...")
    const trips = await inTurns(
      () => latencyForwarded(stage),
      () => latencyInSession(stage, session),
      "p50",
    )
    const hops = await inTurns(
      () => latencyRelayed(stage),
      () => latencyInSession(stage, session),
      "p50",
    )
    const stolen = await inTurns(
      () => servedHere(stage, byForward),
      () => servedHere(stage, session),
      "perSecond",
    )
    const start = (name: string, value: number, atMost: number): Row => ({
      name: `session start, ${name} agent`,
      ratio: value / pod,
      limit: { atMost },
      of: "× pod start",
      seen: `${ms(value)}, pod ${ms(pod)}`,
    })
    return [
      start("cold", cold, 1.2),
      start("warm", warm, 0.4),
      {
        name: "round trip of 1 byte, p50",
        ratio: trips.ratio,
        limit: { atMost: 0.5 },
        of: "× port-forward",
        seen: `${us(trips.other["p50"])}, port-forward ${us(trips.one["p50"])}`,
      },
      {
        name: "the same, as many bare relays",
        ratio: hops.ratio,
        limit: { atMost: 1.25 },
        of: "× bare relays",
        seen: `${us(hops.other["p50"])}, relays ${us(hops.one["p50"])}`,
      },
      ...bulkRows(way, forwarded, 1),
      {
        name: "stolen HTTP, 16 connections",
        ratio: stolen.ratio,
        limit: { atLeast: 1.2 },
        of: "× direct by forward",
        seen:
          `${whole(stolen.other["perSecond"])} req/s, p50 ${us(stolen.other["p50"])}, ` +
          `without operator by port-forward ${whole(stolen.one["perSecond"])}`,
      },
    ]
  })
}

const stage = await openStage(say)
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, () => void stage.close().finally(() => process.exit(130)))
}
try {
  const base = only === "operator" ? await baseOnly(stage) : await directTables(stage)
  if (only !== "direct") printTable("A session through the operator", await operatorRows(stage, base))
} catch (thrown) {
  say(errorText(thrown))
  process.exitCode = 1
} finally {
  await stage.close()
}
