import { homedir, tmpdir } from "node:os"
import {
  type FileListSurroundings,
  localByDefault,
  notFoundByDefault,
  readRemoteByDefault,
} from "../../../../config/file-lists.ts"
import { compilePattern } from "../../../../config/pattern.ts"
import type { FileIntent, FilePlace } from "../../engine.ts"
import { compileAny } from "../pattern.ts"

export type FileMode = "local" | "localwithoverrides" | "read" | "write"

export interface FileOptions {
  mode: FileMode
  readWrite?: readonly string[]
  readOnly?: readonly string[]
  /** The target's volumes: read from the pod, and written there in mode `write` (with mirrord such writes are local in every mode). */
  mounts?: readonly string[]
  local?: readonly string[]
  notFound?: readonly string[]
  /** Pattern to replacement; the first that matches is used. */
  mapping?: readonly (readonly [pattern: string, replacement: string])[]
  /** Largest file that is fetched whole when it is opened, in bytes; 0 = none. */
  readAheadBytes: number
}

type Rule = (path: string, intent: FileIntent) => Outcome | undefined
/** `unmapped`: the path as the program said it, not as the mapping made it. */
type Outcome = FilePlace["place"] | "local-unmapped"

/** Decisions kept; programs ask for the same few paths again and again. */
const maxRemembered = 4_096

/** Which relative paths are not to be found; undefined: all are this machine's. @throws AppError "config-bad-pattern" */
export function createRelativeHiding({ mode, notFound }: FileOptions): ((path: string) => boolean) | undefined {
  const hidden = mode === "local" ? undefined : compileAny(notFound, "i")
  return hidden && ((path) => hidden.test(path))
}

/**
 * Where a file lives, as an ordered table: the first row that fits decides.
 * @throws AppError "config-bad-pattern"
 */
export function createFileDecision(
  options: FileOptions,
  at: FileListSurroundings,
): (path: string, intent: FileIntent) => FilePlace {
  if (options.mode === "local") return (path) => ({ place: "local", path })
  const map = createMapping(options.mapping)
  const any = (patterns: readonly string[] | undefined) => compileAny(patterns, "i")
  const when = (
    patterns: readonly string[] | undefined,
    read: Outcome | undefined,
    write: Outcome | undefined,
  ): Rule => {
    const expression = any(patterns)
    return (path, intent) => (expression?.test(path) ? (intent === "read" ? read : write) : undefined)
  }
  const rules: Rule[] = [
    when(options.notFound, "not-found", "not-found"),
    when(options.readWrite, "remote", "remote"),
    when(options.readOnly, "remote", "local"),
    when(options.mounts, "remote", options.mode === "write" ? "remote" : "local"),
    when(options.local, "local", "local"),
    when(notFoundByDefault(at), "not-found", "not-found"),
    when(readRemoteByDefault, "remote", undefined),
    when(localByDefault(at), "local", "local"),
    () => (options.mode === "localwithoverrides" ? "local" : undefined),
    (_, intent) => (options.mode === "write" || intent === "read" ? "remote" : "local-unmapped"),
  ]
  const decide = (path: string, intent: FileIntent): FilePlace => {
    const mapped = map(path)
    for (const rule of rules) {
      const outcome = rule(mapped, intent)
      if (outcome !== undefined) {
        return outcome === "local-unmapped" ? { place: "local", path } : { place: outcome, path: mapped }
      }
    }
    return { place: "local", path }
  }
  const remembered = { read: new Map<string, FilePlace>(), write: new Map<string, FilePlace>() }
  return (path, intent) => {
    const known = remembered[intent].get(path)
    if (known) return known
    const place = decide(path, intent)
    if (remembered[intent].size >= maxRemembered) remembered[intent].clear()
    remembered[intent].set(path, place)
    return place
  }
}

function createMapping(mapping: FileOptions["mapping"]): (path: string) => string {
  const rows = (mapping ?? []).map(([pattern, replacement]) => ({
    expression: compilePattern(pattern, "i"),
    replacement,
  }))
  return (path) => {
    for (const { expression, replacement } of rows) {
      const match = expression.exec(path)
      if (match)
        return path.slice(0, match.index) + expand(replacement, match) + path.slice(match.index + match[0].length)
    }
    return path
  }
}

/** `$1`, `$name`, `${name}`; `$$` is a dollar. A group that is not there is empty. */
function expand(replacement: string, match: RegExpExecArray): string {
  return replacement.replaceAll(/\$(?:(\$)|\{(\w+)\}|(\w+))/g, (_, dollar, braced, plain) => {
    if (dollar) return "$"
    const name: string = braced ?? plain
    return (/^\d+$/.test(name) ? match[Number(name)] : match.groups?.[name]) ?? ""
  })
}

/** This machine as it is now, for a program at `executable`. */
export function fileListSurroundings(executable: string): FileListSurroundings {
  return {
    home: homedir(),
    workingDirectory: process.cwd(),
    temporaryDirectory: tmpdir(),
    executable,
    platform: process.platform === "darwin" ? "darwin" : "linux",
  }
}
