/**
 * The rows that a query includes, with the own writes applied; loaded with the first query that includes any.
 * The twin of `collab/client/core/included.py`.
 */
import type { isNews, lens, Lens, Op, OwnWrites } from "./overlay.js"
import type { IncludedSteps, WireIncluded } from "./protocol.js"
import type { applySteps } from "./rows.js"
import type { Include, Query } from "./queries.js"
import type { Data } from "./schema.js"

/** Related rows for each key, without a `limit`. The twin of `DEFAULT_RELATED` of the server. */
const LIMIT = 100

interface List {
  rows: readonly Data[]
  /** Versions of the rows, and of rows that left the list while they had an own write. */
  versions: Map<string, number>
  lens: Lens
}

/** What lists of rows are made with. It is passed, not imported: code that both parts import would be a file of its own. */
export interface Tools {
  lens: typeof lens
  isNews: typeof isNews
  applySteps: typeof applySteps
}

type Seen = (collection: string, id: string, version: number) => void

/** What is related to the rows of a live query, as the server sent it last. */
export class IncludedRows {
  private relations: [string, WireIncluded][] = []
  private lists = new Map<string, List>()

  constructor(
    private readonly include: Include,
    private readonly tools: Tools,
    private readonly writes: OwnWrites,
    private readonly seen: Seen,
  ) {}

  /** The collections of the related rows. */
  get collections(): string[] {
    return [...new Set(this.relations.map(([, { collection }]) => collection))]
  }

  reset(included: Readonly<Record<string, WireIncluded>> = {}, rows: readonly Data[]): void {
    this.relations = Object.entries(included)
    this.lists = new Map()
    for (const [name, relation] of this.relations) {
      // also the lists without rows, which the server leaves out
      for (const key of new Set(rows.map((row): unknown => row[relation.by]))) {
        if (typeof key !== "string") continue
        const list = this.list(name, relation, key)
        list.rows = own(relation.rows, key) ?? []
        list.rows.forEach((row, index) => this.saw(list, relation, row["id"] as string, own(relation.versions, key)?.[index] ?? 0))
        this.lists.set(`${name}/${key}`, list)
      }
    }
  }

  /** What the server has told last, as the message that would tell all of it. */
  told(): Record<string, WireIncluded> {
    const relations = this.relations.map(([name, { collection, by, member, one }]): [string, WireIncluded] => {
      const lists = [...this.lists].flatMap(([of, list]): [string, List][] => (of.startsWith(`${name}/`) ? [[of.slice(name.length + 1), list]] : []))
      const rows = Object.fromEntries(lists.map(([key, list]) => [key, [...list.rows]]))
      const versions = Object.fromEntries(lists.map(([key, list]) => [key, list.rows.map(({ id }) => list.versions.get(id as string) ?? 0)]))
      return [name, { collection, by, member, ...(one && { one }), rows, versions }]
    })
    return Object.fromEntries(relations)
  }

  /** Changes some lists, after the `rows`. `false`: a step does not fit. */
  change(changes: readonly IncludedSteps[], rows: readonly Data[]): boolean {
    const used = new Set(this.relations.flatMap(([name, { by }]) => rows.map((row) => `${name}/${String(row[by])}`)))
    for (const of of [...this.lists.keys()]) if (!used.has(of)) this.lists.delete(of)
    for (const { relation: name, key, steps, fresh } of changes) {
      const of = `${name}/${key}`
      const relation = this.relations.find(([each]) => each === name)?.[1]
      if (!used.has(of) || relation === undefined) continue
      const known = fresh ? undefined : this.lists.get(of)
      const list = known ?? this.list(name, relation, key)
      const next = this.tools.applySteps(list.rows, steps)
      if (next === null) return false
      list.rows = next
      for (const { op, id, version } of steps) {
        if (op !== "leave") version !== undefined && this.saw(list, relation, id, version)
        else if (!this.writes.ops(relation.collection).some((own) => own.id === id)) list.versions.delete(id)
        else if (version !== undefined) list.versions.set(id, version)
      }
      this.lists.set(of, list)
    }
    return true
  }

  /** The rows, each with what is related to it. */
  show(rows: readonly Data[], ops: readonly Op[]): Data[] {
    return rows.map((row) => ({
      ...row,
      $included: Object.fromEntries(this.relations.map(([name, relation]) => [name, this.related(name, relation, row, ops)])),
    }))
  }

  /** Whether every list that a committed write concerns includes it. */
  isTold(op: Op, answered: number): boolean {
    return this.relations.every(([name, relation]) =>
      [...this.lists].every(([of, list]) => {
        if (!of.startsWith(`${name}/`) || !concerns(op, relation, of.slice(name.length + 1), list)) return true
        return !this.tools.isNews(op, list.versions) || (op.commit !== undefined && op.commit <= answered)
      }),
    )
  }

  private related(name: string, relation: WireIncluded, row: Data, ops: readonly Op[]): unknown {
    const key: unknown = row[relation.by]
    let rows: readonly Data[] = []
    if (typeof key === "string") {
      const list = this.lists.get(`${name}/${key}`) ?? this.list(name, relation, key)
      rows = list.lens(list.rows, list.versions, ops.filter((op) => concerns(op, relation, key, list)))
    }
    return relation.one ? (rows[0] ?? null) : rows
  }

  private saw(list: List, { collection }: WireIncluded, id: string, version: number): void {
    list.versions.set(id, version)
    this.seen(collection, id, version)
  }

  private list(name: string, { member }: WireIncluded, key: string): List {
    const said = this.include[name]
    const { where, orderBy, limit = LIMIT, fields } = typeof said === "object" ? said : {}
    const related = { [`\\${member}`]: key } // a name that may look like an operator
    const query = { where: where == null ? related : { AND: [related, where] }, orderBy, limit } as Query
    return { rows: [], versions: new Map(), lens: this.tools.lens(query, fields) }
  }
}

/** A member of an object, and nothing that objects inherit: a key may be called `constructor`. */
function own<V>(object: Readonly<Record<string, V>> | undefined, name: string): V | undefined {
  return object && Object.hasOwn(object, name) ? object[name] : undefined
}

/** Whether a write concerns a list: one that has or had its entity, or to whose key a new entity is related. */
function concerns(op: Op, { collection, member, one }: WireIncluded, key: string, { versions }: List): boolean {
  if (op.collection !== collection) return false
  return versions.has(op.id) || (op.kind === "create" && (one ? op.id : op.values[member]) === key)
}

/** The rows of an answer, each with what is related to it. */
export function withIncluded<R extends object>(rows: readonly R[], included: Readonly<Record<string, WireIncluded>>, seen: Seen): R[] {
  const relations = Object.entries(included)
  for (const [, { collection, rows: lists = {}, versions }] of relations) {
    for (const [key, list] of Object.entries(lists)) list.forEach(({ id }, index) => seen(collection, id as string, versions?.[key]?.[index] ?? 0))
  }
  const related = (row: Data, { by, one, rows: lists }: WireIncluded): unknown => {
    const list = own(lists, row[by] as string) ?? []
    return one ? (list[0] ?? null) : list
  }
  return rows.map((row) => ({ ...row, $included: Object.fromEntries(relations.map(([name, each]) => [name, related(row as Data, each)])) }))
}
