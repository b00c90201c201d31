/**
 * Snippets out of a page that was flattened to text.
 *
 * One line of the text is a heading, a paragraph of prose, or what stood between two empty lines of code, with the line
 * breaks in it lost. Two things have to be found again: which lines belong together (a function may hold an empty line),
 * and where a `//` comment ends, to which the next statement was glued. Both are decided by the parser: lines are
 * joined until it accepts them, and a comment ends at the first place where code can begin that it accepts.
 *
 * Nothing is added or left out but line breaks.
 */
import ts from "typescript"

export interface Section {
  heading: string
  /** What the page says about it in words. */
  prose: string[]
  language: "script" | "react" | "svelte" | "vue"
  snippets: string[]
}

const HEADING = /^[A-Z][A-Za-z-]*( [A-Za-z-]+)*$/
const PROSE = /^(- )?[A-Z][^(){}<>;=]*$/
/** What a comment is made of. Anything else in one would be code that was swallowed. */
const WORDS = /^\/\/ (?:[\w ,:'-]|\([\w ]+\))+$/

export function restore(page: string): Section[] {
  const found: { heading: string; prose: string[]; code: string[] }[] = []
  for (const line of page.split("\n").filter((each) => each.trim() !== "")) {
    if (HEADING.test(line)) found.push({ heading: line, prose: [], code: [] })
    else if (found.length === 0) throw new Error("the page does not begin with a heading")
    else if (PROSE.test(line)) found.at(-1)?.prose.push(line)
    else found.at(-1)?.code.push(line)
  }
  return found.map(({ heading, prose, code }) => {
    if (code[0]?.startsWith("<")) {
      const language = code[0].startsWith("<template>") ? "vue" : "svelte"
      return { heading, prose, language, snippets: [code.join("\n")] }
    }
    const snippets = scripts(code, heading)
    return snippets.some(hasElements)
      ? { heading, prose, language: "react", snippets: [snippets.join("\n")] }
      : { heading, prose, language: "script", snippets }
  })
}

function hasElements(code: string): boolean {
  const look = (node: ts.Node): boolean => ts.isJsxElement(node) || (ts.forEachChild(node, look) ?? false)
  return look(parse(code))
}

/** Names that a section declares at its top level, in one of its snippets. */
export function declared(code: string): string[] {
  return parse(code).statements.flatMap((statement) => {
    if (ts.isFunctionDeclaration(statement)) return statement.name ? [statement.name.text] : []
    if (ts.isImportDeclaration(statement)) {
      const named = statement.importClause?.namedBindings
      return named && ts.isNamedImports(named) ? named.elements.map(({ name }) => name.text) : []
    }
    if (!ts.isVariableStatement(statement)) return []
    return statement.declarationList.declarations.flatMap(({ name }) => (ts.isIdentifier(name) ? [name.text] : []))
  })
}

/** A snippet's import declarations, and the rest of it. */
export function imports(code: string): { imports: string; rest: string } {
  const source = parse(code)
  const [first, rest] = [source.statements.filter(ts.isImportDeclaration), source.statements.filter((each) => !ts.isImportDeclaration(each))]
  const text = (parts: readonly ts.Statement[]): string => parts.map((part) => part.getFullText(source)).join("")
  return { imports: text(first), rest: text(rest) }
}

/** What each of these uses and nowhere declares, nor does a browser: the compiler knows. */
export function missing(codes: readonly string[]): string[][] {
  const options: ts.CompilerOptions = {
    allowJs: true, checkJs: true, noEmit: true, jsx: ts.JsxEmit.Preserve, types: [],
    target: ts.ScriptTarget.ESNext, module: ts.ModuleKind.ESNext, moduleDetection: ts.ModuleDetectionKind.Force,
    lib: ["lib.esnext.d.ts", "lib.dom.d.ts", "lib.dom.iterable.d.ts"],
  }
  // modules: what one of them declares is not there for the others
  const files = new Map(codes.map((code, index) => [`/${index}.jsx`, `${code}\nexport {}`]))
  const host = ts.createCompilerHost(options)
  const read = host.getSourceFile.bind(host)
  host.getSourceFile = (name, ...more) => {
    const code = files.get(name)
    return code === undefined ? read(name, ...more) : parse(code, name)
  }
  const program = ts.createProgram([...files.keys()], options, host)
  return [...files.keys()].map((name) => {
    const found = program.getSemanticDiagnostics(program.getSourceFile(name)).filter(({ code }) => UNKNOWN_NAMES.includes(code))
    const names = found.map(({ file, start = 0, length = 0 }) => file?.text.slice(start, start + length) ?? "")
    return [...new Set(names)].sort()
  })
}

/** What the compiler says of a name that it does not know: in general, with a better idea, in short members. */
const UNKNOWN_NAMES = [2304, 2552, 18004]
const FILE = "/snippet.jsx"

function parse(code: string, name = FILE): ts.SourceFile {
  return ts.createSourceFile(name, code, ts.ScriptTarget.ESNext, true, ts.ScriptKind.JSX)
}

/** The parser's first complaint about code. */
function complaint(code: string): string | null {
  const { diagnostics = [] } = ts.transpileModule(code, {
    fileName: FILE,
    reportDiagnostics: true,
    compilerOptions: { allowJs: true, jsx: ts.JsxEmit.Preserve, target: ts.ScriptTarget.ESNext, module: ts.ModuleKind.ESNext },
  })
  return diagnostics.length > 0 ? ts.flattenDiagnosticMessageText(diagnostics[0]?.messageText, "\n") : null
}

/** The snippets of code lines: the fewest lines that make whole statements, one after the other. */
function scripts(lines: string[], heading: string): string[] {
  const snippets: string[] = []
  const known = new Set(["client", "console", "window"])
  for (let rest = lines; rest.length > 0; ) {
    let found: string | null = null
    let count = 0
    while (found === null && count < rest.length) found = uncommented(rest.slice(0, ++count).join("\n"), known)
    if (found === null) throw new Error(`${heading}: no statements are made of ${rest.join("\n")}`)
    snippets.push(found)
    declared(found).forEach((name) => known.add(name))
    rest = rest.slice(count)
  }
  return snippets
}

/** The text with a line break behind each comment, such that the parser accepts it. */
function uncommented(text: string, known: ReadonlySet<string>, from = 0): string | null {
  const start = commentAfter(text, from)
  if (start === null) return complaint(text) === null ? text : null
  const line = text.slice(start).split("\n", 1)[0] ?? ""
  const ends = beginnings(line, known)
  for (const end of ends.length > 0 ? ends : [line.length]) {
    const comment = line.slice(0, end).trimEnd()
    if (!WORDS.test(comment)) continue
    const at = start + comment.length
    const found = uncommented(`${text.slice(0, at)}\n${text.slice(at).trimStart()}`, known, at)
    if (found !== null) return found
  }
  return null
}

/** Where the next comment begins: the scanner knows what is inside of a text. */
function commentAfter(text: string, from: number): number | null {
  for (let at = from; ; ) {
    const next = text.indexOf("//", at)
    if (next === -1) return null
    const quotes = text.slice(text.lastIndexOf("\n", next) + 1, next).replace(/\\./g, "").match(/['"`]/g) ?? []
    if (quotes.length % 2 === 0) return next
    at = next + 2
  }
}

/** Where code may begin behind the words of a comment, with or without a space between. */
function beginnings(line: string, known: ReadonlySet<string>): number[] {
  const starts = [
    /(?:await|const|function|import|let|return) /g, // a statement
    /(?:if|for|while|switch) \(|try \{/g,
    /(?<= )[a-z]\w*(?=: )/g, // a member of an object
    /[})]/g, // the end of what the comment stands in
  ]
  const found = starts.flatMap((start) => [...line.matchAll(start)].map(({ index }) => index))
  for (const { 0: word, index } of line.matchAll(/(?<= )[a-z]\w*(?=[.(])/g)) {
    // something that is used: a name that is known, which may be glued to a word, or else the whole word
    const name = [...known].filter((each) => word.endsWith(each)).sort((a, b) => b.length - a.length)[0] ?? word
    found.push(index + word.length - name.length)
  }
  return [...new Set(found)].sort((a, b) => a - b)
}
