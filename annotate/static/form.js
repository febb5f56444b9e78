/* What is asked besides the clicks: findings, report, confidence; and the small parts that other panels use, too. */
"use strict";
(teach => {
  const CONFIDENCES = [
    [1, "a guess"],
    [2, "unsure"],
    [3, "fairly sure"],
    [4, "sure"],
    [5, "certain"],
  ];
  let ids = 0;

  const make = (...parts) => globalThis.GazeViewer.make(...parts);
  teach.button = (text, act, extra = {}) => make("button", { type: "button", onclick: act, ...extra }, text);

  /* A labelled choice of one; `pairs` are [value, text, remark]. */
  teach.radios = (legend, pairs, chosen, change) => {
    const name = `teach-${(ids += 1)}`;
    const rows = pairs.map(([value, text, remark]) => {
      const box = make("input", { type: "radio", name, value, checked: value === chosen, onchange: () => change(value) });
      return make("label", {}, box, make("span", {}, text, ...(remark ? [make("small", {}, remark)] : [])));
    });
    return make("fieldset", {}, make("legend", {}, legend), ...rows);
  };

  const DIGITS = 9;
  /* The key that ticks the k-th finding: 1 to 9, then with Shift. */
  const keyOf = index => (index < DIGITS ? String(index + 1) : `⇧${index - DIGITS + 1}`);

  teach.Form = class Form {
    /* on.changed() after every edit, on.picked() after one by the mouse. */
    constructor({ findings, no_finding, longest_report }, on) {
      Object.assign(this, { on, none: no_finding });
      this.boxes = findings.map(name =>
        make("input", { type: "checkbox", value: name, onchange: event => this.#ticked(event.target) }),
      );
      const rows = this.boxes.map((box, index) => {
        const key = make("kbd", { "aria-hidden": "true" }, box.value === no_finding ? "0" : keyOf(index));
        return make("label", { onclick: event => event.detail && on.picked() }, box, make("span", {}, box.value), key);
      });
      this.findings = make(
        "fieldset",
        { class: "teach-findings" },
        make("legend", {}, "Findings that you see"),
        make("div", {}, ...rows),
      );
      this.report = make("textarea", {
        rows: 2,
        maxlength: longest_report,
        "aria-label": "Report",
        placeholder: "Optional: in your own words, as in a report",
        oninput: () => on.changed(),
      });
      this.sure = teach.radios("How sure are you? (optional)", CONFIDENCES, null, () => on.changed());
      this.sure.classList.add("teach-sure");
      this.root = make("div", { class: "teach-form" }, this.findings, make("label", {}, "Report", this.report), this.sure);
    }

    /* What a digit ticks: 1 to 9 the first findings, 0 "no finding"; with `more`, those behind the ninth. */
    press(digit, more) {
      const index = digit - 1 + (more ? DIGITS : 0);
      const box = digit === 0 ? this.boxes.find(({ value }) => value === this.none) : this.boxes[index];
      if (!box || (digit !== 0 && box.value === this.none)) return "";
      box.checked = !box.checked;
      this.#ticked(box);
      return `${box.value}: ${box.checked ? "ticked" : "not ticked"}.`;
    }

    /* "no finding" and findings exclude each other. */
    #ticked(box) {
      if (box.checked)
        for (const other of this.boxes)
          if (other !== box && (box.value === this.none || other.value === this.none)) other.checked = false;
      this.on.changed();
    }

    get values() {
      const sure = this.sure.querySelector("input:checked");
      return {
        findings: this.boxes.filter(box => box.checked).map(box => box.value),
        report: this.report.value,
        confidence: sure ? Number(sure.value) : null,
      };
    }

    /* What the form asks for, as it is shown: whoever hands it in has said yes or no to each. */
    get asked() {
      return this.boxes.map(box => box.value).filter(name => name !== this.none);
    }

    set values({ findings = [], report = "", confidence = null }) {
      for (const box of this.boxes) box.checked = findings.includes(box.value);
      this.report.value = report;
      for (const box of this.sure.querySelectorAll("input")) box.checked = Number(box.value) === confidence;
    }

    lock(locked) {
      for (const node of this.root.querySelectorAll("input, textarea")) node.disabled = locked;
    }
  };

  /* A question beside the button that asked it, instead of a dialog: `words`, and what "yes" is called. */
  teach.sure = (words, yes, act, done = () => {}) => {
    const row = make("div", { class: "teach-ask", role: "group", "aria-label": words });
    const close = () => {
      row.remove();
      done();
    };
    const sayYes = teach.button(yes, () => (close(), act()), { class: "teach-danger" });
    const sayNo = teach.button("No", close);
    row.append(make("span", {}, words), sayYes, sayNo);
    row.addEventListener("keydown", event => event.key === "Escape" && close());
    queueMicrotask(() => sayNo.focus()); // so that a key pressed too often does no harm
    return row;
  };

  /* Lets one part fill the window: the rest of the page is out of reach meanwhile, and does not scroll. */
  let stilled = [];
  teach.fillWindow = (part, filled) => {
    part.classList.toggle("teach-filled", filled);
    document.documentElement.classList.toggle("teach-still", filled);
    for (const node of stilled) node.inert = false;
    stilled = [];
    for (let at = part; filled && at.parentElement && at !== document.body; at = at.parentElement)
      stilled.push(...[...at.parentElement.children].filter(node => node !== at && !node.inert));
    for (const node of stilled) node.inert = true;
  };

  /* Why an image is not annotated. */
  teach.SkipPanel = class SkipPanel {
    constructor(on) {
      const reasons = ["the image cannot be read", "not a frontal chest radiograph", "I cannot judge it", "something else"];
      this.reason = reasons[0];
      this.other = make("input", { type: "text", maxlength: 150, placeholder: "what else", "aria-label": "What else" });
      this.other.hidden = true;
      const choice = teach.radios(
        "Why do you skip this image?",
        reasons.map(reason => [reason, reason]),
        this.reason,
        reason => {
          this.reason = reason;
          this.other.hidden = reason !== reasons.at(-1);
        },
      );
      const skip = teach.button("Skip it", () => on.skip(this.other.hidden ? this.reason : this.other.value.trim()), {
        class: "teach-danger",
      });
      this.root = make(
        "div",
        { class: "teach-skip" },
        choice,
        this.other,
        make("div", { class: "teach-row" }, skip, teach.button("Go on with it", () => on.close())),
      );
    }
  };
})((globalThis.GazeTeach ??= {}));
