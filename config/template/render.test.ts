import { expect, test } from "bun:test"
import { render } from "./render.ts"

const input = { key: "k1", environment: { HOME: "/home/me", EMPTY: "" }, gitBranch: () => "feat/Über Thing" }
const rendered = (text: string) => render(text, "file", input)

test.each([
  ["{{ key }}", "k1"],
  ["{{ key | upper }}-{{ 'a' ~ \"b\" ~ 1 }}", "K1-ab1"],
  ["{{ git_branch | slugify }}", "feat-uber-thing"],
  ["{{ git_branch | replace(from='/', to='-') | truncate(length=6, end='') | lower }}", "feat-ü"],
  ["{{ get_env(name='HOME') }}/{{ get_env(name='NOPE', default='x') }}", "/home/me/x"],
  ["{{ nope | default(value='d') | upper }}", "D"],
  ["{{ 1 + 2 * 3 }} {{ (1 + 2) * 3 }} {{ 7 % 4 }} {{ 1.5 + 1 | round }}", "7 9 3 3"],
  ["{% if nope %}a{% elif key == 'k1' and not nope %}b{% else %}c{% endif %}", "b"],
  ["{% if nope is defined %}a{% else %}b{% endif %}", "b"],
  ["{% if key is defined and key is starting_with('k') %}a{% endif %}", "a"],
  ["{% if 'a' in ['a', 'b'] and 'z' not in key %}a{% endif %}", "a"],
  ["{% if key != 'k1' or 2 > 1 %}a{% endif %}", "a"],
  ["{% set name = key ~ '!' %}{{ name }}", "k1!"],
  ["{% for x in ['a', 'b'] %}{{ loop.index }}{{ x }}{% if not loop.last %},{% endif %}{% endfor %}", "1a,2b"],
  ["{% for x in [] %}a{% endfor %}b", "b"],
  ["a  {{- key -}}  b", "ak1b"],
  ["{# {{ not rendered }} #}x", "x"],
  ["{% raw %}{{ key }}{% endraw %}", "{{ key }}"],
  ["{{ 'a}}b' }}", "a}}b"],
  ["{{ 'a,b' | split(pat=',') | last }} {{ 'héé' | length }}", "b 3"],
  ["{{ 'a b&c' | urlencode }} {{ 'x\"y' | json_encode }}", 'a%20b%26c "x\\"y"'],
  ["no { template } % here", "no { template } % here"],
  ["{% if nope or key %}a{% endif %}{% if not nope %}b{% endif %}{% if nope and nope.x == 1 %}c{% endif %}", "ab"],
  ["{{ nope is undefined or key }} {{ not key }}", "true false"],
  ["{% if key is defined or nope == 1 %}a{% endif %}", "a"],
  [
    "{{ 4 / 2 }} {{ 1 / 0 }} {{ -3 }} {{ 1 == 1.0 }} {{ 1 != 'a' }} {{ [1, [2]] == [1, [2]] }}",
    "2 NaN -3 true false true",
  ],
  ["{% for x in [] %}a{% else %}none{% endfor %}", "none"],
  [
    "{% for x in [1, 2, 3, 4, 5] %}{% if x == 2 %}{% continue %}{% elif x == 4 %}{% break %}{% endif %}{{ x }}{% endfor %}",
    "13",
  ],
  ["{% for c in 'hé' %}{{ c }}.{% endfor %}", "h.é."],
  ["{% for x in [3, 1, 2] | sort %}{{ x }}{% endfor %}{% for x in [1, 2,] %}{{ x }}{% endfor %}", "12312"],
  ["{% set n = 0 %}{% for x in [1, 2] %}{% set n = x %}{% endfor %}{{ n }}", "0"],
  ["{% set n = 0 %}{% for x in [1, 2] %}{% set_global n = n + x %}{% endfor %}{{ n }}", "3"],
  ["{% filter upper %}a{% if key %}b{% endif %}{{ key }}{% endfilter %}", "ABK1"],
  [
    "{% macro m(a, b='x,y') %}<{{ a }}{{ b }}>{% endmacro m %}{{ self::m(a=1) }}{{ self::m(a=2, b='z') }}",
    "<1x,y><2z>",
  ],
  [
    "{% macro f(n) %}{% if n > 1 %}{{ n }}-{{ self::f(n=n-1) }}{% else %}1{% endif %}{% endmacro %}{{ self::f(n=3) }}",
    "3-2-1",
  ],
  ["{% block b %}x{% endblock b %}{% include 'y' ignore missing %}", "x"],
  ["a {%- raw -%} {{ x }} {%- endraw -%} b", "a{{ x }}b"],
  ["{% for k, v in ['ab', 'c', 'ad'] | group_by(attribute='nope') %}{{ k }}{% else %}none{% endfor %}", "none"],
])("%s gives %s", (template, expected) => {
  expect(rendered(template)).toBe(expected)
})

test.each([
  ["{{ nope }}", '"nope" is not defined'],
  ["{{ nope | upper }}", '"nope" is not defined'],
  ["{{ key | frobnicate }}", 'no filter "frobnicate"'],
  ["{{ frobnicate() }}", 'no function "frobnicate"'],
  ["{{ constructor() }}", 'no function "constructor"'],
  ["{{ key | toString }}", 'no filter "toString"'],
  ["{{ key is constructor }}", 'no test "constructor"'],
  ["{{ key.constructor }}", '"key.constructor" is not defined'],
  ["{{ 'a' + 1 }}", '"+" needs two numbers'],
  ["{{ [1] ~ 'a' }}", '"~" joins texts and numbers'],
  ["{% if nope == 'x' %}a{% endif %}", '"nope" is not defined'],
  ["{% set_global x = nope %}", '"nope" is not defined'],
  ["{% for k, v in [1] %}{% endfor %}", "needs an object"],
  ["{% for x in 5 %}{% endfor %}", "needs a list"],
  ["{% macro m(a) %}{{ a }}{% endmacro %}{{ self::m() }}", 'needs the argument "a"'],
  ["{% macro m() %}{{ self::m() }}{% endmacro %}{{ self::m() }}", "deeper than"],
  ["{% if true %}{% macro m() %}{% endmacro %}{% endif %}", "at the top of the file only"],
  ["{{ other::m() }}", "there is only this one"],
  ["{% import 'x' as y %}", "no other template"],
  ["{% filter nope %}a{% endfilter %}", 'no filter "nope"'],
  ["{% for a in range(end=2000) %}{% for b in range(end=2000) %}{% endfor %}{% endfor %}", "more than 1000000 steps"],
  ["{% set a = 'xxxxxxxx' %}{% for i in range(end=30) %}{% set_global a = a ~ a %}{% endfor %}", "longer than"],
  [
    "{% set_global a = [1,2] %}{% for i in range(end=30) %}{% set_global a = a | concat(with=a) %}{% endfor %}",
    "items",
  ],
  [`{{ ${"(".repeat(200)}1${")".repeat(200)} }}`, "nests deeper"],
  ["{{ get_env(name='NOPE') }}", "NOPE is not set"],
  ["{{ key key }}", "is not expected here"],
  ["{{ (key }}", '")" is expected'],
  ["{{ key", "never closed"],
  ["{% if key %}a", 'no "endif"'],
  ["{% for x in [1] %}a", 'no "endfor"'],
  ["{% endif %}", "has no beginning"],
  ["{% include 'x' %}", "no other template to include"],
  ["{% raw %}a", "never closed"],
  ["\n\n{{ 'a' ? }}", "file:3"],
  ["{{ throw(message='stop') }}", "stop"],
])("%s is refused", (template, message) => {
  expect(() => rendered(template)).toThrow(expect.objectContaining({ code: "config-template" }))
  expect(() => rendered(template)).toThrow(message)
})

test("git is only asked when the template wants the branch", () => {
  let asked = 0
  const gitBranch = () => void asked++ as undefined
  render("{{ key }}", "file", { ...input, gitBranch })
  expect(asked).toBe(0)
  expect(() => render("{{ git_branch }}", "file", { ...input, gitBranch })).toThrow("not defined")
  expect(asked).toBe(1)
})
