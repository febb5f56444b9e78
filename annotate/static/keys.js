/* Keys of the surface, and the panel that tells them. What is not here is a key of the viewer. */
"use strict";
(teach => {
  const STEP_PX = 10,
    FINE_PX = 1;

  teach.KEYS = [
    ["arrows", "move the cursor (with Shift, one pixel at a time)"],
    ["Enter", "click at the cursor"],
    ["z, y", "undo, redo (also with Ctrl)"],
    ["[ ]", "select the click before, after"],
    ["m", "move the selected click with the arrows; Enter puts it down"],
    ["n", "insert the next click after the selected one"],
    ["Delete", "delete the selected click, or the last one"],
    ["c", "clear all clicks; asks first"],
    ["Esc", "leave a move, or the selection"],
    ["+ - 0 1", "zoom in, out, fit, one image pixel per screen pixel"],
    ["w, i", "drag changes window and level; invert"],
    ["g, p, f", "patch grid; show or hide the clicks; full screen"],
    ["?", "this help"],
  ];

  teach.listenToKeys = (root, surface, on) => {
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const acts = {
      Enter: () => surface.place(),
      " ": () => surface.place(),
      z: () => surface.undo(),
      y: () => surface.redo(),
      "ctrl z": () => surface.undo(),
      "ctrl y": () => surface.redo(),
      "ctrl Z": () => surface.redo(),
      "[": () => surface.selectBy(-1),
      "]": () => surface.selectBy(1),
      m: () => surface.beginMove(),
      n: () => surface.insert(),
      Delete: () => surface.remove(),
      Backspace: () => surface.remove(),
      c: () => on.askClear(),
      Escape: () => surface.escape(),
      "+": () => surface.zoom(1.4),
      "=": () => surface.zoom(1.4),
      "-": () => surface.zoom(1 / 1.4),
      "?": () => on.help(),
    };
    const heard = event => {
      if (surface.locked || event.altKey) return;
      const onStage = event.target === surface.viewer.stage,
        control = event.ctrlKey || event.metaKey;
      const step = onStage && !control && steps[event.key];
      const act = acts[control ? `ctrl ${event.key}` : event.key];
      // Elsewhere than on the stage, keys belong to what has the focus; undo works wherever nothing is written.
      if (!step && !(act && (onStage || (control && !event.target.closest("input, textarea, select"))))) return;
      event.preventDefault();
      event.stopPropagation();
      if (step) {
        const size = event.shiftKey ? FINE_PX : STEP_PX;
        return surface.step(size * step[0], size * step[1]);
      }
      act();
    };
    root.addEventListener("keydown", heard, { capture: true });
    for (const kind of ["focus", "blur"])
      surface.viewer.stage.addEventListener(kind, () => surface.viewer.refresh()); // the cursor shows with the focus
  };
})((globalThis.GazeTeach ??= {}));
