/* After a submission: the receipt, the model's path beside one's own, scores with floors. */
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

  teach.Result = class Result {
    /* on.next(), on.home(), on.look() and on.scores() */
    constructor(on) {
      this.on = on;
      this.root = make("div", { class: "teach-result" });
      this.table = make("div", { class: "teach-scores" }); // has a place of its own: it is wide
    }

    show({ receipt_id, digest, number: place }, { left }) {
      this.looked = make("div", { class: "teach-looked" });
      this.table.replaceChildren();
      const copied = make("span", { role: "status" });
      const copy = teach.button("Copy", async () => {
        const done = await teach.copyText(`${receipt_id} ${digest}`);
        copied.textContent = done ? "Copied." : "Select the text to copy it.";
      });
      const more = teach.button("Next image", () => this.on.next(), { class: "teach-main", "data-act": "next" });
      more.disabled = left === 0;
      this.root.replaceChildren(
        make("h3", {}, "Stored"),
        make("p", {}, `Your scanpath is kept, as number ${place}. With this receipt anybody can check that the published data hold it.`),
        make(
          "dl",
          { class: "teach-receipt" },
          make("dt", {}, "Receipt"),
          make("dd", { class: "teach-receipt-id" }, receipt_id),
          make("dt", {}, "SHA-256"),
          make("dd", { class: "teach-digest" }, digest),
        ),
        make("div", { class: "teach-row" }, copy, copied),
        make("div", { class: "teach-row" }, more, teach.button("Back to the start", () => this.on.home())),
        make("h3", {}, "Compare"),
        make(
          "div",
          { class: "teach-row" },
          teach.button("The model's path", () => this.on.look(), { "data-act": "look" }),
          teach.button("Scores", () => this.on.scores(), { "data-act": "scores" }),
        ),
        this.looked,
      );
    }

    showScores(compared) {
      const tables = compared.map(({ name, rows, floors }) => {
        const head = make("tr", {}, ...["score", "you", ...floors.map(floor => `floor: ${floor}`)].map(text => make("th", { scope: "col" }, text)));
        const body = rows.map(row =>
          make(
            "tr",
            {},
            make("th", { scope: "row" }, row.name, make("small", {}, row.remark)),
            ...[row.value, ...row.floors].map(value => make("td", {}, number(value))),
          ),
        );
        const table = make("table", {}, make("caption", {}, `Your path against ${name}`), make("thead", {}, head), make("tbody", {}, ...body));
        return make("div", { class: "teach-scroll", tabindex: 0, role: "region", "aria-label": `Scores against ${name}` }, table);
      });
      this.table.replaceChildren(
        ...tables,
        make("p", { class: "teach-note" }, "One image shows no more than itself. The other columns are floors: what paths get that know less than you (your clicks in a random or in the opposite order, random places, the middle of the image). A score says something only above its floors."),
      );
    }
  };
})((globalThis.GazeTeach ??= {}));
