import { AppError } from "../../core/errors.ts"

/** A running `kubectl port-forward`. Closes with `await using`. */
export interface Forwarding extends AsyncDisposable {
  /** Port on 127.0.0.1. */
  port: number
  close(): Promise<void>
}

const startSeconds = 20

/** @throws AppError "forward-failed" with what kubectl said */
export async function forward(
  kubeconfig: string,
  namespace: string,
  target: string,
  port: number,
): Promise<Forwarding> {
  const child = Bun.spawn(
    ["kubectl", "--namespace", namespace, "port-forward", "--address", "127.0.0.1", target, `:${port}`],
    { env: { ...process.env, KUBECONFIG: kubeconfig }, stdin: "ignore", stdout: "pipe", stderr: "pipe" },
  )
  const close = async () => {
    child.kill()
    await child.exited
  }
  const timer = setTimeout(() => child.kill(), startSeconds * 1000)
  const local = await announcedPort(child.stdout)
  clearTimeout(timer)
  if (local !== null) return { port: local, close, [Symbol.asyncDispose]: close }
  const error = await new Response(child.stderr).text()
  throw new AppError("forward-failed", `Cannot forward to ${target}: ${error.trim()}`)
}

/** The port kubectl has chosen, or null when it ends without one. Its output is read on: a closed pipe would end it. */
function announcedPort(output: ReadableStream<Uint8Array>): Promise<number | null> {
  return new Promise((resolve) => {
    void (async () => {
      const decoder = new TextDecoder()
      let said = ""
      for await (const chunk of output) {
        said = (said + decoder.decode(chunk, { stream: true })).slice(-1000)
        const found = /Forwarding from 127\.0\.0\.1:(\d+)/.exec(said)
        if (found) resolve(Number(found[1]))
      }
      resolve(null)
    })()
  })
}
