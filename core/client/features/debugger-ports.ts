import { readFileSync } from "node:fs"
import { basename } from "node:path"
import { AppError } from "../../errors.ts"

const detectVariable = "MIRRORD_DETECT_DEBUGGER_PORT"
const ignoreVariable = "MIRRORD_IGNORE_DEBUGGER_PORTS"
/** Where Node listens when its options name no port. */
const nodeInspectorPort = 9229
const maxPort = 65_535

type Find = (words: readonly string[], env: Readonly<Record<string, string | undefined>>) => string | undefined

/** How each debugger an IDE starts is told its port; the answers may be addresses, the port is what stands last. */
const finders: Readonly<Record<string, Find>> = {
  debugpy: (words) => (words.some((word) => /debugpy/.test(word)) ? after(words, "--connect", "--listen") : undefined),
  pydevd: (words) => (words.some((word) => /pydevd(\.py)?$/.test(word)) ? after(words, "--port") : undefined),
  resharper: (words) =>
    words.some((word) => basename(word).startsWith("JetBrains.Debugger.Worker"))
      ? wordValue(words, /^--frontend-port=(\d+)$/)
      : undefined,
  javaagent: (words) => wordValue(words.flatMap(optionsInFile), /^-agentlib:jdwp=.*\baddress=([^,]+)/),
  nodeinspector: (words, env) => {
    const options = [...words, ...(env["NODE_OPTIONS"] ?? "").split(/\s+/)]
    const option = options.find((word) => /^--inspect(-brk|-wait)?(=|$)/.test(word))
    if (option !== undefined) return option.split("=")[1] ?? String(nodeInspectorPort)
    // What VS Code tells processes that attach themselves to its debugger.
    return /"inspectorURL"\s*:\s*"\w+:\/\/[^/"]*?:(\d+)/.exec(env["NODE_INSPECTOR_INFO"] ?? "")?.[1]
  },
}

/**
 * Ports of this machine's loopback that belong to a debugger, as IDEs announce them: their traffic stays here.
 * @throws AppError "bad-debugger-ports"
 */
export function debuggerPorts(
  words: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): ReadonlySet<number> {
  const ports = announced(env[ignoreVariable] ?? "")
  const kind = env[detectVariable]?.toLowerCase()
  const found = kind === undefined ? undefined : finders[kind]?.(words, env)
  const port = Number(/(\d+)$/.exec(found ?? "")?.[1] ?? 0)
  if (port > 0 && port <= maxPort) ports.add(port)
  return ports
}

/** `a`, `a-b`, separated by commas; IDEs announce all high ports: `35000-65535`. */
function announced(text: string): Set<number> {
  const ports = new Set<number>()
  for (const part of text.split(",").map((each) => each.trim())) {
    if (part === "") continue
    const [, first = "", last = first] = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(part) ?? []
    if (first === "" || Number(last) > maxPort) {
      throw new AppError("bad-debugger-ports", `${ignoreVariable} has "${part}", which is no port and no range`, {
        next: 'Give ports and ranges separated by commas, e.g. "9229,5000-5010".',
        exitCode: 2,
      })
    }
    for (let port = Number(first); port <= Number(last); port++) ports.add(port)
  }
  return ports
}

/** Of Java's `@file` what stands in it; a word of any other kind is itself. */
function optionsInFile(word: string): string[] {
  if (!word.startsWith("@")) return [word]
  try {
    return readFileSync(word.slice(1), "utf8").split(/[\s"']+/)
  } catch {
    // Java will say what is wrong with it.
    return []
  }
}

function after(words: readonly string[], ...names: string[]): string | undefined {
  const at = words.findIndex((word) => names.includes(word))
  return at < 0 ? undefined : words[at + 1]
}

function wordValue(words: readonly string[], pattern: RegExp): string | undefined {
  for (const word of words) {
    const value = pattern.exec(word)?.[1]
    if (value !== undefined) return value
  }
  return undefined
}
