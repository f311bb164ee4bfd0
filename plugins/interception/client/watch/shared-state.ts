import type { FileIntent } from "../../../../core/client/engine.ts"
import { PortSet, portSetBytes } from "./port-set.ts"
import { SharedNames, sharedNamesBytes } from "./shared-names.ts"

/** Slots of the memory both threads see; a slot holds 0 or 1 but where said otherwise. */
const slots = {
  remoteDirectory: 0,
  namedSockets: 1,
  failedConnects: 2,
  sharedMappings: 3,
  machine: 4,
  udpAssociations: 5,
  rootOpened: 6,
} as const

/** Remembered paths. Newer ones push out older ones that fall on the same slot. 8 bytes each. */
const placeSlots = 1 << 15

const flagCount = 8
const placesAt = flagCount * 4
const namesAt = placesAt + placeSlots * 8
const resolverPortsAt = namesAt + sharedNamesBytes
const machineAt = resolverPortsAt + portSetBytes
/** struct new_utsname: six texts of 65 bytes. */
export const machineBytes = 6 * 65

/** Memory for `SharedState`, to be handed to the Worker. */
export function sharedMemory(): SharedArrayBuffer {
  return new SharedArrayBuffer(machineAt + machineBytes)
}

/**
 * What the answering thread tells the watching thread, which never leaves its loop and so cannot get messages: enough to
 * let most calls pass without waking anybody.
 */
export class SharedState {
  readonly #flags: Int32Array
  readonly #places: BigUint64Array
  readonly #machine: Uint8Array
  readonly names: SharedNames
  /** Ports of the program's sockets that are connected to our resolver. */
  readonly resolverPorts: PortSet
  constructor(memory: SharedArrayBuffer) {
    this.#machine = new Uint8Array(memory, machineAt, machineBytes)
    this.#flags = new Int32Array(memory, 0, flagCount)
    this.#places = new BigUint64Array(memory, placesAt, placeSlots)
    this.names = new SharedNames(memory, namesAt)
    this.resolverPorts = new PortSet(memory, resolverPortsAt)
  }

  /** Some process works in a remote directory, so relative paths need a look. */
  get remoteDirectory(): boolean {
    return Atomics.load(this.#flags, slots.remoteDirectory) !== 0
  }
  set remoteDirectory(value: boolean) {
    Atomics.store(this.#flags, slots.remoteDirectory, value ? 1 : 0)
  }

  /** Some socket has another name than the kernel says. */
  get namedSockets(): boolean {
    return Atomics.load(this.#flags, slots.namedSockets) !== 0
  }
  set namedSockets(value: boolean) {
    Atomics.store(this.#flags, slots.namedSockets, value ? 1 : 0)
  }

  /** Some socket has a failed connect the kernel knows nothing of. */
  get failedConnects(): boolean {
    return Atomics.load(this.#flags, slots.failedConnects) !== 0
  }
  set failedConnects(value: boolean) {
    Atomics.store(this.#flags, slots.failedConnects, value ? 1 : 0)
  }

  /** Some remote file is mapped so that the program may change it. */
  get sharedMappings(): boolean {
    return Atomics.load(this.#flags, slots.sharedMappings) !== 0
  }
  set sharedMappings(value: boolean) {
    Atomics.store(this.#flags, slots.sharedMappings, value ? 1 : 0)
  }

  /** Datagrams may come from a socket of ours that stands for somebody else than the name server. */
  get udpAssociations(): boolean {
    return Atomics.load(this.#flags, slots.udpAssociations) !== 0
  }
  set udpAssociations(value: boolean) {
    Atomics.store(this.#flags, slots.udpAssociations, value ? 1 : 0)
  }

  /** Some process may have a descriptor of the root folder. */
  get rootOpened(): boolean {
    return Atomics.load(this.#flags, slots.rootOpened) !== 0
  }
  set rootOpened(value: boolean) {
    Atomics.store(this.#flags, slots.rootOpened, value ? 1 : 0)
  }

  /** What uname says, once that is known. */
  get machine(): Uint8Array | undefined {
    return Atomics.load(this.#flags, slots.machine) === 0 ? undefined : this.#machine.slice()
  }
  set machine(names: Uint8Array) {
    this.#machine.set(names)
    Atomics.store(this.#flags, slots.machine, 1)
  }

  /** Whether this path was found to be none of our business. A 64-bit hash stands for the path: a clash is not to be expected. */
  isLocal(path: Uint8Array, intent: FileIntent): boolean {
    const hash = hashOf(path, intent)
    return Atomics.load(this.#places, slotOf(hash)) === hash
  }
  rememberLocal(path: Uint8Array, intent: FileIntent): void {
    const hash = hashOf(path, intent)
    Atomics.store(this.#places, slotOf(hash), hash)
  }
}

function hashOf(path: Uint8Array, intent: FileIntent): bigint {
  // Never 0, which is what an empty slot holds.
  return Bun.hash.wyhash(path, intent === "read" ? 1n : 2n) | 1n
}

function slotOf(hash: bigint): number {
  return Number((hash >> 1n) & BigInt(placeSlots - 1))
}
