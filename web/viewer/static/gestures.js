/* Mouse, pen and touch on the stage: drag, wheel, pinch, click. Keys are in keys.js. */
"use strict";
(gaze => {
  const CLICK_REACH_PX = 5,
    LINE_PX = 16,
    WHEEL_STEP = 0.0016,
    PINCH_WHEEL_STEP = 0.01;

  /* Where on a layer an event is, in CSS pixels. */
  gaze.placeOn = (layer, event) => {
    const box = layer.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };

  /* Calls on.drag(dx, dy, event), on.zoom(factor, x, y), on.click(event), on.move(event), on.leave(); places are CSS pixels of
     the layer. Where on.grab(event) is true, the one pointer holds something: on.carry(event) and on.release(event) instead of
     on.drag, and on.release(null) where a second finger or the system ends it; a press without a move is still a click. */
  gaze.listenToPointers = (stage, layer, on) => {
    const down = new Map(); // pointer id -> last event
    let travelled = 0,
      pinched = false,
      held = false;

    const place = event => gaze.placeOn(layer, event);
    const spread = () => {
      const [[ax, ay], [bx, by]] = [...down.values()].map(place);
      return { x: (ax + bx) / 2, y: (ay + by) / 2, distance: Math.max(Math.hypot(ax - bx, ay - by), 1) };
    };

    const letGo = event => {
      if (held) on.release(event);
      held = false;
    };

    stage.addEventListener("pointerdown", event => {
      if (event.target.closest("button, input, select") || down.size === 2) return;
      stage.setPointerCapture(event.pointerId);
      if (!down.size) [travelled, pinched, held] = [0, false, on.grab(event)];
      down.set(event.pointerId, event);
      if (down.size === 2) {
        pinched = true;
        letGo(null);
      }
    });

    stage.addEventListener("pointermove", event => {
      const before = down.get(event.pointerId);
      if (!before) return on.move(event);
      const from = down.size === 2 ? spread() : null;
      down.set(event.pointerId, event);
      if (from) {
        const to = spread();
        on.zoom(to.distance / from.distance, from.x, from.y);
        return on.drag(to.x - from.x, to.y - from.y, null);
      }
      const dx = event.clientX - before.clientX,
        dy = event.clientY - before.clientY;
      travelled += Math.hypot(dx, dy);
      if (travelled > CLICK_REACH_PX) held ? on.carry(event) : on.drag(dx, dy, event);
    });

    stage.addEventListener("pointerup", event => {
      if (!down.delete(event.pointerId)) return;
      const clicked = !pinched && travelled <= CLICK_REACH_PX && event.button === 0;
      letGo(clicked ? null : event);
      if (clicked) on.click(event);
    });
    stage.addEventListener("pointercancel", event => {
      down.delete(event.pointerId);
      letGo(null);
    });
    // A finger that holds something does not scroll the page.
    stage.addEventListener("touchstart", event => held && event.preventDefault(), { passive: false });
    stage.addEventListener("pointerleave", () => on.leave());
    stage.addEventListener("contextmenu", event => event.preventDefault()); // the right button drags the window

    stage.addEventListener(
      "wheel",
      event => {
        // without Ctrl or the focus, which a click gives, the wheel scrolls the page
        if (!event.ctrlKey && !stage.contains(document.activeElement)) return;
        event.preventDefault();
        const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? LINE_PX : 1;
        const step = event.ctrlKey ? PINCH_WHEEL_STEP : WHEEL_STEP;
        on.zoom(Math.exp(-event.deltaY * lines * step), ...place(event));
      },
      { passive: false },
    );
  };
})((globalThis.GazeViewer ??= {}));
