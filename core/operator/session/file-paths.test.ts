import { expect, test } from "bun:test"
import type { FileRequest } from "../../protocol/index.ts"
import { FilePaths } from "./file-paths.ts"

const forReading = { read: true, write: false, append: false, truncate: false, create: false, createNew: false }

/** What is asked about `request`, after "/srv/./f" was opened for reading as descriptor 4. */
function asked(request: FileRequest) {
  const paths = new FilePaths()
  const open: FileRequest = { kind: "Open", value: { path: "/srv/./f", openOptions: forReading } }
  paths.sent(open, paths.questions(open)!)
  paths.answered({ kind: "File", value: { kind: "Open", value: { kind: "Ok", value: { fd: 4n } } } })
  return paths.questions(request)
}

const attributes = (fd: bigint): FileRequest[] => [
  { kind: "Fchmod", value: { fd, mode: 0o600 } },
  { kind: "Fchown", value: { fd, owner: 1, group: 1 } },
  { kind: "Futimens", value: { fd, times: null } },
]

test.each(attributes(4n))("changing attributes by a descriptor opened for reading is a write: $kind", (request) => {
  expect(asked(request)).toEqual([{ path: "/srv/f", access: "write", opens: false }])
})

test("opens are told from everything else", () => {
  const relative = { relativeFd: 4n, path: "../g", openOptions: { ...forReading, append: true } }
  expect(asked({ kind: "OpenRelative", value: relative })).toEqual([{ path: "/srv/g", access: "write", opens: true }])
  expect(asked({ kind: "Xstat", value: { path: "/srv/f", fd: null, followSymlink: true } })).toEqual([
    { path: "/srv/f", access: "read", opens: false },
  ])
})

test("reading by it asks nothing again", () => {
  expect(asked({ kind: "Read", value: { remoteFd: 4n, bufferSize: 1n } })).toEqual([])
})

test.each(attributes(5n))("of a descriptor nobody opened nothing can be said: $kind", (request) => {
  expect(asked(request)).toBeUndefined()
})
