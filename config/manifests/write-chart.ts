import { join } from "node:path"
import { chartFiles } from "./chart-files.ts"

for (const [path, text] of Object.entries(chartFiles())) await Bun.write(join(import.meta.dir, "../chart", path), text)
