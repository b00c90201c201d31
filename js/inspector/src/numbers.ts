/** How numbers are written. */

const UNITS = ["bytes", "KB", "MB", "GB", "TB"]

export const count = (value: number): string => value.toLocaleString("en")

/** Three digits that count, without an exponent. */
const roughly = (value: number): string => value.toLocaleString("en", { maximumSignificantDigits: 3 })

/** `1234567` as `1.23 MB`. */
export function bytes(size: number): string {
  let value = size
  let unit = 0
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000
    unit += 1
  }
  return `${roughly(value)} ${UNITS[unit]}`
}

/** Seconds, in the unit that suits them. */
export function seconds(value: number): string {
  if (value === 0) return "0"
  if (value < 0.0009995) return `${roughly(value * 1e6)} µs`
  if (value < 0.9995) return `${roughly(value * 1000)} ms`
  return `${value < 1000 ? roughly(value) : count(Math.round(value))} s`
}
