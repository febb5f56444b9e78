/* The viewer as a surface to annotate on: clicks with numbers and arrows, the disc, the cursor of the keyboard. */
"use strict";
(teach => {
  const GRAB_PX = { mouse: 9, pen: 12, touch: 22 },
    EDGE_PX = 24,
    MOST_CLICKS = 500,
    PERCENTILES = "percentiles";
  const frame = () => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));

  teach.Surface = class Surface {
    /* on.changed() after every edit, on.say(text) for what the annotator has to read. */
    constructor(root, on) {
      const gaze = globalThis.GazeViewer;
      Object.assign(this, { gaze, on, mode: "clicks", path: new teach.ClickPath(), locked: true });
      Object.assign(this, { cursor: null, carried: null, base_ms: 0, begun_ms: 0, grid: null, opened: null });
      Object.assign(this, { wanted: { preset: PERCENTILES, inverted: false }, spread: null, truth: [], lit: "" });
      this.viewer = new gaze.Viewer(root, (name, data) => name === "click" && this.#clicked(data, data.pointer || "mouse"));
      this.viewer.layers.push((pen, view) => this.#draw(pen, view));
      this.#windows();
      this.viewer.grip = {
        grab: event => this.#grab(event),
        carry: event => this.#carry(event),
        release: event => this.#release(event),
      };
      this.follower = new teach.Follower(this.viewer, () => this.time(), {
        moved: () => this.viewer.refresh(),
        sampled: () => on.changed({ silent: true }),
        full: () => this.on.say("The pointer was followed for as long as it can be: submit, or clear and begin again."),
      });
    }

    /* Milliseconds since the image was shown; time away from the page does not count. */
    time(now_ms = performance.now()) {
      return this.base_ms + now_ms - this.begun_ms;
    }

    /* Show an image to annotate. Throws where the blur of its mode cannot be drawn; then nothing is shown. */
    async open({ image, picture, blurred, mode, path, samples = [], elapsed_ms = 0, outside = 0 }) {
      this.close();
      this.spread = await teach.greySpread(picture.url);
      const loaded = mode === "clicks" ? null : await teach.loadBlurred(blurred);
      this.viewer.painter = loaded && teach.blurPainter(loaded, () => this.#disc());
      Object.assign(this, { mode, path: new teach.ClickPath(path), opened: { image, picture }, grid: null, blurred: loaded });
      this.viewer.on.dragWindow = false;
      this.viewer.on.invert = this.wanted.inverted;
      if (this.wanted.preset === "custom") this.viewer.window.set(this.wanted.center, this.wanted.width, this.wanted.inverted);
      else {
        this.viewer.window.set(127.5, 255, this.wanted.inverted);
        this.viewer.useWindow(this.wanted.preset);
      }
      await this.#show([]);
      if (!this.viewer.picture.url) throw new Error("the image could not be loaded");
      await frame();
      [this.base_ms, this.begun_ms, this.outside, this.locked] = [elapsed_ms, performance.now(), outside, false];
      if (mode === "moving window") this.follower.start(samples);
    }

    /* One choice more than other viewers have: from the darkest to the brightest hundredth of this image. */
    #windows() {
      const { viewer } = this,
        usual = viewer.useWindow.bind(viewer);
      viewer.controls.window.prepend(this.gaze.make("option", { value: PERCENTILES }, "1 to 99 %"));
      viewer.useWindow = preset => {
        if (preset !== PERCENTILES) return usual(preset);
        viewer.window.set(...this.spread);
        viewer.refresh();
      };
    }

    /* The window that is shown: a preset, PERCENTILES, or "custom" with its numbers. */
    get #window() {
      const { center, width, inverted, preset } = this.viewer.window;
      const spread = this.spread && center === this.spread[0] && width === this.spread[1];
      return { preset: spread ? PERCENTILES : preset, center, width, inverted };
    }

    /* Nothing is shown and nothing can be done. */
    close() {
      if (this.opened) this.wanted = this.#window;
      this.follower.stop();
      Object.assign(this, { locked: true, cursor: null, carried: null, opened: null, grid: null });
      this.follower.samples = [];
      this.path = new teach.ClickPath();
      this.viewer.painter = null;
      this.viewer.show(null);
    }

    lock(locked) {
      this.locked = locked;
      if (locked) this.follower.stop();
      else if (this.mode === "moving window") this.follower.start(this.follower.samples);
      this.viewer.refresh();
    }

    /* Without the blur, once nothing can be changed any more. */
    reveal() {
      this.viewer.painter = null;
      this.viewer.refresh();
    }

    async useGrid(grid) {
      this.grid = grid;
      if (this.opened && !this.compared) await this.#show([]);
    }

    /* After a submission: the whole image, with the paths to compare, and what a drawn image was drawn with. */
    async compare(paths, grid, truth) {
      this.compared = true;
      this.truth = truth ?? [];
      this.viewer.painter = null;
      this.grid = grid ?? this.grid;
      await this.#show(paths);
    }

    /* Light the frame of what was drawn; "" none. */
    light(finding) {
      this.lit = finding;
      this.viewer.refresh();
    }

    async #show(paths) {
      const { image, picture } = this.opened;
      this.compared = paths.length > 0;
      if (!this.compared) this.truth = [];
      const value = { image: picture, width_px: image.width_px, height_px: image.height_px, grid: this.grid, paths };
      await this.viewer.show({ ...value, description: "Image to annotate", in_step: true });
      const toggle = this.viewer.controls.toolbar.querySelector("[data-toggle=marks]");
      if (!this.compared) toggle.disabled = false;
    }

    /* The patch under a point, in words; "" where no grid is known. */
    patch(point) {
      if (!this.grid || !point) return "";
      const { rows, cols } = this.grid,
        patch = this.gaze.patchAt(this.grid, point.x, point.y);
      return `patch ${patch} of ${rows * cols} (row ${Math.floor(patch / cols) + 1}, column ${(patch % cols) + 1})`;
    }

    // ---- clicks -----------------------------------------------------------------------------------------------------
    #clicked(data, pointer) {
      if (this.locked) return;
      if (this.mode === "moving window")
        return this.on.say("In the moving-window mode nothing is clicked: move the disc, and rest where you look.");
      if (!data.inside) {
        this.outside += 1;
        return this.on.say("That click lay outside the image and was not counted.");
      }
      if (this.path.length >= MOST_CLICKS) return this.on.say(`There is room for ${MOST_CLICKS} clicks; submit these.`);
      const { zoom, window } = this.viewer.shown;
      const index = this.path.add({ x: data.x, y: data.y, onset_ms: this.time(data.time_ms), zoom, window, pointer });
      const patch = this.patch(this.path.points[index]);
      this.#edited(`Click ${index + 1} of ${this.path.length} placed${patch ? `, ${patch}` : ""}.`);
    }

    #edited(words) {
      [this.carried, this.held] = [null, null]; // the click that is being moved may be gone, or another one now
      this.on.changed({});
      this.on.say(words);
      this.viewer.refresh();
    }

    undo() {
      this.#edited(this.path.undo() ? `Undone: ${this.#count()}.` : "There is nothing to undo.");
    }
    redo() {
      this.#edited(this.path.redo() ? `Done again: ${this.#count()}.` : "There is nothing to do again.");
    }
    remove() {
      const index = this.path.selected >= 0 ? this.path.selected : this.path.length - 1;
      if (index < 0) return this.on.say("There is no click to delete.");
      this.path.remove(index);
      this.#edited(`Click ${index + 1} deleted: ${this.#count()}.`);
    }
    clear() {
      this.path.clear();
      this.follower.samples.length = 0;
      this.#edited(this.mode === "moving window" ? "Cleared." : "Cleared. Undo brings the clicks back.");
    }
    select(index) {
      this.path.select(index);
      const patch = this.patch(this.path.points[index]);
      this.#edited(this.path.selected < 0 ? "No click is selected." : `Click ${index + 1} selected${patch ? `, ${patch}` : ""}.`);
    }
    selectBy(step) {
      if (!this.path.length) return this.on.say("There is no click yet.");
      const from = this.path.selected < 0 ? (step > 0 ? -1 : this.path.length) : this.path.selected;
      this.select(Math.min(Math.max(from + step, 0), this.path.length - 1));
    }
    insert() {
      if (this.path.selected < 0) return this.on.say("Select a click first; the new one is put after it.");
      this.path.inserting = !this.path.inserting;
      this.#edited(this.path.inserting ? `The next click is put after click ${this.path.selected + 1}.` : "Nothing is inserted.");
    }
    #count() {
      return `${this.path.length} click${this.path.length === 1 ? "" : "s"}`;
    }

    // ---- dragging a point -------------------------------------------------------------------------------------------
    #grab(event) {
      if (this.locked) return false;
      if (this.mode === "moving window") return event.pointerType === "touch";
      if (!this.viewer.on.marks) return false;
      const [x, y] = this.gaze.placeOn(this.viewer.layer, event);
      let best = { distance: GRAB_PX[event.pointerType] ?? GRAB_PX.mouse, index: -1 };
      this.path.points.forEach((point, index) => {
        const [markX, markY] = this.viewer.locate(point.x, point.y),
          distance = Math.hypot(markX - x, markY - y);
        if (distance <= best.distance) best = { distance, index };
      });
      if (best.index < 0) return false;
      this.held = { index: best.index, from: this.viewer.placeOf(event) };
      return true;
    }

    #carry(event) {
      if (this.mode === "moving window" || !this.held) return;
      const at = this.viewer.placeOf(event),
        { index, from } = this.held,
        old = this.path.points[index];
      this.carried = { index, ...teach.inside(old.x + at.x - from.x, old.y + at.y - from.y) };
      this.viewer.refresh();
    }

    #release(event) {
      const carried = this.carried;
      [this.carried, this.held] = [null, null];
      if (event && carried) this.#moved(carried);
      this.viewer.refresh();
    }

    #moved(carried) {
      this.path.move(carried.index, carried);
      this.path.select(carried.index);
      this.#edited(`Click ${carried.index + 1} moved.`);
    }

    // ---- keyboard ---------------------------------------------------------------------------------------------------
    /* Moves the cursor, or the click that is being moved, by CSS pixels, and keeps it in sight. */
    step(right, down) {
      const { view } = this.viewer,
        place = this.carried ?? this.cursor;
      if (!place) {
        const [x, y] = view.toImage(view.stage.width / 2, view.stage.height / 2);
        this.cursor = teach.inside(x / view.image.width, y / view.image.height);
      } else {
        const [x, y] = this.viewer.locate(place.x, place.y),
          [x_px, y_px] = view.toImage(x + right, y + down);
        Object.assign(place, teach.inside(x_px / view.image.width, y_px / view.image.height));
      }
      this.#inSight(this.carried ?? this.cursor);
      if (this.mode === "moving window") this.follower.hold({ ...this.cursor });
      this.viewer.refresh();
    }

    #inSight(place) {
      const { view } = this.viewer,
        [x, y] = this.viewer.locate(place.x, place.y);
      const short = (at, room) => (at < EDGE_PX ? EDGE_PX - at : at > room - EDGE_PX ? room - EDGE_PX - at : 0);
      const [dx, dy] = [short(x, view.stage.width), short(y, view.stage.height)];
      if (!view.fitted && (dx || dy)) view.panBy(dx, dy);
    }

    /* Enter: a click at the cursor, or the end of a move. */
    place() {
      if (this.carried) {
        const carried = this.carried;
        this.carried = null;
        return this.#moved(carried);
      }
      if (!this.cursor) return this.step(0, 0);
      this.#clicked({ ...this.cursor, inside: true }, "keyboard");
    }

    beginMove() {
      const point = this.path.points[this.path.selected];
      if (!point) return this.on.say("Select a click first, then move it.");
      this.carried = { index: this.path.selected, x: point.x, y: point.y };
      this.on.say("Arrows move the click, Enter puts it down, Escape leaves it where it was.");
      this.viewer.refresh();
    }

    escape() {
      if (this.carried) this.on.say("The click stays where it was.");
      this.carried = null;
      this.path.select(-1);
      this.on.changed({});
      this.viewer.refresh();
    }

    zoom(factor) {
      const place = this.carried ?? this.cursor;
      this.viewer.zoom(factor, ...(place ? this.viewer.locate(place.x, place.y) : []));
    }

    // ---- drawing ----------------------------------------------------------------------------------------------------
    get #points() {
      const points = [...this.path.points];
      if (this.carried) points[this.carried.index] = { ...points[this.carried.index], ...this.carried };
      return points;
    }

    /* While a click is carried about, the disc stays where it was: else a drag would show the image without a click. */
    #disc() {
      if (this.mode === "moving window") return this.follower.place;
      const { points } = this.path;
      return points[this.carried?.index ?? this.path.selected] ?? points.at(-1) ?? null;
    }

    #draw(pen, view) {
      if (!this.opened) return;
      this.viewer.controls.window.value = this.#window.preset;
      for (const finding of this.truth) this.#frame(pen, finding);
      if (this.compared) return;
      const points = this.#points,
        chosen = this.carried?.index ?? this.path.selected;
      if (this.viewer.on.grid && this.grid && points.length) {
        const { x, y } = points[chosen] ?? points.at(-1);
        this.gaze.drawPatch(pen, view, this.grid, this.gaze.patchAt(this.grid, x, y));
      }
      if (this.viewer.painter && this.mode === "bubble" && points.length) this.#rim(pen, view);
      if (this.viewer.on.marks && points.length) {
        const marks = this.gaze.marksOf({ fixations: points, role: "reader" }, view, "dwell");
        if (this.viewer.painter && chosen < 0) marks.pop(); // nothing is drawn over what the last disc shows
        const path = { marks, role: "reader", last: marks.length - 1, current: chosen };
        this.gaze.drawPaths(pen, [path], this.viewer.on.detail);
      }
      if (this.cursor && !this.locked && !this.carried && document.activeElement === this.viewer.stage)
        this.#cross(pen, ...this.viewer.locate(this.cursor.x, this.cursor.y));
    }

    /* The edge of the disc. */
    #rim(pen, view) {
      const { x, y } = this.#disc();
      pen.beginPath();
      pen.arc(...this.viewer.locate(x, y), this.blurred.radius_px * view.scale + 1, 0, 2 * Math.PI);
      [pen.strokeStyle, pen.lineWidth] = ["rgba(255, 255, 255, 0.5)", 1];
      pen.stroke();
    }

    /* What was drawn, framed and named. */
    #frame(pen, { name, box }) {
      const [left, top] = this.viewer.locate(box[0], box[1]),
        [right, bottom] = this.viewer.locate(box[2], box[3]);
      pen.save();
      pen.setLineDash([6, 4]);
      const wide = name === this.lit ? 2 : 1;
      for (const [style, width] of [
        ["#000", 4 * wide],
        [wide > 1 ? "#fabe28" : "#fff", 1.5 * wide],
      ]) {
        [pen.strokeStyle, pen.lineWidth] = [style, width];
        pen.strokeRect(left, top, right - left, bottom - top);
      }
      pen.setLineDash([]);
      [pen.font, pen.textAlign, pen.textBaseline] = ["600 12px system-ui, sans-serif", "left", "bottom"];
      pen.lineJoin = "round";
      [pen.strokeStyle, pen.fillStyle, pen.lineWidth] = ["#000", "#fff", 3];
      pen.strokeText(name, left, Math.max(top - 2, 14));
      pen.fillText(name, left, Math.max(top - 2, 14));
      pen.restore();
    }

    #cross(pen, x, y) {
      for (const [style, width] of [
        ["#000", 4],
        ["#fff", 1.5],
      ]) {
        pen.beginPath();
        for (const [dx, dy] of [
          [1, 0],
          [-1, 0],
          [0, 1],
          [0, -1],
        ]) {
          pen.moveTo(x + 4 * dx, y + 4 * dy);
          pen.lineTo(x + 14 * dx, y + 14 * dy);
        }
        [pen.strokeStyle, pen.lineWidth] = [style, width];
        pen.stroke();
      }
    }
  };

  const SAMPLE_PX = 256,
    GREYS = 256,
    TAIL = 0.01,
    FULL = [127.5, 255],
    NARROWEST = 8;

  /* Centre and width of the window from the darkest to the brightest hundredth of an image; the full one where it has none. */
  teach.greySpread = async url => {
    const image = new Image();
    image.src = url;
    try {
      await image.decode();
    } catch {
      return FULL; // whoever shows the image says what is wrong with it
    }
    const canvas = document.createElement("canvas"),
      shrunk = Math.min(1, SAMPLE_PX / Math.max(image.naturalWidth, image.naturalHeight));
    [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight].map(side => Math.max(1, Math.round(side * shrunk)));
    const pen = canvas.getContext("2d", { willReadFrequently: true });
    pen.drawImage(image, 0, 0, canvas.width, canvas.height);
    const { data } = pen.getImageData(0, 0, canvas.width, canvas.height),
      counts = new Array(GREYS).fill(0);
    for (let k = 0; k < data.length; k += 4) counts[Math.round((data[k] + data[k + 1] + data[k + 2]) / 3)] += 1;
    const tail = (TAIL * data.length) / 4;
    const from = values => {
      let seen = 0;
      return values.findIndex(count => (seen += count) > tail);
    };
    const low = from(counts),
      high = GREYS - 1 - from([...counts].reverse());
    return high - low < NARROWEST ? FULL : [(low + high) / 2, high - low];
  };

  /* The nearest place on the image. */
  teach.inside = (x, y) => {
    const bound = value => Math.min(Math.max(value, 0), 1 - 2 ** -40);
    return { x: bound(x), y: bound(y) };
  };
})((globalThis.GazeTeach ??= {}));
