// What is seen of a player: built once, changed when the player tells of something.

import { Plot, ticks } from "./plots.js";
import { Dial } from "./knobs.js";
import { SOUNDS } from "./sounds.js";
import { LOWEST } from "./spectrum.js";

const MARKUP = `
  <header>
    <div class="title"><small>adac_jax · live</small><h1></h1></div>
    <div class="status" role="status"><i></i><span></span></div>
  </header>
  <section class="card listen">
    <button class="play" aria-label="Play"><svg viewBox="0 0 24 24"><path class="go" d="M7 4.5v15l13-7.5z"/><path class="halt" d="M6 5h4v14H6zM14 5h4v14h-4z"/></svg></button>
    <div class="chips" role="group" aria-label="Sound"></div>
    <div class="sides" role="group" aria-label="Compare"><button data-wet="0"><kbd>A</kbd> dry</button><button data-wet="1"><kbd>B</kbd> model</button></div>
    <label class="volume"><span>level</span><input type="range" min="0" max="1" step="0.01" aria-label="Level"></label>
    <div class="meter" aria-hidden="true"><b></b></div>
    <input class="file" type="file" accept="audio/*" hidden>
  </section>
  <section class="card training">
    <div class="head"><h2>Training</h2><p class="loss"></p><button class="now">live</button></div>
    <canvas class="losses"></canvas>
    <input class="steps" type="range" min="0" max="0" value="0" step="1" aria-label="Step">
  </section>
  <div class="plots">
    <section class="card"><div class="head"><h2>Impulse response</h2></div><canvas class="impulse"></canvas></section>
    <section class="card"><div class="head"><h2>Energy decay</h2><p class="t60"></p></div><canvas class="decay"></canvas></section>
    <section class="card"><div class="head"><h2>Spectrum</h2><p class="note" hidden>grey: step 0</p></div><canvas class="spectrum"></canvas></section>
  </div>
  <section class="card controls" hidden><div class="head"><h2>Controls</h2></div><div class="dials"></div></section>
  <footer><p class="facts"></p><div class="take"><span>Take this step away</span><button data-suffix="dsp">FAUST</button><button data-suffix="ir.json">IR</button></div></footer>
  <div class="drop" aria-hidden="true">Drop a sound</div>
`;

export class View {
  constructor(root, player) {
    this.root = root;
    this.player = player;
    root.classList.add("adac-live");
    root.innerHTML = MARKUP;
    const pick = (selector) => root.querySelector(selector);
    this.plots = Object.fromEntries(
      ["losses", "impulse", "decay", "spectrum"].map((n) => [n, new Plot(pick(`canvas.${n}`))]),
    );
    this.dials = new Map();
    this.first = null; // what was drawn of the first step, to compare with
    this.drawn = null;
    this.pick = pick;
    this.listenTo();
    this.listenFor();
    this.watch();
    this.state();
  }

  // What the user does.
  listenTo() {
    const { player, pick, root } = this;
    pick(".play").addEventListener("click", () => this.toggle());
    for (const name of [...Object.keys(SOUNDS), "File"]) {
      const chip = document.createElement("button");
      chip.textContent = name === "File" ? "File …" : name;
      chip.dataset.sound = name;
      chip.addEventListener("click", () => {
        if (name === "File") pick(".file").click();
        else player.choose(name);
      });
      pick(".chips").append(chip);
    }
    pick(".file").addEventListener("change", ({ target }) => target.files[0] && this.open(target.files[0]));
    for (const side of root.querySelectorAll(".sides button")) {
      side.addEventListener("click", () => player.setWet(Number(side.dataset.wet)));
    }
    pick(".volume input").value = player.volume;
    pick(".volume input").addEventListener("input", ({ target }) => player.setVolume(Number(target.value)));
    pick(".steps").addEventListener("input", ({ target }) => player.goTo(Number(target.value)).catch((e) => player.failed(e)));
    pick(".now").addEventListener("click", () => player.goTo(Infinity));
    for (const button of root.querySelectorAll(".take button")) {
      button.addEventListener("click", () => player.shown && player.transport.download(player.shown.number, button.dataset.suffix));
    }
    root.addEventListener("dragover", (event) => {
      event.preventDefault();
      root.classList.add("dropping");
    });
    root.addEventListener("dragleave", (event) => {
      if (!root.contains(event.relatedTarget)) root.classList.remove("dropping");
    });
    root.addEventListener("drop", (event) => {
      event.preventDefault();
      root.classList.remove("dropping");
      if (event.dataTransfer.files[0]) this.open(event.dataTransfer.files[0]);
    });
    root.addEventListener("keydown", (event) => {
      if (event.target.closest("input, .dial") || event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key === "a") player.setWet(0);
      if (event.key === "b") player.setWet(1);
    });
  }

  // What the player tells.
  listenFor() {
    const { player } = this;
    player.addEventListener("state", () => this.state());
    player.addEventListener("losses", () => this.losses());
    player.addEventListener("form", () => this.form());
    player.addEventListener("step", () => {
      this.losses();
      this.state();
    });
    player.addEventListener("controls", () => {
      for (const [name, dial] of this.dials) if (player.positions.has(name)) dial.set(player.positions.get(name));
    });
    player.addEventListener("analysis", ({ detail }) => this.analysis(detail));
  }

  close() {
    clearTimeout(this.timer);
    this.closed = true;
  }

  toggle() {
    if (this.player.playing) this.player.stop();
    else this.player.play().catch((error) => this.player.failed(error));
  }

  open(file) {
    this.player.open(file).catch(() => this.player.failed(`${file.name} is no sound that this browser reads.`));
  }

  // The level, and now and then the facts.
  watch() {
    const meter = this.pick(".meter b");
    let shown = -60;
    const look = async () => {
      const report = await this.player.report();
      const db = report ? Math.max(-60, 20 * Math.log10(report.peak * this.player.volume + 1e-9)) : -60;
      shown = Math.max(db, shown - 3);
      meter.style.transform = `scaleX(${Math.min(1, (shown + 60) / 60)})`;
      if (this.closed) return;
      this.timer = setTimeout(look, report ? 50 : 300);
    };
    look();
  }

  state() {
    const { player, pick, root } = this;
    const { shown, newest, form } = player;
    root.classList.toggle("playing", player.playing);
    pick(".play").setAttribute("aria-label", player.playing ? "Stop" : "Play");
    pick(".play").disabled = !form;
    for (const chip of root.querySelectorAll(".chips button")) {
      chip.setAttribute("aria-pressed", chip.dataset.sound === player.sound);
    }
    for (const side of root.querySelectorAll(".sides button")) {
      side.setAttribute("aria-pressed", Number(side.dataset.wet) === player.wet);
    }
    const kind = player.problem ? "problem" : player.closed ? "done" : player.follow ? "live" : "past";
    root.dataset.state = kind;
    const step = shown ? shown.number : 0;
    const texts = {
      problem: player.problem,
      done: `finished · step ${step}`,
      live: newest ? `live · step ${step}` : "waiting …",
      past: `step ${step} of ${newest ? newest.number : step}`,
    };
    pick(".status span").textContent = texts[kind];
    pick(".now").disabled = player.follow;
    pick(".now").textContent = player.closed ? "last" : "live";
    if (form) {
      const { info } = form;
      pick(".facts").textContent = [
        `${info.count} numbers`, `${info.inputs} in, ${info.outputs} out`, `${info.sample_rate / 1000} kHz`,
        ...(player.latency === "interactive" ? [] : [`steady, ${player.latency} s late`]),
      ].join(" · ");
    }
  }

  form() {
    const { info } = this.player.form;
    this.pick("h1").textContent = info.name;
    if (this.pick("h1").closest("body > *")) document.title = `${info.name} · live`;
    const dials = this.pick(".dials");
    dials.replaceChildren();
    this.dials.clear();
    for (const knob of info.knobs) {
      const value = this.player.positions.get(knob.name) ?? knob.default;
      const dial = new Dial(knob, value, (name, v) => this.player.turn(name, v));
      this.dials.set(knob.name, dial);
      dials.append(dial.root);
    }
    this.pick(".controls").hidden = !info.knobs.length;
    this.state();
  }

  losses() {
    const { player, pick } = this;
    const points = player.losses.filter(([, loss]) => loss !== null);
    const last = player.losses.length ? player.losses[player.losses.length - 1][0] : 0;
    const slider = pick(".steps");
    slider.max = last;
    const at = player.shown ? player.shown.number : 0;
    if (document.activeElement !== slider || player.follow) slider.value = player.follow ? last : at;
    const values = points.map(([, loss]) => loss);
    const positive = values.length > 0 && values.every((v) => v > 0);
    const low = Math.min(...values);
    const high = Math.max(...values);
    const log = positive && high / low > 20;
    const scale = log ? Math.log10 : (v) => v;
    const [bottom, top] = values.length ? [scale(low), scale(high)] : [0, 1];
    const room = 0.08 * (top - bottom) || 0.5;
    const y = { low: bottom - room, high: top + room };
    y.ticks = log
      ? ticks(y.low, y.high, 4).filter(([v]) => Number.isInteger(v) || y.high - y.low < 2).map(([v]) => [v, String(+(10 ** v).toPrecision(2))])
      : ticks(y.low, y.high, 4);
    const x = { low: 0, high: Math.max(1, last), ticks: ticks(0, Math.max(1, last), 8).filter(([v]) => Number.isInteger(v)) };
    const layers = [
      { kind: "line", xs: (k) => points[k][0], ys: values.map(scale), colour: "--loss", fill: "--loss-shade" },
    ];
    const here = points.find(([step]) => step >= at);
    layers.push({ kind: "mark", x: at, y: here ? scale(here[1]) : NaN, colour: player.follow ? "--model" : "--past" });
    this.plots.losses.set({ x, y }, layers);
    const loss = player.shown && Number.isFinite(player.shown.loss) ? player.shown.loss : null;
    pick(".loss").textContent = loss === null ? "" : `loss ${loss.toPrecision(4)}`;
  }

  analysis(found) {
    if (found.first || !this.first) this.first = found;
    if (found.first && this.drawn) return;
    this.drawn = found;
    const { first } = this;
    const same = first.step === found.step;
    this.pick(".note").hidden = same;
    this.pick(".note").textContent = `grey: step ${first.step}`;
    const { seconds, rate } = found;
    const points = found.decay.length;
    const time = { low: 0, high: seconds, ticks: ticks(0, seconds, 4, (v) => `${+v.toPrecision(2)} s`) };
    const at = (k) => (k / (points - 1)) * seconds;
    let peak = 0;
    for (const v of found.envelope) peak = Math.max(peak, Math.abs(v));
    // A square root makes the tail visible.
    const shape = (v) => Math.sign(v) * Math.sqrt(Math.abs(v) / (peak || 1));
    this.plots.impulse.set(
      { x: time, y: { low: -1.05, high: 1.05, ticks: [[0, "0"]] } },
      [{ kind: "band", xs: at, ys: Array.from(found.envelope, shape), colour: "--model" }],
    );
    const ghost = (layer) => (same ? [] : [{ ...layer, colour: "--ghost", width: 1.2 }]);
    this.plots.decay.set(
      { x: time, y: { low: -80, high: 0, ticks: [0, -20, -40, -60, -80].map((v) => [v, String(v)]) } },
      [
        ...ghost({ kind: "line", xs: at, ys: first.decay }),
        { kind: "line", xs: at, ys: found.decay, colour: "--model", fill: "--model-shade" },
      ],
    );
    this.pick(".t60").textContent = Number.isFinite(found.t60) ? `T60 ${found.t60.toFixed(2)} s` : "";
    const top = Math.log10(rate / 2);
    const frequency = (k) => Math.log10(LOWEST) + (k / (points - 1)) * (top - Math.log10(LOWEST));
    let high = -Infinity;
    for (const v of found.levels) high = Math.max(high, v);
    const ceiling = Math.ceil((high + 3) / 10) * 10;
    const labels = [[100, "100"], [1000, "1k"], [10000, "10k"]].map(([f, label]) => [Math.log10(f), label]);
    this.plots.spectrum.set(
      {
        x: { low: Math.log10(LOWEST), high: top, ticks: labels },
        y: { low: ceiling - 60, high: ceiling, ticks: ticks(ceiling - 60, ceiling, 3) },
      },
      [
        ...ghost({ kind: "line", xs: frequency, ys: first.levels }),
        { kind: "line", xs: frequency, ys: found.levels, colour: "--model", fill: "--model-shade" },
      ],
    );
  }
}
