// The row of controls below the timeline: play, turns, findings, speed, sides, follow and zoom.

import { byId, h, icon, setText } from "./dom.js";
import { clock, length } from "./format.js";

const SPEEDS = [0.5, 0.75, 1, 1.25, 1.5, 2, 3];

export class Transport {
  constructor(page) {
    this.page = page;
    this.controls = {};
    this.build();
  }

  build() {
    const button = (name, title, picture, act, extra = {}) => h("button", { type: "button", title, "aria-label": name, onclick: act, ...extra }, picture && icon(picture));
    const t = this.controls;
    t.play = button("Play", "Play (Space)", "play", () => this.page.player.toggle(), { class: "play", disabled: true });
    t.now = h("b", {}, "0:00.0");
    t.total = h("span", {});
    t.speed = h("button", { type: "button", title: "Speed (< >)", onclick: () => this.changeSpeed(1, true) }, "1×");
    t.sides = ["both", "user", "agent"].map((side) => h("button", { type: "button", class: "wide", "aria-pressed": side === "both" ? "true" : "false", onclick: () => this.hear(side) }, side[0].toUpperCase() + side.slice(1)));
    t.reason = h("span", { class: "reason wide", hidden: true });
    t.follow = h("button", { type: "button", title: "Follow (F)", "aria-label": "Follow", "aria-pressed": "true", onclick: () => this.page.setFollow(!this.page.follow) }, icon("follow"), h("span", { class: "long" }, "Follow"));
    t.zoom = h("input", { type: "range", min: 0, max: 100, value: 0, class: "wide", "aria-label": "Zoom", oninput: () => this.zoomTo(Number(t.zoom.value)) });
    t.span = h("span", { class: "span wide" });
    byId("transport").append(
      t.play, h("span", { class: "clock" }, t.now, " ", t.total),
      button("Turn before", "Turn before (↑)", "up", () => this.page.stepTurn(-1), { class: "before" }), button("Next turn", "Next turn (↓)", "down", () => this.page.stepTurn(1)),
      h("button", { type: "button", id: "next-finding", title: "Next finding (N)", "aria-label": "Next finding", onclick: () => this.page.stepFinding(1) }, icon("flag"), h("span", { class: "long" }, "Next finding")),
      h("span", { class: "gap wide" }), t.speed, ...t.sides, t.reason, h("span", { class: "push wide" }), t.follow,
      button("Zoom out", "Zoom out (−)", "minus", () => this.page.score.zoom(1.6), { class: "wide" }), t.zoom,
      button("Zoom in", "Zoom in (+)", "plus", () => this.page.score.zoom(1 / 1.6), { class: "wide" }),
      button("Whole conversation", "Whole conversation (0)", "whole", () => this.page.score.showAll(), { class: "wide" }), t.span);
  }

  render() {
    const t = this.controls;
    const can = this.page.player.canPlay && this.page.shape.recording.state !== "missing";
    t.play.disabled = !can;
    t.total.textContent = `/ ${clock(this.page.shape.duration_s)}`;
    for (const each of [...t.sides, t.speed]) each.hidden = !can;
    t.reason.hidden = can;
    const failed = this.page.player.audio.error && this.page.shape.recording.state === "ready";
    t.reason.textContent = failed ? "This browser cannot play the recording; the download works." : this.page.shape.recording.reason ?? "";
    this.viewChanged();
  }

  hear(side) {
    this.page.player.hear(side);
    for (const each of this.controls.sides) each.setAttribute("aria-pressed", String(each.textContent.toLowerCase() === side));
  }

  changeSpeed(step, wraps = false) {
    const at = SPEEDS.indexOf(this.page.player.audio.playbackRate);
    const next = wraps ? (at + step) % SPEEDS.length : Math.max(0, Math.min(SPEEDS.length - 1, at + step));
    this.page.player.speed(SPEEDS[next]);
    this.controls.speed.textContent = `${SPEEDS[next]}×`;
  }

  zoomTo(value) {
    const all = this.page.shape.duration_s;
    const span = all * (1 / all) ** (value / 100);
    this.page.score.zoom(span / (this.page.score.to - this.page.score.from));
  }

  viewChanged() {
    if (!this.page.shape) return;
    const span = this.page.score.to - this.page.score.from;
    const all = Math.max(1.001, this.page.shape.duration_s);
    this.controls.zoom.value = String(Math.round((Math.log(span / all) / Math.log(1 / all)) * 100));
    this.controls.span.textContent = this.page.score.showsAll ? "whole" : span < 10 ? `${span.toFixed(1)} s` : length(span);
  }

  showPlaying(isPlaying) {
    const { play } = this.controls;
    play.replaceChildren(icon(isPlaying ? "pause" : "play"));
    play.setAttribute("aria-label", isPlaying ? "Pause" : "Play");
  }

  showTime(t) { setText(this.controls.now, clock(t)); }

  showFollow(isOn) { this.controls.follow.setAttribute("aria-pressed", String(isOn)); }
}
