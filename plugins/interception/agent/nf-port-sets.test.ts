import { expect, test } from "bun:test"
import { ownMark } from "../../../core/interceptor.ts"
import { joinNetworkNamespace } from "../../../core/linux/namespace.ts"
import { formerlyCopiedPorts } from "./copy-rules.ts"
import { match } from "./nf-expressions.ts"
import { PortSets } from "./nf-port-sets.ts"
import { NfTables, newPortMap, newTable } from "./nf-tables.ts"
import { copiedPorts, portMap } from "./nf-tables-names.ts"
import type { RuleSetOptions } from "./rule-set.ts"

const isRoot = process.getuid?.() === 0
if (!isRoot) console.warn("SKIPPED: sets of ports are made in a network namespace, which needs root")

test.skipIf(!isRoot)("of ports that another agent takes in the same moment nothing stays", async () => {
  const target = Bun.spawn(["unshare", "--net", "sh", "-c", "echo ready; exec cat"], { stdin: "pipe", stdout: "pipe" })
  await target.stdout.getReader().read()
  const namespace = joinNetworkNamespace(target.pid)
  const tables = namespace.run(() => new NfTables())
  const table = "of_one_agent"
  tables.commit([newTable(table, 0), newPortMap(table, portMap, 1)], "make a table")
  /** Ports another agent takes between this one's look and its act. */
  let contested: number[] = []
  let looks = 0
  const sets = new PortSets({
    table,
    options: { ownMark, listenerPort: 4711 } as RuleSetOptions,
    commit: (messages, what) => tables.commit(messages, what),
    handedElsewhere: match.markedExactly(0x111, 0xfff),
    refuseTaken(wanted) {
      if (looks++ % 2 === 1 && wanted.some((port) => contested.includes(port))) throw new Error("taken")
    },
  })
  const ports = () => [portMap, copiedPorts, formerlyCopiedPorts].map((set) => tables.ports(table, set).sort())
  try {
    sets.open(4711)
    contested = [80, 81, 82]
    expect(() => sets.copy([80])).toThrow("taken")
    expect(() => sets.divert([81])).toThrow("taken")
    expect(ports()).toEqual([[], [], []])
    contested = []
    sets.copy([80, 82])
    sets.remove([82])
    contested = [82]
    expect(() => sets.copy([82])).toThrow("taken")
    // Of 82 there may be connections from before, whose copies go on.
    expect(ports()).toEqual([[], [80], [82]])
  } finally {
    tables.close()
    namespace.close()
    target.kill()
  }
})
