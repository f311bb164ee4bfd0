/**
 * Value of `Accept` for a list of which a table as kubectl shows it is enough; a server that makes none of it sends objects.
 * With `includeObject=None` a row is its cells only: of a pod some hundred bytes instead of thousands.
 */
export const asTable = "application/json;as=Table;g=meta.k8s.io;v=v1,application/json"

/** meta.k8s.io/v1 Table, as far as it is read. */
export interface Table {
  kind: "Table"
  columnDefinitions: { name: string }[]
  rows?: { cells: unknown[]; object?: { metadata: { namespace?: string } } | null }[] | null
  metadata?: { continue?: string }
}

/** The text in a column; empty where the table has none of that name. */
export type Row = (column: string) => string

export function rowsOf({ columnDefinitions, rows }: Table): Row[] {
  const places = new Map(columnDefinitions.map(({ name }, index) => [name, index]))
  return (rows ?? []).map(({ cells }) => (column) => {
    const place = places.get(column)
    return place === undefined ? "" : String(cells[place] ?? "")
  })
}
