/** Loads the packages that documents need. Applications without documents need not install them. */
import { invalid } from "./errors.js"
/** @ts-ignore where it is not installed */
import type * as decoding from "lib0/decoding"
/** @ts-ignore where it is not installed */
import type * as encoding from "lib0/encoding"
/** @ts-ignore where it is not installed */
import type * as awareness from "y-protocols/awareness"
/** @ts-ignore where it is not installed */
import type * as sync from "y-protocols/sync"
/** @ts-ignore where it is not installed */
import type * as Y from "yjs"

export interface Yjs {
  Y: typeof Y
  awareness: typeof awareness
  sync: typeof sync
  encoding: typeof encoding
  decoding: typeof decoding
}

/** Throws `INVALID_REQUEST` if a package is not installed. */
export async function loadYjs(): Promise<Yjs> {
  // Bundlers build a page without these packages only if the code handles their absence: webpack needs `try`, esbuild
  // `catch` on the import itself, and Vite an import without names.
  try {
    const [Y, awareness, sync, encoding, decoding] = await Promise.all([
      import("yjs").catch(rethrow),
      import("y-protocols/awareness").catch(rethrow),
      import("y-protocols/sync").catch(rethrow),
      import("lib0/encoding").catch(rethrow),
      import("lib0/decoding").catch(rethrow),
    ])
    return { Y, awareness, sync, encoding, decoding }
  } catch (error) {
    throw invalid(`documents need the packages yjs, y-protocols and lib0 (npm install yjs y-protocols lib0): ${String(error)}`)
  }
}

function rethrow(error: unknown): never {
  throw error
}
