import { describe, expect, test } from "bun:test"
import { readFileSync } from "node:fs"
import { basename, join, normalize } from "node:path"

/* The walls of CONTRIBUTING.md, and the habits that can be checked by reading. */

const root = join(import.meta.dir, "..")
const files = [
  ...new Bun.Glob("{core,agent,plugins,config,test}/**/*.{ts,mjs}").scanSync({ cwd: root }),
  "build.ts",
].sort()
const isTest = (path: string) => path.startsWith("test/") || path.endsWith(".test.ts")

/** Files directly in core/ that everybody may use; the roles' own beginnings are not among them. */
const shared = /^core\/(?!main\.ts)[^/]+\.ts$/

interface Wall {
  name: string
  inside: RegExp
  /** What code may import of the project. */
  may: readonly RegExp[]
  /** What it may besides import as a type. */
  mayAsType?: readonly RegExp[]
  /** What it may besides load when it comes to that, by `import()`. */
  mayLate?: readonly RegExp[]
}

/** The first wall a file stands behind counts. */
const walls: readonly Wall[] = [
  { name: "core/main.ts and build.ts", inside: /^(core\/main\.ts|build\.ts)$/, may: [/./] },
  { name: "the plugin list", inside: /^plugins\/index\.ts$/, may: [shared, /^plugins\/[^/]+\/plugin\.ts$/] },
  {
    name: "core/cli",
    inside: /^core\/cli\//,
    may: [shared, /^core\/cli\//, /^package\.json$/],
    mayLate: [/^core\/client\/commands\//],
  },
  { name: "core/host", inside: /^core\/host\//, may: [shared, /^core\/host\//, /^core\/client\/engine\.ts$/] },
  { name: "core/protocol", inside: /^core\/protocol\//, may: [/^core\/errors\.ts$/, /^core\/protocol\//] },
  {
    name: "core/link",
    inside: /^core\/link\//,
    may: [/^core\/(link|errors|log)\.ts$/, /^core\/link\//, /^core\/protocol\//],
  },
  { name: "core/linux", inside: /^core\/linux\//, may: [/^core\/errors\.ts$/, /^core\/linux\//] },
  { name: "core/kube", inside: /^core\/kube\//, may: [shared, /^core\/kube\//, /^core\/link\//] },
  {
    name: "core/operator",
    inside: /^core\/operator\//,
    may: [shared, /^core\/(operator|kube|link|protocol)\//, /^core\/cli\/version\.ts$/, /^config\//],
  },
  {
    name: "core/client",
    inside: /^core\/client\//,
    may: [shared, /^core\/(client|kube|link|protocol|host|cli)\//, /^config\//],
  },
  {
    name: "the contracts in core/",
    inside: /^core\/[^/]+\.ts$/,
    may: [shared, /^core\/host\//],
    mayAsType: [/^core\//],
  },
  {
    name: "agent",
    inside: /^agent\//,
    may: [shared, /^agent\//, /^core\/(protocol|link|linux)\//],
  },
  {
    name: "config",
    inside: /^config\//,
    may: [/^core\/(errors|target|nearest|json-path)\.ts$/, /^config\//, /^package\.json$/],
    mayAsType: [/^core\//],
  },
  {
    name: "plugins",
    inside: /^plugins\//,
    may: [shared, /^core\/linux\//, /^core\/client\/engine\.ts$/],
    mayAsType: [/^core\//],
  },
]

interface Import {
  target: string
  isType: boolean
  isLate: boolean
}

/** Relative imports of a file as paths from the root. */
function importsOf(path: string): Import[] {
  const text = readFileSync(join(root, path), "utf8")
  const pattern =
    /^(?:import|export)\b(\s+type\b)?[^;'"]*?from\s+["'](\.[^"']+)["']|\bimport\(\s*["'](\.[^"']+)["']\s*\)/gm
  return [...text.matchAll(pattern)].map(([, isType, fixed, dynamic]) => ({
    target: normalize(join(path, "..", (fixed ?? dynamic) as string)),
    isType: isType !== undefined,
    isLate: dynamic !== undefined,
  }))
}

describe("walls", () => {
  test.each(
    walls.filter(({ inside }) => files.some((path) => inside.test(path))).map((wall) => [wall.name, wall] as const),
  )("%s imports only what it may", (_, wall) => {
    const behind = files.filter((path) => !isTest(path) && walls.find(({ inside }) => inside.test(path)) === wall)
    const breaches = behind.flatMap((path) =>
      importsOf(path)
        .filter(({ target, isType, isLate }) => {
          const own = path.startsWith("plugins/") && target.startsWith(`${path.split("/").slice(0, 2).join("/")}/`)
          const allowed = [
            ...wall.may,
            ...(isType ? (wall.mayAsType ?? []) : []),
            ...(isLate ? (wall.mayLate ?? []) : []),
          ]
          return !own && !allowed.some((pattern) => pattern.test(target))
        })
        .map(({ target }) => `${path} -> ${target}`),
    )
    expect(breaches).toEqual([])
  })

  test("every file stands behind a wall", () => {
    expect(files.filter((path) => !isTest(path) && !walls.some(({ inside }) => inside.test(path)))).toEqual([])
  })
  test("core and agent never reach for the tests", () => {
    const breaches = files.filter(
      (path) => !isTest(path) && importsOf(path).some(({ target }) => target.startsWith("test/")),
    )
    expect(breaches).toEqual([])
  })
  test("the engine's rooms stand on each other, and none reaches for one beside or above it", () => {
    const engine = "plugins/interception/client/"
    const below: Record<string, readonly string[]> = {
      kernel: [],
      launch: ["kernel"],
      watch: ["kernel"],
      files: ["kernel", "watch"],
      network: ["kernel", "watch"],
    }
    const roomOf = (path: string) => (path.startsWith(engine) ? path.slice(engine.length).split("/").at(-2) : undefined)
    const breaches = files
      .filter((path) => !isTest(path))
      .flatMap((path) =>
        importsOf(path).map(({ target }) => ({ path, target, from: roomOf(path), to: roomOf(target) })),
      )
      .filter(({ from, to }) => from !== undefined && to !== undefined && from !== to && !below[from]?.includes(to))
    expect(breaches.map(({ path, target }) => `${path} -> ${target}`)).toEqual([])
    expect(new Set(files.map(roomOf).filter((room) => room !== undefined))).toEqual(new Set(Object.keys(below)))
  })
  test("only core/main.ts knows the plugin list and the agent", () => {
    const isInner = (target: string) => target === "plugins/index.ts" || target.startsWith("agent/")
    const knowing = files.filter((path) => !isTest(path) && !path.startsWith("agent/"))
    expect(knowing.filter((path) => importsOf(path).some(({ target }) => isInner(target)))).toEqual(["core/main.ts"])
  })
  test("the agent knows no Kubernetes, the operator and the client no system calls", () => {
    const uses = (folder: string, module: string) =>
      files.filter(
        (path) =>
          path.startsWith(folder) &&
          !isTest(path) &&
          readFileSync(join(root, path), "utf8").includes(`from "${module}`),
      )
    expect(uses("agent/", "@kubernetes/")).toEqual([])
    expect(uses("core/operator/", "bun:ffi")).toEqual([])
    expect(uses("core/client/", "bun:ffi")).toEqual([])
    expect(uses("core/protocol/", "node:")).toEqual([])
  })
})

describe("habits", () => {
  test("files are named in kebab-case, and none is a drawer for odds and ends", () => {
    const odd = files.filter((path) => !/^_?[a-z0-9]+(-[a-z0-9]+)*(\.(test|worker))?\.(ts|mjs)$/.test(basename(path)))
    expect(odd).toEqual([])
    expect(files.filter((path) => /(^|[-/])(utils?|helpers?|managers?|misc|common)\b/.test(path))).toEqual([])
  })

  test("imports name files with their ending", () => {
    const missing = files.flatMap((path) =>
      importsOf(path)
        .filter(({ target }) => !/\.(ts|mjs|json|txt|yaml)$/.test(target))
        .map(({ target }) => `${path} -> ${target}`),
    )
    expect(missing).toEqual([])
  })

  test("a plugin is a folder with plugin.ts, and none is an empty shell", () => {
    const folders = new Set(
      files.filter((path) => /^plugins\/[^/]+\//.test(path)).map((path) => path.split("/")[1] as string),
    )
    for (const folder of folders) expect(files).toContain(`plugins/${folder}/plugin.ts`)
  })

  test("nothing depends on the machine it was written on", () => {
    // Spelled in pieces, so that this file does not find itself.
    const forbidden = [
      ["/wo", "rk/"],
      ["../sha", "red/"],
      ["/root", "/"],
      ["registry.", "npmjs"],
      ["TO", "DO"],
      ["FIX", "ME"],
    ].map((parts) => parts.join(""))
    const documents = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "package.json", "package-lock.json"]
    const others = [
      ...new Bun.Glob("{core,agent,plugins,config,test}/**/*.{md,yaml,yml,json,toml,sh,go}").scanSync({ cwd: root }),
    ]
    const found = [...files, ...documents, ...others].flatMap((path) => {
      const text = readFileSync(join(root, path), "utf8")
      return forbidden.filter((word) => text.includes(word)).map((word) => `${path}: ${word}`)
    })
    expect(found).toEqual([])
  })
})
