/* The viewer: an image, scanpaths over it, and their replay. `GazeViewer.mount` puts one into a Gradio component. */
"use strict";
(gaze => {
  const { make } = gaze;
  const HOVER_PX = 16,
    PAN_PX = 40,
    WINDOW_PER_PX = 1,
    END = Infinity;
  const EMPTY = { image: null, width_px: 1, height_px: 1, grid: null, paths: [], autoplay: false, in_step: false, linked: "", steering: null };

  gaze.Viewer = class Viewer {
    /* `emit(name, data)` gets "click" (a place on the image), "select" (a fixation) and "input" (a changed path).

       For whoever builds on it: `layers` are functions (pen, view) that draw on top of everything; `painter`, where there is
       one, draws the image instead: (pen, view, density, picture); `grip` may hold what lies under the pointer: see
       gestures.js for grab, carry and release. */
    constructor(root, emit) {
      [this.root, this.emit] = [root, emit];
      [this.view, this.picture, this.timeline] = [new gaze.View(), new gaze.Picture(), new gaze.Timeline([])];
      this.on = { marks: true, detail: true, heat: false, grid: false, invert: false, dragWindow: false };
      Object.assign(this, {
        value: EMPTY,
        time_ms: END,
        playing: false,
        speed: 1,
        by: "dwell",
        inStep: false,
        hidden: new Set(),
        focus: 0,
        hover: null,
        lit: new Map(), // step of the strip's path -> how strongly something points at it
        layers: [],
        painter: null,
        grip: null,
      });
      this.imageCanvas = make("canvas");
      this.markCanvas = make("canvas");
      this.layer = make("div", { class: "gaze-layer" }, this.imageCanvas, this.markCanvas);
      this.window = new gaze.Window(this.imageCanvas);
      [this.card, this.legend] = [new gaze.Card(), new gaze.Legend()];
      this.message = make("p", { class: "gaze-message" });
      this.live = make("p", { class: "gaze-unseen", "aria-live": "polite" });
      this.stage = make(
        "div",
        { class: "gaze-stage", tabindex: 0, role: "application", "aria-roledescription": "image viewer" },
        this.layer,
        this.card.node,
        this.legend.node,
        this.message,
      );
      [this.strip, this.steer, this.controls] = [new gaze.Strip(this), new gaze.Steering(this), new gaze.Controls(this)];
      this.together = new gaze.Together(this);
      this.grip = this.steer;
      root.replaceChildren(
        this.window.node,
        this.controls.toolbar,
        this.stage,
        this.strip.node,
        this.steer.node,
        this.controls.root,
        this.live,
      );
      this.#listen();
      this.#showMessage();
      this.controls.showPaths([]);
      this.refresh();
    }

    #listen() {
      gaze.listenToPointers(this.stage, this.layer, {
        drag: (dx, dy, event) => {
          this.#point(null);
          this.#drag(dx, dy, event);
        },
        zoom: (factor, x, y) => this.zoom(factor, x, y),
        click: event => this.#click(event),
        move: event => this.#point(event),
        leave: () => this.#point(null),
        grab: event => event.button === 0 && !this.on.dragWindow && Boolean(this.grip?.grab(event)),
        carry: event => {
          this.#point(null);
          this.grip.carry(event);
        },
        release: event => this.grip.release(event),
      });
      gaze.listenToKeys(this);
      const observer = new ResizeObserver(entries => this.#resize(entries.at(-1)));
      try {
        observer.observe(this.stage, { box: "device-pixel-content-box" });
      } catch {
        observer.observe(this.stage); // a browser without that box: sizes are rounded below
      }
      document.addEventListener("fullscreenchange", () =>
        this.root.classList.toggle("gaze-full", document.fullscreenElement === this.root),
      );
    }

    #resize(entry) {
      const { width, height } = entry.contentRect;
      if (!width || !height) return; // hidden, as in a closed tab
      const density = globalThis.devicePixelRatio || 1,
        exact = entry.devicePixelContentBoxSize?.[0];
      let size = [Math.round(width * density), Math.round(height * density)];
      // Emulated pixel ratios do not reach this box, so it is taken only where it agrees.
      if (exact && Math.abs(exact.inlineSize - size[0]) <= 1) size = [exact.inlineSize, exact.blockSize];
      for (const canvas of [this.imageCanvas, this.markCanvas]) [canvas.width, canvas.height] = size;
      this.view.resize(width, height);
      this.#draw();
    }

    /* A new value: see `web/viewer/payload.py`. An image that is shown already is not loaded again. */
    async show(value) {
      const next = value?.paths ? value : EMPTY;
      if (!next.beside && this.steer.isLate(next)) return;
      const turn = (this.turn = (this.turn ?? 0) + 1),
        url = next.image?.url ?? null;
      let picture;
      try {
        picture = await this.#pictureAt(url);
      } catch {
        if (turn === this.turn) this.#showMessage("The image could not be loaded; reload the page.");
        return;
      }
      if (turn !== this.turn) return; // a newer value came while the image was loading
      const fresh = picture !== this.picture;
      if (next.beside && !fresh && this.steer.able) return this.#showBeside(next.paths.slice(1));
      if (fresh) this.shownAt_ms = performance.now();
      Object.assign(this, {
        picture,
        value: next,
        playing: false,
        time_ms: END,
        focus: 0,
        hover: null,
        lit: new Map(),
        hidden: new Set(),
      });
      this.on.heat = false;
      this.view.show(next.width_px, next.height_px);
      if (fresh) this.view.fit();
      // one path alone has nothing to keep step with
      this.inStep = Boolean(next.linked) || (Boolean(next.in_step) && next.paths.length > 1);
      this.together.lead();
      for (const one of [this, ...this.together.others]) one.wind();
      this.controls.showPaths(next.paths);
      this.card.show(null);
      this.strip.show(next, picture);
      this.steer.show(next);
      this.#showMessage();
      if (next.autoplay && next.paths.length && !matchMedia("(prefers-reduced-motion: reduce)").matches)
        this.playOrPause();
      this.refresh();
    }

    /* Other paths beside the first one, which may be in the middle of a change by hand. */
    #showBeside(others) {
      this.hidden = new Set();
      this.replacePaths([this.value.paths[0], ...others]);
      this.#showMessage();
    }

    /* Other paths over the same image, while more of them is asked for; with a step of the first one chosen, or none. */
    replacePaths(paths, step = -1) {
      this.value = { ...this.value, paths };
      this.wind();
      const time_ms = step < 0 ? END : this.timeline.starts[0][step];
      Object.assign(this, { focus: 0, playing: false, lit: new Map(), time_ms });
      this.on.heat = false;
      this.controls.showPaths(paths);
      this.refresh();
    }

    /* Set the replay's clock for the paths that are shown, here and in the viewers that keep step. */
    wind() {
      this.timeline = new gaze.Timeline(this.value.paths, this.inStep, this.value.linked ? this.together.steps : 0);
      this.controls.showClock();
    }

    /* The picture at an address: the one that is shown, the one on its way, or one that is loaded now. */
    #pictureAt(url) {
      if (url === (this.picture.url ?? null)) return this.picture;
      if (url !== this.coming?.url) {
        const picture = new gaze.Picture();
        this.coming = { url, picture: url ? picture.load(url).then(() => picture) : picture };
        this.coming.picture.catch?.(() => (this.coming = null)); // the next value tries again
      }
      return this.coming.picture;
    }

    #showMessage(text = this.value.image ? "" : "No image yet") {
      this.message.textContent = text;
      this.message.hidden = !text;
      const names = this.value.paths.map(path => `${path.name}, ${path.fixations.length} fixations`).join("; ");
      this.stage.setAttribute(
        "aria-label",
        `${this.value.description || text || "Radiograph"}${names ? `. Scanpaths: ${names}` : ""}`,
      );
    }

    get whole() {
      return this.time_ms === END;
    }

    /* What Python and tests may ask: the place of an image position on the stage, in CSS pixels. */
    locate(x, y) {
      return this.view.toScreen(x * this.view.image.width, y * this.view.image.height);
    }

    // ---- view -------------------------------------------------------------------------------------------------------
    zoom(factor, x, y) {
      this.view.zoomBy(factor, x, y);
      this.refresh();
    }
    fit() {
      this.view.fit();
      this.refresh();
    }
    oneToOne() {
      this.view.zoomTo(1 / (globalThis.devicePixelRatio || 1));
      this.refresh();
    }
    pan(right, down) {
      this.view.panBy(-right * PAN_PX, -down * PAN_PX);
      this.refresh();
    }
    useWindow(preset) {
      this.window.use(preset);
      this.refresh();
    }
    toggle(name) {
      this.on[name] = !this.on[name];
      if (name === "invert") this.window.invert();
      if (name === "heat" && this.on.heat && this.whole) this.select(this.focus, 0);
      this.refresh();
    }
    async fullScreen() {
      if (document.fullscreenElement) await document.exitFullscreen();
      else await (this.root.closest(".gaze-desk") ?? this.root).requestFullscreen?.(); // with the words beside it
    }

    // ---- replay -----------------------------------------------------------------------------------------------------
    playOrPause() {
      if (!this.value.paths.length) return;
      if (!this.playing && this.time_ms >= this.timeline.length_ms) this.time_ms = 0;
      this.playing = !this.playing;
      this.lastTick = null;
      this.refresh();
    }
    seek(time_ms) {
      [this.time_ms, this.playing] = [time_ms, false];
      this.refresh();
    }
    setSpeed(speed) {
      this.speed = speed;
    }
    /* Replay the k-th fixations of all paths together, or each path with its own times; the place in the path is kept. */
    goInStep(inStep) {
      if (this.value.linked || !this.timeline.timed || this.value.paths.length < 2) return;
      const step = this.whole ? -1 : this.timeline.stepAt(this.focus, this.time_ms);
      this.inStep = inStep;
      this.wind();
      if (!this.whole) this.time_ms = step < 0 ? 0 : this.timeline.starts[this.focus][step];
      this.refresh();
    }
    sizeBy(what) {
      this.by = what;
      this.refresh();
    }
    showPath(index, shown) {
      if (shown) this.hidden.delete(index);
      else this.hidden.add(index);
      this.refresh();
    }
    stepBy(direction) {
      const path = this.value.paths[this.focus];
      if (!path) return;
      const now = this.whole
        ? direction > 0
          ? -1
          : path.fixations.length
        : this.timeline.stepAt(this.focus, this.time_ms);
      this.select(this.focus, Math.min(Math.max(now + direction, 0), path.fixations.length - 1), false);
    }
    /* Go to a fixation; its heat map comes with it unless `heat` is false. */
    select(index, step, heat = true) {
      const path = this.value.paths[index];
      if (!path) return;
      this.focus = index;
      this.seek(this.timeline.starts[index][step]);
      if (heat && path.patch_probabilities) this.on.heat = true;
      this.live.textContent = gaze.describe(path, step);
      this.emit("select", { path: index, step });
      this.refresh();
    }

    // ---- pointer ----------------------------------------------------------------------------------------------------
    #drag(dx, dy, event) {
      const windowed = event && (this.on.dragWindow || event.buttons === 2);
      if (windowed) this.window.set(this.window.center + dy * WINDOW_PER_PX, this.window.width + dx * WINDOW_PER_PX);
      else this.view.panBy(dx, dy);
      this.refresh();
    }

    /* Where on the image an event is: fractions, pixels, and whether it is on the image at all. */
    placeOf(event) {
      const [x_px, y_px] = this.view.toImage(...gaze.placeOn(this.layer, event)),
        { width, height } = this.view.image;
      const inside = x_px >= 0 && y_px >= 0 && x_px < width && y_px < height;
      return { x: x_px / width, y: y_px / height, x_px, y_px, inside };
    }

    /* The place of the image in the middle of the stage, or the nearest to it. */
    get middle() {
      const { width, height } = this.view.stage,
        [x_px, y_px] = this.view.toImage(width / 2, height / 2);
      const inside = share => Math.min(Math.max(share, 0), 1);
      return { x: inside(x_px / this.view.image.width), y: inside(y_px / this.view.image.height), inside: true };
    }

    /* How the image is shown at this moment. */
    get shown() {
      const { center, width, inverted } = this.window;
      return { zoom: this.view.scale, window: { center, width, inverted } };
    }

    #click(event) {
      const time_ms = performance.now(),
        hit = this.near(event);
      if (this.steer.adding) return this.steer.addAt(this.placeOf(event));
      if (hit) this.select(hit.path, hit.step);
      if (this.picture.url)
        this.emit("click", {
          ...this.placeOf(event),
          time_ms,
          since_shown_ms: time_ms - this.shownAt_ms,
          ...this.shown,
          pointer: event.pointerType,
        });
    }

    /* The fixation under the pointer, of the paths that are shown. */
    near(event) {
      if (!this.on.marks) return null;
      const [x, y] = gaze.placeOn(this.layer, event);
      let best = null;
      this.value.paths.forEach(
        (path, index) =>
          this.hidden.has(index) ||
          path.fixations.forEach((fixation, step) => {
            const [markX, markY] = this.locate(fixation.x, fixation.y),
              distance = Math.hypot(markX - x, markY - y);
            if (distance <= HOVER_PX && (!best || distance < best.distance))
              best = { path: index, step, distance, x: markX, y: markY };
          }),
      );
      return best;
    }

    #point(event) {
      const hit = event && this.near(event);
      if (hit?.path === this.hover?.path && hit?.step === this.hover?.step) return;
      const had = this.hover;
      this.hover = hit;
      this.card.show(hit, this.value.paths[hit?.path], this.view.stage);
      this.stage.classList.toggle("gaze-over-mark", Boolean(hit));
      if (had || hit) gaze.light(this, gaze.glimpseOf(this, hit));
    }

    // ---- drawing ----------------------------------------------------------------------------------------------------
    /* Draw once before the next frame, however often this is called. */
    refresh() {
      this.frame ??= requestAnimationFrame(now => {
        this.frame = null;
        if (this.playing && this.together.leads) this.#tick(now);
        this.#draw();
        this.together.share();
      });
    }

    /* Draw at once what a linked viewer leads to. */
    redraw() {
      this.#draw();
    }

    #tick(now) {
      this.time_ms += this.lastTick === null ? 0 : (now - this.lastTick) * this.speed;
      this.lastTick = now;
      if (this.time_ms >= this.timeline.length_ms) [this.time_ms, this.playing] = [END, false];
      else this.refresh();
    }

    #draw() {
      const { view, value } = this,
        density = this.imageCanvas.width / view.stage.width;
      this.#align();
      this.stage.style.touchAction = view.fitted ? "pan-y" : "none"; // a fitted image lets the page scroll
      this.controls.update();
      this.steer.update();
      const [image, marks] = [this.imageCanvas, this.markCanvas].map(canvas => {
        const pen = canvas.getContext("2d");
        pen.setTransform(1, 0, 0, 1, 0, 0);
        pen.clearRect(0, 0, canvas.width, canvas.height);
        pen.setTransform(canvas.width / view.stage.width, 0, 0, canvas.height / view.stage.height, 0, 0);
        return pen;
      });
      if (!this.picture.url) return;
      if (this.painter) this.painter(image, view, density, this.picture);
      else this.picture.draw(image, view, density);
      const path = value.paths[this.focus],
        step = this.whole ? -1 : this.timeline.stepAt(this.focus, this.time_ms);
      const heat = this.on.heat && value.grid && step >= 0 ? path?.patch_probabilities?.[step] : null;
      if (heat) gaze.drawHeat(marks, view, value.grid, heat);
      this.legend.show(step, heat);
      if (this.on.grid && value.grid) gaze.drawGrid(marks, view, value.grid);
      if (this.on.marks)
        gaze.drawPaths(
          marks,
          value.paths.flatMap((each, index) => (this.hidden.has(index) ? [] : [this.#drawable(each, index)])),
          this.on.detail,
        );
      for (const [index, { left, upper, right, lower }] of this.strip.glimpses.entries())
        if (this.lit.has(this.strip.glimpses[index].step)) gaze.drawWindow(marks, view, left, upper, right, lower);
      this.strip.update(this.marksOf(this.strip.path), this.focus === this.strip.path ? step : -1);
      for (const layer of this.layers) layer(marks, view);
    }

    /* Put the layer on whole CSS pixels. Elsewhere browsers move what it shows by up to half of one, and clicks with it. */
    #align() {
      const box = this.stage.getBoundingClientRect();
      this.layer.style.left = `${Math.round(box.left) - box.left}px`;
      this.layer.style.top = `${Math.round(box.top) - box.top}px`;
    }

    #drawable(path, index) {
      const last = this.whole ? path.fixations.length - 1 : this.timeline.stepAt(index, this.time_ms);
      const since = this.whole ? 0 : last - gaze.style.window + 1,
        lit = index === this.strip.path ? this.lit : null;
      return { marks: this.marksOf(index), role: path.role, last, current: this.whole ? -1 : last, since, lit };
    }

    /* What is drawn of a path, or null where there is none. */
    marksOf(index) {
      const path = this.value.paths[index];
      return path ? gaze.marksOf(path, this.view, this.by) : null;
    }
  };

  /* What `js_on_load` calls. */
  gaze.mount = (element, props, trigger, watch) => {
    const viewer = new gaze.Viewer(element.querySelector(".gaze-viewer"), trigger);
    element.querySelector(".gaze-viewer").viewer = viewer;
    watch("value", () => viewer.show(props.value));
    viewer.show(props.value);
  };
})((globalThis.GazeViewer ??= {}));
