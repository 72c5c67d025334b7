// What the session sends: see adac_jax/live/wire.py.

const HEAD = 40;

// A step from its bytes, an ArrayBuffer or a view of one.
export function unpack(bytes) {
  const data = ArrayBuffer.isView(bytes)
    ? new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    : new Uint8Array(bytes);
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const magic = String.fromCharCode(...data.subarray(0, 4));
  if (magic !== "ADLV" || view.getUint32(4, true) !== 1) throw new Error("This is no step.");
  const count = view.getUint32(12, true);
  const values = new Float64Array(count);
  for (let k = 0; k < count; k++) values[k] = view.getFloat64(HEAD + 8 * k, true);
  return {
    form: view.getUint32(8, true),
    number: Number(view.getBigUint64(16, true)),
    loss: view.getFloat64(24, true),
    time: view.getFloat64(32, true),
    values,
  };
}

export const fromBase64 = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
