import { expect, it } from "vitest"

import { declared, imports, missing, restore } from "./restore"

const snippets = (...code: string[]): string[] | undefined => restore(["Making Tea", ...code].join("\n"))[0]?.snippets

it.each([
  ["a keyword behind a word", "// Put the kettle onawait boil();", "// Put the kettle on\nawait boil();"],
  ["a keyword behind a space", "if (cold) { // Warm it again await boil(); }", "if (cold) { // Warm it again\nawait boil(); }"],
  ["a call behind a space", "if (cold) { // Warm it again boil(2); }", "if (cold) { // Warm it again\nboil(2); }"],
  ["a name that is known behind a word", "// Say soconsole.log('tea');", "// Say so\nconsole.log('tea');"],
  ["members of an object", "pour({ cups: 2, // For both milk: 1 // A bit });", "pour({ cups: 2, // For both\nmilk: 1 // A bit\n});"],
  ["the end of a block", "const wait = () => { // Just wait};", "const wait = () => { // Just wait\n};"],
  ["words in brackets and quotes", "// Wait (a while) 'til it boilsconst hot = true;", "// Wait (a while) 'til it boils\nconst hot = true;"],
  ["no comment at all", "open('http://tea.example/');", "open('http://tea.example/');"],
])("finds where a comment ends: %s", (_, flattened, code) => {
  expect(snippets(flattened)).toEqual([code])
})

it("knows the names of earlier snippets, also where they are glued to a word", () => {
  expect(snippets("const pot = warm();", "// Fill the potpot.fill();")).toEqual(["const pot = warm();", "// Fill the pot\npot.fill();"])
})

it("joins lines until they are whole statements, and no further", () => {
  const brew = ["const brew = async () => { boil();", "try { await pour(); } catch { weep(); }};"]
  expect(snippets(...brew, "brew();")).toEqual([brew.join("\n"), "brew();"])
})

it.each([
  ["what no parser accepts", "const = 1;"],
  ["a comment that would hold code", "// First boil(); then } pour"],
  ["a function that never ends", "const brew = () => {"],
])("refuses %s, and leaves nothing out", (_, code) => {
  expect(() => snippets(code)).toThrow("Making Tea")
})

it("tells headings, prose and code apart, and which code is for which framework", () => {
  const page = [
    "Tea",
    "Tea is easy.",
    "In React",
    "import { Cup } from 'cups';",
    "function Tea() { return <Cup />; }",
    "function Set() { return <div><Cup /></div>; }",
    "In Svelte",
    "<script> let cups = 1;</script>",
    "{#if cups}<Cup />{/if}",
    "In Vue",
    "<template> <Cup /></template>",
    "- Milk - Or none",
  ].join("\n")
  expect(restore(page).map(({ heading, prose, language, snippets: { length } }) => [heading, prose, language, length])).toEqual([
    ["Tea", ["Tea is easy."], "script", 0],
    ["In React", [], "react", 1],
    ["In Svelte", [], "svelte", 1],
    ["In Vue", ["- Milk - Or none"], "vue", 1],
  ])
})

it("says what code declares, imports, and leaves undefined", () => {
  const code = "import { kettle } from 'kettles';\nconst pot = warm(window);\nfunction brew(tea) { pour(tea, pot); }"
  expect(declared(code)).toEqual(["kettle", "pot", "brew"])
  expect(missing([code, "brew({ pot });", "const brew = 1, pot = brew;"])).toEqual([["pour", "warm"], ["brew", "pot"], []])
  expect(imports(code)).toEqual({ imports: "import { kettle } from 'kettles';", rest: code.slice(code.indexOf("\n")) })
})
