import { sendListener } from "./listener-sender.ts"

declare const self: Worker

self.postMessage("ready")
sendListener()
