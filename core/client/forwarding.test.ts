import { expect, test } from "bun:test"
import { listenForward } from "./forwarding.ts"

const parts = { outgoing: {} as never, names: {} as never, warn() {} }

test("why a port cannot be listened on is said in words", () => {
  const other = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } })
  const forward = { local: other.port, host: "db", remote: 5432 }
  expect(() => listenForward(forward, parts)).toThrow(
    `Cannot listen on 127.0.0.1:${other.port}: somebody else listens there`,
  )
  other.stop(true)
  listenForward(forward, parts).stop()
})
