import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import type { AgentProcess } from "./agent-process.ts"
import { startAgentProcess } from "./agent-process.ts"
import { answer, call, header, startApplication, stealMatching, stolenRequest, subscribe } from "./kit.ts"
import { makePod, type Pod, whyNoPods } from "./pod.ts"

const reason = whyNoPods() ?? (Bun.which("node") ? undefined : "Node is missing")
if (reason) console.warn(`SKIPPED: marked answers: ${reason}`)

const http2Port = 8082
const server = `
require("http2").createServer((request, response) => response.writeHead(200, { "cache-control": "max-age=60" }).end("app"))
  .listen(${http2Port}, "::", () => console.log("up"))`

/** Prints the headers two requests on one connection got: of a user, and of nobody. */
const caller = `
const session = require("http2").connect("http://" + process.argv[1] + ":${http2Port}")
const ask = (headers) => new Promise((resolve, reject) =>
  session.request(headers).on("response", (got) => resolve({ ...got })).on("error", reject).resume())
Promise.all([ask({ "x-user": "me" }), ask({})]).then((all) => { console.log(JSON.stringify(all)); session.close() })`

describe.skipIf(reason !== undefined)("MIRRORD_AGENT_INJECT_HEADERS: an answer says whose it is", () => {
  let pod: Pod
  let agent: AgentProcess
  let application: { kill(): void }

  beforeAll(async () => {
    pod = await makePod()
    const started = pod.inPod(() => Bun.spawn(["node", "-e", server], { stdio: ["ignore", "pipe", "inherit"] }))
    await started.stdout.getReader().read()
    application = started
    agent = await startAgentProcess(pod.pid, { MIRRORD_AGENT_INJECT_HEADERS: "true" })
  }, 120_000)
  afterAll(async () => {
    application?.kill()
    await agent?.stop()
    pod?.close()
  }, 120_000)

  test("in HTTP/1, and the application's is otherwise as it was", async () => {
    const reply = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 3\r\n\r\napp"
    const app = startApplication(pod, (text) => (text.endsWith("\r\n\r\n") ? reply : ""))
    const client = await agent.connect()
    expect(await subscribe(client, stealMatching(app.port, header("x-user: me")))).toBe("Ok")
    const caller = await call(pod, pod.ip4, app.port)
    caller.send("GET / HTTP/1.1\r\nHost: app\r\n\r\n")
    await caller.until("app")
    expect(caller.got).toBe(reply.replace("\r\n\r\n", "\r\nmirrord-agent: passed-through\r\n\r\n"))
    caller.send("GET / HTTP/1.1\r\nHost: app\r\nX-User: me\r\n\r\n")
    client.send(answer((await stolenRequest(client)).connectionId, "mine"))
    await caller.until("mine")
    expect(caller.got).toContain("\r\nmirrord-agent: forwarded-to-client\r\n")
    caller.end()
    client.link.close()
    app.stop()
  })

  test("in HTTP/2", async () => {
    const client = await agent.connect()
    expect(await subscribe(client, stealMatching(http2Port, header("x-user: me")))).toBe("Ok")
    const child = pod.inCaller(() =>
      Bun.spawn(["node", "-e", caller, pod.ip4], { stdio: ["ignore", "pipe", "inherit"] }),
    )
    client.send(answer((await stolenRequest(client)).connectionId, "mine"))
    expect(JSON.parse(await new Response(child.stdout).text())).toMatchObject([
      { "mirrord-agent": "forwarded-to-client", "cache-control": "no-cache, no-store, must-revalidate" },
      { "mirrord-agent": "passed-through", "cache-control": "max-age=60" },
    ])
    client.link.close()
  })
})
