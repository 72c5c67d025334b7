// Sound and news, without anything that is seen: the page and the notebook share it.

import { unpack, fromBase64 } from "./steps.js";
import { SOUNDS } from "./sounds.js";

const SECONDS = 2; // of an impulse response
const STEADY = 0.2; // seconds of latency where the machine has too much to do for less
const DROPOUTS = 3; // within a second
const ANALYSIS_PAUSE = 250; // ms between two impulse responses

// `transport` knows how to reach the session: form(number), step(number), turn(name, value),
// listen(player), and the addresses of the worklet and of the analysis.
export class Player extends EventTarget {
  constructor(transport) {
    super();
    this.transport = transport;
    this.losses = []; // [step, loss], in order
    this.newest = null; // the newest step
    this.shown = null; // the step that is heard
    this.follow = true; // whether that is the newest
    this.forms = new Map();
    this.form = null;
    this.positions = new Map();
    this.latency = Number(transport.latency) || "interactive";
    this.closed = false;
    this.problem = "";
    this.context = null;
    this.node = null;
    this.source = null;
    this.sound = "Strings";
    this.file = null;
    this.wet = 1;
    this.volume = 0.8;
    this.playing = false;
    this.asked = 0;
    this.answers = new Map();
    this.analysing = false;
    this.worker = transport.worker();
    this.worker.onmessage = ({ data }) => this.analysed(data);
    this.rendered = -1; // the step of the last analysis
    this.sent = Promise.resolve();
    transport.listen(this);
  }

  tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  // News from the session.
  async news(news) {
    if (news.losses && news.losses.length) {
      this.losses.push(...news.losses);
      this.tell("losses");
    }
    if (news.controls) {
      // Not those that are being turned here: their positions are on the way to the session.
      const others = Object.entries(news.controls).filter(([name]) => name !== this.turning);
      for (const [name, value] of others) this.positions.set(name, value);
      this.tell("controls");
      this.turned(others.map(([name]) => name));
    }
    if (news.problem !== undefined && news.problem !== this.problem) {
      this.problem = news.problem;
      this.tell("state");
    }
    if (news.closed && !this.closed) {
      this.closed = true;
      this.tell("state");
    }
    const step = news.step && unpack(typeof news.step === "string" ? fromBase64(news.step) : news.step);
    if (step) {
      this.newest = step;
      if (this.follow) await this.show(step);
    }
  }

  // Goes back to a past step, or on with the newest.
  async goTo(number) {
    const latest = this.newest ? this.newest.number : 0;
    this.follow = number >= latest;
    this.wanted = number;
    if (this.follow) {
      if (this.newest) await this.show(this.newest);
      return;
    }
    const step = unpack(await this.transport.step(number));
    if (!this.follow && this.wanted === number) await this.show(step);
  }

  // One after the other, so that a form is there before its data.
  show(step) {
    this.sent = this.sent.then(() => this.send(step)).catch((error) => this.failed(error));
    return this.sent;
  }

  async send(step) {
    if (!this.forms.has(step.form)) this.forms.set(step.form, await this.transport.form(step.form));
    const form = this.forms.get(step.form);
    const isNew = this.form !== form;
    this.form = form;
    this.shown = step;
    if (isNew) {
      this.worker.postMessage({ type: "form", module: form.module, info: form.info });
      this.tell("form");
      await this.compare(form);
    }
    if (this.node) this.hand(isNew);
    this.tell("step");
    this.analyse();
  }

  // What the first step was like, to be drawn behind the others.
  async compare(form) {
    if (this.compared) return;
    this.compared = true;
    const first = unpack(await this.transport.step(0));
    if (first.form !== form.info.number) return;
    const positions = this.turnings();
    this.worker.postMessage({ form: first.form, step: 0, values: first.values, seconds: SECONDS, positions, first: true });
  }

  turnings() {
    return this.form.info.knobs.map((knob, k) => [k, this.positions.get(knob.name) ?? knob.default]);
  }

  hand(isNew) {
    const { form, shown } = this;
    const message = { type: isNew ? "form" : "values", values: shown.values, step: shown.number };
    if (isNew) Object.assign(message, { module: form.module, info: form.info });
    else message.form = shown.form;
    this.node.port.postMessage(message);
  }

  failed(error) {
    this.problem = String(error.message || error);
    this.tell("state");
  }

  // Begins to play. A browser wants a click for that.
  async play() {
    if (!this.form) return;
    if (!this.context) {
      const rate = this.form.info.sample_rate;
      this.context = new AudioContext({ sampleRate: rate, latencyHint: this.latency });
      await this.context.audioWorklet.addModule(this.transport.worklet());
      this.node = new AudioWorkletNode(this.context, "adac-live", { outputChannelCount: [2] });
      this.node.port.onmessage = ({ data }) => this.answered(data);
      this.node.onprocessorerror = () => this.failed("The audio thread has stopped.");
      this.gain = new GainNode(this.context, { gain: this.volume });
      this.node.connect(this.gain).connect(this.context.destination);
      this.hand(true);
      for (const name of this.positions.keys()) this.turned([name]);
      this.node.port.postMessage({ type: "wet", value: this.wet });
      if (this.latency === "interactive") this.watch().catch(() => {});
    }
    await this.context.resume();
    this.playing = true;
    this.feed();
    this.tell("state");
  }

  // Where sound drops out, since a training has the processor, more of it is kept in store.
  async watch() {
    const { context } = this;
    const count = () => (context.playbackStats ? context.playbackStats.underrunEvents : 0);
    for (let before = count(); context === this.context; ) {
      await new Promise((resolve) => setTimeout(resolve, 1000));
      const now = count();
      if (now - before >= DROPOUTS && context === this.context) return this.steady();
      before = now;
    }
  }

  async steady() {
    const { context, playing } = this;
    this.latency = STEADY;
    this.stop();
    this.context = this.node = this.gain = null;
    await context.close();
    if (playing) await this.play();
  }

  close() {
    this.stop();
    this.worker.terminate();
    if (this.context) this.context.close();
  }

  // Stops the dry sound; the model rings on.
  stop() {
    this.playing = false;
    if (this.source) this.source.stop();
    this.source = null;
    this.tell("state");
  }

  feed() {
    if (this.source) this.source.stop();
    const { context } = this;
    let buffer = this.sound === "File" ? this.file : null;
    if (!buffer) {
      const samples = (SOUNDS[this.sound] || SOUNDS.Strings)(context.sampleRate);
      buffer = new AudioBuffer({ length: samples.length, sampleRate: context.sampleRate });
      buffer.copyToChannel(samples, 0);
    }
    this.source = new AudioBufferSourceNode(context, { buffer, loop: true });
    this.source.connect(this.node);
    this.source.start();
  }

  choose(sound) {
    this.sound = sound;
    if (this.playing) this.feed();
    this.tell("state");
  }

  // A sound file that was dropped or chosen; stays in the browser.
  async open(file) {
    const rate = this.form ? this.form.info.sample_rate : 48000;
    const decoder = new OfflineAudioContext(2, 1, rate);
    this.file = await decoder.decodeAudioData(await file.arrayBuffer());
    this.choose("File");
    if (!this.playing) await this.play();
  }

  setWet(wet) {
    this.wet = wet;
    if (this.node) this.node.port.postMessage({ type: "wet", value: wet });
    this.tell("state");
  }

  setVolume(volume) {
    this.volume = volume;
    if (this.gain) this.gain.gain.setTargetAtTime(volume, this.context.currentTime, 0.01);
  }

  turn(name, value) {
    this.positions.set(name, value);
    this.turning = name;
    clearTimeout(this.still);
    this.still = setTimeout(() => (this.turning = ""), 500);
    this.transport.turn(name, value);
    this.turned([name]);
  }

  turned(names) {
    if (this.node) {
      for (const name of names) {
        this.node.port.postMessage({ type: "turn", name, value: this.positions.get(name) });
      }
    }
    this.analyse();
  }

  // Asks the audio thread how it is.
  report() {
    return this.ask("report");
  }

  // The next seconds of what is heard, before the level: two channels.
  async record(seconds) {
    this.node.port.postMessage({ type: "record", frames: Math.round(seconds * this.context.sampleRate) });
    for (;;) {
      const { tracks } = await this.ask("recorded");
      if (tracks) return tracks;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  ask(type) {
    if (!this.node) return Promise.resolve(null);
    const id = (this.asked += 1);
    this.node.port.postMessage({ type, id });
    return new Promise((resolve) => this.answers.set(id, resolve));
  }

  answered(data) {
    const resolve = this.answers.get(data.id);
    this.answers.delete(data.id);
    if (resolve) resolve(data);
  }

  // Impulse responses, not more often than a few times a second, and never two at once.
  analyse() {
    if (this.analysing || !this.shown) return;
    this.analysing = true;
    const { shown } = this;
    const positions = this.turnings();
    this.analysed_of = [shown, JSON.stringify(positions)];
    const { number, values } = shown;
    this.worker.postMessage({ form: shown.form, step: number, values, seconds: SECONDS, positions });
  }

  analysed(result) {
    this.tell("analysis", result);
    if (result.first) return;
    setTimeout(() => {
      this.analysing = false;
      const [shown, turned] = this.analysed_of;
      if (shown !== this.shown || turned !== JSON.stringify(this.turnings())) this.analyse();
    }, ANALYSIS_PAUSE);
  }
}
