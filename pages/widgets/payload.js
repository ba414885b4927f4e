// An invisible component that keeps one payload of the server in the page's store.

const owned = new WeakMap()

export default function ({ data, parentElement }) {
  const { header, parts } = unpack(data)
  const before = owned.get(parentElement)
  if (before && before !== header.name) release(before)
  if (before !== header.name) {
    owned.set(parentElement, header.name)
    const entry = STORE.entries.get(header.name) ?? { holders: 0 }
    entry.holders += 1
    entry.value ??= unpack(parts.payload)
    STORE.entries.set(header.name, entry)
    STORE.news.dispatchEvent(new CustomEvent("payload", { detail: header.name }))
  }
  return () => {
    release(owned.get(parentElement))
    owned.delete(parentElement)
  }
}

function release(name) {
  const entry = STORE.entries.get(name)
  if (entry && --entry.holders <= 0) STORE.entries.delete(name)
}
