import { expect, test } from "bun:test"
import { joinNetworkNamespace } from "../../../core/linux/namespace.ts"
import { deleteTable, NfTables, newTable } from "./nf-tables.ts"

const isRoot = process.getuid?.() === 0
if (!isRoot) console.warn("SKIPPED: nf_tables are listed in a network namespace, which needs root")

const staying = 1200
const changing = 300

/** Deletes and makes tables without end, three at a time: the oldest, so that all others move up in the kernel's list. */
const changer = `
import { deleteTable, NfTables, newTable } from "${import.meta.dir}/nf-tables.ts"
const tables = new NfTables()
console.log("ready")
for (let at = 0; ; at = (at + 1) % ${changing}) {
  tables.commit([deleteTable("changing_" + at)], "delete")
  tables.commit([newTable("changing_" + at, 0)], "make")
  if (at % 3 === 0) Bun.sleepSync(20)
}`

test.skipIf(!isRoot)(
  "what is there all the time is in every listing, whatever others change meanwhile",
  async () => {
    const target = Bun.spawn(["unshare", "--net", "sh", "-c", "echo ready; exec cat"], {
      stdin: "pipe",
      stdout: "pipe",
    })
    await target.stdout.getReader().read()
    const namespace = joinNetworkNamespace(target.pid)
    const tables = namespace.run(() => new NfTables())
    const make = (names: string[]) => {
      for (let at = 0; at < names.length; at += 100)
        tables.commit(
          names.slice(at, at + 100).map((name) => newTable(name, 0)),
          "make",
        )
    }
    make(Array.from({ length: changing }, (_, index) => `changing_${index}`))
    make(Array.from({ length: staying }, (_, index) => `staying_${index}`))
    const other = namespace.run(() =>
      Bun.spawn([process.execPath, "-e", changer], { stdout: "pipe", stderr: "inherit" }),
    )
    try {
      await other.stdout.getReader().read()
      const found = Array.from({ length: 30 }, () => {
        const names = tables.tables()
        return new Set(names.filter((name) => name.startsWith("staying"))).size
      })
      expect([...new Set(found)]).toEqual([staying])
      tables.commit([deleteTable("staying_0")], "delete")
      expect(tables.tables()).not.toContain("staying_0")
    } finally {
      other.kill("SIGKILL")
      await other.exited
      tables.close()
      namespace.close()
      target.kill()
    }
  },
  60_000,
)
