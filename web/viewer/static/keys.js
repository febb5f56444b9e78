/* Keys of the stage. */
"use strict";
(gaze => {
  gaze.listenToKeys = viewer => {
    const acts = {
      "+": () => viewer.zoom(1.4),
      "=": () => viewer.zoom(1.4),
      "-": () => viewer.zoom(1 / 1.4),
      0: () => viewer.fit(),
      1: () => viewer.oneToOne(),
      ArrowLeft: () => viewer.pan(-1, 0),
      ArrowRight: () => viewer.pan(1, 0),
      ArrowUp: () => viewer.pan(0, -1),
      ArrowDown: () => viewer.pan(0, 1),
      " ": () => viewer.playOrPause(),
      "[": () => viewer.stepBy(-1),
      "]": () => viewer.stepBy(1),
      s: () => viewer.goInStep(!viewer.inStep),
      w: () => viewer.toggle("dragWindow"),
      i: () => viewer.toggle("invert"),
      p: () => viewer.toggle("marks"),
      h: () => viewer.toggle("heat"),
      g: () => viewer.toggle("grid"),
      f: () => viewer.fullScreen(),
    };
    viewer.stage.addEventListener("keydown", event => {
      const act = acts[event.key];
      if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      act();
    });
  };
})((globalThis.GazeViewer ??= {}));
