import { runLauncher } from "./launcher.ts"

runLauncher()
