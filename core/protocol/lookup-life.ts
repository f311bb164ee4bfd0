import type { LookupRecord } from "./messages/session.ts"

/**
 * podside's way to tell how long the answer to a lookup holds, which the protocol has no field for:
 *
 *   GetAddrInfoRequestV2 with the protocol 0x706f6473           asks for it; no program means such a protocol
 *   Ok([records…, { "+podside-life.CODE.MILLISECONDS", 0.0.0.0 }])   the answer, whose last record is none
 *
 * CODE is DNS' response code: that there are no records is told in this form, too, because it holds for a time as well. mirrord's agent looks
 * at nothing but name and family, so it answers as always, and an answer without such a last record holds no time at all.
 */
export const lifeProtocol = 0x706f6473

export interface LookupLife {
  /** 0: the records are all there are, none included; 3: there is no such name. */
  code: number
  milliseconds: number
}

export const lifeRecord = ({ code, milliseconds }: LookupLife): LookupRecord => ({
  name: `+podside-life.${code}.${Math.floor(milliseconds)}`,
  ip: "0.0.0.0",
})

/** What the last record of an answer says; undefined when it is one like the others. */
export function lifeOf(records: readonly LookupRecord[]): LookupLife | undefined {
  const [, code, milliseconds] = /^\+podside-life\.(\d{1,3})\.(\d{1,9})$/.exec(records.at(-1)?.name ?? "") ?? []
  return code === undefined ? undefined : { code: Number(code), milliseconds: Number(milliseconds) }
}
