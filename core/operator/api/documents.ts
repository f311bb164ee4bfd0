/** A document that is the same for every caller, ready to be sent: API servers ask for these all the time. */
export interface FixedDocument {
  contentType: string
  body: Buffer
}

/** By path without query; what the caller accepts may choose between forms. */
export type FixedDocuments = ReadonlyMap<string, (accept: string) => FixedDocument>

export function jsonDocument(content: unknown, contentType = "application/json"): FixedDocument {
  return { contentType, body: Buffer.from(JSON.stringify(content)) }
}
