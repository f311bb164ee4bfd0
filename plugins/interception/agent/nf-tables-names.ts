/** Tables of podside's agents: `podside_HOLDER_PORT`, with the port somebody listens on as long as the agent lives. */
export const tablePrefix = "podside_"

/** The map of diverted ports in such a table. */
export const portMap = "ports"

/** The set of copied ports in such a table; a table that copies nothing has none. */
export const copiedPorts = "copied"

export function tableName(holder: string, listenerPort: number): string {
  return `${tablePrefix}${holder}_${listenerPort}`
}

/** The port in a table's name; NaN when it is none of podside's. */
export function portInName(table: string): number {
  return table.startsWith(tablePrefix) ? Number(table.slice(table.lastIndexOf("_") + 1)) : Number.NaN
}
