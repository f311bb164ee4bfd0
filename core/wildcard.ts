/**
 * Whether the whole text fits: `*` is any run of characters, `?` one character. Linear in the pattern for each character of the text: on a
 * difference only the last `*` is tried again.
 */
export function matchesWildcard(pattern: string, text: string): boolean {
  let inPattern = 0
  let inText = 0
  let star = -1
  let retryAt = 0
  while (inText < text.length) {
    if (pattern[inPattern] === "*") {
      star = inPattern++
      retryAt = inText
    } else if (inPattern < pattern.length && (pattern[inPattern] === "?" || pattern[inPattern] === text[inText])) {
      inPattern++
      inText++
    } else if (star >= 0) {
      inPattern = star + 1
      inText = ++retryAt
    } else return false
  }
  while (pattern[inPattern] === "*") inPattern++
  return inPattern === pattern.length
}
