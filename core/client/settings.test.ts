import { expect, test } from "bun:test"
import { createFileDecision, type FileOptions } from "./features/files/decide.ts"
import type { FeatureOptions } from "./features/options.ts"
import { withPod } from "./settings.ts"

const at = { home: "/home/ann", temporaryDirectory: "/tmp", workingDirectory: "/project", executable: "/bin/server" }
const mounts = [
  { path: "/var/data/", isPart: false },
  { path: "/opt/app.ini", isPart: true },
]

function place(files: Partial<FileOptions>, path: string, intent: "read" | "write"): string {
  const features = { files: { mode: "read", readAheadBytes: 0, ...files } } as FeatureOptions
  return createFileDecision(withPod(features, { mounts, probedPorts: [] }, true).files, { ...at, platform: "linux" })(
    path,
    intent,
  ).place
}

test.each<[sentence: string, files: Partial<FileOptions>, path: string, intent: "read" | "write", expected: string]>([
  ["a volume is read remotely wherever it is", {}, "/opt/app.ini", "read", "remote"],
  ["beside a mounted file nothing is", {}, "/opt/app.ini.bak", "read", "local"],
  ["a volume is written remotely in mode write", { mode: "write" }, "/var/data/db.sqlite", "write", "remote"],
  ["and in no other", {}, "/var/data/db.sqlite", "write", "local"],
  ["a volume somebody wants local is", { mode: "write", local: ["^/var/data"] }, "/var/data/a", "write", "local"],
])("%s", (_, files, path, intent, expected) => {
  expect(place(files, path, intent)).toBe(expected)
})
