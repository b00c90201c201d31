import { expect, test } from "vitest"

import { bytes, seconds } from "../src/numbers.js"

test.each([
  [0, "0 bytes"],
  [999, "999 bytes"],
  [1234567, "1.23 MB"],
  [99_600, "99.6 KB"],
  [999_499, "999 KB"],
  [999_500, "1 MB"],
  [5e15, "5,000 TB"],
])("%d bytes are written as %s", (size, text) => {
  expect(bytes(size)).toBe(text)
})

test.each([
  [0, "0"],
  [0.0000004, "0.4 µs"],
  [0.000294, "294 µs"],
  [0.00099951, "1 ms"],
  [0.2345, "235 ms"],
  [0.99951, "1 s"],
  [12.34, "12.3 s"],
  [123456, "123,456 s"],
])("%d seconds are written as %s", (value, text) => {
  expect(seconds(value)).toBe(text)
})
