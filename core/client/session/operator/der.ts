/* The few pieces of DER (X.690) a certificate request is made of: tag, length, content. */

export function der(tag: number, ...content: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(content)
  if (body.length < 0x80) return Buffer.concat([Buffer.from([tag, body.length]), body])
  const length = body.length < 0x100 ? [0x81, body.length] : [0x82, body.length >> 8, body.length & 0xff]
  return Buffer.concat([Buffer.from([tag, ...length]), body])
}

export const sequence = (...content: readonly Uint8Array[]): Buffer => der(0x30, ...content)
export const nullValue: Buffer = der(0x05)
/** An object identifier from its encoded content. */
export const oid = (...content: number[]): Buffer => der(0x06, Buffer.from(content))
/** A bit string of whole bytes. */
export const bitString = (bytes: Uint8Array): Buffer => der(0x03, Buffer.from([0]), bytes)

export function toPem(label: string, bytes: Uint8Array): string {
  const lines =
    Buffer.from(bytes)
      .toString("base64")
      .match(/.{1,64}/g) ?? []
  return `-----BEGIN ${label}-----\r\n${lines.join("\r\n")}\r\n-----END ${label}-----\r\n`
}

/** @throws Error when there is no block of that label */
export function fromPem(label: string, text: string): Buffer {
  const body = new RegExp(`-----BEGIN ${label}-----([\\s\\S]*?)-----END ${label}-----`).exec(text)?.[1]
  if (body === undefined) throw new Error(`there is no ${label} in the answer`)
  return Buffer.from(body.replaceAll(/\s/g, ""), "base64")
}
