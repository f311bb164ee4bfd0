import { expect, test } from "bun:test"
import { podside, podsideBinary } from "../../binary.ts"
import { startAgentProcess } from "../incoming/agent-process.ts"
import { makePod, whyNoPods } from "../incoming/pod.ts"

const limitMs = 60_000
const reason = whyNoPods()
if (reason) console.warn(`SKIPPED: dump, because ${reason}`)

test.if(!reason)(
  "incoming traffic is printed as it comes, and the pod answers it as ever",
  async () => {
    const pod = await makePod()
    const agent = await startAgentProcess(pod.pid)
    const server = pod.inPod(() =>
      Bun.listen({
        hostname: "0.0.0.0",
        port: 0,
        socket: { data: (socket, bytes) => void socket.end(`heard ${bytes.length}`) },
      }),
    )
    const address = `unix:${agent.socketPath}`
    const words = ["dump", "--agent-address", address, "-t", "pod/any", "-p", `${server.port}`, "--progress", "lines"]
    const child = Bun.spawn([await podsideBinary(), ...words], { stdin: "ignore", stdout: "pipe", stderr: "inherit" })
    let out = ""
    const reading = (async () => {
      for await (const chunk of child.stdout) out += Buffer.from(chunk).toString()
    })()
    const until = async (text: string) => {
      const deadline = performance.now() + 30_000
      while (!out.includes(text)) {
        if (performance.now() > deadline) throw new Error(`it never printed ${text}: ${out}`)
        await Bun.sleep(20)
      }
    }
    try {
      await until(`Listening for traffic on port ${server.port}`)
      const answer = Promise.withResolvers<string>()
      const calling = pod.inCaller(() =>
        Bun.connect({
          hostname: pod.ip4,
          port: server.port,
          socket: { data: (_, bytes) => answer.resolve(bytes.toString()), close: () => answer.resolve("") },
        }),
      )
      const caller = await calling
      caller.write("hello there")
      expect(await answer.promise).toBe("heard 11")
      await until("closed\n")
      expect(out).toMatch(
        new RegExp(
          `## New TCP connection established: Connection ID (\\d+) from 10\\.77\\.0\\.1:\\d+ to 10\\.77\\.0\\.2:${server.port}\\n` +
            "## Connection ID \\1: 11 bytes\\nData: hello there\\n",
        ),
      )
      child.kill("SIGINT")
      expect(await child.exited).toBe(0)
      await reading
    } finally {
      child.kill("SIGKILL")
      server.stop(true)
      await agent.stop()
      pod.close()
    }
  },
  limitMs,
)

test("without a target there is nothing to print", async () => {
  const { code, stderr } = await podside(["dump", "-p", "80"])
  expect([code, stderr.includes("[target-missing]")]).toEqual([2, true])
})
