import { expect, test } from "bun:test"
import { ErrnoError, type FileWorld } from "../../engine.ts"
import { createPodConfig } from "./pod-config.ts"

/** A pod whose file is opened with these results, one after the other. */
function pod(...results: (string | Error)[]) {
  let opened = 0
  const files: Pick<FileWorld, "openForReading"> = {
    async openForReading() {
      const result = results[opened++]
      if (result === undefined || result instanceof Error) throw result ?? new Error("opened once more")
      const content = Buffer.from(result)
      return { file: { close() {} } as never, stat: {} as never, content }
    },
  }
  return { config: createPodConfig(files), opened: () => opened }
}

const text = "search shop.test\nnameserver 10.0.0.1\noptions ndots:5\n"
const read = { search: ["shop.test"], servers: ["10.0.0.1"], ndots: 5 }

test("the file is read when it is first needed, and once", async () => {
  const { config, opened } = pod(text)
  expect(opened()).toBe(0)
  for (let times = 0; times < 2; times++) expect(await config()).toMatchObject(read)
  expect(opened()).toBe(1)
})

test.each([
  ["lost with its connection is read by the next", [new ErrnoError(5, "lost"), text], read],
  ["lost twice cannot be had", [new ErrnoError(5, "lost"), new ErrnoError(5, "lost")], undefined],
  ["kept by the cluster's owner is not asked for again", [new ErrnoError(13, "denied"), text], undefined],
])("a file that is %s", async (_, results, expected) => {
  const { config } = pod(...results)
  for (let times = 0; times < 2; times++) {
    const known = await config()
    if (expected) expect(known).toMatchObject(expected)
    else expect(known).toBeUndefined()
  }
})

test("garbage is bounded", async () => {
  const many = Array.from({ length: 1000 }, (_, index) => `d${index}.test`).join(" ")
  const { config } = pod(
    `search ${many} ${"x".repeat(300)}\noptions ndots:999999 timeout:999999\n${"\0".repeat(200_000)}`,
  )
  expect(await config()).toMatchObject({ search: { length: 32 }, ndots: 15, timeoutSeconds: 30, servers: [] })
})
