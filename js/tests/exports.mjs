/**
 * What a package exports, as JSON: the parameters of each function, the members of each interface.
 *
 *     node exports.mjs react
 */
import ts from "typescript"

const entry = `${import.meta.dirname}/../${process.argv[2]}/src/index.ts`
const options = { module: ts.ModuleKind.ESNext, moduleResolution: ts.ModuleResolutionKind.Bundler, skipLibCheck: true }
const program = ts.createProgram([entry], { ...options, target: ts.ScriptTarget.ES2022, types: [], strict: true })
const checker = program.getTypeChecker()

const names = (type) => type.getProperties().map((property) => property.name)

function parameters(signature) {
  return signature.parameters.flatMap((parameter) => {
    const { name } = parameter.valueDeclaration
    // of what is taken apart at once, its members
    return ts.isIdentifier(name) ? [parameter.name] : names(checker.getTypeOfSymbol(parameter))
  })
}

const found = {}
for (const symbol of checker.getExportsOfModule(checker.getSymbolAtLocation(program.getSourceFile(entry)))) {
  const it = symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol
  if (it.flags & ts.SymbolFlags.Value) {
    const [signature] = checker.getTypeOfSymbol(it).getCallSignatures()
    found[symbol.name] = { parameters: signature ? parameters(signature) : [] }
  } else found[symbol.name] = { members: names(checker.getDeclaredTypeOfSymbol(it)) }
}
console.log(JSON.stringify(found))
