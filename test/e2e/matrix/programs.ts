import { copyFileSync } from "node:fs"
import { join } from "node:path"
import { run } from "../../cluster/run.ts"

/** A program of this machine, ready to run, that knows nothing of podside. */
export interface Program {
  name: string
  /** Undefined where it cannot be had; `lack` says why. */
  command?: string[]
  lack?: string
  /** What of the features it shows; a shell has no server, curl little more than its calls. */
  shows: "all" | "no server" | "calls"
}

const sources = join(import.meta.dir, "programs")
const buildSeconds = 300
/** Only programs that any user of the machine may run. */
const systemPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/** Copies or builds every program of the matrix into `folder`. */
export async function preparePrograms(folder: string): Promise<Program[]> {
  const copied = (name: string) => {
    copyFileSync(join(sources, name), join(folder, name))
    return join(folder, name)
  }
  const installed = (name: string, program: string, words: (path: string) => string[], shows: Program["shows"]) => {
    const path = Bun.which(program, { PATH: systemPath })
    return path ? { name, shows, command: words(path) } : { name, shows, lack: `there is no ${program}` }
  }
  const built = async (name: string, compiler: string, words: string[], command: string[], env = {}) => {
    const path = Bun.which(compiler)
    if (!path) return { name, shows: "all" as const, lack: `there is no ${compiler}` }
    const { code, stderr } = await run([path, ...words], { env, cwd: sources, timeoutSeconds: buildSeconds })
    if (code === 0) return { name, shows: "all" as const, command: [...command, name] }
    return { name, shows: "all" as const, lack: `${compiler} failed: ${stderr.trim().slice(-200)}` }
  }
  const goSource = join(sources, "go/main.go")
  const out = (name: string) => join(folder, name)
  const bun = out("bun")
  copyFileSync(process.execPath, bun)
  const script = copied("probe.mjs")
  const python = copied("probe.py")
  const shell = copied("probe.sh")
  return [
    installed("curl", "curl", (path) => [path, "-sS", "file:///data/plain.txt", "http://backend:8080/"], "calls"),
    installed("bash", "bash", (path) => [path, shell], "no server"),
    installed("python", "python3", (path) => [path, python, "python"], "all"),
    installed("node", "node", (path) => [path, script, "node"], "all"),
    { name: "bun", shows: "all", command: [bun, script, "bun"] },
    await built("go-static", "go", ["build", "-o", out("go-static"), goSource], [out("go-static")], {
      CGO_ENABLED: "0",
    }),
    await built("go-cgo", "go", ["build", "-tags", "netcgo", "-o", out("go-cgo"), goSource], [out("go-cgo")], {
      CGO_ENABLED: "1",
    }),
    await built("java", "javac", ["-d", folder, "Probe.java"], ["/usr/bin/env", "java", "-cp", folder, "Probe"]),
    await built("c-glibc", "gcc", ["-o", out("c-glibc"), "probe.c"], [out("c-glibc")]),
    await built(
      "c-musl-static",
      "musl-gcc",
      ["-static", "-o", out("c-musl-static"), "probe.c"],
      [out("c-musl-static")],
    ),
  ]
}
