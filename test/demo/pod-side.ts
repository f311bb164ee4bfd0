/* The sample pod's own program: answers every request with its name and what it was asked. */
const server = Bun.serve({
  hostname: "0.0.0.0",
  port: Number(process.env["PORT"] ?? 8080),
  fetch(request) {
    const { pathname } = new URL(request.url)
    return Response.json({ name: process.env["NAME"], path: pathname })
  },
})
console.log(`listening on ${server.port}`)
// Whoever started it holds the other end of its input.
for await (const _ of process.stdin) {
  // Nothing is expected; the end of the input is the sign to go.
}
process.exit(0)

export {}
