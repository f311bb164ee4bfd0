// Prints for each name whether it is found.
import { lookup } from "node:dns/promises"

for (const name of process.argv.slice(2)) {
  const found = await lookup(name).then(
    () => "found",
    () => "none",
  )
  console.log(name, found)
}
