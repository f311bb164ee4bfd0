import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import type { TestClient } from "../../../agent/test-agent.ts"
import type { ClientMessage } from "../../../core/protocol/index.ts"
import { type AgentProcess, startAgentProcess } from "./agent-process.ts"
import {
  answer,
  call,
  header,
  startApplication,
  stealMatching,
  stolen,
  stolenRequest,
  subscribe,
  type TestApplication,
} from "./kit.ts"
import { makePod, type Pod, whyNoPods } from "./pod.ts"

const reason = whyNoPods()
if (reason) console.warn(`SKIPPED: shared links end to end: ${reason}`)

const register = (value: string): ClientMessage => ({ kind: "ShareLink", value: { kind: "RegisterKey", value } })
const remove = (value: string): ClientMessage => ({ kind: "ShareLink", value: { kind: "RemoveKey", value } })
const attributes = "Path=/; HttpOnly; SameSite=Lax"
const clearing = `set-cookie: mirrord-session=; ${attributes}; Max-Age=0\r\n`

describe.skipIf(reason !== undefined)("a shared link", () => {
  let pod: Pod
  let app: TestApplication
  let agent: AgentProcess
  let client: TestClient

  beforeAll(async () => {
    pod = await makePod()
    // Answers with what it was sent, whole heads only, each with its body.
    app = startApplication(pod, (text) =>
      text.endsWith("\r\n\r\n")
        ? text
            .split("\r\n\r\n")
            .slice(0, -1)
            .map((head) => `HTTP/1.1 200 OK\r\nX-App: yes\r\ncontent-length: ${head.length}\r\n\r\n${head}`)
            .join("")
        : "",
    )
    agent = await startAgentProcess(pod.pid)
    client = await agent.connect()
    expect(await subscribe(client, stealMatching(app.port, header("^baggage: .*mirrord-session=mine")))).toBe("Ok")
    client.send(register("mine"), register("other"), register("gone"), remove("gone"))
    await client.settle()
  }, 120_000)

  afterAll(async () => {
    await agent?.kill()
    app?.stop()
    pod?.close()
  }, 120_000)

  async function send(...lines: string[]) {
    const caller = await call(pod, pod.ip4, app.port)
    caller.send(`${lines.join("\r\n")}\r\nHost: a\r\n\r\n`)
    return caller
  }

  test("leads to the session it names, without a trace of it in the URL, and its cookie keeps leading there", async () => {
    const caller = await send("GET /a?x=1&mirrord-session=mine HTTP/1.1", "Baggage: k=v")
    const request = await stolenRequest(client)
    expect(request.request.uri.toString()).toContain("/a?x=1")
    expect(request.request.uri.toString()).not.toContain("mirrord-session")
    expect(request.request.headers.get("baggage")).toEqual(["k=v,mirrord-session=mine"])
    client.send(answer(request.connectionId, "stolen"))
    await caller.until("stolen")
    expect(caller.got).toContain(`set-cookie: mirrord-session=mine; ${attributes}\r\n`)
    caller.reset()
    expect((await stolen(client)).kind).toBe("Close")
    const again = await send("GET /b HTTP/1.1", "Cookie: mirrord-session=mine")
    const second = await stolenRequest(client)
    expect(second.request.headers.get("baggage")).toEqual(["mirrord-session=mine"])
    client.send(answer(second.connectionId, "again"))
    await again.until("again")
    expect(again.got).not.toContain("set-cookie")
    again.reset()
  })

  test("of another session reaches the application, told of it; a request without a link reaches it byte for byte", async () => {
    const caller = await send("GET /a?mirrord-session=other&y HTTP/1.1")
    await caller.until("baggage: mirrord-session=other")
    expect(caller.got).toStartWith(
      `HTTP/1.1 200 OK\r\nX-App: yes\r\ncontent-length: 58\r\nset-cookie: mirrord-session=other; ${attributes}\r\n\r\nGET /a?y HTTP/1.1\r\n`,
    )
    // On the same connection, two requests at once: the first without, the second with a link.
    caller.got = ""
    caller.send("GET /plain HTTP/1.1\r\nHOST:  a\r\n\r\nGET /late?mirrord-session=other HTTP/1.1\r\nHost: a\r\n\r\n")
    await caller.until("GET /late HTTP/1.1\r\nHost: a\r\nbaggage")
    expect(caller.got).toContain("GET /plain HTTP/1.1\r\nHOST:  a")
    expect(caller.got.match(/set-cookie/g)).toHaveLength(1)
    caller.reset()
  })

  test("whose session is over says so, after what was asked before, and the application never sees it", async () => {
    const seen = app.received.length
    const caller = await send("GET /first HTTP/1.1", "Host: a", "", "GET /x?mirrord-session=gone&q=<1> HTTP/1.1")
    const got = await caller.ended
    expect(got).toContain("GET /first HTTP/1.1")
    const page = got.slice(got.lastIndexOf("HTTP/1.1 200 OK"))
    expect(page).toContain(clearing)
    expect(page).toContain("cache-control: no-store\r\n")
    expect(page).toContain("5;url=/x?q=&#60;1&#62;")
    expect(page).toContain("Session ended")
    expect(app.received.slice(seen).join("")).not.toContain("/x")
    caller.reset()
  })

  test("in a cookie whose session is over is forgotten, and the request goes on", async () => {
    const caller = await send("GET /y HTTP/1.1", "Cookie: mirrord-session=gone")
    await caller.until("Cookie: mirrord-session=gone")
    expect(caller.got).toContain(clearing)
    caller.reset()
  })

  test("lives as long as the client that registered it", async () => {
    const second = await agent.connect()
    second.send(register("theirs"))
    await second.settle()
    const alive = await send("GET /z?mirrord-session=theirs HTTP/1.1")
    await alive.until("GET /z HTTP/1.1")
    alive.reset()
    second.link.close()
    await second.link.ended
    await client.settle()
    const over = await send("GET /z?mirrord-session=theirs HTTP/1.1")
    expect(await over.ended).toContain("Session ended")
    over.reset()
  })
})
