/* Under the image: what the model saw closely, in the order of looking. Each crop is cut from the picture at the picture's own
   resolution, with the window that the model got. */
"use strict";
(gaze => {
  const { make } = gaze;
  const ROUNDING_PX = 1e-6;

  /* A window in whole pixels of a picture: those that it covers, all of them or in part. */
  gaze.pixelsOf = ({ left, upper, right, lower }, width, height) => {
    const [x, y] = [Math.floor(left * width + ROUNDING_PX), Math.floor(upper * height + ROUNDING_PX)];
    return {
      x,
      y,
      width: Math.max(Math.ceil(right * width - ROUNDING_PX) - x, 1),
      height: Math.max(Math.ceil(lower * height - ROUNDING_PX) - y, 1),
    };
  };

  /* The pixels of a window, unchanged, in a box that shows exactly the window. */
  function cropOf(copy, window) {
    const cut = gaze.pixelsOf(window, copy.width, copy.height),
      [across, down] = [(window.right - window.left) * copy.width, (window.lower - window.upper) * copy.height];
    const canvas = make("canvas", { width: cut.width, height: cut.height });
    canvas
      .getContext("2d")
      .drawImage(copy.source, cut.x, cut.y, cut.width, cut.height, 0, 0, cut.width, cut.height);
    const share = value => `${(100 * value).toFixed(4)}%`;
    canvas.style.cssText =
      `width: ${share(cut.width / across)}; height: ${share(cut.height / down)}; ` +
      `left: ${share((cut.x - window.left * copy.width) / across)}; top: ${share((cut.y - window.upper * copy.height) / down)}`;
    return make("span", { class: "gaze-crop", style: `aspect-ratio: ${across / down}` }, canvas);
  }

  gaze.Strip = class Strip {
    constructor(viewer) {
      this.viewer = viewer;
      this.list = make("ol", { class: "gaze-glimpses", "aria-label": "What the model saw closely, in the order of looking" });
      this.words = make("p", { class: "gaze-strip-words" });
      this.node = make("div", { class: "gaze-strip", hidden: true }, this.list, this.words);
      [this.path, this.items] = [-1, []];
    }

    /* Which regions of the chest were not looked at; nothing of a picture that is no radiograph. */
    get #unseen() {
      const { colored, paths } = this.viewer.value;
      return (!colored && paths[0]?.unseen) || "";
    }

    /* The glimpses of the path that is shown, or none. */
    get glimpses() {
      return this.viewer.value.paths[this.path]?.glimpses ?? [];
    }

    show({ paths }, picture) {
      this.path = paths.findIndex(path => path.glimpses?.length);
      this.list.hidden = this.path < 0;
      this.node.hidden = this.path < 0 && !this.#unseen;
      this.waiting(false);
      const copy = picture.copies?.[0];
      this.items = copy ? this.glimpses.map((glimpse, index) => this.#item(copy, glimpse, index)) : [];
      this.list.replaceChildren(...this.items.map(item => make("li", {}, item)));
      this.say();
    }

    #item(copy, glimpse, index) {
      const { viewer } = this,
        light = () => gaze.light(viewer, index);
      return make(
        "button",
        {
          type: "button",
          class: "gaze-glimpse",
          onclick: () => viewer.select(this.path, glimpse.step, false),
          onpointerenter: light,
          onfocus: light,
          onpointerleave: () => gaze.light(viewer, null),
          onblur: () => gaze.light(viewer, null),
        },
        cropOf(copy, glimpse),
        make("span", { class: "gaze-number" }),
      );
    }

    /* While another path is asked for, the crops are those of the last one. */
    waiting(is) {
      this.node.classList.toggle("gaze-waiting", is);
    }

    /* Numbers and colours as on the image, and which place is looked at now. */
    update(marks, current) {
      this.items.forEach((item, index) => {
        const mark = marks?.[this.glimpses[index]?.step];
        if (!mark) return;
        const number = item.lastChild,
          label = gaze.visitsLabel(mark.visits),
          { color } = marks[mark.visits[0]];
        number.textContent = label;
        number.style.cssText = `background: rgb(${color.join(", ")}); color: ${gaze.inkOn(color)}`;
        item.setAttribute("aria-label", `Fixation ${label}, seen closely`);
        item.classList.toggle("gaze-now", mark.visits.includes(current));
      });
      this.list.style.filter = this.viewer.imageCanvas.style.filter; // the crops keep the image's window and level
    }

    /* Which crops are lit, from 0 to 1 each. */
    light(strengths) {
      this.items.forEach((item, index) => {
        const strength = strengths?.[index] ?? 0;
        item.classList.toggle("gaze-lit", strength > 0);
        item.style.setProperty("--gaze-lit", strength.toFixed(2));
      });
    }

    /* A sentence under the strip; without one, which regions were not looked at. */
    say(text = "") {
      this.words.textContent = text || this.#unseen;
    }
  };
})((globalThis.GazeViewer ??= {}));
