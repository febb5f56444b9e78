/* Keys of the review, wherever nothing is written. */
"use strict";
(() => {
  const ACTS = { a: "accept", r: "reject", u: "reopen", n: "next" };
  const WRITTEN = "input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable]";
  document.addEventListener("keydown", event => {
    const act = ACTS[event.key];
    // a key that is held down would judge what nobody has seen yet
    if (!act || event.repeat || event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.(WRITTEN)) return;
    const button = document.querySelector(`button#dashboard-${act}, #dashboard-${act} button`);
    if (!button || button.disabled || !button.checkVisibility()) return; // another tab is open, or it is not allowed
    event.preventDefault();
    const reason = document.querySelector("#dashboard-reason textarea");
    if (act === "reject" && !reason.value.trim()) reason.focus(); // it needs one
    else button.click();
  });
})();
