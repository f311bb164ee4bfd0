import { expect, test } from "bun:test"
import type { Service } from "./connection.ts"
import { tapped } from "./tap.ts"

function watched() {
  const told: string[] = []
  const tell = (who: string) => ({
    onData: (bytes: Buffer) => void told.push(`${who} ${bytes.length}`),
    onEnd: () => void told.push(`${who} end`),
    onClose: () => void told.push(`${who} close`),
  })
  const service: Service = { ...tell("application"), onDrain() {} }
  return { told, events: tapped(service, [{ ...tell("client"), onLost() {}, over: false }]) }
}

test("copies come behind everything that is ready", async () => {
  const { told, events } = watched()
  events.onData(Buffer.alloc(10))
  events.onEnd()
  events.onClose()
  expect(told).toEqual(["application 10", "application end", "application close"])
  await new Promise(setImmediate)
  expect(told.slice(3)).toEqual(["client 10", "client end", "client close"])
})

test("no more than a MiB waits for that, in order all the same", async () => {
  const { told, events } = watched()
  events.onData(Buffer.alloc(1 << 20))
  expect(told).toEqual(["application 1048576"])
  events.onData(Buffer.alloc(1))
  expect(told.slice(1)).toEqual(["application 1", "client 1048576", "client 1"])
  events.onData(Buffer.alloc(2))
  expect(told.slice(4)).toEqual(["application 2"])
  await new Promise(setImmediate)
  expect(told.slice(5)).toEqual(["client 2"])
})
