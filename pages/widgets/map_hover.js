// What is at the pointer: the nearest point, its picture and its numbers.

const REACH = 9 // pixels between the pointer and a point that counts as pointed at
const DWELL = 90 // milliseconds before pictures are asked for
const ASKED_AT_ONCE = 64

/** The part of the map that looks and never changes what is chosen. */
class Pointing {
  nearest([px, py], reach, most) {
    const [x, y] = this.view.toData(px, py)
    const { groups } = this.look.parts
    return this.index.near(x, y, reach / this.view.scale, most, i => !this.legend.hidden[groups[i]])
  }

  pointAt(at) {
    return this.nearest(at, REACH, 1)[0]
  }

  hover(at) {
    const id = at && this.index ? this.pointAt(at) : undefined
    if (id === this.hovered) return
    this.hovered = id
    clearTimeout(this.asking)
    this.tip.classList.toggle("on", id !== undefined)
    if (id !== undefined) {
      this.fillTip(id)
      this.placeTip(at)
      if (this.data.header.asks && !this.pictures.places.has(id)) {
        this.asking = setTimeout(() => this.ask(at, id), DWELL)
      }
    }
    this.paintAbove()
  }

  /** Ask for the picture and those of its neighbours, which are likely to be looked at next. */
  ask(at, id) {
    const missing = this.nearest(at, 6 * REACH, 400).filter(i => !this.pictures.places.has(i))
    this.askFor([id, ...missing.filter(i => i !== id)].slice(0, ASKED_AT_ONCE))
  }

  fillTip(id) {
    const { header, parts } = this.look
    const here = this.pictures.show(this.tipPicture, id)
    this.tipPicture.hidden = !here && !this.data.header.asks
    const lines = [`Picture ${readable(id)}`, header.groupNames[parts.groups[id]]]
    if (parts.scores) lines.push(`${header.title} ${readable(parts.scores[id])}`)
    if (this.marks[id]) lines.push(this.marks[id] === 1 ? "to forget" : "protected")
    this.tipText.replaceChildren(...lines.map(line => element("p", "", {}, [line])))
  }

  placeTip([px, py]) {
    const box = this.above.getBoundingClientRect()
    const { offsetWidth: width, offsetHeight: height } = this.tip
    const x = box.left + px, y = box.top + py
    const left = x + 16 + width < innerWidth ? x + 16 : x - 16 - width
    const top = Math.min(Math.max(8, y - height / 2), innerHeight - height - 8)
    this.tip.style.transform = `translate(${left}px, ${top}px)`
  }
}
