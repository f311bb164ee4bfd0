import { type WatchMessage, type WatchOptions, watch } from "./watch.ts"

declare const self: Worker

self.onmessage = ({ data }: MessageEvent<WatchOptions>) => {
  watch(data, (message: WatchMessage) => self.postMessage(message))
}
