// What the picking widgets share in the browser. Joined in front of each widget's own file.

const TYPES = {
  float32: Float32Array, uint8: Uint8Array, uint16: Uint16Array, int32: Int32Array,
  uint32: Uint32Array, float64: Float64Array, bytes: Uint8Array,
}

/** {header, parts} of a block written by pack() in wire.py. */
function unpack(bytes) {
  // A copy: the message's own buffer is larger, and typed arrays need an aligned start.
  const buffer = bytes.slice().buffer
  const length = Number(new DataView(buffer).getBigUint64(0, true))
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length)))
  const parts = {}
  for (const [name, part] of Object.entries(header.parts)) {
    const Type = TYPES[part.kind]
    parts[name] = new Type(buffer, 8 + length + part.offset, part.length / Type.BYTES_PER_ELEMENT)
  }
  return { header, parts }
}

// One store a page: payload components write, widgets read and are told of news.
const STORE = (globalThis.imuPayloads ??= { entries: new Map(), news: new EventTarget() })

function storedPayload(name) {
  return STORE.entries.get(name)?.value
}

function onPayload(listener) {
  STORE.news.addEventListener("payload", listener)
  return () => STORE.news.removeEventListener("payload", listener)
}

/**
 * The picks that the server has not acknowledged. Each message holds all of them, so one that is
 * overtaken by the next takes nothing with it.
 */
class Picks {
  constructor() {
    this.pending = []
    this.last = 0
    this.send = () => {}
  }

  acknowledge(number) {
    this.last = Math.max(this.last, number)
    this.pending = this.pending.filter(pick => pick.number > number)
  }

  add(kind, content) {
    this.last += 1
    this.pending.push({ number: this.last, kind, ...content })
    this.send(this.pending)
  }
}

/** Let go of a blob's address in a while: the browser may still be fetching what it names. */
function releaseLater(url) {
  setTimeout(() => URL.revokeObjectURL(url), 10_000)
}

/** An element with a class, attributes and children (strings become text, never markup). */
function element(tag, className = "", attributes = {}, children = []) {
  const node = document.createElement(tag)
  if (className) node.className = className
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value)
  node.append(...children)
  return node
}

/** A number for people: at most three significant digits, a true minus sign. */
function readable(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–"
  if (Number.isInteger(value)) return value.toLocaleString("en-US").replace("-", "−")
  const size = Math.abs(value)
  const text = size >= 1e5 || size < 1e-3 ? value.toExponential(1) : String(+value.toPrecision(3))
  return text.replaceAll("-", "−")
}
