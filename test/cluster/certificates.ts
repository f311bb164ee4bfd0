import { afterAll, beforeAll } from "bun:test"
import { objectsOf, program } from "./programs.ts"
import { lastLines, must, run } from "./run.ts"
import type { TestCluster } from "./use.ts"

/**
 * A cert-manager for the tests of one file: a process on this machine, and its kinds in the cluster. It stands before what
 * needs it.
 */
export function useCertManager(cluster: TestCluster): void {
  let stop = async () => {}
  const admin = () => ({ env: { KUBECONFIG: cluster.kubeconfig } })

  beforeAll(
    async () => {
      if (!cluster.available) return
      // By the server: a client would copy each into an annotation, for which some are too large.
      await must(["kubectl", "apply", "--server-side", "-f", await objectsOf("cert-manager")], admin())
      stop = start(await program("cert-manager"), cluster.kubeconfig)
    },
    { timeout: 120_000 },
  )

  afterAll(
    async () => {
      if (!cluster.available) return
      await stop()
      const objects = await objectsOf("cert-manager")
      await run(["kubectl", "delete", "--ignore-not-found", "--wait=false", "-f", objects], admin())
    },
    { timeout: 60_000 },
  )
}

/** It ends with its standard input, which a killed test closes. Ended by itself it says why. */
function start(file: string, kubeconfig: string) {
  const child = Bun.spawn([file], {
    env: { ...process.env, KUBECONFIG: kubeconfig },
    stdin: "pipe",
    stdout: "ignore",
    stderr: "pipe",
  })
  let said = ""
  let isStopped = false
  void (async () => {
    const decoder = new TextDecoder()
    for await (const chunk of child.stderr) said = (said + decoder.decode(chunk, { stream: true })).slice(-8000)
    if (!isStopped) process.stderr.write(`cert-manager has ended:\n${lastLines(said, 15)}\n`)
  })()
  return async () => {
    isStopped = true
    child.stdin.end()
    await child.exited
  }
}
