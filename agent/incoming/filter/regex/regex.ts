import { classes, contains } from "./char-set.ts"
import { parseRegex } from "./parse.ts"
import { compileNode, firstUnits, isAnchored, type Program } from "./program.ts"

/** Steps one search may take, about 20 ms. Only large machines on long texts and back-references can come near it. */
export const maxSearchSteps = 2_000_000
/** Memory of where a search has been, in bits. */
const maxVisitedBits = 1 << 24

/** What several searches may take together; each leaves less. */
export interface Fuel {
  steps: number
}

export interface Regex {
  /** Is there a match anywhere in `text`? A search that takes too long counts as no match. */
  test(text: string, fuel?: Fuel): boolean
  /** The first match that begins at `from` or later. Its time is bounded by the fuel alone. */
  find(text: string, from: number, fuel: Fuel): Match | undefined
}

export interface Match {
  start: number
  end: number
  /** In the order of their opening parentheses; -1 for one that took no part. */
  groups: { start: number; end: number; name: string | undefined }[]
}

/**
 * A matcher whose time is bounded whatever the pattern and the text: it remembers each state at each position it failed from, so
 * it takes at most (size of the pattern × length of the text) steps; patterns with back-references are cut off instead.
 * `ignoreCase` stands for a leading `(?i)`.
 * @throws AppError "bad-regex"
 */
export function compileRegex(source: string, ignoreCase = false): Regex {
  const { node, groups, names } = parseRegex(source, ignoreCase)
  const program = compileNode(node, groups)
  const first = firstUnits(program)
  const anchored = isAnchored(program)
  let withGroups: Program | undefined
  return {
    find(text, from, fuel) {
      withGroups ??= compileNode(node, groups, true)
      const search = new Search(withGroups, text, fuel)
      for (let start = from; start <= text.length; start++) {
        const end = search.endFrom(start)
        if (end >= 0) return { start, end, groups: groupsOf(search.captures, names) }
      }
      return undefined
    },
    test(text, fuel = { steps: maxSearchSteps }) {
      let search: Search | undefined
      const lastStart = anchored ? 0 : text.length
      for (let at = 0; at <= lastStart; at++) {
        if (first) {
          const unit = text.charCodeAt(at)
          if (at === text.length || (unit < 256 && first[unit] === 0)) continue
        }
        search ??= new Search(program, text, fuel)
        if (search.endFrom(at) >= 0) return true
      }
      return false
    },
  }
}

function groupsOf(captures: readonly number[], names: ReadonlyMap<string, number>): Match["groups"] {
  const nameOf = new Map([...names].map(([name, index]) => [index, name]))
  return Array.from({ length: captures.length / 2 - 1 }, (_, at) => {
    const index = at + 1
    return { start: captures[2 * index]!, end: captures[2 * index + 1]!, name: nameOf.get(index) }
  })
}

class Search {
  readonly #program: Program
  readonly #text: string
  readonly #fuel: Fuel
  readonly captures: number[]
  #visited: Uint32Array | undefined
  /** Where a match must end; -1: anywhere. */
  readonly #endAt: number

  constructor(
    program: Program,
    text: string,
    fuel: Fuel,
    captures: number[] = new Array(program.slots).fill(-1),
    endAt = -1,
  ) {
    this.#program = program
    this.#text = text
    this.#fuel = fuel
    this.captures = captures
    this.#endAt = endAt
    const bits = program.steps.length * (text.length + 1)
    if (program.remembers && bits <= maxVisitedBits) this.#visited = new Uint32Array((bits >>> 5) + 1)
  }

  /** Where a match that begins at `start` ends; -1: there is none. */
  endFrom(start: number): number {
    const { steps } = this.#program
    const text = this.#text
    const width = text.length + 1
    const visited = this.#visited
    // Pairs of (step, position); a negative step restores a capture slot to the position.
    const stack = [0, start]
    while (stack.length > 0) {
      let position = stack.pop()!
      let at = stack.pop()!
      if (at < 0) {
        this.captures[-at - 1] = position
        continue
      }
      for (;;) {
        if (--this.#fuel.steps < 0) return -1
        if (visited) {
          const bit = at * width + position
          const mask = 1 << (bit & 31)
          if (visited[bit >>> 5]! & mask) break
          visited[bit >>> 5]! |= mask
        }
        const step = steps[at]!
        if (step.op === "set") {
          if (position >= text.length || !contains(step.set, text.charCodeAt(position))) break
          position++
          at++
        } else if (step.op === "split") {
          stack.push(step.other, position)
          at = step.next
        } else if (step.op === "jump") {
          // A loop around nothing would go on for ever without memory of where it was.
          at = step.next
        } else if (step.op === "match") {
          if (this.#endAt === -1 || position === this.#endAt) return position
          break
        } else if (step.op === "save") {
          stack.push(-step.slot - 1, this.captures[step.slot]!)
          this.captures[step.slot] = position
          at++
        } else if (step.op === "assert") {
          if (!holds(step.what, text, position)) break
          at++
        } else if (step.op === "look") {
          if (this.#look(step, position) === step.negate) break
          at++
        } else {
          const length = this.#repeats(step.index, position, step.ignoreCase)
          if (length < 0) break
          position += length
          at++
        }
      }
    }
    return -1
  }

  #look(
    { program, behind }: { program: Program; behind: { min: number; max: number } | undefined },
    position: number,
  ): boolean {
    const within = (endAt: number) => new Search(program, this.#text, this.#fuel, this.captures, endAt)
    if (!behind) return within(-1).endFrom(position) >= 0
    const search = within(position)
    for (let start = position - behind.min; start >= Math.max(0, position - behind.max); start--) {
      if (search.endFrom(start) >= 0) return true
    }
    return false
  }

  /** Length of what the group matched, when it stands here again; -1 otherwise. */
  #repeats(index: number, position: number, ignoreCase: boolean): number {
    const from = this.captures[2 * index]!
    const to = this.captures[2 * index + 1]!
    if (from < 0 || to < from) return -1
    const same = this.#text.slice(from, to)
    const here = this.#text.slice(position, position + same.length)
    const equal = ignoreCase ? same.toLowerCase() === here.toLowerCase() : same === here
    return equal ? same.length : -1
  }
}

function holds(what: string, text: string, position: number): boolean {
  switch (what) {
    case "start":
      return position === 0
    case "end":
      return position === text.length
    case "line-start":
      return position === 0 || text.charCodeAt(position - 1) === 10
    case "line-end":
      return position === text.length || text.charCodeAt(position) === 10
    default: {
      const before = position > 0 && contains(classes.w, text.charCodeAt(position - 1))
      const after = position < text.length && contains(classes.w, text.charCodeAt(position))
      return (before !== after) === (what === "word")
    }
  }
}
