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

const section = (id, bytes) => [id, bytes.length, ...bytes];
const name = (text) => [text.length, ...Array.from(text, (c) => c.charCodeAt(0))];
const [I32, F32] = [0x7f, 0x7d];

const BODY = [
  0, // no locals
  0x03, 0x40, // loop
  0x20, 0, 0x28, 2, 0, // i32.load: the place
  0x20, 0, 0x2a, 2, 4, // f32.load: from
  0x20, 0, 0x2a, 2, 8, // f32.load: step
  0x20, 2, 0x94, 0x92, // times w, added
  0x38, 2, 0, // f32.store
  0x20, 0, 0x41, 12, 0x6a, 0x22, 0, // at += 12
  0x20, 1, 0x49, 0x0d, 0, // again below the end
  0x0b, 0x0b,
];

export const RAMP_MODULE = Uint8Array.from([
  0, 0x61, 0x73, 0x6d, 1, 0, 0, 0,
  ...section(1, [1, 0x60, 3, I32, I32, F32, 0]),
  ...section(2, [1, ...name("form"), ...name("memory"), 2, 0, 1]),
  ...section(3, [1, 0]),
  ...section(7, [1, ...name("move"), 0, 0]),
  ...section(10, [1, BODY.length, ...BODY]),
]);

export const ENTRY = 12;
