/* The view: one affine map from image pixels to CSS pixels of the stage. No page is needed to test it. */
"use strict";
(gaze => {
  const DEEPEST = 40; // CSS pixels per image pixel
  const KEPT_PX = 48; // of the image, at least, stays on the stage

  gaze.View = class View {
    constructor() {
      this.image = { width: 1, height: 1 };
      this.stage = { width: 1, height: 1 };
      this.fit();
    }

    get fitScale() {
      return Math.min(this.stage.width / this.image.width, this.stage.height / this.image.height);
    }

    toScreen(x_px, y_px) {
      return [x_px * this.scale + this.left, y_px * this.scale + this.top];
    }

    toImage(x, y) {
      return [(x - this.left) / this.scale, (y - this.top) / this.scale];
    }

    /* The whole image, centred. Stays so when the stage changes its size, until somebody zooms or pans. */
    fit() {
      this.fitted = true;
      this.scale = this.fitScale;
      this.left = (this.stage.width - this.image.width * this.scale) / 2;
      this.top = (this.stage.height - this.image.height * this.scale) / 2;
    }

    /* A new scale; what lies under (x, y) of the stage stays there. */
    zoomTo(scale, x = this.stage.width / 2, y = this.stage.height / 2) {
      const [imageX, imageY] = this.toImage(x, y);
      const least = Math.min(this.fitScale, 1) / 2;
      this.scale = Math.min(Math.max(scale, least), Math.max(DEEPEST, this.fitScale));
      this.left = x - imageX * this.scale;
      this.top = y - imageY * this.scale;
      this.fitted = false;
      this.#keep();
    }

    /* Out until the whole image is seen, and no further. */
    zoomBy(factor, x, y) {
      if (factor < 1 && this.scale * factor <= this.fitScale) this.fit();
      else this.zoomTo(this.scale * factor, x, y);
    }

    panBy(dx, dy) {
      this.left += dx;
      this.top += dy;
      this.fitted = false;
      this.#keep();
    }

    /* A new size of the stage; its centre keeps its place in the image. */
    resize(width, height) {
      const [x, y] = this.toImage(this.stage.width / 2, this.stage.height / 2);
      this.stage = { width, height };
      if (this.fitted) return this.fit();
      this.left = width / 2 - x * this.scale;
      this.top = height / 2 - y * this.scale;
      this.#keep();
    }

    /* The same part of the image as another view of it, whatever the sizes of the two stages. */
    follow(other) {
      if (other.fitted) return this.fit();
      const [x, y] = other.toImage(other.stage.width / 2, other.stage.height / 2);
      this.scale = (other.scale / other.fitScale) * this.fitScale;
      this.left = this.stage.width / 2 - x * this.scale;
      this.top = this.stage.height / 2 - y * this.scale;
      this.fitted = false;
    }

    /* Another image of the same size keeps the view; any other is fitted. */
    show(width, height) {
      if (this.image.width === width && this.image.height === height) return;
      this.image = { width, height };
      this.fit();
    }

    #keep() {
      const bound = (start, length, room) => Math.min(Math.max(start, KEPT_PX - length), room - KEPT_PX);
      this.left = bound(this.left, this.image.width * this.scale, this.stage.width);
      this.top = bound(this.top, this.image.height * this.scale, this.stage.height);
    }
  };
})((globalThis.GazeViewer ??= {}));
