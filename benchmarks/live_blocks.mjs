// How long the page's engine takes for a block: node live_blocks.mjs FOLDER ENGINE.
//
// form.json: { info, steps: [values, …] }; form.wasm. Prints JSON: microseconds of processor time of each block, at
// rest, and with a new step every 20 ms, so that numbers move in every block.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [folder, path] = process.argv.slice(2);
const { Engine } = await import(pathToFileURL(path));
const { info, steps } = JSON.parse(readFileSync(join(folder, "form.json")));
const module = new WebAssembly.Module(readFileSync(join(folder, "form.wasm")));
const [BLOCK, BLOCKS, WARM] = [128, 4000, 1500];

function played(every) {
  const engine = new Engine(info.sample_rate);
  engine.handle({ type: "form", module, info, values: Float64Array.from(steps[0]), step: 0 });
  const dry = [new Float32Array(BLOCK)];
  const out = [new Float32Array(BLOCK), new Float32Array(BLOCK)];
  const values = steps.map((step) => Float64Array.from(step));
  const times = [];
  for (let k = 0; k < BLOCKS + WARM; k++) {
    for (let i = 0; i < BLOCK; i++) dry[0][i] = Math.sin(0.03 * (k * BLOCK + i)) / 2;
    if (every && k % every === 0) {
      const step = (k / every) % values.length;
      engine.handle({ type: "values", form: info.number, step, values: values[step] });
    }
    const begun = process.cpuUsage();
    engine.process(dry, out, k * BLOCK);
    const { user, system } = process.cpuUsage(begun);
    if (k >= WARM) times.push(user + system);
  }
  return times;
}

const rounds = [0, 1, 2].map(() => ({ rest: played(0), moving: played(7) }));
console.log(JSON.stringify(rounds));
