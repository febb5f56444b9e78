/* Drawing on the overlay: rings, arrows, numbers, heat map, patch grid. All places are CSS pixels of the stage; colours,
   shapes and sizes are those of `gazevlm_core/path_style.py`, which the page's head puts into `GazeViewer.style`. */
"use strict";
(gaze => {
  function polygon(pen, corners) {
    corners.forEach(([x, y], k) => (k ? pen.lineTo(x, y) : pen.moveTo(x, y)));
    pen.closePath();
  }

  const css = ([red, green, blue], alpha = 1) => `rgba(${red}, ${green}, ${blue}, ${alpha})`;
  const halo = () => css(gaze.style.halo, gaze.style.halo_alpha);

  /* Black or white text, whichever is easier to read on a colour. */
  gaze.inkOn = ([red, green, blue]) =>
    0.299 * red + 0.587 * green + 0.114 * blue > gaze.style.light_from ? "#000" : "#fff";

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
  function scalesOf(values) {
    const [least, most] = gaze.style.size_range;
    const known = values.filter(value => typeof value === "number" && value > 0).sort((a, b) => a - b);
    if (!known.length) return values.map(() => 1);
    const half = known.length >> 1,
      median = known.length % 2 ? known[half] : (known[half - 1] + known[half]) / 2;
    return values.map(value =>
      typeof value === "number" ? Math.min(Math.max(Math.sqrt(value / median), least), most) : 1,
    );
  }

  /* What is drawn of a path: place, radius and colour of each fixation. `by` is "dwell" or "probability". */
  gaze.marksOf = (path, view, by) => {
    const { radius, radius_limits } = gaze.style.screen,
      unit = Math.min(Math.max(radius * Math.min(view.stage.width, view.stage.height), radius_limits[0]), radius_limits[1]);
    const scales = scalesOf(path.fixations.map(f => (by === "probability" ? f.probability : f.duration_ms)));
    const colors = gaze.orderColors(gaze.style.roles[path.role].colors, path.fixations.length);
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
        marks.forEach((mark, k) => k && arrow(pen, marks[k - 1], mark, gaze.style.roles[role], k <= last));
      for (const { marks, role, last, current } of paths)
        marks.forEach((mark, k) => ring(pen, mark, gaze.style.roles[role], k <= last, k === current));
      const placed = [];
      for (const { marks, last } of paths) numbers(pen, marks, last, placed);
    }
    for (const { marks, last } of paths) marks.forEach((mark, k) => k <= last && dot(pen, mark));
  };

  function ring(pen, { x, y, radius, color }, role, seen, current) {
    const { faint, fill_alpha, screen } = gaze.style,
      width = current ? screen.current : screen.line;
    pen.globalAlpha = seen ? 1 : faint;
    for (const [style, wide] of [
      [halo(), width + screen.line],
      [css(color), width],
    ]) {
      pen.beginPath();
      if (role.ring.length) polygon(pen, role.ring.map(([dx, dy]) => [x + dx * radius, y + dy * radius]));
      else pen.arc(x, y, radius, 0, 2 * Math.PI);
      [pen.strokeStyle, pen.lineWidth] = [style, wide];
      pen.stroke();
    }
    pen.fillStyle = css(color, fill_alpha);
    pen.fill();
    pen.globalAlpha = 1;
  }

  function arrow(pen, from, to, role, seen) {
    const { line, gaps, head_width, head: length } = gaze.style.screen;
    const dx = to.x - from.x,
      dy = to.y - from.y,
      distance = Math.hypot(dx, dy);
    if (distance < 1) return;
    const [ux, uy] = [dx / distance, dy / distance];
    let [leave, arrive, head] = [from.radius + gaps[0] * line, to.radius + gaps[1] * line, length];
    if (distance < leave + arrive + head) [leave, arrive, head] = [0, 0, Math.min(head, 0.6 * distance)];
    const tip = [to.x - ux * arrive, to.y - uy * arrive],
      neck = [tip[0] - ux * head, tip[1] - uy * head];
    pen.globalAlpha = seen ? 1 : gaze.style.faint;
    for (const [style, extra] of [
      [halo(), line],
      [css(to.color), 0],
    ]) {
      [pen.strokeStyle, pen.fillStyle, pen.lineWidth] = [style, style, line + extra];
      pen.setLineDash(role.dash.map(part => part * line));
      pen.beginPath();
      pen.moveTo(from.x + ux * leave, from.y + uy * leave);
      pen.lineTo(...neck);
      pen.stroke();
      pen.setLineDash([]);
      pen.beginPath();
      const half = head_width * head + extra / 2;
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
    const { halo: rim, dot: core, screen } = gaze.style;
    for (const [color, radius] of [
      [rim, screen.dot * (1 + screen.dot_rim)],
      [core, screen.dot],
    ]) {
      pen.beginPath();
      pen.arc(x, y, radius, 0, 2 * Math.PI);
      pen.fillStyle = css(color);
      pen.fill();
    }
  }

  /* Numbers beside the rings, each on the side where it hides least. */
  function numbers(pen, marks, last, placed) {
    const { number: height, text: share, padding, border } = gaze.style.screen;
    pen.font = `600 ${share * height}px system-ui, sans-serif`;
    [pen.textAlign, pen.textBaseline] = ["center", "middle"];
    marks.forEach((mark, k) => {
      const text = String(k + 1),
        half = [pen.measureText(text).width / 2 + padding * height, height / 2];
      const [x, y] = freePlace(mark, k, marks, placed, half);
      placed.push([x, y, half[0]]);
      pen.globalAlpha = k <= last ? 1 : gaze.style.faint;
      pen.beginPath();
      pen.roundRect(x - half[0], y - half[1], 2 * half[0], 2 * half[1], half[1]);
      [pen.fillStyle, pen.strokeStyle, pen.lineWidth] = [css(mark.color), halo(), border * height];
      pen.fill();
      pen.stroke();
      pen.fillStyle = gaze.inkOn(mark.color);
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
  gaze.drawHeat = (pen, view, grid, probabilities) => {
    const { heat, heat_alpha, heat_least } = gaze.style;
    const most = Math.max(...probabilities),
      ramp = gaze.orderColors(heat, 64);
    if (!(most > 0)) return;
    forEachPatch(view, grid, (patch, x, y, width, height) => {
      const share = probabilities[patch] / most;
      if (share < heat_least) return;
      pen.fillStyle = css(ramp[Math.round(share * 63)], heat_alpha[0] + heat_alpha[1] * share);
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
