/* A path changed by hand: drag a fixation, add one, delete one. On release the viewer's event `input` asks for what follows
   from it, with a number; an answer with an older number than the latest is not shown. One change is asked at a time: of
   those made meanwhile the last one follows. Fixations that were not touched keep the dwell by which the model chooses what
   it sees closely; those that were have none, and are seen first. */
"use strict";
(gaze => {
  const { make } = gaze;
  const NUDGE = 0.01, // of the image's sides
    KEPT = 50, // changes that can be undone
    END = 1 - 1e-6;
  const HINT = "Drag a fixation: glimpses, findings and words follow. A double click adds one.",
    FULL = "Drag a fixation: glimpses, findings and words follow. A double click puts one in place of the briefest.",
    CHANGED = "This is your path. What changed against the model’s own is marked.",
    ADDING = "Choose a place on the image.",
    WAITING = "Looking there…",
    DELETE = "Delete the chosen fixation (Delete)";

  const inside = value => Math.min(Math.max(value, 0), END);
  const placesOf = path => path.fixations.map(({ x, y, duration_ms }) => [x, y, duration_ms ?? null]);

  gaze.Steering = class Steering {
    constructor(viewer) {
      this.viewer = viewer;
      Object.assign(this, { turn: 0, history: [null], at: 0, asked: new Map(), sent: 0, unsent: null, adding: false, held: null, nudged: null, pending: null });
      const button = (text, label, act) => make("button", { type: "button", "aria-label": label, title: label, onclick: act }, text);
      this.add = button("+ Add", "+ Add a fixation (A): then choose its place", () => this.setAdding(!this.adding));
      this.remove = button("Delete", DELETE, () => this.deleteChosen());
      this.undo = button("Undo", "Undo (Ctrl+Z)", () => this.go(-1));
      this.redo = button("Redo", "Redo (Ctrl+Y)", () => this.go(1));
      this.back = button("Back to the model’s path", "Back to the model’s path, as it was", () => this.change(null));
      for (const node of [this.undo, this.back]) node.classList.add("gaze-way-back");
      this.hint = make("p", { class: "gaze-hint" });
      this.tools = make(
        "div",
        { class: "gaze-bar", role: "toolbar", "aria-label": "Change the path" },
        this.add,
        this.remove,
        this.undo,
        this.redo,
        this.back,
      );
      this.node = make("div", { class: "gaze-steer", hidden: true }, this.hint, this.tools);
      viewer.stage.addEventListener("dblclick", event => {
        if (this.able && !this.adding && !viewer.near(event)) this.addAt(viewer.placeOf(event));
      });
      viewer.stage.addEventListener("keyup", event => event.key === "Shift" && this.settle());
      viewer.stage.addEventListener("blur", () => this.settle());
      viewer.stage.addEventListener("contextmenu", event => this.able && viewer.near(event) && this.#chosenAt(event));
    }

    get path() {
      return this.viewer.value.paths[0];
    }
    get full() {
      return this.path.fixations.length >= this.viewer.value.steering.most_steps;
    }
    /* The fixation that another one may replace, as it is the least looked at; -1 where all were placed by hand. */
    get briefest() {
      const dwells = this.path.fixations.map(({ duration_ms }) => duration_ms ?? Infinity),
        least = Math.min(...dwells);
      return least < Infinity ? dwells.indexOf(least) : -1;
    }
    get able() {
      return Boolean(this.viewer.value.steering?.most_steps && this.path);
    }
    /* Steps of the place that is chosen; none while the whole path is shown. */
    get chosen() {
      const { viewer } = this;
      if (!this.able || viewer.whole || viewer.focus !== 0) return [];
      return viewer.marksOf(0)[viewer.timeline.stepAt(0, viewer.time_ms)]?.visits ?? [];
    }

    /* Whether a value answers an older change than the latest, or comes while the next one is in the hand: it is shown
       then if nothing comes of that. */
    isLate(value) {
      if (!value.steering?.turn) return false;
      if (value.steering.turn >= this.sent) this.#answered();
      if (value.steering.turn < this.turn) return true;
      if (this.held || this.nudged) this.pending = value;
      return Boolean(this.held || this.nudged);
    }

    /* A new value is on the screen. */
    show({ steering }) {
      // the model's own path, freshly asked for: what is still on its way belongs to the last one
      if (!steering?.turn) {
        [this.turn, this.history, this.at] = [this.turn + 1, [null], 0];
        [this.sent, this.unsent] = [0, null];
        this.asked.clear();
      } else this.#settled(steering);
      Object.assign(this, { held: null, nudged: null, pending: null, asking: false });
      this.setAdding(false);
    }

    /* What is on the screen is known: of a change that failed it is an earlier one, whose undo and redo come back. */
    #settled({ turn, failed, kept }) {
      const [history, at] = this.asked.get(kept) ?? [[null], 0];
      if (failed) [this.history, this.at] = [[...history], at];
      for (const one of this.asked.keys()) if (one < (failed ? kept : turn)) this.asked.delete(one);
    }

    update() {
      const { able, chosen } = this,
        { why = "", remark = "" } = this.viewer.value.steering ?? {};
      this.node.hidden = !this.path || !(able || why);
      this.tools.hidden = !able;
      const yours = this.history[this.at] !== null;
      this.node.classList.toggle("gaze-yours", able && (yours || this.adding));
      const usual = able && this.full ? FULL : HINT;
      this.hint.textContent = !able ? why : this.asking ? WAITING : this.adding ? ADDING : yours ? remark || CHANGED : usual;
      this.hint.title = this.hint.textContent;
      this.add.setAttribute("aria-pressed", String(this.adding));
      this.add.disabled = !able || (this.full && this.briefest < 0);
      this.remove.disabled = !chosen.length || chosen.length >= this.path.fixations.length;
      this.remove.textContent = chosen.length ? `Delete ${gaze.visitsLabel(chosen)}` : "Delete";
      this.remove.setAttribute("aria-label", chosen.length ? `${this.remove.textContent}, the chosen fixation (Delete)` : DELETE);
      this.undo.disabled = this.at === 0;
      this.redo.disabled = this.at === this.history.length - 1;
      this.back.disabled = !yours;
    }

    setAdding(adding) {
      this.adding = adding && this.able;
      this.viewer.stage.classList.toggle("gaze-adding", this.adding);
      this.viewer.refresh();
    }

    // ---- changes ----------------------------------------------------------------------------------------------------
    /* Another path, [[x, y, dwell or null], ...]; null is the model's own. */
    change(places) {
      this.history.splice(this.at + 1);
      this.history.push(places);
      if (this.history.length > KEPT) this.history.splice(1, 1); // the first is the model's own
      this.at = this.history.length - 1;
      this.#ask();
    }

    go(direction) {
      const at = this.at + direction;
      if (!this.able || at < 0 || at >= this.history.length) return;
      this.at = at;
      this.#ask();
    }

    addAt({ x, y, inside: onImage }) {
      this.setAdding(false);
      if (!this.able || !onImage || (this.full && this.briefest < 0)) return;
      const kept = placesOf(this.path);
      if (this.full) kept.splice(this.briefest, 1);
      this.change([...kept, [inside(x), inside(y), null]]);
    }

    deleteChosen() {
      const { chosen } = this;
      if (!chosen.length || chosen.length >= this.path.fixations.length) return;
      this.change(placesOf(this.path).filter((_, step) => !chosen.includes(step)));
    }

    /* Move the chosen place by so many nudges; `settle` asks what follows. */
    nudge(right, down) {
      const { chosen } = this;
      if (!chosen.length) return false;
      this.nudged ??= { steps: chosen, from: placesOf(this.path), moved: [0, 0] };
      const { moved } = this.nudged;
      [moved[0], moved[1]] = [moved[0] + right * NUDGE, moved[1] + down * NUDGE];
      this.#preview(this.#moved(this.nudged, ...moved), this.nudged.steps[0]);
      return true;
    }
    settle() {
      const { nudged } = this;
      this.nudged = null;
      if (nudged) this.change(this.#moved(nudged, ...nudged.moved));
    }

    #moved({ steps, from }, right, down) {
      return from.map(([x, y, dwell], step) => (steps.includes(step) ? [inside(x + right), inside(y + down), null] : [x, y, dwell]));
    }

    #ask() {
      const places = this.history[this.at];
      this.pending = null;
      this.turn += 1;
      this.asking = true;
      if (places) this.#preview(places);
      this.viewer.strip.waiting(true);
      this.unsent = { turn: this.turn, path: places };
      if (!this.sent) this.#send();
      this.viewer.refresh();
    }

    #send() {
      const change = this.unsent;
      [this.sent, this.unsent] = [change.turn, null];
      this.asked.set(change.turn, [[...this.history], this.at]);
      this.viewer.emit("input", change);
    }
    #answered() {
      this.sent = 0;
      if (this.unsent) this.#send();
    }

    /* Show a path at once, without what only the server knows of it; `step` keeps one chosen. */
    #preview(places, step = -1) {
      const { viewer } = this,
        [first, ...others] = viewer.value.paths;
      const fixations = places.map(([x, y, duration_ms]) => ({ x, y, duration_ms }));
      const path = { ...first, fixations, patch_probabilities: null };
      if (fixations.length !== first.fixations.length) path.glimpses = [];
      viewer.replacePaths([path, ...others], step);
    }

    // ---- the pointer holds a fixation: see gestures.js --------------------------------------------------------------
    grab(event) {
      const hit = this.able && !this.adding ? this.viewer.near(event) : null;
      if (!hit || hit.path !== 0) return false;
      this.held = { steps: this.viewer.marksOf(0)[hit.step].visits, from: placesOf(this.path), start: this.viewer.placeOf(event) };
      return true;
    }
    carry(event) {
      this.#preview(this.#carried(event));
    }
    release(event) {
      const { held } = this;
      if (!held) return;
      const places = event ? this.#carried(event) : null;
      this.held = null;
      if (places) return this.change(places);
      if (this.pending) this.viewer.show(this.pending);
      else if (placesOf(this.path).some((place, step) => String(place) !== String(held.from[step]))) this.#preview(held.from);
    }
    #carried(event) {
      const { x, y } = this.viewer.placeOf(event),
        { start } = this.held;
      return this.#moved(this.held, x - start.x, y - start.y);
    }

    /* A right click on a fixation chooses it, so that it can be deleted. */
    #chosenAt(event) {
      const hit = this.viewer.near(event);
      if (hit.path === 0) this.viewer.select(0, hit.step, false);
    }
  };
})((globalThis.GazeViewer ??= {}));
