// Dry sounds to play, computed here: each returns one channel that may be looped.

function noise(seed) {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return state / 2147483648;
  };
}

// Adds a decaying sound that begins at `at` seconds; what passes the end goes on at the beginning.
function add(x, rate, at, seconds, sound) {
  const first = Math.round(at * rate);
  const count = Math.round(seconds * rate);
  for (let i = 0; i < count; i++) x[(first + i) % x.length] += sound(i / rate, i);
}

function clicks(rate) {
  const x = new Float32Array(Math.round(2 * rate));
  x[0] = 0.9;
  return x;
}

function drums(rate) {
  const beat = 60 / 104;
  const x = new Float32Array(Math.round(8 * beat * rate));
  const kick = (t) => 0.9 * Math.exp(-t * 9) * Math.sin(2 * Math.PI * (48 * t + 5.5 * (1 - Math.exp(-t * 38))));
  const snare = () => {
    const hiss = noise(7);
    return (t) => 0.42 * Math.exp(-t * 19) * hiss() + 0.4 * Math.exp(-t * 26) * Math.sin(2 * Math.PI * 188 * t);
  };
  const hat = (open) => {
    const hiss = noise(3);
    let before = 0;
    return (t) => {
      const now = hiss();
      const high = now - before;
      before = now;
      return 0.11 * Math.exp(-t * (open ? 16 : 75)) * high;
    };
  };
  for (const at of [0, 1.5, 2.5, 4, 5.25, 6.5]) add(x, rate, at * beat, 0.5, kick);
  for (const at of [1, 3, 5, 7, 7.75]) add(x, rate, at * beat, 0.35, snare());
  for (let k = 0; k < 16; k++) add(x, rate, (k / 2) * beat, 0.25, hat(k % 8 === 7));
  return x;
}

// Karplus and Strong's string, plucked along an arpeggio.
function plucks(rate) {
  const notes = [57, 64, 69, 73, 76, 73, 69, 64, 54, 61, 66, 69, 73, 69, 66, 61];
  const gap = 0.25;
  const x = new Float32Array(Math.round(notes.length * gap * rate));
  notes.forEach((note, k) => {
    const period = rate / (440 * 2 ** ((note - 69) / 12));
    const string = new Float32Array(Math.floor(period));
    const hiss = noise(11 + k);
    for (let i = 0, y = 0; i < string.length; i++) string[i] = y = 0.5 * y + 0.5 * hiss();
    let at = 0;
    let before = 0;
    add(x, rate, k * gap, 1.6, (t) => {
      const y = string[at];
      string[at] = 0.996 * (0.5 * y + 0.5 * before);
      before = y;
      at = (at + 1) % string.length;
      return 0.55 * y * Math.min(1, (1.6 - t) * 20);
    });
  });
  return x;
}

function sine(rate) {
  const x = new Float32Array(rate);
  for (let i = 0; i < x.length; i++) x[i] = 0.5 * Math.sin((2 * Math.PI * 220 * i) / rate);
  return x;
}

export const SOUNDS = {
  Strings: plucks,
  Drums: drums,
  Clicks: clicks,
  "220 Hz": sine,
};
