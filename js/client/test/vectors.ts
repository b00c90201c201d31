import { readFileSync } from "node:fs"

/** A file of golden vectors, which the Python tests read as well. */
export function vectors<T>(name: string): T[] {
  return JSON.parse(readFileSync(new URL(`../../../tests/vectors/${name}.json`, import.meta.url), "utf8")) as T[]
}
