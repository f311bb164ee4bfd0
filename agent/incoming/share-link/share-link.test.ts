import { expect, test } from "bun:test"
import { endedPage } from "./ended-page.ts"
import { LiveKeys } from "./live-keys.ts"
import { readShareLink } from "./share-link.ts"

const isLive = (key: string) => key === "live" || key === "also"
const read = (target: string, ...headers: [string, string][]) => readShareLink({ target, headers }, isLive)
const cookie = (key: string) => `mirrord-session=${key}; Path=/; HttpOnly; SameSite=Lax`
const cleared = `${cookie("")}; Max-Age=0`

test.each([
  ["/a?mirrord-session=live", "/a"],
  ["/a?x=%20&mirrord-session=live&y", "/a?x=%20&y"],
  ["/a?mirrord-session=&mirrord-session=live&mirrord-session=dead", "/a"],
  ["http://host/a?mirrord-session=live", "http://host/a"],
])("%s goes on as %s, with the key in baggage and cookie", (target, cleaned) => {
  expect(read(target, ["Host", "h"])).toEqual({
    kind: "goes-on",
    request: {
      target: cleaned,
      headers: [
        ["Host", "h"],
        ["baggage", "mirrord-session=live"],
      ],
    },
    setCookie: cookie("live"),
  })
})

test.each([
  [
    [
      ["Baggage", "a=1"],
      ["x", "y"],
      ["baggage", "b=2;p=q"],
    ],
    [
      ["Baggage", "a=1,b=2;p=q,mirrord-session=live"],
      ["x", "y"],
    ],
  ],
  [[["baggage", "a=1, mirrord-session=live"]], [["baggage", "a=1, mirrord-session=live"]]],
  [
    [
      ["baggage", "mirrord-session=live;p=1"],
      ["baggage", "a=1"],
    ],
    [["baggage", "mirrord-session=live;p=1,a=1"]],
  ],
] as [string, string][][][])("baggage %j becomes %j", (before, after) => {
  const link = read("/?mirrord-session=live", ...before!)
  expect(link).toMatchObject({ kind: "goes-on", request: { headers: after! } })
})

test("a cookie names the session as well, and a dead one is cleared while the request goes on as it is", () => {
  const headers: [string, string][] = [["Cookie", "a=b; mirrord-session=; mirrord-session=also"]]
  expect(read("/x?y", ...headers)).toEqual({
    kind: "goes-on",
    request: { target: "/x?y", headers: [...headers, ["baggage", "mirrord-session=also"]] },
    setCookie: undefined,
  })
  const dead: [string, string][] = [["cookie", "mirrord-session=dead"]]
  expect(read("/x", ...dead)).toEqual({ kind: "goes-on", request: { target: "/x", headers: dead }, setCookie: cleared })
})

test("a dead key in the query ends it, whatever the cookie says, and leads to this site only", () => {
  const live: [string, string] = ["cookie", "mirrord-session=live"]
  expect(read("/a?mirrord-session=dead&b=c", live)).toEqual({ kind: "ended", path: "/a?b=c", setCookie: cleared })
  expect(read("//evil.example/?mirrord-session=dead")).toMatchObject({ path: "/evil.example/" })
  expect(read("http://evil.example/x?mirrord-session=dead")).toMatchObject({ path: "/x" })
  // No decoding: this is another key.
  expect(read("/?mirrord-session=liv%65")).toMatchObject({ kind: "ended" })
})

test.each(["/", "/?mirrord-session", "/?mirrord-session=", "/mirrord-session=live", "/?xmirrord-session=live"])(
  "%s is no link",
  (target) => {
    expect(read(target, ["cookie", "mirrord-session="], ["x-cookie", "mirrord-session=live"])).toBeUndefined()
  },
)

test("the page names where it goes on, in HTML's terms", () => {
  expect(endedPage('/a?b="><script>').toString()).toContain("5;url=/a?b=&#34;&#62;&#60;script&#62;")
})

test("a key lives as long as one client holds it, however often it was registered", () => {
  const keys = new LiveKeys()
  expect(keys.used).toBe(false)
  const [one, two] = [keys.ofClient(), keys.ofClient()]
  expect([one.register("k"), one.register("k"), two.register("k")]).toEqual([true, true, true])
  one.remove("k")
  one.remove("k")
  expect(keys.has("k")).toBe(true)
  two.close()
  expect(keys.has("k")).toBe(false)
  expect(keys.used).toBe(true)
  for (const bad of ["", "a;b", "a,b", "a b", "a\r\nb", "ä", "x".repeat(513)]) expect(one.register(bad)).toBe(false)
})
