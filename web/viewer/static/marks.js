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

  const linear = value => (value <= 0.04045 * 255 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4);

  /* Black or white text, whichever is easier to read on a colour: by its contrast, as WCAG 2.2 has it. */
  gaze.inkOn = ([red, green, blue]) =>
    0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue) > gaze.style.light_from ? "#000" : "#fff";

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

  /* Steps of a path by place, in the order of first visits; as `visits` of path_style.py. */
  gaze.visits = (places, reach) => {
    const found = [];
    places.forEach((place, step) => {
      let [nearest, least] = [null, Infinity];
      for (const steps of found) {
        const distance = Math.hypot(place.x - places[steps[0]].x, place.y - places[steps[0]].y);
        if (distance < least) [nearest, least] = [steps, distance];
      }
      if (nearest && least <= reach) nearest.push(step);
      else found.push([step]);
    });
    return found;
  };

  /* The numbers on a place's mark, e.g. "2 · 4". */
  gaze.visitsLabel = steps => {
    const { named } = gaze.style;
    return steps.slice(0, named).map(step => step + 1).join(" · ") + (steps.length > named ? " …" : "");
  };

  const total = values => (values.every(value => typeof value === "number") ? values.reduce((a, b) => a + b, 0) : null);

  /* What is drawn of a path: of each fixation its place and colour, the radius of its place's ring, and all visits to it.
     `by` is "dwell" or "probability". */
  gaze.marksOf = (path, view, by) => {
    const { radius, radius_limits } = gaze.style.screen,
      unit = Math.min(Math.max(radius * Math.min(view.stage.width, view.stage.height), radius_limits[0]), radius_limits[1]);
    const marks = path.fixations.map(f => {
      const [x, y] = view.toScreen(f.x * view.image.width, f.y * view.image.height);
      return { x, y };
    });
    const places = gaze.visits(marks, gaze.style.repeat * unit);
    const value = ({ probability, duration_ms }) => (by === "probability" ? probability : duration_ms);
    const scales = scalesOf(places.map(steps => total(steps.map(step => value(path.fixations[step])))));
    const colors = gaze.orderColors(gaze.style.roles[path.role].colors, path.fixations.length);
    places.forEach((visits, place) =>
      visits.forEach(step => Object.assign(marks[step], { visits, radius: unit * scales[place], color: colors[step] })),
    );
    return marks;
  };

  const homeOf = (marks, step) => marks[marks[step].visits[0]];

  /* Paths { marks, role, last, current, since, lit }: fixations from `since` (the first, unless it is given) to `last`; the
     others stay faint. `lit` is a Map of steps that something points at. Without `detail` there are only the dots, which
     mark the exact places. */
  gaze.drawPaths = (pen, paths, detail) => {
    const shown = ({ last, since = 0 }, step) => step >= since && step <= last;
    if (detail) {
      for (const path of paths)
        path.marks.forEach((mark, step) => {
          const [from, to] = [step && homeOf(path.marks, step - 1), homeOf(path.marks, step)];
          if (step && from !== to) arrow(pen, from, to, mark.color, gaze.style.roles[path.role], shown(path, step));
        });
      for (const path of paths)
        path.marks.forEach((mark, step) => {
          if (mark.visits[0] !== step) return;
          const current = mark.visits.includes(path.current),
            color = current ? path.marks[path.current].color : mark.color;
          const lit = mark.visits.some(visit => path.lit?.has(visit));
          const seen = lit || mark.visits.some(visit => shown(path, visit));
          ring(pen, { ...mark, color }, gaze.style.roles[path.role], seen, current || lit, lit);
        });
      const placed = [];
      for (const path of paths) numbers(pen, path, shown, placed);
    }
    dots(pen, paths.flatMap(({ marks, last }) => marks.slice(0, last + 1)));
  };

  function outline(pen, { x, y }, radius, role) {
    pen.beginPath();
    if (role.ring.length) polygon(pen, role.ring.map(([dx, dy]) => [x + dx * radius, y + dy * radius]));
    else pen.arc(x, y, radius, 0, 2 * Math.PI);
  }

  function ring(pen, mark, role, seen, thick, lit) {
    const { faint, fill_alpha, screen, dot: glow } = gaze.style,
      width = thick ? screen.current : screen.line;
    pen.globalAlpha = seen ? 1 : faint;
    if (lit) {
      outline(pen, mark, mark.radius + width + screen.line, role);
      [pen.strokeStyle, pen.lineWidth] = [css(glow), screen.line];
      pen.stroke();
    }
    outline(pen, mark, mark.radius, role);
    for (const [style, wide] of [
      [halo(), width + screen.line],
      [css(mark.color), width],
    ]) {
      [pen.strokeStyle, pen.lineWidth] = [style, wide];
      pen.stroke();
    }
    pen.fillStyle = css(mark.color, fill_alpha);
    pen.fill();
    pen.globalAlpha = 1;
  }

  const towards = (from, to) => {
    const distance = Math.hypot(to.x - from.x, to.y - from.y);
    return [(to.x - from.x) / distance, (to.y - from.y) / distance];
  };

  /* A bent line with a head, from rim to rim; as `_draw_arrow` of overlay.py. */
  function arrow(pen, from, to, color, role, seen) {
    const { bend, screen } = gaze.style,
      { line, gaps, head_width, head: length } = screen;
    const [dx, dy] = [to.x - from.x, to.y - from.y],
      distance = Math.hypot(dx, dy);
    if (distance < 1) return;
    let [leave, arrive, head] = [from.radius + gaps[0] * line, to.radius + gaps[1] * line, length];
    if (distance < leave + arrive + head) [leave, arrive, head] = [0, 0, Math.min(head, 0.6 * distance)];
    const corner = { x: from.x + dx / 2 + 2 * bend * dy, y: from.y + dy / 2 - 2 * bend * dx };
    const [fromX, fromY] = towards(from, corner),
      [ux, uy] = towards(corner, to);
    const tip = [to.x - ux * arrive, to.y - uy * arrive],
      neck = [tip[0] - ux * head, tip[1] - uy * head];
    pen.globalAlpha = seen ? 1 : gaze.style.faint;
    for (const [style, extra] of [
      [halo(), line],
      [css(color), 0],
    ]) {
      [pen.strokeStyle, pen.fillStyle, pen.lineWidth] = [style, style, line + extra];
      pen.setLineDash(role.dash.map(part => part * line));
      pen.beginPath();
      pen.moveTo(from.x + fromX * leave, from.y + fromY * leave);
      pen.quadraticCurveTo(corner.x, corner.y, ...neck);
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

  /* The exact places: white dots with dark rims; every rim first, so that no dot is covered by another's. */
  function dots(pen, marks) {
    const { halo: rim, dot: core, screen } = gaze.style;
    for (const [color, radius] of [
      [rim, screen.dot * (1 + screen.dot_rim)],
      [core, screen.dot],
    ])
      for (const { x, y } of marks) {
        pen.beginPath();
        pen.arc(x, y, radius, 0, 2 * Math.PI);
        pen.fillStyle = css(color);
        pen.fill();
      }
  }

  /* Numbers beside the rings, each on the side where it hides least. */
  function numbers(pen, path, shown, placed) {
    const { number: height, text: share, padding, border } = gaze.style.screen,
      { marks } = path,
      { a, d } = pen.getTransform(),
      stage = [pen.canvas.width / a, pen.canvas.height / d];
    pen.font = `600 ${share * height}px system-ui, sans-serif`;
    [pen.textAlign, pen.textBaseline] = ["center", "middle"];
    marks.forEach((mark, step) => {
      if (mark.visits[0] !== step) return;
      const text = gaze.visitsLabel(mark.visits),
        half = [Math.max(pen.measureText(text).width / 2 + padding * height, height / 2), height / 2];
      const [x, y] = freePlace(mark, marks, placed, half, stage);
      placed.push([x, y, half[0]]);
      pen.globalAlpha = mark.visits.some(visit => shown(path, visit)) ? 1 : gaze.style.faint;
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

  /* Where the ways to and from a place lead, as angles. */
  function ways(mark, marks) {
    return mark.visits
      .flatMap(step => [step - 1, step + 1])
      .filter(step => marks[step] && marks[step].visits !== mark.visits)
      .map(step => homeOf(marks, step))
      .map(other => Math.atan2(other.y - mark.y, other.x - mark.x));
  }

  function freePlace(mark, marks, placed, half, stage) {
    const neighbours = ways(mark, marks);
    let best = null;
    for (const reach of [1, 2.2])
      for (let turn = 0; turn < 8; turn += 1) {
        const angle = -Math.PI / 4 + (turn * Math.PI) / 4,
          away = mark.radius + half[1] * reach + 2;
        const [x, y] = [mark.x + Math.cos(angle) * (away + half[0] - half[1]), mark.y + Math.sin(angle) * away];
        let cost = reach + 0.05 * turn;
        cost += 20 * [x, y].some((middle, axis) => middle < half[axis] || middle > stage[axis] - half[axis]); // out of sight
        for (const direction of neighbours) cost += 2 * (Math.cos(angle - direction) > 0.75);
        for (const [otherX, otherY, width] of placed)
          cost += 12 * (Math.abs(x - otherX) < half[0] + width && Math.abs(y - otherY) < 2 * half[1]);
        for (const other of marks) cost += 5 * (Math.hypot(x - other.x, y - other.y) < half[0] + 5);
        if (!best || cost < best.cost) best = { cost, at: [x, y] };
      }
    return best.at;
  }

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

  /* The edge of a window (fractions of the image) that was seen closely. */
  gaze.drawWindow = (pen, view, left, upper, right, lower) => {
    const { width, height } = view.image,
      [x, y] = view.toScreen(left * width, upper * height),
      size = [(right - left) * width * view.scale, (lower - upper) * height * view.scale];
    for (const [style, wide] of [
      [halo(), 4],
      [css(gaze.style.dot), 2],
    ]) {
      [pen.strokeStyle, pen.lineWidth] = [style, wide];
      pen.strokeRect(x, y, ...size);
    }
  };

  /* Number of the patch under a place (fractions), counted as `PatchGrid.index_of` does. */
  gaze.patchAt = ({ rows, cols }, x, y) => Math.floor(y * rows) * cols + Math.floor(x * cols);

  /* The outline of one patch. */
  gaze.drawPatch = (pen, view, { rows, cols }, patch) => {
    const [col, row] = [patch % cols, Math.floor(patch / cols)],
      [left, top] = view.toScreen((col * view.image.width) / cols, (row * view.image.height) / rows);
    [pen.strokeStyle, pen.lineWidth] = ["rgba(255, 255, 255, 0.8)", 1.5];
    pen.strokeRect(left, top, (view.image.width * view.scale) / cols, (view.image.height * view.scale) / rows);
  };
})((globalThis.GazeViewer ??= {}));
