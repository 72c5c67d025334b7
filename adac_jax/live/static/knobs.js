// A control as something to turn: by dragging, by the wheel, by keys; a double click goes back.

const NS = "http://www.w3.org/2000/svg";
const SWEEP = 270;

function svg(name, attributes) {
  const node = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
}

function arc(from, to) {
  const at = (turn) => {
    const angle = ((turn * SWEEP - 225) * Math.PI) / 180;
    return `${24 + 19 * Math.cos(angle)} ${24 + 19 * Math.sin(angle)}`;
  };
  const large = (to - from) * SWEEP > 180 ? 1 : 0;
  return `M ${at(from)} A 19 19 0 ${large} 1 ${at(to)}`;
}

export class Dial {
  constructor(knob, value, turned) {
    this.knob = knob;
    this.turned = turned;
    this.root = document.createElement("div");
    this.root.className = "dial";
    this.root.tabIndex = 0;
    this.root.setAttribute("role", "slider");
    this.root.setAttribute("aria-label", knob.name);
    this.root.setAttribute("aria-valuemin", knob.minimum);
    this.root.setAttribute("aria-valuemax", knob.maximum);
    const picture = svg("svg", { viewBox: "0 0 48 48" });
    this.way = svg("path", { class: "way" });
    this.needle = svg("line", { class: "needle", x1: 24, y1: 24, x2: 24, y2: 10 });
    picture.append(
      svg("path", { class: "track", d: arc(0, 1) }), this.way,
      svg("circle", { class: "cap", cx: 24, cy: 24, r: 14 }), this.needle,
    );
    const name = document.createElement("span");
    name.textContent = knob.name;
    this.label = document.createElement("output");
    this.root.append(picture, name, this.label);
    this.listen();
    this.set(value);
  }

  get turn() {
    const { minimum: low, maximum: high, curve } = this.knob;
    if (curve === "log") return Math.log(this.value / low) / Math.log(high / low);
    return (this.value - low) / (high - low);
  }

  at(turn) {
    const { minimum: low, maximum: high, curve } = this.knob;
    const t = Math.min(1, Math.max(0, turn));
    return curve === "log" ? Math.min(high, low * (high / low) ** t) : low + t * (high - low);
  }

  set(value) {
    this.value = value;
    const { turn } = this;
    this.way.setAttribute("d", arc(0, Math.max(turn, 1e-4)));
    this.needle.setAttribute("transform", `rotate(${turn * SWEEP - 135} 24 24)`);
    const text = `${+value.toPrecision(3)} ${this.knob.unit}`.trim();
    this.label.textContent = text;
    this.root.setAttribute("aria-valuenow", value);
    this.root.setAttribute("aria-valuetext", text);
  }

  to(turn) {
    this.set(this.at(turn));
    this.turned(this.knob.name, this.value);
  }

  listen() {
    const { root } = this;
    root.addEventListener("pointerdown", (event) => {
      root.setPointerCapture(event.pointerId);
      this.drag = { y: event.clientY, turn: this.turn };
    });
    root.addEventListener("pointermove", (event) => {
      if (this.drag) this.to(this.drag.turn + (this.drag.y - event.clientY) / (event.shiftKey ? 1500 : 180));
    });
    root.addEventListener("pointerup", () => (this.drag = null));
    root.addEventListener("dblclick", () => {
      this.set(this.knob.default);
      this.turned(this.knob.name, this.value);
    });
    root.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.to(this.turn - Math.sign(event.deltaY) * 0.02);
    }, { passive: false });
    root.addEventListener("keydown", (event) => {
      const steps = { ArrowUp: 0.02, ArrowRight: 0.02, ArrowDown: -0.02, ArrowLeft: -0.02, PageUp: 0.1, PageDown: -0.1, Home: -1, End: 1 };
      if (!(event.key in steps)) return;
      event.preventDefault();
      this.to(this.turn + steps[event.key]);
    });
  }
}
