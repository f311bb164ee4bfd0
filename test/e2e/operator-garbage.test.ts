import { beforeAll, describe, expect, test } from "bun:test"
import { daemonMessage } from "../../core/protocol/index.ts"
import { deployment } from "../cluster/samples/workloads.ts"
import { useCluster } from "../cluster/use.ts"
import { newSessionId, operatorClient, reader } from "./operator/client.ts"
import { useOperator } from "./operator/install.ts"

const cluster = useCluster("garbage")
const installed = useOperator(cluster, { agent: { idleSeconds: 5 } })

/** Numbers of the client's messages without content. */
const ping = 7
const readyForLogs = 11

/** Bytes that are different in every place and the same in every run. */
function noise(length: number, seed: number): Uint8Array {
  let state = seed
  return Uint8Array.from({ length }, () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state >>> 24
  })
}

/** 2^64-1 as the protocol writes it. */
const largest = [253, ...Array<number>(8).fill(255)]

const garbage: [what: string, data: string | Uint8Array][] = [
  ["a text message", "hello"],
  ["an empty message", new Uint8Array(0)],
  ["a message kind there is not", Uint8Array.of(250)],
  ["a message that ends too early", Uint8Array.of(2)],
  ["a length of 2^64-1", Uint8Array.of(6, ...largest)],
  ["2^64-1 where a choice stands", Uint8Array.of(1, ...largest)],
  ["noise of 64 KiB", noise(65_536, 1)],
  ["noise that starts like a message", Uint8Array.of(2, ...noise(4_096, 2))],
]

describe.skipIf(!cluster.available)("the operator's sessions", () => {
  let client: ReturnType<typeof operatorClient>

  beforeAll(async () => {
    await cluster.apply(deployment("web"))
    await cluster.ready("deployment/web")
    client = operatorClient(cluster.kubeconfig)
  }, 120_000)

  const openSession = async (sessionId = newSessionId()) => {
    const link = await client.connect({ namespace: cluster.namespace, target: "deployment.web", sessionId })
    const read = reader(link)
    link.send({ kind: "SwitchProtocolVersion", value: "1.29.0" })
    await read.nextOf("SwitchProtocolVersionResponse")
    const answers = async (withinMs?: number) => {
      link.send({ kind: "GetEnvVarsRequest", value: { envVarsFilter: [], envVarsSelect: ["SAMPLE_NAME"] } })
      const { value } = await read.nextOf("GetEnvVarsResponse", withinMs)
      return value.kind === "Ok" ? value.value.get("SAMPLE_NAME") : undefined
    }
    return { link, read, answers }
  }

  test.each(garbage)(
    "end with %s, each only its own",
    async (_what, data) => {
      const other = await openSession()
      const socket = await client.connectSocket({ namespace: cluster.namespace, target: "deployment.web" })
      const closed = new Promise((resolve) => socket.once("close", (code) => resolve(code)))
      socket.on("error", () => {})
      socket.resume()
      socket.send(data)
      expect(await inTime(closed, 60_000)).toBe(typeof data === "string" ? 1003 : 1002)
      expect(await other.answers()).toBe("web")
      other.link.close()
      expect(await restarts()).toBe(0)
    },
    120_000,
  )

  test("go on with bytes after a whole message, which clients of other versions may send", async () => {
    const socket = await client.connectSocket({ namespace: cluster.namespace, target: "deployment.web" })
    socket.binaryType = "arraybuffer"
    const pong = new Promise((resolve) => {
      socket.on("message", (data: ArrayBuffer) => {
        if (daemonMessage.decode(new Uint8Array(data)).kind === "Pong") resolve("pong")
      })
    })
    socket.resume()
    for (const message of [readyForLogs, ping]) socket.send(Uint8Array.of(message, ...largest))
    expect(await inTime(pong, 10_000)).toBe("pong")
    socket.close()
  }, 120_000)

  async function operatorPods() {
    const { items } = await cluster.get(
      ...["pods", "-n", installed.namespace, "-l", "app.kubernetes.io/name=podside-operator"],
    )
    return items
  }

  async function restarts(): Promise<number> {
    const [pod] = await operatorPods()
    return pod.status.containerStatuses[0].restartCount
  }
})

function inTime<T>(promise: Promise<T>, ms: number): Promise<T> {
  const late = Bun.sleep(ms).then(() => {
    throw new Error(`not within ${ms} ms`)
  })
  return Promise.race([promise, late])
}
