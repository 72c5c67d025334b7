// Runs forms of a model: WebAssembly whose numbers are data in its memory. No browser is needed.
//
// New data are reached along w = 3u² − 2u³, computed anew at each sample. Data that come while a
// ramp is under way wait for its end; of several the last counts. A new form gets the input along
// the same curve while the old one gets what is left of it, and is heard until it has rung out.
// What runs once a block allocates nothing.

import { ENTRY, Ramp } from "./ramp.js";

export const RAMP = 0.02; // seconds in which data change
export const FADE = 0.05; // seconds in which a new form takes over the input
const QUIET = 1e-6; // an old form has rung out when it stays below this
const HOLD = 1; // … for so many seconds
const LONGEST = 20; // … or after so many
const LOUD = 16; // beyond this (+24 dB) something went wrong: the form begins anew, from silence
const MOST = 2048; // samples in a block
const VOICES = 3; // forms that run at once
const LOG = 256; // ramps of which it is remembered when they began

// What FAUST takes from the C library; in single precision these are more than exact.
const LIBM = {
  _acosf: Math.acos, _acoshf: Math.acosh, _asinf: Math.asin, _asinhf: Math.asinh,
  _atan2f: Math.atan2, _atanf: Math.atan, _atanhf: Math.atanh, _ceilf: Math.ceil,
  _cosf: Math.cos, _coshf: Math.cosh, _expf: Math.exp, _floorf: Math.floor,
  _fmodf: (x, y) => x % y, _log10f: Math.log10, _logf: Math.log, _powf: Math.pow,
  _remainderf: (x, y) => x - y * even(x / y), _rintf: even, _roundf: (x) => Math.sign(x) * Math.floor(Math.abs(x) + 0.5),
  _sinf: Math.sin, _sinhf: Math.sinh, _tanf: Math.tan, _tanhf: Math.tanh,
};

function even(x) {
  const down = Math.floor(x);
  const rest = x - down;
  return rest < 0.5 || (rest === 0.5 && down % 2 === 0) ? down : down + 1;
}

export const curve = (u) => u * u * (3 - 2 * u);

// One running form. `info`: number, size, inputs, outputs, data (places of the numbers in bytes),
// knobs and their places; `module`: a WebAssembly.Module.
export class Voice {
  constructor(module, info, rate) {
    this.info = info;
    this.wasm = new WebAssembly.Instance(module, { env: LIBM }).exports;
    const memory = this.wasm.memory;
    const { size, inputs, outputs } = info;
    const pointers = (size + 15) & ~15;
    const buffers = (pointers + 4 * (inputs + outputs) + 15) & ~15;
    const scratch = buffers + 4 * MOST * (inputs + outputs); // for numbers that change nothing
    const table = scratch + 4;
    const needed = table + ENTRY * info.data.length - memory.buffer.byteLength;
    if (needed > 0) memory.grow(Math.ceil(needed / 65536));
    this.heap = new Float32Array(memory.buffer);
    this.words = new Int32Array(memory.buffer);
    this.inPointer = pointers;
    this.outPointer = pointers + 4 * inputs;
    this.addresses = new Int32Array(inputs + outputs);
    for (let c = 0; c < inputs + outputs; c++) this.addresses[c] = buffers + 4 * MOST * c;
    this.inputs = Array.from({ length: inputs }, (_, c) => this.channel(c));
    this.outputs = Array.from({ length: outputs }, (_, c) => this.channel(inputs + c));
    this.places = Int32Array.from(info.data, (place) => (place < 0 ? scratch : place) >> 2);
    this.ramp = new Ramp(memory, this.places, table);
    this.to = new Float64Array(this.places.length);
    this.next = new Float64Array(this.places.length);
    this.waiting = false;
    this.length = Math.max(1, Math.round(RAMP * rate));
    this.left = 0;
    this.wasm.init(0, rate);
    this.offset(0);
  }

  channel(c) {
    const first = this.addresses[c] >> 2;
    return this.heap.subarray(first, first + MOST);
  }

  offset(sample) {
    const base = this.inPointer >> 2;
    for (let c = 0; c < this.addresses.length; c++) {
      this.words[base + c] = this.addresses[c] + 4 * sample;
    }
  }

  jump(values) {
    this.to.set(values);
    this.waiting = false;
    this.left = 0;
    this.write(this.to);
  }

  update(values) {
    this.next.set(values);
    this.waiting = true;
  }

  turn(knob, value) {
    const place = this.info.places[knob];
    if (place >= 0) this.heap[place >> 2] = value;
  }

  clear() {
    this.wasm.instanceClear(0);
  }

  write(values) {
    const { heap, places } = this;
    for (let k = 0; k < places.length; k++) heap[places[k]] = values[k];
  }

  begin() {
    this.ramp.begin(this.to, this.next);
    this.to.set(this.next);
    this.waiting = false;
    this.left = this.length;
  }

  // Computes `frames` samples; true where a ramp began.
  run(frames) {
    let began = false;
    let at = 0;
    while (at < frames) {
      if (!this.left && this.waiting) {
        this.begin();
        began = true;
      }
      if (!this.left) {
        if (at) this.offset(at);
        this.wasm.compute(0, frames - at, this.inPointer, this.outPointer);
        break;
      }
      this.move();
      this.offset(at);
      this.wasm.compute(0, 1, this.inPointer, this.outPointer);
      at += 1;
    }
    if (at) this.offset(0);
    return began;
  }

  move() {
    this.left -= 1;
    if (!this.left) this.write(this.to);
    else this.ramp.move(curve(1 - this.left / this.length));
  }
}

// The form that is played, and those that ring out; dry sound beside them.
export class Engine {
  constructor(rate) {
    this.rate = rate;
    this.voices = new Array(VOICES).fill(null); // the last of them is played, the others ring out
    this.count = 0;
    this.ready = null; // a form that waits for the end of a fade
    this.readyStep = -1;
    this.heard = new Float64Array(VOICES); // samples since each old one got no input
    this.quiet = new Float64Array(VOICES); // … and was quiet
    this.fade = 0;
    this.fadeLength = Math.max(1, Math.round(FADE * rate));
    this.gains = new Float64Array(MOST);
    this.wet = 1; // 1: the model, 0: the dry sound
    this.wetTo = 1;
    this.smooth = 1 - Math.exp(-1 / (0.004 * rate));
    this.positions = new Map();
    this.stepNumber = -1;
    this.frame = 0;
    this.logSteps = new Float64Array(LOG).fill(-1);
    this.logFrames = new Float64Array(LOG);
    this.logged = 0;
    this.resets = 0;
    this.recorder = null;
    this.peak = 0;
  }

  // Messages come between blocks; here memory may be allocated.
  handle(message) {
    switch (message.type) {
      case "form":
        this.ready = new Voice(message.module, message.info, this.rate);
        this.ready.jump(message.values);
        for (const name of this.positions.keys()) this.turn(this.ready, name);
        this.readyStep = message.step;
        if (!this.fade) this.change();
        return null;
      case "values": {
        const voice = this.ready || this.current;
        if (!voice || voice.info.number !== message.form) return null;
        if (this.ready) {
          voice.jump(message.values);
          this.readyStep = message.step;
        } else {
          voice.update(message.values);
          this.stepNumber = message.step;
        }
        return null;
      }
      case "turn":
        this.positions.set(message.name, message.value);
        if (this.current) this.turn(this.current, message.name);
        if (this.ready) this.turn(this.ready, message.name);
        return null;
      case "wet":
        this.wetTo = message.value;
        return null;
      case "record":
        this.recorder = { at: 0, tracks: [0, 1].map(() => new Float32Array(message.frames)) };
        return null;
      case "recorded":
        return this.recorded();
      case "report":
        return this.report();
      default:
        return null;
    }
  }

  report() {
    const order = Array.from({ length: Math.min(LOG, this.logged) }, (_, k) => (this.logged - 1 - k) % LOG);
    const report = {
      frame: this.frame,
      ramps: order.map((k) => [this.logSteps[k], this.logFrames[k]]),
      resets: this.resets,
      voices: this.count,
      peak: this.peak,
    };
    this.peak = 0;
    return report;
  }

  // What was recorded, once it is complete.
  recorded() {
    const { recorder } = this;
    if (!recorder || recorder.at < recorder.tracks[0].length) return { tracks: null };
    this.recorder = null;
    return { tracks: recorder.tracks };
  }

  get current() {
    return this.count ? this.voices[this.count - 1] : null;
  }

  turn(voice, name) {
    const knob = voice.info.knobs.findIndex((k) => k.name === name);
    if (knob >= 0) voice.turn(knob, this.positions.get(name));
  }

  // The form that is ready takes over.
  change() {
    if (this.count === VOICES) this.forget(0);
    if (this.count) {
      this.heard[this.count - 1] = this.quiet[this.count - 1] = 0;
      this.fade = this.fadeLength;
    }
    this.voices[this.count] = this.ready;
    this.count += 1;
    this.ready = null;
    this.stepNumber = this.readyStep;
    this.log();
  }

  forget(index) {
    this.count -= 1;
    for (let v = index; v < this.count; v++) {
      this.voices[v] = this.voices[v + 1];
      this.heard[v] = this.heard[v + 1];
      this.quiet[v] = this.quiet[v + 1];
    }
    this.voices[this.count] = null;
  }

  log() {
    const k = this.logged % LOG;
    this.logSteps[k] = this.stepNumber;
    this.logFrames[k] = this.frame;
    this.logged += 1;
  }

  // `dry`: channels of input, maybe none; `out`: one or two channels to fill; `frame`: the time.
  process(dry, out, frame) {
    this.frame = frame;
    const frames = out[0].length;
    for (let c = 0; c < out.length; c++) out[c].fill(0);
    const count = this.count;
    for (let i = 0; i < frames; i++) {
      this.gains[i] = this.fade > i ? curve(1 - (this.fade - i - 1) / this.fadeLength) : 1;
    }
    for (let v = 0; v < count; v++) this.play(v, count, dry, out, frames);
    this.mix(dry, out, frames, count);
    this.frame += frames;
    this.fade = Math.max(0, this.fade - frames);
    if (count > 1 && !this.fade && this.rung(0)) this.forget(0);
    if (this.ready && !this.fade) this.change();
  }

  play(v, count, dry, out, frames) {
    const voice = this.voices[v];
    const share = v === count - 1 ? 1 : v === count - 2 && this.fade ? -1 : 0;
    this.feed(voice, share, dry, frames);
    if (voice.run(frames) && v === count - 1) this.log();
    const channels = voice.outputs.length;
    let peak = 0;
    for (let c = 0; c < channels; c++) {
      const y = voice.outputs[c];
      for (let i = 0; i < frames; i++) {
        const size = Math.abs(y[i]);
        if (!(size <= peak)) peak = size; // NaN too
      }
    }
    if (!(peak < LOUD)) {
      voice.clear();
      this.resets += 1;
      return;
    }
    this.heard[v] += frames;
    this.quiet[v] = share === 0 && peak < QUIET ? this.quiet[v] + frames : 0;
    for (let c = 0; c < out.length && channels; c++) {
      const y = voice.outputs[Math.min(c, channels - 1)];
      for (let i = 0; i < frames; i++) out[c][i] += y[i];
    }
  }

  // The input, the part of it that a new form gets (1), what is left of that (-1), or nothing.
  feed(voice, share, dry, frames) {
    const { gains } = this;
    const inputs = voice.inputs;
    for (let c = 0; c < inputs.length; c++) {
      const x = inputs[c];
      if (share === 0 || !dry.length) {
        for (let i = 0; i < frames; i++) x[i] = 0;
        continue;
      }
      const a = dry[inputs.length === 1 ? 0 : c % dry.length];
      const b = inputs.length === 1 && dry.length > 1 ? dry[1] : a;
      for (let i = 0; i < frames; i++) {
        const gain = share > 0 ? gains[i] : 1 - gains[i];
        x[i] = 0.5 * (a[i] + b[i]) * gain;
      }
    }
  }

  rung(v) {
    return this.quiet[v] > HOLD * this.rate || this.heard[v] > LONGEST * this.rate;
  }

  mix(dry, out, frames, count) {
    let wet = this.wet;
    for (let i = 0; i < frames; i++) {
      wet += this.smooth * (this.wetTo - wet);
      if (Math.abs(this.wetTo - wet) < 1e-7) wet = this.wetTo;
      for (let c = 0; c < out.length; c++) {
        const x = dry.length ? dry[Math.min(c, dry.length - 1)][i] : 0;
        out[c][i] = count ? wet * out[c][i] + (1 - wet) * x : x;
        const size = Math.abs(out[c][i]);
        if (size > this.peak) this.peak = size;
      }
    }
    this.wet = wet;
    const recorder = this.recorder;
    if (recorder && recorder.at < recorder.tracks[0].length) {
      const end = Math.min(frames, recorder.tracks[0].length - recorder.at);
      for (let c = 0; c < 2; c++) {
        const y = out[Math.min(c, out.length - 1)];
        for (let i = 0; i < end; i++) recorder.tracks[c][recorder.at + i] = y[i];
      }
      recorder.at += end;
    }
  }
}
