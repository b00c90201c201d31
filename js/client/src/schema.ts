/** The collections that an application has declared: their names, and the types of their rows. */

/** A JSON object. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any
export type Data = Record<string, any>

/** An entity: its fields, and those that the server adds. */
export type Entity<T = Data> = T & { id: string; createdAt: string; updatedAt: string }

/**
 * What `collab types typescript` fills in, so that the client and the hooks know the collections everywhere:
 * `declare module "@lumenize/client" { interface Register { schema: Schema } }`.
 */
// eslint-disable-next-line @typescript-eslint/no-empty-object-type
export interface Register {}

/** The registered schema, which maps the names of collections to the types of their fields; without one, any. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any
export type Registered = Register extends { schema: infer S extends object } ? S : any

/** Whether a type has an index signature: then every name is a member. */
export type Untyped<T> = string extends keyof T ? true : false

declare const related: unique symbol

/**
 * What rows are related to, beside the types of their fields: `Task & Relates<{ owner: User | null; comments: Comment[] }>`.
 * `collab types typescript` writes it of declared relations. No row has such a member.
 */
export interface Relates<R> {
  readonly [related]?: R
}

/** The relations of rows with fields `T`: a type, or a list of it, by name; `never` if nothing is said of them. */
export type RelationsOf<T> = symbol extends keyof T ? never : typeof related extends keyof T ? NonNullable<T[typeof related]> : never

/** The names of the collections of the schema `C`; any string if the row type `T` is given. */
export type NameOf<T = never, C = Registered> = [T] extends [never] ? keyof C & string : string

/** The fields of a row: `T` if it is given, otherwise those of the collection `N` of the schema `C`. */
export type RowOf<T, N, C = Registered> = [T] extends [never] ? (Untyped<C> extends true ? Data : N extends keyof C ? RowIn<C[N]> : never) : T

type RowIn<T> = T extends Data ? T : never
