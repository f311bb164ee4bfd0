import { expect, test } from "bun:test"
import type { TcpEvents, TcpSocket } from "../../../core/interceptor.ts"
import { ApplicationSide } from "./application-side.ts"
import type { CallerSide } from "./caller-side.ts"
import { encodeFrame, type Frame, FrameReader, frameTypes, initialWindow, windowUpdate } from "./frames.ts"

/** An application that keeps the sizes of the DATA it gets, and what its caller is told of windows. */
function applicationSide() {
  const [fromCaller, toCaller] = [new FrameReader(), new FrameReader()]
  const got: number[] = []
  const told: number[] = []
  let events: TcpEvents | undefined
  const hear = (bytes: Buffer) => {
    for (const { type, payload } of toCaller.feed(bytes)) {
      if (type === frameTypes.windowUpdate) told.push(payload.readUInt32BE(0))
    }
  }
  const caller = {
    forward: ({ bytes }: Frame) => hear(bytes),
    forwardBytes: hear,
    flush: () => true,
    openForOthers() {},
  } as unknown as CallerSide
  const none = () => {}
  const listener = { onSettings: none, lastClaimed: () => 0, onRepaid: none, onDrain: none, onEnd: none, onClose: none }
  const side = new ApplicationSide(caller, listener)
  side.connect((given) => {
    events = given
    const write = (bytes: Uint8Array) => {
      for (const { payload } of fromCaller.feed(Buffer.from(bytes))) got.push(payload.length)
      return bytes.length
    }
    return { write } as unknown as TcpSocket
  })
  return {
    got,
    told,
    side,
    send(bytes: number, lent: boolean) {
      const frame = encodeFrame(frameTypes.data, 0, 1, Buffer.alloc(bytes))
      const parsed = { type: frameTypes.data, flags: 0, stream: 1, payload: Buffer.alloc(bytes), bytes: frame }
      side.pass(lent ? { ...parsed, lent } : parsed)
      side.flush()
    },
    takes: (bytes: number) => events?.onData(windowUpdate(0, bytes)),
  }
}

test("an application gets no more than it takes, and its caller is not given again what it was lent", () => {
  const { got, told, side, send, takes } = applicationSide()
  side.expectMore()
  for (let round = 0; round < 6; round++) send(16_384, round > 2)
  const first = Math.floor(initialWindow / 16_384)
  expect(got).toEqual(Array(first).fill(16_384))
  takes(16_384)
  expect([got.length, told]).toEqual([first + 1, []])
  takes(3 * 16_384)
  expect([got.length, told]).toEqual([6, [16_384]])
  takes(16_384)
  expect(told).toEqual([16_384, 16_384])
})

test("where nothing is lent all passes as it comes", () => {
  const { got, told, send, takes } = applicationSide()
  for (let round = 0; round < 6; round++) send(16_384, false)
  takes(100)
  expect([got.length, told]).toEqual([6, [100]])
})
