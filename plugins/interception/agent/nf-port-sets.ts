import type { NetlinkMessage } from "../netlink.ts"
import { copyRules, formerlyCopiedPorts } from "./copy-rules.ts"
import type { match } from "./nf-expressions.ts"
import { addPorts, removePorts } from "./nf-tables.ts"
import { copiedPorts, portMap } from "./nf-tables-names.ts"
import type { CopyRules, RuleSetOptions } from "./rule-set.ts"

interface Surroundings {
  table: string
  options: RuleSetOptions
  handedElsewhere: ReturnType<typeof match.markedExactly>
  commit(messages: readonly NetlinkMessage[], what: string): void
  /** @throws AppError "port-taken" */
  refuseTaken(ports: readonly number[]): void
}

/** The ports of one agent in its table: diverted ones and copied ones. A port goes from one to the other without a moment between. */
export class PortSets implements CopyRules {
  readonly #table: string
  readonly #around: Surroundings
  readonly #diverted = new Set<number>()
  readonly #copied = new Set<number>()
  readonly #formerlyCopied = new Set<number>()

  constructor(around: Surroundings) {
    this.#table = around.table
    this.#around = around
  }

  /** @throws LinuxError, AppError "port-taken" */
  divert(wanted: readonly number[]): void {
    const ports = missing(this.#diverted, wanted)
    const moved = ports.filter((port) => this.#copied.has(port))
    const { listenerPort } = this.#around.options
    const messages = [...addPorts(this.#table, portMap, ports, listenerPort), ...this.#endCopying(moved)]
    this.#take(ports, messages, "redirect ports", () => {
      for (const port of ports) this.#diverted.add(port)
      this.#forgetCopied(moved)
    })
  }

  open(group: number): void {
    const { options, handedElsewhere } = this.#around
    this.#around.commit(copyRules(this.#table, options, group, handedElsewhere), "make rules that copy")
  }

  copy(wanted: readonly number[]): void {
    const ports = missing(this.#copied, wanted)
    const moved = ports.filter((port) => this.#diverted.has(port))
    const again = ports.filter((port) => this.#formerlyCopied.has(port))
    const messages = [...addPorts(this.#table, copiedPorts, ports), ...removePorts(this.#table, portMap, moved)]
    this.#take(ports, messages, "copy ports", () => {
      for (const port of ports) this.#copied.add(port)
      for (const port of moved) this.#diverted.delete(port)
    })
    this.release(again)
  }

  /** Neither diverted nor copied any more. @throws LinuxError */
  remove(unwanted: readonly number[]): void {
    const diverted = present(this.#diverted, unwanted)
    const copied = present(this.#copied, unwanted)
    const messages = [...removePorts(this.#table, portMap, diverted), ...this.#endCopying(copied)]
    if (messages.length > 0) this.#around.commit(messages, "leave ports alone")
    for (const port of diverted) this.#diverted.delete(port)
    this.#forgetCopied(copied)
  }

  release(ports: readonly number[]): void {
    const released = present(this.#formerlyCopied, ports)
    if (released.length === 0) return
    this.#around.commit(removePorts(this.#table, formerlyCopiedPorts, released), "copy no more")
    for (const port of released) this.#formerlyCopied.delete(port)
  }

  #endCopying(ports: readonly number[]): NetlinkMessage[] {
    return [...removePorts(this.#table, copiedPorts, ports), ...addPorts(this.#table, formerlyCopiedPorts, ports)]
  }

  #forgetCopied(ports: readonly number[]): void {
    for (const port of ports) {
      this.#copied.delete(port)
      this.#formerlyCopied.add(port)
    }
  }

  /** Ports that are this agent's already nobody else can have. */
  #take(ports: readonly number[], messages: readonly NetlinkMessage[], what: string, record: () => void): void {
    if (ports.length === 0) return
    const { commit, refuseTaken } = this.#around
    const fresh = ports.filter((port) => !this.#diverted.has(port) && !this.#copied.has(port))
    if (fresh.length > 0) refuseTaken(fresh)
    const neverCopied = missing(this.#formerlyCopied, fresh)
    commit(messages, what)
    record()
    if (fresh.length === 0) return
    try {
      // Somebody else may have added the same port between the look and the act; then both step back.
      refuseTaken(fresh)
    } catch (thrown) {
      this.remove(fresh)
      this.release(neverCopied)
      throw thrown
    }
  }
}

function missing(from: ReadonlySet<number>, ports: readonly number[]): number[] {
  return [...new Set(ports)].filter((port) => !from.has(port))
}

function present(among: ReadonlySet<number>, ports: readonly number[]): number[] {
  return [...new Set(ports)].filter((port) => among.has(port))
}
