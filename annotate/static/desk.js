/* The place of work: the image with its tools on one side, what is asked on the other. It holds no state of the work. */
"use strict";
(teach => {
  const make = (...parts) => globalThis.GazeViewer.make(...parts);
  const clock = ms => `${Math.floor(ms / 60_000)}:${String(Math.floor(ms / 1000) % 60).padStart(2, "0")}`;

  const NOTICE = "Not a medical device. A research demo; do not use it for diagnosis or treatment.";

  const DESK = "teach-desk"; // what the findings of a result point into

  teach.Desk = class Desk {
    /* on.changed(event), on.submit(onwards), on.skip(reason), on.leave(), on.fill(), on.fullScreen(), and those of `Result` */
    constructor(welcome, on) {
      this.on = on;
      this.question = make("p", { class: "teach-question" });
      this.holder = make("div", { class: "gaze-viewer" });
      this.surface = new teach.Surface(this.holder, {
        changed: event => this.#changed(event),
        say: text => this.say(text),
      });
      this.surface.viewer.fullScreen = () => on.fullScreen(); // with findings and Submit, not the image alone
      this.form = new teach.Form(welcome, { changed: () => this.#formChanged(), picked: () => this.focus() });
      this.holder.viewer = this.surface.viewer; // where links.js looks for it
      this.result = new teach.Result({ ...on, light: finding => this.surface.light(finding) }, DESK);
      this.hint = make("p", { class: "teach-hint", role: "status", "aria-live": "polite" });
      this.error = make("div", { class: "teach-error", role: "alert" });
      this.line = make("p", { class: "teach-line" });
      this.sent = make("div", { class: "teach-sent", role: "status", "aria-live": "polite" });
      this.chips = make("ol", { class: "teach-chips", "aria-label": "Your clicks, in order" });
      this.before = make("p", { class: "teach-before", role: "status", "aria-live": "polite" });
      this.#tools();
      this.#actions();
      this.surface.viewer.stage.after(make("div", { class: "teach-foot" }, this.hint, this.tools), this.ask, this.chips, this.help);
      this.right = make(
        "div",
        { class: "teach-right" },
        ...[this.line, this.before, this.form.root, this.result.root, this.sent, this.error, this.actions],
        make("p", { class: "teach-notice" }, NOTICE),
      );
      this.root = make("div", { class: "teach-desk", id: DESK }, make("div", { class: "teach-left" }, this.#head(), this.holder), this.right);
      teach.listenToKeys(this.root, this.surface, {
        phase: () => this.root.dataset.phase,
        digit: (digit, more) => this.say(this.form.press(digit, more)),
        submitAndNext: () => on.submit(true),
        nothingAndNext: () => this.#nothingAndNext(),
        next: () => (this.root.dataset.phase === "stored" ? on.next() : this.say("Submit this image first (Ctrl Enter), or skip it.")),
        tools: () => this.toggleTools(),
        askClear: () => this.askClear(),
        help: () => this.toggleHelp(),
      });
    }

    /* Above the image: what is asked, and what the window shows. */
    #head() {
      const small = (text, label, act) => teach.button(text, act, { title: label });
      this.more = small("Tools", "Show or hide the tools (T)", () => this.toggleTools());
      this.fill = small("Fill window", "Let the image fill the window, or show the page around it", () => this.on.fill());
      const whole = small("Full screen", "Full screen (F)", () => this.on.fullScreen());
      return make("div", { class: "teach-head" }, this.question, make("div", { class: "gaze-bar" }, this.more, this.fill, whole));
    }

    /* Whether the window is filled, so that the button says what it does. */
    showFilled(filled) {
      this.fill.textContent = filled ? "Show page" : "Fill window";
    }

    toggleTools() {
      const open = this.root.classList.toggle("teach-tools-open");
      this.more.setAttribute("aria-expanded", String(open));
    }

    /* To the image, where the keys are. */
    focus() {
      this.surface.viewer.stage.focus({ preventScroll: true });
    }

    #nothingAndNext() {
      const { values } = this.form;
      if (values.findings.some(name => name !== this.form.none)) return this.fail("Findings are ticked: submit them with Ctrl Enter, or untick them.");
      this.form.values = { ...values, findings: [this.form.none] };
      this.on.changed({});
      this.on.submit(true);
    }

    #formChanged() {
      this.fail("");
      this.on.changed({});
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
        tool("insert", "Insert after", "Insert the next click after the selected one (A)", () => surface.insert()),
        tool("remove", "Delete", "Delete the selected click, or the last one (Delete)", () => surface.remove()),
        tool("clear", "Clear…", "Clear all clicks (C)", () => this.askClear()),
        tool("help", "Help", "Help: clicks, mouse and keys (?)", () => this.toggleHelp()),
      );
      this.ask = make("div");
      const rows = teach.KEYS.map(([key, does]) => make("div", {}, make("dt", {}, key), make("dd", {}, does)));
      this.help = make(
        "div",
        { class: "teach-help", hidden: true },
        make("p", {}, "A click or tap places a point; drag a point to move it, drag the image to pan, turn the wheel or pinch to zoom, drag with the right button for window and level."),
        make("p", { class: "teach-by-key" }, "Keys work while the image has the focus (Tab reaches it):"),
        make("dl", { class: "teach-by-key" }, ...rows),
      );
    }

    #actions() {
      const key = make("kbd", { "aria-hidden": "true" }, "Ctrl ↵");
      this.onwards = teach.button("Submit and next", () => this.on.submit(true), { class: "teach-main", "data-act": "submit-next" });
      this.onwards.append(key);
      this.submit = teach.button("Submit", () => this.on.submit(false), { "data-act": "submit", title: "Submit, and see how it compares" });
      this.skip = teach.button("Skip…", () => this.#askSkip(), { "data-act": "skip" });
      this.skipped = make("div");
      const row = make("div", { class: "teach-row" }, this.onwards, this.submit, this.skip);
      this.actions = make("div", { class: "teach-actions" }, row, this.skipped);
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

    /* `until` "looked": until the pointer is followed; else until anything is done. */
    fail(text, until = "") {
      this.error.textContent = text;
      this.error.dataset.until = until;
      if (text) this.error.scrollIntoView({ block: "nearest" });
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
      for (let part = this.right; part && part !== document.body; part = part.parentElement) part.scrollTop = 0;
    }

    /* "working", "sending" or "stored" */
    #phase(phase) {
      this.root.dataset.phase = phase;
      if (phase !== "working") for (const asked of [this.ask, this.skipped]) asked.replaceChildren(); // no longer asked
      this.form.lock(phase !== "working");
      for (const act of [this.onwards, this.submit, this.skip]) act.disabled = phase !== "working";
      for (const tool of this.tools.querySelectorAll("button")) tool.disabled = phase !== "working";
      this.refresh();
    }

    sending(...parts) {
      if (this.root.contains(document.activeElement)) this.focus(); // what had the focus cannot be used now
      this.#phase("sending");
      this.sent.replaceChildren(...parts);
    }

    again() {
      this.#phase("working");
      this.sent.replaceChildren();
    }

    /* Nothing can be changed any more: `show` is what stands in the place of the form. */
    #ended(show) {
      this.#phase("stored");
      this.surface.reveal();
      this.sent.replaceChildren();
      this.say("");
      this.fail("");
      show();
      this.focus();
    }

    stored(receipt) {
      this.#ended(() => this.result.show(receipt));
    }

    practised(answer) {
      this.#ended(() => this.result.showPractice(answer));
    }

    #changed(event) {
      if (!event.silent || this.error.dataset.until === "looked") this.fail(""); // what was missing may be there now
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

    tick({ mode, lease_id, practice, project, left, kept }) {
      const whose = practice ? "practice image, nothing is kept" : !lease_id && "own image";
      const parts = [clock(this.surface.time()), project, teach.modeName(mode), whose, left, kept].filter(Boolean);
      this.line.textContent = parts.join(" · ");
    }
  };
})((globalThis.GazeTeach ??= {}));
