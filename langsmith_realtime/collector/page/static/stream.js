// Follows an object of the collector while it changes: whole at first, and after that only what changed arrives.
// A browser opens few connections to one server, so a page that nobody sees closes its own.

import { ask } from "./dom.js";
import { time } from "./format.js";

const AGAIN_MS = 2000;

export class Stream {
  // `take` gets the object and the names of what changed of it; `path` and `stream` return addresses.
  constructor({ path, stream, take, missing }) {
    Object.assign(this, { path, stream, take, missing });
    this.source = null;
    this.strip = document.getElementById("strip");
    document.addEventListener("visibilitychange", () => (document.hidden ? this.close() : this.open()));
    addEventListener("pagehide", () => this.close());
    addEventListener("pageshow", (event) => event.persisted && this.open());
  }

  open() {
    this.close();
    const path = this.stream();
    const { early } = globalThis; // of early.js
    globalThis.early = null;
    const source = (this.source = early?.path === path ? early.source : new EventSource(path));
    let object = {};
    source.onopen = () => { object = {}; };
    source.onmessage = (message) => {
      const news = JSON.parse(message.data);
      object = merged(object, news);
      this.strip.hidden = true;
      this.take(object, new Set([...Object.keys(news.values ?? {}), ...Object.keys(news.rows ?? {})]));
      if (document.hidden) this.close(); // a tab that was opened in the background has its title now
    };
    source.onerror = () => this.failed(source);
    if (source !== early?.source) return;
    early.messages.forEach((message) => source.onmessage(message));
    if (source.readyState === EventSource.CLOSED && source === this.source) this.failed(source);
  }

  close() {
    clearTimeout(this.again);
    this.source?.close();
    this.source = null;
  }

  // The browser connects again by itself, unless it was refused. Only an ordinary request tells why.
  async failed(source) {
    if (source.readyState !== EventSource.CLOSED) return this.say();
    const error = await ask(this.path()).then(() => null, (reason) => reason);
    if (source !== this.source) return;
    if (error?.status === 404 && this.missing?.()) return this.close();
    if (error) this.say(error);
    this.again = setTimeout(() => this.open(), AGAIN_MS);
  }

  say(error) {
    if (!this.strip.hidden && (!error?.status || this.strip.textContent === error.message)) return;
    this.strip.replaceChildren(error?.status ? error.message : `The collector does not answer since ${time(Date.now() / 1000)}, trying again. What is loaded stays usable.`);
    this.strip.hidden = false;
  }
}

function merged(object, { values = {}, rows = {} }) {
  const found = { ...object, ...values };
  for (const [name, news] of Object.entries(rows)) {
    const list = [...object[name]];
    list.length = news.length;
    for (const [at, row] of news.rows) list[at] = row;
    found[name] = list;
  }
  return found;
}
