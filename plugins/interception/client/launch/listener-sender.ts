import { readdirSync, readlinkSync } from "node:fs"
import { syscall } from "../../../../core/linux/syscall.ts"
import { descriptorMessage } from "../kernel/sent-descriptor.ts"
import { listenerFd } from "./launch-request.ts"

const listenerLink = "anon_inode:seccomp notify"
const lookMs = 1

/** Number of the listener of a process's filter, found among its descriptors; undefined while there is none. */
export function listenerNumber(pid: number | "self"): number | undefined {
  let names: string[] = []
  try {
    names = readdirSync(`/proc/${pid}/fd`)
  } catch {
    // The process has ended.
  }
  for (const name of names) {
    try {
      if (readlinkSync(`/proc/${pid}/fd/${name}`) === listenerLink) return Number(name)
    } catch {
      // It was closed meanwhile.
    }
  }
  return undefined
}

/**
 * The work of the launcher's second thread, which no filter is on: sends the listener as soon as there is one. The first
 * thread cannot, because by then its own calls wait for somebody who has the listener.
 */
export function sendListener(): void {
  const message = descriptorMessage()
  for (;;) {
    const number = listenerNumber("self")
    if (number !== undefined) {
      message.put(number)
      syscall("sendmsg", listenerFd, message.header, 0)
      return
    }
    Bun.sleepSync(lookMs)
  }
}
