import { AppError } from "../../../../core/errors.ts"
import { type CharSet, contains } from "./char-set.ts"
import type { Node } from "./parse.ts"

/** One step of a matching machine; `next` and `other` are indices into the program. */
export type Step =
  | { op: "set"; set: CharSet }
  | { op: "split"; next: number; other: number }
  | { op: "jump"; next: number }
  | { op: "assert"; what: Extract<Node, { kind: "assert" }>["what"] }
  | { op: "look"; program: Program; behind: { min: number; max: number } | undefined; negate: boolean }
  | { op: "save"; slot: number }
  | { op: "back-reference"; index: number; ignoreCase: boolean }
  | { op: "match" }

export interface Program {
  steps: Step[]
  /** Where groups begin and end; 0 when nobody asks. */
  slots: number
  /** What comes of a step at a position does not depend on groups: the matcher may remember that it was there in vain. */
  remembers: boolean
}

const maxSteps = 5000
const maxLookBehind = 255

/** `keepsGroups`: where each group was is found out, too; else only whether there is a match. @throws AppError "bad-regex" when the machine would be too large */
export function compileNode(node: Node, groups: number, keepsGroups = refersBack(node)): Program {
  return assemble(node, keepsGroups ? 2 * (groups + 1) : 0, !refersBack(node))
}

function assemble(root: Node, slots: number, remembers: boolean): Program {
  const steps: Step[] = []
  const push = (step: Step) => {
    if (steps.length >= maxSteps) throw new AppError("bad-regex", "the regular expression is too large")
    return steps.push(step) - 1
  }

  function emit(node: Node): void {
    switch (node.kind) {
      case "set":
        push({ op: "set", set: node.set })
        return
      case "sequence":
        for (const part of node.nodes) emit(part)
        return
      case "choice":
        emitChoice(node.nodes)
        return
      case "repeat":
        emitRepeat(node)
        return
      case "assert":
        push({ op: "assert", what: node.what })
        return
      case "group":
        if (slots > 0) push({ op: "save", slot: 2 * node.index })
        emit(node.node)
        if (slots > 0) push({ op: "save", slot: 2 * node.index + 1 })
        return
      case "back-reference":
        push({ op: "back-reference", index: node.index, ignoreCase: node.ignoreCase })
        return
      case "look": {
        const behind = node.behind ? lengths(node.node) : undefined
        if (behind && behind.max > maxLookBehind) {
          throw new AppError("bad-regex", `the regular expression looks back further than ${maxLookBehind} characters`)
        }
        push({ op: "look", program: assemble(node.node, slots, remembers), behind, negate: node.negate })
      }
    }
  }

  function emitChoice(nodes: readonly Node[]): void {
    const exits: { op: "jump"; next: number }[] = []
    for (const [index, part] of nodes.entries()) {
      if (index === nodes.length - 1) emit(part)
      else {
        const split = { op: "split" as const, next: steps.length + 1, other: 0 }
        push(split)
        emit(part)
        const exit = { op: "jump" as const, next: 0 }
        push(exit)
        exits.push(exit)
        split.other = steps.length
      }
    }
    for (const exit of exits) exit.next = steps.length
  }

  function emitRepeat({ node, min, max, isLazy }: Extract<Node, { kind: "repeat" }>): void {
    /** The lazy one tries to leave first. */
    const leave = (split: { next: number; other: number }) => {
      split[isLazy ? "next" : "other"] = steps.length
    }
    for (let count = 0; count < min; count++) emit(node)
    if (max === Infinity) {
      const split = { op: "split" as const, next: steps.length + 1, other: steps.length + 1 }
      const start = push(split)
      emit(node)
      push({ op: "jump", next: start })
      leave(split)
      return
    }
    const exits: { op: "split"; next: number; other: number }[] = []
    for (let count = min; count < max; count++) {
      const split = { op: "split" as const, next: steps.length + 1, other: steps.length + 1 }
      push(split)
      exits.push(split)
      emit(node)
    }
    for (const exit of exits) leave(exit)
  }

  emit(root)
  push({ op: "match" })
  return { steps, slots, remembers }
}

function refersBack(node: Node): boolean {
  if (node.kind === "back-reference") return true
  if (node.kind === "sequence" || node.kind === "choice") return node.nodes.some(refersBack)
  return "node" in node && refersBack(node.node)
}

/** How many code units a match of this can have. */
function lengths(node: Node): { min: number; max: number } {
  switch (node.kind) {
    case "set":
      return { min: 1, max: 1 }
    case "sequence":
      return node.nodes.map(lengths).reduce((sum, part) => ({ min: sum.min + part.min, max: sum.max + part.max }), {
        min: 0,
        max: 0,
      })
    case "choice": {
      const parts = node.nodes.map(lengths)
      return { min: Math.min(...parts.map(({ min }) => min)), max: Math.max(...parts.map(({ max }) => max)) }
    }
    case "repeat": {
      const one = lengths(node.node)
      return { min: one.min * node.min, max: one.max === 0 ? 0 : one.max * node.max }
    }
    case "group":
      return lengths(node.node)
    case "back-reference":
      return { min: 0, max: Infinity }
    default:
      return { min: 0, max: 0 }
  }
}

/** Does every match begin at the start of the text? */
export function isAnchored({ steps }: Program): boolean {
  const [first] = steps
  return first?.op === "assert" && first.what === "start"
}

/** Which units a match can begin with; undefined: other things count, too. */
export function firstUnits(program: Program): Uint8Array | undefined {
  const { steps } = program
  const possible = new Uint8Array(256)
  const seen = new Set<number>()
  const pending = [isAnchored(program) ? 1 : 0]
  for (let at = pending.pop(); at !== undefined; at = pending.pop()) {
    if (seen.has(at)) continue
    seen.add(at)
    const step = steps[at]!
    if (step.op === "set") for (let unit = 0; unit < 256; unit++) possible[unit] ||= contains(step.set, unit) ? 1 : 0
    else if (step.op === "split") pending.push(step.next, step.other)
    else if (step.op === "jump") pending.push(step.next)
    else return undefined
  }
  return possible
}
