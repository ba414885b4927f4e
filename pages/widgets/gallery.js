// The gallery. One instance for each mounted component; the renderer below only hands it news.

class Gallery {
  constructor(root) {
    this.picks = new Picks()
    this.sets = { forget: new Set(), protect: new Set() }
    this.tiles = []
    this.positions = new Map()
    this.focused = 0
    this.anchor = null
    this.page = null
    this.status = element("p", "status", { "aria-live": "polite" })
    this.grid = element("div", "grid", { role: "group" })
    this.tip = element("div", "tip", { "aria-hidden": "true" })
    this.dialog = element("dialog", "large")
    root.replaceChildren(this.grid, this.status, this.tip, this.dialog)
    this.root = root
    this.listen()
    this.stopListening = onPayload(() => this.data && this.update(this.data))
  }

  listen() {
    const { grid, dialog } = this
    grid.onclick = event => this.clicked(event)
    grid.ondblclick = event => this.open(this.tileOf(event)?.index)
    grid.onkeydown = event => this.pressed(event)
    grid.onpointerover = event => this.showTip(this.tileOf(event))
    grid.onpointerleave = () => this.hideTip()
    grid.onscroll = () => this.hideTip()
    grid.addEventListener("focusin", event => this.moveFocus(this.tileOf(event)?.index, false))
    dialog.onclick = event => event.target === dialog && dialog.close()
    dialog.onclose = () => this.tiles[this.focused]?.focus()
  }

  destroy() {
    this.stopListening()
    if (this.url) releaseLater(this.url)
  }

  // ---- news from the server -----------------------------------------------------------------

  update(data) {
    this.data = data
    const page = storedPayload(data.payload)
    this.picks.acknowledge(data.acknowledged)
    if (!page) return
    if (this.shown !== data.payload) this.showPage(page, data)
    this.root.style.setProperty("--size", `${data.size}px`)
    this.root.classList.toggle("small", data.size < 44)
    this.root.dataset.basket = data.basket
    this.grid.style.maxHeight = `${data.height}px`
    this.grid.setAttribute("aria-label", data.name)
    this.sets.forget = new Set(data.selected)
    this.sets.protect = new Set(data.protected)
    // Picks the server does not know yet stay on screen, whatever older state it has just sent.
    for (const pick of this.picks.pending) {
      if (pick.kind !== "open" && pick.page === data.page) this.applyLocally(pick)
    }
    this.paint()
    this.ring(data.highlight)
  }

  showPage(page, data) {
    if (this.url) releaseLater(this.url)
    this.page = page
    this.shown = data.payload
    this.url = sheetUrl(page)
    const { header, parts } = page
    const rows = Math.ceil(parts.ids.length / header.columns)
    this.root.style.setProperty("--sheet", `url("${this.url}")`)
    this.root.style.setProperty("--columns", header.columns)
    this.root.style.setProperty("--rows", rows)
    this.root.style.setProperty("--aspect", header.tileHeight / header.tileWidth)
    this.tiles = Array.from(parts.ids, (_, i) => buildTile(page, i))
    this.positions = new Map(Array.from(parts.ids, (id, i) => [id, i]))
    this.grid.replaceChildren(...this.tiles)
    this.grid.scrollTop = 0
    this.hideTip()
    this.anchor = null
    this.focused = 0
    if (this.tiles.length) this.tiles[0].tabIndex = 0
  }

  ring(id) {
    const tile = this.tiles[this.positions.get(id)]
    if (this.ringed === tile) return
    this.ringed?.classList.remove("ringed")
    tile?.classList.add("ringed")
    tile?.scrollIntoView({ block: "nearest" })
    this.ringed = tile
  }

  paint() {
    const { forget, protect } = this.sets
    const chosen = this.sets[this.data.basket]
    this.tiles.forEach((tile, i) => {
      const id = this.page.parts.ids[i]
      tile.classList.toggle("forget", forget.has(id))
      tile.classList.toggle("protect", protect.has(id))
      tile.setAttribute("aria-pressed", String(chosen.has(id)))
    })
    const parts = [`${readable(this.tiles.length)} pictures here`, `${readable(forget.size)} to forget`]
    if (protect.size) parts.push(`${readable(protect.size)} protected`)
    const how = "Click chooses, shift-click a range, double-click or Enter shows one large."
    this.status.textContent = `${parts.join(", ")}. ${how}`
  }

  // ---- what the person does -----------------------------------------------------------------

  tileOf(event) {
    return event.target.closest(".tile")
  }

  clicked(event) {
    const tile = this.tileOf(event)
    if (!tile) return
    this.moveFocus(tile.index, true)
    this.choose(tile.index, { range: event.shiftKey, add: event.ctrlKey || event.metaKey })
  }

  /** Toggle one tile; with `range` set all from the last one to it alike; with `add` never remove. */
  choose(index, { range, add }) {
    const chosen = this.sets[this.data.basket]
    const idAt = i => this.page.parts.ids[i]
    let places = [index]
    let on = add || !chosen.has(idAt(index))
    if (range && this.anchor !== null) {
      const [low, high] = [Math.min(this.anchor, index), Math.max(this.anchor, index)]
      places = Array.from({ length: high - low + 1 }, (_, k) => low + k)
      on = add || chosen.has(idAt(this.anchor))
    } else {
      this.anchor = index
    }
    const ids = places.map(idAt).filter(id => chosen.has(id) !== on).sort((a, b) => a - b)
    if (!ids.length) return
    const pick = { page: this.data.page, added: on ? ids : [], removed: on ? [] : ids }
    this.applyLocally({ kind: this.data.basket, ...pick })
    this.paint()
    this.picks.add(this.data.basket, pick)
  }

  applyLocally({ kind, added, removed }) {
    for (const id of added) this.sets[kind].add(id)
    for (const id of removed) this.sets[kind].delete(id)
  }

  pressed(event) {
    const perRow = this.tilesPerRow()
    const moves = {
      ArrowLeft: -1, ArrowRight: 1, ArrowUp: -perRow, ArrowDown: perRow,
      PageUp: -perRow * this.rowsInView(), PageDown: perRow * this.rowsInView(),
      Home: -this.tiles.length, End: this.tiles.length,
    }
    if (event.key in moves) {
      this.moveFocus(this.bounded(this.focused + moves[event.key], perRow), true)
    } else if (event.key === " ") {
      this.choose(this.focused, { range: event.shiftKey, add: event.ctrlKey || event.metaKey })
    } else if (event.key === "Enter") {
      this.open(this.focused)
    } else if (event.key === "Escape") {
      this.hideTip()
      return
    } else {
      return
    }
    event.preventDefault()
    event.stopPropagation()
  }

  bounded(index, perRow) {
    const last = this.tiles.length - 1
    // Up from the first row and down from the last keep the column.
    if (index < 0 && index > -perRow) return this.focused
    if (index > last && index < last + perRow) return Math.max(this.focused, last)
    return Math.min(Math.max(index, 0), last)
  }

  tilesPerRow() {
    const top = this.tiles[0]?.offsetTop
    const next = this.tiles.findIndex(tile => tile.offsetTop > top)
    return next > 0 ? next : Math.max(1, this.tiles.length)
  }

  rowsInView() {
    return Math.max(1, Math.floor(this.grid.clientHeight / (this.tiles[0]?.offsetHeight || 1)) - 1)
  }

  moveFocus(index, take) {
    if (index === undefined || !this.tiles[index]) return
    this.tiles[this.focused].tabIndex = -1
    this.focused = index
    this.tiles[index].tabIndex = 0
    if (take) this.tiles[index].focus()
  }

  // ---- looking closely ----------------------------------------------------------------------

  showTip(tile) {
    if (!tile) return
    this.tip.replaceChildren(...buildCard(this.page, tile.index))
    this.tip.classList.add("on")
    const [left, top] = beside(tile, this.tip.offsetWidth, this.tip.offsetHeight)
    this.tip.style.transform = `translate(${left}px, ${top}px)`
  }

  hideTip() {
    this.tip.classList.remove("on")
  }

  open(index) {
    if (index === undefined) return
    this.hideTip()
    const close = element("button", "close", { type: "button" }, ["Close"])
    close.onclick = () => this.dialog.close()
    this.dialog.setAttribute("aria-label", this.tiles[index].getAttribute("aria-label"))
    this.dialog.replaceChildren(...buildCard(this.page, index), close)
    this.dialog.showModal()
    const id = this.page.parts.ids[index]
    this.picks.add("open", { page: this.data.page, added: [id], removed: [] })
  }
}

const galleries = new WeakMap()

export default function ({ data, parentElement, setStateValue }) {
  let instance = galleries.get(parentElement)
  if (!instance) {
    instance = new Gallery(parentElement.querySelector(".root"))
    galleries.set(parentElement, instance)
  }
  instance.picks.send = pending => setStateValue("picks", pending)
  instance.update(data)
  return () => {
    instance.destroy()
    galleries.delete(parentElement)
  }
}
