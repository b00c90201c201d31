/** Two texts side by side, line by line. */

/** One row: the line of each side, `null` where the other has one more. */
export interface Pair {
  left: string | null
  right: string | null
  same: boolean
}

const MOST = 1000 // lines of a side that are compared one by one

/** The rows of two texts; equal lines stand beside each other. Of very long texts only the common ends are found. */
export function sideBySide(before: string, after: string): Pair[] {
  const left = before.split("\n")
  const right = after.split("\n")
  let start = 0
  while (start < left.length && start < right.length && left[start] === right[start]) start += 1
  let end = 0
  while (end < left.length - start && end < right.length - start && left[left.length - 1 - end] === right[right.length - 1 - end]) end += 1
  const same = (lines: string[]): Pair[] => lines.map((line) => ({ left: line, right: line, same: true }))
  return [
    ...same(left.slice(0, start)),
    ...changed(left.slice(start, left.length - end), right.slice(start, right.length - end)),
    ...same(end > 0 ? left.slice(-end) : []),
  ]
}

function changed(left: string[], right: string[]): Pair[] {
  if (left.length > MOST || right.length > MOST) return paired(left, right)
  // the lengths of the longest common subsequences of what is behind each pair of lines
  const width = right.length + 1
  const common = new Uint16Array((left.length + 1) * width)
  for (let i = left.length - 1; i >= 0; i -= 1)
    for (let j = right.length - 1; j >= 0; j -= 1)
      common[i * width + j] =
        left[i] === right[j]
          ? common[(i + 1) * width + j + 1]! + 1
          : Math.max(common[(i + 1) * width + j]!, common[i * width + j + 1]!)
  const rows: Pair[] = []
  let [i, j, from, to] = [0, 0, 0, 0]
  while (i < left.length && j < right.length) {
    if (left[i] === right[j]) {
      rows.push(...paired(left.slice(from, i), right.slice(to, j)), { left: left[i]!, right: right[j]!, same: true })
      i += 1
      j += 1
      from = i
      to = j
    } else if (common[(i + 1) * width + j]! >= common[i * width + j + 1]!) i += 1
    else j += 1
  }
  return [...rows, ...paired(left.slice(from), right.slice(to))]
}

function paired(left: string[], right: string[]): Pair[] {
  return Array.from({ length: Math.max(left.length, right.length) }, (_, at) => ({
    left: left[at] ?? null,
    right: right[at] ?? null,
    same: false,
  }))
}
