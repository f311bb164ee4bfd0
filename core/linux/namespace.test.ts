import { afterAll, beforeAll, expect, test } from "bun:test"
import { readlinkSync } from "node:fs"
import { joinNetworkNamespace, ownNetworkNamespace } from "./namespace.ts"

const own = () => readlinkSync("/proc/thread-self/ns/net")
const isRoot = process.getuid?.() === 0
if (!isRoot) console.warn("SKIPPED: network namespace tests need root")

let pod: Bun.Subprocess<"pipe", "pipe", "inherit">

beforeAll(async () => {
  pod = Bun.spawn(["unshare", "--net", "sh", "-c", "ip link set lo up && echo ready && exec cat"], {
    stdin: "pipe",
    stdout: "pipe",
  })
  await pod.stdout.getReader().read()
})
afterAll(() => pod.kill())

test.skipIf(!isRoot)("run works inside the other namespace and comes back, also when nested and when it throws", () => {
  const home = own()
  const there = readlinkSync(`/proc/${pod.pid}/ns/net`)
  const namespace = joinNetworkNamespace(pod.pid)
  expect(namespace.relation).toBe("visited")
  expect(namespace.run(own)).toBe(there)
  expect(namespace.run(() => [namespace.run(own), own()])).toEqual([there, there])
  expect(() =>
    namespace.run(() => {
      throw new Error("refused")
    }),
  ).toThrow("refused")
  expect(own()).toBe(home)
  expect(there).not.toBe(home)
  namespace.close()
})

test.skipIf(!isRoot)("a listener made inside is served by the same loop and reached only from inside", async () => {
  const namespace = joinNetworkNamespace(pod.pid)
  const listener = namespace.run(() =>
    Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { open: (socket) => void socket.end("pod"), data() {} } }),
  )
  const answer = Promise.withResolvers<string>()
  await namespace.run(() =>
    Bun.connect({
      hostname: "127.0.0.1",
      port: listener.port,
      socket: { data: (_, data) => answer.resolve(data.toString()) },
    }),
  )
  expect(await answer.promise).toBe("pod")
  const outside = Bun.connect({ hostname: "127.0.0.1", port: listener.port, socket: { data() {} } })
  expect(outside).rejects.toThrow()
  await outside.catch(() => {})
  listener.stop(true)
  namespace.close()
})

test("a process in the same namespace needs no switch", () => {
  expect(joinNetworkNamespace(process.pid)).toBe(ownNetworkNamespace)
})

test("a process that does not exist is named", () => {
  expect(() => joinNetworkNamespace(4194304)).toThrow("Process 4194304 does not exist")
})

test.skipIf(!isRoot)("root of a user namespace only moves in for good, because it could not come back", async () => {
  const script = `
    import { joinNetworkNamespace } from ${JSON.stringify(`${import.meta.dir}/namespace.ts`)}
    import { readlinkSync } from "node:fs"
    const pod = Bun.spawn(["unshare", "--net", "sh", "-c", "echo ready; exec cat"], { stdin: "pipe", stdout: "pipe" })
    await pod.stdout.getReader().read()
    const namespace = joinNetworkNamespace(pod.pid)
    const there = readlinkSync("/proc/" + pod.pid + "/ns/net")
    console.log(namespace.relation, readlinkSync("/proc/thread-self/ns/net") === there, namespace.run(() => "served"))
    pod.kill()
  `
  const child = Bun.spawn(
    [
      "setpriv",
      "--reuid=65534",
      "--clear-groups",
      "unshare",
      "--user",
      "--map-root-user",
      process.execPath,
      "-e",
      script,
    ],
    {
      env: { ...process.env, HOME: "/tmp", BUN_INSTALL_CACHE_DIR: "/tmp" },
      stdout: "pipe",
      stderr: "pipe",
    },
  )
  const [out, err] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()])
  expect(out.trim() || err).toBe("settled true served")
})
