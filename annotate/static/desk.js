/* The place of work: the image with its tools on one side, what is asked on the other. It holds no state of the work. */
"use strict";
(teach => {
  const make = (...parts) => globalThis.GazeViewer.make(...parts);
  const clock = ms => `${Math.floor(ms / 60_000)}:${String(Math.floor(ms / 1000) % 60).padStart(2, "0")}`;

  teach.Desk = class Desk {
    /* on.changed(event), on.submit(), on.skip(reason), on.leave(), and those of `Result` */
    constructor(welcome, on) {
      this.on = on;
      this.question = make("p", { class: "teach-question" });
      this.holder = make("div", { class: "gaze-viewer" });
      this.surface = new teach.Surface(this.holder, {
        changed: event => this.#changed(event),
        say: text => this.say(text),
      });
      this.form = new teach.Form(welcome, { changed: () => on.changed({}) });
      this.result = new teach.Result(on);
      this.hint = make("p", { class: "teach-hint", role: "status", "aria-live": "polite" });
      this.error = make("div", { class: "teach-error", role: "alert" });
      this.line = make("p", { class: "teach-line" });
      this.sent = make("div", { class: "teach-sent", role: "status", "aria-live": "polite" });
      this.chips = make("ol", { class: "teach-chips", "aria-label": "Your clicks, in order" });
      this.#tools();
      this.#actions();
      this.surface.viewer.stage.after(this.hint, this.tools, this.ask, this.chips, this.help);
      teach.listenToKeys(this.holder, this.surface, { askClear: () => this.askClear(), help: () => this.toggleHelp() });
      const right = make("div", { class: "teach-right" }, this.line, this.form.root, this.actions, this.result.root, this.sent, this.error);
      this.root = make("div", { class: "teach-desk" }, make("div", { class: "teach-left" }, this.question, this.holder), right, this.result.table);
    }

    #tools() {
      const { surface } = this,
        tool = (name, text, label, act) =>
          teach.button(text, act, { "data-tool": name, "aria-label": label, title: label });
      this.tools = make(
        "div",
        { class: "gaze-bar teach-tools", role: "toolbar", "aria-label": "Clicks" },
        tool("undo", "Undo", "Undo the last step (Z)", () => surface.undo()),
        tool("redo", "Redo", "Redo (Y)", () => surface.redo()),
        tool("insert", "Insert after", "Insert the next click after the selected one (N)", () => surface.insert()),
        tool("remove", "Delete", "Delete the selected click, or the last one (Delete)", () => surface.remove()),
        tool("clear", "Clear…", "Clear all clicks (C)", () => this.askClear()),
        tool("help", "Keys ?", "Keys and mouse (?)", () => this.toggleHelp()),
      );
      this.ask = make("div");
      const rows = teach.KEYS.map(([key, does]) => make("div", {}, make("dt", {}, key), make("dd", {}, does)));
      this.help = make(
        "div",
        { class: "teach-help", hidden: true },
        make("p", {}, "A click places a point; drag a point to move it, drag the image to pan, turn the wheel or pinch to zoom, drag with the right button for window and level. Keys work while the image has the focus (Tab reaches it):"),
        make("dl", {}, ...rows),
      );
    }

    #actions() {
      this.submit = teach.button("Submit", () => this.on.submit(), { class: "teach-main", "data-act": "submit" });
      this.skip = teach.button("Skip…", () => this.#askSkip(), { "data-act": "skip" });
      this.skipped = make("div");
      this.actions = make("div", { class: "teach-actions" }, make("div", { class: "teach-row" }, this.submit, this.skip), this.skipped);
    }

    #askSkip() {
      if (!this.task)
        return this.skipped.replaceChildren(
          teach.sure("Close this image? Your clicks on it are lost.", "Close it", () => this.on.leave()),
        );
      const close = () => this.skipped.replaceChildren();
      this.skipped.replaceChildren(new teach.SkipPanel({ skip: this.on.skip, close }).root);
    }

    askClear() {
      const { surface } = this,
        what = surface.mode === "moving window" ? "everything that was followed" : `all ${surface.path.length} clicks`;
      if (!surface.path.length && !surface.follower.samples.length) return this.say("There is nothing to clear.");
      this.ask.replaceChildren(
        teach.sure(`Clear ${what}?`, "Clear", () => surface.clear(), () => surface.viewer.stage.focus()),
      );
    }

    toggleHelp() {
      this.help.hidden = !this.help.hidden;
    }

    say(text) {
      this.hint.textContent = text;
    }

    fail(text) {
      this.error.textContent = text;
    }

    /* A new image is on the desk. `task`: whether it was given out, and so can be skipped. */
    begin(question, task) {
      this.task = task;
      this.question.textContent = question;
      this.skip.textContent = task ? "Skip…" : "Close…";
      this.ask.replaceChildren();
      this.skipped.replaceChildren();
      this.sent.replaceChildren();
      this.fail("");
      this.#phase("working");
      this.#changed({ silent: true, first: true });
    }

    /* "working", "sending" or "stored" */
    #phase(phase) {
      this.root.dataset.phase = phase;
      if (phase !== "working") for (const asked of [this.ask, this.skipped]) asked.replaceChildren(); // no longer asked
      this.form.lock(phase !== "working");
      this.submit.disabled = this.skip.disabled = phase !== "working";
      for (const tool of this.tools.querySelectorAll("button")) tool.disabled = phase !== "working";
      this.refresh();
    }

    sending(...parts) {
      this.#phase("sending");
      this.sent.replaceChildren(...parts);
    }

    again() {
      this.#phase("working");
      this.sent.replaceChildren();
    }

    stored(receipt, facts) {
      this.#phase("stored");
      this.surface.reveal();
      this.sent.replaceChildren();
      this.say("");
      this.fail("");
      this.result.show(receipt, facts);
    }

    #changed(event) {
      if (!event.first) this.on.changed(event);
      if (!event.silent || event.first) this.refresh();
    }

    /* Buttons and chips as the clicks are now. */
    refresh() {
      const { surface } = this,
        { path } = surface,
        working = this.root?.dataset.phase === "working",
        moving = surface.mode === "moving window";
      const able = { undo: path.done.length, redo: path.undone.length, insert: path.selected >= 0, remove: path.length, clear: true };
      for (const [name, yes] of Object.entries(able)) {
        const tool = this.tools.querySelector(`[data-tool=${name}]`);
        tool.disabled = !working || !yes;
        tool.hidden = moving && name !== "clear";
      }
      this.tools.querySelector("[data-tool=insert]").setAttribute("aria-pressed", String(path.inserting));
      const colors = surface.gaze.orderColors(surface.gaze.style.roles.reader.colors, path.length);
      this.chips.replaceChildren(
        ...path.points.map((point, index) => {
          const patch = surface.patch(point),
            label = `Click ${index + 1}${patch ? `, ${patch}` : ""}${point.edit ? `, ${point.edit}` : ""}`;
          const chip = teach.button(String(index + 1), () => surface.select(path.selected === index ? -1 : index), {
            "aria-label": label,
            title: label,
            "aria-pressed": String(index === path.selected),
            disabled: !working,
            style: `background: rgb(${colors[index].join(", ")}); color: ${index * 2 < path.length ? "#fff" : "#000"}`,
          });
          return make("li", {}, chip);
        }),
      );
    }

    tick({ mode, lease_id, left, kept }) {
      const parts = [clock(this.surface.time()), teach.modeName(mode), !lease_id && "own image", left, kept].filter(Boolean);
      this.line.textContent = parts.join(" · ");
    }
  };
})((globalThis.GazeTeach ??= {}));
