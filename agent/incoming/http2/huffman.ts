/*
 * Huffman code of HPACK (RFC 7541, appendix B). It is canonical: the lengths of the codes tell everything. One digit of base 36 a
 * symbol, 0 to 255; the end-of-string symbol has 30 bits and never occurs.
 */
const lengths =
  "dnsssssssoussussssssssusssssssss6aacd68baa8b8666555666666678f6ca" +
  "d67777777777777777777777878djde6f56565666577666567655677777fbeds" +
  "kmkkmmmnmnnnnnonoomnonnnnlmnmnnomlkmmnnlnmmolmnnllmlnmnnkmmmnmmn" +
  "qqkjmnmpqqqrrqopjlqrrqrollqqsrrrkoklmllnmmppooqnqrqqrrrrrsrrrrrq"
const endOfString = 256
const endOfStringBits = 30

/** Pairs of child indices; a negative one is the symbol -1 - value. */
const tree = buildTree()

function buildTree(): Int16Array {
  const bits = [...lengths].map((digit) => Number.parseInt(digit, 36))
  bits[endOfString] = endOfStringBits
  const order = bits.map((_, symbol) => symbol).sort((a, b) => bits[a]! - bits[b]! || a - b)
  const nodes = new Int16Array(2 * 512)
  let used = 1
  let code = 0
  let length = 0
  for (const symbol of order) {
    code *= 2 ** (bits[symbol]! - length)
    length = bits[symbol]!
    let node = 0
    for (let bit = length - 1; bit > 0; bit--) {
      const slot = 2 * node + ((code >>> bit) & 1)
      if (nodes[slot] === 0) nodes[slot] = used++
      node = nodes[slot]!
    }
    nodes[2 * node + (code & 1)] = -1 - symbol
    code++
  }
  return nodes
}

/** The text of a Huffman-coded string, one character a byte; undefined when it is not one. */
export function decodeHuffman(bytes: Uint8Array): string | undefined {
  const symbols: number[] = []
  let node = 0
  // Bits since the last symbol, and whether they are all ones: padding must be a beginning of the end-of-string code.
  let depth = 0
  let onlyOnes = true
  for (const byte of bytes) {
    for (let bit = 7; bit >= 0; bit--) {
      const value = (byte >>> bit) & 1
      const next = tree[2 * node + value]!
      depth++
      onlyOnes &&= value === 1
      if (next >= 0) {
        node = next
        continue
      }
      if (next === -1 - endOfString) return undefined
      symbols.push(-1 - next)
      node = 0
      depth = 0
      onlyOnes = true
    }
  }
  return depth < 8 && onlyOnes ? Buffer.from(symbols).toString("latin1") : undefined
}
