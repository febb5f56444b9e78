/* The blurred modes: a blurred image, a sharp disc in it, and the pointer's samples of the moving window. */
"use strict";
(teach => {
  const SAMPLE_MS = 15, // the shortest time between two samples; the server takes no closer ones
    MOST_SAMPLES = 30_000,
    GREY_TOLERANCE = 1.5,
    KINDS = ["pointermove", "pointerdown", "pointerup", "pointercancel", "pointerleave"];

  /* Loads the blurred image and makes sure that it can be drawn. */
  teach.loadBlurred = async ({ url, mean, radius_px }) => {
    const image = new Image();
    image.src = url;
    await image.decode();
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
    const pen = canvas.getContext("2d", { willReadFrequently: true });
    pen.drawImage(image, 0, 0);
    const { data } = pen.getImageData(0, 0, canvas.width, canvas.height);
    let grey = 0;
    for (let k = 0; k < data.length; k += 4) grey += 0.299 * data[k] + 0.587 * data[k + 1] + 0.114 * data[k + 2];
    grey /= data.length / 4;
    if (!(Math.abs(grey - mean) <= GREY_TOLERANCE)) throw new Error(`mean grey ${grey} instead of ${mean}`);
    return { source: canvas, radius_px };
  };

  /* A painter for the viewer. `discAt()` gives the disc's place in fractions, or null. */
  teach.blurPainter = (blurred, discAt) => (pen, view, density, picture) => {
    const [left, top] = view.toScreen(0, 0),
      width = view.image.width * view.scale,
      height = view.image.height * view.scale;
    [pen.imageSmoothingEnabled, pen.imageSmoothingQuality] = [true, "high"];
    pen.drawImage(blurred.source, left, top, width, height);
    const disc = discAt();
    if (!disc) return;
    const [x, y] = view.toScreen(disc.x * view.image.width, disc.y * view.image.height);
    pen.save();
    pen.beginPath();
    pen.arc(x, y, blurred.radius_px * view.scale, 0, 2 * Math.PI);
    pen.clip();
    picture.draw(pen, view, density);
    pen.restore();
  };

  /* Follows the pointer, frame by frame; `time()` is since the image was shown, `on.moved()` and `on.full()` are called. */
  teach.Follower = class Follower {
    constructor(viewer, time, on) {
      Object.assign(this, { viewer, time, on, samples: [], at: null, place: null });
      this.follow = event => {
        const gone =
          event.type === "pointerleave" ||
          event.type === "pointercancel" ||
          (event.type === "pointerup" && event.pointerType === "touch");
        this.at = gone ? null : { clientX: event.clientX, clientY: event.clientY };
        this.place = this.at && viewer.placeOf(this.at);
        this.on.moved();
      };
    }

    /* The keyboard holds the disc at a place, in fractions. */
    hold(place) {
      [this.at, this.place] = [null, place];
      this.on.moved();
    }

    start(samples = []) {
      this.samples = samples;
      for (const kind of KINDS) this.viewer.stage.addEventListener(kind, this.follow);
      const turn = (this.turn = (this.turn ?? 0) + 1);
      const tick = () => {
        if (turn !== this.turn) return; // stopped, or begun anew
        this.#sample();
        requestAnimationFrame(tick);
      };
      requestAnimationFrame(tick);
    }

    stop() {
      for (const kind of KINDS) this.viewer.stage.removeEventListener(kind, this.follow);
      this.turn = (this.turn ?? 0) + 1;
      [this.at, this.place] = [null, null];
    }

    #sample() {
      if (this.at) this.place = this.viewer.placeOf(this.at); // the view may have moved below a pointer that rests
      if (!this.place) return;
      const { x, y } = this.place,
        time_ms = this.time(),
        last = this.samples.at(-1);
      if ((last && time_ms - last[0] < SAMPLE_MS) || Math.max(Math.abs(x), Math.abs(y)) > 100) return;
      if (this.samples.length >= MOST_SAMPLES) return this.on.full();
      const round = (value, digits) => Math.round(value * 10 ** digits) / 10 ** digits;
      this.samples.push([round(time_ms, 2), round(x, 6), round(y, 6)]);
      this.on.sampled();
    }
  };
})((globalThis.GazeTeach ??= {}));
