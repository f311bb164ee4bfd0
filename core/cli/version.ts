import { version } from "../../package.json"

/** podside's own version, e.g. "0.1.0". */
export const podsideVersion: string = version
