/** The editors of the page: a tab and a Yjs document each. */
export const KINDS = ["codemirror", "tiptap", "quill", "prosemirror"] as const
export type Kind = (typeof KINDS)[number]
