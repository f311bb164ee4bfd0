/* Hostile inputs for the decoder, a million and more: `bun test/bench/protocol-fuzz.ts [cases] [seed]`. */
import { fuzz } from "../cases/protocol/fuzz.ts"
import { goldenMessages } from "../cases/protocol/vectors.ts"

const cases = Number(process.argv[2] ?? 1_000_000)
const seed = Number(process.argv[3] ?? 1)
const golden = await goldenMessages()
const before = process.memoryUsage.rss()
const start = performance.now()
const tally = fuzz(golden, cases, seed)
const seconds = (performance.now() - start) / 1000

const errors = [...tally.errors].sort(([a], [b]) => a.localeCompare(b))
console.log(
  `${cases} cases, seed ${seed}: ${tally.message} messages, ${tally.incomplete} incomplete, in ${seconds.toFixed(1)} s`,
)
for (const [code, count] of errors) console.log(`  ${code.padEnd(24)} ${count}`)
const grown = (process.memoryUsage.rss() - before) / 1024 / 1024
console.log(`memory grew by ${grown.toFixed(0)} MiB; nothing hung, nothing else came out`)
