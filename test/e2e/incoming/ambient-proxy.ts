import { within } from "../../../agent/test-agent.ts"
import { check } from "../../../core/linux/errno.ts"
import { syscall } from "../../../core/linux/syscall.ts"
import { startApplication, type TestApplication } from "./kit.ts"
import type { Pod } from "./pod.ts"

/* Istio's ztunnel, as far as its connections to the application show: they come from inside the pod with the caller's address and a mark. */

const proxyMark = 0x539
const SOL_SOCKET = 1
const SO_MARK = 36
const SOL_IP = 0
const IP_TRANSPARENT = 19

/** What Istio's CNI sets up besides rules: marked packets to addresses elsewhere stay in the pod. */
export function letAnswersReachTheProxy(pod: Pod): void {
  pod.inPod(() => {
    ip("rule", "add", "fwmark", "0x111/0xfff", "pref", "32764", "lookup", "100")
    ip("route", "add", "local", "0.0.0.0/0", "dev", "lo", "table", "100")
  })
}

/** Answers whatever reaches it, also what was not sent to its address: as TPROXY hands it over. */
export function startTransparentProxy(pod: Pod, port: number): TestApplication {
  const fd = pod.inPod(() => check(syscall("socket", 2, 1 | 0o4000 | 0o2000000, 0), "socket"))
  check(syscall("setsockopt", fd, SOL_IP, IP_TRANSPARENT, new Uint32Array([1]), 4), "transparent")
  check(syscall("bind", fd, address("0.0.0.0", port), 16), "bind")
  check(syscall("listen", fd, 16), "listen")
  return startApplication(pod, (text) => (text === "" ? "" : `proxy: ${text}`), { fd })
}

export async function callAsAmbientProxy(pod: Pod, from: string, to: string, port: number) {
  const fd = pod.inPod(() => check(syscall("socket", 2, 1 | 0o4000 | 0o2000000, 0), "socket"))
  check(syscall("setsockopt", fd, SOL_SOCKET, SO_MARK, new Uint32Array([proxyMark]), 4), "mark")
  check(syscall("setsockopt", fd, SOL_IP, IP_TRANSPARENT, new Uint32Array([1]), 4), "transparent")
  check(syscall("bind", fd, address(from, 0), 16), "bind")
  syscall("connect", fd, address(to, port), 16)
  let got = ""
  let waiting = () => {}
  let unsent = ""
  const socket = await Bun.connect({
    ...({ fd } as unknown as { hostname: string; port: number }),
    socket: {
      data(_, bytes) {
        got += bytes.toString()
        waiting()
      },
      drain(socket) {
        unsent = unsent.slice(Math.max(0, socket.write(unsent)))
      },
      error() {},
    },
  })
  return {
    send(text: string) {
      unsent = text.slice(Math.max(0, socket.write(text)))
    },
    until: (text: string) =>
      within(
        `"${text}" from the application`,
        new Promise<void>((resolve) => {
          waiting = () => got.includes(text) && resolve()
          waiting()
        }),
      ),
    reset: () => void socket.terminate(),
  }
}

function address(text: string, port: number): Buffer {
  const bytes = Buffer.alloc(16)
  bytes.writeUInt16LE(2, 0)
  bytes.writeUInt16BE(port, 2)
  bytes.set(text.split(".").map(Number), 4)
  return bytes
}

function ip(...args: string[]): void {
  const { exitCode, stderr } = Bun.spawnSync(["ip", ...args])
  if (exitCode !== 0) throw new Error(`ip ${args.join(" ")}: ${stderr}`)
}
