/**
 * The exports of modules, as JSON: by module the parameters of each function, and the members of each interface.
 *
 *     node exports.mjs react/src/index.ts client/src/stores/index.ts
 */
import ts from "typescript"

const modules = process.argv.slice(2)
const entry = (name) => `${import.meta.dirname}/../${name}`
const program = ts.createProgram(modules.map(entry), {
  module: ts.ModuleKind.ESNext,
  moduleResolution: ts.ModuleResolutionKind.Bundler,
  target: ts.ScriptTarget.ES2022,
  types: [],
  skipLibCheck: true,
  strict: true,
})
const checker = program.getTypeChecker()

const names = (type) => type.getProperties().map((property) => property.name)

function parameters(signature) {
  return signature.parameters.flatMap((parameter) => {
    const { name } = parameter.valueDeclaration
    // the members of a destructured parameter
    return ts.isIdentifier(name) ? [parameter.name] : names(checker.getTypeOfSymbol(parameter))
  })
}

function exported(symbol) {
  const it = symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol
  if (!(it.flags & ts.SymbolFlags.Value)) return { members: names(checker.getDeclaredTypeOfSymbol(it)) }
  const [signature] = checker.getTypeOfSymbol(it).getCallSignatures()
  return { parameters: signature ? parameters(signature) : [] }
}

function all(name) {
  const symbols = checker.getExportsOfModule(checker.getSymbolAtLocation(program.getSourceFile(entry(name))))
  return Object.fromEntries(symbols.map((symbol) => [symbol.name, exported(symbol)]))
}

console.log(JSON.stringify(Object.fromEntries(modules.map((name) => [name, all(name)]))))
