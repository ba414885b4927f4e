// The legend: classes with “chosen / all”, or the scale of the scores above them.

/** Rows for all groups, built anew when the colours change; counts are set by `count`. */
class Legend {
  constructor(node, onHide) {
    this.node = node
    this.onHide = onHide
    node.onclick = event => this.toggle(event)
    node.ondblclick = event => this.isolate(event)
  }

  build(look, theme) {
    const { groupNames, signed } = look.header
    const colours = classColours(groupNames.length, theme.dark)
    this.hidden = new Uint8Array(groupNames.length)
    this.totals = new Uint32Array(groupNames.length)
    for (const group of look.parts.groups) this.totals[group]++
    this.rows = groupNames.map((name, k) => {
      const swatch = element("span", "swatch")
      if (!look.parts.scores) swatch.style.background = `rgb(${colours[k]})`
      else swatch.classList.add("plain")
      const row = element("button", "row", { type: "button", "aria-pressed": "true", title: name }, [
        swatch, element("span", "name", {}, [name]), element("span", "count"),
      ])
      row.group = k
      return row
    })
    const scale = look.parts.scores
      ? [buildScale(look.header, signed ? theme.diverging : theme.sequential)] : []
    const hint = element("p", "hint", {}, ["Click hides, double-click leaves one"])
    this.node.replaceChildren(...scale, ...this.rows, hint)
  }

  count(groups, marks) {
    const chosen = new Uint32Array(this.totals.length)
    for (let i = 0; i < marks.length; i++) if (marks[i] === 1) chosen[groups[i]]++
    this.rows.forEach((row, k) => {
      const text = `${readable(chosen[k])} / ${readable(this.totals[k])}`
      row.lastChild.textContent = text
      row.classList.toggle("some", chosen[k] > 0)
      const shown = this.hidden[k] ? "hidden" : "shown"
      row.setAttribute("aria-label", `${row.title}: ${text.replace("/", "of")} chosen, ${shown}`)
    })
  }

  toggle(event) {
    const row = event.target.closest(".row")
    if (!row) return
    this.hidden[row.group] ^= 1
    this.show()
  }

  /** The two clicks before have undone each other. */
  isolate(event) {
    const row = event.target.closest(".row")
    if (!row) return
    const alone = this.hidden.every((hidden, k) => hidden === (k === row.group ? 0 : 1))
    this.hidden.forEach((_, k) => { this.hidden[k] = alone || k === row.group ? 0 : 1 })
    this.show()
  }

  show() {
    this.rows.forEach((row, k) => {
      row.setAttribute("aria-pressed", String(!this.hidden[k]))
      row.classList.toggle("hidden", Boolean(this.hidden[k]))
    })
    this.onHide()
  }
}

function buildScale({ title, low, high, signed }, scale) {
  const bar = element("div", "bar")
  bar.style.background = `linear-gradient(to right, ${scale.map(c => `rgb(${c})`).join(", ")})`
  const ends = [`≤ ${readable(low)}`, signed ? "0" : "", `≥ ${readable(high)}`]
  const labels = element("div", "ends", {}, ends.map(text => element("span", "", {}, [text])))
  return element("div", "scale", {}, [element("p", "name", {}, [title]), bar, labels])
}
