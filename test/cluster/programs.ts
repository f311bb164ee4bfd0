import { createHash } from "node:crypto"
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs"
import { join } from "node:path"
import { AppError } from "../../core/errors.ts"
import { cacheFolder } from "./layout.ts"
import { withLock } from "./lock.ts"
import { lastLines, must } from "./run.ts"

export const kubernetesVersion = "v1.34.4"

interface Program {
  name: string
  version: string
  /** Folder below `programs/` that has the Go source; none: `module` is built as published. */
  source?: string
  module?: string
  linkerFlags: string
  /** YAML files of a module that `source` is built with, kept beside the program as one. */
  objects?: { module: string; files: string }
}

const versionVariable = "k8s.io/component-base/version"
const kubernetes: Program = {
  name: "kubernetes",
  version: kubernetesVersion,
  source: "kubernetes",
  linkerFlags: `-s -w -X ${versionVariable}.gitVersion=${kubernetesVersion} -X ${versionVariable}.gitMajor=1 -X ${versionVariable}.gitMinor=34`,
}
const coredns: Program = { name: "coredns", version: "v1.15.0", source: "coredns", linkerFlags: "-s -w" }
const pause: Program = { name: "pause", version: "v1", source: "pause", linkerFlags: "-s -w" }
const sample: Program = { name: "sample", version: "v1", source: "sample", linkerFlags: "-s -w" }
const helm: Program = {
  name: "helm",
  version: "v3.22.0",
  module: "helm.sh/helm/v3/cmd/helm",
  linkerFlags: "-s -w",
}
const certManager: Program = {
  name: "cert-manager",
  version: "v1.19.4",
  source: "cert-manager",
  linkerFlags: "-s -w",
  objects: { module: "github.com/cert-manager/cert-manager", files: "deploy/crds/cert-manager.io_*.yaml" },
}
const all = { kubernetes, coredns, pause, sample, helm, "cert-manager": certManager }
export type ProgramName = keyof typeof all

const sources = join(import.meta.dir, "programs")

/**
 * The path of a program, built from its Go module when the cache has none of this version and source.
 * @throws AppError "build-failed" with the compiler's last lines
 */
export async function program(name: ProgramName, say: (line: string) => void = () => {}): Promise<string> {
  const wanted = all[name]
  const folder = join(cacheFolder(), "programs")
  const file = fileOf(wanted)
  if (existsSync(file)) return file
  const waiting = () => say(`waiting for another process that builds ${name}`)
  return withLock(join(folder, `${name}.lock`), 2400, waiting, async () => {
    if (!existsSync(file)) await build(wanted, file, say)
    return file
  })
}

/** The file of the objects a program needs in its cluster. @throws as `program` */
export const objectsOf = async (name: ProgramName): Promise<string> => `${await program(name)}.yaml`

/** Whether this machine has them all, so that nothing has to be compiled. */
export const areBuilt = (): boolean => Object.values(all).every((each) => existsSync(fileOf(each)))

function fileOf(wanted: Program): string {
  return join(cacheFolder(), "programs", `${wanted.name}-${wanted.version}-${sourceHash(wanted)}`)
}

function sourceHash(wanted: Program): string {
  const hash = createHash("sha256").update(JSON.stringify([wanted, process.arch]))
  if (wanted.source) {
    const folder = join(sources, wanted.source)
    for (const name of readdirSync(folder).sort()) hash.update(`${name}\0`).update(readFileSync(join(folder, name)))
  }
  return hash.digest("hex").slice(0, 12)
}

async function build(wanted: Program, file: string, say: (line: string) => void): Promise<void> {
  if (!Bun.which("go")) {
    throw new AppError("go-missing", `Building ${wanted.name} needs Go 1.26 or newer`, {
      next: "Install Go, or restore the cache folder of an earlier run.",
    })
  }
  say(`building ${wanted.name} ${wanted.version} (once; kept in ${file})`)
  // Only one build of a program runs at a time, so that whatever lies here was left by one that was killed.
  const partial = join(cacheFolder(), "programs", `.${wanted.name}`)
  rmSync(partial, { recursive: true, force: true })
  mkdirSync(partial, { recursive: true })
  const flags = ["-v", "-trimpath", "-ldflags", wanted.linkerFlags]
  const command = wanted.source
    ? ["go", "build", ...flags, "-o", join(partial, wanted.name), "."]
    : ["go", "install", ...flags, `${wanted.module}@${wanted.version}`]
  try {
    await compile(command, wanted, partial, say)
    if (wanted.objects) await keepObjects(join(sources, wanted.source!), wanted.objects, `${file}.yaml`)
    renameSync(join(partial, wanted.name), file)
  } finally {
    rmSync(partial, { recursive: true, force: true })
  }
}

async function keepObjects(source: string, { module, files }: NonNullable<Program["objects"]>, file: string) {
  const folder = (await must(["go", "list", "-m", "-f", "{{.Dir}}", module], { cwd: source })).trim()
  const paths = [...new Bun.Glob(files).scanSync({ cwd: folder, absolute: true })].sort()
  await Bun.write(file, paths.map((path) => readFileSync(path, "utf8")).join("---\n"))
}

/** After a fault the compiler goes on with whatever does not need the package in question. */
const progressLine = /^(go: downloading .*|[\w.~/-]+)$/

/** The compiler names a package per line when it begins one: counted, they show that it goes on. */
async function compile(command: string[], wanted: Program, output: string, say: (line: string) => void): Promise<void> {
  const started = Date.now()
  const child = Bun.spawn(["nice", "-n", "5", ...command], {
    cwd: wanted.source ? join(sources, wanted.source) : output,
    env: { ...process.env, CGO_ENABLED: "0", GOBIN: output, GOFLAGS: "-buildvcs=false" },
    stdin: "ignore",
    stdout: "ignore",
    stderr: "pipe",
  })
  let lines = 0
  let line = ""
  let said = ""
  const progress = setInterval(() => {
    say(`  ${wanted.name}: ${Math.round((Date.now() - started) / 1000)} s, ${lines} packages or downloads so far`)
  }, 15_000)
  try {
    const decoder = new TextDecoder()
    for await (const chunk of child.stderr) {
      const parts = (line + decoder.decode(chunk, { stream: true })).split("\n")
      line = parts.pop() ?? ""
      lines += parts.length
      for (const part of parts.filter((each) => !progressLine.test(each))) said = `${said}${part}\n`.slice(-8000)
    }
    if ((await child.exited) !== 0) {
      throw new AppError(
        "build-failed",
        `Cannot build ${wanted.name} ${wanted.version}:\n${lastLines(said + line, 15)}`,
        {
          next: "Check the disk space and the connection to the Go module proxy (go env GOPROXY), then run the same command again.",
        },
      )
    }
    say(`built ${wanted.name} in ${Math.round((Date.now() - started) / 1000)} s`)
  } finally {
    clearInterval(progress)
  }
}
