/** A pod with an agent in reach, and somebody outside who can call it; in namespaces of this machine or in a real cluster. */
export interface Stage {
  /** For people: where the pod is. */
  place: string
  /** Options of `podside exec` that lead to the pod. */
  options: string[]
  env: Record<string, string>
  /** A variable of the pod and its value. */
  variable: { name: string; value: string }
  /** A file of the pod, and what it holds. */
  file: { path: string; content: string }
  /** Calls the pod's port 8080 from another place of its network, and gives the body. */
  visit(path: string, headers?: Record<string, string>): Promise<string>
  /** For people: what stays on purpose, and how it is removed. */
  stays?: string
  /** Ends everything; resolves with what is left behind, which should be nothing. */
  stop(): Promise<string[]>
}

/** Name and port of another service, as the pod's own code would say it. */
export const backend = { name: "backend", url: "http://backend:8080/" }
export const podPort = 8080
/** The name the pod's own program gives in its answers. */
export const podName = "web"
