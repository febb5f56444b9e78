/* The clicks and how they were edited: undo and redo one step at a time. No page is needed to test it. */
"use strict";
(teach => {
  /* Every change is a splice { at, removed, added } of the list of points, so that each can be taken back and stored. */
  teach.ClickPath = class ClickPath {
    constructor({ points = [], done = [], undone = [] } = {}) {
      Object.assign(this, { points: [...points], done: [...done], undone: [...undone], selected: -1, inserting: false });
    }

    toJSON() {
      const { points, done, undone } = this;
      return { points, done, undone };
    }

    get length() {
      return this.points.length;
    }

    #change(at, count, added) {
      const step = { at, removed: this.points.slice(at, at + count), added };
      this.points.splice(at, count, ...added);
      this.done.push(step);
      this.undone = [];
    }

    /* A new click, at the end or after the selected one; what is inserted later has no time. */
    add(point) {
      if (this.inserting && this.selected >= 0) {
        this.#change(this.selected + 1, 0, [{ ...point, onset_ms: null, edit: "inserted" }]);
        this.inserting = false;
        return (this.selected += 1);
      }
      this.#change(this.length, 0, [{ ...point, edit: "" }]);
      this.selected = -1;
      return this.length - 1;
    }

    /* The same click at another place; its time stays that of the click. */
    move(index, { x, y }) {
      const old = this.points[index];
      if (old.x === x && old.y === y) return;
      this.#change(index, 1, [{ ...old, x, y, edit: old.edit || "moved" }]);
    }

    remove(index) {
      this.#change(index, 1, []);
      this.select(-1);
    }

    clear() {
      if (this.length) this.#change(0, this.length, []);
      this.select(-1);
    }

    undo() {
      const step = this.done.pop();
      if (!step) return false;
      this.points.splice(step.at, step.added.length, ...step.removed);
      this.undone.push(step);
      this.select(-1);
      return true;
    }

    redo() {
      const step = this.undone.pop();
      if (!step) return false;
      this.points.splice(step.at, step.removed.length, ...step.added);
      this.done.push(step);
      this.select(-1);
      return true;
    }

    select(index) {
      this.selected = index >= 0 && index < this.length ? index : -1;
      this.inserting = false;
    }
  };
})((globalThis.GazeTeach ??= {}));
