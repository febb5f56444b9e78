/* Drawing on the overlay: rings, arrows, numbers, heat map, patch grid. All places are CSS pixels of the stage. */
"use strict";
(gaze => {
  const HALO = "rgba(0, 0, 0, 0.75)",
    FAINT = 0.22;
  const RADIUS_SHARE = 0.024,
    RADIUS_PX = [7, 14],
    SIZE_RANGE = [0.7, 1.6];
  const SHAPES = {
    model: { dash: [], ring: (pen, x, y, r) => pen.arc(x, y, r, 0, 2 * Math.PI) },
    reader: {
      dash: [6, 4],
      ring: (pen, x, y, r) =>
        polygon(pen, [
          [x, y - 1.2 * r],
          [x + 1.2 * r, y],
          [x, y + 1.2 * r],
          [x - 1.2 * r, y],
        ]),
    },
    "second model": { dash: [2, 4], ring: (pen, x, y, r) => pen.rect(x - 0.9 * r, y - 0.9 * r, 1.8 * r, 1.8 * r) },
  };

  function polygon(pen, corners) {
    corners.forEach(([x, y], k) => (k ? pen.lineTo(x, y) : pen.moveTo(x, y)));
    pen.closePath();
  }

  const css = ([red, green, blue], alpha = 1) => `rgba(${red}, ${green}, ${blue}, ${alpha})`;

  /* Colours of `count` fixations, first to last, along a list of anchors. */
  gaze.orderColors = (anchors, count) =>
    Array.from({ length: count }, (_, k) => {
      const place = count > 1 ? (k * (anchors.length - 1)) / (count - 1) : 0,
        low = Math.min(Math.floor(place), anchors.length - 2);
      return anchors[low].map((value, channel) =>
        Math.round(value + (place - low) * (anchors[low + 1][channel] - value)),
      );
    });

  /* Area follows the value over the path's median, within limits; 1 where a value is not known. */
  function sizes(values) {
    const known = values.filter(value => typeof value === "number" && value > 0).sort((a, b) => a - b);
    if (!known.length) return values.map(() => 1);
    const half = known.length >> 1,
      median = known.length % 2 ? known[half] : (known[half - 1] + known[half]) / 2;
    return values.map(value =>
      typeof value === "number" ? Math.min(Math.max(Math.sqrt(value / median), SIZE_RANGE[0]), SIZE_RANGE[1]) : 1,
    );
  }

  /* What is drawn of a path: place, radius and colour of each fixation. `by` is "dwell" or "probability". */
  gaze.marksOf = (path, view, anchors, by) => {
    const unit = Math.min(
      Math.max(RADIUS_SHARE * Math.min(view.stage.width, view.stage.height), RADIUS_PX[0]),
      RADIUS_PX[1],
    );
    const scales = sizes(path.fixations.map(f => (by === "probability" ? f.probability : f.duration_ms)));
    const colors = gaze.orderColors(anchors, path.fixations.length);
    return path.fixations.map((f, k) => {
      const [x, y] = view.toScreen(f.x * view.image.width, f.y * view.image.height);
      return { x, y, radius: unit * scales[k], color: colors[k] };
    });
  };

  /* Paths { marks, role, last, current }: up to and with fixation `last`; what comes later stays faint. Without `detail`
     there are only the dots, which mark the exact places. */
  gaze.drawPaths = (pen, paths, detail) => {
    if (detail) {
      for (const { marks, role, last } of paths)
        marks.forEach((mark, k) => k && arrow(pen, marks[k - 1], mark, SHAPES[role], k <= last));
      for (const { marks, role, last, current } of paths)
        marks.forEach((mark, k) => ring(pen, mark, SHAPES[role], k <= last, k === current));
      const placed = [];
      for (const { marks, last } of paths) numbers(pen, marks, last, placed);
    }
    for (const { marks, last } of paths) marks.forEach((mark, k) => k <= last && dot(pen, mark));
  };

  function ring(pen, mark, shape, seen, current) {
    pen.globalAlpha = seen ? 1 : FAINT;
    for (const [style, width] of [
      [HALO, current ? 6 : 4],
      [css(mark.color), current ? 4 : 2],
    ]) {
      pen.beginPath();
      shape.ring(pen, mark.x, mark.y, mark.radius);
      [pen.strokeStyle, pen.lineWidth] = [style, width];
      pen.stroke();
    }
    pen.fillStyle = css(mark.color, 0.18);
    pen.fill();
    pen.globalAlpha = 1;
  }

  function arrow(pen, from, to, shape, seen) {
    const dx = to.x - from.x,
      dy = to.y - from.y,
      distance = Math.hypot(dx, dy);
    if (distance < 1) return;
    const [ux, uy] = [dx / distance, dy / distance];
    let [leave, arrive, head] = [from.radius + 2, to.radius + 4, 9];
    if (distance < leave + arrive + head) [leave, arrive, head] = [0, 0, Math.min(head, 0.6 * distance)];
    const tip = [to.x - ux * arrive, to.y - uy * arrive],
      neck = [tip[0] - ux * head, tip[1] - uy * head];
    pen.globalAlpha = seen ? 1 : FAINT;
    for (const [style, extra] of [
      [HALO, 2],
      [css(to.color), 0],
    ]) {
      [pen.strokeStyle, pen.fillStyle, pen.lineWidth] = [style, style, 2 + extra];
      pen.setLineDash(shape.dash);
      pen.beginPath();
      pen.moveTo(from.x + ux * leave, from.y + uy * leave);
      pen.lineTo(...neck);
      pen.stroke();
      pen.setLineDash([]);
      pen.beginPath();
      const half = 0.45 * head + extra / 2;
      polygon(pen, [
        [tip[0] + ux * extra, tip[1] + uy * extra],
        [neck[0] - uy * half, neck[1] + ux * half],
        [neck[0] + uy * half, neck[1] - ux * half],
      ]);
      pen.fill();
    }
    pen.globalAlpha = 1;
  }

  /* The exact place: a white dot with a dark rim. */
  function dot(pen, { x, y }) {
    for (const [style, radius] of [
      ["#000", 4.5],
      ["#fff", 3],
    ]) {
      pen.beginPath();
      pen.arc(x, y, radius, 0, 2 * Math.PI);
      pen.fillStyle = style;
      pen.fill();
    }
  }

  /* Numbers beside the rings, each on the side where it hides least. */
  function numbers(pen, marks, last, placed) {
    pen.font = "600 11px system-ui, sans-serif";
    [pen.textAlign, pen.textBaseline] = ["center", "middle"];
    marks.forEach((mark, k) => {
      const text = String(k + 1),
        half = [pen.measureText(text).width / 2 + 4, 8];
      const [x, y] = freePlace(mark, k, marks, placed, half);
      placed.push([x, y, half[0]]);
      pen.globalAlpha = k <= last ? 1 : FAINT;
      pen.beginPath();
      pen.roundRect(x - half[0], y - half[1], 2 * half[0], 2 * half[1], half[1]);
      [pen.fillStyle, pen.strokeStyle, pen.lineWidth] = [css(mark.color), HALO, 1.5];
      pen.fill();
      pen.stroke();
      const [red, green, blue] = mark.color;
      pen.fillStyle = 0.299 * red + 0.587 * green + 0.114 * blue > 110 ? "#000" : "#fff";
      pen.fillText(text, x, y + 0.5);
    });
    pen.globalAlpha = 1;
  }

  function freePlace(mark, k, marks, placed, half) {
    const neighbours = [marks[k - 1], marks[k + 1]]
      .filter(Boolean)
      .map(other => Math.atan2(other.y - mark.y, other.x - mark.x));
    let best = null;
    for (const reach of [1, 2.2])
      for (let turn = 0; turn < 8; turn += 1) {
        const angle = -Math.PI / 4 + (turn * Math.PI) / 4,
          away = mark.radius + half[1] * reach + 2;
        const [x, y] = [mark.x + Math.cos(angle) * (away + half[0] - half[1]), mark.y + Math.sin(angle) * away];
        let cost = reach + 0.05 * turn;
        for (const direction of neighbours) cost += 2 * (Math.cos(angle - direction) > 0.75);
        for (const [otherX, otherY, width] of placed)
          cost += 12 * (Math.abs(x - otherX) < half[0] + width && Math.abs(y - otherY) < 2 * half[1]);
        for (const other of marks) cost += 5 * (Math.hypot(x - other.x, y - other.y) < half[0] + 5);
        if (!best || cost < best.cost) best = { cost, at: [x, y] };
      }
    return best.at;
  }

  /* One cell per patch; alpha and colour grow with the probability, relative to the largest of the step. */
  gaze.drawHeat = (pen, view, grid, probabilities, anchors) => {
    const most = Math.max(...probabilities),
      ramp = gaze.orderColors(anchors, 64);
    if (!(most > 0)) return;
    forEachPatch(view, grid, (patch, x, y, width, height) => {
      const share = probabilities[patch] / most;
      if (share < 0.02) return;
      pen.fillStyle = css(ramp[Math.round(share * 63)], 0.15 + 0.45 * share);
      pen.fillRect(x, y, width, height);
    });
  };

  gaze.drawGrid = (pen, view, grid) => {
    const [left, top] = view.toScreen(0, 0),
      [right, bottom] = view.toScreen(view.image.width, view.image.height);
    pen.beginPath();
    for (let col = 0; col <= grid.cols; col += 1) {
      const x = left + ((right - left) * col) / grid.cols;
      pen.moveTo(x, top);
      pen.lineTo(x, bottom);
    }
    for (let row = 0; row <= grid.rows; row += 1) {
      const y = top + ((bottom - top) * row) / grid.rows;
      pen.moveTo(left, y);
      pen.lineTo(right, y);
    }
    [pen.strokeStyle, pen.lineWidth] = ["rgba(255, 255, 255, 0.35)", 1];
    pen.stroke();
  };

  /* Number of the patch under a place (fractions), counted as `PatchGrid.index_of` does. */
  gaze.patchAt = ({ rows, cols }, x, y) => Math.floor(y * rows) * cols + Math.floor(x * cols);

  /* The outline of one patch. */
  gaze.drawPatch = (pen, view, grid, chosen) => {
    [pen.strokeStyle, pen.lineWidth] = ["rgba(255, 255, 255, 0.8)", 1.5];
    forEachPatch(view, grid, (patch, ...box) => patch === chosen && pen.strokeRect(...box));
  };

  function forEachPatch(view, grid, draw) {
    const [left, top] = view.toScreen(0, 0),
      width = (view.image.width * view.scale) / grid.cols,
      height = (view.image.height * view.scale) / grid.rows;
    for (let patch = 0; patch < grid.rows * grid.cols; patch += 1)
      draw(patch, left + (patch % grid.cols) * width, top + Math.floor(patch / grid.cols) * height, width, height);
  }
})((globalThis.GazeViewer ??= {}));
