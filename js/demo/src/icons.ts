/** The toolbar's icons: strokes on a 20 by 20 grid, or letters where a letter is clearer. */

const STROKES: Record<string, string> = {
  undo: "M7 5 3.5 8.5 7 12M4 8.5h7.5a4 4 0 0 1 0 8H9",
  redo: "m13 5 3.5 3.5L13 12M16 8.5H8.5a4 4 0 0 0 0 8H11",
  code: "m7 6-4 4 4 4M13 6l4 4-4 4",
  bullets: "M8 5h9M8 10h9M8 15h9M3.5 5h.01M3.5 10h.01M3.5 15h.01",
  quote: "M4 5v10M8 6h9M8 10h9M8 14h6",
}
const LETTERS: Record<string, string> = {
  bold: "<b>B</b>",
  italic: "<i>I</i>",
  strike: "<s>S</s>",
  heading: "H",
  h1: "H1",
  h2: "H2",
  numbers: "1.",
}

export function icon(name: string): string {
  const path = STROKES[name]
  return path ? `<svg viewBox="0 0 20 20" aria-hidden="true"><path d="${path}"/></svg>` : (LETTERS[name] ?? name)
}
