// The tiles of one page, the tooltip and the large view. Data becomes text, never markup.

/** What is known about tile i, as a list of [title, text]. */
function factsOf(page, i) {
  const { header, parts } = page
  const facts = [["label", header.classNames[parts.labels[i]]]]
  if (header.hasPredictions) facts.push(["prediction", header.classNames[parts.predictions[i]]])
  header.numbers.forEach((title, k) => facts.push([title, readable(parts[`number${k}`][i])]))
  return facts
}

function isWrong(page, i) {
  return page.parts.labels[i] !== page.parts.predictions[i]
}

/** The sheet as one blob URL that every tile shares; a data URI for each tile takes a minute. */
function sheetUrl(page) {
  return URL.createObjectURL(new Blob([page.parts.sheet], { type: page.header.mime }))
}

/** The place of tile i on the sheet, for the stylesheet to scale. */
function place(node, page, i) {
  const { columns } = page.header
  node.style.setProperty("--column", i % columns)
  node.style.setProperty("--row", Math.floor(i / columns))
}

/** The label, and below it the prediction where that differs. */
function captionOf(page, i) {
  const { classNames } = page.header
  const label = classNames[page.parts.labels[i]]
  return isWrong(page, i) ? [label, `→ ${classNames[page.parts.predictions[i]]}`] : [label]
}

function buildTile(page, i) {
  const picture = element("span", "picture")
  place(picture, page, i)
  const caption = captionOf(page, i)
  const tile = element("button", "tile", {
    type: "button",
    tabindex: "-1",
    "aria-pressed": "false",
    "aria-label": `picture ${page.parts.ids[i]}, ${caption.join(" ").replace("→", "called")}`,
  }, [picture, ...caption.map(line => element("span", "caption", {}, [line]))])
  tile.index = i
  if (isWrong(page, i)) tile.classList.add("wrong")
  return tile
}

function buildFacts(page, i) {
  const list = element("dl", "facts")
  for (const [title, text] of factsOf(page, i)) {
    list.append(element("dt", "", {}, [title]), element("dd", "", {}, [text]))
  }
  return list
}

/** A picture with its numbers, for the tooltip and the large view. */
function buildCard(page, i) {
  const picture = element("span", "picture")
  place(picture, page, i)
  const title = element("p", "title", {}, [`Picture ${readable(page.parts.ids[i])}`])
  return [picture, element("div", "text", {}, [title, buildFacts(page, i)])]
}

/** Left and top of a box of this size beside a tile, kept within the window. */
function beside(tile, width, height) {
  const box = tile.getBoundingClientRect()
  const right = box.right + 8
  const left = right + width <= innerWidth - 8 ? right : box.left - 8 - width
  const top = Math.min(box.top, innerHeight - height - 8)
  return [Math.max(8, left), Math.max(8, top)]
}
