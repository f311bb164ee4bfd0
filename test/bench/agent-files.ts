import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { DaemonMessage } from "../../core/protocol/index.ts"
import { startMeasuredAgent } from "./agent-process.ts"

/*
 * Small files through an agent, one request after the other: stat, open, read, close. The ratio is to the same number of
 * pings, which cost nothing but the way there and back.
 */

const files = 200
const rounds = 15_000
const wantedPerSecond = 5000

const folder = mkdtempSync(join(tmpdir(), "podside-bench-files-"))
for (let index = 0; index < files; index++) writeFileSync(join(folder, `${index}`), "x".repeat(1000))
const agent = await startMeasuredAgent()
const idleMemory = agent.memory()
const client = await agent.connect()

async function readOne(path: string): Promise<void> {
  await client.ask({ kind: "FileRequest", value: { kind: "Xstat", value: { path, fd: null, followSymlink: true } } })
  const openOptions = { read: true, write: false, append: false, truncate: false, create: false, createNew: false }
  const fd = fdOf(await client.ask({ kind: "FileRequest", value: { kind: "Open", value: { path, openOptions } } }))
  const read = { remoteFd: fd, bufferSize: 128_000n, startFrom: 0n }
  await client.ask({ kind: "FileRequest", value: { kind: "ReadLimited", value: read } })
  client.link.send({ kind: "FileRequest", value: { kind: "Close", value: { fd } } })
}

function fdOf(message: DaemonMessage): bigint {
  if (message.kind === "File" && message.value.kind === "Open" && message.value.value.kind === "Ok")
    return message.value.value.value.fd
  throw new Error("the agent could not open the file")
}

async function perSecond(count: number, once: (index: number) => Promise<unknown>): Promise<number> {
  const start = performance.now()
  for (let index = 0; index < count; index++) await once(index)
  return (count * 1000) / (performance.now() - start)
}

const one = (index: number) => readOne(join(folder, `${index % files}`))
await perSecond(2000, one)
const filesPerSecond = await perSecond(rounds, one)
const pingsPerSecond = await perSecond(rounds * 3, () => client.ask({ kind: "Ping" }))
console.log(
  `files: ${filesPerSecond.toFixed(0)}/s (wanted ${wantedPerSecond}), ${((300 * filesPerSecond) / pingsPerSecond).toFixed(0)} % of what round trips alone allow`,
)
console.log(`round trips: ${pingsPerSecond.toFixed(0)}/s; idle memory ${idleMemory.toFixed(0)} MiB (wanted at most 64)`)
await agent.stop()
rmSync(folder, { recursive: true })
process.exit(filesPerSecond >= wantedPerSecond && idleMemory <= 64 ? 0 : 1)
