import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test"
import { copyFileSync, mkdtempSync, rmSync } from "node:fs"
import { hostname, tmpdir } from "node:os"
import { join } from "node:path"
import type { World } from "../../../../core/client/engine.ts"
import { MemoryFiles } from "../../../../test/fakes/memory-files.ts"
import { MemoryNetwork } from "../../../../test/fakes/memory-network.ts"
import { runIn } from "../../../../test/fakes/run-in-world.ts"

setDefaultTimeout(30_000)

const folder = mkdtempSync(join(tmpdir(), "podside-skipped-"))
const skipped = ["my-cat", "my-bash", "my-uname", "*.Worker"]
let server: Bun.TCPSocketListener
beforeAll(() => {
  const copies = {
    cat: ["my-cat", "Debugger.Worker", "other-cat"],
    bash: ["my-bash", "other-bash"],
    uname: ["my-uname"],
  }
  for (const [program, names] of Object.entries(copies))
    for (const name of names) copyFileSync(Bun.which(program)!, join(folder, name))
  server = Bun.listen({
    hostname: "127.0.0.1",
    port: 0,
    socket: { open: (socket) => void socket.end("here"), data() {} },
  })
})
afterAll(() => {
  server.stop(true)
  rmSync(folder, { recursive: true })
})

const outgoing = () => new MemoryNetwork({ isRemote: (peer) => peer.kind === "tcp" })
const world = (network = outgoing()): World => ({
  files: new MemoryFiles({ files: { "/remote/a.txt": "hello from the pod\n" } }),
  outgoing: network,
  hostname: async () => "the-pod",
})
const sh = (script: string, where = world()) =>
  runIn(where, ["bash", "-c", `PATH=${folder}:$PATH; ${script}`], { skipped })

const fromPod = "hello from the pod\n"
const notHere = /No such file/

describe("files", () => {
  test.each([
    ["a program of that name", "my-cat /remote/a.txt", notHere],
    ["a program of another name", "other-cat /remote/a.txt", fromPod],
    ["a program called so", "(exec -a /any/my-cat cat /remote/a.txt)", notHere],
    ["a program called otherwise", "(exec -a /my-cat/other cat /remote/a.txt)", fromPod],
    ["a program whose name ends so", "Debugger.Worker /remote/a.txt", notHere],
    ["what it starts", "my-bash -c 'cat /remote/a.txt; :'", fromPod],
    ["what it becomes", "my-bash -c 'exec cat /remote/a.txt'", fromPod],
    ["a copy of itself it makes", "my-bash -c '(read -r line < /remote/a.txt; echo $line); :'", notHere],
    ["what it inherits", "my-cat < /remote/a.txt", fromPod],
    ["a shell that is not skipped", "other-bash -c '(read -r line < /remote/a.txt; echo $line); :'", fromPod],
  ])("%s", async (_, script, expected) => {
    const { output } = await sh(`${script} 2>&1`)
    if (typeof expected === "string") expect(output).toBe(expected)
    else expect(output).toMatch(expected)
  })

  test("in turn, by processes that come and go", async () => {
    const { output } = await sh(
      `for i in 1 2 3 4 5; do my-cat /remote/a.txt; other-cat /remote/a.txt; done 2>/dev/null`,
    )
    expect(output).toBe(fromPod.repeat(5))
  })
})

test("the host's name", async () => {
  expect((await sh("my-uname -n; uname -n")).output).toBe(`${hostname()}\nthe-pod\n`)
})

test("connections", async () => {
  const network = outgoing()
  const script = (shell: string) =>
    `${shell} -c 'exec 3<>/dev/tcp/127.0.0.1/${server.port}; echo hey >&3; read -r -N 4 x <&3; echo $x'`
  expect((await sh(script("my-bash"), world(network))).output).toBe("here\n")
  expect(network.connected).toEqual([])
  await sh(script("other-bash"), world(network))
  expect(network.connected.length).toBe(1)
})
