// The keys, and the dialog that lists them.

import { byId, h, onKey } from "./dom.js";

export class Keys {
  constructor(page) {
    this.page = page;
    this.tabbed = false;
    onKey((key, event) => this.press(key, event));
    document.addEventListener("pointerdown", () => { this.tabbed = false; });
  }

  press(key, event) {
    const { page } = this;
    if (!page.shape || byId("keys").open) return false;
    const onButton = event.target.closest?.("button, a, summary, [role=tab]");
    // Space presses a button that the Tab key led to, but not one that was clicked before.
    if (key === "Tab") this.tabbed = true;
    if (key === " " && onButton && this.tabbed && !onButton.closest("#transport .play")) return false;
    const by = event.shiftKey ? 0.5 : 5;
    const acts = {
      " ": () => page.player.toggle(),
      ArrowLeft: () => page.seek(page.time - by),
      ArrowRight: () => page.seek(page.time + by),
      Home: () => page.seek(0),
      End: () => page.seek(page.shape.duration_s),
      ArrowUp: () => page.stepTurn(-1), k: () => page.stepTurn(-1),
      ArrowDown: () => page.stepTurn(1), j: () => page.stepTurn(1),
      p: () => page.stepFinding(-1), n: () => page.stepFinding(1), w: () => page.stepWorst(),
      "<": () => page.transport.changeSpeed(-1), ">": () => page.transport.changeSpeed(1),
      "+": () => page.score.zoom(1 / 1.6), "=": () => page.score.zoom(1 / 1.6), "-": () => page.score.zoom(1.6), 0: () => page.score.showAll(),
      z: () => page.zoomToTurn(page.shape.turns.find((turn) => turn.n === page.turn) ?? page.turnAt(page.time)),
      1: () => page.transport.hear("user"), 2: () => page.transport.hear("agent"), 3: () => page.transport.hear("both"),
      f: () => page.setFollow(!page.follow), c: () => page.copy(),
      e: () => page.showEventsOf(page.turn ?? 0),
      "/": () => { page.showTab("events"); page.details.search.focus(); },
      "?": () => this.show(),
      Escape: () => { page.header.toggleMenu(false); document.querySelector(":popover-open")?.hidePopover(); },
    };
    const act = acts[key.length === 1 ? key.toLowerCase() : key];
    if (!act) return false;
    act();
    return true;
  }

  show() {
    const rows = [["Space", "play, pause"], ["← →", "5 s, with Shift 0.5 s"], ["Home End", "begin, end"], ["↑ ↓  K J", "turn before, next"], ["P N", "finding before, next"], ["W", "slowest turn; again: the next slowest"], ["< >", "slower, faster"], ["+ − 0", "zoom in, out, whole"], ["Z", "zoom to the turn"], ["1 2 3", "user, agent, both"], ["F", "follow"], ["C", "copy link"], ["E", "events of the turn"], ["/", "filter events"], ["?", "these keys"]];
    const dialog = byId("keys");
    dialog.replaceChildren(h("h2", { id: "keys-title" }, "Keys"),
      h("dl", {}, rows.map(([keys, what]) => [h("dt", {}, keys.split(" ").filter(Boolean).map((key) => h("kbd", {}, key))), h("dd", {}, what)])),
      h("button", { type: "button", onclick: () => dialog.close() }, "Close"));
    dialog.showModal();
  }
}
