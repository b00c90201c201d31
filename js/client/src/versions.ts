const MOST = 10_000

/** The newest versions seen of the entities that were seen last. */
export class Versions {
  private readonly seen = new Map<string, number>()

  get(collection: string, id: string): number | undefined {
    return this.seen.get(`${collection}/${id}`)
  }

  /** Returns whether the version is newer than all before. */
  see(collection: string, id: string, version: number): boolean {
    const name = `${collection}/${id}`
    const known = this.seen.get(name) ?? 0
    this.seen.delete(name)
    this.seen.set(name, Math.max(known, version))
    if (this.seen.size > MOST) this.seen.delete(this.seen.keys().next().value as string)
    return version > known
  }
}
