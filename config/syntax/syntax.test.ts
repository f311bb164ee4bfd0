import { expect, test } from "bun:test"
import { jqProblem } from "./jq.ts"
import { regexProblem } from "./regex.ts"

test.each([
  ".",
  "..",
  '.headers["x-user"] == "me"',
  ".a.b[0].c?.d[1:2][:3][2:]?",
  '."a-b"."c"[]',
  "-1 + 2.5e3 * .x // 3 | not",
  'if .a then 1 elif .b == "x" then 2 else 3 end',
  "if . then 1 end",
  "def f(g; $x): g | $x; def h: 1; f(.a; 2) , h",
  "reduce .[] as $i (0; . + $i)",
  "foreach .[] as [$a, {b: $c, $d}] (0; . + $a; [., $c])",
  '. as {a: $x, "b": [$y], ("c" + "d"): $z, $w} ?// [$x] | $x',
  "label $out | .[] | if . > 3 then break $out else . end",
  'try error("x") catch .',
  ".a |= (. + 1) | .b //= 2 | del(.c, .d)",
  '"a\\(.b + "x\\(1)")c" | @base64 "v=\\(.)" | @text',
  '{a: 1, "b": 2, (.c): 3, $__loc__, $x, d, @base64 "k": 1, e: .f | .g, if: 1}',
  "[.[] | select(.a and (.b or .c))] | map(.x) | any",
  "$ENV.PATH | ascii_downcase # a comment",
  '[limit(3; .[])] | input_line_number, ltrimstr("x")',
  ".a as $x | .b as $y | $x == $y",
  "try .a? // .b",
  ".a?//1",
  ".[] as [$a] ?// $a | if $a == null then empty else {$a, (.b): -(.c)} end",
])("jq: %s can be read", (program) => {
  expect(jqProblem(program)).toBeUndefined()
})

test.each([
  ["", "it ends too early"],
  [".a ==", "it ends too early"],
  [".a b", '"b" is not expected'],
  ["if .a then 1", '"end" is'],
  ["[.a", '"]" is'],
  ["{a:}", "not expected"],
  ["{(.a)}", "not expected"],
  ['"abc', "a text has no end"],
  ['"a\\x"', "escape"],
  ['"a\\(.b', "ends too early"],
  [".a | ", "ends too early"],
  [".[", "ends too early"],
  ["reduce .[] (0; 1)", '"as" is'],
  ["def f: 1", '";" is'],
  ["label x | 1", '"x" is not expected'],
  [". as x | 1", '"x" is not expected'],
  ["then", '"then" is not expected'],
  ["&", '"&" cannot be read'],
  ["(".repeat(1000), "nests deeper"],
])("jq: %s cannot", (program, problem) => {
  expect(jqProblem(program)).toContain(problem)
})

test.each([
  "^x-user: (me|you)$",
  "(?i)a(?:b)(?P<c>d)(?<e>f)(?=g)(?!h)(?<=i)(?<!j)(?>k)",
  "a++b*+c?+d{2,3}?e{2}",
  "[a-z&&[^aeiou]][]x][^]x][\\]]",
  "\\p{Greek}\\pL\\x{1F600}\\R\\h\\K",
  "(?x) a  # comment (\n b",
  "a{b}",
  "(?i:a)|(?s-i)b",
  "",
])("regular expression: %s can be read", (pattern) => {
  expect(regexProblem(pattern)).toBeUndefined()
})

test.each([
  ["a(", "never closed"],
  ["a)", "no beginning"],
  ["[a", "never closed"],
  ["[]", "never closed"],
  ["*a", "nothing to repeat"],
  ["(|+)", "nothing to repeat"],
  ["a\\", "ends with a backslash"],
  ["a{3,2}", "{3,2}"],
])("regular expression: %s cannot", (pattern, problem) => {
  expect(regexProblem(pattern)).toContain(problem)
})
