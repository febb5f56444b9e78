/* The heat map of one step: smooth between the middles of the patches, with a legend. Colours are those of path_style.py. */
"use strict";
(gaze => {
  const FINE = 8, // pixels of the map along a patch
    LEVELS = 64;

  /* A picture of a step's probabilities, relative to the largest; made once for each step. */
  const pictures = new WeakMap();
  function pictureOf(grid, probabilities) {
    if (!pictures.has(probabilities)) pictures.set(probabilities, paint(grid, probabilities));
    return pictures.get(probabilities);
  }

  function paint({ rows, cols }, probabilities) {
    const canvas = document.createElement("canvas"),
      ramp = gaze.orderColors(gaze.style.heat, LEVELS),
      [least, most] = gaze.style.heat_alpha,
      largest = Math.max(...probabilities);
    [canvas.width, canvas.height] = [cols * FINE, rows * FINE];
    const pen = canvas.getContext("2d"),
      image = pen.createImageData(canvas.width, canvas.height);
    // along one axis: the two patches whose middles lie around a pixel, and how near it is to the second
    const around = (pixel, count) => {
      const place = Math.min(Math.max((pixel + 0.5) / FINE - 0.5, 0), count - 1),
        low = Math.min(Math.floor(place), Math.max(count - 2, 0));
      return [low, Math.min(low + 1, count - 1), place - low];
    };
    for (let y = 0; y < canvas.height; y += 1) {
      const [top, bottom, down] = around(y, rows);
      for (let x = 0; x < canvas.width; x += 1) {
        const [left, right, along] = around(x, cols);
        const row = at => probabilities[at * cols + left] * (1 - along) + probabilities[at * cols + right] * along;
        const share = largest > 0 ? (row(top) * (1 - down) + row(bottom) * down) / largest : 0;
        const color = ramp[Math.round(share * (LEVELS - 1))];
        image.data.set([...color, Math.round(255 * (least + (most - least) * share))], 4 * (y * canvas.width + x));
      }
    }
    pen.putImageData(image, 0, 0);
    return canvas;
  }

  gaze.drawHeat = (pen, view, grid, probabilities) => {
    const [left, top] = view.toScreen(0, 0);
    pen.imageSmoothingEnabled = true;
    pen.drawImage(pictureOf(grid, probabilities), left, top, view.image.width * view.scale, view.image.height * view.scale);
  };

  /* What the colours mean, and of which step. */
  gaze.Legend = class Legend {
    constructor() {
      const colors = gaze.style?.heat.map(color => `rgb(${color.join(", ")})`) ?? [];
      this.title = gaze.make("b");
      this.most = gaze.make("span");
      const bar = gaze.make("i", { style: `background: linear-gradient(to right, ${colors.join(", ")})` });
      this.node = gaze.make("div", { class: "gaze-legend", hidden: true }, this.title, gaze.make("span", {}, "0%"), bar, this.most);
    }

    /* null hides it. */
    show(step, probabilities) {
      this.node.hidden = !probabilities;
      if (!probabilities) return;
      this.title.textContent = `Where fixation ${step + 1} could go`;
      const most = 100 * Math.max(...probabilities);
      this.most.textContent = `${most.toFixed(most < 10 ? 1 : 0)}%`;
    }
  };
})((globalThis.GazeViewer ??= {}));
