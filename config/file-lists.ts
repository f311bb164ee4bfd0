import { escapePattern } from "./pattern.ts"

/** What the default lists depend on. */
export interface FileListSurroundings {
  /** Home directory; absent when unknown. */
  home?: string
  workingDirectory: string
  temporaryDirectory: string
  /** Path of the running program. */
  executable: string
  platform: "linux" | "darwin"
}

const codeAndLibraries = ["so", "sh", "rb", "d", "pyc", "py", "jar", "class", "js", "pth", "plist"]
  .map((ending) => `.\\.${ending}$`)
  .concat("\\.pdb$", "\\.dll$")

const toolFiles = [
  "venv\\.cfg$",
  ".*(^|/)jvm\\.cfg$",
  "/package\\.json$",
  "/\\.yarnrc$",
  "/\\.yarnrc.yml$",
  "/\\.yarnrc.json$",
  "/node_modules",
  ".*/\\.tool-versions$",
  ".+\\.asdf/.+",
  "clr-.*-pipe-",
]

const systemDirectories = [
  ..."proc sys lib etc usr home bin sbin dev opt tmp var/tmp var/db/timezone/zoneinfo snap run selinux nix".split(" "),
  "home/iojs",
  "home/runner",
].map((directory) => `^/${directory}(/|$)`)

const macDirectories = [
  "^/Volumes(/|$)",
  "^/private(/|$)",
  "^/var/folders(/|$)",
  "^/Users",
  "^/Library",
  "^/Applications",
  "^/System",
  "^/var/run/com.apple",
  "^/Network",
]

/** Read from the pod though their directories are local; writing is not meant. */
export const readRemoteByDefault: readonly string[] = [
  "^/etc/resolv.conf$",
  "^/etc/hosts$",
  "^/etc/hostname$",
  "^/etc/ssl/certs(/|$)",
]

/** The developer's own credentials: neither used locally nor looked for in the pod. */
export function notFoundByDefault({ home }: FileListSurroundings): string[] {
  if (home === undefined) return []
  return [".config/gcloud", ".kube", ".azure"].map((path) => `^${escapePattern(`${home}/${path}`)}`)
}

/** What a program needs of its own machine to start at all. */
export function localByDefault(around: FileListSurroundings): string[] {
  const { home, workingDirectory, temporaryDirectory, executable, platform } = around
  return [
    ...codeAndLibraries,
    ...toolFiles,
    ...systemDirectories,
    "^/Program Files",
    ...(platform === "darwin" ? macDirectories : []),
    `^${escapePattern(temporaryDirectory)}`,
    "^/$",
    ...(workingDirectory === "/" ? [] : [`^${escapePattern(workingDirectory)}(/|$)`]),
    `${escapePattern(executable)}$`,
    ...(home === undefined ? [] : [`^${escapePattern(home)}/\\.`]),
  ]
}
