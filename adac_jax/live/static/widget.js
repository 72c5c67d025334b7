// How a notebook reaches its session: messages from the kernel. A kernel that trains answers
// nothing, so all that is needed is sent without being asked for, and past steps are kept here.

const KEPT = 4096; // steps

class Notebook {
  constructor(model) {
    this.model = model;
    this.forms = new Map(); // promises and what keeps them
    this.steps = new Map();
    this.waiting = [];
    this.player = null;
    const address = (text) => URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
    this.addresses = { worklet: address(WORKLET), analysis: address(ANALYSIS) };
    this.hear = (message, buffers) => this.heard(message, buffers);
    model.on("msg:custom", this.hear);
    model.send({ type: "hello" });
  }

  worklet() {
    return this.addresses.worklet;
  }

  worker() {
    return new Worker(this.addresses.analysis);
  }

  promised(number) {
    if (!this.forms.has(number)) {
      const entry = {};
      entry.promise = new Promise((keep) => (entry.keep = keep));
      this.forms.set(number, entry);
    }
    return this.forms.get(number);
  }

  form(number) {
    return this.promised(number).promise;
  }

  async step(number) {
    const known = [...this.steps.keys()].filter((n) => n <= number);
    return this.steps.get(known.length ? Math.max(...known) : Math.min(...this.steps.keys()));
  }

  turn(name, value) {
    this.model.send({ type: "turn", name, value });
  }

  download(number, suffix) {
    this.model.send({ type: "take", number, suffix });
  }

  listen(player) {
    this.player = player;
    for (const news of this.waiting) player.news(news);
    this.waiting = [];
  }

  heard(message, buffers) {
    if (message.type === "form") {
      const { keep } = this.promised(message.info.number);
      const { buffer, byteOffset, byteLength } = buffers[0]; // views of a message
      const bytes = new Uint8Array(buffer, byteOffset, byteLength);
      WebAssembly.compile(bytes).then((module) => keep({ info: message.info, module }));
    }
    if (message.type === "file") {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([message.text], { type: "text/plain" }));
      link.download = message.name;
      link.click();
      URL.revokeObjectURL(link.href);
    }
    if (message.type !== "news") return;
    const { news } = message;
    if (message.step) {
      news.step = buffers[0];
      this.steps.set(unpack(news.step).number, news.step);
      // The first one and the newest stay.
      if (this.steps.size > KEPT) this.steps.delete([...this.steps.keys()][1]);
    }
    if (this.player) this.player.news(news);
    else this.waiting.push(news);
  }

  close() {
    this.model.off("msg:custom", this.hear);
    for (const address of Object.values(this.addresses)) URL.revokeObjectURL(address);
  }
}

export function render({ model, el }) {
  const root = document.createElement("div");
  el.append(root);
  const notebook = new Notebook(model);
  const player = new Player(notebook);
  const view = new View(root, player);
  el.live = { player, view }; // for tests
  return () => {
    view.close();
    player.close();
    notebook.close();
  };
}
