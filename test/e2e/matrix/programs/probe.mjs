// For Node and Bun. See ../matrix.test.ts for what a probe prints.
import { createSocket } from "node:dgram"
import { readdirSync, readFileSync } from "node:fs"
import { createServer } from "node:http"
import { hostname } from "node:os"

const say = (line) => process.stdout.write(`${line}\n`)
const name = process.argv[2]

say(`env=${process.env.GREETING ?? ""}`)
say(`file=${readFileSync("/data/plain.txt", "utf8").trim()}`)
say(`list=${readdirSync("/data/many").length}`)
say(`host=${hostname()}`)
say(`tcp=${(await (await fetch("http://backend:8080/")).json()).name}`)
const socket = createSocket("udp4")
const answer = new Promise((resolve, reject) => {
  socket.once("message", (bytes) => resolve(bytes.toString()))
  socket.once("error", reject)
})
socket.send("by udp", 7001, "backend")
say(`udp=${await answer}`)
socket.close()

function answerTo(path) {
  say(`request=${path}`)
  return `probe ${name}`
}
if (globalThis.Bun) {
  Bun.serve({
    hostname: "0.0.0.0",
    port: 8080,
    fetch: (request) => new Response(answerTo(new URL(request.url).pathname)),
  })
  say("listening")
} else {
  const server = createServer((request, response) => response.end(answerTo(request.url)))
  server.listen(8080, "0.0.0.0", () => say("listening"))
}
