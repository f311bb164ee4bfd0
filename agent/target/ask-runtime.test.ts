import { afterEach, expect, test } from "bun:test"
import { mkdtempSync, rmSync } from "node:fs"
import { createServer, type ServerHttp2Stream } from "node:http2"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { askRuntime } from "./ask-runtime.ts"

const undo: (() => unknown)[] = []
afterEach(() => {
  for (const step of undo.splice(0).reverse()) step()
})
const socketPath = () => {
  const folder = mkdtempSync(join(tmpdir(), "podside-runtime-"))
  undo.push(() => rmSync(folder, { recursive: true }))
  return join(folder, "runtime.sock")
}

const field = (number: number, bytes: Buffer | string) => {
  const content = Buffer.from(bytes)
  const length = content.length < 128 ? [content.length] : [(content.length & 0x7f) | 0x80, content.length >> 7]
  return Buffer.concat([Buffer.from([number * 8 + 2, ...length]), content])
}

/** A runtime that speaks CRI and answers every question with this information. */
async function serveCri(info: Record<string, string>, grpcStatus = "0"): Promise<{ path: string; asked: Buffer[] }> {
  const path = socketPath()
  const asked: Buffer[] = []
  const server = createServer()
  server.on("stream", (stream: ServerHttp2Stream, headers) => {
    stream.on("data", (chunk: Buffer) => asked.push(chunk))
    stream.on("end", () => {
      expect(headers[":path"]).toBe("/runtime.v1.RuntimeService/ContainerStatus")
      const entries = Object.entries(info).map(([key, value]) =>
        field(2, Buffer.concat([field(1, key), field(2, value)])),
      )
      const message = Buffer.concat([field(1, field(1, "id")), ...entries])
      const prefix = Buffer.alloc(5)
      prefix.writeUInt32BE(message.length, 1)
      stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true })
      stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": grpcStatus }))
      stream.end(Buffer.concat([prefix, message]))
    })
  })
  await new Promise<void>((resolve) => server.listen(path, resolve))
  undo.push(() => server.close())
  return { path, asked }
}

const runtimeSpec = { process: { args: ["x"], env: ["A=1", "URL=a=b", "EMPTY=", "none", 7] } }
const given = [
  ["A", "1"],
  ["URL", "a=b"],
  ["EMPTY", ""],
] as const

test.each([
  ["containerd", { info: JSON.stringify({ sandboxID: "x".repeat(300), pid: 4711, runtimeSpec }) }, given],
  ["containerd", { info: JSON.stringify({ pid: 4711 }) }, []],
  ["cri-o", { pid: "4711", info: JSON.stringify({ runtimeSpec }) }, given],
  ["cri-o", { pid: "4711" }, []],
] as const)(
  "%s is asked by the container's id for the process and what it was started with",
  async (runtime, info, environment) => {
    const { path, asked } = await serveCri(info as unknown as Record<string, string>)
    expect(await askRuntime(runtime, path, "abc")).toEqual({ pid: 4711, environment: new Map(environment) })
    expect(Buffer.concat(asked).toString("hex")).toBe("00000000070a036162631001")
  },
)

test("a runtime that does not know the container, or says nothing of a process, is an error that names it", async () => {
  await expect(askRuntime("cri-o", (await serveCri({}, "5")).path, "abc")).rejects.toThrow(
    "does not tell the process of abc",
  )
  await expect(askRuntime("containerd", (await serveCri({})).path, "abc")).rejects.toThrow("it tells no process")
})

test("Docker is asked over HTTP", async () => {
  const unix = socketPath()
  const server = Bun.serve({
    unix,
    fetch: (request) =>
      new URL(request.url).pathname === "/containers/abc/json"
        ? Response.json({ State: { Pid: 99 }, Config: { Env: ["A=1"] } })
        : new Response("", { status: 404 }),
  })
  undo.push(() => server.stop(true))
  expect(await askRuntime("docker", unix, "abc")).toEqual({ pid: 99, environment: new Map([["A", "1"]]) })
  await expect(askRuntime("docker", unix, "none")).rejects.toThrow("status 404")
})
