import { existsSync, readFileSync } from "node:fs"

/** Where Debian's linux-libc-dev and its like keep the kernel's headers, on x86-64 and on arm64. */
const places = {
  x64: ["/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "/usr/include/asm/unistd_64.h"],
  arm64: ["/usr/include/asm-generic/unistd.h", "/usr/aarch64-linux-gnu/include/asm-generic/unistd.h"],
} as const

export type HeaderArchitecture = keyof typeof places

/** From here on a call has one number on all architectures. Source: Documentation/process/adding-syscalls.rst. */
const firstCommonNumber = 424

/**
 * What the kernel's headers say is the number of a call, undefined when they have no such call; of calls newer than the
 * headers only that their number is a common one can be told, so that is believed. Null, said loudly, without headers.
 */
export function numbersOfHeaders(
  architecture: HeaderArchitecture,
): ((name: string, ours?: number) => number | undefined) | null {
  const text = headerText(architecture, "unistd.h")
  if (text === undefined) return null
  // A few calls of the generic table have one name for 32 and for 64 bits: __NR3264_lseek.
  const lines = text.matchAll(/^#define __NR(?:3264)?_(\w+) (\d+)$/gm)
  const known = new Map([...lines].map(([, name, number]) => [aliases[name!] ?? name!, Number(number)]))
  const newest = Math.max(...known.values())
  return (name, ours = 0) => known.get(name) ?? (ours >= firstCommonNumber && ours > newest ? ours : undefined)
}

/** The generic table calls this one by what it is on 32 bits. */
const aliases: Record<string, string> = { fstatat: "newfstatat" }

/** One field of a structure: its offset and width, in bytes. */
export type Field = readonly [offset: number, width: number]

/** `struct stat` of arm64 as the kernel's header has it, by the fields' names without "st_", and its size. */
export function statOfHeaders(): { fields: Map<string, Field>; bytes: number } | undefined {
  const text = headerText("arm64", "stat.h")
  const body = text && /struct stat \{([^}]*)\}/.exec(text)?.[1]
  if (!body) return undefined
  const fields = new Map<string, Field>()
  let at = 0
  for (const [, type, name] of body.matchAll(/^\s*((?:unsigned )?(?:long|int))\s+(\w+);/gm)) {
    const width = type!.endsWith("long") ? 8 : 4
    at = Math.ceil(at / width) * width
    fields.set(name!.replace(/^st_/, ""), [at, width])
    at += width
  }
  return { fields, bytes: at }
}

function headerText(architecture: HeaderArchitecture, name: string): string | undefined {
  const path = places[architecture]
    .map((unistd) => (name === "unistd.h" ? unistd : unistd.replace("unistd.h", name)))
    .find((each) => existsSync(each))
  if (path !== undefined) return readFileSync(path, "utf8")
  console.warn("SKIPPED: tables of system calls against the kernel's headers (Debian: linux-libc-dev)")
  return undefined
}
