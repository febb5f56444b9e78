/* The replay's clock: when each fixation of each path is looked at. No page is needed to test it. */
"use strict";
(gaze => {
  const STEP_MS = 450; // a step's length where times are not known

  const known = value => typeof value === "number";

  /* Start of every fixation in ms, or null where a path does not know its times. */
  function starts(fixations) {
    if (fixations.length && fixations.every(f => known(f.onset_ms))) return fixations.map(f => f.onset_ms);
    if (!fixations.length || !fixations.every(f => known(f.duration_ms))) return null;
    let now = 0;
    return fixations.map(f => (now += f.duration_ms) - f.duration_ms);
  }

  function end(fixations, begun) {
    const last = fixations.length - 1;
    if (known(fixations[last].duration_ms)) return begun[last] + fixations[last].duration_ms;
    return begun[last] + STEP_MS;
  }

  /* Several paths on one clock: their own times where all of them are known, else, or where they are to go in step, the
     k-th fixations of all paths together, for at least so many steps. */
  gaze.Timeline = class Timeline {
    constructor(paths, inStep = false, leastSteps = 0) {
      const own = paths.map(path => starts(path.fixations));
      this.timed = paths.length > 0 && own.every(Boolean);
      if (this.timed && !inStep) {
        const first = Math.min(...own.map(begun => begun[0]));
        this.starts = own.map(begun => begun.map(time => time - first));
        this.length_ms = Math.max(...paths.map((path, k) => end(path.fixations, this.starts[k])));
      } else {
        this.starts = paths.map(path => path.fixations.map((_, step) => step * STEP_MS));
        this.length_ms = STEP_MS * Math.max(leastSteps, ...paths.map(path => path.fixations.length));
      }
    }

    /* The fixation of a path that is looked at, or was looked at last; -1 before the first, and where there is no such path
       (a viewer without one keeps step with another). */
    stepAt(path, time_ms) {
      const begun = this.starts[path] ?? [];
      let step = -1;
      while (step + 1 < begun.length && begun[step + 1] <= time_ms) step += 1;
      return step;
    }
  };
})((globalThis.GazeViewer ??= {}));
