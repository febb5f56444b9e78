/* Sentences, bars and fixations point at each other. A part of the page with `data-shares` (one share per glimpse, with
   spaces between), inside one with `data-links` (the id of a viewer), belongs to that viewer's glimpses. */
"use strict";
(gaze => {
  const NAMED = 3;

  /* The words of a part, without those that a change of the path has struck through. */
  const textOf = part => {
    const copy = part.cloneNode(true);
    for (const gone of copy.querySelectorAll("del")) gone.remove();
    return copy.textContent;
  };
  const sharesOf = part => part.dataset.shares.split(" ").map(Number);
  const viewerOf = part =>
    document.getElementById(part.closest("[data-links]")?.dataset.links)?.querySelector(".gaze-viewer")?.viewer;
  // Asked of the parts, not of the viewer: between it and its own id Gradio puts elements with ids of theirs.
  const partsOf = viewer =>
    [...document.querySelectorAll("[data-links] [data-shares]")].filter(part => viewerOf(part) === viewer);

  /* How strongly a part points at each glimpse, 0 to 1: those that have at least an even part of what went to them all,
     over the largest. */
  gaze.strengthsOf = shares => {
    const even = shares.reduce((sum, share) => sum + share, 0) / shares.length,
      largest = Math.max(...shares);
    return shares.map(share => (largest > 0 && share >= even ? share / largest : 0));
  };

  function mark(part, strength) {
    part.classList.toggle("gaze-lit", strength > 0);
    part.style.setProperty("--gaze-lit", strength.toFixed(2));
  }

  /* Light what belongs to a glimpse (its number in the strip), or to a part of the page (its element); null puts it all out. */
  gaze.light = (viewer, what) => {
    const { strip } = viewer,
      parts = partsOf(viewer),
      fromPart = what instanceof Element;
    const strengths = what === null ? null : fromPart ? gaze.strengthsOf(sharesOf(what)) : strip.glimpses.map((_, k) => +(k === what));
    for (const part of parts)
      mark(part, what === null ? 0 : fromPart ? +(part === what) : (gaze.strengthsOf(sharesOf(part))[what] ?? 0));
    strip.light(strengths);
    viewer.lit = new Map(
      strip.glimpses.map((glimpse, k) => [glimpse.step, strengths?.[k] ?? 0]).filter(([, strength]) => strength > 0),
    );
    strip.say(what === null || fromPart ? "" : inWords(viewer, parts, what));
    viewer.refresh();
  };

  /* What a glimpse counted for, in a sentence. */
  function inWords(viewer, parts, index) {
    const { strip } = viewer,
      path = viewer.value.paths[strip.path],
      { step } = strip.glimpses[index];
    const leaning = parts
      .filter(part => gaze.strengthsOf(sharesOf(part))[index] > 0)
      .map(part => ({ share: sharesOf(part)[index], finding: part.dataset.finding, text: textOf(part) }))
      .sort((a, b) => b.share - a.share);
    const percent = ({ share }) => `${Math.round(100 * share)}%`;
    const named = leaning.filter(({ finding }) => finding).slice(0, NAMED),
      said = leaning.find(({ finding }) => !finding);
    return [
      `Fixation ${step + 1}${path.fixations[step].zone ? `, ${path.fixations[step].zone}` : ""}`,
      named.length ? `counted for ${named.map(one => `${one.finding} ${percent(one)}`).join(", ")}` : "",
      said ? `“${said.text.trim()}” leaned on it (${percent(said)} of the attention)` : "",
    ]
      .filter(Boolean)
      .join("; ");
  }

  /* The glimpse of a fixation, or else of another one at its place; null without any. */
  gaze.glimpseOf = (viewer, hit) => {
    if (!hit || hit.path !== viewer.strip.path) return null;
    const { glimpses } = viewer.strip,
      visits = viewer.marksOf(hit.path)?.[hit.step]?.visits ?? [];
    const own = glimpses.findIndex(({ step }) => step === hit.step),
      index = own < 0 ? glimpses.findIndex(({ step }) => visits.includes(step)) : own;
    return index < 0 ? null : index;
  };

  // Parts come and go with each answer: one listener on the page hears them all.
  let pointed = null;
  function point(target) {
    const part = target?.closest?.("[data-shares]") ?? null;
    if (part === pointed) return;
    const before = pointed && viewerOf(pointed),
      viewer = part && viewerOf(part);
    pointed = part;
    if (before && before !== viewer) gaze.light(before, null);
    if (viewer) gaze.light(viewer, part);
  }
  document.addEventListener("pointerover", event => point(event.target));
  document.addEventListener("focusin", event => point(event.target));
  document.addEventListener("focusout", () => point(null));
})((globalThis.GazeViewer ??= {}));
