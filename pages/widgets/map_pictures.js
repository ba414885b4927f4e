// Thumbnails at the pointer. Of a large set only those looked at are fetched, with their neighbours.

const MOST_BATCHES = 60

class PictureCache {
  constructor() {
    this.places = new Map()
    this.batches = []
    this.asked = new Set()
  }

  /** Take in one payload of thumbnails; the oldest go when there are many. */
  add(name, { header, parts }) {
    if (this.batches.some(batch => batch.name === name)) return
    const url = URL.createObjectURL(new Blob([parts.sheet], { type: header.mime }))
    const rows = Math.ceil(parts.ids.length / header.columns)
    parts.ids.forEach((id, k) => {
      this.places.set(id, {
        url, rows, columns: header.columns, aspect: header.aspect,
        column: k % header.columns, row: Math.floor(k / header.columns),
      })
      this.asked.delete(id)
    })
    this.batches.push({ name, url, ids: parts.ids })
    if (this.batches.length > MOST_BATCHES) this.drop(this.batches.shift())
  }

  drop({ url, ids }) {
    releaseLater(url)
    for (const id of ids) if (this.places.get(id)?.url === url) this.places.delete(id)
  }

  clear() {
    this.batches.forEach(batch => this.drop(batch))
    this.batches = []
  }

  /** Style `node` as the picture of this id; false when it has not come yet. */
  show(node, id) {
    const place = this.places.get(id)
    node.classList.toggle("missing", !place)
    node.style.backgroundImage = place ? `url("${place.url}")` : "none"
    if (!place) return false
    for (const name of ["columns", "rows", "column", "row", "aspect"]) {
      node.style.setProperty(`--${name}`, place[name])
    }
    return true
  }
}
