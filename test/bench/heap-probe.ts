/* Preloaded into a process that a benchmark looks into: at SIGUSR2 it collects its garbage and writes one line of JSON about what is left. */
import { heapStats } from "bun:jsc"
import { appendFileSync } from "node:fs"

/** Objects are freed in two steps: what holds memory outside the heap goes with a later collection. */
const collections = 3
const pauseMs = 50
const file = process.env["HEAP_PROBE_FILE"] ?? "/dev/stderr"

process.on("SIGUSR2", async () => {
  for (let i = 0; i < collections; i++) {
    Bun.gc(true)
    await Bun.sleep(pauseMs)
  }
  const { heapSize, objectCount, objectTypeCounts } = heapStats()
  appendFileSync(file, `${JSON.stringify({ heapSize, objectCount, objectTypeCounts })}\n`)
})
