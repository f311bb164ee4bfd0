import { homedir, tmpdir } from "node:os"
import { escapePattern } from "../pattern.ts"

/*
 * Lists that hold in every mode but `local`, all without regard to case. In order of evaluation: not found, remote when
 * reading, local.
 */

export interface Surroundings {
  home: string
  temporary: string
  cwd: string
  /** Path of the program that runs. */
  executable?: string
}

export function surroundings(executable?: string): Surroundings {
  return { home: homedir(), temporary: tmpdir(), cwd: process.cwd(), executable }
}

/** Credentials of the developer for clusters and clouds: neither used nor looked for in the pod. */
export const notFoundByDefault = ({ home }: Surroundings): string[] =>
  [".config/gcloud", ".kube", ".azure"].map((path) => `^${escapePattern(`${home}/${path}`)}`)

/** Name resolution and trust of the pod. */
export const remoteByDefault: readonly string[] = [
  "^/etc/resolv\\.conf$",
  "^/etc/hosts$",
  "^/etc/hostname$",
  "^/etc/ssl/certs(/|$)",
]

const code = "so sh rb d pyc py jar class js pth plist".split(" ").map((ending) => `.\\.${ending}$`)
const tools = [
  "\\.pdb$",
  "\\.dll$",
  "venv\\.cfg$",
  ".*(^|/)jvm\\.cfg$",
  "/package\\.json$",
  "/\\.yarnrc$",
  "/\\.yarnrc\\.yml$",
  "/\\.yarnrc\\.json$",
  "/node_modules",
  ".*/\\.tool-versions$",
  ".+\\.asdf/.+",
  "clr-.*-pipe-",
]
const folders = [
  ..."proc sys lib etc usr home bin sbin dev opt tmp var/tmp var/db/timezone/zoneinfo snap run selinux nix".split(" "),
  "home/iojs",
  "home/runner",
].map((path) => `^/${path}(/|$)`)
const mac = [
  "^/Volumes(/|$)",
  "^/private(/|$)",
  "^/var/folders(/|$)",
  "^/Users",
  "^/Library",
  "^/Applications",
  "^/System",
  "^/var/run/com\\.apple",
  "^/Network",
]

/** Code, libraries, tools, system folders and the developer's own place. */
export function localByDefault(at: Surroundings, platform: NodeJS.Platform = process.platform): string[] {
  const computed = [`^${escapePattern(at.temporary)}`, "^/$", `^${escapePattern(at.home)}/\\.`]
  if (at.cwd !== "/") computed.push(`^${escapePattern(at.cwd)}(/|$)`)
  if (at.executable) computed.push(`${escapePattern(at.executable)}$`)
  return [...code, ...tools, ...folders, "^/Program Files", ...(platform === "darwin" ? mac : []), ...computed]
}
