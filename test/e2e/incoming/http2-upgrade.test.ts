import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import {
  encodeFrame,
  encodeHeaders,
  FrameReader,
  flags,
  frameTypes,
  preface,
} from "../../../agent/incoming/http2/frames.ts"
import { encodeStateless, HpackDecoder } from "../../../agent/incoming/http2/hpack.ts"
import type { TestClient } from "../../../agent/test-agent.ts"
import { type AgentProcess, startAgentProcess } from "./agent-process.ts"
import { answer, header, stealMatching, stolen, stolenRequest, subscribe } from "./kit.ts"
import { makePod, type Pod, whyNoPods } from "./pod.ts"

const reason = whyNoPods() ?? (Bun.which("curl") ? undefined : "curl is missing")
if (reason) console.warn(`SKIPPED: HTTP/2 after an upgrade: ${reason}`)

/** What one connection of the application has become. */
interface Conversation {
  input: Buffer
  /** Set once it has been upgraded. */
  frames?: FrameReader
  decoder: HpackDecoder
  prefaceLeft: number
}

/** A server with HTTP/1.1 that agrees to go on with HTTP/2 (RFC 7540, section 3.2), unless the path begins with "/old". */
function startUpgrading(pod: Pod) {
  const seen: string[] = []
  const listener = pod.inPod(() =>
    Bun.listen<Conversation>({
      hostname: "0.0.0.0",
      port: 0,
      socket: {
        binaryType: "buffer",
        open(socket) {
          socket.data = { input: Buffer.alloc(0), decoder: new HpackDecoder(), prefaceLeft: preface.length }
        },
        data(socket, bytes) {
          const state = socket.data
          if (state.frames) {
            const skipped = Math.min(state.prefaceLeft, bytes.length)
            state.prefaceLeft -= skipped
            socket.write(answerFrames(state, state.frames.feed(bytes.subarray(skipped)), seen))
            return
          }
          state.input = Buffer.concat([state.input, bytes])
          const end = state.input.indexOf("\r\n\r\n")
          if (end === -1) return
          const head = state.input.toString("latin1", 0, end)
          const path = head.split(" ")[1]!
          state.input = state.input.subarray(end + 4)
          seen.push(`1.1 ${path}`)
          if (!/^upgrade: h2c$/im.test(head) || path.startsWith("/old")) {
            socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${path.length + 4}\r\n\r\napp ${path}`)
            return
          }
          state.frames = new FrameReader()
          socket.write(
            Buffer.concat([
              Buffer.from("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"),
              encodeFrame(frameTypes.settings, 0, 0),
              response(1, `app ${path}`),
            ]),
          )
        },
      },
    }),
  )
  return { port: listener.port, seen, stop: () => listener.stop(true) }
}

function answerFrames({ decoder }: Conversation, frames: ReturnType<FrameReader["feed"]>, seen: string[]): Buffer {
  const out = frames.map((frame) => {
    if (frame.type === frameTypes.settings && !(frame.flags & flags.ack))
      return encodeFrame(frameTypes.settings, flags.ack, 0)
    if (frame.type !== frameTypes.headers) return Buffer.alloc(0)
    const block = frame.flags & flags.priority ? frame.payload.subarray(5) : frame.payload
    const path = decoder.decode(block)?.find(([name]) => name === ":path")?.[1]
    seen.push(`2 ${path}`)
    return response(frame.stream, `app ${path}`)
  })
  return Buffer.concat(out)
}

const response = (stream: number, text: string) =>
  Buffer.concat([
    encodeHeaders(stream, encodeStateless([[":status", "200"]]), false, 16_384),
    encodeFrame(frameTypes.data, flags.endStream, stream, Buffer.from(text)),
  ])

describe.skipIf(reason !== undefined)("HTTP/2 after an upgrade from HTTP/1.1", () => {
  let pod: Pod
  let agent: AgentProcess
  let app: ReturnType<typeof startUpgrading>

  beforeAll(async () => {
    pod = await makePod()
    app = startUpgrading(pod)
    agent = await startAgentProcess(pod.pid)
  }, 120_000)

  afterAll(async () => {
    await agent?.stop()
    app?.stop()
    pod?.close()
  }, 120_000)

  /** Requests one after the other on one connection; those that begin with "/mine" carry the header of the filter. */
  async function curl(...paths: string[]): Promise<string> {
    const requests = paths.flatMap((path) => [
      ...["--next", "-s", "--max-time", "30", "--http2", "-w", " %{http_version} %{num_connects}\n"],
      ...(path.startsWith("/mine") ? ["-H", "x-user: me"] : []),
      `http://${pod.ip4}:${app.port}${path}`,
    ])
    const child = pod.inCaller(() =>
      Bun.spawn(["curl", ...requests.slice(1)], { stdio: ["ignore", "pipe", "inherit"] }),
    )
    return new Response(child.stdout).text()
  }

  async function stealing(run: (client: TestClient) => Promise<void>): Promise<void> {
    const client = await agent.connect()
    expect(await subscribe(client, stealMatching(app.port, header("^x-user: me$")))).toBe("Ok")
    app.seen.length = 0
    try {
      await run(client)
    } finally {
      client.link.close()
      await client.link.ended
    }
  }

  test("claimed requests go to the client, others to the application, all on one connection", async () => {
    await stealing(async (client) => {
      const calling = curl("/first", "/mine/a", "/second", "/mine/b", "/third")
      for (const path of ["/mine/a", "/mine/b"]) {
        const request = await stolenRequest(client)
        expect([request.request.version, request.request.uri]).toEqual([
          "HTTP/2.0",
          `http://${pod.ip4}:${app.port}${path}`,
        ])
        client.send(answer(request.connectionId, `client ${path}`))
        expect((await stolen(client)).kind).toBe("Close")
      }
      expect((await calling).trim().split("\n")).toEqual([
        "app /first 2 1",
        "client /mine/a 2 0",
        "app /second 2 0",
        "client /mine/b 2 0",
        "app /third 2 0",
      ])
      expect(app.seen).toEqual(["1.1 /first", "2 /second", "2 /third"])
    })
  })

  test("an application that does not agree goes on with HTTP/1.1", async () => {
    await stealing(async (client) => {
      const calling = curl("/old/a", "/mine", "/old/b")
      const { connectionId, request } = await stolenRequest(client)
      expect([request.version, request.headers.get("upgrade")]).toEqual(["HTTP/1.1", ["h2c"]])
      client.send(answer(connectionId, "client /mine"))
      expect((await calling).trim().split("\n")).toEqual(["app /old/a 1.1 1", "client /mine 1.1 0", "app /old/b 1.1 0"])
    })
  })

  test("copies are made of the requests before and after it", async () => {
    const client = await agent.connect()
    const subscription = { kind: "PortSubscribeFilteredHttp", value: [app.port, header("user-agent: curl")] }
    expect(await subscribe(client, { kind: "Tcp", value: subscription as never })).toBe("Ok")
    expect((await curl("/one", "/two")).trim().split("\n")).toEqual(["app /one 2 1", "app /two 2 0"])
    expect((await stolenRequest(client, "Tcp")).request.uri).toBe("/one")
    await stolen(client, "Tcp")
    expect((await stolenRequest(client, "Tcp")).request.uri).toBe(`http://${pod.ip4}:${app.port}/two`)
    client.link.close()
    await client.link.ended
  })
})
