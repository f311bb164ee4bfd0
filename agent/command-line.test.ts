import { expect, test } from "bun:test"
import { readCommandLine } from "./command-line.ts"

const words = (line: string) => line.split(" ")

test.each([
  [
    "-l 31000 -t 60 targeted --container-id abc --container-runtime cri-o",
    {
      mode: { kind: "targeted", containerId: "abc", runtime: "cri-o" },
      listen: { kind: "tcp", port: 31000 },
      firstClientSeconds: 60,
    },
  ],
  ["-l 1 -t 2 ephemeral", { mode: { kind: "ephemeral" } }],
  ["-l 1 -t 2 ephemeral --mesh istio", { mode: { kind: "ephemeral" } }],
  ["targetless", { mode: { kind: "targetless" }, listen: { kind: "tcp", port: 61337 }, firstClientSeconds: 30 }],
  ["targeted -c abc", { mode: { kind: "targeted", containerId: "abc", runtime: "containerd" } }],
  [
    "--ipv6 --metrics 0.0.0.0:9000 --clean-iptables-on-start targetless",
    { metricsAddress: "0.0.0.0:9000", cleanRulesOnStart: true },
  ],
  ["--is-mesh targeted -c abc --mesh linkerd", { inServiceMesh: true }],
  [
    "--listen unix:/run/agent.sock process --pid 12",
    { mode: { kind: "process", pid: 12 }, listen: { kind: "unix", path: "/run/agent.sock" } },
  ],
])("%s", (line, expected) => {
  expect(readCommandLine(words(line))).toMatchObject(expected as object)
})

test.each([
  ["", "no mode given"],
  ["blackbox", 'unknown mode "blackbox"'],
  ["-l 65536 targetless", "a number up to 65535"],
  ["-l", "argument missing"],
  ["--bogus targetless", "bogus"],
  ["targeted", "needs --container-id"],
  ["targeted -c ../../etc", "needs --container-id"],
  ["targeted -c abc -r rkt", 'unknown runtime "rkt"'],
  ["targetless -l 80", "-l"],
  ["process", "--pid takes a number"],
  ["--listen tcp:1 targetless", "unix:<path>"],
  ["--metrics 9000 targetless", "--metrics takes <ip:port>"],
])("%p is refused with exit code 2", (line, reason) => {
  expect(() => readCommandLine(line === "" ? [] : words(line))).toThrow(
    expect.objectContaining({ code: "bad-command-line", exitCode: 2, message: expect.stringContaining(reason) }),
  )
})
