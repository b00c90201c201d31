/** Freezes a JSON value deeply. A frozen object is skipped, because this function has frozen it. */
export function frozen<T>(value: T): T {
  if (typeof value !== "object" || value === null || Object.isFrozen(value)) return value
  Object.freeze(value)
  for (const name in value) frozen(value[name])
  return value
}
