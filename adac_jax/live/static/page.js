// How the page reaches its session: addresses beside its own, and server-sent events.

import { Player } from "./player.js";
import { View } from "./view.js";

async function get(path) {
  const response = await fetch(path);
  if (!response.ok) throw new Error(await response.text());
  return response;
}

class Page {
  latency = new URLSearchParams(location.search).get("latency"); // in seconds, for measurements

  worklet() {
    return new URL("worklet.js", import.meta.url);
  }

  worker() {
    return new Worker(new URL("analysis.js", import.meta.url), { type: "module" });
  }

  async form(number) {
    const [info, module] = await Promise.all([
      get(`forms/${number}.json`).then((r) => r.json()),
      get(`forms/${number}.wasm`).then((r) => WebAssembly.compileStreaming(r)),
    ]);
    return { info, module };
  }

  async step(number) {
    return (await get(`steps/${number}`)).arrayBuffer();
  }

  turn(name, value) {
    this.turns ??= {};
    this.turns[name] = value;
    this.turning ??= setTimeout(() => {
      const body = JSON.stringify(this.turns);
      this.turns = this.turning = undefined;
      fetch("controls", { method: "POST", body }).catch(() => {});
    }, 100);
  }

  download(number, suffix) {
    const link = document.createElement("a");
    link.href = `steps/${number}.${suffix}`;
    link.download = "";
    link.click();
  }

  listen(player) {
    const events = new EventSource("events");
    let open = false;
    events.addEventListener("history", ({ data }) => {
      if (open) player.losses.length = 0; // connected again: all comes anew
      open = true;
      player.news(JSON.parse(data));
    });
    events.addEventListener("news", ({ data }) => {
      const news = JSON.parse(data);
      if (news.closed) events.close();
      player.news(news);
    });
    events.onerror = () => {
      if (events.readyState === EventSource.CLOSED || !player.newest) return;
      player.news({ problem: "The training cannot be reached." });
    };
    events.onopen = () => player.problem && player.news({ problem: "" });
  }
}

const player = new Player(new Page());
const view = new View(document.querySelector("#live"), player);
Object.assign(globalThis, { live: { player, view } }); // for the browser's console
