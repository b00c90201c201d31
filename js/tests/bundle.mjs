/**
 * Build a page with one of the bundlers, and print its warnings as JSON.
 *
 *     node bundle.mjs vite|webpack|esbuild <folder with main.js and node_modules> <file to write>
 */
import path from "node:path"

const [name, folder, file] = process.argv.slice(2)
const entry = path.join(folder, "main.js")

const BUNDLERS = {
  async vite() {
    const { build } = await import("vite")
    const warnings = []
    await build({
      configFile: false,
      root: folder,
      logLevel: "silent",
      customLogger: { ...console, info() {}, warn: (text) => warnings.push(text), warnOnce: (text) => warnings.push(text), clearScreen() {}, hasErrorLogged: () => false, hasWarned: false },
      build: {
        outDir: path.dirname(file),
        emptyOutDir: false,
        target: "es2022",
        rollupOptions: { input: entry, preserveEntrySignatures: "strict", output: { entryFileNames: path.basename(file), codeSplitting: false } },
      },
    })
    return warnings
  },
  async webpack() {
    const { default: webpack } = await import("webpack")
    const stats = await new Promise((resolve, reject) => {
      webpack(
        {
          mode: "production",
          target: ["web", "es2022"],
          context: folder,
          entry,
          output: { path: path.dirname(file), filename: path.basename(file), publicPath: "" },
          plugins: [new webpack.optimize.LimitChunkCountPlugin({ maxChunks: 1 })],
          performance: false,
        },
        (error, stats) => (error ? reject(error) : resolve(stats)),
      )
    })
    const { errors, warnings } = stats.toJson({ all: false, errors: true, warnings: true })
    if (errors.length > 0) throw new Error(errors.map(({ message }) => message).join("\n"))
    return warnings.map(({ message }) => message)
  },
  async esbuild() {
    const { build } = await import("esbuild")
    const { warnings } = await build({ entryPoints: [entry], outfile: file, bundle: true, format: "esm", target: "es2022", platform: "browser", absWorkingDir: folder, logLevel: "silent" })
    return warnings.map(({ text }) => text)
  },
}

console.log(JSON.stringify(await BUNDLERS[name]()))
