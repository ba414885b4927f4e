// The map. One instance for each mounted component; the renderer below only hands it news.

class PictureMap extends Pointing {
  constructor(root) {
    super()
    this.root = root
    this.picks = new Picks()
    this.pictures = new PictureCache()
    this.view = new View()
    this.mode = "lasso"
    this.waiting = []
    this.build()
    this.legend = new Legend(this.legendNode, () => this.groupsHidden())
    this.painter = new Painter(this.canvas)
    this.overlay = new Overlay(this.above)
    this.listen()
    this.stopListening = onPayload(() => this.data && this.update(this.data))
    this.resizer = new ResizeObserver(() => this.resize())
    this.resizer.observe(this.stage)
  }

  build() {
    const tool = (name, text, label) =>
      element("button", "tool", { type: "button", "data-tool": name, "aria-label": label, title: label }, [text])
    this.tools = element("div", "tools", { role: "toolbar", "aria-label": "Map tools" }, [
      tool("lasso", "Lasso", "Draw round pictures"), tool("box", "Box", "Draw a box"),
      tool("pan", "Move", "Drag the map"), element("span", "space"),
      tool("out", "−", "Zoom out"), tool("in", "+", "Zoom in"), tool("fit", "Fit", "Show all points"),
    ])
    this.canvas = element("canvas", "points")
    this.above = element("canvas", "above", { tabindex: "0", role: "img" })
    this.stage = element("div", "stage", {}, [this.canvas, this.above])
    this.legendNode = element("div", "legend", { role: "group", "aria-label": "Classes on the map" })
    this.status = element("p", "status", { "aria-live": "polite" })
    this.tipPicture = element("span", "picture")
    this.tipText = element("div", "text")
    this.tip = element("div", "tip", { "aria-hidden": "true" }, [this.tipPicture, this.tipText])
    const body = element("div", "body", {}, [this.stage, this.legendNode])
    this.root.replaceChildren(this.tools, body, this.status, this.tip)
  }

  listen() {
    const { above, tools } = this
    tools.onclick = event => this.toolChosen(event.target.closest(".tool")?.dataset.tool)
    above.onpointerdown = event => this.down(event)
    above.onpointermove = event => this.moved(event)
    above.onpointerup = event => this.up(event)
    above.onpointercancel = () => this.cancelDrag()
    above.onpointerleave = () => this.drag || this.hover(null)
    above.oncontextmenu = event => event.preventDefault()
    above.addEventListener("wheel", event => this.wheeled(event), { passive: false })
    above.onkeydown = event => this.pressed(event)
    above.onkeyup = event => event.key === " " && (this.spaceHeld = false)
  }

  destroy() {
    this.stopListening()
    this.resizer.disconnect()
    this.pictures.clear()
    clearTimeout(this.asking)
  }

  // ---- news from the server -----------------------------------------------------------------

  update(data) {
    this.data = data
    const { header, parts } = data
    this.picks.acknowledge(header.acknowledged)
    this.waiting = this.waiting.filter(shape => shape.number > header.acknowledged)
    const points = storedPayload(header.points), look = storedPayload(header.colours)
    const pictures = header.pictures && storedPayload(header.pictures)
    if (pictures) this.pictures.add(header.pictures, pictures)
    this.stage.style.height = `${header.height}px`
    this.legendNode.style.maxHeight = `${header.height}px`
    if (!points || !look) return
    const isNew = this.pointsName !== header.points
    if (isNew) this.takePoints(points, header.points)
    const theme = themeOf(this.root)
    const lookName = `${header.colours} ${theme.background}`
    const looksNew = this.lookName !== lookName || isNew
    if (looksNew) this.takeLook(look, theme, lookName)
    // Thumbnails for the pointer come often; they change no point.
    const marksNew = this.marksName !== header.marks || looksNew
    if (marksNew) this.takeMarks(parts, header.marks)
    this.describe()
    if (isNew) this.resize()
    if (marksNew) this.toolChosen(this.mode)
    else this.paintAbove()
    if (this.hovered !== undefined && this.hovered !== null) this.fillTip(this.hovered)
  }

  takePoints(points, name) {
    this.pointsName = name
    this.index = new PointIndex(points.parts.xy)
    this.view.fitted = undefined
    this.hovered = null
  }

  takeLook(look, theme, name) {
    const kept = this.look?.header.groupNames.join("\n") === look.header.groupNames.join("\n")
      ? this.legend.hidden : null
    this.look = look
    this.lookName = name
    this.theme = theme
    this.colours = pointColours(look, theme)
    this.order = paintOrder(look)
    this.legend.build(look, theme)
    if (kept) {
      this.legend.hidden = kept
      this.legend.show()
    }
  }

  /** marks[i]: 0 none, 1 chosen, 2 protected (a picture that is both counts as chosen). */
  takeMarks(parts, name) {
    const n = this.index.n
    this.marksName = name
    this.marks = new Uint8Array(n)
    this.nChosen = this.nProtected = 0
    const bit = (mask, i) => (mask[i >> 3] >> (i & 7)) & 1
    for (let i = 0; i < n; i++) {
      if (parts.protected.length && bit(parts.protected, i)) {
        this.marks[i] = 2
        this.nProtected += 1
      }
      if (parts.selected.length && bit(parts.selected, i)) {
        this.marks[i] = 1
        this.nChosen += 1
      }
    }
    this.legend.count(this.look.parts.groups, this.marks)
  }

  describe() {
    this.above.setAttribute("aria-label", `${this.data.header.name}. ${this.sentence()}`)
    const how = { add: "Drawing adds", subtract: "Drawing takes away", replace: "Drawing chooses anew" }
    this.status.textContent = `${this.sentence()} ${how[this.data.header.drawing]}; with shift it adds,`
      + " with alt it takes away. Esc clears."
  }

  sentence() {
    const chosen = this.nChosen ? `${readable(this.nChosen)} to forget` : "none chosen yet"
    const kept = this.nProtected ? `, ${readable(this.nProtected)} protected` : ""
    return `${readable(this.index?.n ?? 0)} pictures, ${chosen}${kept}.`
  }

  groupsHidden() {
    if (!this.marks) return
    this.legend.count(this.look.parts.groups, this.marks)
    this.paint()
  }

  resize() {
    const ratio = devicePixelRatio || 1
    const { clientWidth: width, clientHeight: height } = this.stage
    if (!width || !height) return
    for (const canvas of [this.canvas, this.above]) {
      canvas.width = Math.round(width * ratio)
      canvas.height = Math.round(height * ratio)
    }
    const untouched = this.view.scale === this.view.fitted
    Object.assign(this.view, { width, height })
    if (this.index && (this.view.fitted === undefined || untouched)) this.view.fit(this.index.bounds)
    this.paint(true)
  }

  /** Draw with the next frame; at once after a resize, which has emptied the canvas. */
  paint(now = false) {
    if (!this.marks) return
    cancelAnimationFrame(this.frame)
    const draw = () => {
      const ratio = devicePixelRatio || 1
      this.painter.paint(this.view, {
        xy: this.index.xy, order: this.order, colours: this.colours, theme: this.theme,
        groups: this.look.parts.groups, hidden: this.legend.hidden, marks: this.marks,
        nChosen: this.nChosen, nProtected: this.nProtected, anyChosen: this.nChosen > 0,
      }, ratio)
      this.paintAbove()
    }
    if (now) draw()
    else this.frame = requestAnimationFrame(draw)
  }

  paintAbove() {
    if (!this.index) return
    const { xy, n } = this.index
    const at = id => [xy[2 * id], xy[2 * id + 1]]
    const rings = []
    const { highlight } = this.data.header
    if (highlight !== null && highlight < n) rings.push([...at(highlight), true])
    if (Number.isInteger(this.hovered)) rings.push([...at(this.hovered), false])
    const shapes = this.waiting.map(shape => ({ outline: shape.outline, waiting: true }))
    if (this.drag?.outline) shapes.push({ outline: this.drag.outline, waiting: false })
    this.overlay.paint(this.view, { theme: this.theme, rings, shapes }, devicePixelRatio || 1)
  }

  // ---- what the person does -----------------------------------------------------------------

  toolChosen(name) {
    if (!name) return
    const middle = [this.view.width / 2, this.view.height / 2]
    if (name === "in") this.view.zoom(1.5, ...middle)
    else if (name === "out") this.view.zoom(1 / 1.5, ...middle)
    else if (name === "fit") this.view.fit(this.index.bounds)
    else this.mode = name
    for (const tool of this.tools.querySelectorAll(".tool")) {
      if (["lasso", "box", "pan"].includes(tool.dataset.tool)) {
        tool.setAttribute("aria-pressed", String(tool.dataset.tool === this.mode))
      }
    }
    this.above.style.cursor = this.mode === "pan" ? "grab" : "crosshair"
    this.paint()
  }

  down(event) {
    if (!this.index || this.drag) return
    this.above.focus({ preventScroll: true })
    this.above.setPointerCapture(event.pointerId)
    const pans = this.mode === "pan" || this.spaceHeld || event.button !== 0
    this.hover(null)
    this.drag = {
      pans, start: [event.offsetX, event.offsetY], last: [event.offsetX, event.offsetY], far: false,
    }
  }

  moved(event) {
    const here = [event.offsetX, event.offsetY]
    const { drag } = this
    if (!drag) return this.hover(here)
    const from = drag.far ? drag.last : drag.start
    if (!drag.far && Math.hypot(here[0] - from[0], here[1] - from[1]) < 4) return
    drag.far = true
    if (drag.pans) {
      this.view.pan(here[0] - from[0], here[1] - from[1])
      this.paint()
    } else {
      this.extend(here)
      this.paintAbove()
    }
    drag.last = here
  }

  extend(here) {
    const { drag } = this
    if (this.mode === "box") {
      const [[x1, y1], [x2, y2]] = [drag.start, here]
      drag.path = [[x1, y1], [x2, y1], [x2, y2], [x1, y2]]
    } else {
      drag.path ??= [drag.start]
      drag.path.push(here)
    }
    drag.outline = drag.path.map(point => this.view.toData(...point))
  }

  up(event) {
    const { drag } = this
    this.drag = null
    if (!drag) return
    if (!drag.far && event.button === 0) this.pin(drag.start)
    else if (drag.path?.length >= 3) this.choose(drag.path, event)
    this.paintAbove()
  }

  cancelDrag() {
    this.drag = null
    this.paintAbove()
  }

  /** Send the outline in data coordinates; it stays, faint, until the server has answered. */
  choose(path, event) {
    const corners = this.mode === "box" ? path : simplified(path)
    const points = corners.map(point => this.view.toData(...point).map(value => +value.toPrecision(6)))
    if (points.length < 3) return
    const mode = event.shiftKey ? "add" : event.altKey ? "subtract" : this.data.header.drawing
    const hidden = [...this.legend.hidden.keys()].filter(k => this.legend.hidden[k])
    this.picks.add("select", { mode, points, hidden })
    this.waiting.push({ number: this.picks.last, outline: points })
  }

  pin(at) {
    const id = this.pointAt(at)
    if (id !== undefined) this.picks.add("pin", { id })
  }

  wheeled(event) {
    event.preventDefault()
    if (!this.index) return
    this.view.zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), event.offsetX, event.offsetY)
    this.paint()
    this.hover(null)
  }

  pressed(event) {
    const moves = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] }
    if (event.key === "Escape") {
      if (this.drag) this.cancelDrag()
      else if (this.nChosen) this.picks.add("clear", {})
    } else if (event.key in moves) this.view.pan(...moves[event.key])
    else if (event.key === "+" || event.key === "=") this.toolChosen("in")
    else if (event.key === "-") this.toolChosen("out")
    else if (event.key === "0") this.toolChosen("fit")
    else if (event.key === " ") this.spaceHeld = true
    else return
    event.preventDefault()
    event.stopPropagation()
    this.paint()
  }
}

const maps = new WeakMap()

export default function ({ data, parentElement, setStateValue }) {
  let instance = maps.get(parentElement)
  if (!instance) {
    instance = new PictureMap(parentElement.querySelector(".root"))
    maps.set(parentElement, instance)
  }
  instance.picks.send = pending => setStateValue("picks", pending)
  instance.askFor = ids => setStateValue("wanted", ids)
  instance.update(unpack(data))
  return () => {
    instance.destroy()
    maps.delete(parentElement)
  }
}
