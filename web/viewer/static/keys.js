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
    // Of a path that can be changed; false where there is nothing to do, and the key is somebody else's.
    const { steer } = viewer;
    Object.assign(acts, {
      a: () => steer.able && steer.addAt(viewer.middle),
      Delete: () => steer.chosen.length > 0 && steer.deleteChosen(),
      Backspace: () => steer.chosen.length > 0 && steer.deleteChosen(),
      Escape: () => steer.adding && steer.setAdding(false),
    });
    const undos = { z: event => steer.able && steer.go(event.shiftKey ? 1 : -1), y: () => steer.able && steer.go(1) };
    const nudges = {
      ArrowLeft: () => steer.nudge(-1, 0),
      ArrowRight: () => steer.nudge(1, 0),
      ArrowUp: () => steer.nudge(0, -1),
      ArrowDown: () => steer.nudge(0, 1),
    };
    viewer.stage.addEventListener("keydown", event => {
      if (event.altKey) return;
      const tried =
        event.ctrlKey || event.metaKey
          ? [undos[event.key.toLowerCase()]]
          : [event.shiftKey && nudges[event.key], acts[event.key]];
      if (tried.some(act => act && act(event) !== false)) event.preventDefault();
    });
  };
})((globalThis.GazeViewer ??= {}));
