// Where the points are: finding the nearest, and making a drawn outline short.

const CELLS = 128

/** Points in a square grid, so that the nearest to the pointer is found without looking at all. */
class PointIndex {
  constructor(xy) {
    this.xy = xy
    this.n = xy.length / 2
    this.bounds = boundsOf(xy)
    const { left, bottom, side } = this.bounds
    const cellOf = new Int32Array(this.n)
    this.starts = new Uint32Array(CELLS * CELLS + 1)
    for (let i = 0; i < this.n; i++) {
      const x = xy[2 * i], y = xy[2 * i + 1]
      if (!Number.isFinite(x + y)) {
        cellOf[i] = -1
        continue
      }
      const column = Math.min(CELLS - 1, Math.floor(((x - left) / side) * CELLS))
      const row = Math.min(CELLS - 1, Math.floor(((y - bottom) / side) * CELLS))
      cellOf[i] = row * CELLS + column
      this.starts[cellOf[i] + 1]++
    }
    for (let c = 0; c < CELLS * CELLS; c++) this.starts[c + 1] += this.starts[c]
    this.members = new Uint32Array(this.n)
    const next = this.starts.slice()
    for (let i = 0; i < this.n; i++) if (cellOf[i] >= 0) this.members[next[cellOf[i]]++] = i
  }

  /** Ids within `reach` of (x, y), nearest first, at most `most`, of those that `allowed` lets pass. */
  near(x, y, reach, most, allowed) {
    const { left, bottom, side } = this.bounds
    const cell = value => Math.floor((value / side) * CELLS)
    const clip = value => Math.min(CELLS - 1, Math.max(0, value))
    const found = []
    for (let row = clip(cell(y - reach - bottom)); row <= clip(cell(y + reach - bottom)); row++) {
      const first = row * CELLS + clip(cell(x - reach - left))
      const last = row * CELLS + clip(cell(x + reach - left))
      for (let k = this.starts[first]; k < this.starts[last + 1]; k++) {
        const i = this.members[k]
        const distance = Math.hypot(this.xy[2 * i] - x, this.xy[2 * i + 1] - y)
        if (distance <= reach && allowed(i)) found.push([distance, i])
      }
    }
    found.sort((a, b) => a[0] - b[0])
    return found.slice(0, most).map(([, i]) => i)
  }
}

function boundsOf(xy) {
  let left = Infinity, right = -Infinity, bottom = Infinity, top = -Infinity
  for (let i = 0; i < xy.length; i += 2) {
    const x = xy[i], y = xy[i + 1]
    if (!Number.isFinite(x + y)) continue
    if (x < left) left = x
    if (x > right) right = x
    if (y < bottom) bottom = y
    if (y > top) top = y
  }
  if (left > right) [left, right, bottom, top] = [0, 1, 0, 1]
  return { left, right, bottom, top, side: Math.max(right - left, top - bottom) || 1 }
}

/** Pan and zoom: one scale for both directions, so that nearness on the map is nearness. */
class View {
  constructor() {
    this.x = this.y = 0
    this.scale = 1
    this.width = this.height = 1
  }

  fit({ left, right, bottom, top }) {
    this.x = (left + right) / 2
    this.y = (bottom + top) / 2
    const across = this.width / (right - left || 1), up = this.height / (top - bottom || 1)
    this.scale = this.fitted = 0.94 * Math.min(across, up)
  }

  toScreen(x, y) {
    return [(x - this.x) * this.scale + this.width / 2, (this.y - y) * this.scale + this.height / 2]
  }

  toData(px, py) {
    return [(px - this.width / 2) / this.scale + this.x, this.y - (py - this.height / 2) / this.scale]
  }

  pan(dx, dy) {
    this.x -= dx / this.scale
    this.y += dy / this.scale
  }

  zoom(factor, px, py) {
    const [x, y] = this.toData(px, py)
    this.scale = Math.min(Math.max(this.scale * factor, this.fitted / 4), this.fitted * 2000)
    const [left, top] = this.toScreen(x, y)
    this.pan(px - left, py - top)
  }
}

const MOST_CORNERS = 150

/** The outline with fewer corners (Douglas–Peucker): below a pixel's difference where that is enough. */
function simplified(outline) {
  let tolerance = 0.6
  let kept = outline
  do {
    kept = keepCorners(outline, tolerance)
    tolerance *= 1.5
  } while (kept.length > MOST_CORNERS)
  return kept
}

function keepCorners(outline, tolerance) {
  const keep = new Uint8Array(outline.length)
  keep[0] = keep[outline.length - 1] = 1
  const open = [[0, outline.length - 1]]
  while (open.length) {
    const [first, last] = open.pop()
    let farthest = 0, where = -1
    for (let i = first + 1; i < last; i++) {
      const distance = distanceToSegment(outline[i], outline[first], outline[last])
      if (distance > farthest) [farthest, where] = [distance, i]
    }
    if (farthest > tolerance) {
      keep[where] = 1
      open.push([first, where], [where, last])
    }
  }
  return outline.filter((_, i) => keep[i])
}

function distanceToSegment([x, y], [x1, y1], [x2, y2]) {
  const dx = x2 - x1, dy = y2 - y1
  const length = dx * dx + dy * dy
  const along = length ? Math.min(1, Math.max(0, ((x - x1) * dx + (y - y1) * dy) / length)) : 0
  return Math.hypot(x - x1 - along * dx, y - y1 - along * dy)
}
