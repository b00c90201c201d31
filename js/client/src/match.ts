/**
 * Evaluates queries on rows, to show writes before the server has confirmed them.
 * The rules are in docs/protocol.md (Queries); the server's rows replace these results.
 */
import type { OrderBy, Query, Where } from "./queries.js"
import type { Data } from "./schema.js"

type Test = (row: Data) => boolean
type Path = readonly string[]
type Value = string | number | boolean | null | object

const MOMENT = /^(\d{4})-(\d\d)-(\d\d)(?:[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:[Zz]|([+-])([01]\d|2[0-3]):([0-5]\d)))?$/

/** A point in time as a string of fixed length that sorts by time, to the microsecond; `null` for other strings. */
function moment(text: string): string | null {
  const found = MOMENT.exec(text)
  if (found === null) return null
  const [, year, month, day, hour = "00", minute = "00", second = "00", fraction = "", sign, hours = 0, minutes = 0] = found
  const written = `${year}-${month}-${day}T${hour}:${minute}:${second}`
  const there = Date.parse(written + "Z")
  if (Number.isNaN(there) || !new Date(there).toISOString().startsWith(written)) return null // a date that does not exist
  const ahead = (Number(hours) * 60 + Number(minutes)) * 60_000
  const utc = new Date(sign === "-" ? there + ahead : there - ahead).toISOString()
  return utc < "1000" || utc.length > 24 ? null : `${utc.slice(0, 19)}.${fraction.slice(0, 6).padEnd(6, "0")}Z`
}

const asWritten = (text: string): string => text.replaceAll("\0", "\x01")
const isId = (path: Path): boolean => path.length === 1 && path[0] === "id"

/** A value in the form in which it is compared: points in time canonical, except in names. */
function form(value: unknown, named = false): Value {
  if (typeof value === "string") return named ? value : (moment(value) ?? asWritten(value))
  return typeof value === "number" && !Number.isFinite(value) ? null : ((value as Value | undefined) ?? null)
}

function lookup(row: unknown, path: Path): unknown {
  let value = row
  for (const name of path) {
    if (typeof value !== "object" || value === null || Array.isArray(value) || !Object.hasOwn(value, name)) return null
    value = (value as Data)[name]
  }
  return value
}

/** Splits `profile.city` into names. A backslash escapes the next character. */
function names(text: string): string[] {
  const found = [""]
  for (let at = 0; at < text.length; at += 1) {
    if (text[at] === ".") found.push("")
    else found[found.length - 1] += (text[at] === "\\" ? text[++at] : text[at]) ?? ""
  }
  return found
}

/** Compares strings by code point. UTF-16 sorts characters beyond U+FFFF (surrogates) before those from U+E000 on. */
function textOrder(a: string, b: string): number {
  for (let at = 0; at < a.length && at < b.length; at += 1) {
    const [one, other] = [a.charCodeAt(at), b.charCodeAt(at)]
    if (one !== other) return surrogatesLast(one) - surrogatesLast(other)
  }
  return a.length - b.length
}
const surrogatesLast = (unit: number): number => (unit < 0xd800 ? unit : unit < 0xe000 ? unit + 0x2000 : unit - 0x800)

const ENDS: Record<string, (order: number) => boolean> = {
  lt: (order) => order < 0,
  lte: (order) => order <= 0,
  gt: (order) => order > 0,
  gte: (order) => order >= 0,
}
const TEXTS: Record<string, (text: string, part: string) => boolean> = {
  contains: (text, part) => text.includes(part),
  startsWith: (text, part) => text.startsWith(part),
  endsWith: (text, part) => text.endsWith(part),
}
const OPERATORS = new Set([...Object.keys(ENDS), ...Object.keys(TEXTS), "in", "notIn", "not", "isNull"])

const every = (tests: Test[]): Test => (row) => tests.every((test) => test(row))
const not = (test: Test): Test => (row) => !test(row)
const members = (raw: unknown): [string, unknown][] => Object.entries(raw as Data)

function conditions(raw: unknown, path: Path): Test {
  return every(
    members(raw).map(([name, value]) => {
      if (name !== "AND" && name !== "OR" && name !== "NOT") return member(value, [...path, ...names(name)])
      const parts = (Array.isArray(value) ? value : [value]).map((part) => conditions(part, path))
      if (name === "OR") return (row) => parts.some((test) => test(row))
      return every(name === "AND" ? parts : parts.map(not))
    }),
  )
}

function member(raw: unknown, path: Path): Test {
  if (typeof raw !== "object" || raw === null) return oneOf([raw], path)
  const said = members(raw)
  if (said.some(([name]) => OPERATORS.has(name))) return every(said.map(([name, value]) => operator(name, value, path)))
  return conditions(raw, path)
}

function oneOf(values: readonly unknown[], path: Path): Test {
  const named = isId(path)
  const wanted = new Set(values.map((value) => form(value, named)))
  return (row) => wanted.has(form(lookup(row, path), named))
}

function operator(name: string, raw: unknown, path: Path): Test {
  const named = isId(path)
  switch (name) {
    case "in":
      return oneOf(raw as unknown[], path)
    case "notIn":
      return not(oneOf(raw as unknown[], path))
    case "not":
      return not(member(raw, path))
    case "isNull":
      return raw === true ? oneOf([null], path) : not(oneOf([null], path))
  }
  const ordered = ENDS[name]
  const operand = form(raw, named)
  if (ordered !== undefined) {
    return (row) => {
      const value = form(lookup(row, path), named)
      if (typeof value === "string" && typeof operand === "string") return ordered(textOrder(value, operand))
      return typeof value === "number" && typeof operand === "number" && ordered(value - operand)
    }
  }
  const holds = TEXTS[name] as (text: string, part: string) => boolean
  return (row) => {
    const value = lookup(row, path)
    if (typeof value === "string") {
      return typeof raw === "string" && holds(named ? value : asWritten(value), asWritten(raw))
    }
    const element = form(raw)
    return name === "contains" && Array.isArray(value) && value.some((item) => form(item) === element)
  }
}

/** A function that tests whether a row matches `where`. */
export function compileWhere(where: Where | null | undefined): Test {
  return conditions(where ?? {}, [])
}

/** The position of a value's type in the order of rows. */
function rank(value: Value): number {
  return value === null ? 0 : { boolean: 1, number: 2, string: 3 }[typeof value as string] ?? 4
}

function order(a: Value, b: Value): number {
  const kind = rank(a)
  if (kind !== rank(b)) return kind - rank(b)
  if (kind === 3) return textOrder(a as string, b as string)
  return kind === 4 ? 0 : Number(a) - Number(b)
}

function keys(raw: OrderBy | readonly OrderBy[], path: Path): [Path, boolean][] {
  return (Array.isArray(raw) ? (raw as readonly OrderBy[]) : [raw as OrderBy]).flatMap((each) =>
    members(each).flatMap(([name, way]): [Path, boolean][] => {
      const inner = [...path, ...names(name)]
      return typeof way === "string" ? [[inner, way === "desc"]] : keys(way as OrderBy, inner)
    }),
  )
}

/** A function that compares rows in the order of a query. */
export function comparator(orderBy: Query["orderBy"] | null): (a: Data, b: Data) => number {
  const wanted = keys(orderBy ?? {}, [])
  return (a, b) => {
    for (const [path, falling] of wanted) {
      const between = order(form(lookup(a, path), isId(path)), form(lookup(b, path), isId(path)))
      if (between !== 0) return falling ? -between : between
    }
    return textOrder(String(a["id"]), String(b["id"]))
  }
}
