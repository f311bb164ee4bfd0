import type { Expression } from "./expression.ts"
import { parseJq } from "./parse.ts"

/** Functions of jq that are written in jq. Source: the jq manual. */
const source = `
def any(g; c): isempty(first(g | select(c))) | not;
def all(g; c): isempty(first(g | select(c | not)));
def in(xs): . as $x | xs | has($x);
def IN(s): any(s == .; .);
def IN(src; s): any(src == s; .);
def last(f): reduce f as $x (null; $x);
def nth($n): .[$n];
def nth($n; f): last(limit($n + 1; f));
def until(cond; update): def next: if cond then . else update | next end; next;
def while(cond; update): def next: if cond then ., (update | next) else empty end; next;
def repeat(f): def next: ., (f | next); next;
def recurse(f): def next: ., (f | next); next;
def range($upto): range(0; $upto);
def to_entries: . as $o | [keys[] | {key: ., value: $o[.]}];
def from_entries: reduce .[] as $e ({}; . + {($e | if .key == null then .k // .name else .key end | tostring): ($e | if .value == null then .v else .value end)});
def with_entries(f): to_entries | map(f) | from_entries;
def map_values(f): if type == "array" then map(f) else with_entries(.value as $v | {key, value: ($v | f)}) end;
def flatten: reduce .[] as $x ([]; . + if $x | type == "array" then $x | flatten else [$x] end);
def nulls: select(. == null);
def booleans: select(type == "boolean");
def numbers: select(type == "number");
def strings: select(type == "string");
def arrays: select(type == "array");
def objects: select(type == "object");
def match(re): match(re; null);
def captured: [.captures[] | select(.name != null) | {key: .name, value: .string}] | from_entries;
def capture(re): match(re; null) | captured;
def capture(re; flags): match(re; flags) | captured;
def scan(re): scan(re; null);
def scan(re; $flags): match(re; ($flags // "") + "g") | if .captures == [] then .string else [.captures[].string] end;
def split(re; $flags): . as $in | [foreach (match(re; ($flags // "") + "g"), null) as $m ([0, ""]; if $m == null then [0, $in[.[0]:]] else [$m.offset + $m.length, $in[.[0]:$m.offset]] end; .[1])];
def splits(re): split(re; null)[];
def splits(re; flags): split(re; flags)[];
def sub(re; to; $flags): . as $in | reduce match(re; $flags) as $m ([0, ""]; [$m.offset + $m.length, .[1] + $in[.[0]:$m.offset] + ($m | captured | to)]) | .[1] + $in[.[0]:];
def sub(re; to): sub(re; to; "");
def gsub(re; to; $flags): sub(re; to; $flags + "g");
def gsub(re; to): sub(re; to; "g");
`

/** By name and number of arguments, as "map/1". */
export const library: ReadonlyMap<string, { params: string[]; body: Expression }> = read()

function read(): Map<string, { params: string[]; body: Expression }> {
  const found = new Map<string, { params: string[]; body: Expression }>()
  let expression = parseJq(`${source} .`)
  while (expression.kind === "def") {
    const { name, params, body, rest } = expression
    found.set(`${name}/${params.length}`, { params, body })
    expression = rest
  }
  return found
}
