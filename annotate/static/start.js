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
    /* on.name(text), on.agree(experience), on.practise(), on.next(), on.own(file, question), on.resume(draft), on.drop(draft),
       on.model(name), on.project(slug), on.history() and on.withdraw(id), of which the last two return promises */
    constructor(on) {
      this.on = on;
      this.root = make("div", { class: "teach-start" });
    }

    /* The chosen mode, or the only one that there is here. */
    get mode() {
      const { mode } = teach.keep.choices,
        modes = this.modes ?? MODES.map(([value]) => value);
      return modes.includes(mode) ? mode : modes[0];
    }

    show(welcome) {
      const { person, asks_name, problem, agreed } = welcome,
        open = welcome.projects.some(({ slug }) => slug === welcome.project); // else only what was begun goes on
      this.modes = welcome.modes;
      const who = asks_name ? this.#name(person, problem) : this.#signed(person, problem);
      const project = person && this.#project(welcome);
      const asked = person && open && !agreed;
      const parts = asked ? [who, project, this.#terms(welcome)] : [this.#lines(welcome), who, project];
      if (person && !asked) parts.push(this.#drafts(person), open && this.#begin(welcome), open && this.#own(welcome), this.#history());
      this.root.replaceChildren(...parts.filter(Boolean));
    }

    /* What there is to do, in three lines, and what the people who run this add to it. */
    #lines({ instruction }) {
      const key = words => make("span", { class: "teach-by-key" }, words); // out of sight where there is no keyboard
      const lines = [
        ["Look at the image, and click where you look, in the order you look."],
        ["Tick what you see", key(": a key each, 0 for no finding"), "."],
        ["Submit and next", key(" (Ctrl+Enter)"), ", and the next image is there."],
      ];
      const list = make("ol", { class: "teach-lines" }, ...lines.map(line => make("li", {}, ...line)));
      return make("div", {}, list, ...(instruction ? [make("p", { class: "teach-instruction" }, instruction)] : []));
    }

    /* Which task list; nothing where there is no choice. */
    #project({ projects, project }) {
      if (!projects.some(({ slug }) => slug !== project)) return null;
      const waits = number => (number === 1 ? "1 image waits." : `${number >= 1000 ? "1,000 or more" : number} images wait.`);
      const rows = projects.map(({ slug, name, instruction, waiting }) => [slug, name, `${waits(waiting)} ${instruction}`]);
      const list = teach.radios("Which project?", rows, project, slug => this.on.project(slug));
      list.classList.add("teach-projects");
      return list;
    }

    /* Asked once, before the first image. */
    #terms(welcome) {
      const { licence, experiences, experience } = welcome;
      const known = make(
        "select",
        { "aria-label": "Your experience" },
        make("option", { value: "" }, "choose…"),
        ...experiences.map(name => make("option", { value: name, selected: name === experience }, name)),
      );
      const agree = teach.button("I agree", () => this.on.agree(known.value), { class: "teach-main", "data-act": "agree" });
      return make(
        "section",
        { class: "teach-terms" },
        make("h3", {}, "How it goes"),
        this.#lines(welcome),
        make("h3", {}, "What becomes of it"),
        make("p", {}, `Your clicks, ticks and words are kept, and may be published under ${licence}, with a pseudonym in the place of your name. You can withdraw a submission at any time; copies of what is published by then cannot be called back.`),
        make("label", { class: "teach-model" }, "How experienced are you with chest radiographs?", known),
        agree,
      );
    }

    /* What one has submitted, with what a reviewer said of it; loaded when it is opened. */
    #history() {
      const list = make("div", { class: "teach-history" }, "…");
      const load = async () => {
        try {
          const rows = await this.on.history();
          list.replaceChildren(...(rows.length ? rows.map(one => this.#done(one, load)) : [make("p", {}, "Nothing yet.")]));
        } catch (error) {
          list.textContent = error.message;
        }
      };
      const open = event => event.target.open && load();
      return make("details", { class: "teach-own teach-mine", ontoggle: open }, make("summary", {}, "Your submissions"), list);
    }

    #done({ submission_id, number, picture, submitted_at, mode, fixations, findings, state, reason, removed }, load) {
      const places = `${fixations} ${mode === "moving window" ? "place" : "click"}${fixations === 1 ? "" : "s"}`;
      const row = make("div", { class: "teach-draft" });
      const withdraw = async () => {
        await this.on.withdraw(submission_id);
        load();
      };
      const ask = () => row.append(teach.sure("Withdraw this submission for good?", "Withdraw it", withdraw));
      row.append(
        make("img", { src: picture, alt: "", width: 48 }),
        make(
          "span",
          { class: "teach-done" },
          make("b", {}, `${number}: ${findings || "–"}`),
          make("small", {}, `${when(submitted_at)}, ${places}, ${state}`),
          ...(reason ? [make("small", { class: "teach-said" }, `The reviewer: ${reason}`)] : []),
        ),
        ...(removed ? [] : [teach.button("Withdraw…", ask)]),
      );
      return row;
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
      const modes = MODES.filter(([value]) => this.modes.includes(value));
      const practised = Boolean(teach.keep.choices.practised);
      return make(
        "section",
        {},
        modes.length > 1
          ? teach.radios("How do you want to look?", modes, this.mode, mode => teach.keep.choose({ mode }))
          : make("p", {}, make("b", {}, modes[0][1]), `: ${modes[0][2]}`),
        models.length ? make("label", { class: "teach-model" }, "Model to compare with, afterwards", choose) : "",
        make("p", { class: "teach-progress" }, `${progress.done} submitted, ${progress.skipped} skipped. ${left}`),
        make(
          "div",
          { class: "teach-row" },
          teach.button("Start with the next image", () => this.on.next(), {
            class: practised ? "teach-main" : "",
            "data-act": "next",
            disabled: progress.open_images === 0,
          }),
          teach.button("Practice image", () => this.on.practise(), { class: practised ? "" : "teach-main", "data-act": "practise" }),
        ),
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
