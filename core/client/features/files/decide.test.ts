import { expect, test } from "bun:test"
import { createFileDecision, createRelativeHiding, type FileOptions } from "./decide.ts"

const at = {
  home: "/home/ann",
  temporaryDirectory: "/tmp",
  workingDirectory: "/project/app",
  executable: "/project/bin/server",
  platform: "linux",
} as const
const place = (options: Partial<FileOptions>, path: string, intent: "read" | "write" = "read") => {
  const decide = createFileDecision({ mode: "read", readAheadBytes: 0, ...options }, at)
  const { place, path: used } = decide(path, intent)
  return used === path ? place : `${place} ${used}`
}

test.each<[sentence: string, options: Partial<FileOptions>, path: string, intent: "read" | "write", expected: string]>([
  ["a path without a rule is read remotely", {}, "/data/a", "read", "remote"],
  ["and written locally in mode read", {}, "/data/a", "write", "local"],
  ["and written remotely in mode write", { mode: "write" }, "/data/a", "write", "remote"],
  ["and read locally in mode localwithoverrides", { mode: "localwithoverrides" }, "/data/a", "read", "local"],
  ["mode local knows no rules", { mode: "local", notFound: ["/data"] }, "/data/a", "read", "local"],
  ["name resolution is the pod's", {}, "/etc/resolv.conf", "read", "remote"],
  ["also in mode localwithoverrides", { mode: "localwithoverrides" }, "/etc/hosts", "read", "remote"],
  ["but is written locally", {}, "/etc/hosts", "write", "local"],
  ["the pod's trust is used", {}, "/etc/ssl/certs/ca.pem", "read", "remote"],
  ["other system files are local", {}, "/etc/passwd", "read", "local"],
  ["code is local wherever it lies", {}, "/data/lib.so", "read", "local"],
  ["the working directory is local", {}, "/project/app/config.yaml", "read", "local"],
  ["a folder beside it is not", {}, "/project/apple/config.yaml", "read", "remote"],
  ["the program itself is local", {}, "/project/bin/server", "read", "local"],
  ["cluster credentials do not exist", {}, "/home/ann/.kube/config", "read", "not-found"],
  ["other dot files of the home are local", {}, "/home/ann/.profile", "read", "local"],
  ["not_found beats read_write", { notFound: ["^/data"], readWrite: ["^/data"] }, "/data/a", "read", "not-found"],
  ["read_write beats read_only", { readWrite: ["^/data"], readOnly: ["^/data"] }, "/data/a", "write", "remote"],
  ["read_only is written locally", { mode: "write", readOnly: ["^/data"] }, "/data/a", "write", "local"],
  ["a volume is read remotely, code included", { mounts: ["^/data"] }, "/data/a.py", "read", "remote"],
  ["and written locally in mode read", { mounts: ["^/data"] }, "/data/a", "write", "local"],
  ["but remotely in mode write", { mode: "write", mounts: ["^/data"] }, "/data/a.py", "write", "remote"],
  ["unless it is read_only", { mode: "write", mounts: ["^/data"], readOnly: ["^/data"] }, "/data/a", "write", "local"],
  ["read_only beats local", { readOnly: ["^/data"], local: ["^/data"] }, "/data/a", "read", "remote"],
  ["local beats the default of the mode", { local: ["^/data"] }, "/data/a", "read", "local"],
  ["read_write makes a system file remote", { readWrite: ["^/etc/app$"] }, "/etc/app", "write", "remote"],
  ["read_write beats local", { readWrite: ["^/data"], local: ["^/data"] }, "/data/a", "write", "remote"],
  [
    "a rule of the user beats the list of what does not exist",
    { local: ["kube"] },
    "/home/ann/.kube/config",
    "read",
    "local",
  ],
  ["mode write writes where no list says otherwise", { mode: "write" }, "/etc/hosts", "write", "local"],
  ["mode localwithoverrides writes locally", { mode: "localwithoverrides" }, "/data/a", "write", "local"],
  [
    "but what is read_write remotely",
    { mode: "localwithoverrides", readWrite: ["^/data"] },
    "/data/a",
    "write",
    "remote",
  ],
  [
    "and reads what is read_only remotely",
    { mode: "localwithoverrides", readOnly: ["^/data"] },
    "/data/a",
    "read",
    "remote",
  ],
  ["patterns ignore case and are found anywhere", { local: ["secret"] }, "/data/SECRET/a", "read", "local"],
  [
    "a mapped path is what is read",
    { mapping: [["^/config/(.*)", "/data/$1"]] },
    "/config/a",
    "read",
    "remote /data/a",
  ],
  ["and what is local by rule", { mapping: [["^/data", "/tmp/x"]] }, "/data/a", "read", "local /tmp/x/a"],
  ["a local write by mode uses the original", { mapping: [["^/data", "/other"]] }, "/data/a", "write", "local"],
])("%s", (_, options, path, intent, expected) => {
  expect(place(options, path, intent)).toBe(expected)
})

test.each<[sentence: string, options: Partial<FileOptions>, path: string, hidden: boolean]>([
  ["a relative path is this machine's", {}, "data/a", false],
  ["unless a pattern hides it", { notFound: ["secret"] }, "conf/Secret.env", true],
  ["others stay", { notFound: ["secret"] }, "conf/public.env", false],
  ["mode local hides nothing", { notFound: ["secret"], mode: "local" }, "conf/secret.env", false],
])("%s", (_, options, path, hidden) => {
  const hides = createRelativeHiding({ mode: "read", readAheadBytes: 0, ...options })
  expect(hides?.(path) ?? false).toBe(hidden)
})

test("a bad pattern is named", () => {
  expect(() => createFileDecision({ mode: "read", readAheadBytes: 0, local: ["a", "(b"] }, at)).toThrow(
    'the pattern "(b"',
  )
})
