/** The types of queries and of what they give, for rows with fields `T`. Without types, everything is allowed. */
import type { Data, Entity, RelationsOf, Untyped } from "./schema.js"

export type Value = string | number | boolean | null | Date

/** Whether nothing is known of a type. */
type Unknown<V> = unknown extends V ? true : false

/** What has no members to look into. */
type Leaf = string | number | boolean | Date | null | undefined | readonly unknown[]

/** The member of a union that has members, if any. */
type Inner<V> = V extends Leaf ? never : V

/** Depth of the members whose names are checked; deeper ones may be named freely. */
type Deeper = [1, 2, 3, 4, 5, never]

type PathIn<T, D extends number> = {
  [K in keyof T & string]-?: K | (Unknown<T[K]> extends true ? `${K}.${string}` : [Inner<T[K]>] extends [never] ? never : `${K}.${Inside<Inner<T[K]>, D>}`)
}[keyof T & string]

type Inside<V, D extends number> = [Deeper[D]] extends [never] ? string : PathIn<V, Deeper[D]>

/** The name of a member of a row, or of a member of that: `"title"`, `"customer.city"`. */
export type Path<T = Data> = Untyped<T> extends true ? string : PathIn<Entity<T>, 0>

/** The value at a path; with `undefined` if it may be missing. */
type At<T, P extends string> = P extends keyof T
  ? T[P]
  : P extends `${infer K}.${infer Rest}`
    ? K extends keyof T
      ? Unknown<T[K]> extends true
        ? unknown
        : (Inner<T[K]> extends infer V ? (V extends unknown ? At<V, Rest> : never) : never) | (T[K] extends Inner<T[K]> ? never : undefined)
      : unknown
    : unknown

/** The type of the member at a path. */
export type ValueAt<T, P extends string> = Untyped<T> extends true ? unknown : At<Entity<T>, P>

/** The paths to values of which at least some are `V`. */
type PathTo<T, V> =
  Untyped<T> extends true
    ? string
    : { [P in Path<T>]: Unknown<ValueAt<T, P>> extends true ? P : [Extract<ValueAt<T, P>, V>] extends [never] ? never : P }[Path<T>]

/** The paths to numbers, which can be added up. */
export type NumberPath<T = Data> = PathTo<T, number>

/** The paths to what has an order: numbers and strings. */
export type OrderedPath<T = Data> = PathTo<T, number | string>

/** The name of a field of an entity. */
export type Field<T = Data> = Untyped<T> extends true ? string : keyof Entity<T> & string

/** The name of a field that an entity may lack. */
export type OptionalField<T = Data> = Untyped<T> extends true ? string : { [K in keyof T & string]-?: object extends Pick<T, K> ? K : never }[keyof T & string]

/** A row of which only the fields `F` were asked for. */
export type Selected<T, F> = Untyped<T> extends true ? Entity<T> : [Field<T>] extends [F] ? Entity<T> : Pick<Entity<T>, (F | "id") & keyof Entity<T>>

/** Values that a member can be compared with. Strings can be points in time, so dates are allowed too. */
type Comparable<V> = V extends string ? (string extends V ? V | Date : V) : V extends number | boolean | Date ? V : never

/** What each operator of a query takes, for a member of any type. */
interface AnyOperators {
  in?: readonly Value[]
  notIn?: readonly Value[]
  not?: Value | AnyOperators | AnyWhere
  lt?: string | number | Date
  lte?: string | number | Date
  gt?: string | number | Date
  gte?: string | number | Date
  /** In a string: a substring; in an array: an element. */
  contains?: Value
  startsWith?: string
  endsWith?: string
  isNull?: boolean
}

interface Equality<V> {
  in?: readonly (Comparable<V> | null)[]
  notIn?: readonly (Comparable<V> | null)[]
  not?: Condition<V>
  isNull?: boolean
}

interface Ordering<V> {
  lt?: V
  lte?: V
  gt?: V
  gte?: V
}

interface Containing<V> {
  /** In a string: a substring; in an array: an element. */
  contains?: V
}

interface Affixes {
  startsWith?: string
  endsWith?: string
}

type If<V, Then> = [V] extends [never] ? unknown : Then
type Ordered<V> = Comparable<Extract<V, string | number | Date>>
type Contained<V> = V extends readonly (infer E)[] ? (Unknown<E> extends true ? Value : Comparable<E> | null) : V extends string ? string : never

/** The operators for a member of type `V`. */
export type Operators<V = unknown> =
  Unknown<V> extends true
    ? AnyOperators
    : Equality<V> & If<Ordered<V>, Ordering<Ordered<V>>> & If<Contained<V>, Containing<Contained<V>>> & If<Extract<V, string>, Affixes>

/** Conditions on the members of a member. */
type Members<V> = V extends Leaf ? never : { [K in keyof V]?: Condition<V[K]> }

type Condition<V> = Unknown<V> extends true ? Value | AnyOperators | AnyWhere : null | Comparable<V> | Operators<V> | Members<V>

interface Combined<W> {
  AND?: W | readonly W[]
  OR?: W | readonly W[]
  NOT?: W | readonly W[]
}

/** Untyped conditions, including AND, OR and NOT. */
interface AnyWhere {
  [field: string]: Value | AnyOperators | AnyWhere | readonly AnyWhere[]
}

/** Conditions on an entity with fields `T`; all must hold. `"profile.city"` is a nested member. */
export type Where<T = Data> = Untyped<T> extends true ? AnyWhere : { [P in Path<T>]?: Condition<ValueAt<T, P>> } & Combined<Where<T>>

type Direction = "asc" | "desc"

export type OrderBy<T = Data> = { [P in Path<T>]?: Direction }

export interface Query<T = Data> {
  where?: Where<T>
  /** Words to find in what the collection declares to be searched. */
  search?: string
  orderBy?: OrderBy<T> | readonly OrderBy<T>[]
  limit?: number
  offset?: number
  after?: string
  /** Relations whose rows each row has in `$included`. */
  include?: IncludeOf<T>
}

/** What to include, by relation: all of it (`true`), or some. */
export interface Include {
  [relation: string]: boolean | IncludeOptions
}

/** Which related rows, and which of their fields. A relation to one entity has no `orderBy` and no `limit`. */
export interface IncludeOptions<T = Data> {
  where?: Where<T>
  orderBy?: OrderBy<T> | readonly OrderBy<T>[]
  /** For each row of the query; 100 by default. */
  limit?: number
  fields?: readonly Field<T>[]
}

/** What a query of rows with fields `T` may include: what they are related to, or anything if that is not known. */
export type IncludeOf<T> = [RelationsOf<T>] extends [never] ? Include : { [K in keyof RelationsOf<T>]?: boolean | OptionsOf<RelationsOf<T>[K]> }

/** What can be said of a relation: that to one has no order. */
type OptionsOf<R> = R extends readonly (infer U)[] ? IncludeOptions<U> : R extends null ? never : Pick<IncludeOptions<R>, "where" | "fields">

/** Nothing to include. */
// eslint-disable-next-line @typescript-eslint/no-empty-object-type
export type Nothing = {}

/** A query's part that includes `I`, with right names only. */
export interface Including<T, I> {
  include?: I & NoInfer<RightInclude<I, T>>
}

/** What the query `Q` includes. */
export type IncludedBy<Q> = Q extends { include: infer I } ? I : Nothing

/** A row with fields `T` of a query for the fields `F` that includes `I`. */
export type RowWith<T, F, I> = Selected<T, F> & Included<T, I>

/** What such a row has besides: nothing if it is not known what the query includes, or what there is to include. */
type Included<T, I> = [RelationsOf<T>] extends [never] ? unknown : IncludeOf<T> extends I ? unknown : { readonly $included: IncludedIn<RelationsOf<T>, I> }

type IncludedIn<R, I> = { readonly [K in keyof I & keyof R as I[K] extends false ? never : K]: RelatedTo<R[K], I[K]> | (boolean extends I[K] ? undefined : never) }

type RelatedTo<R, O> = R extends readonly (infer U)[] ? readonly Selected<U, NamedFields<O, U>>[] : R extends null ? null : Selected<R, NamedFields<O, R>>

type NamedFields<O, T> = O extends { fields: readonly (infer F)[] } ? F : Field<T>

/**
 * A row of a query with `include`: `$included` has what is related to it, by relation, an entity or `null`, or a list.
 * Rows of such queries may be assigned to it: `const rows: Row<Task, { owner: Entity<User> | null }>[] = …`. Rows with
 * declared relations have it anyway.
 */
// eslint-disable-next-line @typescript-eslint/no-explicit-any
export type Row<T = Data, I = Record<string, any>> = Entity<T> & { readonly $included?: Readonly<I> }

/** A live query. While `condition` returns false, nothing is delivered. */
export type QueryWithCondition<T = Data> = Query<T> & { condition?: () => boolean }

/** What to compute of the rows that match `where` and are found by `search`, for each combination of values of `groupBy`. */
export interface Aggregate<T = Data> {
  where?: Where<T>
  /** Words to find in what the collection declares to be searched. */
  search?: string
  groupBy?: Path<T> | readonly Path<T>[]
  sum?: NumberPath<T> | readonly NumberPath<T>[]
  avg?: NumberPath<T> | readonly NumberPath<T>[]
  min?: OrderedPath<T> | readonly OrderedPath<T>[]
  max?: OrderedPath<T> | readonly OrderedPath<T>[]
}

/** One group of an aggregate. `sum`, `avg`, `min` and `max` have the members that it asked for. */
export interface Group {
  /** Unique among the groups. */
  id: string
  /** The values of the members of `groupBy`. */
  group: Data
  count: number
  sum?: Record<string, number>
  avg?: Record<string, number | null>
  min?: Record<string, number | string | null>
  max?: Record<string, number | string | null>
}

/** A group of the aggregate `Q` over rows with fields `T`. */
export type GroupOf<T, Q> =
  Untyped<T> extends true
    ? Group
    : { id: string; count: number; group: Values<Q, "groupBy", { [P in Named<Q, "groupBy">]: Common<ValueAt<T, P>> }> } & Computed<Q, "sum", { [P in Named<Q, "sum">]: number }> &
        Computed<Q, "avg", { [P in Named<Q, "avg">]: number | null }> &
        Computed<Q, "min", { [P in Named<Q, "min">]: Extreme<ValueAt<T, P>> }> &
        Computed<Q, "max", { [P in Named<Q, "max">]: Extreme<ValueAt<T, P>> }>

/** The paths that the member `K` of an aggregate names. */
type Named<Q, K> = K extends keyof Q ? (Q[K] extends infer V ? (V extends readonly (infer E extends string)[] ? E : V extends string ? V : never) : never) : never

/** Values by path, which may be missing if it is not known what the aggregate names. */
type Values<Q, K, V> = K extends keyof Q ? (undefined extends Q[K] ? Partial<V> : V) : V

type Computed<Q, K extends string, V> = K extends keyof Q ? (undefined extends Q[K] ? { [Name in K]?: Partial<V> } : { [Name in K]: V }) : unknown

/** The smallest or largest of the values at a path; `null` if there are none. */
type Extreme<V> = Unknown<V> extends true ? number | string | null : Extract<V, number | string> | null

/** The value that the rows of a group have in common. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any
type Common<V> = Unknown<V> extends true ? any : Exclude<V, undefined> | (undefined extends V ? null : never)

/**
 * `unknown` if the query or aggregate `Q` has only the members of `Known`, and names only members of rows with fields `T`;
 * else what no query is. TypeScript itself looks for wrong names only in objects that stand where the query is expected, not
 * in functions and stores, nor where the type of the query is inferred.
 */
export type Right<Q, T, Known = QueryWithCondition<T>> = Known extends Q ? unknown : [WrongName<Q, T, Known>] extends [never] ? unknown : NoSuchMember<WrongName<Q, T, Known>>

/** An error about a name. */
export interface NoSuchMember<Name> {
  readonly noSuchMember: Name
}

type WrongName<Q, T, Known> = Q extends object
  ? {
      [K in keyof Q]-?: K extends keyof Known ? (Untyped<T> extends true ? never : K extends "where" ? WrongInWhere<Q[K], T> : K extends "orderBy" ? WrongInOrder<Q[K], T> : K extends "include" ? WrongInInclude<Q[K], T> : never) : K
    }[keyof Q]
  : never

type WrongInWhere<W, T> = W extends readonly (infer E)[]
  ? WrongInWhere<E, T>
  : W extends object
    ? { [K in keyof W]-?: K extends keyof Combined<T> ? WrongInWhere<W[K], T> : K extends Path<T> ? never : K }[keyof W]
    : never

type RightInclude<I, T> = [WrongInInclude<I, T>] extends [never] ? unknown : NoSuchMember<WrongInInclude<I, T>>

type WrongInInclude<I, T> = [RelationsOf<T>] extends [never]
  ? never
  : I extends object
    ? { [K in keyof I]-?: K extends keyof RelationsOf<T> ? (I[K] extends object ? WrongInRelation<I[K], RelationsOf<T>[K]> : never) : K }[keyof I]
    : never

type WrongInRelation<O, R> = R extends readonly (infer U)[] ? WrongName<O, U, IncludeOptions<U>> : R extends null ? never : WrongName<O, R, OptionsOf<R>>

type WrongInOrder<O, T> = O extends readonly (infer E)[] ? WrongInOrder<E, T> : O extends object ? Exclude<keyof O, Path<T>> : never
