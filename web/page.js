/* What all tabs share. */
"use strict";
(page => {
  /* The name that somebody chose on this device; one for all tabs. It goes with every request, as a cookie. */
  const KEY = "gazevlm-teach/name",
    YEAR_S = 31_536_000;

  page.GazeName = {
    get name() {
      try {
        return JSON.parse(localStorage.getItem(KEY)) ?? "";
      } catch {
        return ""; // blocked, or not ours
      }
    },
    /* Hands a token over for a cookie that no script reads; "" takes that away. */
    keepRole: token => fetch(new URL("gradio_api/session", `${globalThis.gradio_config?.root ?? location.origin}/`), { method: "POST", body: token }),
    set name(text) {
      try {
        localStorage.setItem(KEY, JSON.stringify(text));
      } catch {
        // blocked: then the cookie alone has it
      }
      // inside a frame of another site a browser sends no "Lax" cookie
      const site = location.protocol === "https:" ? "SameSite=None; Secure" : "SameSite=Lax";
      document.cookie = `gazevlm_name=${encodeURIComponent(text)}; path=/; max-age=${YEAR_S}; ${site}`;
    },
  };

  /* The first stop of the Tab key jumps over the menu: to the question, or to what the open tab begins with. */
  document.addEventListener("click", event => {
    if (!event.target.closest?.(".gaze-skip")) return;
    event.preventDefault();
    const open = [...document.querySelectorAll("[role=tabpanel]")].find(panel => panel.offsetParent) ?? document,
      begin = "#question textarea, button:enabled, input:enabled, textarea:enabled, select:enabled";
    const first = [open.querySelector("#question textarea"), ...open.querySelectorAll(begin)];
    first.find(one => one?.offsetParent)?.focus();
  });

  /* Gradio leaves the list of a dropdown open when the Tab key goes on. */
  document.addEventListener("focusout", ({ target }) => {
    if (!target.matches?.("input[role=listbox], input[role=combobox]")) return;
    setTimeout(() => {
      if (target.getAttribute("aria-expanded") === "true" && target !== document.activeElement)
        target.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape", bubbles: true }));
    });
  });

  /* One message at a time, beside what was pressed. It goes once something else is done (if that fails, another one comes),
     and once something has worked: a status line that changed says so. */
  const MESSAGE = ".toast-body, .toast-message-item",
    DOES = "button:not(.label-wrap, .gaze-term, [role=tab], .gaze-viewer button), input[type=file]",
    AWAY_PX = 8,
    WIDEST_PX = 424;
  let pressed = null,
    around = null; // that stays where what was pressed goes, such as the place for a file once there is one
  const toasts = () => [...document.querySelectorAll(".toast-body")],
    close = toast => toast.querySelector("button.toast-close, button[aria-label='Close']")?.click();
  for (const kind of ["click", "change", "drop"])
    document.addEventListener(
      kind,
      ({ target, type, isTrusted }) => {
        // the page itself presses Diagnose, such as for a link, and what was said of that link has to stay
        if (!target.closest || target.closest(".toast-body") || (type === "click" && !isTrusted)) return;
        pressed = target.closest("button, .block");
        around = target.closest(".block");
        if (type === "drop" || target.closest(DOES)) toasts().forEach(close);
      },
      true,
    );
  /* Below what was pressed, or above it; in the usual corner where that is out of sight, or much of the window. Where what was
     pressed has gone, to the right of where it was, if there is room: below it lies what would be tried next. */
  function place(wrap) {
    const gone = !pressed?.isConnected,
      box = (gone ? around : pressed)?.getBoundingClientRect(),
      seen = box?.width && box.bottom > 0 && box.top < innerHeight && box.height < innerHeight / 2;
    for (const name of ["left", "right", "top", "width"]) wrap.style.removeProperty(name);
    if (!seen) return;
    const width = Math.min(WIDEST_PX, innerWidth - 2 * AWAY_PX),
      aside = gone && box.right + width + 2 * AWAY_PX <= innerWidth;
    Object.assign(wrap.style, { width: `${width}px`, right: "auto" });
    const below = box.bottom + AWAY_PX,
      fits = below + wrap.offsetHeight + AWAY_PX <= innerHeight;
    wrap.style.left = `${aside ? box.right + AWAY_PX : Math.max(AWAY_PX, Math.min(box.left, innerWidth - width - AWAY_PX))}px`;
    wrap.style.top = `${aside ? box.top : fits ? below : Math.max(AWAY_PX, box.top - wrap.offsetHeight - AWAY_PX)}px`;
  }
  new MutationObserver(changes => {
    const added = changes.some(change =>
      [...change.addedNodes].some(node => node.matches?.(MESSAGE) || node.querySelector?.(MESSAGE)),
    );
    const wrap = added && toasts()[0]?.closest(".toast-wrap"); // none while the last message is fading out
    if (wrap) {
      toasts().slice(1).forEach(close);
      place(wrap);
    }
    // Gradio puts another line there, or other words into the same one
    const said = changes.flatMap(({ target, addedNodes }) => [target, ...addedNodes]);
    const lines = said.flatMap(node => [
      (node.closest ? node : node.parentElement)?.closest(".gaze-status"),
      ...(node === document.body || !node.querySelectorAll ? [] : node.querySelectorAll(".gaze-status")),
    ]);
    if (toasts().length && lines.some(line => /^(Done|Ready|Stopped)/.test(line?.textContent.trim()))) toasts().forEach(close);
  }).observe(document, { childList: true, characterData: true, subtree: true });

  /* Gradio calls places for files by other words than they show, and names parts that cannot have a name. */
  const MISNAMED = ".upload-container[aria-label], div.empty[aria-label]";
  new MutationObserver(() =>
    document.querySelectorAll(MISNAMED).forEach(one => one.removeAttribute("aria-label")),
  ).observe(document, { childList: true, subtree: true });

  /* Terms of art: a mark behind a text explains those in it that were not explained before; see web/glossary.py. */
  page.GazeTerms.mark = (text, seen = new Set()) => {
    const { pattern, terms } = page.GazeTerms,
      lower = new Map(Object.keys(terms).map(term => [term.toLowerCase(), term]));
    const found = [...text.matchAll(new RegExp(pattern, "gi"))].map(([, term]) => lower.get(term.toLowerCase()));
    const fresh = [...new Set(found)].filter(term => !seen.has(term));
    fresh.forEach(term => seen.add(term));
    if (!fresh.length) return "";
    const button = document.createElement("button"),
      words = fresh.map(term => `${term}: ${terms[term]}`).join("\n");
    Object.assign(button, { type: "button", className: "gaze-term", title: words, ariaLabel: words });
    return button;
  };
  /* Gradio draws labels, and titles of folds and tabs, as text alone: their mark stands in the corner of the field or fold,
     or behind the row of tabs, outside of what has the name, which would be the mark's words instead. Where a word means
     something else, the field has the class "gaze-as-said". */
  const LABELS =
      "[data-testid='block-info'], .info-text, [data-testid$='radio-label'], [data-testid='block-label']:not(.sr-only), " +
      "button.label-wrap > span:first-child, .tab-container:not([aria-hidden]) > [role=tab]",
    marked = new WeakMap();
  function markFields() {
    const texts = new Map();
    for (const label of document.querySelectorAll(LABELS)) {
      const field = label.closest(".tab-wrapper, .block");
      if (field && !field.matches(".gaze-as-said")) texts.set(field, `${texts.get(field) ?? ""} ${label.textContent}`);
    }
    for (const [field, text] of texts) {
      if (marked.get(field) === text) continue;
      marked.set(field, text);
      field.querySelector(":scope > .gaze-term")?.remove();
      const term = page.GazeTerms.mark(text);
      if (term) field.append(term);
    }
  }
  let waiting = false;
  new MutationObserver(() => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      markFields();
    });
  }).observe(document, { childList: true, characterData: true, subtree: true });

  let tip = null,
    explained = null;
  function tell(term) {
    tip?.remove();
    [tip, explained] = [null, term === explained ? null : term];
    if (!explained) return;
    tip = document.createElement("div");
    Object.assign(tip, { className: "gaze-tip", role: "tooltip", textContent: explained.title });
    (document.fullscreenElement ?? document.body).append(tip);
    const box = explained.getBoundingClientRect(),
      { offsetWidth: width, offsetHeight: height } = tip;
    tip.style.left = `${Math.max(6, Math.min(box.left, innerWidth - width - 6))}px`;
    tip.style.top = `${box.bottom + height + 8 > innerHeight ? Math.max(6, box.top - height - 6) : box.bottom + 6}px`;
  }
  document.addEventListener("click", event => {
    const term = event.target.closest?.(".gaze-term");
    if (term) event.preventDefault();
    if (term || tip) tell(term ?? explained);
  });
  document.addEventListener("keydown", event => event.key === "Escape" && tip && tell(explained));
  document.addEventListener("scroll", () => tip && tell(explained), { capture: true, passive: true });

  /* A chart that is drawn while its tab is closed has a width of its own; on this it takes the page's. */
  document.addEventListener("click", event => {
    if (event.target.closest?.("[role=tab]")) setTimeout(() => dispatchEvent(new Event("resize")), 50);
  });
})(globalThis);
