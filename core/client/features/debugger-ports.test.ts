import { expect, test } from "bun:test"
import { debuggerPorts } from "./debugger-ports.ts"

const detect = (kind: string, more: Record<string, string> = {}) => ({ MIRRORD_DETECT_DEBUGGER_PORT: kind, ...more })

test.each<[sentence: string, command: string, env: Record<string, string>, ports: number[]]>([
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
  ["an unknown debugger", "gdb --port 5", detect("gdb"), []],
])("%s", (_, command, env, ports) => {
  expect([...debuggerPorts(command.split(" "), env)]).toEqual(ports)
})

test.each(["x", "80-", "70000", "1-60000"])("%s is no list of ports", (text) => {
  expect(() => debuggerPorts([], { MIRRORD_IGNORE_DEBUGGER_PORTS: text })).toThrow("no port")
})
