// Plays a scenario through the page's own worklet, in plain Node: node live_node.mjs FOLDER.
//
// scenario.json: { rate, frames, block, forms: [info, …], events: [[frame, message], …], dry, out }.
// `values` of messages are positions in values.f64; dry.f32 is one channel; out.f32 has two.

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [folder, worklet] = process.argv.slice(2);
const read = (name) => readFileSync(join(folder, name));
const array = (name, Type) => {
  const bytes = read(name);
  return new Type(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
};
const scenario = JSON.parse(read("scenario.json"));
const values = array("values.f64", Float64Array);
const dry = array("dry.f32", Float32Array);
const modules = scenario.forms.map((_, k) => new WebAssembly.Module(read(`${k}.wasm`)));

let Processor;
globalThis.sampleRate = scenario.rate;
globalThis.AudioWorkletProcessor = class {
  port = { answers: [], postMessage: (message) => this.port.answers.push(message) };
};
globalThis.registerProcessor = (name, made) => (Processor = made);
await import(pathToFileURL(worklet));

const node = new Processor();
const tell = (message) => {
  const made = { ...message };
  if (made.count !== undefined) made.values = values.slice(made.start, made.start + made.count);
  if (made.type === "form") {
    made.module = modules[made.form];
    made.info = scenario.forms[made.form];
  }
  node.port.onmessage({ data: made });
};

const { frames, block } = scenario;
const out = [new Float32Array(frames), new Float32Array(frames)];
const times = [];
const memory = [];
let next = 0;
// All arrays are made before, so that what is counted is what the worklet allocates.
const blocks = [];
for (let at = 0; at < frames; at += block) {
  const length = Math.min(block, frames - at);
  blocks.push([at, [[dry.subarray(at, at + length)]], [out.map((c) => c.subarray(at, at + length))]]);
}
for (const [at, input, output] of blocks) {
  while (next < scenario.events.length && scenario.events[next][0] <= at) tell(scenario.events[next++][1]);
  globalThis.currentFrame = at;
  const begun = process.hrtime.bigint();
  node.process(input, output);
  times.push(Number(process.hrtime.bigint() - begun) / 1e3);
}
tell({ type: "report" });
if (scenario.quiet) {
  // Nothing else allocates here; the collector is asked to keep out.
  const [, input, output] = blocks[blocks.length - 1];
  for (let round = 0; round < 8; round++) {
    globalThis.gc();
    const before = process.memoryUsage().heapUsed;
    for (let k = 0; k < 3000; k++) node.process(input, output);
    memory.push(process.memoryUsage().heapUsed - before);
  }
}
const flat = new Float32Array(2 * frames);
out.forEach((channel, c) => flat.set(channel, c * frames));
writeFileSync(join(folder, "out.f32"), Buffer.from(flat.buffer));
const [report] = node.port.answers;
writeFileSync(join(folder, "report.json"), JSON.stringify({ ...report, times, memory }));
