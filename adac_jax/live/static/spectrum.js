// What is drawn of an impulse response.

// In place, radix 2; `re` and `im` have a power of two as their length.
export function transform(re, im) {
  const n = re.length;
  for (let i = 1, j = 0; i < n; i++) {
    let bit = n >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) {
      [re[i], re[j]] = [re[j], re[i]];
      [im[i], im[j]] = [im[j], im[i]];
    }
  }
  for (let size = 2; size <= n; size <<= 1) {
    const half = size >> 1;
    for (let k = 0; k < half; k++) {
      const c = Math.cos((-2 * Math.PI * k) / size);
      const s = Math.sin((-2 * Math.PI * k) / size);
      for (let a = k; a < n; a += size) {
        const b = a + half;
        const x = re[b] * c - im[b] * s;
        const y = re[b] * s + im[b] * c;
        re[b] = re[a] - x;
        im[b] = im[a] - y;
        re[a] += x;
        im[a] += y;
      }
    }
  }
}

export const LOWEST = 20; // Hz at the left of the spectrum

// Level in dB at `points` frequencies, evenly on a log axis; mean power between neighbours.
export function levels(x, rate, points) {
  let n = 1;
  while (n < x.length) n <<= 1;
  const re = new Float64Array(n);
  const im = new Float64Array(n);
  re.set(x);
  transform(re, im);
  const result = new Float32Array(points);
  const top = Math.log(rate / 2 / LOWEST);
  for (let p = 0; p < points; p++) {
    const low = LOWEST * Math.exp((top * (p - 0.5)) / (points - 1));
    const high = LOWEST * Math.exp((top * (p + 0.5)) / (points - 1));
    const first = Math.max(1, Math.floor((low * n) / rate));
    const last = Math.min(n / 2, Math.max(first, Math.ceil((high * n) / rate)));
    let power = 0;
    for (let k = first; k <= last; k++) power += re[k] * re[k] + im[k] * im[k];
    result[p] = 10 * Math.log10(power / (last - first + 1) + 1e-20);
  }
  return result;
}

// The energy that is still to come, in dB re all of it (Schroeder 1965).
export function decay(x, points) {
  const result = new Float32Array(points);
  let energy = 0;
  let at = x.length - 1;
  const sums = new Float64Array(points);
  for (let p = points - 1; p >= 0; p--) {
    const first = Math.floor((p * x.length) / points);
    for (; at >= first; at--) energy += x[at] * x[at];
    sums[p] = energy;
  }
  for (let p = 0; p < points; p++) result[p] = 10 * Math.log10(sums[p] / (energy || 1) + 1e-12);
  return result;
}

// Lowest and highest sample of each of `points` stretches, one after the other.
export function envelope(x, points) {
  const result = new Float32Array(2 * points);
  for (let p = 0; p < points; p++) {
    let low = 0;
    let high = 0;
    const end = Math.floor(((p + 1) * x.length) / points);
    for (let i = Math.floor((p * x.length) / points); i < end; i++) {
      if (x[i] < low) low = x[i];
      if (x[i] > high) high = x[i];
    }
    result[2 * p] = low;
    result[2 * p + 1] = high;
  }
  return result;
}

// Seconds in which the decay falls by 60 dB, from its slope between -5 and -25 dB; NaN if it has none.
export function reverberation(curve, seconds) {
  const first = curve.findIndex((v) => v <= -5);
  const last = curve.findIndex((v) => v <= -25);
  if (first < 0 || last <= first) return NaN;
  const each = seconds / curve.length;
  return (60 * (last - first) * each) / (curve[first] - curve[last]);
}
