/* The buttons around the stage. They hold no state: `update` shows what the viewer's is. */
"use strict";
(gaze => {
  const SPEEDS = [0.25, 0.5, 1, 2, 4],
    ON_CARD = "fixation, patch, dwell"; // terms of `facts`

  function make(tag, attributes = {}, ...children) {
    const node = document.createElement(tag);
    for (const [key, value] of Object.entries(attributes))
      if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
      else if (value !== null && value !== false) node.setAttribute(key, value === true ? "" : value);
    node.append(...children);
    return node;
  }
  gaze.make = make;

  /* Drawn, because not every system's fonts have signs for these. */
  const ICONS = {
    play: "M4 2 L14 8 L4 14 Z",
    pause: "M3 2 H7 V14 H3 Z M9 2 H13 V14 H9 Z",
    back: "M13 2 L6 8 L13 14 Z M3 2 H5 V14 H3 Z",
    forward: "M3 2 L10 8 L3 14 Z M11 2 H13 V14 H11 Z",
    full: "M2 2 H7 V4 H4 V7 H2 Z M9 2 H14 V7 H12 V4 H9 Z M2 9 H4 V12 H7 V14 H2 Z M12 9 H14 V14 H9 V12 H12 Z",
    fit: "M1 2 H15 V14 H1 Z M3 4 V12 H13 V4 Z M5 6 H11 V10 H5 Z",
    dragWindow: "M8 1 A7 7 0 0 1 8 15 A7 7 0 0 1 8 1 Z M8 3 A5 5 0 0 1 8 13 Z",
    invert: "M1 1 H15 V15 H1 Z M8 3 H13 V13 H8 Z",
    marks: "M3 9 A2.5 2.5 0 1 1 2.9 9 Z M7 2 A2.5 2.5 0 1 1 6.9 2 Z M13 8 A2.5 2.5 0 1 1 12.9 8 Z M4.5 8.5 L6 6 L7.4 6.8 L5.8 9.4 Z M9 6.6 L10.2 5.6 L12 7.6 L11 8.6 Z",
    heat: "M8 1 A7 7 0 1 1 7.9 1 Z M8 3 A5 5 0 1 0 8.1 3 Z M8 5 A3 3 0 1 1 7.9 5 Z",
    grid: "M1 1 H15 V15 H1 Z M3 3 V7 H7 V3 Z M9 3 V7 H13 V3 Z M3 9 V13 H7 V9 Z M9 9 V13 H13 V9 Z",
    menu: "M2 3 H14 V5 H2 Z M2 7 H14 V9 H2 Z M2 11 H14 V13 H2 Z",
  };
  function icon(name) {
    const node = make("span", { class: "gaze-icon", "aria-hidden": "true" });
    node.innerHTML = `<svg viewBox="0 0 16 16" width="14" height="14"><path fill="currentColor" fill-rule="evenodd" d="${ICONS[name]}"/></svg>`;
    return node;
  }

  const button = (text, label, act, extra = {}) =>
    make("button", { type: "button", "aria-label": label, title: label, onclick: act, ...extra }, text);
  const options = (pairs, chosen) =>
    pairs.map(([value, text]) => make("option", { value, selected: value === chosen }, text));

  /* Scroll a row, and nothing around it, so that one of its parts is seen. */
  function showIn(row, part) {
    const beyond = part.offsetLeft + part.offsetWidth - row.clientWidth;
    row.scrollLeft = Math.min(Math.max(row.scrollLeft, beyond), part.offsetLeft);
  }

  gaze.Controls = class Controls {
    constructor(viewer) {
      this.viewer = viewer;
      const toggle = (name, label) =>
        button(icon(name), label, () => viewer.toggle(name), { "aria-pressed": "false", "data-toggle": name });
      this.window = make(
        "select",
        { "aria-label": "Window and level", onchange: () => viewer.useWindow(this.window.value) },
        ...options(gaze.Window.presets),
      );
      this.window.append(make("option", { value: "custom", hidden: true }, "Custom window"));
      this.toolbar = make(
        "div",
        { class: "gaze-bar gaze-tools", role: "toolbar", "aria-label": "Image" },
        this.#menu(),
        button("−", "Zoom out (-)", () => viewer.zoom(1 / 1.4)),
        button("+", "Zoom in (+)", () => viewer.zoom(1.4)),
        button(icon("fit"), "Fit the whole image (0)", () => viewer.fit()),
        button("1:1", "1:1, one image pixel per screen pixel (1)", () => viewer.oneToOne()),
        this.window,
        toggle("dragWindow", "Drag changes window (left, right) and level (up, down) (W)"),
        toggle("invert", "Invert grey values (I)"),
        toggle("marks", "Show the scanpath (P)"),
        toggle("heat", "Heat map: where the model could have looked at this step (H)"),
        toggle("grid", "Show the patch grid (G)"),
        button(icon("full"), "Full screen (F)", () => viewer.fullScreen()),
      );
      this.play = button(icon("play"), "Play (space)", () => viewer.playOrPause(), { class: "gaze-play" });
      this.scrub = make("input", {
        type: "range",
        min: 0,
        step: "any",
        value: 0,
        "aria-label": "Time of the replay",
        oninput: () => viewer.seek(Number(this.scrub.value)),
      });
      this.speed = make(
        "select",
        { "aria-label": "Speed", onchange: () => viewer.setSpeed(Number(this.speed.value)) },
        ...options(
          SPEEDS.map(speed => [String(speed), `${speed}×`]),
          "1",
        ),
      );
      this.size = make(
        "select",
        { "aria-label": "What the size of a ring shows", onchange: () => viewer.sizeBy(this.size.value) },
        ...options(
          [
            ["dwell", "Size: dwell"],
            ["probability", "Size: probability"],
          ],
          "dwell",
        ),
      );
      this.beat = make(
        "select",
        {
          "aria-label": "How several paths are replayed together (S)",
          onchange: () => viewer.goInStep(this.beat.value === "step"),
        },
        ...options(
          [
            ["times", "Own times"],
            ["step", "In step"],
          ],
          "times",
        ),
      );
      this.player = make(
        "div",
        { class: "gaze-bar gaze-player", role: "toolbar", "aria-label": "Replay" },
        this.play,
        button(icon("back"), "Step back ([)", () => viewer.stepBy(-1)),
        button(icon("forward"), "Step forward (])", () => viewer.stepBy(1)),
        this.scrub,
        this.speed,
        this.beat,
        this.size,
      );
      this.clock = make("p", { class: "gaze-clock" });
      this.paths = make("div", { class: "gaze-paths" });
      this.root = make("div", { class: "gaze-replay" }, this.player, this.paths, this.clock);
    }

    /* Where there is no room for a row of tools, this opens it. */
    #menu() {
      const menu = button(
        icon("menu"),
        "Tools",
        () => menu.setAttribute("aria-expanded", String(this.toolbar.classList.toggle("gaze-open"))),
        { class: "gaze-menu", "aria-expanded": "false" },
      );
      return menu;
    }

    /* New paths: one row each, with a switch, a name and a button per fixation. */
    showPaths(paths) {
      this.root.hidden = !paths.length;
      // Disabled and not hidden, so that the image stays where it is when its paths come.
      const able = {
        marks: paths.length > 0,
        heat: paths.some(path => path.patch_probabilities),
        grid: Boolean(this.viewer.value?.grid),
      };
      for (const [name, here] of Object.entries(able))
        this.toolbar.querySelector(`[data-toggle=${name}]`).disabled = !here;
      this.showClock();
      this.paths.replaceChildren(...paths.map((path, index) => this.#row(path, index)));
    }

    /* What the replay's clock is now, and whether there is another. */
    showClock() {
      const { timeline, inStep, value } = this.viewer;
      this.scrub.max = timeline.length_ms;
      this.beat.hidden = !timeline.timed || (value?.paths.length ?? 0) < 2 || Boolean(value?.linked);
      this.beat.value = inStep ? "step" : "times";
      this.clock.textContent = value?.linked
        ? "Replayed in step with the other image."
        : !timeline.timed
        ? "Their times are not all known: replayed step by step."
        : inStep && !this.beat.hidden
          ? "Replayed in step: the first fixations of all paths together, then the second ones, and so on."
          : "Replayed with the times of the fixations.";
    }

    #row(path, index) {
      const { colors: anchors, chip } = gaze.style.roles[path.role],
        colors = gaze.orderColors(anchors, path.fixations.length);
      const steps = path.fixations.map((fixation, step) => {
        const style = `background: rgb(${colors[step].join(", ")}); color: ${gaze.inkOn(colors[step])}; ${chip}`;
        return make(
          "li",
          {},
          button(String(step + 1), gaze.describe(path, step), () => this.viewer.select(index, step), { style }),
        );
      });
      const shown = make("input", {
        type: "checkbox",
        checked: true,
        onchange: event => this.viewer.showPath(index, event.target.checked),
      });
      // what the card of a fixation says, where it can be pressed; once
      const terms = index ? "" : globalThis.GazeTerms?.mark(path.glimpses.length ? `${ON_CARD}, glimpse, attention` : ON_CARD);
      return make(
        "div",
        { class: "gaze-path", "data-role": path.role },
        make("label", {}, shown, make("span", { class: "gaze-name" }, path.name)),
        ...(terms ? [terms] : []),
        make("ol", { "aria-label": `Fixations of ${path.name}`, onkeydown: event => this.#walk(event) }, ...steps),
      );
    }

    /* The fixations of a path are one stop of the Tab key; arrows go from one to the next. */
    #walk(event) {
      const way = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!way) return;
      const buttons = [...event.currentTarget.querySelectorAll("button")],
        next = buttons[buttons.indexOf(event.target) + way];
      event.preventDefault();
      next?.click();
      next?.focus();
    }

    update() {
      const { viewer } = this;
      this.toolbar
        .querySelectorAll("[data-toggle]")
        .forEach(node => node.setAttribute("aria-pressed", String(viewer.on[node.dataset.toggle])));
      this.window.value = viewer.window.preset;
      if (this.playing !== viewer.playing) {
        this.playing = viewer.playing;
        this.play.replaceChildren(icon(viewer.playing ? "pause" : "play"));
        for (const name of ["aria-label", "title"])
          this.play.setAttribute(name, viewer.playing ? "Pause (space)" : "Play (space)");
      }
      this.scrub.value = Math.min(viewer.time_ms, viewer.timeline.length_ms);
      this.scrub.setAttribute(
        "aria-valuetext",
        `${(viewer.time_ms / 1000).toFixed(1)} of ${(viewer.timeline.length_ms / 1000).toFixed(1)} seconds`,
      );
      this.paths.querySelectorAll(".gaze-path").forEach((row, index) => {
        const step = viewer.whole ? -1 : viewer.timeline.stepAt(index, viewer.time_ms);
        row.querySelectorAll("li button").forEach((node, k) => {
          const stop = k === Math.max(step, 0) ? 0 : -1;
          if (node.tabIndex !== stop) node.tabIndex = stop;
          const now = k === step ? "step" : "false";
          if (node.getAttribute("aria-current") === now) return;
          node.setAttribute("aria-current", now);
          if (k === step) showIn(node.closest("ol"), node);
        });
      });
    }
  };

  /* One fixation in words, for the hover card and for screen readers. */
  gaze.facts = (path, step) => {
    const { patch_index, probability, duration_ms, onset_ms, zone } = path.fixations[step],
      known = value => value !== null && value !== undefined;
    return [
      zone && ["zone", zone],
      known(patch_index) && ["patch", String(patch_index)],
      known(probability) && ["probability", probability.toFixed(2)],
      known(duration_ms) ? ["dwell", `${Math.round(duration_ms)} ms`] : ["dwell", "not known"],
      known(onset_ms) && ["begins", `${(onset_ms / 1000).toFixed(2)} s`],
    ].filter(Boolean);
  };
  gaze.describe = (path, step) =>
    `${path.name}, fixation ${step + 1} of ${path.fixations.length}: ${gaze
      .facts(path, step)
      .map(pair => pair.join(" "))
      .join(", ")}`;
})((globalThis.GazeViewer ??= {}));
