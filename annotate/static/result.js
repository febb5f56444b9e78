/* After a submission: one sentence, who sees which finding, and the numbers for whoever wants them. */
"use strict";
(teach => {
  const make = (...parts) => globalThis.GazeViewer.make(...parts);

  teach.copyText = async text => {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      return false; // no permission, or no secure page: the text can still be selected
    }
  };

  const number = value => (value === null ? "–" : value.toFixed(3));
  const heads = texts => make("thead", {}, make("tr", {}, ...texts.map(text => make("th", { scope: "col" }, text))));

  teach.Result = class Result {
    /* on.next(), on.home(), on.withdraw() and on.light(finding); `links` is the id of what holds the viewer */
    constructor(on, links) {
      Object.assign(this, { on, links });
      this.root = make("div", { class: "teach-result" });
    }

    /* The answer to the practice image; there is no receipt. */
    showPractice(answer) {
      this.sentence = make("h3", { role: "status", "aria-live": "polite" });
      this.seen = make("div", { class: "teach-seen" });
      this.scores = make("div");
      this.root.replaceChildren(
        this.sentence,
        this.seen,
        make("p", { class: "teach-note" }, "Nothing of the practice image is kept."),
        this.#onwards(),
      );
      this.compare(answer);
    }

    #onwards() {
      const more = teach.button("Next image", () => this.on.next(), { class: "teach-main", "data-act": "next" });
      more.append(make("kbd", { "aria-hidden": "true" }, "N"));
      return make("div", { class: "teach-row" }, more, teach.button("Back to the start", () => this.on.home()));
    }

    show({ receipt_id, digest, number: place }) {
      this.sentence = make("h3", { role: "status", "aria-live": "polite" }, "Stored. The model looks…");
      this.seen = make("div", { class: "teach-seen" });
      this.scores = make("div", { class: "teach-scores" });
      const copied = make("span", { role: "status" });
      const copy = teach.button("Copy", async () => {
        const done = await teach.copyText(receipt_id);
        copied.textContent = done ? "Copied." : "Select the text to copy it.";
      });
      const back = make("div", { class: "teach-row" });
      back.append(
        teach.button("Withdraw…", () => back.append(teach.sure("Withdraw this submission for good?", "Withdraw it", () => this.on.withdraw()))),
      );
      this.root.replaceChildren(
        this.sentence,
        this.seen,
        this.#onwards(),
        make("div", { class: "teach-row teach-receipt" }, "Receipt", make("span", { class: "teach-receipt-id" }, receipt_id), copy, copied),
        make(
          "details",
          { class: "teach-details", ontoggle: ({ target }) => target.open && target.scrollIntoView({ block: "start" }) },
          make("summary", {}, "Details"),
          this.scores,
          make("p", { class: "teach-note" }, `Kept as number ${place}. With the receipt anybody can check that the published data hold it: in the tab Annotations, or by the SHA-256 of the record:`),
          make("p", { class: "teach-digest" }, digest),
          back,
        ),
      );
    }

    /* What could not be compared, and why. */
    fail(words) {
      this.sentence.textContent = "Stored.";
      this.seen.textContent = words;
    }

    withdrawn() {
      this.sentence.textContent = "This submission is withdrawn.";
      this.seen.replaceChildren();
    }

    compare({ sentence, trouble, findings, readers, truth, asked_model, scores }) {
      this.sentence.textContent = sentence;
      const columns = [["you", row => (row.you ? "✓" : "–")]];
      if (readers) columns.push([readers === 1 ? "one other" : `${readers} others`, row => (row.others ? String(row.others) : "–")]);
      if (truth) columns.push(["drawn", row => (row.truth ? "✓" : "–")]);
      if (asked_model) columns.push(["model", row => (row.model === null ? "?" : `${Math.round(100 * row.model)} %`)]);
      const rows = findings.map(row =>
        make("tr", this.#pointing(row), make("th", { scope: "row" }, row.name), ...columns.map(([, cell]) => make("td", {}, cell(row)))),
      );
      this.seen.dataset.links = this.links;
      const beside = [...(readers ? ["the others"] : []), ...(truth ? ["the truth"] : []), ...(asked_model ? ["the model"] : [])];
      const nothing = beside.length ? `No finding: you, ${beside.join(", ")} agree.` : "You ticked no finding.";
      const drawn = truth && make("p", { class: "teach-note" }, truth.length ? "This is a drawn image: what it was drawn with is framed." : "This is a drawn image, and was drawn without any finding.");
      this.seen.replaceChildren(
        rows.length ? make("table", {}, heads(["finding", ...columns.map(([name]) => name)]), make("tbody", {}, ...rows)) : make("p", {}, nothing),
        ...(drawn ? [drawn] : []),
        ...(trouble ? [make("p", { class: "teach-note" }, trouble)] : []),
      );
      this.#showScores(scores);
    }

    /* A finding lights where it was drawn, and the places that counted for it when the model looked; see links.js. */
    #pointing({ name, truth, shares }) {
      if (!truth && !shares.length) return {};
      const [light, dark] = [() => this.on.light(name), () => this.on.light("")];
      return {
        tabindex: 0,
        "data-finding": name,
        "data-shares": shares.length ? shares.join(" ") : null,
        ...{ onpointerenter: light, onfocus: light, onpointerleave: dark, onblur: dark },
      };
    }

    #showScores(compared) {
      const tables = compared.map(({ name, rows, floors }) => {
        const seen = new Set(["floor"]); // the note below says what those are
        const body = rows.map(row =>
          make(
            "tr",
            {},
            make("th", { scope: "row" }, row.name, GazeTerms.mark(row.name, seen), make("small", {}, row.remark)),
            ...[row.value, ...row.floors].map(value => make("td", {}, number(value))),
          ),
        );
        const head = heads(["score", "you", ...floors.map(floor => `floor: ${floor}`)]);
        const table = make("table", {}, make("caption", {}, `Your path against ${name}`), head, make("tbody", {}, ...body));
        return make("div", { class: "teach-scroll", tabindex: 0, role: "region", "aria-label": `Scores against ${name}` }, table);
      });
      if (tables.length)
        tables.push(
          make("p", { class: "teach-note" }, "One image shows no more than itself. The other columns are floors: what paths get that know less than you (your clicks in a random or in the opposite order, random places, the middle of the image). A score says something only above its floors."),
        );
      this.scores.replaceChildren(...tables);
    }
  };
})((globalThis.GazeTeach ??= {}));
