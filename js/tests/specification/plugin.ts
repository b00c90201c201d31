/**
 * Gives the snippets of the page as modules, `page:…`, to whoever bundles what runs them.
 *
 * `page:sections` are the scripts: of each section one function, in which the snippets stand as they are, one after
 * the other, with a stop behind each. `page:TaskList.jsx`, `.svelte` and `.vue` are the components. All that is added
 * to those are imports of what the page leaves undefined.
 */
import { readFileSync } from "node:fs"

import type { Plugin } from "vite"

import { declared, imports, missing, restore, type Section } from "./restore.ts"

const PARTS = { react: "TaskItem.tsx", svelte: "TaskItem.svelte", vue: "TaskItem.vue" }

/** `file` is the page, `folder` the one of this module. */
export function specification(file: string, folder: string): Plugin {
  let sections: Section[] = []
  const component = (language: keyof typeof PARTS): string => {
    const found = sections.find((section) => section.language === language)?.snippets[0]
    if (found === undefined) throw new Error(`the page has no component for ${language}`)
    return found
  }
  const item = (language: keyof typeof PARTS): string => `import TaskItem from "${folder}/parts/${PARTS[language]}"`
  const user = (language: "svelte" | "vue"): string => `import { currentUser } from "${folder}/parts/${language}-user"`
  const modules: Record<string, () => string> = {
    sections: () => scripts(sections.filter(({ language, snippets }) => language === "script" && snippets.length > 0)),
    "TaskList.jsx": () => `${item("react")}\n${component("react")}\nexport { TaskList }`,
    "TaskList.svelte": () => `<script module>\n${item("svelte")}\n${user("svelte")}\n</script>\n${component("svelte")}`,
    "TaskList.vue": () => `<script>\n${item("vue")}\n${user("vue")}\n</script>\n${component("vue")}`,
  }
  const place = `${folder}/page/`
  return {
    name: "specification",
    enforce: "pre",
    buildStart() {
      sections = restore(readFileSync(file, "utf8"))
    },
    resolveId: (source) => (source.startsWith("page:") ? place + source.slice("page:".length) : null),
    load: (id) => (id.startsWith(place) ? (modules[id.slice(place.length)]?.() ?? null) : null),
    generateBundle() {
      this.emitFile({ type: "asset", fileName: "page.json", source: JSON.stringify(sections) })
    },
  }
}

function scripts(sections: Section[]): string {
  const heads: string[] = []
  const undefinedNames = missing(sections.map(({ snippets }) => snippets.join("\n")))
  const bodies = sections.map(({ heading, snippets }, index) => {
    const given = [...(undefinedNames[index] ?? []), "console", "window"]
    let known: string[] = []
    const body = snippets.map((snippet, before) => {
      const { imports: head, rest } = imports(snippet)
      heads.push(head)
      known = [...known, ...declared(snippet)]
      return `${rest}\nawait reached(${before + 1}, { ${known.join(", ")} });`
    })
    const run = `async ({ ${given.join(", ")} }, reached) => {\n${body.join("\n")}\n}`
    return `${JSON.stringify(heading)}: { given: ${JSON.stringify(given)}, count: ${snippets.length}, run: ${run} }`
  })
  return `${heads.join("\n")}\nexport const sections = {\n${bodies.join(",\n")}\n}`
}
