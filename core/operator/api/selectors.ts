import { badRequest } from "./status.ts"

/*
 * The selectors of a list, of a watch, and of what a collection is deleted by. One that is not understood is refused: an
 * answer with everything would be taken for an answer to the question.
 */

/** Longest selector read, in characters. */
const maxSelectorLength = 16 * 1024

export type Labels = Readonly<Record<string, string>>

const key = "(?:[a-z0-9](?:[-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?"
const equality = new RegExp(`^(${key})\\s*(=|==|!=)\\s*([-A-Za-z0-9_.]*)$`)
const membership = new RegExp(`^(${key})\\s+(in|notin)\\s*\\(([-A-Za-z0-9_.,\\s]*)\\)$`)
const presence = new RegExp(`^(!?)\\s*(${key})$`)

/** Kubernetes' text form of label selectors: `app=web,tier!=db,env in (a, b),!old`. @throws StatusError 400 */
export function labelSelector(text: string | undefined): (labels: Labels) => boolean {
  const rules = parts(text).map(labelRule)
  return (labels) => rules.every((rule) => rule(labels))
}

function labelRule(text: string): (labels: Labels) => boolean {
  const own = (labels: Labels, name: string) => (Object.hasOwn(labels, name) ? labels[name] : undefined)
  const [, equalKey, sign, value] = equality.exec(text) ?? []
  if (equalKey) return (labels) => (own(labels, equalKey) === value) === (sign !== "!=")
  const [, memberKey, how, list = ""] = membership.exec(text) ?? []
  if (memberKey) {
    const values: readonly unknown[] = list.split(",").map((one) => one.trim())
    return (labels) => values.includes(own(labels, memberKey)) === (how === "in")
  }
  const [, not, presentKey] = presence.exec(text) ?? []
  if (presentKey) return (labels) => (own(labels, presentKey) !== undefined) === (not !== "!")
  throw badRequest(`Cannot read the label selector "${text.slice(0, 100)}"`)
}

/** Separated by commas, those in brackets excepted. */
function parts(text = ""): string[] {
  if (text.length > maxSelectorLength) throw badRequest(`The selector is longer than ${maxSelectorLength} characters`)
  if (text.trim() === "") return []
  return text.match(/(?:[^,(]|\([^)]*\)?)+/g)?.map((part) => part.trim()) ?? []
}

/** `metadata.name=web,spec.session.key!=k`; `\`, `,` and `=` in a value are escaped by a backslash. @throws StatusError 400 */
export function fieldSelector<T>(
  text: string | undefined,
  fields: Readonly<Record<string, (object: T) => string>>,
): (object: T) => boolean {
  if (!text) return () => true
  if (text.length > maxSelectorLength) throw badRequest(`The selector is longer than ${maxSelectorLength} characters`)
  const rules = text.match(/(?:[^\\,]|\\.?)+/g)?.map((part) => fieldRule(part, fields)) ?? []
  return (object) => rules.every((rule) => rule(object))
}

function fieldRule<T>(text: string, fields: Readonly<Record<string, (object: T) => string>>): (object: T) => boolean {
  const [, name = "", sign, value = ""] = /^([\w.]+)(==|=|!=)((?:[^\\,=]|\\[\\,=])*)$/.exec(text) ?? []
  const field = Object.hasOwn(fields, name) ? fields[name] : undefined
  if (!field) {
    const known = Object.keys(fields).join(", ")
    throw badRequest(`Cannot select by "${text.slice(0, 100)}"; the fields are ${known}, each with =, == or !=`)
  }
  const wanted = value.replace(/\\(.)/g, "$1")
  return (object) => (field(object) === wanted) === (sign !== "!=")
}
