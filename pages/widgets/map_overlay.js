// What lies above the points: the shape being drawn, and rings.

class Overlay {
  constructor(canvas) {
    this.canvas = canvas
    this.context = canvas.getContext("2d")
  }

  /** `scene`: theme, outline (data coordinates), waiting, rings ([[x, y, strong], …]). */
  paint(view, scene, ratio) {
    const { context, canvas } = this
    context.setTransform(ratio, 0, 0, ratio, 0, 0)
    context.clearRect(0, 0, canvas.width, canvas.height)
    const ink = `rgb(${scene.theme.text})`, paper = `rgb(${scene.theme.background})`
    for (const [x, y, strong] of scene.rings) {
      const [px, py] = view.toScreen(x, y)
      this.ring(px, py, strong ? 9 : 7, paper, strong ? 6 : 4)
      this.ring(px, py, strong ? 9 : 7, ink, strong ? 3 : 1.5)
    }
    for (const { outline, waiting } of scene.shapes) {
      context.beginPath()
      outline.forEach(([x, y]) => context.lineTo(...view.toScreen(x, y)))
      context.closePath()
      context.globalAlpha = waiting ? 0.05 : 0.1
      context.fillStyle = ink
      context.fill()
      context.globalAlpha = waiting ? 0.4 : 1
      context.setLineDash(waiting ? [4, 4] : [])
      context.lineWidth = 1.5
      context.strokeStyle = ink
      context.stroke()
      context.setLineDash([])
      context.globalAlpha = 1
    }
  }

  ring(px, py, radius, colour, width) {
    const { context } = this
    context.beginPath()
    context.arc(px, py, radius, 0, 2 * Math.PI)
    context.lineWidth = width
    context.strokeStyle = colour
    context.stroke()
  }
}
