// Beside the audio: impulse responses of steps, and what is drawn of them.

import { Voice } from "./engine.js";
import { decay, envelope, levels, reverberation } from "./spectrum.js";

const POINTS = 480;
const BLOCK = 1024;
let voice = null;
let rate = 48000;

// The mean of the outputs, with an impulse into every input; knobs have arrived before.
function response(seconds, positions) {
  const length = Math.round(seconds * rate);
  const x = new Float32Array(length);
  voice.clear();
  for (const [knob, value] of positions) voice.turn(knob, value);
  for (const input of voice.inputs) input.fill(0);
  if (positions.length) for (let at = 0; at < 0.1 * rate; at += BLOCK) voice.run(BLOCK);
  for (const input of voice.inputs) input[0] = 1;
  for (let at = 0; at < length; at += BLOCK) {
    const frames = Math.min(BLOCK, length - at);
    voice.run(frames);
    for (const input of voice.inputs) input[0] = 0;
    for (const output of voice.outputs) {
      for (let i = 0; i < frames; i++) x[at + i] += output[i] / voice.outputs.length;
    }
  }
  return x;
}

onmessage = ({ data }) => {
  if (data.type === "form") {
    rate = data.info.sample_rate;
    voice = new Voice(data.module, data.info, rate);
    return;
  }
  if (!voice || voice.info.number !== data.form) return;
  voice.jump(data.values);
  const x = response(data.seconds, data.positions);
  const curve = decay(x, POINTS);
  postMessage({
    step: data.step,
    first: data.first === true,
    seconds: data.seconds,
    rate,
    envelope: envelope(x, POINTS),
    decay: curve,
    levels: levels(x, rate, POINTS),
    t60: reverberation(curve, data.seconds),
  });
};
