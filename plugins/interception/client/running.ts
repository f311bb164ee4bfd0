import { constants } from "node:os"
import type { LaunchOptions, RunningProgram } from "../../../core/client/engine.ts"
import { lastWords } from "../../../core/last-words.ts"
import { syscall } from "../../../core/linux/syscall.ts"
import { startWorker } from "../../../core/worker.ts"
import { descriptorCalls } from "./files/descriptor-calls.ts"
import { directoryCalls } from "./files/directory-calls.ts"
import { InjectedFiles } from "./files/injected.ts"
import { createLocator } from "./files/locate.ts"
import { nameCalls } from "./files/name-calls.ts"
import { openCalls } from "./files/open-calls.ts"
import { PendingWrites } from "./files/pending-writes.ts"
import { statCalls } from "./files/stat-calls.ts"
import { transferCalls } from "./files/transfer-calls.ts"
import { resolverFiles } from "./files/virtual-files.ts"
import { architectureOf } from "./kernel/abi.ts"
import type { Handlers } from "./kernel/call.ts"
import { compileFilter } from "./kernel/filter.ts"
import { Orphans } from "./kernel/orphans.ts"
import { descriptorRanges, partsOf, refusedCalls, watchRules } from "./kernel/rules.ts"
import type { Rung } from "./kernel/rung.ts"
import { forgetThreads } from "./kernel/tracee.ts"
import { inheritedOpenFiles, type Prepared, prepareProgram } from "./launch/launch.ts"
import { machineCalls } from "./machine-calls.ts"
import { connectCalls } from "./network/connect-calls.ts"
import { datagramCalls } from "./network/datagram-calls.ts"
import { interfaceCalls } from "./network/interface-calls.ts"
import { listenCalls } from "./network/listen-calls.ts"
import { Listeners } from "./network/listeners.ts"
import { ResolverSocket } from "./network/resolver-socket.ts"
import { refuseIpv6, socketCalls } from "./network/socket-calls.ts"
import { socketNameCalls } from "./network/socket-name-calls.ts"
import { TcpConnections } from "./network/tcp-connections.ts"
import { UdpAssociations } from "./network/udp-associations.ts"
import { UnixConnections } from "./network/unix-connections.ts"
import { Waits } from "./network/waits.ts"
import type { NetworkSupervision, Supervision } from "./supervision.ts"
import { Supervisor } from "./supervisor.ts"
import { Readiness } from "./watch/readiness.ts"
import { SharedState, sharedMemory } from "./watch/shared-state.ts"
import type { WatchMessage, WatchOptions } from "./watch/watch.ts"
import { openWatchChannel } from "./watch/watch-channel.ts"
import { WorkingDirectories } from "./watch/working-directories.ts"

/** Signals a terminal sends to the whole group: the program gets them itself, the engine stays to see it end. */
const sharedSignals = ["SIGINT", "SIGQUIT"] as const
/** Signals meant for whoever runs the program. */
const forwardedSignals = ["SIGTERM", "SIGHUP"] as const

/** Starts a program under a filter, watches it, and undoes everything when it has ended. */
export async function runProgram(options: LaunchOptions, rung: Rung): Promise<RunningProgram> {
  const { world, log } = options
  const architecture = architectureOf(process.arch)!
  const openFiles = inheritedOpenFiles()
  const ranges = descriptorRanges(openFiles[0])
  const filter = compileFilter(architecture, watchRules(partsOf(world), ranges, rung.descriptors), refusedCalls)
  const prepared = await prepareProgram(options, filter, openFiles, rung)
  const { listener, child } = prepared
  const orphans = new Orphans(child.pid)
  const memory = sharedMemory()
  const shared = new SharedState(memory)
  const readiness = new Readiness()
  const injected = new InjectedFiles(log)
  const directories = new WorkingDirectories(shared)
  const locator = createLocator({
    files: world.files,
    injected,
    directories,
    shared,
    virtualFile: resolverFiles(world.dns),
  })
  const pendingWrites = new PendingWrites()
  const supervision: Supervision = {
    world,
    log,
    architecture,
    ranges,
    rung,
    shared,
    readiness,
    injected,
    directories,
    pendingWrites,
    locator,
  }
  const network: NetworkSupervision = {
    ...supervision,
    tcp: new TcpConnections(readiness, shared),
    udp: new UdpAssociations(shared, log),
    unix: new UnixConnections(readiness, shared),
    listeners: new Listeners(world.incoming, shared),
    waits: new Waits(listener, readiness),
  }
  const resolver =
    world.dns && rung.descriptors === "fetched" ? await ResolverSocket.open(world.dns, shared) : undefined
  if (resolver && world.dns) network.udp.resolver = { server: world.dns.server, at: resolver.at }
  const supervisor = new Supervisor(listener, supervision, handlersFor(network))
  const channel = await openWatchChannel(
    (notification) => supervisor.take(notification),
    (token) => readiness.ready(token),
  )
  const watching = startWatching(
    {
      channel: channel.writeFd,
      listener,
      epoll: readiness.epoll,
      memory,
      ranges,
      hidesRelative: world.files?.hides !== undefined,
      resolver: network.udp.resolver,
      skipped: options.skipped ?? [],
    },
    (reason) => {
      log.error("the engine's thread failed, the program cannot go on", { reason })
      child.kill("SIGKILL")
    },
  )
  const stopSignals = passSignals(child)
  try {
    await watching.started
    await prepared.go()
  } catch (thrown) {
    child.kill("SIGKILL")
    stopSignals()
    await child.exited
    await orphans.end(watching.ended)
    resolver?.close()
    channel.close()
    readiness.close()
    syscall("close", listener)
    throw thrown
  }
  return {
    pid: child.pid,
    kill: (signal) => child.kill(signal),
    exited: ended(prepared, async () => {
      injected.catchUp()
      await pendingWrites.allSettled()
      stopSignals()
      await orphans.end(watching.ended)
      await hearOut(network)
      supervisor.close()
      injected.close()
      await pendingWrites.allSettled()
      for (const part of [network.tcp, network.udp, network.unix, network.listeners, resolver]) part?.close()
      forgetThreads()
      channel.close()
      readiness.close()
      syscall("close", listener)
    }),
  }
}

async function hearOut({ tcp, udp, unix, world, log }: NetworkSupervision): Promise<void> {
  const [haveAll, haveAnswered] = await Promise.all([
    lastWords([...tcp.speakers, ...unix.speakers, ...udp.speakers]),
    world.incoming?.lastWords?.(),
  ])
  if (haveAll && haveAnswered !== false) return
  log.warn("the last data of the program may be lost: for 5 s the pod took nothing of it")
}

function handlersFor(supervision: NetworkSupervision): Handlers {
  const handlers = {
    ...openCalls(supervision),
    ...statCalls(supervision),
    ...nameCalls(supervision),
    ...directoryCalls(supervision),
    ...transferCalls(supervision),
    ...descriptorCalls(supervision),
    ...connectCalls(supervision),
    ...interfaceCalls(),
    ...datagramCalls(supervision),
    ...socketNameCalls(supervision),
    ...listenCalls(supervision),
    ...machineCalls(supervision),
  }
  const all = supervision.rung.descriptors === "held" ? socketCalls(supervision.world, handlers) : handlers
  return supervision.world.withoutIpv6 ? refuseIpv6(all) : all
}

function startWatching(options: WatchOptions, failed: (reason: string) => void) {
  const worker = startWorker("plugins/interception/client/watch/watch.worker.ts")
  const started = Promise.withResolvers<void>()
  started.promise.catch(() => {})
  const ended = Promise.withResolvers<void>()
  worker.onmessage = ({ data }: MessageEvent<WatchMessage>) => {
    switch (data.kind) {
      case "started":
        return started.resolve()
      case "ended":
        worker.terminate()
        return ended.resolve()
    }
  }
  worker.onerror = (event) => {
    started.reject(new Error(event.message))
    failed(event.message)
    ended.resolve()
  }
  worker.postMessage(options)
  return { started: started.promise, ended: ended.promise }
}

function passSignals(child: Bun.Subprocess): () => void {
  const ignore = () => {}
  for (const signal of sharedSignals) process.on(signal, ignore)
  const forward = (signal: NodeJS.Signals) => child.kill(signal)
  for (const signal of forwardedSignals) process.on(signal, forward)
  return () => {
    for (const signal of sharedSignals) process.off(signal, ignore)
    for (const signal of forwardedSignals) process.off(signal, forward)
  }
}

async function ended({ child }: Prepared, cleanUp: () => Promise<void>): Promise<number> {
  await child.exited
  await cleanUp()
  if (child.signalCode) return 128 + constants.signals[child.signalCode as NodeJS.Signals]
  return child.exitCode ?? 1
}
