import { AppError } from "../../errors.ts"

/** The bytes of the first block with this label, e.g. "CERTIFICATE REQUEST". @throws AppError "bad-pem" */
export function fromPem(text: string, label: string): Uint8Array {
  const match = new RegExp(`-----BEGIN ${label}-----([A-Za-z0-9+/=\\s]+)-----END ${label}-----`).exec(text)
  if (!match?.[1]) {
    throw new AppError("bad-pem", `No PEM block "${label}" found`, { next: `Send PEM text with a "${label}" block.` })
  }
  return new Uint8Array(Buffer.from(match[1].replace(/\s+/g, ""), "base64"))
}

/** Every block with this label, in order. */
export function allFromPem(text: string, label: string): Uint8Array[] {
  const block = new RegExp(`-----BEGIN ${label}-----[A-Za-z0-9+/=\\s]+-----END ${label}-----`, "g")
  return [...text.matchAll(block)].map(([whole]) => fromPem(whole, label))
}

export function toPem(bytes: Uint8Array, label: string): string {
  const lines =
    Buffer.from(bytes)
      .toString("base64")
      .match(/.{1,64}/g) ?? []
  return `-----BEGIN ${label}-----\n${lines.join("\n")}\n-----END ${label}-----\n`
}
