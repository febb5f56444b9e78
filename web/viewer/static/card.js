/* The hover card: one fixation in words. */
"use strict";
(gaze => {
  const { make } = gaze;
  const AWAY_PX = 14;

  gaze.Card = class Card {
    constructor() {
      this.node = make("div", { class: "gaze-card", hidden: true });
    }

    /* A fixation of a path at a place of the stage; null hides the card. */
    show(hit, path, stage) {
      this.node.hidden = !hit;
      if (!hit) return;
      const facts = gaze
        .facts(path, hit.step)
        .map(([name, text]) => make("div", {}, make("dt", {}, name), make("dd", {}, text)));
      this.node.replaceChildren(
        make("b", {}, `${hit.step + 1} of ${path.fixations.length}, ${path.name}`),
        make("dl", {}, ...facts),
      );
      const across = hit.x > stage.width / 2 ? `right: ${stage.width - hit.x + AWAY_PX}px` : `left: ${hit.x + AWAY_PX}px`,
        down = hit.y > stage.height / 2 ? `bottom: ${stage.height - hit.y + AWAY_PX}px` : `top: ${hit.y + AWAY_PX}px`;
      this.node.style.cssText = `${across}; ${down}`;
    }
  };
})((globalThis.GazeViewer ??= {}));
