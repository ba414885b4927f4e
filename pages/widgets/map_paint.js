// Colours, and points written straight into the pixels: the same speed with and without a GPU.

const CLASS_COLOURS = {
  light: ["#4e79a7", "#e6a117", "#59a14f", "#d1495b", "#8c6bb1", "#2a9d8f", "#9c755f", "#e48fb0",
    "#b5bd3a", "#27496d"],
  dark: ["#6fa3d8", "#f2b84b", "#7cc36f", "#ef7583", "#ab8fd6", "#4fc3b3", "#c0987f", "#f0aac6",
    "#d3da63", "#a9c4e4"],
}
const SEQUENTIAL = "#dce8f2,#a6c5dd,#6699c0,#2f6999,#0a3a66"
const DIVERGING = "#08518c,#6ca3cf,#f3f3f3,#e89a63,#a84c0b"

const probe = document.createElement("canvas").getContext("2d", { willReadFrequently: true })

/** [r, g, b] of any CSS colour. */
function rgb(colour) {
  probe.fillStyle = "#888"
  probe.fillStyle = colour
  probe.fillRect(0, 0, 1, 1)
  return [...probe.getImageData(0, 0, 1, 1).data.slice(0, 3)]
}

function mixed(one, other, share) {
  return one.map((value, k) => Math.round(value + (other[k] - value) * share))
}

/** The colours of the theme in use, read from the variables that Streamlit sets. */
function themeOf(root) {
  const style = getComputedStyle(root)
  const read = (name, otherwise) => {
    const value = style.getPropertyValue(name).trim()
    return value && value !== "unset" ? value : otherwise
  }
  const background = rgb(read("--st-background-color", "#fff"))
  const text = rgb(read("--st-text-color", "#222"))
  const scale = (name, otherwise) => read(name, otherwise).split(",").map(rgb)
  return {
    background,
    text,
    dark: background[0] + background[1] + background[2] < 384,
    grey: mixed(background, text, 0.24),
    sequential: scale("--st-chart-sequential-colors", SEQUENTIAL),
    diverging: scale("--st-chart-diverging-colors", DIVERGING),
  }
}

function classColours(count, dark) {
  const base = CLASS_COLOURS[dark ? "dark" : "light"]
  return Array.from({ length: count }, (_, k) => {
    if (k < base.length) return rgb(base[k])
    // More classes than names for colours: hues a golden angle apart, lightness in three steps.
    const lightness = (dark ? 62 : 42) + 9 * (k % 3)
    return rgb(`hsl(${(k * 137.508) % 360} 55% ${lightness}%)`)
  })
}

/** A colour on a scale of some colours, `share` from 0 to 1. */
function onScale(scale, share) {
  const place = Math.min(1, Math.max(0, share)) * (scale.length - 1)
  const below = Math.min(scale.length - 2, Math.floor(place))
  return mixed(scale[below], scale[below + 1], place - below)
}

/** Uint8Array (3 n): the colour of each point. */
function pointColours(look, theme) {
  const { groups, scores } = look.parts
  const { low, high, signed, groupNames } = look.header
  const colours = new Uint8Array(3 * groups.length)
  const classes = classColours(groupNames.length, theme.dark)
  const steps = Array.from({ length: 256 }, (_, k) =>
    onScale(signed ? theme.diverging : theme.sequential, k / 255))
  for (let i = 0; i < groups.length; i++) {
    let colour = classes[groups[i]]
    if (scores) {
      const share = (scores[i] - low) / (high - low)
      colour = Number.isFinite(share)
        ? steps[Math.round(255 * Math.min(1, Math.max(0, share)))] : theme.grey
    }
    colours.set(colour, 3 * i)
  }
  return colours
}

/**
 * The order of painting. By class: shuffled, always alike, so that no class covers the others.
 * By score: what matters most comes last, on top.
 */
function paintOrder(look) {
  const { groups, scores } = look.parts
  const order = Uint32Array.from(groups, (_, i) => i)
  let state = 1
  for (let i = order.length - 1; i > 0; i--) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    const j = state % (i + 1)
    ;[order[i], order[j]] = [order[j], order[i]]
  }
  if (!scores) return order
  const weight = look.header.signed ? i => Math.abs(scores[i]) : i => scores[i]
  const weights = Float32Array.from(scores, (_, i) => (Number.isNaN(scores[i]) ? -Infinity : weight(i)))
  return order.sort((a, b) => weights[a] - weights[b])
}

/** The pixels of a disc (or a square) round (0, 0): offsets and how much of each it covers. */
function stamp(radius, { square = false, strength = 1 } = {}) {
  const offsets = []
  const reach = Math.ceil(radius)
  for (let dy = -reach; dy <= reach; dy++) {
    for (let dx = -reach; dx <= reach; dx++) {
      const distance = square ? Math.max(Math.abs(dx), Math.abs(dy)) : Math.hypot(dx, dy)
      const cover = Math.min(1, Math.max(0, radius + 0.5 - distance))
      if (cover > 0.05) offsets.push(dx, dy, Math.round(256 * cover * strength))
    }
  }
  return Int16Array.from(offsets)
}

/** Blend one stamp into RGBA pixels at (px, py). */
function press(pixels, width, height, shape, px, py, red, green, blue) {
  for (let k = 0; k < shape.length; k += 3) {
    const x = px + shape[k], y = py + shape[k + 1]
    if (x < 0 || y < 0 || x >= width || y >= height) continue
    const at = 4 * (y * width + x), cover = shape[k + 2]
    pixels[at] += ((red - pixels[at]) * cover) >> 8
    pixels[at + 1] += ((green - pixels[at + 1]) * cover) >> 8
    pixels[at + 2] += ((blue - pixels[at + 2]) * cover) >> 8
  }
}

const FORGET = [213, 94, 0]
const PROTECT = [204, 121, 167]

class Painter {
  constructor(canvas) {
    this.canvas = canvas
    this.context = canvas.getContext("2d", { alpha: false })
  }

  /** Draw all points. `scene`: xy, order, colours, groups, hidden, chosen, anyChosen, theme. */
  paint(view, scene, ratio) {
    const { canvas, context } = this
    const { width, height } = canvas
    if (!width || !height) return
    if (this.image?.width !== width || this.image?.height !== height) {
      this.image = context.createImageData(width, height)
    }
    const pixels = this.image.data
    const [red, green, blue] = scene.theme.background
    new Uint32Array(pixels.buffer).fill(((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0)
    const radius = pointRadius(scene.xy.length / 2, view) * ratio
    const rim = scene.nChosen <= 3000
    const shapes = {
      // See-through where points are many, so that a crowd is darker than a single one.
      point: stamp(radius, { strength: pointStrength(scene, view) }),
      chosen: stamp(radius + 0.5 * ratio),
      rim: stamp(radius + 1.6 * ratio),
      protect: stamp(radius + 1.6 * ratio, { square: true }),
    }
    this.pass(view, scene, ratio, 0, (px, py, i) => {
      const colour = scene.anyChosen ? scene.theme.grey : scene.colours.subarray(3 * i, 3 * i + 3)
      press(pixels, width, height, shapes.point, px, py, ...colour)
    })
    if (!scene.nChosen && !scene.nProtected) return context.putImageData(this.image, 0, 0)
    const marked = mark => (px, py, i) => {
      const colour = scene.colours.subarray(3 * i, 3 * i + 3)
      if (mark & 2) press(pixels, width, height, shapes.protect, px, py, ...PROTECT)
      else if (rim) press(pixels, width, height, shapes.rim, px, py, ...FORGET)
      press(pixels, width, height, shapes.chosen, px, py, ...colour)
    }
    this.pass(view, scene, ratio, 1, marked(1))
    this.pass(view, scene, ratio, 2, marked(2))
    context.putImageData(this.image, 0, 0)
  }

  /** Call `draw` for each visible point whose mark is `mark` (0 none, 1 chosen, 2 protected). */
  pass(view, { xy, order, groups, hidden, marks }, ratio, mark, draw) {
    const { width, height } = this.canvas
    const scale = view.scale * ratio
    const left = width / 2 - view.x * scale, top = height / 2 + view.y * scale
    for (let k = 0; k < order.length; k++) {
      const i = order[k]
      if (marks[i] !== mark || hidden[groups[i]]) continue
      const px = Math.round(xy[2 * i] * scale + left), py = Math.round(top - xy[2 * i + 1] * scale)
      if (px > -9 && py > -9 && px < width + 9 && py < height + 9) draw(px, py, i)
    }
  }
}

function pointStrength({ xy, anyChosen }, view) {
  if (xy.length < 40000) return 1
  return Math.min(1, (anyChosen ? 0.35 : 0.7) * Math.sqrt(Math.max(1, view.scale / view.fitted)))
}

/** Pixels of the screen: small where points are many, larger when one looks closely. */
function pointRadius(n, view) {
  const base = n > 20000 ? 1.3 : n > 4000 ? 1.9 : 2.8
  return Math.min(7, base * Math.max(1, (view.scale / view.fitted) ** 0.45))
}
