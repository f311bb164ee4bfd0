import type { Kube } from "./kube.ts"
import { asTable, type Table } from "./table.ts"

const pageSize = 500

interface List<Item> {
  kind: string
  items?: Item[] | null
  metadata?: { continue?: string }
}

export interface ListByRows<Item, Found> {
  /** For error texts: "list pods in shop". */
  what: string
  labelSelector: string
  /** What a row says of its object besides its cells. */
  includeObject: "None" | "Metadata"
  /** Undefined when a row does not tell. */
  fromTable(table: Table): Found[] | undefined
  fromItems(items: readonly Item[]): Found[]
  /** After a page of such objects the next one is asked for whole at once. Default: never. */
  areHardToTell?(items: readonly Item[]): boolean
}

/**
 * What is found in a list, page by page. Rows of tables say enough of most objects, in a thirtieth of the bytes; a page with one of which
 * they do not is asked for once more, whole. @throws KubeError when it may not be listed
 */
export async function* listByRows<Item, Found>(
  kube: Kube,
  path: string,
  { what, labelSelector, includeObject, fromTable, fromItems, areHardToTell }: ListByRows<Item, Found>,
): AsyncGenerator<Found[]> {
  let isWhole = false
  let next: string | undefined
  for (;;) {
    const list: Table | List<Item> = await kube.request("GET", path, {
      query: { labelSelector, limit: pageSize, continue: next, ...(isWhole ? {} : { includeObject }) },
      what,
      headers: { Accept: isWhole ? "application/json" : asTable },
    })
    if (!isWhole && isTable(list)) {
      const found = fromTable(list)
      isWhole = found === undefined
      if (!found) continue
      yield found
    } else {
      const items: readonly Item[] = (list as List<Item>).items ?? []
      yield fromItems(items)
      isWhole = areHardToTell?.(items) ?? false
    }
    next = list.metadata?.continue || undefined
    if (!next) return
  }
}

const isTable = <Item>(list: Table | List<Item>): list is Table => list.kind === "Table"
