import type { Socket } from "bun"
import { collectReceived } from "../../../core/collect-received.ts"
import { AppError } from "../../../core/errors.ts"
import { errno, isLinuxError } from "../../../core/linux/errno.ts"
import { SOL_SOCKET } from "../../../core/linux/socket.ts"
import { syscall } from "../../../core/linux/syscall.ts"
import { attribute, be16, be32, NETLINK_NETFILTER, NetlinkSocket, NLM_F_ACK } from "../netlink.ts"

/* Numbers: linux/netfilter/nfnetlink_log.h, linux/netlink.h. */

const NFULNL_MSG_CONFIG = (4 << 8) | 1
const CFG_CMD = 1
const CFG_MODE = 2
const CFG_BUFFER = 3
const CFG_TIMEOUT = 4
const CFG_THRESHOLD = 5
const CFG_FLAGS = 6
const CMD_BIND = Buffer.from([1])
const COPY_PACKET = 2
const NUMBER_PACKETS = 1
const SO_RCVBUF = 8
const SO_RCVBUFFORCE = 33
/** Nine u32 about the socket; the last counts what there was no room for. Source: linux/sock_diag.h, SK_MEMINFO_DROPS. */
const SO_MEMINFO = 55
const meminfoFields = 9
const SOL_NETLINK = 270
const NETLINK_NO_ENOBUFS = 5

/**
 * The kernel gathers packets until one of these is reached: so many packets, so many bytes, so many hundredths of a second. It allocates
 * powers of two, counts them against the receive buffer, and needs some of the bytes itself.
 */
const gatheredPackets = 64
const gatheredBytes = 31 << 10
const gatheredHundredths = 1
const wholePacketBytes = 0xffff
/** What may wait in the kernel while the agent does something else, in bytes. */
const receiveBytes = 16 << 20
/** With less, the shortest pause of the agent would lose copies. In bytes, as the kernel counts: twice what was asked for. */
const leastReceiveBytes = 1 << 20
/** Groups other programs in the namespace may have taken. */
const groupAttempts = 16

export interface PacketLogSocket {
  /** What rules log to, for this socket to get it. */
  group: number
  /** How often the kernel had no room for packets, since the beginning. Wraps at 2^32. */
  drops(): number
  close(): void
}

/**
 * Listens to a log group of the network namespace the calling thread is in; `on.bytes` gets what the kernel writes, to keep.
 * `preferredGroup`: 1 to 65535. @throws LinuxError, AppError "interception-unavailable"
 */
export function openPacketLog(
  preferredGroup: number,
  on: { bytes(bytes: Buffer): void; closed(): void },
): PacketLogSocket {
  const netlink = new NetlinkSocket(NETLINK_NETFILTER)
  let group: number
  try {
    group = bindGroup(netlink, preferredGroup)
    enlarge(netlink)
    // What is lost shows in the packets' numbers.
    netlink.setOption(SOL_NETLINK, NETLINK_NO_ENOBUFS, 1, "set up a netlink socket")
  } catch (thrown) {
    netlink.close()
    throw thrown
  }
  const fd = netlink.release()
  const socket = adopt(fd, on)
  return { group, drops: () => dropsOf(fd), close: () => void socket.terminate() }
}

function bindGroup(netlink: NetlinkSocket, preferred: number): number {
  for (let attempt = 0; ; attempt++) {
    const group = ((preferred - 1 + attempt) % 0xffff) + 1
    try {
      configure(netlink, group, attribute(CFG_CMD, CMD_BIND))
    } catch (thrown) {
      if (attempt + 1 < groupAttempts && isLinuxError(thrown, errno.EBUSY, errno.EEXIST)) continue
      throw thrown
    }
    configure(netlink, group, attribute(CFG_MODE, Buffer.from([...be32(wholePacketBytes), COPY_PACKET, 0])))
    configure(netlink, group, attribute(CFG_BUFFER, be32(gatheredBytes)))
    configure(netlink, group, attribute(CFG_TIMEOUT, be32(gatheredHundredths)))
    configure(netlink, group, attribute(CFG_THRESHOLD, be32(gatheredPackets)))
    configure(netlink, group, attribute(CFG_FLAGS, be16(NUMBER_PACKETS)))
    return group
  }
}

/** struct nfgenmsg: family u8, version u8, group u16 big-endian. */
function configure(netlink: NetlinkSocket, group: number, setting: Buffer): void {
  const body = Buffer.concat([Buffer.from([0, 0]), be16(group), setting])
  netlink.send([{ type: NFULNL_MSG_CONFIG, flags: NLM_F_ACK, body }], "listen to a log group")
}

/** In a user namespace the system's limit (net.core.rmem_max) stays. */
function enlarge(netlink: NetlinkSocket): void {
  const what = "enlarge a netlink socket's buffer"
  try {
    netlink.setOption(SOL_SOCKET, SO_RCVBUFFORCE, receiveBytes, what)
  } catch (thrown) {
    if (!isLinuxError(thrown, errno.EPERM)) throw thrown
    netlink.setOption(SOL_SOCKET, SO_RCVBUF, receiveBytes, what)
  }
  const granted = netlink.option(SOL_SOCKET, SO_RCVBUF, what)
  if (granted < leastReceiveBytes) {
    throw new AppError(
      "interception-unavailable",
      `The kernel keeps just ${granted} bytes of copies (net.core.rmem_max)`,
    )
  }
}

/** 0: the kernel does not tell (before Linux 4.12). */
function dropsOf(fd: number): number {
  const fields = new Uint32Array(meminfoFields)
  const result = syscall("getsockopt", fd, SOL_SOCKET, SO_MEMINFO, fields, new Int32Array([fields.byteLength]))
  return result < 0 ? 0 : fields[meminfoFields - 1]!
}

/** The runtime reads any socket as a stream: one piece for each datagram. */
function adopt(fd: number, on: { bytes(bytes: Buffer): void; closed(): void }): Socket<undefined> {
  let opened: Socket<undefined> | undefined
  const adopting = Bun.connect<undefined>({
    ...({ fd } as unknown as { hostname: string; port: number }),
    data: undefined,
    socket: {
      open(socket) {
        opened = socket
      },
      data(_, bytes) {
        collectReceived(bytes.length)
        on.bytes(bytes as Buffer)
      },
      close: () => on.closed(),
      error() {},
    },
  })
  adopting.catch(() => {})
  if (!opened) throw new AppError("interception-unavailable", "The runtime did not adopt a netlink socket")
  return opened
}
