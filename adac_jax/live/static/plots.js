// Curves on canvases, sharp on any screen, drawn when they have changed and can be seen.

export class Plot {
  // `axes`: x and y, each { low, high, ticks: [[value, label], …] }.
  constructor(canvas) {
    this.canvas = canvas;
    this.layers = [];
    this.axes = null;
    this.waiting = false;
    new ResizeObserver(() => this.redraw()).observe(canvas);
  }

  set(axes, layers) {
    this.axes = axes;
    this.layers = layers;
    this.redraw();
  }

  redraw() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      if (this.axes) this.draw();
    });
  }

  draw() {
    const { canvas } = this;
    const scale = devicePixelRatio || 1;
    const { clientWidth: width, clientHeight: height } = canvas;
    if (!width || !height) return;
    if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(height * scale);
    }
    const pen = canvas.getContext("2d");
    const colours = getComputedStyle(canvas);
    this.colour = (name) => colours.getPropertyValue(name).trim();
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, width, height);
    const left = 38;
    const bottom = height - 18;
    const { x: ax, y: ay } = this.axes;
    const px = (v) => left + ((v - ax.low) / (ax.high - ax.low)) * (width - left - 8);
    const py = (v) => bottom - ((v - ay.low) / (ay.high - ay.low)) * (bottom - 8);
    this.grid(pen, px, py, left, bottom, width);
    pen.save();
    pen.beginPath();
    pen.rect(left, 0, width - left, bottom + 1);
    pen.clip();
    for (const layer of this.layers) this[layer.kind](pen, layer, px, py, bottom);
    pen.restore();
  }

  grid(pen, px, py, left, bottom, width) {
    pen.font = `10px ${this.colour("--mono")}`;
    pen.lineWidth = 1;
    pen.strokeStyle = this.colour("--grid");
    pen.fillStyle = this.colour("--faint");
    pen.textAlign = "center";
    pen.textBaseline = "top";
    for (const [value, label] of this.axes.x.ticks) {
      const x = Math.round(px(value)) + 0.5;
      pen.beginPath();
      pen.moveTo(x, 4);
      pen.lineTo(x, bottom);
      pen.stroke();
      const half = pen.measureText(label).width / 2;
      pen.fillText(label, Math.min(width - half - 1, Math.max(left + half, x)), bottom + 6);
    }
    pen.textAlign = "right";
    pen.textBaseline = "middle";
    for (const [value, label] of this.axes.y.ticks) {
      const y = Math.round(py(value)) + 0.5;
      pen.beginPath();
      pen.moveTo(left, y);
      pen.lineTo(width - 8, y);
      pen.stroke();
      pen.fillText(label, left - 6, y);
    }
  }

  line(pen, { xs, ys, colour, width = 1.6, fill }, px, py, bottom) {
    pen.beginPath();
    let drawn = false;
    for (let k = 0; k < ys.length; k++) {
      if (!Number.isFinite(ys[k])) continue;
      if (drawn) pen.lineTo(px(xs(k)), py(ys[k]));
      else pen.moveTo(px(xs(k)), py(ys[k]));
      drawn = true;
    }
    pen.strokeStyle = this.colour(colour);
    pen.lineWidth = width;
    pen.lineJoin = "round";
    pen.stroke();
    if (!fill || !drawn) return;
    pen.lineTo(px(xs(ys.length - 1)), bottom);
    pen.lineTo(px(xs(0)), bottom);
    const shade = pen.createLinearGradient(0, 0, 0, bottom);
    shade.addColorStop(0, this.colour(fill));
    shade.addColorStop(1, "transparent");
    pen.fillStyle = shade;
    pen.fill();
  }

  // Pairs of lowest and highest.
  band(pen, { xs, ys, colour }, px, py) {
    pen.beginPath();
    const count = ys.length / 2;
    for (let k = 0; k < count; k++) pen.lineTo(px(xs(k)), py(ys[2 * k + 1]) - 0.4);
    for (let k = count - 1; k >= 0; k--) pen.lineTo(px(xs(k)), py(ys[2 * k]) + 0.4);
    pen.closePath();
    pen.fillStyle = this.colour(colour);
    pen.fill();
  }

  // A mark at one place.
  mark(pen, { x, y, colour }, px, py, bottom) {
    pen.strokeStyle = pen.fillStyle = this.colour(colour);
    pen.lineWidth = 1;
    pen.beginPath();
    pen.moveTo(px(x), 0);
    pen.lineTo(px(x), bottom);
    pen.stroke();
    if (!Number.isFinite(y)) return;
    pen.beginPath();
    pen.arc(px(x), py(y), 4, 0, 2 * Math.PI);
    pen.fill();
  }
}

// About `count` round numbers from low to high.
export function ticks(low, high, count, label = (v) => String(+v.toPrecision(3))) {
  const raw = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw);
  const found = [];
  for (let v = Math.ceil(low / step) * step; v <= high + step * 1e-6; v += step) found.push([v, label(v)]);
  return found;
}
