/* Viewers that are linked: the one that was touched last, or that got a value last, leads, and the others follow it: the same
   step of the replay, the same part of the image, the same grey values. They go in step, since their times differ. */
"use strict";
(gaze => {
  const leaders = new Map(), // word that links them -> the viewer that leads
    all = new Set();
  const SHARED = ["heat", "grid", "marks", "invert"];

  gaze.Together = class Together {
    constructor(viewer) {
      this.viewer = viewer;
      all.add(viewer);
      for (const event of ["pointerdown", "wheel", "keydown", "input", "change"])
        viewer.root.addEventListener(event, () => this.lead(), { capture: true, passive: true });
    }

    get word() {
      return this.viewer.value.linked || "";
    }
    get others() {
      return this.word ? [...all].filter(one => one !== this.viewer && one.root.isConnected && one.value.linked === this.word) : [];
    }
    get leads() {
      return !this.word || leaders.get(this.word) === this.viewer;
    }

    lead() {
      if (this.leads) return;
      leaders.set(this.word, this.viewer);
      this.viewer.lastTick = null; // a replay that goes on is driven from here now
      this.viewer.refresh();
    }

    /* Steps of the longest path of any of them: a shorter one waits at its end. */
    get steps() {
      return Math.max(0, ...this.others.flatMap(one => one.value.paths.map(path => path.fixations.length)));
    }

    /* Let the others show what this one does. */
    share() {
      if (!this.word || !this.leads) return;
      const { viewer } = this;
      for (const other of this.others) {
        if (!other.value.image || other.value.width_px !== viewer.value.width_px) continue;
        other.view.follow(viewer.view);
        for (const name of SHARED) other.on[name] = viewer.on[name];
        const { center, width, inverted } = viewer.window;
        other.window.set(center, width, inverted);
        Object.assign(other, { time_ms: viewer.time_ms, playing: viewer.playing, speed: viewer.speed });
        other.controls.speed.value = String(viewer.speed);
        other.redraw();
      }
    }
  };
})((globalThis.GazeViewer ??= {}));
