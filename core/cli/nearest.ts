export { nearest, suggestion } from "../nearest.ts"
