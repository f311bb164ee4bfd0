import { existsSync } from "node:fs"
import { AppError, errorText } from "../../core/errors.ts"

/*
 * What a container's runtime knows of it, where the node's /run is mounted into the agent: the second way to its main process (the
 * first are the cgroups), and the environment it was started with, which the process itself may have overwritten (nginx writes its
 * title there). containerd and CRI-O speak CRI v1 (gRPC over HTTP/2), Docker HTTP.
 */

export interface KnownContainer {
  /** Main process. */
  pid: number
  /** Empty when the runtime does not tell. */
  environment: ReadonlyMap<string, string>
}

const sockets: Record<string, readonly string[]> = {
  docker: ["/host/run/docker.sock", "/host/var/run/docker.sock"],
  containerd: [
    "/host/run/containerd/containerd.sock",
    "/host/run/dockershim.sock",
    "/host/run/k3s/containerd/containerd.sock",
    "/host/var/snap/microk8s/common/run/containerd.sock",
    "/host/run/k0s/containerd.sock",
  ],
  "cri-o": ["/host/run/crio/crio.sock"],
}

const answerMilliseconds = 5000
/** Of a container's status; larger ones are refused. */
const maxAnswerBytes = 16 * 1024 * 1024

/** The runtime's sockets that are there. */
export function runtimeSockets(runtime: string): string[] {
  return (sockets[runtime] ?? []).filter((path) => existsSync(path))
}

/** A container as its runtime knows it. @throws AppError "runtime-failed" */
export async function askRuntime(runtime: string, socketPath: string, containerId: string): Promise<KnownContainer> {
  try {
    const { pid, variables } =
      runtime === "docker" ? await askDocker(socketPath, containerId) : await askCri(socketPath, containerId)
    if (!Number.isSafeInteger(pid) || pid <= 0) throw new Error("it tells no process")
    return { pid, environment: environmentOf(variables) }
  } catch (cause) {
    throw new AppError(
      "runtime-failed",
      `${runtime} does not tell the process of ${containerId}: ${errorText(cause)}`,
      {
        cause,
        next: "Check that the container still runs and that the named runtime is the node's.",
      },
    )
  }
}

/** As the runtimes write it: a list of "NAME=value". */
function environmentOf(variables: unknown): Map<string, string> {
  const entries = Array.isArray(variables) ? variables : []
  return new Map(
    entries.flatMap((entry: unknown) => {
      const at = typeof entry === "string" ? entry.indexOf("=") : -1
      return at < 0 ? [] : [[(entry as string).slice(0, at), (entry as string).slice(at + 1)] as const]
    }),
  )
}

async function askDocker(unix: string, containerId: string): Promise<{ pid: number; variables: unknown }> {
  const url = `http://localhost/containers/${encodeURIComponent(containerId)}/json`
  const answer = await fetch(url, { unix, signal: AbortSignal.timeout(answerMilliseconds) })
  if (!answer.ok) throw new Error(`status ${answer.status}`)
  const { State, Config } = (await answer.json()) as { State?: { Pid?: unknown }; Config?: { Env?: unknown } }
  return { pid: Number(State?.Pid), variables: Config?.Env }
}

/** The parts that are read of the JSON text under `info`. */
interface CriInfo {
  pid?: unknown
  /** As the runtime's own runtime got it: the OCI specification of the container. */
  runtimeSpec?: { process?: { env?: unknown } }
}

/** CRI tells this in its verbose information only; the process as `pid`, or inside the JSON text under `info`. */
async function askCri(socketPath: string, containerId: string): Promise<{ pid: number; variables: unknown }> {
  // message ContainerStatusRequest { string container_id = 1; bool verbose = 2; }
  const id = Buffer.from(containerId)
  const request = Buffer.concat([Buffer.from([0x0a, id.length]), id, Buffer.from([0x10, 1])])
  const response = await call(socketPath, "/runtime.v1.RuntimeService/ContainerStatus", request)
  // message ContainerStatusResponse { ContainerStatus status = 1; map<string, string> info = 2; }
  const info = new Map<string, string>()
  for (const { field, bytes } of fields(response)) {
    if (field !== 2) continue
    const [key, value] = [1, 2].map(
      (wanted) =>
        fields(bytes)
          .find((each) => each.field === wanted)
          ?.bytes.toString() ?? "",
    )
    info.set(key!, value!)
  }
  const detail = JSON.parse(info.get("info") ?? "{}") as CriInfo
  return { pid: Number(info.get("pid") ?? detail.pid), variables: detail.runtimeSpec?.process?.env }
}

/** One unary gRPC call: a message with a prefix of one flag byte and its length as u32 big-endian. */
async function call(socketPath: string, path: string, message: Buffer): Promise<Buffer> {
  // Few agents need them.
  const [{ connect: connectHttp2 }, { connect }] = await Promise.all([import("node:http2"), import("node:net")])
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>()
  const session = connectHttp2("http://localhost", { createConnection: () => connect(socketPath) })
  const timer = setTimeout(() => reject(new Error("no answer in time")), answerMilliseconds)
  session.on("error", reject)
  const stream = session.request({
    ":method": "POST",
    ":path": path,
    "content-type": "application/grpc",
    te: "trailers",
  })
  const prefix = Buffer.alloc(5)
  prefix.writeUInt32BE(message.length, 1)
  const received: Buffer[] = []
  let bytes = 0
  let status: string | undefined
  stream.on("error", reject)
  stream.on("response", (headers) => (status = headers["grpc-status"] as string | undefined))
  stream.on("trailers", (headers) => (status = headers["grpc-status"] as string | undefined))
  stream.on("data", (chunk: Buffer) => {
    received.push(chunk)
    bytes += chunk.length
    if (bytes > maxAnswerBytes) reject(new Error("its answer is too long"))
  })
  stream.on("end", () => {
    if (status !== undefined && status !== "0") reject(new Error(`gRPC status ${status}`))
    else resolve(Buffer.concat(received).subarray(5))
  })
  stream.end(Buffer.concat([prefix, message]))
  return promise.finally(() => {
    clearTimeout(timer)
    session.destroy()
  })
}

/** Length-delimited fields of a protobuf message; numbers are passed over. @throws RangeError */
function fields(message: Buffer): { field: number; bytes: Buffer }[] {
  const found: { field: number; bytes: Buffer }[] = []
  let at = 0
  const varint = () => {
    let value = 0
    for (let scale = 1; ; scale *= 128) {
      const byte = message.readUInt8(at++)
      value += (byte & 0x7f) * scale
      if (byte < 0x80) return value
    }
  }
  while (at < message.length) {
    const key = varint()
    const wireType = key % 8
    if (wireType === 0) varint()
    else if (wireType === 1) at += 8
    else if (wireType === 5) at += 4
    else if (wireType !== 2) throw new RangeError("unknown wire type")
    else {
      const length = varint()
      if (at + length > message.length) throw new RangeError("field reaches beyond the message")
      found.push({ field: Math.floor(key / 8), bytes: message.subarray(at, at + length) })
      at += length
    }
  }
  return found
}
