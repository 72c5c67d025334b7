// The audio thread: hands blocks to the engine, and messages between them.

import { Engine } from "./engine.js";

class Live extends AudioWorkletProcessor {
  constructor() {
    super();
    this.engine = new Engine(sampleRate);
    this.port.onmessage = ({ data }) => {
      const answer = this.engine.handle(data);
      if (answer) this.port.postMessage({ id: data.id, ...answer });
    };
  }

  process(inputs, outputs) {
    this.engine.process(inputs[0], outputs[0], currentFrame);
    return true;
  }
}

registerProcessor("adac-live", Live);
