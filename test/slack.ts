/**
 * What a test says about speed holds on a quiet machine. A machine of CI is shared with others: there everything may take
 * this many times longer, which still tells "soon" from "after the next timeout".
 */
export const slack = process.env["CI"] ? 4 : 1
