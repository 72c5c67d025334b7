// Moves numbers in the memory of a form, a sample further along a ramp: in WebAssembly, since at
// each sample there may be thousands, and JavaScript takes three times as long.
//
//   (module
//     (import "form" "memory" (memory 1))
//     ;; Entries from `at` to `end`, 12 bytes each: place, from, step. heap[place] = from + w * step
//     (func (export "move") (param $at i32) (param $end i32) (param $w f32)
//       (loop $next
//         (f32.store (i32.load (local.get $at))
//           (f32.add (f32.load offset=4 (local.get $at))
//             (f32.mul (f32.load offset=8 (local.get $at)) (local.get $w))))
//         (br_if $next (i32.lt_u
//           (local.tee $at (i32.add (local.get $at) (i32.const 12))) (local.get $end))))))
//
// Where the machine has SIMD, four numbers that stand beside each other have an entry of 36 bytes:
// the place of the first, four from, four step; and `move` is the same in f32x4.

const section = (id, bytes) => [id, bytes.length, ...bytes];
const name = (text) => [text.length, ...Array.from(text, (c) => c.charCodeAt(0))];
const [I32, F32] = [0x7f, 0x7d];

const body = (locals, ...code) => [locals.length + code.length, ...locals, ...code];
const repeated = (size, ...code) => [
  0x03, 0x40, // loop
  0x20, 0, 0x28, 2, 0, // i32.load: the place
  ...code,
  0x20, 0, 0x41, size, 0x6a, 0x22, 0, // at += size
  0x20, 1, 0x49, 0x0d, 0, // again below the end
  0x0b, 0x0b,
];
const ONE = body([0], ...repeated(
  12,
  0x20, 0, 0x2a, 2, 4, // f32.load: from
  0x20, 0, 0x2a, 2, 8, // f32.load: step
  0x20, 2, 0x94, 0x92, // times w, added
  0x38, 2, 0, // f32.store
));
const FOUR = body(
  [1, 1, 0x7b], // a local of four
  0x20, 2, 0xfd, 0x13, 0x21, 3, // f32x4.splat: w
  ...repeated(
    36,
    0x20, 0, 0xfd, 0x00, 2, 4, // v128.load: from
    0x20, 0, 0xfd, 0x00, 2, 20, // v128.load: step
    0x20, 3, 0xfd, 0xe6, 0x01, 0xfd, 0xe4, 0x01, // times w, added
    0xfd, 0x0b, 2, 0, // v128.store
  ),
);

function module(code) {
  return Uint8Array.from([
    0, 0x61, 0x73, 0x6d, 1, 0, 0, 0,
    ...section(1, [1, 0x60, 3, I32, I32, F32, 0]),
    ...section(2, [1, ...name("form"), ...name("memory"), 2, 0, 1]),
    ...section(3, [1, 0]),
    ...section(7, [1, ...name("move"), 0, 0]),
    ...section(10, [1, ...code]),
  ]);
}

const [SINGLE, QUAD] = [ONE, FOUR].map(module);
export const hasQuads = () => WebAssembly.validate(QUAD);

// The ramp of a form. `places`: of its numbers, in words; `table`: where there is room in `memory`
// for 12 bytes for each number. Only what changes nothing may share a place.
export class Ramp {
  constructor(memory, places, table, quads = hasQuads()) {
    this.heap = new Float32Array(memory.buffer);
    const words = new Int32Array(memory.buffer);
    const order = Array.from(places.keys()).sort((a, b) => places[a] - places[b] || a - b);
    const [fours, ones] = [[], []];
    for (let k = 0; k < order.length; ) {
      const run = [0, 1, 2, 3].every((i) => places[order[k + i]] === places[order[k]] + i);
      const count = quads && run ? 4 : 1;
      (run && quads ? fours : ones).push(...order.slice(k, k + count));
      k += count;
    }
    this.order = Int32Array.from([...fours, ...ones]);
    this.quads = fours.length;
    this.table = table >> 2;
    this.middle = table + 9 * this.quads;
    this.end = this.middle + 12 * ones.length;
    for (let k = 0; k < fours.length; k += 4) words[this.table + (9 * k) / 4] = places[fours[k]] << 2;
    for (let k = 0; k < ones.length; k++) words[(this.middle >> 2) + 3 * k] = places[ones[k]] << 2;
    const made = (code) => new WebAssembly.Instance(new WebAssembly.Module(code), { form: { memory } }).exports.move;
    this.moveQuads = fours.length ? made(QUAD) : null;
    this.moveOnes = ones.length ? made(SINGLE) : null;
  }

  // From `from` to `to`.
  begin(from, to) {
    const { heap, order, quads, table } = this;
    const middle = this.middle >> 2;
    for (let k = 0; k < quads; k++) {
      const at = table + 9 * (k >> 2) + 1 + (k & 3);
      heap[at] = from[order[k]];
      heap[at + 4] = to[order[k]] - from[order[k]];
    }
    for (let k = quads; k < order.length; k++) {
      const at = middle + 3 * (k - quads);
      heap[at + 1] = from[order[k]];
      heap[at + 2] = to[order[k]] - from[order[k]];
    }
  }

  // Numbers become from + w (to - from).
  move(w) {
    if (this.moveQuads) this.moveQuads(this.table << 2, this.middle, w);
    if (this.moveOnes) this.moveOnes(this.middle, this.end, w);
  }
}

export const ENTRY = 12; // bytes of a number in the table, at most
