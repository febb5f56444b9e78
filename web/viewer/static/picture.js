/* The image, drawn through the view; halved copies keep large images quick and free of moire when they are shown small. */
"use strict";
(gaze => {
  const SMALLEST_COPY_PX = 700,
    CRISP_FROM = 6; // device pixels per image pixel from which pixels are shown as squares

  gaze.Picture = class Picture {
    /* Resolves when the image can be drawn; rejects where the browser cannot read it. */
    async load(url) {
      const image = new Image();
      await new Promise((done, fail) => Object.assign(image, { onload: done, onerror: fail, src: url }));
      await image.decode().catch(() => {}); // too busy to decode ahead, a browser still decodes when it draws
      const copies = [{ source: image, width: image.naturalWidth, height: image.naturalHeight }];
      for (let last = copies[0]; Math.max(last.width, last.height) > 2 * SMALLEST_COPY_PX; last = copies.at(-1)) {
        const source = document.createElement("canvas");
        [source.width, source.height] = [last.width >> 1 || 1, last.height >> 1 || 1];
        const pen = source.getContext("2d");
        pen.imageSmoothingQuality = "high";
        pen.drawImage(last.source, 0, 0, source.width, source.height);
        copies.push({ source, width: source.width, height: source.height });
      }
      [this.copies, this.url] = [copies, url];
    }

    draw(pen, view, density) {
      const [left, top] = view.toScreen(0, 0);
      const width = view.image.width * view.scale,
        height = view.image.height * view.scale;
      const copy = this.copies.findLast(({ width: pixels }) => pixels >= width * density) ?? this.copies[0];
      pen.imageSmoothingEnabled = view.scale * density < CRISP_FROM;
      pen.imageSmoothingQuality = "high";
      pen.drawImage(copy.source, left, top, width, height);
    }
  };
})((globalThis.GazeViewer ??= {}));
