import { describe, expect, jest, test } from "bun:test"
import * as v from "valibot"
import type { AppError } from "./errors.ts"
import { hooks } from "./host/hooks.ts"
import { inspectPlugins } from "./host/inspect.ts"
import { type LoadedPlugin, type PluginConfigs, startPlugins } from "./host.ts"
import { createLogger } from "./log.ts"
import { type Cluster, definePlugin, type OperatorHooks, type OperatorHost, type Plugin } from "./plugin.ts"
import type { Session, SessionRequest } from "./session.ts"

const request: SessionRequest = {
  identity: { user: "ada", groups: [], extra: {} },
  target: { kind: "deployment", name: "api" },
  namespace: "shop",
  labels: {},
  client: {},
}
const session: Session = { ...request, id: "A1", openedAt: new Date(0) }

function plugin(name: string, operator?: (host: never) => OperatorHooks, more: Partial<Plugin> = {}): Plugin {
  return { name, config: v.strictObject({}), operator: operator as Plugin["operator"], ...more }
}

const builtIn = (...plugins: Plugin[]): LoadedPlugin[] => plugins.map((each) => ({ plugin: each, origin: "built-in" }))

function boot(plugins: Plugin[], config: PluginConfigs = {}) {
  const lines: string[] = []
  const log = createLogger({ level: "debug", write: (line) => lines.push(line) })
  return startPlugins("operator", builtIn(...plugins), { log, config }).then((running) => ({ ...running, lines }))
}

async function refusal(plugins: Plugin[], config: PluginConfigs = {}): Promise<AppError> {
  const outcome = await boot(plugins, config).catch((thrown) => thrown)
  expect(outcome).toBeInstanceOf(Error)
  return outcome
}

describe("order", () => {
  test("plugins are wired and started in list order, undone in reverse", async () => {
    const steps: string[] = []
    const noisy = (name: string) =>
      plugin(name, ({ defer }: { defer(undo: () => void): void }) => {
        steps.push(`wire ${name}`)
        defer(() => steps.push(`undo ${name}`))
        return { start: async () => void steps.push(`start ${name}`) }
      })
    const running = await boot([noisy("a"), noisy("b"), noisy("c")])
    await running.stop()
    await running.stop()
    expect(steps).toEqual([
      ...["wire a", "wire b", "wire c"],
      ...["start a", "start b", "start c"],
      ...["undo c", "undo b", "undo a"],
    ])
  })

  test("a need that stands earlier is met", async () => {
    await (await boot([plugin("a"), plugin("b", undefined, { needs: ["a"] })])).stop()
  })
  test("a need that stands later is refused, naming both", async () => {
    const { message } = await refusal([plugin("b", undefined, { needs: ["a"] }), plugin("a")])
    expect(message).toContain('built-in plugin "b": it needs "a", which stands later in the list')
  })
  test("a need nobody meets is refused, naming both", async () => {
    const { message } = await refusal([plugin("b", undefined, { needs: ["a"] })])
    expect(message).toContain('built-in plugin "b": it needs "a", which is not there')
  })
  test("one name twice is refused", async () => {
    expect((await refusal([plugin("a"), plugin("a")])).message).toContain('"a" is taken')
  })
})

describe("settings", () => {
  const guard = definePlugin({
    name: "guard",
    config: v.strictObject({ limitSeconds: v.optional(v.number(), 5) }),
    operator: ({ config }) => ({ notReady: () => `limit ${config.limitSeconds}` }),
  }) as unknown as Plugin

  test("have their defaults", async () => {
    expect((await boot([guard])).notReady()).toEqual(["guard: limit 5"])
  })
  test("are read", async () => {
    expect((await boot([guard], { guard: { limitSeconds: 7 } })).notReady()).toEqual(["guard: limit 7"])
  })
  test.each([
    [
      "an unknown key, naming the nearest",
      { guard: { limitSecond: 7 } },
      'unknown key "limitSecond"',
      '"limitSeconds"',
    ],
    ["a wrong type, naming the path", { guard: { limitSeconds: "7" } }, "limitSeconds: ", "plugin list"],
    ["something that is no object", { guard: [] }, "must be an object", "plugin list"],
    ["settings of a plugin that is not there", { gard: {} }, '"gard"', 'Did you mean "guard"?'],
  ])("refuse %s", async (_, config, message, next) => {
    const error = await refusal([guard], config)
    expect(error.code).toBe("bad-plugin-config")
    expect(error.message).toContain(message)
    expect(error.next).toContain(next)
  })
  test("refuse that there are none where there must be", async () => {
    const needy = definePlugin({ name: "needy", config: v.strictObject({ limitSeconds: v.number() }) })
    expect((await refusal([needy], {})).message).toBe('Settings of plugin "needy" are wrong: "limitSeconds" is missing')
  })
  test("refuse before any plugin does anything", async () => {
    let wired = false
    const eager = plugin("eager", () => {
      wired = true
      return {}
    })
    await refusal([eager, guard], { guard: { limitSeconds: "7" } })
    expect(wired).toBe(false)
  })
})

describe("the cluster", () => {
  const reader = plugin("reader", ({ kube }: OperatorHost) => {
    let names: string[] = []
    return {
      start: () =>
        kube.follow("/api/v1/configmaps", (objects) => {
          names = objects.map(({ metadata }) => metadata.name)
        }),
      notReady: () => names.join(),
    }
  })

  test("is an operator's plugin's from its start to the role's end", async () => {
    let asked: AbortSignal | undefined
    const cluster = (signal: AbortSignal): Cluster => {
      asked = signal
      const none = () => Promise.reject(new Error("not asked"))
      return {
        ...{ request: none, list: none, pages: none as never, watch: none as never },
        follow: async (_path, onChange) => onChange([{ metadata: { name: "one" } } as never]),
      }
    }
    const running = await startPlugins("operator", builtIn(reader), { log: createLogger({ write: () => {} }), cluster })
    expect(running.notReady()).toEqual(["reader: one"])
    expect(asked?.aborted).toBe(false)
    await running.stop()
    expect(asked?.aborted).toBe(true)
  })

  test("is not there where plugins are only looked at", async () => {
    expect((await inspectPlugins(builtIn(reader), {}))[0]?.hooks.operator).toEqual(["start", "notReady"])
    const hasty = plugin("hasty", ({ kube }: OperatorHost) => {
      void kube.list("/api/v1/pods")
      return {}
    })
    await expect(inspectPlugins(builtIn(hasty), {})).rejects.toMatchObject({
      message: expect.stringContaining("There is no cluster here"),
    })
  })
})

describe("hooks at boot", () => {
  test("a misspelled hook is refused, naming the right one", async () => {
    const { message } = await refusal([
      plugin("a", () => ({ authoriseSession: async () => ({ allow: true }) }) as object),
    ])
    expect(message).toContain('there is no operator hook "authoriseSession". Did you mean "authorizeSession"?')
  })
  test("a hook that is no function is refused", async () => {
    expect((await refusal([plugin("a", () => ({ onAudit: 1 }) as object)])).message).toContain("must be a function")
  })
  test("a role function that answers later is refused", async () => {
    expect((await refusal([plugin("a", (async () => ({})) as never)])).message).toContain("at once")
  })
  test("two providers are refused, naming both", async () => {
    const provider = (name: string): Plugin => ({
      name,
      config: v.strictObject({}),
      agent: () => ({ provideInterceptor: () => ({ open: async () => ({}) }) as never }),
    })
    const log = createLogger({ write: () => {} })
    const two = startPlugins("agent", builtIn(provider("first"), provider("second")), { log })
    expect((await two.catch((thrown) => thrown)).message).toMatch(/"second": provideInterceptor .* "first"/)
    const one = await startPlugins("agent", builtIn(provider("first")), { log })
    expect(one.provide("provideInterceptor")).toHaveProperty("open")
    const none = await startPlugins("agent", [], { log })
    expect(() => none.provide("provideInterceptor")).toThrow("No plugin has provideInterceptor")
  })
})

describe("a failed start", () => {
  test("undoes everything, also its own part, and names the plugin", async () => {
    const steps: string[] = []
    const good = plugin("good", ({ defer }: { defer(undo: () => void): void }) => ({
      start: async () => defer(() => steps.push("undo good")),
    }))
    const bad = plugin("bad", ({ defer }: { defer(undo: () => void): void }) => {
      defer(() => steps.push("undo bad"))
      return {
        start: async () => {
          throw new Error("no port free")
        },
      }
    })
    const never = plugin("never", () => ({ start: async () => void steps.push("start never") }))
    const { message } = await refusal([good, bad, never])
    expect(message).toContain('built-in plugin "bad": no port free')
    expect(steps).toEqual(["undo good", "undo bad"])
  })
  test("an undo that throws is logged and stops no other", async () => {
    const steps: string[] = []
    const running = await boot([
      plugin("a", ({ defer }: { defer(undo: () => void): void }) => {
        defer(() => steps.push("first"))
        defer(() => {
          throw new Error("stuck")
        })
        return {}
      }),
    ])
    await running.stop()
    expect(steps).toEqual(["first"])
    expect(running.lines.join()).toContain("stuck")
  })
  test("what takes a while to undo is waited for, and may fail by then", async () => {
    const steps: string[] = []
    const running = await boot([
      plugin("a", ({ defer }: { defer(undo: () => unknown): void }) => {
        defer(() => steps.push("first"))
        defer(async () => {
          await new Promise(setImmediate)
          steps.push("slow")
          throw new Error("disk full")
        })
        return {}
      }),
    ])
    await running.stop()
    expect(steps).toEqual(["slow", "first"])
    expect(running.lines.join()).toContain("disk full")
  })
  test("the signal is aborted by stop, and a late defer is undone at once", async () => {
    let late: ((undo: () => void) => void) | undefined
    let signal: AbortSignal | undefined
    const running = await boot([
      plugin("a", (host: { defer(undo: () => void): void; signal: AbortSignal }) => {
        late = host.defer
        signal = host.signal
        return {}
      }),
    ])
    expect(signal?.aborted).toBe(false)
    await running.stop()
    expect(signal?.aborted).toBe(true)
    let undone = false
    late?.(() => {
      undone = true
    })
    expect(undone).toBe(true)
  })
})

describe("authorize", () => {
  const saying = (name: string, answer: () => unknown) =>
    plugin(name, () => ({ authorizeSession: answer as OperatorHooks["authorizeSession"] }))
  const yes = { allow: true } as const
  const no = { allow: false, code: "closed", reason: "after hours" } as const

  test("everyone allows: allowed", async () => {
    const running = await boot([saying("a", async () => yes), saying("b", async () => yes)])
    expect(await running.authorize("authorizeSession", request)).toEqual({ allow: true })
  })
  test("nobody is asked: allowed", async () => {
    expect(await (await boot([])).authorize("authorizeSession", request)).toEqual({ allow: true })
  })
  test("the first denial wins, later plugins are not asked", async () => {
    let asked = false
    const later = saying("c", async () => {
      asked = true
      return no
    })
    const running = await boot([saying("a", async () => yes), saying("b", async () => no), later])
    expect(await running.authorize("authorizeSession", request)).toEqual({ ...no, plugin: "b" })
    expect(asked).toBe(false)
  })
  test.each([
    ["a throw", () => Promise.reject(new Error("database away")), "database away"],
    [
      "a throw before the promise",
      () => {
        throw new Error("database away")
      },
      "database away",
    ],
    ["nothing", async () => undefined, "no decision"],
    ["a truthy word", async () => "yes", "no decision"],
    ["allow: 1", async () => ({ allow: 1 }), "no decision"],
  ])("%s denies, with the plugin's name", async (_, answer, reason) => {
    const verdict = await (await boot([saying("a", answer)])).authorize("authorizeSession", request)
    expect(verdict).toMatchObject({ allow: false, code: "authorization-failed", plugin: "a" })
    expect((verdict as { reason: string }).reason).toContain(reason)
  })
  test("nothing goes on once everyone has decided", async () => {
    jest.useFakeTimers()
    try {
      const running = await boot([saying("a", async () => yes), saying("b", async () => no)])
      await running.authorize("authorizeSession", request)
      expect(jest.getTimerCount()).toBe(0)
    } finally {
      jest.useRealTimers()
    }
  })
  test("who thinks for ten seconds denies; who is a little quicker is heard", async () => {
    jest.useFakeTimers()
    try {
      const thinking = saying("a", () => new Promise((resolve) => setTimeout(() => resolve(yes), 10_001)))
      const slow = (await boot([thinking])).authorize("authorizeSession", request)
      const quicker = saying("b", () => new Promise((resolve) => setTimeout(() => resolve(yes), 9_999)))
      const inTime = (await boot([quicker])).authorize("authorizeSession", request)
      jest.advanceTimersByTime(10_100)
      expect(await slow).toMatchObject({ allow: false, code: "authorization-late", plugin: "a" })
      expect(await inTime).toEqual({ allow: true })
    } finally {
      jest.useRealTimers()
    }
  })
})

describe("the other verbs", () => {
  test("filter passes a value through everyone in order", async () => {
    const without = (name: string, key: string) =>
      plugin(name, () => ({ filterEnv: (_s, variables) => new Map([...variables].filter(([each]) => each !== key)) }))
    const running = await boot([without("a", "A"), without("b", "B")])
    const result = running.filter("filterEnv", session, new Map(Object.entries({ A: "1", B: "2", C: "3" })))
    expect([...result.keys()]).toEqual(["C"])
  })
  test("a filter that throws or returns nothing ends the request", async () => {
    const broken = await boot([
      plugin("a", () => ({
        filterEnv: () => {
          throw new Error("odd")
        },
      })),
    ])
    expect(() => broken.filter("filterEnv", session, new Map())).toThrow('Plugin "a" failed in filterEnv: odd')
    const silent = await boot([plugin("a", () => ({ filterEnv: () => undefined as never }))])
    expect(() => silent.filter("filterEnv", session, new Map())).toThrow("it returned nothing")
  })
  test("an observer that throws is logged and the next one still hears", async () => {
    const heard: string[] = []
    const running = await boot([
      plugin("a", () => ({
        onSessionOpened: () => {
          throw new Error("sink full")
        },
      })),
      plugin("b", () => ({ onSessionOpened: async () => Promise.reject(new Error("too late")) }) as OperatorHooks),
      plugin("c", () => ({ onSessionOpened: ({ id }) => void heard.push(id) })),
    ])
    running.notify("onSessionOpened", session)
    await new Promise(setImmediate)
    expect(heard).toEqual(["A1"])
    expect(running.lines.join()).toContain("sink full")
    expect(running.lines.join()).toContain("too late")
  })
  test("readiness names who is not ready", async () => {
    const running = await boot([
      plugin("a", () => ({ notReady: () => "warming up" })),
      plugin("b", () => ({ notReady: () => undefined })),
    ])
    expect(running.notReady()).toEqual(["a: warming up"])
  })
})

test("inspection wires all roles, starts nothing and leaves nothing", async () => {
  const steps: string[] = []
  const [summary] = await inspectPlugins(
    builtIn(
      plugin("a", ({ defer }: { defer(undo: () => void): void }) => {
        defer(() => steps.push("undo"))
        return { start: async () => void steps.push("start"), onAudit: () => {} }
      }),
    ),
    {},
  )
  expect(summary).toMatchObject({
    name: "a",
    origin: "built-in",
    hooks: { operator: ["start", "onAudit"] },
    config: {},
  })
  expect(steps).toEqual(["undo"])
})

test("inspection refuses what boot would: settings for nobody, an order that cannot be", async () => {
  const list = builtIn(plugin("port-guard", () => ({})))
  await expect(inspectPlugins(list, { "port-gard": {} })).rejects.toMatchObject({
    code: "bad-plugin-config",
    next: expect.stringContaining('"port-guard"'),
  })
  await expect(inspectPlugins([...list, ...list], {})).rejects.toMatchObject({ code: "bad-plugin" })
  expect(await inspectPlugins(list, { "port-guard": {} })).toHaveLength(1)
})

test("every hook's verb tells its kind", () => {
  const all = Object.values(hooks).flatMap((ofRole) => Object.entries(ofRole))
  for (const [name, kind] of all) {
    if (kind !== "lifecycle") expect(name).toMatch(new RegExp(`^${kind}[A-Z]`))
  }
})
