import { posix } from "node:path"
import type { FileIntent, FileWorld } from "../../../../core/client/engine.ts"
import type { Call } from "../kernel/call.ts"
import { directoryOf, intentOf, type PathArgument } from "../kernel/path-calls.ts"
import { AT_FDCWD } from "../kernel/rules.ts"
import { peekString } from "../kernel/tracee.ts"
import { isRoot } from "../watch/root-descriptors.ts"
import type { SharedState } from "../watch/shared-state.ts"
import type { WorkingDirectories } from "../watch/working-directories.ts"
import type { Injected, InjectedFiles } from "./injected.ts"
import { joinPath, RemoteDirectory } from "./remote-directory.ts"
import type { VirtualFile } from "./virtual-files.ts"

/** Where a call's path leads. */
export type Located =
  /** The machine's own, as the program wrote it. */
  | { kind: "local" }
  /** The machine's own, but under another name than the program wrote. */
  | { kind: "mapped"; path: string }
  | { kind: "remote"; path: string }
  | { kind: "not-found" }
  | { kind: "virtual"; file: VirtualFile }
  /** No path: the descriptor itself is meant. */
  | { kind: "descriptor"; object: Injected }

const local: Located = { kind: "local" }
/** A program's own descriptor by its name. */
const descriptorName = /^\/(?:dev|proc\/(?:self|thread-self))\/fd\/(\d+)$/
const decoder = new TextDecoder("utf-8", { fatal: true })

export interface Locator {
  /** `intent` overrides what the call's table entry says. */
  locate(call: Call, argument: PathArgument, intent?: FileIntent): Promise<Located>
}

export function createLocator(state: {
  files: FileWorld | undefined
  injected: InjectedFiles
  directories: WorkingDirectories
  shared: SharedState
  virtualFile(path: string): Promise<VirtualFile | undefined>
}): Locator {
  const { files, injected, directories, shared } = state

  /** A path below something remote needs no rule. */
  function relative(call: Call, path: string, directory: number): Located {
    if (directory === AT_FDCWD) {
      const working = directories.of(call.tid)
      if (working !== undefined) return { kind: "remote", path: joinPath(working, path) }
      return files?.hides?.(path) ? { kind: "not-found" } : local
    }
    const object = injected.of(call.tid, directory)
    return object instanceof RemoteDirectory ? { kind: "remote", path: object.join(path) } : local
  }

  return {
    async locate(call, argument, intended) {
      const int = (index: number) => call.int(index)
      const directory = directoryOf(argument, int)
      const bytes = call.isNull(argument.path) ? new Uint8Array(0) : peekString(call.tid, call.word(argument.path))
      if (typeof bytes === "number") return local
      if (bytes.length === 0) {
        const object = directory < 0 ? undefined : injected.of(call.tid, directory)
        return object ? { kind: "descriptor", object } : local
      }
      let path: string
      try {
        path = decoder.decode(bytes)
      } catch {
        return local
      }
      if (!path.startsWith("/")) {
        if (directory === AT_FDCWD || !isRoot(shared, call.tid, directory)) return relative(call, path, directory)
        path = posix.normalize(`/${path}`)
      }
      if (isOpened(argument)) {
        // The kernel would open the memory file, in which there need not be anything.
        const [, number] = descriptorName.exec(path) ?? []
        const object = number === undefined ? undefined : injected.of(call.tid, Number(number))
        if (object?.range === "live") return { kind: "remote", path: object.path }
        if (number !== undefined) return local
      }
      const intent = intended ?? intentOf(argument, int)
      // The bytes are only good until the next look into the program's memory.
      const rememberLocal = () => shared.rememberLocal(Buffer.from(path), intent)
      if (intent === "read") {
        const file = await state.virtualFile(path)
        if (file) return { kind: "virtual", file }
      }
      if (!files) {
        rememberLocal()
        return local
      }
      const placed = files.place(path, intent)
      if (placed.place === "remote") return { kind: "remote", path: placed.path }
      if (placed.place === "not-found") return { kind: "not-found" }
      if (placed.path !== path) return { kind: "mapped", path: placed.path }
      rememberLocal()
      return local
    },
  }
}

function isOpened({ intent }: PathArgument): boolean {
  return typeof intent === "object" && "openFlags" in intent
}
