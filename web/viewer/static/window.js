/* Window and level: a linear map of grey values, done by the browser on the image alone (an SVG filter). */
"use strict";
(gaze => {
  const SVG = "http://www.w3.org/2000/svg",
    LARGEST = 255,
    NARROWEST = 8;
  const PRESETS = {
    full: { name: "Full range", center: 127.5, width: 255 },
    lungs: { name: "Lungs (dark)", center: 80, width: 150 },
    bones: { name: "Bones (bright)", center: 180, width: 150 },
    contrast: { name: "High contrast", center: 127.5, width: 110 },
  };
  let instances = 0;

  gaze.Window = class Window {
    constructor(target) {
      const id = `gaze-window-${(instances += 1)}`,
        make = (name, attributes) => {
          const node = document.createElementNS(SVG, name);
          Object.entries(attributes).forEach(([key, value]) => node.setAttribute(key, value));
          return node;
        };
      this.node = make("svg", { width: 0, height: 0, "aria-hidden": "true", style: "position: absolute" });
      const filter = make("filter", {
        id,
        "color-interpolation-filters": "sRGB",
        x: 0,
        y: 0,
        width: "100%",
        height: "100%",
      });
      const transfer = make("feComponentTransfer", {});
      this.functions = ["R", "G", "B"].map(channel => make(`feFunc${channel}`, { type: "linear" }));
      transfer.append(...this.functions);
      filter.append(transfer);
      this.node.append(filter);
      [this.target, this.link] = [target, `url(#${id})`];
      this.use("full");
    }

    static get presets() {
      return Object.entries(PRESETS).map(([key, { name }]) => [key, name]);
    }

    /* The preset in force, or "custom". */
    get preset() {
      const same = ([, preset]) => preset.center === this.center && preset.width === this.width;
      return (Object.entries(PRESETS).find(same) ?? ["custom"])[0];
    }

    use(preset) {
      const { center, width } = PRESETS[preset];
      this.set(center, width);
    }

    /* Grey values from center - width / 2 to center + width / 2 are shown from black to white. */
    set(center, width, inverted = this.inverted ?? false) {
      this.center = Math.min(Math.max(center, 0), LARGEST);
      this.width = Math.min(Math.max(width, NARROWEST), 2 * LARGEST);
      this.inverted = inverted;
      const slope = LARGEST / this.width,
        intercept = 0.5 - (slope * this.center) / LARGEST;
      this.functions.forEach(node => {
        node.setAttribute("slope", inverted ? -slope : slope);
        node.setAttribute("intercept", inverted ? 1 - intercept : intercept);
      });
      const untouched = this.preset === "full" && !inverted;
      this.target.style.filter = untouched ? "" : this.link;
    }

    invert() {
      this.set(this.center, this.width, !this.inverted);
    }
  };
})((globalThis.GazeViewer ??= {}));
