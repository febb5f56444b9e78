/* The panel before an image: who, how, drafts on this device, and what is still to be sent. */
"use strict";
(teach => {
  const MODES = [
    ["clicks", "Clicks", "The image as it is; click where you look, in the order you look."],
    ["bubble", "Bubble", "The image is blurred; each click shows a sharp disc around it."],
    ["moving window", "Moving window", "The image is blurred; a sharp disc follows the pointer. No clicks: rest where you look."],
  ];
  const make = (...parts) => globalThis.GazeViewer.make(...parts);
  const when = time => new Date(time).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });

  teach.modeName = mode => MODES.find(([value]) => value === mode)[1].toLowerCase();

  teach.Start = class Start {
    /* on.name(text), on.next(), on.own(file, question), on.resume(draft), on.drop(draft), on.model(name) */
    constructor(on) {
      this.on = on;
      this.root = make("div", { class: "teach-start" });
    }

    get mode() {
      const mode = teach.keep.choices.mode;
      return MODES.some(([value]) => value === mode) ? mode : "clicks";
    }

    show(welcome) {
      const { person, asks_name, problem } = welcome;
      const about = "Click through an image in the order you look. Every scanpath is kept, and can be used like recorded gaze.";
      const parts = [make("p", {}, about), asks_name ? this.#name(person, problem) : this.#signed(person, problem)];
      if (person) parts.push(this.#drafts(person), this.#begin(welcome), this.#own(welcome));
      this.root.replaceChildren(...parts.filter(Boolean));
    }

    #signed(person, problem) {
      return make("p", { class: "teach-who" }, person ? `Signed in as ${person.name}.` : problem);
    }

    #name(person) {
      const field = make("input", {
        type: "text",
        maxlength: 40,
        value: person?.name ?? teach.keep.name,
        autocomplete: "nickname",
        "aria-label": "Your name",
      });
      const use = () => this.on.name(field.value.trim());
      field.addEventListener("keydown", event => event.key === "Enter" && use());
      const words = person
        ? "Your clicks are kept under this name. What is published has a pseudonym in its place."
        : "Choose a name: your clicks are kept under it. What is published has a pseudonym in its place.";
      return make(
        "div",
        { class: "teach-who" },
        make("label", {}, "Your name", make("span", { class: "teach-row" }, field, teach.button(person ? "Change" : "Use this name", use, person ? {} : { class: "teach-main" }))),
        make("small", {}, words),
      );
    }

    #drafts(person) {
      const waiting = new Set(teach.keep.waiting(person.pseudonym).map(sent => sent.submission_id)); // submitted, not yet sent
      const drafts = teach.keep.drafts(person.pseudonym).filter(draft => !waiting.has(draft.submission_id));
      if (!drafts.length) return null;
      const rows = drafts.map(draft => {
        const count = draft.mode === "moving window" ? `${Math.round(draft.elapsed_ms / 1000)} s` : `${draft.path.points.length} clicks`;
        const row = make("div", { class: "teach-draft" });
        const drop = teach.button("Discard…", () =>
          row.append(teach.sure("Discard this draft for good?", "Discard it", () => this.on.drop(draft))),
        );
        row.append(
          make("span", {}, `${count}, ${teach.modeName(draft.mode)}, ${when(draft.saved_at)}`),
          teach.button("Go on", () => this.on.resume(draft), { class: "teach-main" }),
          drop,
        );
        return row;
      });
      return make("section", { class: "teach-drafts" }, make("h3", {}, "On this device: not submitted yet"), ...rows);
    }

    #begin({ progress, models, usual }) {
      const choose = make(
        "select",
        { "aria-label": "Model", onchange: () => this.on.model(choose.value) },
        ...models.map(name => make("option", { value: name, selected: name === (teach.keep.choices.model ?? usual) }, name)),
      );
      const many = progress.open_images >= 1000 ? "1,000 or more" : String(progress.open_images);
      const left =
        progress.open_images === 0
          ? "No image is waiting for you now. You may open one of your own."
          : `${many} image${progress.open_images === 1 ? " is" : "s are"} waiting for you.`;
      return make(
        "section",
        {},
        teach.radios("How do you want to look?", MODES, this.mode, mode => teach.keep.choose({ mode })),
        models.length ? make("label", { class: "teach-model" }, "Model to compare with, afterwards", choose) : "",
        make("p", { class: "teach-progress" }, `${progress.done} submitted, ${progress.skipped} skipped. ${left}`),
        teach.button("Start with the next image", () => this.on.next(), {
          class: "teach-main",
          "data-act": "next",
          disabled: progress.open_images === 0,
        }),
      );
    }

    #own({ question, longest_question }) {
      const file = make("input", { type: "file", "aria-label": "Image file" });
      const asked = make("input", { type: "text", value: question, maxlength: longest_question, "aria-label": "Question" });
      const open = teach.button("Open it", () => file.files[0] && this.on.own(file.files[0], asked.value), { "data-act": "own" });
      return make(
        "details",
        { class: "teach-own" },
        make("summary", {}, "Or open an image of your own"),
        make("p", {}, "PNG, JPEG, WebP, TIFF or DICOM. Its pixels are stored with your clicks, without names, tags or other metadata, so open only what you may share."),
        make("label", {}, "Image", file),
        make("label", {}, "Question", asked),
        open,
      );
    }
  };
})((globalThis.GazeTeach ??= {}));
