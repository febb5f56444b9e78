/* Keys of the place of work, and the panel that tells them. What is not here is a key of the viewer. */
"use strict";
(teach => {
  const STEP_PX = 10,
    FINE_PX = 1;

  teach.KEYS = [
    ["1 to 9", "tick a finding (Shift and 1, 2: the tenth, the eleventh)"],
    ["0", "no finding"],
    ["Ctrl Enter", "submit, and on to the next image"],
    ["Shift Enter", "no finding, submit, and on to the next image"],
    ["N", "the next image, once this one is submitted"],
    ["T", "show or hide the tools"],
    ["arrows", "move the cursor (with Shift, one pixel at a time)"],
    ["Enter", "click at the cursor"],
    ["Z, Y", "undo, redo (also with Ctrl)"],
    ["[ ]", "select the click before, after"],
    ["M", "move the selected click with the arrows; Enter puts it down"],
    ["A", "insert the next click after the selected one"],
    ["Delete", "delete the selected click, or the last one"],
    ["C", "clear all clicks; asks first"],
    ["Esc", "leave a move, or the selection"],
    ["+ - Home End", "zoom in, out, fit, one image pixel per screen pixel"],
    ["W, I", "drag changes window and level; invert"],
    ["G, P, F", "patch grid; show or hide the clicks; full screen"],
    ["?", "this help"],
  ];

  /* Those of the image work while it has the focus; the others wherever nothing is written.

     on: digit(number, more), submitAndNext(), nothingAndNext(), next(), tools(), askClear(), help(), and the phase of the work
     in on.phase(). */
  teach.listenToKeys = (root, surface, on) => {
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const anywhere = {
      n: () => on.next(),
      t: () => on.tools(),
      "?": () => on.help(),
    };
    const onImage = {
      Enter: () => surface.place(),
      " ": () => surface.place(),
      z: () => surface.undo(),
      y: () => surface.redo(),
      "[": () => surface.selectBy(-1),
      "]": () => surface.selectBy(1),
      m: () => surface.beginMove(),
      a: () => surface.insert(),
      Delete: () => surface.remove(),
      Backspace: () => surface.remove(),
      c: () => on.askClear(),
      Escape: () => surface.escape(),
      "+": () => surface.zoom(1.4),
      "=": () => surface.zoom(1.4),
      "-": () => surface.zoom(1 / 1.4),
      Home: () => surface.viewer.fit(),
      End: () => surface.viewer.oneToOne(),
      "shift Enter": () => on.nothingAndNext(),
    };
    const withControl = { z: () => surface.undo(), y: () => surface.redo(), Z: () => surface.redo() };

    /* What a key does here and now; undefined for what is not ours. */
    const actOf = event => {
      const control = event.ctrlKey || event.metaKey,
        onStage = event.target === surface.viewer.stage,
        writing = Boolean(event.target.closest("input:not([type=checkbox], [type=radio]), textarea, select")),
        working = on.phase() === "working";
      if (control && event.key === "Enter") return working ? () => on.submitAndNext() : () => on.next();
      if (writing) return undefined;
      if (control) return working ? withControl[event.key] : undefined;
      if (event.key in anywhere) return anywhere[event.key];
      const digit = /^[0-9]$/.test(event.key) ? event.key : event.shiftKey && /^Digit([1-9])$/.exec(event.code)?.[1];
      if (digit) return working ? () => on.digit(Number(digit), event.key !== digit) : () => {};
      if (!onStage || !working) return undefined;
      const step = steps[event.key],
        size = event.shiftKey ? FINE_PX : STEP_PX;
      if (step) return () => surface.step(size * step[0], size * step[1]);
      return onImage[event.shiftKey && event.key === "Enter" ? "shift Enter" : event.key];
    };
    const heard = event => {
      const act = event.altKey ? undefined : actOf(event);
      if (!act) return;
      event.preventDefault();
      event.stopPropagation();
      act();
    };
    root.addEventListener("keydown", heard, { capture: true });
    for (const kind of ["focus", "blur"])
      surface.viewer.stage.addEventListener(kind, () => surface.viewer.refresh()); // the cursor shows with the focus
  };
})((globalThis.GazeTeach ??= {}));
