import { expect, test } from "bun:test"
import { render } from "./render.ts"

const rendered = (text: string) => render(text, "file", { key: "k1", environment: { HOME: "/home/me" } })

test.each([
  // texts
  ["'ab cd' | capitalize", "Ab cd"],
  ["\"it's o'CLOCK-now\" | title", "It's O'clock-Now"],
  ["'//a/b//' | trim_start_matches(pat='//')", "a/b//"],
  ["'//a/b//' | trim_end_matches(pat='//')", "//a/b"],
  ["' a ' | trim ~ '.'", "error"],
  ["'a$&a' | replace(from='a', to='$&')", "$&$&$&"],
  ["'héllo' | truncate(length=2)", "hé…"],
  ["'Straße – Ærø!' | slugify", "strasse-aero"],
  ["'/foo?a=b&c=d e!' | urlencode", "/foo%3Fa%3Db%26c%3Dd%20e%21"],
  ["'/foo-é' | urlencode_strict", "%2Ffoo%2D%C3%A9"],
  ["'<a href=\"x\">' | escape", "&lt;a href=&quot;x&quot;&gt;"],
  ['"a\'/" | escape_xml', "a&apos;/"],
  ["'a\nb' | linebreaksbr", "a<br>b"],
  ["'<p> <b>x y</b>\n</p>' | spaceless", "<p><b>x y</b></p>"],
  ["'<b>Joel</b>' | striptags", "Joel"],
  ["'a\n\nb' | indent(prefix='  ', first=true)", "  a\n\n  b"],
  ["' a  b ' | wordcount", "2"],
  ["'a\nb' | split(pat='\\n') | join(sep='+')", "a+b"],
  ["'0x1F' | int(base=16)", "31"],
  ["'12.9' | int", "12"],
  ["'x' | int(default=7)", "7"],
  ["'1.5' | float + 1", "error"],
  ["' 1.5 ' | float", "1.5"],
  // numbers
  ["2.5 | round", "3"],
  ["2.11 | round(method='ceil', precision=1)", "2.2"],
  ["0 - 2.5 | round", "-3"],
  ["0 - 2 | abs", "2"],
  ["2 | pluralize", "s"],
  ["1 | pluralize(singular='y', plural='ies')", "y"],
  ["123456789 | filesizeformat", "117.74 MB"],
  ["1024 | filesizeformat(binary=true)", "1 KiB"],
  // lists
  ["['b', 'a'] | sort | first", "a"],
  ["[10, 9] | sort | last", "10"],
  ["[1, 2, 3, 4, 5] | slice(start=1, end=-1)", "[2, 3, 4]"],
  ["['a', 'A', 'b'] | unique", "[a, b]"],
  ["['a', 'A'] | unique(case_sensitive=true)", "[a, A]"],
  ["[1] | concat(with=2) | concat(with=[3, 4])", "[1, 2, 3, 4]"],
  ["[[1, 2], [3, 4]] | map(attribute='1')", "[2, 4]"],
  ["[['x', 1], ['y', 2]] | filter(attribute='0', value='y')", "[[y, 2]]"],
  ["[['x', 1], ['y', 2], ['x', 3]] | group_by(attribute='0') | get(key='x') | length", "2"],
  ["[['x', 1]] | group_by(attribute='0') | get(key='z', default='none')", "none"],
  ["[['b', 1], ['a', 2]] | sort(attribute='0')", "[[a, 2], [b, 1]]"],
  ["[1, 2] | nth(n=5) | as_str | length", "0"],
  ["[1, 2] | reverse | json_encode", "[2,1]"],
  // tests
  ["key is containing('1') and key is ending_with('1')", "true"],
  ["key is matching('^[a-z]\\d$')", "true"],
  ["[1, 2] is containing(2)", "true"],
  ["key is iterable or [] is not iterable", "false"],
  ["9 is divisibleby(3) and 9 is odd and 8 is even and 8 is number and key is string", "true"],
  // functions
  ["range(start=2, end=9, step_by=3)", "[2, 5, 8]"],
  ["get_random(start=5, end=6)", "5"],
  ["get_env(name='NOPE', default=3) + 1", "4"],
  ["now(timestamp=true) > 1700000000 and now(timestamp=true) is number", "true"],
  // dates
  ["1482720453 | date", "2016-12-26"],
  ["1482720453 | date(format='%Y-%m-%d %H:%M')", "2016-12-26 02:47"],
  ["1482720453 | date(format='%I:%M %p %Z', timezone='UTC')", "02:47 AM UTC"],
  ["'1996-12-19T16:39:57-08:00' | date(format='%Y-%m-%d %z')", "1996-12-19 -0800"],
  ["'2017-03-05' | date(format='%a, %d %b %Y %H:%M:%S %z')", "Sun, 05 Mar 2017 00:00:00 +0000"],
  ["'2017-03-05T00:00:00.602' | date(format='%c %.3f %3f')", "Sun Mar  5 00:00:00 2017 .602 602"],
  ["'2019-09-19T01:48:44.581Z' | date(timezone='America/New_York')", "2019-09-18"],
  ["'2019-09-19T13:18:48Z' | date(format='%F %R %:z', timezone='Asia/Kolkata')", "2019-09-19 18:48 +05:30"],
  [
    "'2024-12-30' | date(format='%G-W%V-%u %j %U %W %-d %e %k %l %s %%')",
    "2025-W01-1 365 52 53 30 30  0 12 1735516800 %",
  ],
  [
    "'2024-02-07T08:05:09+01:00' | date(format='%+ %D %v %-H %_m %y %C')",
    "2024-02-07T08:05:09+01:00 02/07/24  7-Feb-2024 8  2 24 20",
  ],
] as const)("%s gives %s", (expression, expected) => {
  if (expected === "error") expect(() => rendered(`{{ ${expression} }}`)).toThrow()
  else expect(rendered(`{{ ${expression} }}`)).toBe(expected)
})

test.each([
  ["5 | upper", 'filter "upper": a text is expected, not 5'],
  ["'a' | round", "a number is expected"],
  ["'a' | replace(from='a')", 'the argument "to" is missing'],
  ["[1, 'a'] | sort", "only items of one type"],
  ["5 | length", "a text, a list or an object"],
  ["key is divisibleby(2)", "a number is expected"],
  ["key is starting_with", "takes one operand"],
  ["key is matching('(')", "Cannot read the pattern"],
  ["nope is odd", "not defined"],
  ["range(end=1000000000)", "up to 100000 numbers"],
  ["range(start=3, end=1)", "goes up"],
  ["range(end=3, step_by=0)", "goes up"],
  ["range()", 'the argument "end" is missing'],
  ["get_random(start=5, end=5)", "no number"],
  ["'2024-02-31' | date", "is no date"],
  ["'yesterday' | date", "is no date"],
  ["1.5 | date", "no time stamp"],
  ["1482720453 | date(format='%Q')", '"%Q" is no part of a date format'],
  ["1482720453 | date(format='%2f')", "is no part of a date format"],
  ["1482720453 | date(timezone='Narnia')", 'no time zone "Narnia"'],
  ["1482720453 | date(format='%z')", "has no zone"],
])("%s is refused", (expression, message) => {
  const run = () => rendered(`{{ ${expression} }}`)
  expect(run).toThrow(expect.objectContaining({ code: "config-template" }))
  expect(run).toThrow(message)
})

test("now is the time of this machine, and a date filter can read it", () => {
  const before = Math.floor(Date.now() / 1000)
  const [utc, local, seconds] = rendered(
    "{{ now(utc=true) | date(format='%s %z') }};{{ now() | date(format='%s') }};{{ now(timestamp=true) }}",
  ).split(";")
  const after = Math.floor(Date.now() / 1000)
  for (const each of [utc!.split(" ")[0], local, seconds]) {
    expect(Number(each)).toBeWithin(before, after + 1)
  }
  expect(utc).toEndWith(" +0000")
})
