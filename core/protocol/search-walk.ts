import type { LookupRecord } from "./messages/session.ts"

/**
 * podside's way to ask once for all the full names a search list makes of a relative one. A resolver tries them one by one; who answers it
 * has to know of each whether it exists:
 *
 *   GetAddrInfoRequestV2 with the protocol 0x706f6477                  asks for it; no program means such a protocol
 *   Ok([records…, { "+podside-walk.MILLISECONDS.CODE.CODE…", 0.0.0.0 }])   the answer, whose last record is none
 *
 * The CODEs are DNS' response codes of the full names in their order, up to the one the records are of, or of all when there are none. No
 * CODE: the search list was not needed (the name stands in /etc/hosts). It holds for MILLISECONDS. mirrord's agent answers as always.
 */
export const walkProtocol = 0x706f6477

/** More full names than a search list may make. */
const maxCodes = 64
const form = new RegExp(`^\\+podside-walk\\.(\\d{1,9})((?:\\.\\d{1,3}){0,${maxCodes}})$`)

export interface SearchWalk {
  codes: number[]
  milliseconds: number
}

export const walkRecord = ({ codes, milliseconds }: SearchWalk): LookupRecord => ({
  name: `+podside-walk.${[Math.floor(milliseconds), ...codes].join(".")}`,
  ip: "0.0.0.0",
})

/** What the last record of an answer says; undefined when it is one like the others. */
export function walkOf(records: readonly LookupRecord[]): SearchWalk | undefined {
  const [, milliseconds, codes] = form.exec(records.at(-1)?.name ?? "") ?? []
  if (milliseconds === undefined) return undefined
  return { milliseconds: Number(milliseconds), codes: (codes ?? "").split(".").slice(1).map(Number) }
}
