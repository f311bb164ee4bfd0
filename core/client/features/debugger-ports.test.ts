import { expect, test } from "bun:test"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { debuggerPorts } from "./debugger-ports.ts"

const detect = (kind: string, more: Record<string, string> = {}) => ({ MIRRORD_DETECT_DEBUGGER_PORT: kind, ...more })
const inspectorInfo = JSON.stringify({ pid: "7", inspectorURL: "ws://127.0.0.1:9229/8decd19b" })

test.each<[sentence: string, command: string, env: Record<string, string>, ports: number[]]>([
  ["a range to the last port", "app", { MIRRORD_IGNORE_DEBUGGER_PORTS: "65534-65535" }, [65534, 65535]],
  ["nothing is announced", "node --inspect app.js", {}, []],
  ["ports and ranges", "app", { MIRRORD_IGNORE_DEBUGGER_PORTS: "80, 5000-5002" }, [80, 5000, 5001, 5002]],
  ["debugpy", "python3 -m debugpy --connect 127.0.0.1:57141 app.py", detect("debugpy"), [57141]],
  ["debugpy without an address", "python3 -m debugpy --listen 5678 app.py", detect("debugpy"), [5678]],
  ["pydevd", "python3 /ide/pydevd.py --multiprocess --port 53509 --file app.py", detect("pydevd"), [53509]],
  ["another program with such an option", "server --port 53509", detect("pydevd"), []],
  ["resharper", "dotnet /ide/JetBrains.Debugger.Worker.exe --frontend-port=40905", detect("resharper"), [40905]],
  ["java", "java -agentlib:jdwp=transport=dt_socket,server=n,address=localhost:54898 A", detect("javaagent"), [54898]],
  ["node", "node --inspect-brk=127.0.0.1:9333 app.js", detect("nodeinspector"), [9333]],
  ["node's own port", "node --inspect app.js", detect("nodeinspector"), [9229]],
  ["node by its variable", "node app.js", detect("nodeinspector", { NODE_OPTIONS: "--inspect=9400" }), [9400]],
  ["node attached by VS Code", "node a.js", detect("nodeinspector", { NODE_INSPECTOR_INFO: inspectorInfo }), [9229]],
  ["an unknown debugger", "gdb --port 5", detect("gdb"), []],
])("%s", (_, command, env, ports) => {
  expect([...debuggerPorts(command.split(" "), env)]).toEqual(ports)
})

test("IDEs announce all high ports", () => {
  const ports = debuggerPorts([], { MIRRORD_IGNORE_DEBUGGER_PORTS: "35000-65535" })
  expect([34_999, 35_000, 65_535].map((port) => ports.has(port))).toEqual([false, true, true])
})

test("Java's options are also found in the file it is given, and are none where that is not there", () => {
  const folder = mkdtempSync(join(tmpdir(), "podside-options-"))
  try {
    const file = join(folder, "a.argfile")
    writeFileSync(file, '-cp "/a b.jar"\n"-agentlib:jdwp=transport=dt_socket,suspend=y,address=localhost:54898"\n')
    const found = (word: string) => [...debuggerPorts(["java", word, "A"], detect("javaagent"))]
    expect([found(`@${file}`), found(`@${file}.not`)]).toEqual([[54898], []])
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test.each(["x", "80-", "70000", "1-70000"])("%s is no list of ports", (text) => {
  expect(() => debuggerPorts([], { MIRRORD_IGNORE_DEBUGGER_PORTS: text })).toThrow("no port")
})
