import { join } from "node:path"
import { AppError } from "../../../core/errors.ts"
import { must } from "../../cluster/run.ts"
import { sampleImage } from "../../cluster/samples/images.ts"
import { relay } from "./bare-relays.ts"
import { localServer, type Measured, type SessionOptions, type Stage, settleSeconds } from "./stage.ts"
import { median } from "./table.ts"

const starts = 5
const bulkBytes = 200_000_000
const loadSeconds = 5
const pingCount = 3000
/** What a client just started makes of connections and files, while its code is still slow. */
const firstCount = 300
/** As many go before the round trips that files are compared with. Both together are as many files as the pod has. */
const warmFiles = 200
const fileCount = 800
const ports = { http: 8080, tcp: 7000 }
const listenLimitMs = 30_000

/** Milliseconds, the median of several. */
async function timed(what: () => Promise<unknown>, times = starts): Promise<number> {
  const all: number[] = []
  for (let time = 0; time < times; time++) {
    const began = performance.now()
    await what()
    all.push(performance.now() - began)
  }
  return median(all)
}

/** From `kubectl run` to a pod that runs. */
export function podStart({ kubectl }: Stage): Promise<number> {
  let count = 0
  return timed(async () => {
    const name = `start-${count++}`
    await kubectl("run", name, `--image=${sampleImage.reference}`, "--image-pull-policy=Never", "--restart=Never")
    await kubectl("wait", `pod/${name}`, "--for=condition=Ready", "--timeout=60s")
  })
}

/** `podside exec -- true`; `before` runs ahead of each and is not counted. */
export async function sessionStart(
  stage: Stage,
  session: SessionOptions,
  options: { times?: number; before?: () => Promise<unknown> } = {},
) {
  const all: number[] = []
  for (let time = 0; time < (options.times ?? starts); time++) {
    await options.before?.()
    all.push(await timed(() => must(stage.exec(session, ["true"]), { cwd: "/", timeoutSeconds: 60 }), 1))
  }
  return median(all)
}

/** Rounds of what is measured in turns. */
const rounds = 3

/**
 * Two measurements in turns, as a machine is not as fast in one minute as in the next: gives the round whose ratio, of the second to the
 * first by `figure`, is the median.
 */
export async function inTurns(
  one: () => Promise<Measured>,
  other: () => Promise<Measured>,
  figure: "p50" | "perSecond",
): Promise<{ one: Measured; other: Measured; ratio: number }> {
  const all: { one: Measured; other: Measured; ratio: number }[] = []
  for (let round = 0; round < rounds; round++) {
    const [first, second] = [await one(), await other()]
    all.push({ one: first, other: second, ratio: second[figure]! / first[figure]! })
  }
  return all.toSorted((a, b) => a.ratio - b.ratio)[(rounds - 1) / 2]!
}

export const latencyInSession = (stage: Stage, session: SessionOptions): Promise<Measured> =>
  stage.loadIn(session, "latency", `${stage.backendIp}:${ports.tcp}`, String(pingCount))

export async function latencyForwarded(stage: Stage): Promise<Measured> {
  await using tcp = await stage.forward(ports.tcp)
  return await latencyAt(stage, tcp.port)
}

export async function latencyRelayed(stage: Stage): Promise<Measured> {
  await using relays = await relay(stage, ports.tcp)
  return await latencyAt(stage, relays.port)
}

const latencyAt = (stage: Stage, port: number): Promise<Measured> =>
  stage.load("latency", `127.0.0.1:${port}`, String(pingCount))

export interface Way {
  latency: Measured
  connect: Measured
  firstConnects: Measured
  download: number
  upload: number
}

/** The same measurements by one way to the backend: `at` gives its address for a port. */
export async function measureWay(
  run: (...words: string[]) => Promise<Measured>,
  at: (port: number) => string,
  connects: number,
): Promise<Way> {
  return {
    latency: await run("latency", at(ports.tcp), String(pingCount)),
    connect: await run("connect", at(ports.tcp), String(connects)),
    firstConnects: await run("connect", at(ports.tcp), String(firstCount)),
    download: (await run("download", at(ports.http), String(bulkBytes)))["mbPerSecond"]!,
    upload: (await run("upload", at(ports.http), String(bulkBytes)))["mbPerSecond"]!,
  }
}

export const measureDirect = (stage: Stage): Promise<Way> =>
  measureWay(stage.load, (port) => `${stage.backendIp}:${port}`, 2000)

export const measureSession = (stage: Stage, session: SessionOptions): Promise<Way> =>
  measureWay(
    (...words) => stage.loadIn(session, ...words),
    (port) => `${stage.backendIp}:${port}`,
    2000,
  )

export async function measureForward(stage: Stage): Promise<Way> {
  await using tcp = await stage.forward(ports.tcp)
  await using http = await stage.forward(ports.http)
  // Awaited here: the forwardings end with this function.
  return await measureWay(stage.load, (port) => `127.0.0.1:${port === ports.tcp ? tcp.port : http.port}`, 1000)
}

export interface Reading {
  /** Lookups of one name, which is kept as long as it holds. */
  dns: Measured
  /** Of another name each time: the cluster's name server is asked for each. */
  newNames: Measured
  open: Measured
  firstOpens: Measured
  stat: Measured
}

export async function measureReading(stage: Stage, session: SessionOptions): Promise<Reading> {
  const load = (...words: string[]) => stage.loadIn(session, ...words)
  return {
    dns: await load("dns", `backend.${stage.namespace}.svc.cluster.local.`, "300"),
    newNames: await load("dns", `10-9-#.${stage.namespace}.pod.cluster.local.`, "200"),
    open: await load("open", "/data/many", String(fileCount), String(warmFiles)),
    firstOpens: await load("open", "/data/many", String(firstCount), "0"),
    stat: await load("stat", "/data/many", String(fileCount), String(warmFiles)),
  }
}

/** Sixteen connections that ask the pod, without a session. */
export const servedByPod = (stage: Stage): Promise<Measured> =>
  stage.load("http", `http://${stage.webIp}:${ports.http}/`, "16", String(loadSeconds))

/** The same while a session steals the port for the same server here. */
export async function servedHere(stage: Stage, session: SessionOptions): Promise<Measured> {
  const config = join(stage.folder, "steal.json")
  const override = { SAMPLE_NAME: "here" }
  await Bun.write(config, JSON.stringify({ feature: { env: { override }, network: { incoming: "steal" } } }))
  const child = Bun.spawn(stage.exec({ ...session, config }, [await localServer(), "serve"]), {
    cwd: "/",
    stdin: "ignore",
    stdout: "ignore",
    stderr: "inherit",
  })
  try {
    const deadline = performance.now() + listenLimitMs
    const url = `http://${stage.webIp}:${ports.http}/`
    while (!(await answeredBy(url, "here"))) {
      if (performance.now() > deadline) throw new AppError("bench-failed", "No request was stolen")
      await Bun.sleep(50)
    }
    await Bun.sleep(settleSeconds * 1000)
    return await stage.load("http", url, "16", String(loadSeconds))
  } finally {
    child.kill("SIGTERM")
    await child.exited
  }
}

async function answeredBy(url: string, name: string): Promise<boolean> {
  try {
    const answer = (await (await fetch(url, { keepalive: false })).json()) as { name?: string }
    return answer.name === name
  } catch {
    return false
  }
}
