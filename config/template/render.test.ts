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
])("%s gives %s", (template, expected) => {
  expect(rendered(template)).toBe(expected)
})

test.each([
  ["{{ nope }}", '"nope" is not defined'],
  ["{{ nope | upper }}", '"nope" is not defined'],
  ["{{ key | frobnicate }}", 'no filter "frobnicate"'],
  ["{{ now() }}", 'no function "now"'],
  ["{{ get_env(name='NOPE') }}", "NOPE is not set"],
  ["{{ key key }}", "is not expected here"],
  ["{{ (key }}", '")" is expected'],
  ["{{ key", "never closed"],
  ["{% if key %}a", 'no "endif"'],
  ["{% for x in [1] %}a", 'no "endfor"'],
  ["{% endif %}", "has no beginning"],
  ["{% include 'x' %}", 'no tag "include"'],
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
