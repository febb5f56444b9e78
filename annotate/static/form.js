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

  teach.Form = class Form {
    /* on.changed() after every edit. */
    constructor({ findings, no_finding, longest_report }, on) {
      Object.assign(this, { on, none: no_finding });
      this.boxes = findings.map(name =>
        make("input", { type: "checkbox", value: name, onchange: event => this.#ticked(event.target) }),
      );
      const rows = this.boxes.map(box => make("label", {}, box, make("span", {}, box.value)));
      this.findings = make(
        "fieldset",
        { class: "teach-findings" },
        make("legend", {}, "Findings that you see"),
        make("div", {}, ...rows),
      );
      this.report = make("textarea", {
        rows: 4,
        maxlength: longest_report,
        "aria-label": "Report",
        placeholder: "In your own words, as in a report (you may leave this empty)",
        oninput: () => on.changed(),
      });
      this.sure = teach.radios("How sure are you? (you may leave this open)", CONFIDENCES, null, () => on.changed());
      this.sure.classList.add("teach-sure");
      this.root = make("div", { class: "teach-form" }, this.findings, make("label", {}, "Report", this.report), this.sure);
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
