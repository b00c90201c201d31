/** What the README says of options and methods is what there is. */
import { readFileSync } from "node:fs"
import ts from "typescript"
import { expect, it } from "vitest"
import { DEFAULTS } from "../src/options.js"

const read = (path: string): string => readFileSync(new URL(`../${path}`, import.meta.url), "utf8")
const readme = read("README.md")

function parse<Kind extends ts.Statement>(file: string, is: (node: ts.Node) => node is Kind): Kind[] {
  return [...ts.createSourceFile(file, read(file), ts.ScriptTarget.Latest, true).statements].filter((each): each is Kind => is(each))
}

const interfaces = new Map(parse("src/types.ts", ts.isInterfaceDeclaration).map((each) => [each.name.text, each]))

/** The members of an interface, inherited ones included. */
function members(name: string): string[] {
  const found = interfaces.get(name)
  if (found === undefined) throw new Error(`there is no interface ${name}`)
  const inherited = (found.heritageClauses ?? []).flatMap(({ types }) => types.flatMap((type) => members(type.expression.getText())))
  return [...inherited, ...found.members.map((member) => member.name?.getText() ?? "")]
}

/** The table under a heading: option to default. */
function table(heading: string): Map<string, string> {
  const section = readme.split(/^#+ /m).find((text) => text.startsWith(`${heading}\n`)) ?? ""
  const rows = section.split("\n").filter((line) => line.startsWith("| `"))
  return new Map(rows.map((row) => row.split("|").map((cell) => cell.trim())).map(([, name = "", value = ""]) => [name.replaceAll("`", ""), value]))
}

const documented = [...interfaces.keys()].filter((name) => name.endsWith("Options") || name === "RateLimit")

it.each(documented)("documents all of %s, and nothing else", (name) => {
  expect([...table(name).keys()].sort()).toEqual(members(name).sort())
})

it("documents the defaults that hold", () => {
  const said = new Map([...table("ClientOptions"), ...table("WebSocketOptions")])
  const text = (value: unknown): string => (typeof value === "number" && Number.isFinite(value) ? String(value) : `\`${JSON.stringify(value) === "null" ? String(value) : JSON.stringify(value)}\``)
  for (const [name, value] of Object.entries(DEFAULTS)) expect([name, said.get(name)]).toEqual([name, text(value)])
})

it.each(["src/client.ts", "src/collection.ts", "src/documents.ts"])("documents each method of the classes in %s", (file) => {
  const classes = parse(file, ts.isClassDeclaration)
  const hidden = (node: ts.ClassElement): boolean =>
    ts.getJSDocTags(node).some(({ tagName }) => tagName.text === "internal") ||
    (ts.canHaveModifiers(node) && (ts.getModifiers(node) ?? []).some(({ kind }) => kind === ts.SyntaxKind.PrivateKeyword || kind === ts.SyntaxKind.ProtectedKeyword))
  const isFunction = (node: ts.ClassElement): boolean =>
    ts.isMethodDeclaration(node) || (ts.isPropertyDeclaration(node) && node.initializer !== undefined && ts.isArrowFunction(node.initializer))
  const methods = classes.flatMap(({ members }) => [...members]).filter((each) => isFunction(each) && !hidden(each)).map((each) => each.name?.getText() ?? "")
  expect(methods.length).toBeGreaterThan(3)
  expect(methods.filter((name) => !readme.includes(`\`${name}(`) && !readme.includes(`.${name}(`))).toEqual([])
})

it("documents each method of events, system, analytics and presence", () => {
  const [client] = parse("src/client.ts", ts.isClassDeclaration).filter(({ name }) => name?.text === "Client")
  const groups = [...(client?.members ?? [])].filter((each): each is ts.PropertyDeclaration => ts.isPropertyDeclaration(each)).filter(({ type }) => type !== undefined && ts.isTypeLiteralNode(type))
  expect(groups.map(({ name }) => name.getText())).toEqual(["events", "system", "analytics", "presence"])
  for (const { name, type } of groups) {
    for (const member of (type as ts.TypeLiteralNode).members) expect(readme).toContain(`\`${name.getText()}.${member.name?.getText()}(`)
  }
})

it("documents each code of errors", () => {
  const codes = [...read("src/errors.ts").matchAll(/^ {2}\| "([A-Z_]+)"/gm)].map(([, code]) => code)
  expect(codes).toHaveLength(12)
  expect(codes.filter((code) => !readme.includes(`\`${code}\``))).toEqual([])
})
