/**
 * podside's way to begin a connection to an agent with an HTTP/1.1 request, so that whoever only passes HTTP on can carry it:
 *
 *   GET … HTTP/1.1, Connection: Upgrade, Upgrade: podside-agent      a client of its own; behind the answer 101 follow messages
 *   besides, Podside-Move: TOKEN (32 hex digits, by chance)          a new carrier for a client that is connected already
 *
 * A client moves by saying `SwitchProtocolVersion("1.29.0+podside-move.TOKEN")` as the last message on the old carrier. The agent
 * answers with the same text as its last one there. Each side's next messages come on the new carrier.
 *
 * mirrord's agent knows none of this: "G" is no tag of a message, so it drops who asks, and nobody says the second to it.
 */
export const upgradeToken = "podside-agent"
export const moveHeader = "podside-move"

export const moveVersion = (version: string, token: string): string => `${version}+podside-move.${token}`

/** The token of a version that says good-bye to a carrier. */
export const movedBy = (version: string): string | undefined => /\+podside-move\.([0-9a-f]{32})$/.exec(version)?.[1]
export const isMoveToken = (text: string): boolean => /^[0-9a-f]{32}$/.test(text)
